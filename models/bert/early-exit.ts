// Texts that leave an encoder after the first layers that are sure of them.
import { indexSelect, ones, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { Module } from '../module.ts';
import { additiveMask } from '../nn/attend.ts';
import { compiledFor, paddedLength } from '../pipelines/rows.ts';
import { BertForSequenceClassification, exitEntropyOf } from './heads.ts';
import type { BertInputs } from './model.ts';

/** A classifier with an off-ramp behind each layer but the last: config.json has `early_exit_entropy`. */
export type ExitingClassifier = BertForSequenceClassification & {
  readonly bert: { readonly encoder: { readonly highway: readonly Module[] } };
};

/**
 * @example
 * const config = { vocabSize: 50, hiddenSize: 8, numHiddenLayers: 2, numAttentionHeads: 2 };
 * hasExits(BertForSequenceClassification.fromConfig(config)); // false
 */
export const hasExits = (model: Module): model is ExitingClassifier =>
  model instanceof BertForSequenceClassification && model.bert.encoder.highway !== undefined;

/** What became of a batch's texts. */
export interface Exited {
  /** [B][L]. */
  readonly logits: number[][];
  /** How many layers each text ran through. */
  readonly layers: number[];
}

/**
 * -sum p log p of the softmax of logits, in nats: from 0, sure of one label, to log L.
 *
 * @example
 * entropyOf([0, 0]); // 0.6931
 * entropyOf([0, 100]); // 0.000
 */
export function entropyOf(logits: ArrayLike<number>): number {
  const all = Array.from(logits);
  const most = Math.max(...all);
  const sum = all.reduce((total, x) => total + Math.exp(x - most), 0);
  return all.reduce((total, x) => total - (Math.exp(x - most) / sum) * (x - most - Math.log(sum)), 0);
}

type Model = BertForSequenceClassification;

/** Layer `at` on x (B, T, D), and what the off-ramp behind it, or the classifier, says: (B, L). */
function run({ bert, dropout, classifier }: Model, at: number, x: Tensor, attentionMask: Tensor) {
  const { layer, highway } = bert.encoder;
  const { hidden } = layer[at]!.forward(x, additiveMask(attentionMask, x.dtype));
  const exit = highway![at];
  const logits = exit ? exit.forward(hidden) : classifier.forward(dropout.forward(bert.pooler!.forward(hidden)));
  return { hidden, attentionMask, logits };
}

type Left = Pick<ReturnType<typeof run>, 'hidden' | 'attentionMask'> & { readonly rows: Tensor };
const firstStep = compiledFor('layer 0 with its exit', (model: Model, inputs: BertInputs & { attentionMask: Tensor }) =>
  run(model, 0, model.bert.embeddings.forward(inputs), inputs.attentionMask),
);

/** A layer on those rows of the layer before that are left. */
const furtherStep = (at: number) =>
  compiledFor(`layer ${at} with its exit`, (model: Model, { hidden, attentionMask, rows }: Left) =>
    run(model, at, indexSelect(hidden, 0, rows), indexSelect(attentionMask, 0, rows)),
  );
const furtherSteps: ReturnType<typeof furtherStep>[] = [];

/**
 * Classifies a batch layer by layer (DeeBERT, Xin et al. 2020): a text leaves at the first off-ramp whose
 * answer has an entropy below `entropy`, default that of the config; the others run on, as a smaller batch.
 * The device waits for the host between layers. Error, one line: the model has no off-ramps.
 *
 * @example
 * const config = { vocabSize: 50, hiddenSize: 8, numHiddenLayers: 2, numAttentionHeads: 2 };
 * const model = withExits(BertForSequenceClassification.fromConfig(config), 1);
 * const { layers } = await exitEarly(model, { inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) });
 * layers; // [1]
 */
export async function exitEarly(
  model: Model,
  inputs: BertInputs,
  entropy = exitEntropyOf(model.config) ?? 0,
): Promise<Exited> {
  const { highway, layer: all } = model.bert.encoder;
  if (!highway)
    throw new Error(`exitEarly: the ${model.constructor.name} has no off-ramps; train/early-exit.ts adds them`);
  const [batch, length] = inputs.inputIds.shape as [number, number];
  const logits = new Array<number[]>(batch);
  const layers = new Array<number>(batch).fill(all.length);
  let left = Array.from({ length: batch }, (_, row) => row);
  let last = firstStep(model)({
    ...inputs,
    attentionMask: inputs.attentionMask ?? ones([batch, length], { dtype: 'i32' }),
  });
  for (let at = 0; ; at++) {
    const said = (await last.logits.tolist()) as number[][];
    const isLast = at === all.length - 1;
    const stay = left.flatMap((_, place) => (isLast || entropyOf(said[place]!) < entropy ? [] : [place]));
    const staying = new Set(stay);
    for (const [place, row] of left.entries())
      if (!staying.has(place)) {
        logits[row] = said[place]!;
        layers[row] = at + 1;
      }
    if (stay.length === 0) return { logits, layers };
    left = stay.map((place) => left[place]!);
    // Few sizes occur, for each of which a program is made; the rows that fill one up are not read.
    const size = paddedLength(stay.length, batch);
    const rows = tensor(Int32Array.from({ length: size }, (_, i) => stay[i] ?? 0));
    const step = (furtherSteps[at + 1] ??= furtherStep(at + 1));
    last = step(model)({ hidden: last.hidden, attentionMask: last.attentionMask, rows });
  }
}
