import { normalInit, zerosInit } from '../init.ts';
import { LayerNorm } from '../nn/norm.ts';
import { Linear } from '../nn/linear.ts';
import type { LinearOptions } from '../nn/linear.ts';
import type { BertConfig } from './config.ts';

/** A linear layer with BERT's initialisation: normal weights, biases 0. */
export function dense(
  config: BertConfig,
  inFeatures: number,
  outFeatures: number,
  options: LinearOptions = {},
): Linear {
  return new Linear(inFeatures, outFeatures, {
    weightInit: normalInit(config.initializerRange),
    biasInit: zerosInit,
    ...options,
  });
}

export function norm(config: BertConfig): LayerNorm {
  return new LayerNorm(config.hiddenSize, { eps: config.layerNormEps });
}
