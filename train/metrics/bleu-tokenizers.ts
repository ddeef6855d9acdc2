import { splitWords, trim } from './text.ts';

/** sacrebleu's tokenizers that need no model or dictionary. */
export type BleuTokenizer = '13a' | 'intl' | 'zh' | 'char' | 'none';

/** Words of a line, by each of sacrebleu's tokenizers. */
export const bleuTokenizers: Readonly<Record<BleuTokenizer, (line: string) => string[]>> = {
  /** mteval-v13a, that of WMT. */
  '13a': (line) => {
    const joined = line.replaceAll('<skipped>', '').replaceAll('-\n', '').replaceAll('\n', ' ');
    return splitWords(splitPunctuation(` ${unescapeXml(joined)} `));
  },
  /** mteval-v14 --international-tokenization: punctuation of any script, but not between digits. */
  intl: (line) =>
    splitWords(
      line
        .replace(/(\P{N})(\p{P})/gu, '$1 $2 ')
        .replace(/(\p{P})(\P{N})/gu, ' $1 $2')
        .replace(/\p{S}/gu, ' $& '),
    ),
  /** Chinese characters one by one, the rest as 13a. */
  zh: (line) => splitWords(splitPunctuation(trim(line).replace(chinese, ' $& '))),
  char: (line) => splitWords(Array.from(line).join(' ')),
  none: splitWords,
};

export const unescapeXml = (text: string): string =>
  text.replaceAll('&quot;', '"').replaceAll('&amp;', '&').replaceAll('&lt;', '<').replaceAll('&gt;', '>');

/**
 * Western punctuation apart from words; period and comma stay between digits. Shared by 13a, zh and Tercom.
 */
export function splitPunctuation(text: string): string {
  return splitNumberPunctuation(splitSymbols(text));
}

export const splitSymbols = (text: string): string => text.replace(/[{-~[-` -&(-+:-@/]/g, ' $& ');

export const splitNumberPunctuation = (text: string): string =>
  text
    .replace(/([^0-9])([.,])/gu, '$1 $2 ')
    .replace(/([.,])([^0-9])/gu, ' $1 $2')
    .replace(/([0-9])(-)/g, '$1 $2 ');

/**
 * sacrebleu's ranges. It writes u'\u20000'-u'\u2a6d6' for the ideographs above the basic plane; Python reads
 * four digits and compares strings, which gives U+2001-U+2A6D (and U+2F81-U+2FA1). Scores follow what it
 * does.
 */
const chinese = new RegExp(
  '[\\u3400-\\u4db5\\u4e00-\\u9fbb\\uf900-\\ufa2d\\ufa30-\\ufa6a\\ufa70-\\ufad9\\u2001-\\u2a6d\\u2f81-\\u2fa1' +
    '\\uff00-\\uffef\\u2e80-\\u2eff\\u3000-\\u303f\\u31c0-\\u31ef\\u2f00-\\u2fdf\\u2ff0-\\u2fff\\u3100-\\u312f' +
    '\\u31a0-\\u31bf\\ufe10-\\ufe1f\\ufe30-\\ufe4f\\u2600-\\u27bf\\u3200-\\u33ff]',
  'g',
);
