import { noGrad, scope, uniform } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { GPT2LMHeadModel } from '../../models/index.ts';
import type { GPT2Config } from '../../models/index.ts';
import { AdamW, decayGroups } from '../../train/optim/index.ts';

/** A GPT-2 with random weights, and what is measured of it. */
export interface Work {
  readonly parameters: number;
  /** Tokens of one step. */
  readonly tokens: number;
  /** Floating-point operations that the model needs for a forward pass over them; a training step needs three times as many. */
  readonly forwardFlops: number;
  /** Bytes of the parameters and of the optimizer's two moments. */
  readonly stateBytes: number;
  /** Logits of a batch, in eval mode. */
  readonly forward: (inputIds: Tensor) => Tensor;
  /** Loss, its gradient, clipping and an AdamW update, dropout on. */
  readonly train: (inputIds: Tensor) => Tensor;
  readonly inputIds: Tensor;
}

export function gpt2Work(config: GPT2Config, batch: number, length: number): Work {
  const model = GPT2LMHeadModel.fromConfig(config);
  const optimizer = new AdamW(decayGroups(model.namedParameters(), 0.1), { lr: 1e-4, betas: [0.9, 0.95] });
  const inputIds = uniform([batch, length], { low: 0, high: config.vocabSize }).to('i32').keep();
  const parameters = model.numParameters();
  const tokens = batch * length;
  // Every weight but those of positions is in one product a token, 2 flops (the tied table of tokens as the head's weight);
  // scores and weighted values are two products of `length` x nEmbd a token and layer, masked half included, as is usual.
  const weightsInProducts = parameters - config.nPositions * config.nEmbd;
  const forwardFlops = tokens * (2 * weightsInProducts + 4 * config.nLayer * length * config.nEmbd);
  return {
    parameters,
    tokens,
    forwardFlops,
    stateBytes: 3 * 4 * parameters,
    inputIds,
    forward: (ids) => noGrad(() => model.eval().forward({ inputIds: ids }).logits),
    train(ids) {
      const { loss } = model.train().forward({ inputIds: ids, labels: ids, outputLogits: false });
      loss.backward();
      optimizer.step({ maxNorm: 1 });
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
