import { franc } from 'franc-min';
import { duplicateNgramShare, repeatedLineShare, topNgramShare } from './text-facts.ts';
import type { DropRule } from './rule.ts';
import type { TextFacts } from './text-facts.ts';

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
const shareOf = <T>(list: readonly T[], test: (item: T) => boolean): number =>
  list.filter(test).length / Math.max(1, list.length);

/** Rules about repetition say little about a few words. */
const ENOUGH_WORDS = 50;
const ENOUGH_LINES = 4;
const ENOUGH_LETTERS = 200;

/**
 * Texts in which decoding failed at more than one character in 200 are damaged; of the others U+FFFD is
 * removed.
 */
export const replacementCharacters: DropRule = {
  name: 'replacement-characters',
  about: 'more than 0.5 % of the characters are U+FFFD, what decoders put for broken bytes',
  problem({ text }) {
    const share = (text.match(/\ufffd/g)?.length ?? 0) / Math.max(1, text.length);
    return share > 0.005 ? `${percent(share)} of the characters are U+FFFD` : undefined;
  },
};

const longRepeats = (n: number, most: number): DropRule => ({
  name: `repeated-${n}-grams`,
  about: `more than ${percent(most)} of the characters are in runs of ${n} words that stood before (Gopher)`,
  problem: (facts) => {
    if (facts.words.length < ENOUGH_WORDS || !facts.hasSpacedWords) return undefined;
    const share = duplicateNgramShare(facts.numbers, n);
    return share > most ? `${percent(share)} of the characters are in repeated runs of ${n} words` : undefined;
  },
});

const topRepeats = (n: number, most: number): DropRule => ({
  name: `top-${n}-gram`,
  about: `more than ${percent(most)} of the characters are one run of ${n} words (Gopher)`,
  problem: (facts) => {
    if (facts.words.length < ENOUGH_WORDS || !facts.hasSpacedWords) return undefined;
    const share = topNgramShare(facts.numbers, n);
    return share > most ? `${percent(share)} of the characters are one run of ${n} words` : undefined;
  },
});

/** Gopher's few most frequent English words, of which running text has at least two. */
const STOP_WORDS = new Set(['the', 'be', 'to', 'of', 'and', 'that', 'have', 'with']);

/**
 * Rules by which texts are dropped, in this order; the first that speaks is the one counted. Thresholds are
 * those of Gopher (Rae et al. 2021, "Scaling language models", appendix A.1) and C4 (Raffel et al. 2020),
 * where not said otherwise.
 */
export const qualityRules: readonly DropRule[] = [
  {
    name: 'empty',
    about: 'no letter and no digit',
    problem: ({ text }) => (/[\p{L}\p{N}]/u.test(text) ? undefined : 'no letter and no digit'),
  },
  {
    name: 'too-short',
    about: 'fewer words than asked for',
    problem: ({ wordCount }, { minWords }) => (wordCount < minWords ? `${wordCount} words` : undefined),
  },
  {
    name: 'too-long',
    about: 'more words than asked for',
    problem: ({ wordCount }, { maxWords }) => (wordCount > maxWords ? `${wordCount} words` : undefined),
  },
  {
    name: 'lorem-ipsum',
    about: 'filler text (C4)',
    problem: ({ text }) => (/lorem ipsum/i.test(text) ? 'it has "lorem ipsum"' : undefined),
  },
  {
    name: 'mean-word-length',
    about: 'words of fewer than 3 or more than 10 characters in the mean (Gopher)',
    problem({ words, hasSpacedWords, text }) {
      if (!hasSpacedWords || words.length < 10) return undefined;
      const mean = (text.length - (text.match(/\s/g)?.length ?? 0)) / words.length;
      return mean < 3 || mean > 10 ? `${mean.toFixed(1)} characters a word` : undefined;
    },
  },
  {
    name: 'symbols',
    about: 'more than one # or ellipsis to ten words (Gopher)',
    problem({ text, wordCount }) {
      const ratio = (text.match(/#|\.\.\.|\u2026/g)?.length ?? 0) / Math.max(1, wordCount);
      return ratio > 0.1 ? `${ratio.toFixed(2)} symbols a word` : undefined;
    },
  },
  {
    name: 'words-without-letters',
    about: 'fewer than 60 % of the words have a letter (Gopher: 80 % of whole pages)',
    problem({ words, hasSpacedWords }) {
      const share = shareOf(words, (word) => /[a-z]/i.test(word) || /\p{L}/u.test(word));
      return hasSpacedWords && share < 0.6 ? `${percent(share)} of the words have a letter` : undefined;
    },
  },
  {
    name: 'bullets',
    about: 'more than 90 % of the lines begin with a bullet (Gopher)',
    problem({ lines }) {
      const share = shareOf(lines, (line) => /^[\u2022\u2023\u25aa\u25cf\u25e6\u2043*-]\s/.test(line));
      return lines.length >= ENOUGH_LINES && share > 0.9 ? `${percent(share)} of the lines are bullets` : undefined;
    },
  },
  {
    name: 'ellipses',
    about: 'more than 30 % of the lines end in an ellipsis (Gopher)',
    problem({ lines }) {
      const share = shareOf(lines, (line) => /(?:\.\.\.|\u2026)$/.test(line));
      return lines.length >= ENOUGH_LINES && share > 0.3 ? `${percent(share)} of the lines end in "..."` : undefined;
    },
  },
  {
    name: 'repeated-lines',
    about: 'more than 30 % of the lines stood before (Gopher)',
    problem({ lines }) {
      const share = repeatedLineShare(lines);
      return lines.length >= ENOUGH_LINES && share > 0.3 ? `${percent(share)} of the lines are repeated` : undefined;
    },
  },
  topRepeats(2, 0.2),
  topRepeats(3, 0.18),
  topRepeats(4, 0.16),
  longRepeats(5, 0.15),
  longRepeats(10, 0.1),
  {
    name: 'stop-words',
    about: 'where English is asked for: fewer than two of its most frequent words (Gopher)',
    problem({ words }, { languages }) {
      if (!languages.includes('eng') || languages.length > 1 || words.length < ENOUGH_WORDS) return undefined;
      const found = new Set(words.map((word) => word.toLowerCase()).filter((word) => STOP_WORDS.has(word)));
      return found.size < 2 ? `${found.size} of the most frequent words` : undefined;
    },
  },
  {
    name: 'language',
    about: 'of another language than asked for, by its trigrams (franc), where there are 200 letters or more',
    problem: (facts, { languages }) => (languages.length > 0 ? otherLanguage(facts, languages) : undefined),
  },
];

function otherLanguage({ text, unspacedLetters }: TextFacts, languages: readonly string[]): string | undefined {
  const letters = text.match(/\p{L}/gu)?.length ?? 0;
  // A letter of these scripts says as much as a few of others.
  if (letters + 4 * unspacedLetters < ENOUGH_LETTERS) return undefined;
  const language = franc(text.slice(0, 2000));
  return language === 'und' || languages.includes(language) ? undefined : `its language is ${language}`;
}
