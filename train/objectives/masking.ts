import type { Random } from '../../common/random.ts';

export interface MaskingOptions {
  readonly maskTokenId: number;
  /** Ids that are never masked nor put in another's place: [CLS], [SEP], [PAD], [MASK] and the like. */
  readonly specialIds: readonly number[];
  readonly vocabSize: number;
  /** Share of a row's ordinary tokens to predict; default 0.15. */
  readonly maskProbability?: number;
  /** Mask whole words: which ids begin one, see `wordStarts`. */
  readonly wordStarts?: Uint8Array;
}

export interface MaskedRow {
  /** The row as the model reads it. */
  readonly ids: Int32Array;
  /** Places to predict, ascending. */
  readonly positions: readonly number[];
}

/** The largest number of places that a row of `length` tokens has masked. */
export function maskedPlaces(length: number, maskProbability = 0.15): number {
  return Math.ceil(maskProbability * length);
}

/**
 * BERT's corruption (Devlin et al. 2019, 3.1): of a row's n ordinary tokens round(p n), but at least one, are
 * chosen, and each is replaced by [MASK] in 80 of 100 cases, by an ordinary token drawn evenly in 10, and by
 * itself in 10. With whole words, words are chosen until the next would be too many tokens, and skipped where
 * they are, as in BERT's own code; each of their tokens is replaced on its own.
 */
export function maskingOf(options: MaskingOptions): (row: Int32Array, random: Random) => MaskedRow {
  const { maskTokenId, specialIds, vocabSize, maskProbability = 0.15, wordStarts } = options;
  checkOptions(options);
  const isSpecial = new Uint8Array(vocabSize);
  for (const id of specialIds) isSpecial[id] = 1;
  isSpecial[maskTokenId] = 1;
  const ordinary = Int32Array.from({ length: vocabSize }, (_, id) => id).filter((id) => isSpecial[id] === 0);
  if (ordinary.length === 0) throw new Error('masking: all ids are special; there is nothing to predict');

  const replacement = (id: number, random: Random): number => {
    const chance = random.uniform();
    if (chance < 0.8) return maskTokenId;
    return chance < 0.9 ? ordinary[random.int(ordinary.length)]! : id;
  };
  return (row, random) => {
    const candidates: number[] = [];
    row.forEach((id, place) => {
      if (isSpecial[id] === 0) candidates.push(place);
    });
    const wanted = Math.min(candidates.length, Math.max(1, Math.round(maskProbability * candidates.length)));
    const words = wordStarts ? groupWords(row, candidates, wordStarts) : candidates.map((place) => [place]);
    const positions = choose(words, wanted, random).sort((a, b) => a - b);
    const ids = row.slice();
    for (const place of positions) ids[place] = replacement(row[place]!, random);
    return { ids, positions };
  };
}

/** Places of `words` taken in random order, `wanted` in all at most. */
function choose(words: number[][], wanted: number, random: Random): number[] {
  const chosen: number[] = [];
  // A shuffle that stops when enough is chosen.
  for (let i = 0; i < words.length && chosen.length < wanted; i++) {
    const j = i + random.int(words.length - i);
    [words[i], words[j]] = [words[j]!, words[i]!];
    if (chosen.length + words[i]!.length <= wanted) chosen.push(...words[i]!);
  }
  return chosen;
}

/** A word begins where its token says so, and after anything that is no candidate. */
function groupWords(row: Int32Array, candidates: readonly number[], wordStarts: Uint8Array): number[][] {
  const words: number[][] = [];
  for (const place of candidates) {
    const last = words.at(-1);
    if (last && last.at(-1) === place - 1 && wordStarts[row[place]!] === 0) last.push(place);
    else words.push([place]);
  }
  return words;
}

/**
 * Which tokens begin a word, from all tokens in the order of their ids: 1 for those that do. WordPieces that
 * continue a word begin with `##`. Of byte-level BPE's, those begin one that begin with a space, a line end
 * or a tab (Ġ, Ċ, ĉ), or with ASCII punctuation.
 *
 * @example
 * wordStarts(['un', '##afford', '##able', 'hello']); // [1, 0, 0, 1]
 */
export function wordStarts(tokens: readonly string[]): Uint8Array {
  const isByteLevel = tokens.some((token) => token.startsWith('Ġ'));
  const starts = (token: string): boolean => (isByteLevel ? /^[ĠĊĉ!-/:-@[-`{-~]/.test(token) : !token.startsWith('##'));
  return Uint8Array.from(tokens, (token) => (starts(token) ? 1 : 0));
}

function checkOptions({
  maskTokenId,
  specialIds,
  vocabSize,
  maskProbability = 0.15,
  wordStarts: starts,
}: MaskingOptions): void {
  const outside = [maskTokenId, ...specialIds].find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
  if (outside !== undefined)
    throw new Error(
      `masking: special id ${outside} is outside of the vocabulary, 0 to ${vocabSize - 1}; ` +
        'use the tokenizer of the model',
    );
  if (!(maskProbability > 0 && maskProbability <= 1))
    throw new Error(`masking: maskProbability must be above 0 and at most 1, got ${maskProbability}`);
  if (starts && starts.length !== vocabSize)
    throw new Error(
      `masking: wordStarts has ${starts.length} entries for a vocabulary of ${vocabSize}; make it of all its tokens`,
    );
}
