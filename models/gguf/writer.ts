/** Writes decoders as GGUF files, which llama.cpp and what is built on it read. */
import type { FileToWrite } from '../../common/atomic-files.ts';
import { utf8 } from '../../common/bytes.ts';
import { isJsonObject } from '../../common/json-file.ts';
import type { JsonObject } from '../../common/json-file.ts';
import type { FileSink } from '../../common/staged-file.ts';
import type { ModelConfig } from '../config.ts';
import { tensorsToWrite } from '../io/state-dict.ts';
import { toFloat32 } from '../io/tensor-data.ts';
import { listNames } from '../names.ts';
import type { PreTrainedModel } from '../pretrained.ts';
import type { AnyTokenizer } from '../tokenizer/any-tokenizer.ts';
import { architectures, ggufName } from './architectures.ts';
import type { Written } from './architectures.ts';
import { blockType, quantize } from './blocks.ts';
import type { BlockType } from './blocks.ts';
import { reorder } from './order.ts';
import { preOf } from './tokenizer.ts';

/** Types that weights can be written in; norms and biases stay f32. */
export const ggufTypes = ['f16', 'f32', 'q8_0', 'q4_1', 'q4_0'] as const;
export type GgufType = (typeof ggufTypes)[number];

/** general.file_type of each (llama.h, llama_ftype). */
const fileTypes: Readonly<Record<GgufType, number>> = { f32: 0, f16: 1, q8_0: 7, q4_1: 3, q4_0: 2 };

/**
 * Blocks of a parameter, by its name and the name of their type ("Q4_0"), of its rows [out, in] in the order
 * of the file; undefined: rounded to nearest.
 */
export type Quantizer = (parameter: string, type: string, rows: Float32Array) => Uint8Array | undefined;

const alignment = 32;
const typeOf = (name: string): BlockType => blockType(name)!;

/**
 * The file of a decoder and its tokenizer, to hand to `writeFilesAtomic`; tensors are read back and quantised
 * one at a time. Matrices have `type`, but for positions; those whose rows are no whole blocks of it have
 * f16, as in llama.cpp, and in a file of q4_0 or q4_1 the embeddings, which are the head too where these are
 * tied, have q8_0, as the matrices that `finer` says by the names of their parameters. Errors: a model of a
 * family, or a tokenizer, that GGUF files have no name for.
 *
 * @example
 * const model = await GPT2LMHeadModel.fromPretrained('models/pretrained/gpt-small');
 * const tokenizer = await loadTokenizer('models/pretrained/gpt-small');
 * await saveFiles([ggufFile('small.gguf', model, tokenizer, 'q8_0')]);
 */
export function ggufFile(
  path: string,
  model: PreTrainedModel<ModelConfig>,
  tokenizer: AnyTokenizer,
  type: GgufType,
  quantizer: Quantizer = () => undefined,
  finer: (parameter: string) => boolean = () => false,
): FileToWrite {
  const { name: className } = model.constructor;
  const architecture = architectures.find((each) => each.className === className);
  if (!architecture)
    throw new Error(
      `${path}: a ${className} cannot be written as GGUF here; ` +
        `known are ${listNames(architectures.map((each) => each.className))}`,
    );
  const config = JSON.parse(model.configText()) as JsonObject;
  const settings = [
    ...architecture.settings.map(([name, key]) => [name, numberOf(name, Number(config[key]))] as const),
    ...architecture.write(config),
  ];
  const head = new Head();
  const metadata: [string, Value][] = [
    ['general.architecture', string(architecture.name)],
    ['general.file_type', u32(fileTypes[type])],
    ['general.quantization_version', u32(2)],
    ...settings.map(([name, value]): [string, Value] => [`${architecture.name}.${name}`, written(value)]),
    ...tokenizerSettings(path, tokenizer, config),
  ];
  const tensors = tensorsToWrite(model).map((tensor) => {
    const { name, order } = ggufName(architecture, tensor.name);
    const shape = order === 'transposed' && tensor.shape.length === 2 ? [...tensor.shape].reverse() : tensor.shape;
    return {
      ...tensor,
      name,
      parameter: tensor.name,
      order,
      ownShape: tensor.shape,
      shape,
      type: typeFor(name, shape, type, finer(tensor.name)),
    };
  });
  head.text('GGUF');
  head.u32(3);
  head.u64(tensors.length);
  head.u64(metadata.length);
  for (const [key, write] of metadata) {
    head.string(key);
    write(head);
  }
  let offset = 0;
  for (const { name, shape, type } of tensors) {
    head.string(name);
    head.u32(shape.length);
    for (const size of [...shape].reverse()) head.u64(size);
    head.u32(type.id);
    head.u64(offset);
    offset += padded((shape.reduce((product, size) => product * size, 1) / type.size) * type.bytes);
  }
  const heads = (name: string): number =>
    Number(config[name.includes('attn_k') ? 'num_key_value_heads' : 'num_attention_heads'] ?? 1);
  const write = async (file: FileSink): Promise<void> => {
    await file.write(pad(head.bytes()));
    for (const { name, parameter, dtype, ownShape, order, type, data } of tensors) {
      const values = toFloat32({ dtype, shape: ownShape, data: await data() });
      const rows = reorder(values, ownShape, order, heads(name), true);
      await file.write(pad(quantizer(parameter, type.name, rows) ?? quantize(type, rows)));
    }
  };
  return { path, data: write };
}

function typeFor(name: string, shape: readonly number[], type: GgufType, isFiner: boolean): BlockType {
  if (shape.length < 2 || name === 'position_embd.weight') return typeOf('F32');
  const isFew = type.startsWith('q4');
  const wanted = typeOf((isFew && (isFiner || name === 'token_embd.weight') ? 'q8_0' : type).toUpperCase());
  return shape.at(-1)! % wanted.size === 0 ? wanted : typeOf('F16');
}

/** The vocabulary, merges and special tokens of a byte-level BPE. */
function tokenizerSettings(path: string, tokenizer: AnyTokenizer, config: JsonObject): [string, Value][] {
  const files = new Map(tokenizer.filesToSave('').map((file) => [file.path, file.data]));
  const read = (name: string): JsonObject => JSON.parse(String(files.get(name) ?? '{}')) as JsonObject;
  const [json, settings] = [read('tokenizer.json'), read('tokenizer_config.json')];
  const model = isJsonObject(json['model']) ? json['model'] : {};
  const isByteLevel = isJsonObject(json['decoder']) && json['decoder']['type'] === 'ByteLevel';
  if (model['type'] !== 'BPE' || !isByteLevel)
    throw new Error(`${path}: only tokenizers of byte-level BPE can be written as GGUF here`);
  const pre = preOf(json, path);
  // llama.cpp needs a token for each row of the embeddings.
  const rows = Math.max(tokenizer.vocabSize, Number(config['vocab_size']));
  const tokens = Array.from({ length: rows }, (_, id) => tokenizer.idToToken(id) ?? `[PAD${id}]`);
  const added = new Map(
    (json['added_tokens'] as readonly { id: number; special: boolean }[]).map(({ id, special }) => [id, special]),
  );
  const unused = 5;
  const kinds = tokens.map((_, id) =>
    tokenizer.idToToken(id) === undefined ? unused : added.has(id) ? (added.get(id) ? 3 : 4) : 1,
  );
  const merges = (model['merges'] as readonly (string | readonly string[])[]).map((merge) =>
    typeof merge === 'string' ? merge : merge.join(' '),
  );
  const ids: readonly (readonly [string, number | undefined])[] = [
    ['bos', tokenizer.bosTokenId],
    ['eos', tokenizer.eosTokenId],
    ['unknown', tokenizer.unkTokenId],
    ['padding', tokenizer.padTokenId],
  ];
  const { bosTokenId, template: around } = tokenizer;
  const begins = bosTokenId !== undefined && around.before.includes(bosTokenId);
  const template = settings['chat_template'];
  return [
    ['tokenizer.ggml.model', string('gpt2')],
    ['tokenizer.ggml.pre', string(pre)],
    ['tokenizer.ggml.tokens', list(8, tokens, (head, token) => head.string(token))],
    ['tokenizer.ggml.token_type', list(5, kinds, (head, kind) => head.u32(kind))],
    ['tokenizer.ggml.merges', list(8, merges, (head, merge) => head.string(merge))],
    ...ids.flatMap(([role, id]): [string, Value][] =>
      id === undefined ? [] : [[`tokenizer.ggml.${role}_token_id`, u32(id)]],
    ),
    ['tokenizer.ggml.add_bos_token', bool(begins)],
    ...(typeof template === 'string' ? [['tokenizer.chat_template', string(template)] as [string, Value]] : []),
  ];
}

/** Writes a setting with its type before it. */
type Value = (head: Head) => void;

const u32 =
  (value: number): Value =>
  (head) => {
    head.u32(4);
    head.u32(value);
  };
const bool =
  (value: boolean): Value =>
  (head) => {
    head.u32(7);
    head.byte(value ? 1 : 0);
  };
const string =
  (value: string): Value =>
  (head) => {
    head.u32(8);
    head.string(value);
  };
const f32 =
  (value: number): Value =>
  (head) => {
    head.u32(6);
    head.f32(value);
  };
const numberOf = (name: string, value: number): Written => (name.endsWith('epsilon') ? { f32: value } : { u32: value });
const written = (value: Written): Value =>
  'u32' in value
    ? u32(value.u32)
    : 'f32' in value
      ? f32(value.f32)
      : 'truth' in value
        ? bool(value.truth)
        : string(value.text);
const list =
  <T>(type: number, items: readonly T[], write: (head: Head, item: T) => void): Value =>
  (head) => {
    head.u32(9);
    head.u32(type);
    head.u64(items.length);
    for (const item of items) write(head, item);
  };

/** Bytes that are appended to. */
class Head {
  private buffer = new Uint8Array(2 ** 16);
  private view = new DataView(this.buffer.buffer);
  private length = 0;

  private room(bytes: number): number {
    const at = this.length;
    this.length += bytes;
    if (this.length > this.buffer.length) {
      const larger = new Uint8Array(Math.max(2 * this.buffer.length, this.length));
      larger.set(this.buffer);
      this.buffer = larger;
      this.view = new DataView(larger.buffer);
    }
    return at;
  }

  byte(value: number): void {
    const at = this.room(1);
    this.view.setUint8(at, value);
  }

  u32(value: number): void {
    const at = this.room(4);
    this.view.setUint32(at, value, true);
  }

  u64(value: number): void {
    const at = this.room(8);
    this.view.setBigUint64(at, BigInt(value), true);
  }

  f32(value: number): void {
    const at = this.room(4);
    this.view.setFloat32(at, value, true);
  }

  text(value: string): void {
    this.append(utf8(value));
  }

  string(value: string): void {
    const bytes = utf8(value);
    this.u64(bytes.length);
    this.append(bytes);
  }

  private append(bytes: Uint8Array): void {
    const at = this.room(bytes.length);
    this.buffer.set(bytes, at);
  }

  bytes(): Uint8Array {
    return this.buffer.subarray(0, this.length);
  }
}

const padded = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;

function pad(bytes: Uint8Array): Uint8Array {
  if (bytes.byteLength % alignment === 0) return bytes;
  const whole = new Uint8Array(padded(bytes.byteLength));
  whole.set(bytes);
  return whole;
}
