/** Weights set to zero, one by one or so many of each group: magnitude pruning, Wanda and SparseGPT. */
import { assign, mul, noGrad, sum, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Linear } from '../../models/nn/linear.ts';
import { evalMode, withHooks } from '../../models/index.ts';
import type { ModuleHooks } from '../../models/index.ts';
import type { Callback } from '../trainer/callback.ts';
import type { InputProducts } from './gptq.ts';
import { modulesWithWeights } from './smaller.ts';
import type { Shrinkable } from './smaller.ts';
import { sparseGpt } from './sparse-gpt.ts';

/** Which weights are compared with each other: those of one output, of one layer, or all of them. */
export const scopes = ['row', 'layer', 'model'] as const;

export interface MaskChoice {
  /** Share of the weights that become zero, 0 up to below 1. */
  readonly sparsity: number;
  /** `2:4`: of 4 inputs in a row 2 stay, as NVIDIA's sparse products need it; then `sparsity` is 0.5. */
  readonly pattern?: string | undefined;
  readonly scope: (typeof scopes)[number];
}

export interface WeightPruning extends MaskChoice {
  /**
   * Norm of what each input of a linear layer reads, by the layer's name: weights count |w| times it (Wanda,
   * Sun et al. 2024). Without: |w|.
   */
  readonly inputNorms?: ReadonlyMap<string, Float32Array> | undefined;
  /** What linear layers read: weights are chosen by it, and those that stay take over; see `sparseGpt`. */
  readonly products?: InputProducts | undefined;
}

/** The linear layers of a model's stack of layers: embeddings and heads are left as they are. */
function linears(model: Shrinkable): [name: string, layer: Linear][] {
  const all = modulesWithWeights('pruneWeights', model);
  const odd = all.find(([, layer]) => !(layer instanceof Linear));
  if (odd)
    throw new Error(`pruneWeights: ${odd[0]} holds its weights the other way round, as GPT-2 does; give another model`);
  return all as [string, Linear][];
}

/** n and m of `n:m`. Error: it is none. */
function parsePattern(pattern: string): [kept: number, of: number] {
  const [kept, of] = (/^(\d+):(\d+)$/.exec(pattern)?.slice(1) ?? []).map(Number) as [number?, number?];
  if (kept !== undefined && of !== undefined && kept > 0 && kept < of) return [kept, of];
  throw new Error(`pruneWeights: the pattern is "${pattern}"; write 2:4 for 2 of 4 that stay`);
}

/**
 * What stays of how many, where there is a pattern. Errors, each one line: a share that is none, a pattern
 * that is none, or that does not fit layers of so many inputs.
 */
export function checkChoice(
  { sparsity, pattern }: Omit<MaskChoice, 'scope'>,
  widths: Iterable<readonly [name: string, width: number]>,
): readonly [kept: number, of: number] | undefined {
  if (!(sparsity >= 0 && sparsity < 1))
    throw new Error(`pruneWeights: a sparsity of ${sparsity} is asked for; give 0 up to below 1`);
  const group = pattern === undefined ? undefined : parsePattern(pattern);
  if (group)
    for (const [name, width] of widths)
      if (width % group[1] !== 0)
        throw new Error(`pruneWeights: ${name} has ${width} inputs, which are no multiple of ${group[1]}`);
  return group;
}

/** What a weight [out, in] counts. */
function scoresOf(weight: Float32Array, norms: Float32Array | undefined): Float32Array {
  if (!norms) return weight.map(Math.abs);
  return weight.map((w, i) => Math.abs(w) * norms[i % norms.length]!);
}

/** Marks the `count` lowest of scores in [from, to) with 0; of equal ones those that come first. */
function dropLowest(scores: Float32Array, mask: Float32Array, from: number, to: number, count: number): void {
  if (count <= 0) return;
  const own = scores.subarray(from, to);
  const limit = Float32Array.from(own).sort()[Math.min(count, own.length) - 1]!;
  let left = count;
  for (let i = 0; i < own.length; i++)
    if (own[i]! < limit) {
      mask[from + i] = 0;
      left--;
    }
  for (let i = 0; i < own.length && left > 0; i++)
    if (own[i] === limit) {
      mask[from + i] = 0;
      left--;
    }
}

/** Numbers of the weights of a layer, row after row of `width`. */
export interface Rows {
  readonly values: Float32Array;
  readonly width: number;
}

/** Masks of 1 and 0 for weights by name. */
export function masksOf(weights: ReadonlyMap<string, Rows>, pruning: WeightPruning): Map<string, Float32Array> {
  const { inputNorms } = pruning;
  const scores = [...weights].map(([name, { values, width }]) => {
    return [name, { values: scoresOf(values, inputNorms?.get(name)), width }] as const;
  });
  return masksByScore(new Map(scores), pruning);
}

/** Masks of 1 and 0, of weights by what each counts. */
export function masksByScore(rows: ReadonlyMap<string, Rows>, choice: MaskChoice): Map<string, Float32Array> {
  const { sparsity, scope } = choice;
  const group = checkChoice(choice, widthsOf(rows));
  const scores = new Map([...rows].map(([name, { values }]) => [name, values]));
  const masks = new Map([...scores].map(([name, { length }]) => [name, new Float32Array(length).fill(1)]));
  const share = (length: number): number => Math.round(sparsity * length);
  if (scope === 'model' && !group) {
    const all = new Float32Array([...scores.values()].reduce((size, { length }) => size + length, 0));
    const kept = new Float32Array(all.length).fill(1);
    let at = 0;
    for (const own of scores.values()) {
      all.set(own, at);
      at += own.length;
    }
    dropLowest(all, kept, 0, all.length, share(all.length));
    at = 0;
    for (const mask of masks.values()) mask.set(kept.subarray(at, (at += mask.length)));
    return masks;
  }
  for (const [name, own] of scores) {
    const { width } = rows.get(name)!;
    const size = group ? group[1] : scope === 'row' ? width : own.length;
    const gone = group ? group[1] - group[0] : share(size);
    for (let from = 0; from < own.length; from += size) dropLowest(own, masks.get(name)!, from, from + size, gone);
  }
  return masks;
}

const widthsOf = (rows: ReadonlyMap<string, Rows>): [name: string, width: number][] =>
  [...rows].map(([name, { width }]) => [name, width]);

/**
 * Weights that are held at zero.
 *
 * @example
 * const config = { vocabSize: 50, hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const pruned = new PrunedWeights(BertForMaskedLM.fromConfig(config));
 * await pruned.prune({ sparsity: 0.5, scope: 'layer' });
 * await pruned.sparsity(); // 0.5
 */
export class PrunedWeights {
  readonly #layers: [name: string, layer: Linear][];
  #masks: Map<string, Tensor> = new Map();

  constructor(model: Shrinkable) {
    this.#layers = linears(model);
  }

  /**
   * Chooses which weights are zero from now on, and sets them so. Those that are zero already are chosen
   * first.
   */
  async prune(options: WeightPruning): Promise<void> {
    const weights = new Map<string, Rows>();
    for (const [name, { weight }] of this.#layers) {
      if (weight.quantized) throw new Error(`pruneWeights: ${name} is quantised; prune first, then quantise`);
      weights.set(name, { values: Float32Array.from(await weight.data(), Number), width: weight.shape[1]! });
    }
    this.#hold(options.products ? this.#takenOver(weights, options.products, options) : masksOf(weights, options));
  }

  /** Masks by SparseGPT; the weights that stay are others from now on. */
  #takenOver(
    weights: ReadonlyMap<string, Rows>,
    products: InputProducts,
    choice: WeightPruning,
  ): Map<string, Float32Array> {
    const group = checkChoice(choice, widthsOf(weights));
    const masks = new Map<string, Float32Array>();
    for (const [name, { weight }] of this.#layers) {
      const { values } = weights.get(name)!;
      const product = products.of(`${name}.weight`);
      if (!product) throw new Error(`pruneWeights: nothing is known of what ${name} reads; give texts that it does`);
      masks.set(name, sparseGpt(values, product, { sparsity: choice.sparsity, group }));
      const made = tensor(values, { shape: [...weight.shape], dtype: weight.dtype as 'f32' });
      noGrad(() => assign(weight, made));
    }
    return masks;
  }

  /** Holds those at zero that are zero now: of a run that goes on. */
  async hold(): Promise<void> {
    const masks = new Map<string, Float32Array>();
    for (const [name, { weight }] of this.#layers)
      masks.set(
        name,
        Float32Array.from(await weight.data(), (w) => Number(w !== 0)),
      );
    this.#hold(masks);
  }

  #hold(masks: ReadonlyMap<string, Float32Array>): void {
    for (const mask of this.#masks.values()) mask.storage.free();
    this.#masks = new Map(
      this.#layers.map(([name, { weight }]) => [
        name,
        tensor(masks.get(name)!, { shape: [...weight.shape], dtype: weight.dtype as 'f32' }).keep(),
      ]),
    );
    this.apply();
  }

  /** Sets the chosen weights to zero, after a step of an optimizer that moved them. */
  apply(): void {
    noGrad(() => {
      for (const [name, { weight }] of this.#layers) {
        const mask = this.#masks.get(name);
        if (mask) assign(weight, mul(weight, mask));
      }
    });
  }

  /** The share of the linear layers' weights that are zero. */
  async sparsity(): Promise<number> {
    let [zeros, all] = [0, 0];
    for (const [, { weight }] of this.#layers) {
      const values = await weight.data();
      for (let i = 0; i < values.length; i++) zeros += Number(Number(values[i]) === 0);
      all += values.length;
    }
    return zeros / all;
  }
}

export interface PruningSchedule extends WeightPruning {
  /** Steps of the whole run. */
  readonly steps: number;
  /** Step after which the sparsity no longer rises; default three quarters of the steps. */
  readonly end?: number;
  /** Steps between two choices of weights; default 20. */
  readonly every?: number;
}

/** s (1 - (1 - t / end)^3), the share of weights that are zero after step t (Zhu and Gupta 2017). */
export const sparsityAt = (step: number, sparsity: number, end: number): number =>
  sparsity * (1 - (1 - Math.min(1, step / end)) ** 3);

/**
 * Prunes while a model trains: more weights as the steps go by, fast at first and slowly at the end, so that
 * those that are left can take over. A pattern such as 2:4, and what SparseGPT chooses, is set at once,
 * before the first step.
 *
 * @example
 * const config = { vocabSize: 50, hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const pruned = new PrunedWeights(BertForMaskedLM.fromConfig(config));
 * const callback = gradualPruning(pruned, { sparsity: 0.5, scope: 'layer', steps: 100 });
 */
export function gradualPruning(pruned: PrunedWeights, schedule: PruningSchedule): Callback {
  const { steps, sparsity, every = 20 } = schedule;
  const isAtOnce = schedule.pattern !== undefined || schedule.products !== undefined;
  const end = Math.max(1, schedule.end ?? Math.floor((3 * steps) / 4));
  return {
    onStart: (step) => {
      if (step > 0) return pruned.hold();
      return isAtOnce ? pruned.prune(schedule) : undefined;
    },
    onStep: ({ step }) => {
      if (!isAtOnce && step <= end && (step % every === 0 || step === end))
        return pruned.prune({ ...schedule, sparsity: sparsityAt(step, sparsity, end) });
      pruned.apply();
    },
  };
}

/**
 * The norm of what each input of the linear layers reads, by the layer's name, over the tokens of some
 * batches: what Wanda weighs weights by. `run` runs the model on a batch and says which of its tokens count,
 * (B, T) of 1 and 0.
 */
export async function inputNormsOf<Batch>(
  model: Shrinkable,
  batches: readonly Batch[],
  run: (batch: Batch) => void,
  tokens: (batch: Batch) => Tensor,
): Promise<Map<string, Float32Array>> {
  if (batches.length === 0) throw new Error('inputNormsOf: there are no batches; give some of the texts to train on');
  const layers = linears(model);
  const squares = new Map(layers.map(([name, { weight }]) => [name, new Float64Array(weight.shape[1]!)]));
  using _mode = evalMode(model);
  for (const batch of batches) {
    const seen = new Map<string, Tensor>();
    const mask = tokens(batch); // (B, T)
    const hooks = layers.map(([name, module]): ModuleHooks => ({
      module,
      before: (_, [x]) => {
        const read = mul(x as Tensor, mask.unsqueeze(2)); // (B, T, in)
        seen.set(name, sum(mul(read, read), [0, 1]));
      },
    }));
    withHooks(hooks, () => noGrad(() => run(batch)), 'norms of inputs');
    for (const [name, own] of seen) {
      const values = await own.data();
      squares.get(name)!.forEach((_, i, all) => (all[i]! += Number(values[i]!)));
    }
  }
  return new Map([...squares].map(([name, values]) => [name, Float32Array.from(values, Math.sqrt)]));
}
