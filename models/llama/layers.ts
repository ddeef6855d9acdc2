import { normalInit, zerosInit } from '../init.ts';
import { Linear } from '../nn/linear.ts';
import { RMSNorm } from '../nn/norm.ts';
import type { LlamaConfig } from './config.ts';

/** A linear layer with Llama's initialisation: normal weights, biases 0. */
export function projection(
  { initializerRange }: LlamaConfig,
  inFeatures: number,
  outFeatures: number,
  bias: boolean,
): Linear {
  return new Linear(inFeatures, outFeatures, { bias, weightInit: normalInit(initializerRange), biasInit: zerosInit });
}

export function norm({ hiddenSize, rmsNormEps }: LlamaConfig, dim = hiddenSize): RMSNorm {
  return new RMSNorm(dim, { eps: rmsNormEps });
}
