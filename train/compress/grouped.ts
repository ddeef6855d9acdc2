/** A trained model whose feed-forward parts compute in groups, with a part of the weights. */
import { mean } from '../../common/statistics.ts';
import { noGrad, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Linear, nameInBase, withChangedLayers } from '../../models/index.ts';
import { takenOver } from './gptq.ts';
import type { InputProducts } from './gptq.ts';
import { diagonalOf } from './rounding.ts';
import { checkWhole, feedForwardNames, modulesWithWeights, rebuilt } from './smaller.ts';
import type { Shrinkable } from './smaller.ts';

export interface GroupingOptions {
  /** How many groups, from 2 up; they divide the width and the units of the feed-forward parts. */
  readonly groups: number;
  /**
   * What the layers of the model read of some texts. Weights that stay then take over what those that go did,
   * as least squares say; without, they are as they were.
   */
  readonly products?: InputProducts | undefined;
}

/**
 * The model with the linear layers of its feed-forward parts in groups (SqueezeBERT, Iandola et al. 2020),
 * see `GroupedLinear`: a G-th of their weights and of their products. Units are put in the order in which
 * most of the squares of the weights stay: each is in one of G x G cells, by which part of the inputs it
 * reads and which part of the outputs it adds to. Attention, embeddings and heads stay.
 *
 * config.json says so as `grouped`, and the folder loads here; Transformers does not know that word, and
 * would begin these layers anew.
 *
 * Errors, each one line: groups that do not divide the layers; layers that are changed already; a family
 * whose feed-forward part is not known, or GPT-2's; packed weights.
 *
 * @example
 * const config = { vocabSize: 50, hiddenSize: 16, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = BertForMaskedLM.fromConfig({ ...config, intermediateSize: 32 });
 * model.numParameters() - (await grouped(model, { groups: 4 })).numParameters(); // 768
 */
export async function grouped<M extends Shrinkable>(model: M, { groups, products }: GroupingOptions): Promise<M> {
  if (!(Number.isInteger(groups) && groups >= 2))
    throw new Error(`grouped: ${groups} groups make no sense; give a whole number from 2 up`);
  checkWhole('grouped', model);
  const layers = new Map(modulesWithWeights('grouped', model));
  const state: Map<string, Tensor> = model.stateDict();
  const changed: Record<string, number> = {};
  for (const { into, from } of feedForwardNames('grouped', model)) {
    const weights = new Map<string, Weight>();
    for (const name of [...into, from]) weights.set(name, await weightOf(name, layers.get(name), groups));
    const reads = into.map((name) => weights.get(name)!);
    const writes = weights.get(from)!;
    const order = unitOrder(reads, writes, groups);
    const inputs = (name: string): Float64Array | undefined => products?.of(name);
    for (const name of into) {
      const { values, out, into: width } = weights.get(name)!;
      const rows = Float32Array.from({ length: out * width }, (_, at) => {
        return values[order[Math.floor(at / width)]! * width + (at % width)]!;
      });
      state.set(`${name}.weight`, inGroups({ values: rows, out, into: width }, groups, inputs(name)));
      const bias = state.get(`${name}.bias`);
      if (bias) {
        const own = await bias.data();
        state.set(`${name}.bias`, tensor(Float32Array.from(order, (unit) => Number(own[unit]))));
      }
    }
    const { values, out, into: units } = writes;
    const columns = Float32Array.from({ length: out * units }, (_, at) => {
      return values[Math.floor(at / units) * units + order[at % units]!]!;
    });
    const read = inputs(from);
    const ordered =
      read &&
      Float64Array.from({ length: units * units }, (_, at) => {
        return read[order[Math.floor(at / units)]! * units + order[at % units]!]!;
      });
    state.set(`${from}.weight`, inGroups({ values: columns, out, into: units }, groups, ordered));
    for (const name of [...into, from]) changed[nameInBase(model, name)] = groups;
  }
  return noGrad(() => rebuilt(model, withChangedLayers(model.config, 'grouped', changed), state));
}

/** Weights [out, into], row after row. */
interface Weight {
  readonly values: Float32Array;
  readonly out: number;
  readonly into: number;
}

/** Error: a layer of another make, packed, or of sizes that groups do not divide. */
async function weightOf(name: string, layer: unknown, groups: number): Promise<Weight> {
  if (!(layer instanceof Linear) || layer.weight.quantized)
    throw new Error(`grouped: ${name} is no linear layer of whole weights; make groups first, then quantise`);
  const [out, into] = layer.weight.shape as [number, number];
  if (out % groups !== 0 || into % groups !== 0)
    throw new Error(`grouped: ${groups} groups do not divide ${name}, whose weight is [${out}, ${into}]`);
  return { values: Float32Array.from(await layer.weight.data(), Number), out, into };
}

/**
 * The number of the unit that is to be at each place: a place reads from one group of inputs, and one group
 * of outputs reads it; pairs of unit and cell are taken by what stays, the most first, while there is room.
 */
function unitOrder(reads: readonly Weight[], writes: Weight, groups: number): Int32Array {
  const units = writes.into;
  const cellOf = (place: number): number => Math.floor((place * groups) / units) * groups + (place % groups);
  const places = Array.from({ length: groups * groups }, (): number[] => []);
  for (let place = units - 1; place >= 0; place--) places[cellOf(place)]!.push(place);
  const stays = new Float64Array(units * groups * groups);
  for (let unit = 0; unit < units; unit++) {
    const read = new Float64Array(groups);
    for (const { values, into } of reads)
      for (let i = 0; i < into; i++) read[i % groups]! += values[unit * into + i]! ** 2;
    const written = new Float64Array(groups);
    for (let i = 0; i < writes.out; i++)
      written[Math.floor((i * groups) / writes.out)]! += writes.values[i * units + unit]! ** 2;
    for (let cell = 0; cell < groups * groups; cell++)
      stays[unit * groups * groups + cell] = read[Math.floor(cell / groups)]! + written[cell % groups]!;
  }
  const order = new Int32Array(units).fill(-1);
  const isPlaced = new Uint8Array(units);
  for (const pair of Uint32Array.from(stays.keys()).sort((a, b) => stays[b]! - stays[a]!)) {
    const unit = Math.floor(pair / (groups * groups));
    if (isPlaced[unit] === 1) continue;
    const place = places[pair % (groups * groups)]!.pop();
    if (place === undefined) continue;
    order[place] = unit;
    isPlaced[unit] = 1;
  }
  return order;
}

/** Of the mean square of what is read: how firmly weights are held where inputs hardly tell them. */
const damping = 0.01;

/** What stays of weights in groups, [out, into / G]; for inputs of which X^T X is known, by least squares. */
function inGroups({ values, out, into }: Weight, groups: number, products: Float64Array | undefined): Tensor {
  const own = into / groups;
  const rows = out / groups;
  const stays = new Float32Array(out * own);
  for (let group = 0; group < groups; group++) {
    const inputs = Array.from({ length: own }, (_, i) => i * groups + group);
    const solve = products && leastSquares(products, inputs);
    for (let row = group * rows; row < (group + 1) * rows; row++) {
      const whole = values.subarray(row * into, (row + 1) * into);
      stays.set(solve ? solve(whole) : inputs.map((input) => whole[input]!), row * own);
    }
  }
  return tensor(stays, { shape: [out, own] });
}

/**
 * What weights of some inputs have to be for the sum to be nearest to that of all: v (H[s, s] + d) = w H[:,
 * s] + d w[s] with H = X^T X, so that they are as before where texts do not tell.
 */
function leastSquares(products: Float64Array, inputs: readonly number[]): (whole: Float32Array) => Float64Array {
  const [n, own] = [Math.sqrt(products.length), inputs.length];
  const among = Float64Array.from({ length: own * own }, (_, at) => {
    return products[inputs[Math.floor(at / own)]! * n + inputs[at % own]!]!;
  });
  const lower = takenOver('grouped', among, own, damping); // (H[s, s] + d)^-1 = L L^T
  const held = damping * (mean(Array.from(diagonalOf(among))) || 1);
  return (whole) => {
    const right = Float64Array.from(inputs, (input) => held * whole[input]!);
    for (let k = 0; k < n; k++) for (let i = 0; i < own; i++) right[i]! += whole[k]! * products[k * n + inputs[i]!]!;
    const half = new Float64Array(own); // L^T right
    for (let i = 0; i < own; i++) for (let j = 0; j <= i; j++) half[j]! += lower[i * own + j]! * right[i]!;
    return Float64Array.from(half, (_, i) => {
      let sum = 0;
      for (let j = 0; j <= i; j++) sum += lower[i * own + j]! * half[j]!;
      return sum;
    });
  };
}
