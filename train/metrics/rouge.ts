import { subsequencesOf } from './common-subsequence.ts';
import { countNgrams, overlapOf, totalOf } from './ngrams.ts';
import { stem } from './porter-stemmer.ts';
import { checkReferences } from './text.ts';
import type { References } from './text.ts';

/**
 * N-grams of order 1 to 9, the longest common subsequence of the texts, or of their sentences (`rougeLsum`).
 */
export type RougeType = `rouge${1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 'L' | 'Lsum'}`;

export interface RougeOptions<Type extends RougeType = RougeType> {
  /** Default `rouge1`, `rouge2`, `rougeL` and `rougeLsum`. */
  readonly types?: readonly Type[];
  /** Compares stems (Porter's, NLTK's) of words of four letters or more; default false. */
  readonly stem?: boolean;
  /** The sentences of a text, for `rougeLsum`; default its lines. */
  readonly splitSentences?: (text: string) => readonly string[];
}

/** Each 0 to 1. */
export interface RougeScore {
  readonly precision: number;
  readonly recall: number;
  readonly fMeasure: number;
}

type UsualType = 'rouge1' | 'rouge2' | 'rougeL' | 'rougeLsum';

/**
 * ROUGE of one text (Lin 2004), equal to rouge-score's `RougeScorer(types).score`. Of several references each
 * type takes the one of its best F-measure, as `score_multi`. Words are runs of a-z and 0-9: texts of other
 * scripts have none and score 0.
 *
 * @example
 * rouge('the cat sat', 'the cat ran').rougeL.recall; // 0.6667
 */
export function rouge<Type extends RougeType = UsualType>(
  hypothesis: string,
  references: References,
  options: RougeOptions<Type> = {},
): Record<Type, RougeScore> {
  return scoreRows('rouge', [hypothesis], [references], options)[0]!;
}

/**
 * ROUGE of a corpus: the mean over its texts of precision, of recall and of F-measure, each by itself.
 * `references[i]` is the reference of `hypotheses[i]`, or a list of them.
 *
 * @example
 * corpusRouge(['the cat sat'], ['the cat ran']).rouge1.fMeasure; // 0.6667
 */
export function corpusRouge<Type extends RougeType = UsualType>(
  hypotheses: readonly string[],
  references: readonly References[],
  options: RougeOptions<Type> = {},
): Record<Type, RougeScore> {
  const rows = scoreRows('corpusRouge', hypotheses, references, options);
  const mean = (type: Type, part: keyof RougeScore): number =>
    rows.reduce((sum, scores) => sum + scores[type][part], 0) / rows.length;
  return recordOf(Object.keys(rows[0]!) as Type[], (type) => ({
    precision: mean(type, 'precision'),
    recall: mean(type, 'recall'),
    fMeasure: mean(type, 'fMeasure'),
  }));
}

function scoreRows<Type extends RougeType>(
  op: string,
  hypotheses: readonly string[],
  references: readonly References[],
  options: RougeOptions<Type>,
): Record<Type, RougeScore>[] {
  const types = options.types ?? (['rouge1', 'rouge2', 'rougeL', 'rougeLsum'] as unknown as readonly Type[]);
  const unknown = types.find((type) => !/^rouge([1-9]|L|Lsum)$/.test(type));
  if (unknown !== undefined)
    throw new Error(`${op}: unknown type "${unknown}"; use rouge1 to rouge9, rougeL or rougeLsum`);
  if (types.length === 0) throw new Error(`${op}: types is empty; name at least one, such as rouge1`);
  const read = reader(options);
  return checkReferences(op, hypotheses, references).map((others, row) => {
    const hypothesis = read(hypotheses[row]!);
    const scores = others.map((other) => scorePair(hypothesis, read(other), types));
    return recordOf(types, (type) =>
      scores.map((score) => score[type]).reduce((best, score) => (score.fMeasure > best.fMeasure ? score : best)),
    );
  });
}

interface Tokens {
  readonly words: readonly string[];
  readonly sentences: readonly (readonly string[])[];
}

/** Reads the tokens of a text; stems are remembered. */
function reader({ stem: useStems = false, splitSentences }: RougeOptions): (text: string) => Tokens {
  const stems = new Map<string, string>();
  const stemOf = (word: string): string => {
    const known = stems.get(word) ?? stem(word);
    stems.set(word, known);
    return known;
  };
  const wordsOf = (text: string): string[] => {
    const words: string[] = text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
    if (!useStems) return words;
    return words.map((word) => (word.length > 3 ? stemOf(word) : word)).filter((word) => word !== '');
  };
  const split = splitSentences ?? ((text: string) => text.split('\n'));
  return (text) => {
    const sentences = split(text).filter((sentence) => sentence !== '');
    return { words: wordsOf(text), sentences: sentences.map(wordsOf) };
  };
}

function scorePair<Type extends RougeType>(
  hypothesis: Tokens,
  reference: Tokens,
  types: readonly Type[],
): Record<Type, RougeScore> {
  const orders = Math.max(0, ...types.map((type) => Number(type.slice('rouge'.length))).filter((n) => n > 0));
  const [own, other] = countNgrams([hypothesis.words, reference.words], orders);
  return recordOf(types, (type) => {
    if (type === 'rougeLsum') return sentenceScore(hypothesis.sentences, reference.sentences);
    if (type === 'rougeL') {
      const common = subsequencesOf(reference.words).length(hypothesis.words);
      return scoreOf(common, hypothesis.words.length, reference.words.length);
    }
    const n = Number(type.slice('rouge'.length)) - 1;
    return scoreOf(overlapOf(own![n]!, other![n]!), totalOf(own![n]!), totalOf(other![n]!));
  });
}

/**
 * Section 3.2 of Lin 2004: of each sentence of the reference the words that it has in common, in order, with
 * any sentence of the hypothesis. No word counts oftener than either text has it.
 */
function sentenceScore(
  hypothesis: readonly (readonly string[])[],
  reference: readonly (readonly string[])[],
): RougeScore {
  const [own, other] = [countWords(hypothesis), countWords(reference)];
  const subsequences = hypothesis.map(subsequencesOf);
  let hits = 0;
  for (const sentence of reference) {
    const places = new Set(subsequences.flatMap((others) => others.places(sentence)));
    for (const place of places) {
      const word = sentence[place]!;
      const [left, leftOther] = [own.get(word) ?? 0, other.get(word) ?? 0];
      if (left === 0 || leftOther === 0) continue;
      hits++;
      own.set(word, left - 1);
      other.set(word, leftOther - 1);
    }
  }
  const lengthOf = (sentences: readonly (readonly string[])[]): number =>
    sentences.reduce((sum, sentence) => sum + sentence.length, 0);
  return scoreOf(hits, lengthOf(hypothesis), lengthOf(reference));
}

function countWords(sentences: readonly (readonly string[])[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const sentence of sentences) for (const word of sentence) counts.set(word, (counts.get(word) ?? 0) + 1);
  return counts;
}

function scoreOf(common: number, hypothesisLength: number, referenceLength: number): RougeScore {
  const precision = common / Math.max(hypothesisLength, 1);
  const recall = common / Math.max(referenceLength, 1);
  return { precision, recall, fMeasure: common > 0 ? (2 * precision * recall) / (precision + recall) : 0 };
}

function recordOf<Key extends string, Value>(keys: readonly Key[], value: (key: Key) => Value): Record<Key, Value> {
  return Object.fromEntries(keys.map((key) => [key, value(key)])) as Record<Key, Value>;
}
