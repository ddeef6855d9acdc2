/** Classifiers whose clear texts need no further layers: off-ramps taught, and how soon texts may leave. */
import { noGrad, stack } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { BertForSequenceClassification, entropyOf } from '../../models/index.ts';
import type { BertInputs, ModelConfig, SequenceClassificationModel, TextEncoder } from '../../models/index.ts';
import { readRows } from '../../models/pipelines/encoder.ts';
import { chunks, compiledFor } from '../../models/pipelines/rows.ts';
import { labelLoss } from '../../models/transformer/encoder-heads.ts';
import type { Objective } from '../classifier/fine-tune.ts';
import { mostProbable } from '../classifier/predict.ts';
import type { Target } from '../data/read-table.ts';
import type { TokenisedExample } from '../data/tokenised.ts';
import { accuracy } from '../metrics/classification.ts';
import { rebuilt } from './smaller.ts';

/**
 * A copy of a BERT classifier with an off-ramp behind each layer but the last, which begins as its pooler and
 * classifier are. Texts leave by `entropy`, in nats; at 0 none does. Loads in Transformers as the classifier
 * that it was, which then leaves the off-ramps out.
 *
 * Errors, each one line: another family; several labels a text, or a score; one layer; off-ramps already.
 *
 * @example
 * const config = { vocabSize: 50, hiddenSize: 8, numHiddenLayers: 2, numAttentionHeads: 2 };
 * hasExits(withExits(BertForSequenceClassification.fromConfig(config))); // true
 */
export function withExits(model: SequenceClassificationModel, entropy = 0): BertForSequenceClassification {
  const fail = (what: string): Error => new Error(`withExits: ${what}`);
  if (!(model instanceof BertForSequenceClassification))
    throw fail(`a ${model.constructor.name} has no off-ramps here; give a BertForSequenceClassification`);
  if (model.bert.encoder.highway) throw fail('the model has off-ramps already; give the one that it was made from');
  const { numLabels, problemType, numHiddenLayers } = model.config;
  if (numLabels < 2 || (problemType ?? 'single_label_classification') !== 'single_label_classification')
    throw fail('how sure a model is shows where one of several labels holds; give such a classifier');
  if (numHiddenLayers < 2) throw fail('the model has one layer, behind which there is nothing to spare');
  const state: Map<string, Tensor> = model.stateDict();
  for (const [key, value] of [...state]) {
    const [, part] = /^(?:bert\.(?=pooler))?((?:pooler|classifier)\..*)$/.exec(key) ?? [];
    if (part === undefined) continue;
    for (let at = 0; at < numHiddenLayers - 1; at++) state.set(`bert.encoder.highway.${at}.${part}`, value);
  }
  const extra = { ...model.config.extra, early_exit_entropy: entropy };
  return noGrad(() => rebuilt(model, { ...model.config, extra } as ModelConfig, state));
}

/** Logits of all off-ramps and of the classifier, (B, L) each; the last one's loss where there are labels. */
function allLogits(model: BertForSequenceClassification, inputs: BertInputs & { readonly labels?: Tensor }) {
  const { logits, hiddenStates, loss } = model.forward({ ...inputs, outputHiddenStates: true });
  const exits = model.bert.encoder.highway!.map((exit, at) => exit.forward(hiddenStates![at + 1]!));
  return { exits, logits, loss };
}

/**
 * The loss by which off-ramps learn: the sum of theirs, the rest frozen, as DeeBERT's second stage has it
 * (Xin et al. 2020); or, `joint`, with the classifier's, all weights learning.
 */
export function exitObjective(model: BertForSequenceClassification, { joint }: { readonly joint: boolean }): Objective {
  const exits = model.bert.encoder.highway;
  if (!exits) throw new Error('exitObjective: the model has no off-ramps; see withExits');
  if (!joint) {
    model.requiresGrad(false);
    for (const exit of exits) exit.requiresGrad(true);
  }
  const names = exits.map((_, at) => `exit ${at + 1}`);
  return {
    parts: [...names, ...(joint ? ['labels'] : [])],
    lossLabel: 'loss of all exits',
    arrays: () => ({}),
    losses(inputs, labels) {
      const found = allLogits(model, { ...inputs, labels });
      const losses = found.exits.map((logits, at) => [names[at]!, labelLoss(model, logits, labels)] as const);
      return { ...Object.fromEntries(losses), ...(joint ? { labels: found.loss! } : {}) };
    },
    identity: { objective: 'early exit', joint },
  };
}

const everyExit = compiledFor('all exits', (model: BertForSequenceClassification, inputs: BertInputs) => {
  const { exits, logits } = allLogits(model, inputs);
  return stack([...exits, logits], 1); // (B, exits, L)
});

/** What each off-ramp and the classifier say of each text, [examples][layers][L]. */
export async function exitLogits(
  classifier: TextEncoder<BertForSequenceClassification>,
  examples: readonly TokenisedExample<Target>[],
  batchSize: number,
): Promise<number[][][]> {
  const { numLabels } = classifier.model.config;
  const rows = await readRows(classifier, examples, everyExit, { batchSize });
  return rows.map((row) => chunks(Array.from(row), numLabels));
}

/**
 * What comes of texts that leave at an entropy, by what all off-ramps say: as `exitEarly`, without a run.
 *
 * @example
 * // Of one text, an off-ramp after the first layer is sure already.
 * exitsAt([[[9, 0], [5, 0]]], 0.1).layers; // [1]
 */
export function exitsAt(logits: readonly (readonly (readonly number[])[])[], entropy: number) {
  const layers = logits.map((exits) => {
    const at = exits.slice(0, -1).findIndex((said) => entropyOf(said) < entropy);
    return at < 0 ? exits.length : at + 1;
  });
  return { layers, logits: logits.map((exits, text) => exits[layers[text]! - 1]!) };
}

/** Shares of the largest entropy there is that are tried as a limit. */
const shares = Array.from({ length: 100 }, (_, i) => i / 100);

/**
 * The largest entropy at which the accuracy of texts, by the logits of all off-ramps, is at most `tolerance`
 * below that of the whole model.
 *
 * @example
 * // Both off-ramps are right, so that every text may leave where its answer is surer than by chance.
 * largestEntropy([[[9, 0], [5, 0]], [[0, 1], [0, 5]]], [0, 1], 0) > 0.58; // true
 */
export function largestEntropy(
  logits: readonly (readonly (readonly number[])[])[],
  truth: readonly number[],
  tolerance: number,
): number {
  const limit = Math.log(logits[0]![0]!.length);
  const accuracyAt = (entropy: number): number => accuracy(truth, mostProbable(exitsAt(logits, entropy).logits));
  const whole = accuracyAt(0);
  const fits = shares.map((share) => share * limit).filter((entropy) => accuracyAt(entropy) >= whole - tolerance);
  return fits.at(-1)!;
}
