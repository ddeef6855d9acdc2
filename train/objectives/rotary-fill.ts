import type { Tensor } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import type { TrainingTask } from './task.ts';
import { countPlaces, placesToPredict } from './masked-lm.ts';
import { attentionOf, batchOf, ignoredLabel, labelCount, padRows, passOf, tokensOf } from './rows.ts';
import type { Rows } from './rows.ts';
import { purposeSeed } from './random-order.ts';

/** BertForRotaryFill. */
export interface RotaryFillModel {
  forward(inputs: {
    readonly inputIds: Tensor;
    readonly attentionMask?: Tensor;
    readonly maskedPositions: Tensor;
    readonly labels: Tensor;
    readonly rotatedLabels: Tensor;
    readonly outputLogits: false;
  }): { readonly fillLoss: Tensor; readonly rotatedLoss: Tensor };
}

export interface RotaryFillOptions {
  readonly model: RotaryFillModel;
  readonly rows: Rows;
  readonly batchSize: number;
  readonly padTokenId: number;
  /** Ids that are never rotated: spans do not reach across them. */
  readonly specialIds: readonly number[];
  readonly seed: number;
  /** Share of a row's ordinary tokens in rotated spans; default 0.15. */
  readonly rotatedShare?: number;
}

export interface RotatedRow {
  readonly ids: Int32Array;
  /** All places inside rotated spans, ascending. */
  readonly positions: readonly number[];
  readonly spans: readonly RotatedSpan[];
}

/** Place i of the span holds what was at place (i + offset) mod length. */
export interface RotatedSpan {
  readonly start: number;
  readonly length: number;
  readonly offset: number;
}

const LONGEST = 10;
const SHORTER = 0.2;
const TRIES = 100;

/**
 * Rotary fill: some spans of the text are rotated, that is, shifted cyclically, and the model puts back what
 * was there (part `fill`) and tells which places were changed (part `detect`). For an encoder with both
 * heads, BertForRotaryFill. Precisely, for a row with n ordinary (not special) tokens:
 *
 * - Share: round(0.15 n) tokens, but at least 2, lie in rotated spans, as many as masked LM masks. A row
 *   with fewer than 2 ordinary tokens is left alone.
 * - Lengths: geometric, P(l) ~ 0.8^l, for l from 2 to 10, as SpanBERT's (there from 1 to 10); the last one
 *   is cut to the share, so that no single token is left over (which may make a span of 3).
 * - Places: drawn evenly among those where the span has ordinary tokens only and touches no other span;
 *   longest first; a span that finds none in 100 draws is left out.
 * - Offset: drawn evenly from 1 to l - 1. Place i of the span then holds the token of place (i + offset)
 *   mod l.
 * - fill: the original token is predicted at every place of every rotated span, also where the rotation
 *   happens to bring the same token. The loss is over those places alone.
 * - detect: 1 where the token differs from the original, else 0, at every ordinary token: a place that the
 *   rotation leaves as it was counts as not rotated, as ELECTRA counts a replacement that is the original.
 *   Special tokens and padding have no label.
 *
 * Unlike a mask, nothing here is hidden and no token is of a kind that downstream texts lack: what is learnt
 * is order. Source: no publication under this name is known to us. Nearest are the word order objective of
 * StructBERT (Wang et al. 2020), which permutes three tokens and predicts them at all three places; document
 * rotation, a whole text turned about one token, in BART (Lewis et al. 2020); spans and their lengths,
 * SpanBERT (Joshi et al. 2020); telling changed tokens at all places, ELECTRA (Clark et al. 2020).
 *
 * Arrays: inputIds and rotatedLabels [B, T], maskedPositions and labels [B, K] with K = max(2,
 * ceil(rotatedShare T)), attentionMask [B, T] unless the rows are full.
 *
 * @example
 * const config = { vocabSize: 10, hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = BertForRotaryFill.fromConfig(config);
 * const rows = documentWindows(corpusOf([[5, 6, 7, 8], [8, 9]], 10), { length: 4, seed: 0 });
 * const task = rotaryFill({ model, rows, batchSize: 2, padTokenId: 0, specialIds: [0, 1, 2], seed: 0 });
 */
export function rotaryFill(options: RotaryFillOptions): TrainingTask {
  const { model, rows, batchSize, padTokenId, specialIds, rotatedShare = 0.15 } = options;
  if (!(rotatedShare > 0 && rotatedShare <= 0.5))
    throw new Error(`rotaryFill: rotatedShare must be above 0 and at most 0.5, got ${rotatedShare}`);
  const seed = purposeSeed(options.seed, 'rotations');
  const special = new Set(specialIds);
  const places = Math.max(2, Math.ceil(rotatedShare * rows.length));
  return {
    name: 'rotary-fill',
    batchesPerEpoch: passOf(rows, batchSize),
    examples: { labels: { fill: 'labels', detect: 'rotatedLabels' } },
    batch(index) {
      const batch = batchOf(rows, batchSize, index);
      const originals = batch.map(({ ids }) => ids);
      const rotated = batch.map((row) => rotateSpans(row.ids, special, rotatedShare, new Random(seed, row.index)));
      const corrupted = rotated.map(({ ids }) => ids);
      const changes = originals.map((ids, i) =>
        ids.map((id, place) => (special.has(id) ? ignoredLabel : id === corrupted[i]![place] ? 0 : 1)),
      );
      const rotatedLabels = padRows(changes, rows.length, ignoredLabel);
      return {
        arrays: {
          inputIds: padRows(corrupted, rows.length, padTokenId),
          ...(rows.full ? {} : { attentionMask: attentionOf(originals, rows.length) }),
          ...placesToPredict(originals, rotated, places),
          rotatedLabels,
        },
        counts: { fill: countPlaces(rotated), detect: labelCount(rotatedLabels) },
        tokens: tokensOf(batch),
      };
    },
    losses({ inputIds, attentionMask, maskedPositions, labels, rotatedLabels }) {
      const { fillLoss, rotatedLoss } = model.forward({
        inputIds: inputIds!,
        attentionMask,
        maskedPositions: maskedPositions!,
        labels: labels!,
        rotatedLabels: rotatedLabels!,
        outputLogits: false,
      });
      return { fill: fillLoss, detect: rotatedLoss };
    },
  };
}

/** One row rotated, see `rotaryFill`. */
export function rotateSpans(row: Int32Array, special: ReadonlySet<number>, share: number, random: Random): RotatedRow {
  const ordinary: number[] = [];
  row.forEach((id, place) => special.has(id) || ordinary.push(place));
  const ids = row.slice();
  if (ordinary.length < 2) return { ids, positions: [], spans: [] };
  const lengths = spanLengths(Math.max(2, Math.round(share * ordinary.length)), random).sort((a, b) => b - a);
  // Places where no span may begin, end or pass: special tokens, and spans with the token on either side.
  const isTaken = Uint8Array.from(row, (id) => (special.has(id) ? 1 : 0));
  const isFree = (start: number, end: number): boolean =>
    end <= row.length && !isTaken.subarray(start, end).includes(1);
  const spans: RotatedSpan[] = [];
  for (const length of lengths) {
    for (let tries = 0; tries < TRIES; tries++) {
      const start = ordinary[random.int(ordinary.length)]!;
      if (!isFree(start, start + length)) continue;
      const offset = 1 + random.int(length - 1);
      for (let i = 0; i < length; i++) ids[start + i] = row[start + ((i + offset) % length)]!;
      isTaken.fill(1, Math.max(0, start - 1), start + length + 1);
      spans.push({ start, length, offset });
      break;
    }
  }
  spans.sort((a, b) => a.start - b.start);
  const positions = spans.flatMap(({ start, length }) => Array.from({ length }, (_, i) => start + i));
  return { ids, positions, spans };
}

/** Lengths of spans, 2 or more each, `total` in all. */
function spanLengths(total: number, random: Random): number[] {
  const lengths: number[] = [];
  for (let left = total; left > 0;) {
    let length = Math.min(geometricLength(random), left);
    if (left - length === 1) length += length > 2 ? -1 : 1; // no span of one token
    lengths.push(length);
    left -= length;
  }
  return lengths;
}

/** 2, 3, ... 10 with P(l) ~ 0.8^l: drawn again where it would be longer. */
function geometricLength(random: Random): number {
  for (;;) {
    let length = 2;
    while (length <= LONGEST && random.uniform() >= SHORTER) length++;
    if (length <= LONGEST) return length;
  }
}
