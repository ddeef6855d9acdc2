import { splitNumberPunctuation, splitSymbols, unescapeXml } from './bleu-tokenizers.ts';
import { signatureOf, yesNo } from './sacrebleu.ts';
import { translationEdits } from './ter-edits.ts';
import { checkReferences, splitWords, trimEnd } from './text.ts';
import type { References } from './text.ts';

export interface TerOptions {
  /** Splits punctuation from words and reads XML's escapes, as Tercom's normalizer; default false. */
  readonly normalized?: boolean;
  /** Removes punctuation; default false. */
  readonly noPunct?: boolean;
  /** `normalized` and `noPunct` then know Chinese and Japanese characters too; default false. */
  readonly asianSupport?: boolean;
  /** Default false: all is lower-cased. */
  readonly caseSensitive?: boolean;
}

export interface TerScore {
  /** 100 edits / referenceLength; above 100 where the hypotheses are long. */
  readonly score: number;
  /** Insertions, deletions, substitutions and shifts, of each row those to the nearest reference. */
  readonly edits: number;
  /** Words of the references, of each row their mean. */
  readonly referenceLength: number;
  /** As sacrebleu writes it: `nrefs:1|case:lc|tok:tercom|norm:no|punct:yes|asian:no|version:2.6.0`. */
  readonly signature: string;
}

/**
 * Translation edit rate of a corpus (Snover et al. 2006), equal to sacrebleu's `TER(...).corpus_score`, its
 * beam and its limits of shifts included. `references[i]` is the reference of `hypotheses[i]`, or a list of
 * them.
 *
 * @example
 * corpusTer(['the cat sat down'], ['the cat sat']).score; // 33.3333
 */
export function corpusTer(
  hypotheses: readonly string[],
  references: readonly References[],
  options: TerOptions = {},
): TerScore {
  return scoreCorpus('corpusTer', hypotheses, references, options);
}

/**
 * TER of one sentence, equal to sacrebleu's `sentence_ter`: as of a corpus of one.
 *
 * @example
 * sentenceTer('the cat sat down', 'the cat sat').edits; // 1
 */
export function sentenceTer(hypothesis: string, references: References, options: TerOptions = {}): TerScore {
  return scoreCorpus('sentenceTer', [hypothesis], [references], options);
}

function scoreCorpus(
  op: string,
  hypotheses: readonly string[],
  references: readonly References[],
  options: TerOptions,
): TerScore {
  const rows = checkReferences(op, hypotheses, references);
  let edits = 0;
  let referenceLength = 0;
  hypotheses.forEach((hypothesis, row) => {
    const words = tercomWords(hypothesis, options);
    // sacrebleu normalizes references twice, hypotheses once: in `cat's\tof` the second time finds `'s `.
    const others = rows[row]!.map((reference) => tercomWords(tercomWords(reference, options).join(' '), options));
    edits += others.reduce((least, other) => Math.min(least, translationEdits(words, other)), Infinity);
    referenceLength += others.reduce((sum, other) => sum + other.length, 0) / others.length;
  });
  return {
    // Of nothing against nothing 0, of something against nothing 100.
    score: 100 * (referenceLength > 0 ? edits / referenceLength : Math.min(edits, 1)),
    edits,
    referenceLength,
    signature: signatureOf(rows, {
      case: options.caseSensitive ? 'mixed' : 'lc',
      tok: 'tercom',
      norm: yesNo(options.normalized ?? false),
      punct: yesNo(!options.noPunct),
      asian: yesNo(options.asianSupport ?? false),
    }),
  };
}

/** Tercom's Normalizer.java as sacrebleu has it, without the rules of it that never apply. */
function tercomWords(text: string, options: TerOptions): string[] {
  const { normalized = false, noPunct = false, asianSupport = false, caseSensitive = false } = options;
  let words = trimEnd(text);
  if (!caseSensitive) words = words.toLowerCase();
  if (normalized) {
    words = unescapeXml(words.replaceAll('\n-', '').replaceAll('\n', ' '));
    words = splitNumberPunctuation(splitSymbols(` ${words} `).replaceAll("'s ", " 's "));
    if (asianSupport)
      for (const characters of [...asianCharacters, ...asianPunctuation]) words = words.replace(characters, ' $& ');
  }
  if (noPunct) {
    words = words.replace(/[.,?:;!"()]/g, '');
    if (asianSupport) for (const marks of asianPunctuation) words = words.replace(marks, '');
  }
  return splitWords(words);
}

/** One after another, as a character of two of them gets two spaces. U+3F22 is sacrebleu's, for U+32FF. */
const asianCharacters = [
  /[\u4e00-\u9fff\u3400-\u4dbf]/g,
  /[\u31c0-\u31ef\u2e80-\u2eff]/g,
  /[\u3300-\u33ff\uf900-\ufaff\ufe30-\ufe4f]/g,
  /[\u3200-\u3f22]/g,
];
const asianPunctuation = [
  /[\u3001\u3002\u3008-\u3011\u3014-\u301f\uff61-\uff65\u30fb]/g,
  /[\uff0e\uff0c\uff1f\uff1a\uff1b\uff01\uff02\uff08\uff09]/g,
];
