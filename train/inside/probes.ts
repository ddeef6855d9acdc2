// What can be read off the activations of each layer by a linear classifier.
import {
  add,
  argmax,
  compile,
  crossEntropy,
  matmul,
  noGrad,
  reshape,
  scope,
  select,
  slice,
  tensor,
  zeros,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import { evalMode, Parameter } from '../../models/index.ts';
import { AdamW } from '../optim/index.ts';
import { forEachActivation, residualNames, tokenRow } from './activations.ts';
import { layerName } from './lens.ts';
import type { LanguageModel } from './lens.ts';

/** A row of tokens with a label for each; -100 where a token does not count. */
export interface LabelledRow {
  readonly inputIds: ArrayLike<number>;
  readonly labels: ArrayLike<number>;
}

export interface ProbeOptions {
  /** Share of the rows to test on, the last ones; default 0.25. */
  readonly testShare?: number;
  /** Steps of AdamW on all training tokens at once; default 200. */
  readonly steps?: number;
  readonly lr?: number;
  readonly weightDecay?: number;
  /** Of the control task's labels; default 0. */
  readonly seed?: number;
}

/** How well the labels of tokens can be read off one layer, of rows that were not trained on. */
export interface LayerProbe {
  /** `embeddings`, `layer 0`, ... */
  readonly name: string;
  readonly accuracy: number;
  /** Of the control task: each token of the vocabulary has a label drawn at random. */
  readonly control: number;
  /** accuracy - control: high where the layer knows the labels and the probe no tokens by heart. */
  readonly selectivity: number;
}

export interface Probes {
  readonly layers: readonly LayerProbe[];
  /** Accuracy of the training labels' most frequent one. */
  readonly majority: number;
}

/** The tokens that count, of all rows: numbers of the row and place. */
interface Tokens {
  readonly ids: Int32Array;
  readonly labels: Int32Array;
  readonly places: readonly (readonly number[])[];
}

function tokensOf(rows: readonly LabelledRow[]): Tokens {
  const places = rows.map(({ labels }) => Array.from(labels, Number).flatMap((label, t) => (label >= 0 ? [t] : [])));
  const pick = (of: (row: LabelledRow) => ArrayLike<number>): Int32Array =>
    Int32Array.from(rows.flatMap((row, i) => places[i]!.map((t) => of(row)[t]!)));
  return { ids: pick((row) => row.inputIds), labels: pick((row) => row.labels), places };
}

/** The residual stream before the first layer and behind each, of the tokens that count: [tokens, width]. */
async function statesOf(
  model: LanguageModel,
  rows: readonly LabelledRow[],
  { places, ids }: Tokens,
): Promise<{ readonly width: number; readonly layers: Float32Array[] }> {
  const names = residualNames(model);
  let layers: Float32Array[] = [];
  let size = 0;
  const starts = [0];
  for (const { length } of places) starts.push(starts.at(-1)! + length);
  const read = rows.map(({ inputIds }) => tokenRow(Int32Array.from(inputIds)));
  await forEachActivation(model, read, names, (row, activations) => {
    for (const [layer, name] of names.entries()) {
      const { width, values } = activations[name]!;
      if (size === 0) [size, layers] = [width, names.map(() => new Float32Array(ids.length * width))];
      places[row]!.forEach((t, k) =>
        layers[layer]!.set(values.subarray(t * width, (t + 1) * width), (starts[row]! + k) * width),
      );
    }
  });
  return { width: size, layers };
}

/** Numbers less their mean, by their deviation, column by column, as of the first `count` rows. */
function standardised(values: Float32Array, width: number, count: number): Float32Array {
  const [means, squares] = [new Float64Array(width), new Float64Array(width)];
  for (let i = 0; i < count * width; i++) means[i % width]! += values[i]! / count;
  for (let i = 0; i < count * width; i++) squares[i % width]! += (values[i]! - means[i % width]!) ** 2 / count;
  return values.map((x, i) => (x - means[i % width]!) / (Math.sqrt(squares[i % width]!) + 1e-6));
}

/**
 * Linear probes of every layer with control tasks (Hewitt and Liang 2019): a softmax classifier of each
 * token's label by the residual stream, before the first layer and behind each, trained from zeros on most
 * rows and tested on the others. Of the control task every token of the vocabulary has a label of its own,
 * drawn with the frequencies of the true ones: what a probe can learn by heart. The model is not changed.
 *
 * Errors, each one line: fewer than two labels; no rows to train or to test on.
 *
 * @example
 * const model = GPT2LMHeadModel.fromConfig({ vocabSize: 50, nEmbd: 8, nLayer: 1, nHead: 2 });
 * const rows = Array.from({ length: 8 }, (_, i) => ({ inputIds: [i, i + 1], labels: [i % 2, 1 - (i % 2)] }));
 * const probes = await linearProbes(model, rows, { steps: 5 });
 */
export async function linearProbes(
  model: LanguageModel,
  rows: readonly LabelledRow[],
  { testShare = 0.25, steps = 200, lr = 0.02, weightDecay = 0.01, seed = 0 }: ProbeOptions = {},
): Promise<Probes> {
  const trained = rows.length - Math.round(testShare * rows.length);
  if (trained < 1 || trained === rows.length)
    throw new Error(`linearProbes: ${rows.length} rows leave none to train or to test on; give more`);
  const tokens = tokensOf(rows);
  const count = tokens.places.slice(0, trained).flat().length;
  const classes = Math.max(...tokens.labels) + 1;
  if (!(classes >= 2)) throw new Error('linearProbes: the labels are all the same; give two or more');
  const random = new Random(seed);
  const byToken = new Map<number, number>();
  for (const id of [...new Set(tokens.ids)].sort((a, b) => a - b)) byToken.set(id, tokens.labels[random.int(count)]!);
  const tasks = [tokens.labels, tokens.ids.map((id) => byToken.get(id)!)] as const;
  using _mode = evalMode(model);
  const { width, layers: states } = await statesOf(model, rows, tokens);
  const x = new Float32Array(states.length * tokens.ids.length * width);
  states.forEach((state, layer) => x.set(standardised(state, width, count), layer * state.length));
  const shape = [states.length, tokens.ids.length, width];
  const accuracies = await accuraciesOf(x, shape as [number, number, number], tasks, {
    ...{ count, classes, steps, lr, weightDecay },
  });
  const layers = accuracies.map(([accuracy, control], layer): LayerProbe => ({
    name: layerName(layer),
    ...{ accuracy, control, selectivity: accuracy - control },
  }));
  return { layers, majority: majorityOf(tokens.labels, count, classes) };
}

/** The share of labels from `count` on that are the most frequent one of those before. */
function majorityOf(labels: Int32Array, count: number, classes: number): number {
  const frequencies = new Int32Array(classes);
  for (const label of labels.subarray(0, count)) frequencies[label]!++;
  const usual = frequencies.indexOf(Math.max(...frequencies));
  const tested = labels.subarray(count);
  return tested.filter((label) => label === usual).length / tested.length;
}

interface Training {
  /** Rows of x to train on, the first ones. */
  readonly count: number;
  readonly classes: number;
  readonly steps: number;
  readonly lr: number;
  readonly weightDecay: number;
}

/**
 * Accuracies [layers][tasks] on the tokens behind `count` of linear classifiers of x [layers, tokens, width],
 * all of which are trained side by side.
 */
async function accuraciesOf(
  x: Float32Array,
  [layers, tokens, width]: readonly [layers: number, tokens: number, width: number],
  tasks: readonly [Int32Array, Int32Array],
  { count, classes, steps, lr, weightDecay }: Training,
): Promise<[number, number][]> {
  using _ = scope();
  // The loss is convex, so that zeros are as good a start as any, and nothing is drawn at random.
  const weight = new Parameter(zeros([layers, width, 2 * classes]));
  const bias = new Parameter(zeros([layers, 1, 2 * classes]));
  const optimizer = new AdamW([weight, bias], { lr, weightDecay });
  const logitsOf = (features: Tensor, task: number): Tensor =>
    slice(add(matmul(features, weight), bias), null, null, [task * classes, (task + 1) * classes]); // (L, N, C)
  const step = compile(
    (features: Tensor, labels: Tensor) => {
      const losses = tasks.map((_task, task) =>
        crossEntropy(reshape(logitsOf(features, task), [-1, classes]), select(labels, 0, task)),
      );
      const loss = losses.reduce((a, b) => add(a, b));
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
      return loss.detach();
    },
    { name: 'linear probes', log: () => undefined },
  );
  const all = tensor(x, { shape: [layers, tokens, width] });
  const repeated = tasks.flatMap((task) => Array.from({ length: layers }, () => Array.from(task.subarray(0, count))));
  const labels = tensor(Int32Array.from(repeated.flat()), { shape: [2, layers * count] });
  const trained = slice(all, null, [0, count]).clone();
  for (let i = 0; i < steps; i++) {
    using _step = scope();
    step(trained, labels);
  }
  const tested = slice(all, null, [count, tokens]);
  const found: [number, number][] = Array.from({ length: layers }, () => [0, 0]);
  for (const [task, own] of tasks.entries()) {
    const best = await noGrad(() => argmax(logitsOf(tested, task), 2)).data();
    for (let i = 0; i < best.length; i++) {
      const [layer, t] = [Math.floor(i / (tokens - count)), i % (tokens - count)];
      if (Number(best[i]) === own[count + t]) found[layer]![task]! += 1 / (tokens - count);
    }
  }
  return found;
}
