/** A GGUF file as the folder that Transformers would have of it: its JSON files and its weights. */
import type { JsonObject } from '../../common/json-file.ts';
import { openFile } from '../io/read-exactly.ts';
import type { LoadedTensor } from '../io/tensor-data.ts';
import type { WeightsSource } from '../io/weights-source.ts';
import { architectureOf, longFactors, ropeFactors, ropeScalingOf, Settings, translateName } from './architectures.ts';
import type { Order } from './architectures.ts';
import { reorder } from './order.ts';
import { GgufFile } from './file.ts';
import type { Blocks } from './file.ts';
import { tokenizerOf } from './tokenizer.ts';

/** The JSON files, by name. */
export type GgufFolder = Readonly<Record<string, JsonObject>>;

/** The file that was read last: its model, tokenizer and settings are asked for one after another. */
let last: { readonly key: string; readonly folder: Promise<GgufFolder> } | undefined;

/**
 * config.json, generation_config.json, tokenizer.json and tokenizer_config.json of a GGUF file. Errors, each
 * one line naming the file: a damaged one, an architecture or a tokenizer that is not known here.
 */
export async function ggufFolder(path: string): Promise<GgufFolder> {
  const { dev, ino, size, mtimeMs } = await openFile(path, async (handle) => {
    const facts = await handle.stat();
    await handle.close();
    return facts;
  });
  const key = [path, dev, ino, size, mtimeMs].join(' ');
  if (last?.key === key) return last.folder;
  const folder = readFolder(path);
  last = { key, folder };
  // A disk may fail now and read well later.
  folder.catch(() => (last = undefined));
  return folder;
}

async function readFolder(path: string): Promise<GgufFolder> {
  const file = await GgufFile.open(path);
  try {
    const { metadata, tensors } = file;
    const architecture = architectureOf(metadata, path);
    const settings = new Settings(path, metadata, architecture.name);
    const { tokenizer, config } = tokenizerOf(metadata, path);
    const tokens = tokensOf(metadata);
    const named = Object.fromEntries(architecture.settings.map(([gguf, key]) => [key, settings.needed(gguf)]));
    const rope = tensors.has(ropeFactors) ? await file.read(ropeFactors) : undefined;
    const longrope = tensors.has(longFactors.long) && {
      rope_type: 'longrope',
      short_factor: [...(await file.read(longFactors.short))],
      long_factor: [...(await file.read(longFactors.long))],
    };
    const scaling = rope && ropeScalingOf(rope, settings.number('rope.freq_base') ?? 10000, path);
    return {
      'config.json': {
        architectures: [architecture.className],
        model_type: architecture.modelType,
        dtype: 'float32',
        vocab_size: tensors.get('token_embd.weight')?.shape[0] ?? 0,
        ...named,
        ...architecture.read(settings, (tensor) => tensors.has(tensor)),
        ...(scaling || longrope ? { rope_scaling: scaling || longrope } : {}),
        tie_word_embeddings: !tensors.has('output.weight'),
        ...tokens,
      },
      'generation_config.json': tokens,
      'tokenizer.json': tokenizer,
      'tokenizer_config.json': config,
    };
  } finally {
    await file.close();
  }
}

/**
 * Ids of tokens that begin, end and fill texts; a turn of a dialogue may end by another token than a text.
 */
function tokensOf(metadata: GgufFile['metadata']): JsonObject {
  const id = (key: string): number | null => {
    const value = metadata.get(`tokenizer.ggml.${key}_token_id`);
    return typeof value === 'number' ? value : null;
  };
  const ends = [...new Set([id('eos'), id('eot')].filter((end) => end !== null))];
  return {
    bos_token_id: id('bos'),
    eos_token_id: ends.length > 1 ? ends : (ends[0] ?? null),
    pad_token_id: id('padding'),
  };
}

/** The weights of a GGUF file under Transformers' names, dequantised when they are read. */
export class GgufWeights implements WeightsSource {
  readonly path: string;
  private readonly file: GgufFile;
  private readonly heads: (name: string) => number;
  private readonly places = new Map<string, { readonly name: string; readonly order: Order }>();

  private constructor(file: GgufFile) {
    this.file = file;
    this.path = file.path;
    const architecture = architectureOf(file.metadata, file.path);
    const settings = new Settings(file.path, file.metadata, architecture.name);
    for (const name of file.tensors.keys()) {
      const translated = translateName(architecture, name);
      if (translated) this.places.set(translated.name, { name, order: translated.order });
    }
    this.heads = (name) => {
      const heads = settings.needed('attention.head_count');
      return name.includes('attn_k') ? (settings.number('attention.head_count_kv') ?? heads) : heads;
    };
  }

  static async open(path: string): Promise<GgufWeights> {
    const file = await GgufFile.open(path);
    try {
      return new GgufWeights(file);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  names(): string[] {
    return [...this.places.keys()];
  }

  entry(name: string): { readonly dtype: 'F32'; readonly shape: readonly number[] } {
    const { name: own, order } = this.place(name);
    const { shape } = this.file.tensors.get(own)!;
    return { dtype: 'F32', shape: order === 'transposed' ? [...shape].reverse() : shape };
  }

  async read(name: string): Promise<LoadedTensor> {
    const { name: own, order } = this.place(name);
    const { shape } = this.file.tensors.get(own)!;
    const data = await this.file.read(own);
    return { ...this.entry(name), data: reorder(data, shape, order, this.heads(own)) };
  }

  blockType(name: string): string | undefined {
    return this.file.tensors.get(this.place(name).name)?.type?.name;
  }

  async readBlocks(name: string): Promise<Blocks> {
    const { name: own, order } = this.place(name);
    const { type, data } = await this.file.readBlocks(own);
    const [rows] = this.file.tensors.get(own)!.shape as [number];
    // Whole rows change places; a matrix whose columns come first in Transformers is [out, in] here.
    return {
      type,
      data:
        order === 'pairs' || order === 'parts'
          ? reorder(data, [rows, data.length / rows], order, this.heads(own))
          : data,
    };
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  private place(name: string): { readonly name: string; readonly order: Order } {
    const place = this.places.get(name);
    if (!place) throw new Error(`${this.path} has no tensor "${name}"`);
    return place;
  }
}
