import { Random } from '../../common/random.ts';

// Which example comes next, as pure functions: of (seed, index) where examples are drawn for ever, of
// (labels, seed, epoch) where an epoch is a list. A run that goes on needs no state of a sampler.

/** Streams apart from those of epochs and splits, see batches.ts. */
const STREAM = 2 ** 40;

/**
 * Draws example numbers with replacement, example i with probability weights[i] / sum, as PyTorch's
 * WeightedRandomSampler does: the function gives draw `index`, from 0 up without end, in O(log n). Error: no
 * weights, one that is negative or not finite, none above 0.
 *
 * @example
 * const draw = weightedSampler([0, 1], 7);
 * [draw(0), draw(1)]; // [1, 1]
 */
export function weightedSampler(weights: ArrayLike<number>, seed: number): (index: number) => number {
  const ends = new Float64Array(weights.length);
  let sum = 0;
  for (let i = 0; i < weights.length; i++) {
    const weight = weights[i]!;
    if (!(weight >= 0 && weight < Infinity))
      throw new Error(`weightedSampler: weight ${i} must be 0 or more and finite, got ${weight}`);
    ends[i] = sum += weight;
  }
  if (!(sum > 0 && sum < Infinity))
    throw new Error(
      `weightedSampler: the weights of ${weights.length} examples sum to ${sum}; one at least must be above 0`,
    );
  return (index) => {
    const random = new Random(seed, STREAM + index);
    // 53 bits: 24 would leave out examples of large sets.
    const u = (random.nextU32() * 2 ** 21 + (random.nextU32() >>> 11)) / 2 ** 53;
    return firstAbove(ends, u * sum);
  };
}

/**
 * Weights by which each class is drawn equally often, however many examples it has: 1 / the size of the
 * example's class.
 *
 * @example
 * balancedWeights([0, 0, 1]); // [0.5, 0.5, 1]
 */
export function balancedWeights(labels: ArrayLike<number>): Float64Array {
  const sizes = new Map<number, number>();
  for (let i = 0; i < labels.length; i++) sizes.set(labels[i]!, (sizes.get(labels[i]!) ?? 0) + 1);
  return Float64Array.from({ length: labels.length }, (_, i) => 1 / sizes.get(labels[i]!)!);
}

/** How an epoch is made of unequal classes. */
export const resamplings = ['none', 'over', 'under'] as const;
export type Resampling = (typeof resamplings)[number];

/**
 * The examples of one epoch, shuffled: all once ("none"); all, and those of smaller classes again until each
 * class has as many as the largest, every example of a class as often as any other or once more ("over"); or
 * a random part of each class, as many as the smallest has ("under"; other parts in other epochs). Error: no
 * examples.
 *
 * @example
 * resampledEpoch([0, 0, 0, 1], 'over', { seed: 0, epoch: 0 }).length; // 6
 */
export function resampledEpoch(
  labels: ArrayLike<number>,
  resampling: Resampling,
  options: { readonly seed: number; readonly epoch: number },
): number[] {
  const random = new Random(options.seed, STREAM * 2 + options.epoch);
  const classes = classesOf('resampledEpoch', labels);
  if (resampling === 'none') return random.permutation(labels.length);
  const sizes = classes.map(({ length }) => length);
  const size = resampling === 'over' ? Math.max(...sizes) : Math.min(...sizes);
  const chosen = classes.flatMap((members) => {
    const list: number[] = [];
    // Whole rounds first, so that no example falls behind another by more than one.
    while (list.length + members.length <= size) for (const member of members) list.push(member);
    return [...list, ...random.shuffle([...members]).slice(0, size - list.length)];
  });
  return random.shuffle(chosen);
}

/**
 * The examples of one epoch, each once, in an order in which every stretch has the classes in their
 * proportions, to within an example or two a class: batches cut from it are stratified. Error: no examples.
 *
 * @example
 * stratifiedEpoch([0, 1, 0, 1], { seed: 0, epoch: 0 }).sort(); // [0, 1, 2, 3]
 */
export function stratifiedEpoch(
  labels: ArrayLike<number>,
  options: { readonly seed: number; readonly epoch: number },
): number[] {
  const random = new Random(options.seed, STREAM * 3 + options.epoch);
  // Example k of n of a class stands at (k + u) / n of the way, u one draw a class.
  const placed = classesOf('stratifiedEpoch', labels).flatMap((members) => {
    const offset = random.uniform();
    return random.shuffle([...members]).map((example, k) => ({ example, at: (k + offset) / members.length }));
  });
  return placed.sort((a, b) => a.at - b.at || a.example - b.example).map(({ example }) => example);
}

/** Examples of each class, the classes in ascending order. */
function classesOf(where: string, labels: ArrayLike<number>): number[][] {
  if (labels.length === 0) throw new Error(`${where}: there are no examples; pass the label of each`);
  const classes = new Map<number, number[]>();
  for (let i = 0; i < labels.length; i++) {
    const members = classes.get(labels[i]!);
    if (members) members.push(i);
    else classes.set(labels[i]!, [i]);
  }
  return [...classes].sort(([a], [b]) => a - b).map(([, members]) => members);
}

/** The first place whose end lies above a value. */
function firstAbove(ends: Float64Array, value: number): number {
  let [low, high] = [0, ends.length - 1];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ends[middle]! > value) high = middle;
    else low = middle + 1;
  }
  return low;
}
