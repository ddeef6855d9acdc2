/** Decoders whose queries share keys and values: smaller caches, faster decoding. */
import { mean, noGrad, reshape } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { keyValueHeads } from '../../models/transformer/decoder-config.ts';
import type { DecoderConfig } from '../../models/transformer/decoder-config.ts';
import { rebuilt } from './smaller.ts';
import type { Shrinkable } from './smaller.ts';

/**
 * A decoder with fewer heads of keys and values, each the mean of those that it takes the place of, whose
 * queries then share it (Ainslie et al. 2023; one for all: Shazeer 2019). It needs some training afterwards,
 * 5% of its pretraining in the paper. Loads in Transformers.
 *
 * Errors, each one line: a family whose config has no such heads, or that holds projections otherwise; a
 * number that does not divide those there are; packed weights.
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 16, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 4 };
 * groupKeyValueHeads(LlamaForCausalLM.fromConfig(config), 2).config.numKeyValueHeads; // 2
 */
export function groupKeyValueHeads<M extends Shrinkable>(model: M, count: number): M {
  const fail = (what: string): Error => new Error(`groupKeyValueHeads: ${what}`);
  if (!('numKeyValueHeads' in model.config))
    throw fail(
      `the config of ${model.constructor.name} has no heads of keys and values apart; give a Llama or its kin`,
    );
  const heads = keyValueHeads(model.config as unknown as DecoderConfig);
  if (!(Number.isInteger(count) && count >= 1 && count < heads && heads % count === 0))
    throw fail(`${count} heads are to stay of ${heads}; give a divisor of that below it`);
  const state: Map<string, Tensor> = model.stateDict();
  const projections = [...state].filter(([key]) => /\.self_attn\.[kv]_proj\.(weight|bias)$/.test(key));
  if (projections.length === 0) throw fail(`${model.constructor.name} holds keys and values in one with others`);
  const rowsOfKeys = projections.map(([, { shape }]) => shape[0]);
  const norm = [...state].find(([key, { shape }]) => key.endsWith('.k_norm.weight') && rowsOfKeys.includes(shape[0]));
  if (norm) throw fail(`${norm[0]} normalises the keys of all heads together, which their mean has no norm for`);
  noGrad(() => {
    for (const [key, value] of projections) {
      if (model.parameters().some((parameter) => parameter === value && parameter.quantized))
        throw fail(`${key} is quantised; load the model without quantize`);
      const [rows, ...rest] = value.shape as [number, ...number[]];
      const apart = reshape(value, [count, heads / count, rows / heads, ...rest]);
      state.set(key, reshape(mean(apart, [1]), [(count * rows) / heads, ...rest]));
    }
  });
  return rebuilt(model, { ...model.config, numKeyValueHeads: count } as typeof model.config, state);
}
