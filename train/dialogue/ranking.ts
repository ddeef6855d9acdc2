// Response ranking: BERT reads a history and a reply as a pair and gives one score, a cross-encoder.
import { crossEntropy, reshape, zeros } from '../../autograd/index.ts';
import { BertTokenizer, loadTextEncoder, rowLimits } from '../../models/index.ts';
import type { Message, SequenceClassificationModel, TextEncoder } from '../../models/index.ts';
import { readRows } from '../../models/pipelines/encoder.ts';
import type { TokenRow } from '../../models/pipelines/rows.ts';
import { sequenceLogits } from '../../models/pipelines/text-classification.ts';
import { Random } from '../../common/random.ts';
import { loadToFineTune } from '../cli/fine-tune.ts';
import { endlessBatches } from '../data/batches.ts';
import { paddedArrays, tokensOf } from '../data/tokenised.ts';
import type { TrainingTask } from '../objectives/task.ts';
import { fitTurns, wrongReplies } from './candidates.ts';
import type { DialogueExample } from './data.ts';

export interface Ranker {
  readonly model: SequenceClassificationModel;
  readonly tokenizer: BertTokenizer;
  /** Tokens of a history and a reply together. */
  readonly maxLength: number;
}

/** An encoder with a new head of one score, to be trained. */
export async function makeRanker(
  name: string | undefined,
  dropout: number,
  maxLength: number,
  seed: number,
): Promise<Ranker> {
  const settings = { labels: ['LABEL_0'], problemType: null, dropout, seed };
  return rankerOf(await loadToFineTune(name, 'ForSequenceClassification', settings), maxLength);
}

/** A trained one. Error: a model with more scores than one. */
export async function loadRanker(folder: string): Promise<Ranker> {
  const classifier = await loadTextEncoder(folder, 'ForSequenceClassification');
  const { labels } = classifier.model.config;
  if (labels.length !== 1)
    throw new Error(
      `${folder} tells ${labels.length} classes apart, and a ranker of replies has one score; train one with ` +
        '--task ranking',
    );
  return rankerOf(classifier, Infinity);
}

function rankerOf({ model, tokenizer }: TextEncoder<SequenceClassificationModel>, maxLength: number): Ranker {
  if (!(tokenizer instanceof BertTokenizer))
    throw new Error('replies are ranked by models whose tokenizer is WordPiece as of BERT; give another model');
  return { model, tokenizer, maxLength: Math.min(maxLength, rowLimits(model).positions, tokenizer.modelMaxLength) };
}

/**
 * Makes rows [CLS] turn [SEP] turn [SEP] reply [SEP], the reply of segment 1. A history that is too long
 * loses its beginning, a reply its end, see `fitTurns`.
 */
export function pairRows({ tokenizer, maxLength }: Ranker): (history: readonly Message[], reply: string) => TokenRow {
  const { clsTokenId: cls, sepTokenId: sep } = tokenizer;
  const known = new Map<string, Int32Array>();
  const idsOf = (text: string): Int32Array => {
    let ids = known.get(text);
    if (!ids) known.set(text, (ids = tokenizer.idsOf(text)));
    return ids;
  };
  return (history, reply) => {
    const before = history.flatMap(({ content }, i) => [...(i > 0 ? [sep] : []), ...idsOf(content)]);
    const after = idsOf(reply);
    const kept = fitTurns(before.length, after.length, maxLength - 3);
    const first = [cls, ...before.slice(before.length - kept.history), sep];
    const second = [...after.subarray(0, kept.reply), sep];
    const inputIds = Int32Array.from([...first, ...second]);
    return { inputIds, tokenTypeIds: new Int32Array(inputIds.length).fill(1, first.length) };
  };
}

/** The score of each reply to its history. */
export async function scoreReplies(
  ranker: Ranker,
  pairs: readonly { readonly history: readonly Message[]; readonly reply: string }[],
  batchSize: number,
): Promise<number[]> {
  const rowOf = pairRows(ranker);
  const rows = pairs.map(({ history, reply }) => rowOf(history, reply));
  return (await readRows(ranker, rows, sequenceLogits, { batchSize })).map(([score]) => score!);
}

export interface RankingTaskOptions {
  readonly batchSize: number;
  /** Wrong replies beside each true one, drawn anew in each epoch. */
  readonly negatives: number;
  readonly seed: number;
}

/** Draws of wrong replies have the streams from here on. */
const NEGATIVE_STREAM = 2 ** 40;

/**
 * Learns to find the true reply among wrong ones: the cross-entropy of the scores of a history's candidates.
 * Arrays: inputIds, attentionMask and tokenTypeIds [B x (1 + negatives), T], the true reply of each first.
 */
export function rankingTask(
  ranker: Ranker,
  examples: readonly DialogueExample[],
  { batchSize, negatives, seed }: RankingTaskOptions,
): TrainingTask {
  const { model, tokenizer } = ranker;
  const rowOf = pairRows(ranker);
  const draw = wrongReplies(examples);
  const lengths = examples.map(({ history, reply }) => rowOf(history, reply).inputIds.length);
  const { batchesPerEpoch, indices } = endlessBatches(lengths, { batchSize, seed });
  return {
    name: 'response-ranking',
    batchesPerEpoch,
    examples: { labels: { loss: 'inputIds' }, together: 1 + negatives },
    batch(index) {
      const epoch = Math.floor(index / batchesPerEpoch);
      const members = indices(index);
      const rows = members.flatMap((i) => {
        const example = examples[i]!;
        const random = new Random(seed, NEGATIVE_STREAM + epoch * examples.length + i);
        const replies = [example.reply, ...draw(example, negatives, random)];
        return replies.map((reply) => rowOf(example.history, reply));
      });
      return {
        arrays: paddedArrays(rows, tokenizer.padTokenId, rowLimits(model)),
        counts: { loss: members.length },
        tokens: tokensOf(rows),
      };
    },
    losses: ({ inputIds, attentionMask, tokenTypeIds }) => {
      const { logits } = model.forward({ inputIds: inputIds!, attentionMask, tokenTypeIds }); // (B x candidates, 1)
      const scores = reshape(logits, [-1, 1 + negatives]);
      return { loss: crossEntropy(scores, zeros([scores.shape[0]!], { dtype: 'i32' })) };
    },
  };
}
