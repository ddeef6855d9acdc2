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
  gpt2Config,
  GPT2LMHeadModel,
  LlamaConfig,
  LlamaForCausalLM,
} from '../../models/index.ts';
import type { Module } from '../../models/index.ts';
import { AdamW, decayGroups, GradScaler } from '../../train/optim/index.ts';

/** What the models have in common. */
interface TokenModel {
  train(mode?: boolean): unknown;
  namedParameters(): ReturnType<Module['namedParameters']>;
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

export interface Work extends ModelSizes {
  readonly model: ModelName;
  readonly batch: number;
  readonly length: number;
  readonly dtype: 'f16' | 'f32';
  /** The logits of a batch; else a step of training: loss, gradients, clipping, AdamW. */
  readonly forward?: boolean;
}

/** Makes the model and the optimizer of a piece of work: a function of token ids i32 [batch, length]. */
export function stepOf({ model: name, dtype, forward = false, ...sizes }: Work): (inputIds: Tensor) => Tensor {
  const model: TokenModel = models[name](sizes);
  model.train(!forward);
  if (forward) return (inputIds) => noGrad(() => autocast(() => model.forward({ inputIds }).logits, { dtype }));
  const half = dtype === 'f16';
  const groups = decayGroups(model.namedParameters(), 0.1);
  const optimizer = new AdamW(groups, { lr: 1e-4, betas: [0.9, 0.95], halfCopies: half });
  const scaler = half ? new GradScaler() : undefined;
  return (inputIds) => {
    const inputs = { inputIds, labels: inputIds, outputLogits: false } as const;
    const { loss } = autocast(() => model.forward(inputs), { dtype });
    (scaler ? scaler.scale(loss) : loss).backward();
    optimizer.step({ maxNorm: 1, scaler });
    optimizer.zeroGrad();
    return loss.detach();
  };
}

/**
 * Captures a piece of work and lowers it for a device that need not be at hand. No tensor of the model or of
 * the step takes memory, and nothing runs.
 */
export function lowerFor(target: Target, work: Work): LoweredTape {
  return withoutDevice(() => {
    manualSeed(0);
    const step = stepOf(work);
    const inputIds = zeros([work.batch, work.length], { dtype: 'i32' });
    const { entries, inputs, result, draws } = capture(([ids]) => step(ids!), [inputIds]);
    const wanted = new Set(result.leaves.map(({ storage }) => storage));
    return lowerTape({ entries, inputs, wanted, firstDraw: draws.first }, target);
  });
}
