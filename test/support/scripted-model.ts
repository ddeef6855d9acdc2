import { embedding, tensor, zeros } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { Generative } from '../../models/index.ts';

/**
 * A model that says the same whatever came before: token `script[i]` at position i, one row of logits (0, but
 * 9 for that token) for each position.
 */
export function scriptedModel(
  script: readonly number[],
  vocabSize: number,
  config: Generative['config'] = {},
): Generative {
  const rows = Array.from({ length: script.length }, (_, i) =>
    Array.from({ length: vocabSize }, (_, id) => (id === script[i] ? 9 : 0)),
  );
  const table = tensor(rows.flat(), { shape: [script.length, vocabSize] }).keep();
  return modelOf(vocabSize, script.length, config, (positions) => embedding(table, positions));
}

/** A model of any length that finds every token as good as any other. */
export function indifferentModel(vocabSize: number, config: Generative['config'] = {}): Generative {
  const row = zeros([1, vocabSize]).keep();
  return modelOf(vocabSize, Infinity, config, (positions) => embedding(row, positions.mul(0)));
}

/** A model whose logits (B, T, V) depend on the positions [B, T] alone. */
function modelOf(
  vocabSize: number,
  positions: number,
  config: Generative['config'],
  logitsAt: (positions: Tensor) => Tensor,
): Generative {
  return {
    config,
    training: false,
    eval: () => undefined,
    train: () => undefined,
    parameters: () => [],
    decoder: () => ({
      vocabSize,
      positions,
      hidden: (inputIds, cache) => logitsAt(cache.positions(inputIds.shape[1]!)),
      logits: (hidden) => hidden,
    }),
  };
}
