import { normalInit, zerosInit } from '../init.ts';
import { Embedding } from '../nn/embedding.ts';
import { Linear } from '../nn/linear.ts';
import type { MarianConfig } from './config.ts';

/** A linear layer with Marian's initialisation: normal weights, biases 0. */
export function dense({ initStd }: MarianConfig, inFeatures: number, outFeatures: number): Linear {
  return new Linear(inFeatures, outFeatures, { weightInit: normalInit(initStd), biasInit: zerosInit });
}

/** A table of token embeddings. */
export function tokens({ dModel, initStd, padTokenId }: MarianConfig, count: number): Embedding {
  return new Embedding(count, dModel, { paddingIdx: padTokenId, weightInit: normalInit(initStd) });
}
