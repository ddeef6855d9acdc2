import {
  arange,
  concat,
  expand,
  noGrad,
  permute,
  randint,
  reshape,
  scaledDotProductAttention,
  slice,
  tensor,
  unsqueeze,
  zeros,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { Decoder, TokensAhead } from '../generation/decoder.ts';
import type { Module } from '../module.ts';
import { showValue } from '../names.ts';
import { Embedding } from '../nn/embedding.ts';
import type { LayerCache, TokensBefore } from '../nn/kv-cache.ts';
import { normalInit, parameter, zerosInit } from '../parameter.ts';
import type { Initializer, Parameter } from '../parameter.ts';
import type { DecoderInputs, TokenInputs } from '../transformer/inputs.ts';
import type { EncoderOutput } from '../transformer/outputs.ts';
import type { PrefixTuningConfig, PromptTuningConfig, TaskType, VirtualTokensConfig } from './config.ts';
import { as } from './layer-adapter.ts';
import type { BaseModel } from './targets.ts';

/** What turns the text of `promptTuningInitText` into tokens. */
export interface PromptTokenizer {
  idsOf(text: string, options: { readonly addSpecialTokens: boolean }): ArrayLike<number>;
}

/** Learnt vectors, or keys and values, that stand before the tokens of every text. */
export interface VirtualTokens {
  /** How many there are, V. */
  readonly count: number;
  /** They are keys and values of each layer; otherwise they are read as tokens are. */
  readonly isPrefix: boolean;
  /** Vectors (V, D); of a prefix keys and values of one layer after another, (V, 2 L Hkv D/H). */
  readonly table: Parameter;
  readonly config: VirtualTokensConfig;
}

/** Encoders whose classifiers read what stands at the first place, which PEFT then gives a virtual token. */
const encoders: readonly string[] = ['bert', 'distilbert', 'electra', 'roberta'];

/**
 * Virtual tokens for a model. Errors, each one line: a model that PEFT puts none on; a text as first values
 * and no tokenizer; a prefix made by a network.
 */
export function virtualTokens(
  model: BaseModel,
  config: VirtualTokensConfig,
  taskType: TaskType | null,
  tokenizer?: PromptTokenizer,
): VirtualTokens {
  const isPrefix = config.peftType === 'PREFIX_TUNING';
  checkModel(model, isPrefix, taskType);
  const { table } = partsOf(model);
  const { layers, width, heads } = sizesOf(model);
  const tokenDim = isPrefix ? heads.count * heads.size : width;
  if (!isPrefix && table.weight.shape[1] !== width)
    throw new Error(`adapter: vectors of tokens have ${table.weight.shape[1]} numbers, and layers ${width}; use LoRA`);
  const settled = { tokenDim, numLayers: layers, numAttentionHeads: isPrefix ? heads.count : headCount(model) };
  for (const [name, value] of Object.entries(settled)) {
    const given = config[name as keyof typeof settled];
    if (given !== null && given !== value)
      throw new Error(`adapter: ${name} is ${given}, and the model's is ${value}; leave it out, or take another base`);
  }
  const { numVirtualTokens: count } = config;
  const whole = { ...config, ...settled, numTransformerSubmodules: 1 as const };
  const own: VirtualTokensConfig =
    whole.peftType === 'PREFIX_TUNING' ? { ...whole, encoderHiddenSize: whole.encoderHiddenSize ?? tokenDim } : whole;
  const init = own.peftType === 'PREFIX_TUNING' ? prefixInit(own) : promptInit(own, table, tokenizer);
  return {
    count,
    isPrefix,
    table: parameter([count, isPrefix ? 2 * layers * tokenDim : tokenDim], init),
    config: Object.freeze(own),
  };
}

function checkModel(model: BaseModel, isPrefix: boolean, taskType: TaskType | null): void {
  const { modelType } = model.config;
  const what = isPrefix ? 'prefix tuning' : 'prompt tuning';
  if (!isPrefix && modelType.startsWith('gemma'))
    throw new Error(`adapter: ${what} is not done for ${modelType}, which scales the vectors of tokens; use LoRA`);
  if (taskType === 'CAUSAL_LM' && 'decoder' in model) {
    if ((model as unknown as { decoder(): Decoder }).decoder().switchAt === undefined) return;
    throw new Error(`adapter: ${what} is not done for models whose positions depend on the text's length; use LoRA`);
  }
  if (!isPrefix && taskType === 'SEQ_CLS' && encoders.includes(modelType)) return;
  const others = isPrefix ? '' : ` and classifiers of ${encoders.join(', ')}`;
  throw new Error(
    `adapter: ${what} is for models that continue texts${others}, not for ${model.constructor.name}; use LoRA`,
  );
}

function prefixInit({ prefixProjection, initWeights }: PrefixTuningConfig): Initializer {
  return (shape) => {
    if (prefixProjection)
      throw new Error(
        'adapter: prefixProjection trains a network that makes the prefix, which is not done here; leave it out',
      );
    return initWeights === 'zero' ? zerosInit(shape) : normalInit(1)(shape);
  };
}

function promptInit(
  { promptTuningInit: kind, promptTuningInitText: text }: PromptTuningConfig,
  table: Embedding,
  tokenizer: PromptTokenizer | undefined,
): Initializer {
  if (kind === 'RANDOM') return normalInit(1);
  return ([count]) => {
    const { weight } = table;
    const rowsAt = (ids: Tensor): Tensor => as32(noGrad(() => table.forward(ids)));
    if (kind === 'SAMPLE_VOCAB') return rowsAt(randint(0, weight.shape[0]!, [count!]));
    if (!tokenizer)
      throw new Error("adapter: promptTuningInit 'TEXT' needs a tokenizer: getPeftModel(model, config, { tokenizer })");
    // With special tokens, as PEFT has them.
    const ids = tokenizer.idsOf(text!, { addSpecialTokens: true });
    if (ids.length === 0) throw new Error(`adapter: promptTuningInitText ${showValue(text)} has no tokens`);
    const repeated = Array.from({ length: count! }, (_, i) => ids[i % ids.length]!);
    return rowsAt(tensor(repeated, { dtype: 'i32' }));
  };
}

const as32 = (x: Tensor): Tensor => x.to('f32');

/** The part of a model from tokens to hidden states, and its table of tokens. */
function partsOf(model: BaseModel): { readonly body: Module; readonly table: Embedding } {
  const { baseModelPrefix } = (model.constructor as unknown as { keyRules: { baseModelPrefix: string } }).keyRules;
  const { vocabSize } = model.config as BaseModel['config'] & { readonly vocabSize?: number };
  const body = model.namedModules().find(([path]) => path === baseModelPrefix)?.[1];
  const table = body
    ?.modules()
    .find((part): part is Embedding => part instanceof Embedding && part.weight.shape[0] === vocabSize);
  if (!body || !table) throw new Error(`adapter: ${model.constructor.name} has no table of tokens to read before`);
  return { body, table };
}

const headCount = ({ config }: BaseModel): number => {
  const { numAttentionHeads, nHead, nHeads } = config as unknown as Readonly<Record<string, number>>;
  return (numAttentionHeads ?? nHead ?? nHeads)!;
};

function sizesOf(model: BaseModel): {
  readonly layers: number;
  readonly width: number;
  /** Of keys and values. */
  readonly heads: Heads;
} {
  const named = model.config as unknown as Readonly<Record<string, number | null>>;
  const width = (named['hiddenSize'] ?? named['dim'] ?? named['nEmbd'])!;
  const layers = (named['numHiddenLayers'] ?? named['nLayers'] ?? named['nLayer'])!;
  const all = headCount(model);
  return { layers, width, heads: { count: named['numKeyValueHeads'] ?? all, size: named['headDim'] ?? width / all } };
}

/**
 * Lets a model read the active adapter's virtual tokens before every text, and gives what undoes it. Outputs
 * of a model that continues texts are those of the text's own tokens. What generation keeps of a text begins
 * with them, see `TokensAhead`.
 */
export function attachVirtualTokens(model: BaseModel, active: () => VirtualTokens | undefined): () => void {
  const { body, table } = partsOf(model);
  const { layers, heads } = sizesOf(model);
  const isDecoder = 'decoder' in model;
  const hook = { name: 'virtual tokens' };
  const positions = isDecoder ? (model as unknown as { decoder(): Decoder }).decoder().positions : Infinity;
  const checked = (inputs: DecoderInputs, { count }: VirtualTokens): DecoderInputs => {
    const length = inputs.inputIds.shape[1]!;
    if (count + length <= positions) return inputs;
    throw new Error(
      `${count} virtual tokens and ${length} of the text are more than the model's ${positions} positions; encode ` +
        `with { truncation: true, maxLength: ${positions - count} }`,
    );
  };
  /** Token numbers with places for virtual tokens before them. */
  const places = new WeakMap<object, VirtualTokens>();
  const beginning = new WeakSet<object>();
  const handles = [
    body.registerForwardPreHook((_, [given, ...rest]) => {
      const inputs = given as DecoderInputs;
      const tokens = active();
      // A cache begins with them.
      if (!tokens || inputs.cache) return undefined;
      if (tokens.isPrefix) return [behindPrefix(checked(inputs, tokens), tokens, heads), ...rest];
      const behind = behindPlaces(checked(inputs, tokens), tokens.count);
      places.set(behind.inputIds, tokens);
      return [behind, ...rest];
    }, hook),
    table.registerForwardHook((_, [ids], output) => {
      const tokens = places.get(ids as object);
      const words = output as Tensor; // (B, V + T, D)
      if (!tokens) return undefined;
      const shown = expand(unsqueeze(as(words, tokens.table), 0), [words.shape[0]!, ...tokens.table.shape]);
      return words.shape[1] === tokens.count ? shown : concat([shown, slice(words, null, [tokens.count])], 1);
    }, hook),
    body.registerForwardHook((_, [given], output) => {
      const { inputIds } = given as TokenInputs;
      const tokens = places.get(inputIds);
      if (!tokens || !isDecoder || beginning.has(inputIds)) return undefined;
      const { lastHiddenState, hiddenStates, ...others } = output as EncoderOutput;
      const own = (x: Tensor): Tensor => slice(x, null, [tokens.count]); // (B, T, D)
      return {
        ...others,
        lastHiddenState: own(lastHiddenState),
        ...(hiddenStates ? { hiddenStates: hiddenStates.map(own) } : {}),
      };
    }, hook),
  ];
  /** Writes the virtual tokens into an empty cache. */
  const write: TokensAhead['write'] = (cache) => {
    const tokens = active()!;
    if (!tokens.isPrefix) {
      const inputIds = zeros([cache.batch, tokens.count], { dtype: 'i32' });
      places.set(inputIds, tokens);
      beginning.add(inputIds);
      body.forward(...([{ inputIds, cache }] as unknown as never[]));
      return;
    }
    for (let i = 0; i < layers; i++) {
      const [keys, values] = prefixIn(tokens, heads, i, cache.batch, table.weight);
      // Only what this writes is wanted.
      cache.layer(i).attend(keys, keys, values);
    }
  };
  if (!isDecoder) return () => handles.forEach((handle) => handle.remove());
  const generative = model as unknown as { decoder(): Decoder };
  const { decoder } = generative;
  generative.decoder = () => withAhead(decoder.call(model), active(), write);
  return () => {
    for (const handle of handles) handle.remove();
    delete (generative as Partial<typeof generative>).decoder;
  };
}

function withAhead(decoder: Decoder, tokens: VirtualTokens | undefined, write: TokensAhead['write']): Decoder {
  if (!tokens) return decoder;
  const { count } = tokens;
  return {
    ...decoder,
    positions: decoder.positions - count,
    ...(decoder.switchAt === undefined ? {} : { switchAt: decoder.switchAt - count }),
    ahead: { count, write },
  };
}

/** The inputs with places for virtual tokens before them. */
function behindPlaces(inputs: DecoderInputs & { readonly tokenTypeIds?: Tensor }, count: number): typeof inputs {
  const { inputIds, attentionMask, tokenTypeIds, ...rest } = inputs;
  refuse('prompt tuning', { ...rest, outputHiddenStates: undefined, outputAttentions: undefined });
  const before = (x: Tensor, value: 0 | 1): Tensor => {
    if (x.ndim !== 2) throw new Error('prompt tuning: attentionMask must be [batch, tokens], one for all queries');
    const numbers = zeros([x.shape[0]!, count], { dtype: 'i32' }).add(value);
    return concat([numbers.to(x.dtype), x], 1);
  };
  return {
    ...rest,
    inputIds: before(inputIds, 0),
    ...(attentionMask ? { attentionMask: before(attentionMask, 1) } : {}),
    ...(tokenTypeIds ? { tokenTypeIds: before(tokenTypeIds, 0) } : {}),
  };
}

/** Throws for inputs that do not go with virtual tokens. */
function refuse(what: string, inputs: object): void {
  const other = Object.entries(inputs).find(([, value]) => value !== undefined && value !== false);
  if (!other) return;
  const mend =
    other[0] === 'documentIds' || other[0] === 'positionIds' ? 'give each text a row of its own' : 'leave it out';
  throw new Error(`${what}: ${other[0]} does not go with virtual tokens; ${mend}`);
}

interface Heads {
  readonly count: number;
  readonly size: number;
}

/** Keys and values (B, Hkv, V, D/H) of a prefix in one layer, in the type of another tensor. */
function prefixIn(
  { count, table }: VirtualTokens,
  { count: heads, size }: Heads,
  layer: number,
  batch: number,
  like: Tensor,
): readonly [keys: Tensor, values: Tensor] {
  const part = (index: number): Tensor => {
    const own = slice(table, null, [index * heads * size, (index + 1) * heads * size]); // (V, Hkv D/H)
    const byHead = permute(reshape(own, [count, heads, size]), [1, 0, 2]); // (Hkv, V, D/H)
    return as(like, expand(unsqueeze(byHead, 0), [batch, heads, count, size]));
  };
  return [part(2 * layer), part(2 * layer + 1)];
}

/** The inputs behind a prefix. */
function behindPrefix({ inputIds, ...rest }: DecoderInputs, tokens: VirtualTokens, heads: Heads): DecoderInputs {
  refuse('prefix tuning', rest);
  const batch = inputIds.shape[0]!;
  const { count } = tokens;
  const attend =
    (layer: number): LayerCache['attend'] =>
    (q, k, v, { bias, ...scoring } = {}) => {
      if (bias) throw new Error('prefix tuning: attention with a bias by distance has no prefix; use LoRA');
      const [keys, values] = prefixIn(tokens, heads, layer, batch, k);
      // With queries that nobody looks at, those of the text see the keys before their own.
      const queries = concat([zeros([batch, q.shape[1]!, count, q.shape[3]!], { dtype: q.dtype }), q], 2);
      const seen = scaledDotProductAttention(queries, concat([keys, k], 2), concat([values, v], 2), {
        ...scoring,
        causal: true,
      }); // (B, H, V + T, D/H)
      return slice(seen, null, null, [count]);
    };
  const attendToSource = (): never => {
    throw new Error('prefix tuning: there is no source to attend to');
  };
  const cache: TokensBefore = {
    batch,
    layer: (index) => ({ attend: attend(index), attendToSource }),
    positions: (length) => arange(count, count + length, 1, { dtype: 'i32' }),
    textLengths: () => undefined,
  };
  return { inputIds, cache };
}
