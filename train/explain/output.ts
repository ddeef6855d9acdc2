// What number of a model is explained: one output of one text, for each kind of model.
import { gather, logSigmoid, logSoftmax, reshape, select, sigmoid, softmax, sub } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { brief, printable } from '../../common/printable.ts';
import { CausalLM, Linear, PeftModel, rowsAt, Seq2SeqLM } from '../../models/index.ts';
import type { AnyTokenizer, Module } from '../../models/index.ts';
import type { TokenRow } from '../../models/pipelines/rows.ts';

/** B rows of tokens for a model; `place` (B, 1) is the token of each row whose output counts. */
export interface PlacedBatch {
  readonly inputIds: Tensor;
  readonly attentionMask: Tensor;
  readonly tokenTypeIds?: Tensor;
  readonly place: Tensor;
}

export type LabelledBatch = PlacedBatch & {
  /** The number of the label that is explained, (B, 1). */
  readonly label: Tensor;
  /** Of a contrast: the label whose number is taken off, (B, 1). */
  readonly foil?: Tensor;
};

/**
 * Which number of an output is explained: the logit, the probability, or its logarithm. Of labels that hold
 * independently, and of a score, the probability is a sigmoid.
 */
export const outputScales = ['logit', 'probability', 'log-probability'] as const;
export type OutputScale = (typeof outputScales)[number];

/** Scores of all labels, or of all tokens, of each row: (B, C). */
type Scores = (model: Module, batch: PlacedBatch) => Tensor;

interface Outputs {
  readonly logits: Tensor;
  readonly startLogits: Tensor;
  readonly endLogits: Tensor;
}

const run = (model: Module, inputs: object): Outputs => model.forward(inputs as never) as Outputs;

/** Scores (B, T, C) at the place of each row: (B, C). */
const atPlace = (scores: Tensor, place: Tensor): Tensor => select(rowsAt(scores, place), 1, 0);

const scoresByKind = {
  sequence: (model, { place: _, ...batch }) => run(model, batch).logits,
  token: (model, { place, ...batch }) => atPlace(run(model, batch).logits, place),
  start: (model, { place: _, ...batch }) => run(model, batch).startLogits,
  end: (model, { place: _, ...batch }) => run(model, batch).endLogits,
  masked: (model, { place, ...batch }) => select(run(model, { ...batch, maskedPositions: place }).logits, 1, 0),
  // Padding on the right is seen by no token before it, so no mask is needed.
  causal(model, { place, inputIds }) {
    const decoder = baseOf(model) as CausalLM;
    return decoder.decoder().logits(atPlace(decoder.lastHiddenState(inputIds), place));
  },
} as const satisfies Record<string, Scores>;

export type KindOfModel = keyof typeof scoresByKind;

/** The model under adapters, whose layers they change in place. */
export const baseOf = (model: Module): Module => (model instanceof PeftModel ? (model.base as Module) : model);

/** Whether a model classifies by the last token of a text that is no padding, as decoders do. */
export const readsLastToken = (model: Module): boolean =>
  (baseOf(model) as Module & { readonly score?: unknown }).score instanceof Linear;

/** Settings that say what a model's labels are. */
interface Labelled {
  readonly labels?: readonly string[];
  readonly problemType?: string | null;
}

export const configOf = (model: Module): Labelled & Readonly<Record<string, unknown>> =>
  (baseOf(model) as Module & { readonly config?: Labelled & Readonly<Record<string, unknown>> }).config ?? {};

/** Whether labels of a text hold independently of each other, or there is one number. */
function hasSigmoid(model: Module, kind: KindOfModel, count: number): boolean {
  return kind === 'sequence' && (count === 1 || configOf(model).problemType === 'multi_label_classification');
}

/** Scores (B, C) of a batch, see `Scores`. */
export const scoresOf = (kind: KindOfModel, model: Module, batch: PlacedBatch): Tensor =>
  scoresByKind[kind](model, batch);

/**
 * The number that is explained of each row, (B), for the labels `label` (B, 1); less that of `foil` where
 * there is one (Yin and Neubig 2022).
 */
export function outputOf(
  kind: KindOfModel,
  scale: OutputScale,
  model: Module,
  { label, foil, ...batch }: LabelledBatch,
): Tensor {
  const scores = scoresOf(kind, model, batch);
  const alone = hasSigmoid(model, kind, scores.shape[1]!);
  const scaled = {
    logit: () => scores,
    probability: () => (alone ? sigmoid(scores) : softmax(scores)),
    'log-probability': () => (alone ? logSigmoid(scores) : logSoftmax(scores)),
  }[scale]();
  const of = (number: Tensor): Tensor => reshape(gather(scaled, 1, number), [-1]);
  return foil ? sub(of(label), of(foil)) : of(label);
}

/** A row of tokens of a text or a pair, and where they stand. */
export interface ExplainedRow extends TokenRow {
  /** Token t stands at [starts[t], ends[t]) of its text, in UTF-16 units as `slice` counts. */
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  /** Which of two texts a token is of, 0 or 1; -1 for special tokens that were added. */
  readonly texts: Int32Array;
}

/** What the caller wants explained, see `SubjectOptions`. */
export interface TargetChoice {
  readonly target?: string | number | undefined;
  readonly at?: string | number | undefined;
  readonly contrast?: string | number | undefined;
}

/** The number that is explained, as a place in the model's output. */
export interface Target {
  readonly kind: KindOfModel;
  /** The token of the row whose output counts; of a label of a whole text the one that the head reads. */
  readonly place: number;
  /** Number of the label or token; undefined: the one with the highest score. */
  readonly label: number | undefined;
  /** Number of the label or token that it is compared with; undefined: none. */
  readonly foil?: number | undefined;
}

const answerSides = ['start', 'end'] as const;

/**
 * Finds what a choice means for a model and a row. Errors, each one line: an encoder-decoder; an unknown
 * label; a place that is not in the text; a target of several tokens.
 */
export function findTarget(
  model: Module,
  tokenizer: AnyTokenizer,
  row: ExplainedRow,
  texts: readonly string[],
  choice: TargetChoice,
): Target {
  const kind = kindOf(model, choice);
  const last = row.inputIds.length - 1;
  if (kind === 'sequence') return { kind, place: readsLastToken(model) ? last : 0, ...labelsOf(model, choice) };
  if (kind === 'causal') return { kind, place: last, ...tokensOf(tokenizer, choice) };
  if (kind === 'masked') {
    const place =
      choice.at === undefined ? row.inputIds.indexOf(tokenizer.maskTokenId ?? -1) : placeOf(row, texts, choice.at);
    if (place < 0)
      throw new Error('explain: a model of masked tokens needs a mask in the text, or `at` for the token that counts');
    return { kind, place, ...tokensOf(tokenizer, choice) };
  }
  if (kind === 'token') {
    if (choice.at === undefined)
      throw new Error('explain: each token has labels of its own here; say with `at` which word or token is explained');
    return { kind, place: placeOf(row, texts, choice.at), ...labelsOf(model, choice) };
  }
  if (choice.contrast !== undefined)
    throw new Error("explain: a contrast is of two labels or tokens; of a question's answer there is one place");
  return { kind, place: 0, label: choice.at === undefined ? undefined : placeOf(row, texts, choice.at) };
}

type Numbers = Pick<Target, 'label' | 'foil'>;

const labelsOf = (model: Module, { target, contrast }: TargetChoice): Numbers => ({
  label: labelNumber(model, target),
  foil: labelNumber(model, contrast),
});

const tokensOf = (tokenizer: AnyTokenizer, { target, contrast }: TargetChoice): Numbers => ({
  label: tokenNumber(tokenizer, target),
  foil: tokenNumber(tokenizer, contrast),
});

function kindOf(model: Module, { target }: TargetChoice): KindOfModel {
  const base = baseOf(model);
  if (base instanceof CausalLM) return 'causal';
  if (base instanceof Seq2SeqLM)
    throw new Error(
      `explain: a ${base.constructor.name} reads two texts with one table of embeddings, which is not explained ` +
        'here; give a classifier, a tagger, a model of questions or a decoder',
    );
  const { name } = base.constructor;
  if (name.endsWith('ForTokenClassification')) return 'token';
  if (name.endsWith('ForMaskedLM')) return 'masked';
  if (!name.endsWith('ForQuestionAnswering')) return 'sequence';
  const side = answerSides.find((each) => each === (target ?? 'start'));
  if (!side) throw new Error(`explain: the target of a question is start or end of its answer, got ${brief(target)}`);
  return side;
}

/** The number of a label given by its name or number. */
function labelNumber(model: Module, target: string | number | undefined): number | undefined {
  if (target === undefined) return undefined;
  const { labels } = configOf(model);
  const found = typeof target === 'number' ? target : (labels ?? []).indexOf(target);
  if (typeof target === 'string' && found < 0)
    throw new Error(
      `explain: unknown target label ${brief(target)}; ` +
        (labels
          ? `the model has ${labels.map(printable).join(', ')}`
          : "the model's labels have no names, give a number"),
    );
  return checkNumber('label', found, labels?.length ?? Infinity);
}

function tokenNumber(tokenizer: AnyTokenizer, target: string | number | undefined): number | undefined {
  if (target === undefined) return undefined;
  if (typeof target === 'number') return checkNumber('token', target, tokenizer.vocabSize);
  const ids = tokenizer.idsOf(target);
  if (ids.length === 1) return ids[0]!;
  throw new Error(
    `explain: the target ${brief(target)} is ${ids.length} tokens, one is needed` +
      (ids.length > 1 ? `; its first is ${brief(tokenizer.convertIdsToTokens(ids)[0])}` : ''),
  );
}

/** Throws unless a number is one of `count`. */
export function checkNumber(what: string, value: number, count: number): number {
  if (Number.isInteger(value) && value >= 0 && value < count) return value;
  throw new Error(`explain: ${what} ${value} is none of 0 to ${count - 1}`);
}

/** The token at which a piece of the text begins, by the piece or by the token's number in the row. */
function placeOf(row: ExplainedRow, texts: readonly string[], at: string | number): number {
  if (typeof at === 'number') return checkNumber('token', at, row.inputIds.length);
  for (const [text, whole] of texts.entries()) {
    const start = whole.indexOf(at);
    if (start < 0 || at === '') continue;
    const place = row.texts.findIndex((own, t) => own === text && row.ends[t]! > start);
    if (place >= 0) return place;
  }
  throw new Error(`explain: ${brief(at)} does not stand in the text; give a part of it, or the number of a token`);
}

/** The name of a label or a token. */
export function targetName(
  model: Module,
  tokenizer: AnyTokenizer,
  row: ExplainedRow,
  { kind }: Target,
  number: number,
): string {
  if (kind === 'causal' || kind === 'masked') return tokenizer.decode([number]);
  if (kind !== 'start' && kind !== 'end') return configOf(model).labels?.[number] ?? String(number);
  return `${kind} at ${tokenizer.decode([row.inputIds[number]!])}`;
}
