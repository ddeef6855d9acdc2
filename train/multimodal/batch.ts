import type { Tensor } from '../../autograd/index.ts';
import type { AnyTokenizer } from '../../models/index.ts';
import { paddedLength } from '../../models/pipelines/rows.ts';
import { Random } from '../../common/random.ts';
import { endlessBatches } from '../data/batches.ts';
import { toDevice } from '../objectives/task.ts';
import type { HostArray, HostBatch } from '../objectives/task.ts';
import type { PicturedText } from './data.ts';

/** Tokens of each text, cut to `maxLength`, the last of them kept: it ends the text. */
export function tokensOfTexts(tokenizer: AnyTokenizer, texts: readonly string[], maxLength: number): Int32Array[] {
  return texts.map((text) => {
    const ids = tokenizer.idsOf(text, { addSpecialTokens: true });
    if (ids.length <= maxLength) return ids;
    return Int32Array.from([...ids.subarray(0, maxLength - 1), ids.at(-1)!]);
  });
}

/** Rows of tokens padded to one length, `limit` at most: inputIds and attentionMask, [B, T] each. */
export function paddedTokens(
  rows: readonly Int32Array[],
  padTokenId: number,
  limit: number,
): Record<string, HostArray> {
  const length = paddedLength(Math.max(...rows.map((row) => row.length)), limit);
  const shape = [rows.length, length];
  const [ids, mask] = [new Int32Array(rows.length * length).fill(padTokenId), new Int32Array(rows.length * length)];
  rows.forEach((row, i) => {
    ids.set(row, i * length);
    mask.fill(1, i * length, i * length + row.length);
  });
  return { inputIds: { data: ids, shape }, attentionMask: { data: mask, shape } };
}

/**
 * Pictures as an array [B, 3, S, S], each moved by up to `shift` pixels in both directions, the edge
 * repeated; `random` undefined: as they are.
 */
export function stackPictures(
  pictures: readonly Float32Array[],
  side: number,
  { shift = 0, random }: { readonly shift?: number; readonly random?: Random | undefined } = {},
): HostArray {
  const size = 3 * side * side;
  const data = new Float32Array(pictures.length * size);
  const inside = (i: number): number => Math.min(side - 1, Math.max(0, i));
  pictures.forEach((pixels, p) => {
    if (!random || shift === 0) return data.set(pixels, p * size);
    const [down, across] = [random.int(2 * shift + 1) - shift, random.int(2 * shift + 1) - shift];
    let at = p * size;
    for (let c = 0; c < 3; c++)
      for (let y = 0; y < side; y++)
        for (let x = 0; x < side; x++) data[at++] = pixels[(c * side + inside(y + down)) * side + inside(x + across)]!;
  });
  return { data, shape: [pictures.length, 3, side, side] };
}

export interface BatchSizes {
  readonly batchSize: number;
  readonly maxLength: number;
  readonly imageSize: number;
}

/** What a model reads of rows, [B, ...] each. */
export type PicturedInputs = Readonly<Record<'inputIds' | 'attentionMask' | 'pixelValues', Tensor>>;

/** Rows as a model reads them, their pictures as they are. */
export function rowsOnDevice(
  rows: readonly PicturedText[],
  tokenizer: AnyTokenizer,
  { maxLength, imageSize }: BatchSizes,
): PicturedInputs {
  const texts = rows.map(({ text }) => text);
  const pictures = rows.map(({ pixels }) => pixels);
  const arrays = {
    ...paddedTokens(tokensOfTexts(tokenizer, texts, maxLength), tokenizer.padTokenId!, maxLength),
    pixelValues: stackPictures(pictures, imageSize),
  };
  return toDevice({ arrays, counts: {}, tokens: 0 }) as PicturedInputs;
}

export interface PicturedBatchOptions extends BatchSizes {
  readonly seed: number;
  /** Pixels that pictures are moved by at most. */
  readonly shift: number;
  /** Leave out an epoch's last batch where it is not whole, if there are others. Default false. */
  readonly dropLast?: boolean;
}

/**
 * Batches of pictures with their texts by number, each row once an epoch, in random order; `more` adds arrays
 * of the rows. A batch is a function of the seed and its number.
 */
export function picturedBatches(
  rows: readonly PicturedText[],
  tokenizer: AnyTokenizer,
  { batchSize, seed, maxLength, imageSize, shift, dropLast = false }: PicturedBatchOptions,
  more: (members: readonly PicturedText[], random: Random) => Record<string, HostArray> = () => ({}),
): { readonly batchesPerEpoch: number; batch(index: number): HostBatch } {
  const texts = rows.map(({ text }) => text);
  const tokens = tokensOfTexts(tokenizer, texts, maxLength);
  // Lengths that are all alike: batches are drawn at random, not by length.
  const alike = new Uint8Array(rows.length).fill(1);
  const { batchesPerEpoch, indices } = endlessBatches(alike, { batchSize, seed, dropLast });
  return {
    batchesPerEpoch,
    batch(index) {
      const members = indices(index);
      const random = new Random(seed + 1, index);
      const own = members.map((i) => tokens[i]!);
      const pictures = members.map((i) => rows[i]!.pixels);
      return {
        arrays: {
          ...paddedTokens(own, tokenizer.padTokenId!, maxLength),
          pixelValues: stackPictures(pictures, imageSize, { shift, random }),
          ...more(
            members.map((i) => rows[i]!),
            random,
          ),
        },
        counts: { loss: members.length },
        tokens: own.reduce((sum, row) => sum + row.length, 0),
      };
    },
  };
}
