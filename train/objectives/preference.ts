import { mean, mul, ne, neg, noGrad, slice, sum } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { CausalLM } from '../../models/index.ts';
import { compiledFor, forEachBatch, paddedLength } from '../../models/pipelines/rows.ts';
import { endlessBatches } from '../data/batches.ts';
import type { BatchOptions } from '../data/batches.ts';
import { batchOf } from './labelled-tokens.ts';
import type { LabelledTokens } from './labelled-tokens.ts';
import { divergenceOf, needsReference, preferenceLoss, rewardMetrics } from './preference-losses.ts';
import type { Pair, PreferenceLossOptions } from './preference-losses.ts';
import { ignoredLabel } from './rows.ts';
import { toDevice } from './task.ts';
import type { DeviceBatch, HostArray, TrainingTask } from './task.ts';

/** A question with a better and a worse answer, as tokens; the answers are what is learnt of them. */
export interface PreferencePair {
  readonly chosen: LabelledTokens;
  readonly rejected: LabelledTokens;
}

/** ln p of a pair's answers under the reference, and for kto of an answer to another question. */
export type ReferenceLogProbs = Readonly<Record<keyof PreferencePair | 'other', number>>;

export interface PreferenceOptions extends BatchOptions, PreferenceLossOptions {
  readonly model: CausalLM;
  readonly pairs: readonly PreferencePair[];
  /** Tokens that a row may have. */
  readonly length: number;
  /**
   * The model that training began with: what it says of each pair (`referenceLogProbs`), or a function that
   * runs another one as that model, such as `(run) => peft.disableAdapters(run)`.
   */
  readonly reference?: readonly ReferenceLogProbs[] | (<T>(run: () => T) => T);
}

type Rows = readonly LabelledTokens[];

/**
 * Learns to prefer better answers to worse ones; see `preferenceLoss`. Parts: `preference`, with orpo `nll`,
 * the cross-entropy of the chosen dialogues; `margin` and `accuracy` of rewards are recorded.
 *
 * Arrays: inputIds and labels [2 P, T], the chosen above the rejected; lengths [2 P]; what the reference says
 * of them [2 P]; for orpo, whose labels are all tokens, which are of the answers; for kto answers to other
 * questions [P, T].
 */
export function preferences(options: PreferenceOptions): TrainingTask {
  const { pairs, length, loss, reference, batchSize, seed } = options;
  if (needsReference(loss) && reference === undefined)
    throw new Error(`preferences: ${loss} compares with the model that training began with; give reference`);
  const others = loss === 'kto' ? otherAnswers(pairs, length) : undefined;
  const longest = pairs.map(({ chosen, rejected }, i) =>
    Math.max(chosen.ids.length, rejected.ids.length, others?.[i]!.ids.length ?? 0),
  );
  const known = needsReference(loss) && typeof reference === 'object' ? reference : undefined;
  const { batchesPerEpoch, indices } = endlessBatches(longest, { batchSize, seed });
  return {
    name: `preferences, ${loss}`,
    lossLabel: loss,
    measures: ['margin', 'accuracy'],
    // What kto compares with is a mean over the batch; orpo's means are over the better answers' tokens.
    ...(loss === 'kto' || loss === 'orpo'
      ? {}
      : { examples: { labels: { preference: 'lengths', margin: 'lengths', accuracy: 'lengths' }, sets: 2 } }),
    batchesPerEpoch,
    batch(index) {
      const members = indices(index);
      const width = paddedLength(Math.max(...members.map((i) => longest[i]!)), length);
      const of = (name: keyof PreferencePair): Rows => members.map((i) => pairs[i]![name]);
      const answers = [...of('chosen'), ...of('rejected')];
      const { arrays, tokens } = rowsOf(loss === 'orpo' ? answers.map(whole) : answers, width);
      const other =
        others &&
        rowsOf(
          members.map((i) => others[i]!),
          width,
        );
      const said = (name: keyof ReferenceLogProbs): number[] => members.map((i) => known![i]![name]);
      const count = members.length;
      return {
        arrays: {
          ...arrays,
          lengths: f32(answers.map(countLearnt)),
          ...(known ? { reference: f32([...said('chosen'), ...said('rejected')]) } : {}),
          ...(loss === 'orpo' ? { answers: answersIn(answers, width) } : {}),
          ...(other ? { otherIds: other.arrays['inputIds']!, otherLabels: other.arrays['labels']! } : {}),
          ...(other && known ? { otherReference: f32(said('other')) } : {}),
        },
        counts: {
          preference: count,
          ...(loss === 'orpo' ? { nll: sizes(of('chosen')) } : {}),
          margin: count,
          accuracy: count,
        },
        tokens: tokens + (other?.tokens ?? 0),
      };
    },
    losses: (batch) => lossesOf(batch, options),
  };
}

function lossesOf(
  { inputIds, labels, lengths, answers, otherIds, otherLabels, ...said }: DeviceBatch,
  options: PreferenceOptions,
): Readonly<Record<string, Tensor>> {
  const { model, loss, reference } = options;
  const before = (known: Tensor | undefined, ids: Tensor, of: Tensor): Tensor =>
    known ?? noGrad(() => (reference as <T>(run: () => T) => T)(() => answerLogProbs(model, ids, of))).detach();
  const half = inputIds!.shape[0]! / 2;
  const pairOf = (x: Tensor): Pair => ({ chosen: slice(x, [0, half]), rejected: slice(x, [half]) });
  const tokens = model.nextTokenLogProbs({ inputIds: inputIds!, labels: labels! }); // (2 P, T)
  const divergence =
    otherIds && otherLabels
      ? divergenceOf(
          noGrad(() => answerLogProbs(model, otherIds, otherLabels)),
          before(said['otherReference'], otherIds, otherLabels),
        )
      : undefined;
  const inputs = {
    policy: pairOf(sum(answers ? mul(tokens, answers) : tokens, 1)),
    ...(needsReference(loss) ? { reference: pairOf(before(said['reference'], inputIds!, labels!)) } : {}),
    lengths: pairOf(lengths!),
    ...(divergence ? { divergence } : {}),
  };
  const { losses, rewards } = preferenceLoss(inputs, options);
  const counted = answers && sum(ne(slice(labels!, [0, half]), ignoredLabel).to('f32'));
  return {
    preference: mean(losses),
    ...(counted ? { nll: neg(sum(slice(tokens, [0, half]))).div(counted) } : {}),
    ...rewardMetrics(rewards),
  };
}

/** ln p of the labels of each row, [B]. */
const answerLogProbs = (model: CausalLM, inputIds: Tensor, labels: Tensor): Tensor =>
  sum(model.nextTokenLogProbs({ inputIds, labels }), 1);

const compiledLogProbs = compiledFor('reference of preferences', (model: CausalLM, batch: DeviceBatch) =>
  answerLogProbs(model, batch['inputIds']!, batch['labels']!),
);

/**
 * What a model says of pairs before it is trained on them, for `reference`; for kto, of answers to other
 * questions, too. Dropout is off.
 */
export async function referenceLogProbs(
  { model, pairs, length, loss }: Pick<PreferenceOptions, 'model' | 'pairs' | 'length' | 'loss'>,
  batchSize: number,
): Promise<ReferenceLogProbs[]> {
  const logProbsOf = async (rows: Rows): Promise<number[]> => {
    const found = new Array<number>(rows.length).fill(0);
    const inputs = rows.map(({ ids }) => ({ inputIds: Int32Array.from(ids) }));
    await forEachBatch(model, inputs, batchSize, async (indices) => {
      const width = paddedLength(Math.max(...indices.map((i) => rows[i]!.ids.length)), length);
      const batch = rowsOf(
        indices.map((i) => rows[i]!),
        width,
      );
      const values = await compiledLogProbs(model)(toDevice(batch)).data();
      indices.forEach((i, k) => (found[i] = Number(values[k])));
    });
    return found;
  };
  const chosen = await logProbsOf(pairs.map((pair) => pair.chosen));
  const rejected = await logProbsOf(pairs.map((pair) => pair.rejected));
  const other = loss === 'kto' ? await logProbsOf(otherAnswers(pairs, length)) : chosen.map(() => 0);
  return pairs.map((_, i) => ({ chosen: chosen[i]!, rejected: rejected[i]!, other: other[i]! }));
}

const rowsOf = (rows: Rows, width: number) =>
  batchOf(
    rows.map((row) => [row]),
    width,
    false,
  );
const f32 = (values: readonly number[]): HostArray => ({ data: Float32Array.from(values), shape: [values.length] });
const whole = ({ ids }: LabelledTokens): LabelledTokens => ({ ids, learnt: new Uint8Array(ids.length).fill(1) });

/** Tokens of an answer, as the loss counts them: the first of a row is never predicted. */
const countLearnt = ({ learnt }: LabelledTokens): number =>
  Math.max(1, Array.from(learnt).filter((value, i) => i > 0 && value).length);

/** Labels of rows of which every token is learnt. */
const sizes = (rows: Rows): number => rows.reduce((total, { ids }) => total + Math.max(0, ids.length - 1), 0);

/** 1 where the token after is of an answer, [B, T]. */
function answersIn(rows: Rows, width: number): HostArray {
  const data = new Float32Array(rows.length * width);
  rows.forEach(({ learnt }, b) => {
    for (let i = 1; i < learnt.length; i++) data[b * width + i - 1] = learnt[i] ? 1 : 0;
  });
  return { data, shape: [rows.length, width] };
}

/** Each question with the chosen answer of the pair before it: what kto estimates the divergence from. */
function otherAnswers(pairs: readonly PreferencePair[], length: number): LabelledTokens[] {
  const parts = pairs.map(({ chosen: { ids, learnt } }) => {
    const from = Math.max(0, Array.from(learnt).findIndex(Boolean));
    return { question: Array.from(ids).slice(0, from), answer: Array.from(ids).slice(from) };
  });
  return parts.map(({ question }, i) => {
    const ids = [...question, ...parts.at(i - 1)!.answer].slice(0, length);
    return { ids, learnt: ids.map((_, k) => Number(k >= question.length)) };
  });
}
