/**
 * The stem of a lower-case word (Porter 1980, "An algorithm for suffix stripping"), with the changes of
 * NLTK's `PorterStemmer`, its default mode: `stem('relational')` is `relat`. Words of one or two letters
 * stay.
 *
 * @example
 * stem('running'); // 'run'
 */
export function stem(word: string): string {
  const irregular = irregularForms.get(word);
  if (irregular !== undefined) return irregular;
  if (word.length <= 2) return word;
  return steps.reduce((rest, step) => step(rest), word);
}

const irregularForms: ReadonlyMap<string, string> = new Map([
  ...['sky', 'news', 'howe', 'proceed', 'exceed', 'succeed', 'inning', 'outing', 'canning'].map(
    (word): [string, string] => [word, word],
  ),
  ['skies', 'sky'],
  ['dying', 'die'],
  ['lying', 'lie'],
  ['tying', 'tie'],
  ['innings', 'inning'],
  ['outings', 'outing'],
  ['cannings', 'canning'],
]);

/** A suffix, what takes its place, and what must hold of the rest of the word. */
type Rule = readonly [suffix: string, replacement: string, holds?: (rest: string) => boolean];

/** Applies the first rule whose suffix fits, if its condition holds; later rules are not tried. */
function apply(word: string, rules: readonly Rule[]): string {
  const rule = rules.find(([suffix]) => word.endsWith(suffix));
  if (rule === undefined) return word;
  const [suffix, replacement, holds] = rule;
  const rest = word.slice(0, word.length - suffix.length);
  return holds === undefined || holds(rest) ? rest + replacement : word;
}

/** `c` for each consonant, `v` for each vowel; y is a vowel after a consonant. */
function shape(word: string): string {
  let letters = '';
  for (const letter of word) {
    const isVowel = 'aeiou'.includes(letter) || (letter === 'y' && letters.endsWith('c'));
    letters += isVowel ? 'v' : 'c';
  }
  return letters;
}

/** m of [C](VC){m}[V]. */
const measure = (word: string): number => shape(word).split('vc').length - 1;
const hasMeasure = (word: string): boolean => measure(word) > 0;
const hasMeasureAbove1 = (word: string): boolean => measure(word) > 1;

const endsInDoubleConsonant = (word: string): boolean =>
  word.length >= 2 && word.at(-1) === word.at(-2) && shape(word).endsWith('c');

/** Consonant, vowel, consonant other than w, x, y; or a word of a vowel and a consonant. */
const endsInShortSyllable = (word: string): boolean => {
  const letters = shape(word);
  return (letters.endsWith('cvc') && !/[wxy]$/.test(word)) || letters === 'vc';
};

const steps: readonly ((word: string) => string)[] = [
  // 1a
  (word) =>
    apply(word, [
      ['sses', 'ss'],
      ['ies', word.length === 4 ? 'ie' : 'i'],
      ['ss', 'ss'],
      ['s', ''],
    ]),
  // 1b
  (word) => {
    if (word.endsWith('ied')) return apply(word, [['ied', word.length === 4 ? 'ie' : 'i']]);
    if (word.endsWith('eed')) return apply(word, [['eed', 'ee', hasMeasure]]);
    const suffix = ['ed', 'ing'].find((end) => word.endsWith(end) && shape(word.slice(0, -end.length)).includes('v'));
    if (suffix === undefined) return word;
    const rest = word.slice(0, -suffix.length);
    if (/(?:at|bl|iz)$/.test(rest)) return `${rest}e`;
    if (endsInDoubleConsonant(rest)) return /[lsz]$/.test(rest) ? rest : rest.slice(0, -1);
    return measure(rest) === 1 && endsInShortSyllable(rest) ? `${rest}e` : rest;
  },
  // 1c
  (word) => apply(word, [['y', 'i', (rest) => rest.length > 1 && shape(rest).endsWith('c')]]),
  step2,
  // 3
  (word) =>
    apply(word, [
      ['icate', 'ic', hasMeasure],
      ['ative', '', hasMeasure],
      ['alize', 'al', hasMeasure],
      ['iciti', 'ic', hasMeasure],
      ['ical', 'ic', hasMeasure],
      ['ful', '', hasMeasure],
      ['ness', '', hasMeasure],
    ]),
  // 4
  (word) =>
    apply(
      word,
      step4Suffixes.map((suffix): Rule => {
        const holds =
          suffix === 'ion' ? (rest: string) => /[st]$/.test(rest) && hasMeasureAbove1(rest) : hasMeasureAbove1;
        return [suffix, '', holds];
      }),
    ),
  // 5a
  (word) => apply(word, [['e', '', (rest) => measure(rest) > 1 || (hasMeasure(rest) && !endsInShortSyllable(rest))]]),
  // 5b
  (word) => apply(word, [['ll', 'l', () => hasMeasureAbove1(word.slice(0, -1))]]),
];

const step4Suffixes = 'al ance ence er ic able ible ant ement ment ent ion ou ism ate iti ous ive ize'.split(' ');

function step2(word: string): string {
  // Applied first, and what it gives once more.
  if (word.endsWith('alli') && hasMeasure(word.slice(0, -4))) return step2(word.slice(0, -2));
  return apply(word, [
    ['ational', 'ate', hasMeasure],
    ['tional', 'tion', hasMeasure],
    ['enci', 'ence', hasMeasure],
    ['anci', 'ance', hasMeasure],
    ['izer', 'ize', hasMeasure],
    ['bli', 'ble', hasMeasure],
    ['alli', 'al', hasMeasure],
    ['entli', 'ent', hasMeasure],
    ['eli', 'e', hasMeasure],
    ['ousli', 'ous', hasMeasure],
    ['ization', 'ize', hasMeasure],
    ['ation', 'ate', hasMeasure],
    ['ator', 'ate', hasMeasure],
    ['alism', 'al', hasMeasure],
    ['iveness', 'ive', hasMeasure],
    ['fulness', 'ful', hasMeasure],
    ['ousness', 'ous', hasMeasure],
    ['aliti', 'al', hasMeasure],
    ['iviti', 'ive', hasMeasure],
    ['biliti', 'ble', hasMeasure],
    ['fulli', 'ful', hasMeasure],
    // The l counts to the rest, so that `geologi` has a measure.
    ['logi', 'log', (rest) => hasMeasure(`${rest}l`)],
  ]);
}
