import { autocast, noGrad, scope, uniform } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { GPT2LMHeadModel } from '../../models/index.ts';
import type { GPT2Config } from '../../models/index.ts';
import { AdamW, decayGroups, GradScaler } from '../../train/optim/index.ts';

/** A GPT-2 with random weights, and what is measured of it. */
export interface Work {
  readonly parameters: number;
  /** Tokens of one step. */
  readonly tokens: number;
  /**
   * Floating-point operations that the model needs for a forward pass over them; a training step needs three
   * times as many.
   */
  readonly forwardFlops: number;
  /** Bytes of the parameters (with their f16 copies, if there are) and of the optimizer's two moments. */
  readonly stateBytes: number;
  /** Logits of a batch, in eval mode. */
  readonly forward: (inputIds: Tensor) => Tensor;
  /** Loss, its gradient, clipping and an AdamW update, dropout on. */
  readonly train: (inputIds: Tensor) => Tensor;
  readonly inputIds: Tensor;
}

/** `half`: products in f16, weights and moments in f32, the loss scaled. */
export function gpt2Work(config: GPT2Config, batch: number, length: number, half: boolean): Work {
  const model = GPT2LMHeadModel.fromConfig(config);
  const groups = decayGroups(model.namedParameters(), 0.1);
  const optimizer = new AdamW(groups, { lr: 1e-4, betas: [0.9, 0.95], halfCopies: half });
  const scaler = half ? new GradScaler() : undefined;
  const dtype = half ? 'f16' : 'f32';
  const inputIds = uniform([batch, length], { low: 0, high: config.vocabSize }).to('i32').keep();
  const parameters = model.numParameters();
  const tokens = batch * length;
  // Every weight but those of positions is in one product a token, 2 flops (the tied table of tokens as the
  // head's weight); scores and weighted values are two products of `length` x nEmbd a token and layer, masked
  // half included, as is usual.
  const weightsInProducts = parameters - config.nPositions * config.nEmbd;
  const forwardFlops = tokens * (2 * weightsInProducts + 4 * config.nLayer * length * config.nEmbd);
  return {
    parameters,
    tokens,
    forwardFlops,
    stateBytes: (half ? 14 : 12) * parameters,
    inputIds,
    forward: (ids) => noGrad(() => autocast(() => model.eval().forward({ inputIds: ids }).logits, { dtype })),
    train(ids) {
      const inputs = { inputIds: ids, labels: ids, outputLogits: false } as const;
      const { loss } = autocast(() => model.train().forward(inputs), { dtype });
      (scaler ? scaler.scale(loss) : loss).backward();
      optimizer.step({ maxNorm: 1, scaler });
      optimizer.zeroGrad();
      return loss.detach();
    },
  };
}

/** One call whose memory is given back at its end. */
export function once(step: (inputIds: Tensor) => Tensor, inputIds: Tensor): void {
  using _ = scope();
  step(inputIds);
}
