import { editOperations } from './edit-operations.ts';
import type { EditOperations } from './edit-operations.ts';
import { checkRows, checkTexts, collapseSpaces, trim } from './text.ts';

export interface WordErrorRate extends EditOperations {
  /** Word error rate: edits / words of the references. Without any such words: how many were inserted. */
  readonly wer: number;
  /** Match error rate: edits / (edits + hits). */
  readonly mer: number;
  /** Word information lost: 1 - hits^2 / (words of the references x words of the hypotheses). */
  readonly wil: number;
}

export interface CharacterErrorRate extends EditOperations {
  /**
   * Character error rate: edits / characters of the references. Without any such characters: how many were
   * inserted.
   */
  readonly cer: number;
}

/**
 * WER, MER and WIL (Morris et al. 2004) of a corpus, equal to jiwer's `process_words` with its own
 * transforms. `references[i]` is the reference of `hypotheses[i]` (jiwer takes the references first). Words
 * are divided by spaces, or by two or more characters of white space; nothing is lower-cased. References may
 * be empty.
 *
 * @example
 * wordErrorRate(['the cat sat'], ['the cat ran']).wer; // 0.3333
 */
export function wordErrorRate(hypotheses: readonly string[], references: readonly string[]): WordErrorRate {
  checkPairs('wordErrorRate', hypotheses, references);
  const operations = sumOperations(hypotheses, references, (text) =>
    trim(collapseSpaces(text))
      .split(' ')
      .filter((word) => word !== ''),
  );
  const { hits, substitutions, deletions, insertions } = operations;
  const edits = substitutions + deletions + insertions;
  const referenceWords = hits + substitutions + deletions;
  const hypothesisWords = hits + substitutions + insertions;
  const all = edits + hits;
  const preserved = all === 0 ? 1 : hits === 0 ? 0 : (hits / referenceWords) * (hits / hypothesisWords);
  return {
    ...operations,
    wer: rateOf(edits, referenceWords),
    mer: all === 0 ? 0 : edits / all,
    wil: 1 - preserved,
  };
}

/**
 * CER of a corpus, equal to jiwer's `process_characters`. Spaces count, but not those around a text.
 *
 * @example
 * characterErrorRate(['hallo'], ['hello']).cer; // 0.2
 */
export function characterErrorRate(hypotheses: readonly string[], references: readonly string[]): CharacterErrorRate {
  checkPairs('characterErrorRate', hypotheses, references);
  const operations = sumOperations(hypotheses, references, (text) => Array.from(trim(text)));
  const { hits, substitutions, deletions, insertions } = operations;
  return { ...operations, cer: rateOf(substitutions + deletions + insertions, hits + substitutions + deletions) };
}

function checkPairs(op: string, hypotheses: readonly string[], references: readonly string[]): void {
  checkRows(op, hypotheses, references, 'references');
  checkTexts(op, references, 'references');
}

const rateOf = (edits: number, length: number): number => (length === 0 ? edits : edits / length);

function sumOperations(
  hypotheses: readonly string[],
  references: readonly string[],
  split: (text: string) => string[],
): EditOperations {
  const sums = { hits: 0, substitutions: 0, deletions: 0, insertions: 0 };
  hypotheses.forEach((hypothesis, row) => {
    const operations = editOperations(split(references[row]!), split(hypothesis));
    for (const name of ['hits', 'substitutions', 'deletions', 'insertions'] as const) sums[name] += operations[name];
  });
  return sums;
}
