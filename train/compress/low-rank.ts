/** A trained model whose linear layers are each two thin ones, by the singular values of its weights. */
import { noGrad, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { svd } from '../../common/svd.ts';
import { changedLayers, Linear, nameInBase, withChangedLayers } from '../../models/index.ts';
import { modulesWithWeights, rebuilt } from './smaller.ts';
import type { Shrinkable } from './smaller.ts';

/** How thin the layers become; give one of the two. */
export interface Thinness {
  /** Share of each layer's weights that its two thin ones have, above 0 and below 1. */
  readonly share?: number | undefined;
  /** Share of the squares of each layer's singular values that is to stay, above 0, at most 1. */
  readonly energy?: number | undefined;
}

/** Error: both or none given; a share that is none. */
function checkThinness({ share, energy }: Thinness): void {
  if ((share === undefined) === (energy === undefined))
    throw new Error('lowRank: give either a share of the weights, or one of the squares of singular values');
  if (share !== undefined && !(share > 0 && share < 1))
    throw new Error(`lowRank: a share of ${share} of the weights is to stay; give a number between 0 and 1`);
  if (energy !== undefined && !(energy > 0 && energy <= 1))
    throw new Error(`lowRank: a share of ${energy} of the squares is to stay; give a number above 0, at most 1`);
}

/** The rank of a weight [out, in]; at 0 two thin ones would be no smaller. */
export function rankFor(values: ArrayLike<number>, [out, into]: readonly [number, number], thin: Thinness): number {
  const { share, energy } = thin;
  const whole = out * into;
  if (share !== undefined) return Math.max(1, Math.floor((share * whole) / (out + into)));
  const squares = Array.from(values, (s) => s * s);
  const total = squares.reduce((sum, square) => sum + square, 0);
  let [rank, sum] = [0, 0];
  // The sum of all may miss the total by a rounding.
  while (rank < squares.length && sum < energy! * total * (1 - 1e-12)) sum += squares[rank++]!;
  rank = Math.max(1, rank);
  return rank * (out + into) < whole ? rank : 0;
}

/**
 * The model with each linear layer of its stack as two: W [out, in] ~ up [out, r] down [r, in], the nearest
 * product of that rank there is (Eckart and Young 1936), its singular values shared between both. Biases,
 * embeddings and heads stay. A layer that two thin ones would not make smaller is left as it is.
 *
 * config.json says so as `low_rank`, and the folder loads here; Transformers does not know that word, and
 * would begin these layers anew.
 *
 * Errors, each one line: those of `Thinness`; GPT-2's layers, packed weights; layers that are of low rank
 * already; nothing that gets smaller.
 *
 * @example
 * const config = { vocabSize: 50, hiddenSize: 16, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const thin = await lowRank(BertForMaskedLM.fromConfig(config), { share: 0.5 });
 */
export async function lowRank<M extends Shrinkable>(model: M, thin: Thinness): Promise<M> {
  checkThinness(thin);
  if (Object.keys(changedLayers(model.config, 'low_rank')).length > 0)
    throw new Error('lowRank: layers of the model are of low rank already; give the model that it was made from');
  const state: Map<string, Tensor> = model.stateDict();
  const ranks: Record<string, number> = {};
  for (const [name, layer] of modulesWithWeights('lowRank', model)) {
    const { weight, bias } = layer;
    if (!(layer instanceof Linear))
      throw new Error(`lowRank: ${name} holds its weights the other way round, as GPT-2 does; give another model`);
    if (weight.quantized) throw new Error(`lowRank: ${name} is quantised; factorise first, then quantise`);
    const shape = weight.shape as [number, number];
    const [out, into] = shape;
    const { u, s, vh } = svd(Float64Array.from(await weight.data(), Number), out, into);
    const rank = rankFor(s, shape, thin);
    if (rank === 0) continue;
    const k = s.length;
    const up = Float32Array.from({ length: out * rank }, (_, at) => {
      const r = at % rank;
      return u[Math.floor(at / rank) * k + r]! * Math.sqrt(s[r]!);
    });
    const down = Float32Array.from({ length: rank * into }, (_, at) => {
      return vh[at]! * Math.sqrt(s[Math.floor(at / into)]!);
    });
    state.delete(`${name}.weight`);
    state.delete(`${name}.bias`);
    state.set(`${name}.down.weight`, tensor(down, { shape: [rank, into] }));
    state.set(`${name}.up.weight`, tensor(up, { shape: [out, rank] }));
    if (bias) state.set(`${name}.up.bias`, bias);
    ranks[nameInBase(model, name)] = rank;
  }
  if (Object.keys(ranks).length === 0)
    throw new Error(
      `lowRank: no layer of the ${model.constructor.name} gets smaller as two of the rank that is asked for; keep less`,
    );
  return noGrad(() => rebuilt(model, withChangedLayers(model.config, 'low_rank', ranks), state));
}
