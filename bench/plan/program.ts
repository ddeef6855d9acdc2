import { autocast, manualSeed, noGrad, zeros } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { lowerTape } from '../../autograd/compile/assemble.ts';
import type { LoweredTape } from '../../autograd/compile/assemble.ts';
import { capture } from '../../autograd/compile/capture.ts';
import { withoutDevice } from '../../autograd/runtime.ts';
import type { Target } from '../../gpu/index.ts';
import {
  BertConfig,
  BertForMaskedLM,
  Conv1D,
  Embedding,
  gpt2Config,
  GPT2LMHeadModel,
  LlamaConfig,
  LlamaForCausalLM,
  Parameter,
} from '../../models/index.ts';
import type { Module } from '../../models/index.ts';
import type { Decoder } from '../../models/generation/decoder.ts';
import { appendToken } from '../../models/generation/session.ts';
import { KeyValueCache } from '../../models/nn/kv-cache.ts';
import { PackedParameter } from '../../models/nn/packed-parameter.ts';
import { layersByWeight, typeFor, usersOf } from '../../models/nn/quantize.ts';
import { AdamW, decayGroups, GradScaler } from '../../train/optim/index.ts';

/** What the models have in common. */
interface TokenModel extends Module {
  readonly config: { readonly vocabSize: number };
  decoder?(): Decoder;
  readonly forward: {
    (inputs: { inputIds: Tensor; labels: Tensor; outputLogits: false }): { readonly loss: Tensor };
    (inputs: { inputIds: Tensor }): { readonly logits: Tensor };
  };
}

/** Published models, with another number of layers, vocabulary or dropout where these are given. */
export const models = {
  'gpt2-124m': ({ layers, vocabulary, dropout }) =>
    GPT2LMHeadModel.fromConfig(
      gpt2Config('gpt2', {
        nLayer: layers ?? 12,
        vocabSize: vocabulary ?? 50257,
        ...(dropout === undefined ? {} : { attnPdrop: dropout, residPdrop: dropout, embdPdrop: dropout }),
      }),
    ),
  'bert-base': ({ layers, vocabulary, dropout }) =>
    BertForMaskedLM.fromConfig(
      BertConfig.create({
        numHiddenLayers: layers ?? 12,
        vocabSize: vocabulary ?? 30522,
        ...(dropout === undefined ? {} : { hiddenDropoutProb: dropout, attentionProbsDropoutProb: dropout }),
      }),
    ),
  /** Llama 3.2 1B, whose layers have no dropout. */
  'llama-1b': ({ layers, vocabulary }) =>
    LlamaForCausalLM.fromConfig(
      LlamaConfig.create({
        hiddenSize: 2048,
        intermediateSize: 8192,
        numHiddenLayers: layers ?? 16,
        numAttentionHeads: 32,
        numKeyValueHeads: 8,
        headDim: 64,
        vocabSize: vocabulary ?? 128256,
        maxPositionEmbeddings: 131072,
        tieWordEmbeddings: true,
      }),
    ),
} satisfies Readonly<Record<string, (sizes: ModelSizes) => TokenModel>>;

export type ModelName = keyof typeof models;

interface ModelSizes {
  readonly layers?: number;
  readonly vocabulary?: number;
  readonly dropout?: number;
}

export const steps = ['train', 'forward', 'decode'] as const;
export const packings = ['q4_0', 'q4_1', 'q8_0'] as const;

export interface Work extends ModelSizes {
  readonly model: ModelName;
  readonly batch: number;
  /** Tokens of a row; of a step of decoding, those in the cache with the new one. */
  readonly length: number;
  readonly dtype: 'f16' | 'f32';
  /**
   * A step of training (default): loss, gradients, clipping, AdamW; `forward`, the logits of a batch;
   * `decode`, the next token of each row.
   */
  readonly step?: (typeof steps)[number] | undefined;
  /** With `decode`: what weights are packed as; the rest is computed in f32. */
  readonly packed?: (typeof packings)[number] | undefined;
}

/** A piece of work, ready to be captured or run. */
interface Prepared {
  /** Of token ids i32, of this shape. */
  readonly step: (inputIds: Tensor) => Tensor;
  readonly shape: readonly [batch: number, tokens: number];
  /** Bytes that a step of decoding reads at least, once it was captured: weights and cache. */
  readonly leastBytes?: () => number;
}

/** Makes the model, and the optimizer or the cache, of a piece of work. */
export function prepare({ model: name, dtype, step = 'train', packed, batch, length, ...sizes }: Work): Prepared {
  const model: TokenModel = models[name](sizes);
  const shape = [batch, length] as const;
  model.train(step === 'train');
  if (step === 'decode') return decoding(model, dtype, packed, shape);
  if (step === 'forward')
    return { shape, step: (inputIds) => noGrad(() => autocast(() => model.forward({ inputIds }).logits, { dtype })) };
  const half = dtype === 'f16';
  const groups = decayGroups(model.namedParameters(), 0.1);
  const optimizer = new AdamW(groups, { lr: 1e-4, betas: [0.9, 0.95], halfCopies: half });
  const scaler = half ? new GradScaler() : undefined;
  const train = (inputIds: Tensor): Tensor => {
    const inputs = { inputIds, labels: inputIds, outputLogits: false } as const;
    const { loss } = autocast(() => model.forward(inputs), { dtype });
    (scaler ? scaler.scale(loss) : loss).backward();
    optimizer.step({ maxNorm: 1, scaler });
    optimizer.zeroGrad();
    return loss.detach();
  };
  return { shape, step: train };
}

function decoding(
  model: TokenModel,
  dtype: Work['dtype'],
  packed: Work['packed'],
  [batch, length]: readonly [number, number],
): Prepared {
  if (!model.decoder)
    throw new Error(`plan: ${model.constructor.name} has no next token; choose a model that generates`);
  const { vocabSize } = model.config;
  if (packed) packEmpty(model, packed, vocabSize);
  else model.to(dtype);
  const decoder = model.decoder();
  const cache = new KeyValueCache(batch, length);
  cache.clear(Math.max(0, length - 2)); // for a first call, and one that is timed
  const bytesOf = ({ quantized, storage }: Parameter): number =>
    quantized ? quantized.packed.storage.bytes + quantized.scales.storage.bytes : storage.bytes;
  const isRead = (users: readonly (readonly [string, Module])[]): boolean =>
    users.some(([, module]) => !(module instanceof Embedding) || module.weight.shape[0] === vocabSize);
  return {
    shape: [batch, 1],
    step: (inputIds) => noGrad(() => appendToken(decoder, cache, inputIds, 'argmax')),
    // Of tables of positions a step reads a row.
    leastBytes: () =>
      [...usersOf(model)].reduce((sum, [p, users]) => sum + (isRead(users) ? bytesOf(p) : 0), cache.bytes),
  };
}

/** Puts packed weights without elements where loading would pack those of a file. */
function packEmpty(model: TokenModel, packed: NonNullable<Work['packed']>, vocabSize: number): void {
  for (const [weight, layers] of layersByWeight(model, vocabSize)) {
    const type = weight instanceof Parameter && typeFor(weight, layers, 'F32', packed);
    if (!type || typeof type === 'string') continue;
    const isTransposed = layers[0] instanceof Conv1D;
    const [out, into] = (isTransposed ? [...weight.shape].reverse() : weight.shape) as [number, number];
    const bits = type.name === 'Q8_0' ? 8 : 4;
    const perGroup = (): Tensor => zeros([out, into / 32], { dtype: 'f16' });
    const quantized = {
      ...({ shape: [out, into], bits, group: 32, scales: perGroup() } as const),
      packed: zeros([out, (into * bits) / 32], { dtype: 'u32' }),
      ...(type.name === 'Q4_1' ? { minimums: perGroup() } : {}),
    };
    const made = new PackedParameter(quantized, isTransposed);
    for (const layer of layers) layer.weight = made;
  }
  model.requiresGrad(false);
}

/**
 * Captures a piece of work and lowers it for a device that need not be at hand. No tensor of the model or of
 * the step takes memory, and nothing runs.
 */
export function lowerFor(target: Target, work: Work): LoweredTape & { readonly leastBytes?: number } {
  return withoutDevice(() => {
    manualSeed(0);
    const { step, shape, leastBytes } = prepare(work);
    const inputIds = zeros(shape, { dtype: 'i32' });
    const { entries, inputs, result, draws } = capture(([ids]) => step(ids!), [inputIds]);
    const wanted = new Set(result.leaves.map(({ storage }) => storage));
    const lowered = lowerTape({ entries, inputs, wanted, firstDraw: draws.first }, target);
    return { ...lowered, ...(leastBytes ? { leastBytes: leastBytes() } : {}) };
  });
}
