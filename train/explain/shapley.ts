// Shapley values of tokens: exactly, by weighted least squares, and along the hierarchy of the text.
import { Heap } from '../../common/collections.ts';
import { Random } from '../../common/random.ts';
import { jackknife } from './jackknife.ts';
import { leastSquares } from './least-squares.ts';
import { baseValue, count } from './method.ts';
import type { Attribution, AttributionMethod, MethodOptions } from './method.ts';
import type { Subject } from './subject.ts';
import { tokenHierarchy } from './token-hierarchy.ts';
import type { TokenGroup, TreeToken } from './token-hierarchy.ts';

/** Most tokens of which all subsets are tried. */
export const mostExact = 12;

const bitsOf = (subset: number, features: number): Uint8Array =>
  Uint8Array.from({ length: features }, (_, i) => (subset >> i) & 1);

/** Shapley's value: each token's effect, averaged over all orders in which tokens may come. */
async function exact({ features: { length: n }, values }: Subject): Promise<Attribution> {
  if (n > mostExact)
    throw new Error(
      `explain: exact-shap tries all subsets of at most ${mostExact} tokens, and this text has ${n}; use ` +
        'partition-shap or kernel-shap',
    );
  const outputs = await values(Array.from({ length: 2 ** n }, (_, subset) => bitsOf(subset, n)));
  // s! (n - s - 1)! / n! for a subset of s others.
  const share = Array.from({ length: n }, (_, s) => 1 / (n * choose(n - 1, s)));
  const sizes = outputs.map((_, subset) => bitsOf(subset, n).reduce((sum, bit) => sum + bit, 0));
  const scores = new Float64Array(n);
  for (let subset = 0; subset < outputs.length; subset++)
    for (let i = 0; i < n; i++)
      if (!((subset >> i) & 1)) scores[i]! += share[sizes[subset]!]! * (outputs[subset | (1 << i)]! - outputs[subset]!);
  return { scores, baseline: outputs[0]! };
}

function choose(n: number, k: number): number {
  let result = 1;
  for (let i = 1; i <= k; i++) result = (result * (n - k + i)) / i;
  return result;
}

/** Subsets of tokens that were tried and their weights. */
export interface Coalitions {
  readonly kept: Uint8Array[];
  readonly weights: number[];
  /** The first so many are all subsets of their sizes; those behind were drawn, in pairs with their rest. */
  readonly enumerated: number;
}

/** All subsets of `size` of n, as bits. */
function* combinations(n: number, size: number): Generator<Uint8Array> {
  const chosen = Array.from({ length: size }, (_, i) => i);
  for (;;) {
    const bits = new Uint8Array(n);
    for (const i of chosen) bits[i] = 1;
    yield bits;
    let at = size - 1;
    while (at >= 0 && chosen[at] === n - size + at) at--;
    if (at < 0) return;
    chosen[at]!++;
    for (let i = at + 1; i < size; i++) chosen[i] = chosen[i - 1]! + 1;
  }
}

const complement = (bits: Uint8Array): Uint8Array => bits.map((bit) => 1 - bit);

/**
 * The subsets of n tokens that Kernel SHAP tries, as in shap: sizes near none and all, which weigh most, in
 * full as long as `budget` lasts, then subsets drawn by weight, each with its complement.
 */
export function kernelCoalitions(n: number, budget: number, random: Random): Coalitions {
  const samples = n <= 30 ? Math.min(budget, 2 ** n - 2) : budget;
  const sizes = Math.ceil((n - 1) / 2);
  const paired = Math.floor((n - 1) / 2); // sizes whose complements have another size
  const raw = Array.from({ length: sizes }, (_, i) => ((i < paired ? 2 : 1) * (n - 1)) / ((i + 1) * (n - i - 1)));
  const total = raw.reduce((a, b) => a + b, 0);
  const weight = raw.map((each) => each / total);
  const kept: Uint8Array[] = [];
  const weights: number[] = [];
  let [full, left] = [0, samples];
  let remaining = [...weight];
  for (; full < sizes; full++) {
    const size = full + 1;
    const subsets = choose(n, size) * (full < paired ? 2 : 1);
    if ((left * remaining[full]!) / subsets < 1 - 1e-8) break;
    left -= subsets;
    const scale = 1 - remaining[full]!;
    if (scale > 0) remaining = remaining.map((each) => each / scale);
    for (const bits of combinations(n, size)) {
      for (const each of full < paired ? [bits, complement(bits)] : [bits]) {
        kept.push(each);
        weights.push(weight[full]! / subsets);
      }
    }
  }
  const enumerated = kept.length;
  if (full < sizes) drawRest();
  return { kept, weights, enumerated };

  function drawRest(): void {
    // Half where two are drawn at once.
    const chances = weight.slice(full).map((each, i) => (full + i < paired ? each / 2 : each));
    const mass = chances.reduce((a, b) => a + b, 0);
    const drawn = new Map<string, number>();
    let room = samples - enumerated;
    for (let tries = 4 * room; tries > 0 && room > 0; tries--) {
      let u = random.uniform() * mass;
      let at = 0;
      while (at < chances.length - 1 && (u -= chances[at]!) >= 0) at++;
      const size = full + at + 1;
      const bits = new Uint8Array(n);
      for (const i of random.permutation(n).slice(0, size)) bits[i] = 1;
      const pair = full + at < paired ? [bits, complement(bits)] : [bits];
      const key = bits.join('');
      const known = drawn.get(key);
      if (known !== undefined) for (const i of pair.keys()) weights[known + i]!++;
      if (known !== undefined || room < pair.length) continue;
      drawn.set(key, kept.length);
      kept.push(...pair);
      weights.push(...pair.map(() => 1));
      room -= pair.length;
    }
    const sampled = weights.slice(enumerated).reduce((a, b) => a + b, 0);
    const owed = weight.slice(full).reduce((a, b) => a + b, 0);
    for (let i = enumerated; i < weights.length; i++) weights[i]! *= owed / sampled;
  }
}

/**
 * The Shapley values of least weighted error, which add up to whole - none (Lundberg and Lee 2017, eq. 8).
 */
function solveKernel(
  kept: readonly Uint8Array[],
  weights: readonly number[],
  outputs: ArrayLike<number>,
  none: number,
  whole: number,
): Float64Array {
  const last = kept[0]!.length - 1;
  const x = kept.map((bits) => Float64Array.from({ length: last }, (_, i) => bits[i]! - bits[last]!));
  const y = Float64Array.from(kept, (bits, i) => outputs[i]! - none - bits[last]! * (whole - none));
  const free = leastSquares(x, y, weights, new Float64Array(last));
  return Float64Array.of(...free, whole - none - free.reduce((a, b) => a + b, 0));
}

async function kernel(subject: Subject, { evaluations, seed = 0 }: MethodOptions): Promise<Attribution> {
  const { features, values, output } = subject;
  const n = features.length;
  const none = await baseValue(subject);
  if (n === 1) return { scores: [output - none], baseline: none };
  const budget = count('evaluations', evaluations, 2 * n + 2048);
  const { kept, weights, enumerated } = kernelCoalitions(n, budget, new Random(seed));
  const outputs = await values(kept);
  const pick = <T>(list: ArrayLike<T>, rows: readonly number[]): T[] => rows.map((i) => list[i]!);
  const drawn = (rows: readonly number[]): number =>
    rows.reduce((sum, i) => sum + (i < enumerated ? 0 : weights[i]!), 0);
  const owed = drawn([...kept.keys()]);
  /** Of some of the samples, those that were drawn weighed as much as all of them. */
  const solve = (rows: readonly number[]): Float64Array => {
    const factor = owed / drawn(rows);
    const weighed = rows.map((i) => (i < enumerated ? 1 : factor) * weights[i]!);
    return solveKernel(pick(kept, rows), weighed, pick(outputs, rows), none, output);
  };
  return { ...jackknife(kept.length, enumerated, solve), baseline: none };
}

/** A part of the text whose effect is to be shared out, beside the tokens `kept`. */
interface OwenTask {
  readonly kept: Uint8Array;
  readonly without: number;
  readonly within: number;
  readonly group: TokenGroup;
  readonly weight: number;
}

/**
 * Owen values over a tree (Owen 1977; shap's PartitionExplainer): the effect of a group is shared between its
 * halves by Shapley's rule for two, halves with the largest effects first. Where the budget ends, and within
 * words, a group's effect is shared out evenly.
 */
async function owenValues(
  { features: { length: n }, values, output, batchSize }: Subject,
  tree: TokenGroup,
  { budget, context }: { readonly budget: number; readonly context?: 0 | 1 | undefined },
): Promise<Float64Array> {
  const none = new Uint8Array(n);
  const [base] = await values([none]);
  const scores = new Float64Array(n);
  const share = ({ first, stop }: TokenGroup, effect: number): void => {
    for (let i = first; i < stop; i++) scores[i]! += effect / (stop - first);
  };
  const size = (task: OwenTask): number => Math.abs(task.within - task.without) * task.weight;
  const tasks = new Heap<OwenTask>((a, b) => size(a) > size(b));
  tasks.push({ kept: none, without: base!, within: output, group: tree, weight: 1 });
  const withGroup = (kept: Uint8Array, { first, stop }: TokenGroup): Uint8Array => kept.slice().fill(1, first, stop);
  let spent = 2;
  while (tasks.size > 0) {
    const open: (OwenTask & { readonly halves: readonly [TokenGroup, TokenGroup] })[] = [];
    while (tasks.size > 0 && 2 * open.length < Math.max(2, batchSize)) {
      const task = tasks.pop()!;
      const { parts, isWhole } = task.group;
      if (!parts || isWhole || spent + 2 * open.length + 2 > budget)
        share(task.group, (task.within - task.without) * task.weight);
      else open.push({ ...task, halves: parts });
    }
    const outputs = await values(open.flatMap(({ kept, halves }) => halves.map((half) => withGroup(kept, half))));
    spent += 2 * open.length;
    for (const [i, { kept, without, within, group, weight, halves }] of open.entries()) {
      const alone = [outputs[2 * i]!, outputs[2 * i + 1]!] as const;
      const interaction = within - alone[0] - alone[1] + without;
      if (context !== undefined) share(group, (context === 0 ? interaction : -interaction) * weight);
      const own = context === undefined ? weight / 2 : weight;
      for (const [side, half] of halves.entries()) {
        const other = 1 - side;
        if (context !== 1) tasks.push({ kept, without, within: alone[side]!, group: half, weight: own });
        if (context !== 0)
          tasks.push({
            kept: withGroup(kept, halves[other]!),
            without: alone[other]!,
            within,
            group: half,
            weight: own,
          });
      }
    }
  }
  return scores;
}

/** The features as the tree sees them: pieces that go on with a word begin with ##. */
function treeTokens({ features, row, texts }: Subject): TreeToken[] {
  const textOf = (place: number): string =>
    texts[row.texts[place]!]!.slice(row.starts[place]!, row.ends[place]!).trim();
  return features.map((place, i) => {
    const text = textOf(place);
    const before = features[i - 1];
    const isPiece =
      before !== undefined &&
      row.texts[before] === row.texts[place] &&
      row.ends[before] === row.starts[place] &&
      /[\p{L}\p{N}_]$/u.test(textOf(before)) &&
      // Scripts without spaces are left as they are: a sentence of theirs is no single word.
      /^(?!\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Thai})\p{L}/u.test(
        texts[row.texts[place]!]!.slice(row.starts[place]!),
      );
    return { text: isPiece ? `##${text}` : text, side: row.texts[place]! };
  });
}

export const shapleyMethods = {
  'exact-shap': {
    about: `Shapley values by all subsets, of at most ${mostExact} tokens (Shapley 1953)`,
    evaluations: (n) => 2 ** Math.min(n, mostExact) - 1,
    attribute: (subject) => exact(subject),
  },
  'kernel-shap': {
    about: 'Shapley values by weighted least squares over subsets (Lundberg and Lee 2017)',
    evaluations: (n, { evaluations }) => Math.min(evaluations ?? 2 * n + 2048, 2 ** Math.min(n, 30) - 2) + 1,
    attribute: kernel,
  },
  'partition-shap': {
    about: 'Owen values over words, phrases and sentences (Owen 1977; shap)',
    evaluations: (n, { evaluations = 500 }) => Math.min(evaluations - 2, n * (n - 1)) + 1,
    async attribute(subject, { evaluations, context }) {
      const budget = count('evaluations', evaluations, 500);
      const tree = tokenHierarchy(treeTokens(subject));
      return { scores: await owenValues(subject, tree, { budget, context }), baseline: await baseValue(subject) };
    },
  },
} as const satisfies Record<string, AttributionMethod>;
