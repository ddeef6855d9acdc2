/** Which examples a classifier learnt a decision from (TracIn, Pruthi et al. 2020). */
import { concat } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { escapeHtml } from '../../common/markup.ts';
import { printable, showText } from '../../common/printable.ts';
import { alignTable } from '../../common/text-table.ts';
import { Linear, withHooks } from '../../models/index.ts';
import type { SequenceClassificationModel, TextEncoder } from '../../models/index.ts';
import { softmax } from '../../models/generation/processors.ts';
import { computing, readRows } from '../../models/pipelines/encoder.ts';
import type { TokenRow } from '../../models/pipelines/rows.ts';
import type { Example } from '../data/read-table.ts';
import { tokenise } from '../data/tokenised.ts';
import { pageHtml, tableHtml } from '../report/page.ts';
import { gradientSketches } from './gradient-sketch.ts';

type Classifier = TextEncoder<SequenceClassificationModel>;

/** The linear layer that gives the logits. Error, one line: there is none. */
export function headOf(model: SequenceClassificationModel): Linear {
  const { numLabels } = model.config;
  const layers = model.modules().filter((module): module is Linear => module instanceof Linear);
  const head = layers.findLast(({ weight }) => weight.shape[0] === numLabels);
  if (!head || head.weight.quantized)
    throw new Error(
      `influence: a ${model.constructor.name} ${head ? 'has a packed head' : 'ends with no linear layer'}, whose ` +
        'gradients are not known; give a classifier of whole weights',
    );
  return head;
}

/** What the head reads of each row, and its logits, side by side: (B, D + L). */
const readAndLogits = computing('influence', (model: SequenceClassificationModel, batch) => {
  let read: Tensor | undefined;
  const hook = { module: headOf(model), before: (_: unknown, [x]: readonly unknown[]) => void (read = x as Tensor) };
  const { logits } = withHooks([hook], () => model.forward(batch), 'influence');
  return concat([read!, logits], 1);
});

/** The gradient of a text's loss for the head: p - y (L) by what it reads (D) and a 1 for the bias. */
interface HeadGradient {
  readonly errors: Float64Array;
  readonly read: Float32Array;
}

/** `labels`: the class of each row; undefined: the one that the model chooses. */
async function headGradients(
  classifier: Classifier,
  rows: readonly TokenRow[],
  labels: readonly (number | undefined)[],
  batchSize: number,
): Promise<{ readonly gradients: HeadGradient[]; readonly chosen: number[] }> {
  const width = headOf(classifier.model).weight.shape[1]!;
  const found = await readRows(classifier, rows, readAndLogits, { batchSize });
  const chosen: number[] = [];
  const gradients = found.map((values, i): HeadGradient => {
    const errors = softmax(values.subarray(width));
    const label = labels[i] ?? errors.indexOf(Math.max(...errors));
    chosen.push(label);
    errors[label]! -= 1;
    return { errors, read: values.subarray(0, width) };
  });
  return { gradients, chosen };
}

/** The product of two gradients of the head's weight and bias. */
function product(a: HeadGradient, b: HeadGradient): number {
  let [errors, reads] = [0, 1];
  for (let l = 0; l < a.errors.length; l++) errors += a.errors[l]! * b.errors[l]!;
  for (let d = 0; d < a.read.length; d++) reads += a.read[d]! * b.read[d]!;
  return errors * reads;
}

/** The layer that gives the logits alone, or all linear layers, projected at random. */
export const influenceLayers = ['last', 'all'] as const;
export type InfluenceLayers = (typeof influenceLayers)[number];

/** How much each example counts for a decision. */
export interface Influence {
  readonly text: string;
  /** Whose gradients were multiplied. */
  readonly layers: InfluenceLayers;
  /** The class that is asked about. */
  readonly label: number;
  /** By the number of the example: positive where learning it makes the class more probable. */
  readonly scores: Float64Array;
}

export interface InfluenceOptions {
  /** The class that is asked about, by its number; default what the last classifier chooses. */
  readonly target?: number | undefined;
  /** Tokens of a text; longer ones are cut. Default 128. */
  readonly maxLength?: number;
  readonly batchSize?: number;
  /** Default last; all costs a backward pass for each example. */
  readonly layers?: InfluenceLayers;
  /** Of all layers: see `gradientSketches`. */
  readonly size?: number;
  readonly seed?: number;
  /** Of all layers: told how many texts and examples are done. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * What each example that a classifier learnt from counts for its decisions about texts: the product of two
 * gradients, that of the example's loss and that of the text's, of the last layer or, projected at random, of
 * all linear ones; of several states of the classifier while it learnt the mean. To first order it is by how
 * much a step on the example lowers the loss of the text's class, divided by the learning rate.
 *
 * Errors, each one line: no states, or no examples; labels of another kind than one class each; a head that
 * is no linear layer.
 *
 * @example
 * const classifier = { ...(await pipeline('text-classification')) };
 * const examples = [{ text: 'Win a prize', label: 1 }, { text: 'See you at 5', label: 0 }];
 * const [found] = await influences([classifier], examples, ['A prize for you']);
 */
export async function influences(
  states: readonly Classifier[],
  examples: readonly Example[],
  texts: readonly string[],
  { target, maxLength = 128, batchSize = 16, layers = 'last', size, seed, onProgress }: InfluenceOptions = {},
): Promise<Influence[]> {
  const last = states.at(-1);
  if (!last) throw new Error('influence: there is no classifier; give its folder, or those of its checkpoints');
  if (examples.length === 0) throw new Error('influence: there are no examples; give those it learnt from');
  const { problemType, numLabels } = last.model.config;
  if ((problemType ?? 'single_label_classification') !== 'single_label_classification')
    throw new Error(`influence: a ${problemType} is explained; only classifiers with one class a text are`);
  if (target !== undefined && !(target >= 0 && target < numLabels))
    throw new Error(`influence: there is no class ${target}; the classes are 0 to ${numLabels - 1}`);
  const learnt = tokenise(last.tokenizer, examples, maxLength, 'ends');
  const asked = tokenise(
    last.tokenizer,
    texts.map((text) => ({ text, label: 0 })),
    maxLength,
    'ends',
  );
  const { chosen } = await headGradients(
    last,
    asked,
    texts.map(() => target),
    batchSize,
  );
  const scores = texts.map(() => new Float64Array(examples.length));
  for (const [s, state] of layers === 'all' ? states.entries() : []) {
    const rows = [...asked, ...learnt];
    const labels = [...chosen, ...learnt.map(({ label }) => label)];
    const total = states.length * rows.length;
    const sketches = await gradientSketches(state, rows, labels, {
      ...{ batchSize, ...(size === undefined ? {} : { size }), ...(seed === undefined ? {} : { seed }) },
      onProgress: (done) => onProgress?.(s * rows.length + done, total),
    });
    for (const [i, own] of scores.entries())
      for (const e of examples.keys()) {
        const [a, b] = [sketches[i]!, sketches[asked.length + e]!];
        let product = 0;
        for (let d = 0; d < a.length; d++) product += a[d]! * b[d]!;
        own[e]! += product / states.length;
      }
  }
  for (const state of layers === 'last' ? states : []) {
    const { gradients } = await headGradients(state, asked, chosen, batchSize);
    const all = await headGradients(
      state,
      learnt,
      learnt.map(({ label }) => label),
      batchSize,
    );
    for (const [i, own] of gradients.entries())
      for (const [e, other] of all.gradients.entries()) scores[i]![e]! += product(own, other) / states.length;
  }
  return texts.map((text, i) => ({ text, layers, label: chosen[i]!, scores: scores[i]! }));
}

/** Numbers of the examples that count most for a decision, and against it. */
export function strongest(
  { scores }: Influence,
  count: number,
): { readonly for: number[]; readonly against: number[] } {
  const order = Array.from(scores.keys()).sort((a, b) => scores[b]! - scores[a]!);
  return {
    for: order.filter((i) => scores[i]! > 0).slice(0, count),
    against: order
      .filter((i) => scores[i]! < 0)
      .slice(-count)
      .reverse(),
  };
}

interface Shown {
  readonly examples: readonly Example[];
  readonly labels: readonly string[];
  /** Examples in each list. */
  readonly count: number;
}

/** The examples of a list as cells: score, label, text. */
const cellsOf = ({ scores }: Influence, numbers: readonly number[], { examples, labels }: Shown, most: number) =>
  numbers.map((i) => [scores[i]!.toPrecision(3), labels[examples[i]!.label]!, showText(examples[i]!.text, most)]);

/** Both lists of a decision for other programs. */
export function influenceFacts(influence: Influence, { examples, labels, count }: Shown): object {
  const { text, label, scores } = influence;
  const facts = (numbers: readonly number[]): object[] =>
    numbers.map((i) => ({ score: scores[i]!, label: labels[examples[i]!.label]!, text: examples[i]!.text }));
  const lists = strongest(influence, count);
  return { text, label: labels[label]!, for: facts(lists.for), against: facts(lists.against) };
}

/** Both lists of each decision as lines for a terminal. */
export function influenceLines(influence: Influence, shown: Shown): string {
  const lists = strongest(influence, shown.count);
  const table = (title: string, numbers: readonly number[]): string =>
    numbers.length === 0
      ? `${title}: none`
      : `${title}\n${alignTable(['score', 'label', 'text'], cellsOf(influence, numbers, shown, 70), new Set([0]))}`;
  const name = shown.labels[influence.label]!;
  const about = `"${printable(influence.text.slice(0, 100))}" is ${name}`;
  return [about, table('for it', lists.for), table('against it', lists.against)].join('\n');
}

/** The same as one HTML file that needs no other. */
export function influencePage(influenced: readonly Influence[], shown: Shown, title: string): string {
  const head = ['score', 'label', 'text'];
  const sections = influenced.map((influence) => {
    const lists = strongest(influence, shown.count);
    const list = (name: string, numbers: readonly number[]): string => {
      const table = tableHtml(name, head, cellsOf(influence, numbers, shown, 400));
      return `<h3>${name}</h3>\n${numbers.length === 0 ? '<p>none</p>' : table}`;
    };
    const label = escapeHtml(shown.labels[influence.label]!);
    return `<section><h2>${label}</h2>\n<p class="about">${escapeHtml(influence.text)}</p>
${list('Examples for it', lists.for)}
${list('Examples against it', lists.against)}</section>`;
  });
  const about =
    'Examples that the classifier learnt from. The score is how much a step on one lowers the loss of the decision, ' +
    `to first order, by ${influenced[0]?.layers === 'all' ? 'all linear layers' : 'the last layer'} (TracIn).`;
  return pageHtml(title, `<h1>${escapeHtml(title)}</h1>\n<p class="hint">${about}</p>\n${sections.join('\n')}`);
}
