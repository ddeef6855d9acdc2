import { normalInit } from '../init.ts';
import { Conv1D } from '../nn/conv1d.ts';
import { LayerNorm } from '../nn/norm.ts';
import type { GPT2Config } from './config.ts';

/** A linear layer with GPT-2's initialisation: normal weights, biases 0. */
export function projection({ initializerRange }: GPT2Config, inFeatures: number, outFeatures: number): Conv1D {
  return new Conv1D(inFeatures, outFeatures, { weightInit: normalInit(initializerRange) });
}

/**
 * One whose output is added to the residual stream: its weights are smaller by the root of the number of such
 * additions, two a layer (Radford et al. 2019, section 2.3).
 */
export function residualProjection(config: GPT2Config, inFeatures: number, outFeatures: number): Conv1D {
  const deviation = config.initializerRange / Math.sqrt(2 * config.nLayer);
  return new Conv1D(inFeatures, outFeatures, { weightInit: normalInit(deviation) });
}

export function norm({ nEmbd, layerNormEpsilon }: GPT2Config): LayerNorm {
  return new LayerNorm(nEmbd, { eps: layerNormEpsilon });
}
