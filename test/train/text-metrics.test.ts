import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { corpusBleu, sentenceBleu } from '../../train/metrics/bleu.ts';
import type { BleuOptions } from '../../train/metrics/bleu.ts';
import { corpusChrf, sentenceChrf } from '../../train/metrics/chrf.ts';
import type { ChrfOptions } from '../../train/metrics/chrf.ts';
import { distinctN, selfBleu } from '../../train/metrics/diversity.ts';
import type { SelfBleuOptions } from '../../train/metrics/diversity.ts';
import type { EditOperations } from '../../train/metrics/edit-operations.ts';
import { bitsPerByte, perplexity } from '../../train/metrics/perplexity.ts';
import { stem } from '../../train/metrics/porter-stemmer.ts';
import { corpusRouge, rouge } from '../../train/metrics/rouge.ts';
import type { RougeOptions } from '../../train/metrics/rouge.ts';
import { normalizeAnswer, squad, squadV2 } from '../../train/metrics/squad.ts';
import type { SquadV2Options } from '../../train/metrics/squad.ts';
import { corpusTer, sentenceTer } from '../../train/metrics/ter.ts';
import type { TerOptions } from '../../train/metrics/ter.ts';
import { characterErrorRate, wordErrorRate } from '../../train/metrics/word-error-rate.ts';
import { goldenFile } from '../support/golden.ts';

const test = suite('train/text-metrics');

interface Case<Options, Want> {
  readonly rows: readonly number[];
  readonly options: Options;
  readonly want: Want;
}

type WerWant = Readonly<Record<'wer' | 'mer' | 'wil' | 'cer', number> & Record<'words' | 'characters', number[]>>;

/** Made by test/golden/golden_text_metrics.py with the reference implementations. */
interface Golden {
  readonly rows: readonly (readonly [hypothesis: string, references: readonly string[]])[];
  readonly bleu: readonly Case<BleuOptions, Record<string, unknown>>[];
  readonly chrf: readonly Case<ChrfOptions, Record<string, unknown>>[];
  readonly ter: readonly Case<TerOptions, Record<string, unknown>>[];
  readonly rouge: readonly Case<RougeOptions, Record<string, [number, number, number]>>[];
  readonly wer: readonly Case<unknown, WerWant>[];
  readonly selfBleu: readonly Case<SelfBleuOptions, number>[];
  readonly squad: readonly Case<
    SquadV2Options & Readonly<Record<'noPrediction' | 'noAnswer', number[]>>,
    Readonly<Record<string, number>> & { readonly v1: [number, number] }
  >[];
  readonly stems: Readonly<Record<string, string>>;
  readonly long: readonly {
    readonly seed: number;
    readonly counts: readonly [number, number];
    readonly vocabulary: number;
    readonly want: WerWant;
  }[];
}

const golden = JSON.parse(readFileSync(goldenFile('text-metrics.json'), 'utf8')) as Golden;
const hypothesesOf = ({ rows }: Pick<Case<unknown, unknown>, 'rows'>) => rows.map((row) => golden.rows[row]![0]);
const referencesOf = ({ rows }: Pick<Case<unknown, unknown>, 'rows'>) => rows.map((row) => golden.rows[row]![1]);

/** Equal to the last digit but one that doubles of this size have; texts and shapes are the same. */
function close(actual: unknown, want: unknown, where: string): void {
  if (typeof want === 'number' && typeof actual === 'number') {
    const difference = Math.abs(actual - want);
    assert.ok(difference <= 1e-9 * Math.max(1, Math.abs(want)), `${where}: ${actual}, want ${want}`);
  } else if (typeof want === 'object' && want !== null) {
    assert.ok(typeof actual === 'object' && actual !== null, `${where}: ${String(actual)}`);
    assert.equal(Object.keys(actual).sort(), Object.keys(want).sort(), where);
    for (const [name, value] of Object.entries(want))
      close((actual as Record<string, unknown>)[name], value, `${where}.${name}`);
  } else assert.is(actual, want, where);
}

test('BLEU, chrF and TER equal sacrebleu', () => {
  for (const [name, ofCorpus, ofSentence] of [
    ['bleu', corpusBleu, sentenceBleu],
    ['chrf', corpusChrf, sentenceChrf],
    ['ter', corpusTer, sentenceTer],
  ] as const)
    golden[name].forEach((each, i) => {
      const [hypotheses, references] = [hypothesesOf(each), referencesOf(each)];
      close(ofCorpus(hypotheses, references, each.options), each.want, `${name}[${i}]`);
      if (hypotheses.length > 1) return;
      close(ofSentence(hypotheses[0]!, references[0]!, each.options), each.want, `${name}[${i}], sentence`);
    });
});

test('ROUGE equals rouge-score', () => {
  golden.rouge.forEach((each, i) => {
    const [hypotheses, references] = [hypothesesOf(each), referencesOf(each)];
    const lists = (scores: ReturnType<typeof corpusRouge>): Record<string, number[]> =>
      Object.fromEntries(Object.entries(scores).map(([type, s]) => [type, [s.precision, s.recall, s.fMeasure]]));
    close(lists(corpusRouge(hypotheses, references, each.options)), each.want, `rouge[${i}]`);
    if (hypotheses.length === 1)
      close(lists(rouge(hypotheses[0]!, references[0]!, each.options)), each.want, `rouge[${i}], one`);
  });
});

test('stems equal NLTK', () => {
  for (const [word, want] of Object.entries(golden.stems)) assert.is(stem(word), want, word);
});

const counts = (of: EditOperations): number[] => [of.hits, of.substitutions, of.deletions, of.insertions];

function checkErrorRates(hypotheses: readonly string[], references: readonly string[], want: WerWant, where: string) {
  const { wer, mer, wil, ...words } = wordErrorRate(hypotheses, references);
  const { cer, ...characters } = characterErrorRate(hypotheses, references);
  close({ wer, mer, wil, words: counts(words), cer, characters: counts(characters) }, want, where);
}

test('WER, MER, WIL and CER equal jiwer, with its alignment', () => {
  golden.wer.forEach((each, i) => {
    const references = referencesOf(each).map(([first]) => first!);
    checkErrorRates(hypothesesOf(each), references, each.want, `wer[${i}]`);
  });
});

test('texts whose alignment is found by halves have the alignment of jiwer too', () => {
  for (const { seed, counts: lengths, vocabulary, want } of golden.long) {
    const [reference, hypothesis] = lengths.map((count, i) => drawWords(seed + i, count, vocabulary)) as [
      string,
      string,
    ];
    checkErrorRates([hypothesis], [reference], want, `long, seed ${seed}`);
  }
});

/** As `stream` in golden_text_metrics.py. */
function drawWords(seed: number, count: number, vocabulary: number): string {
  let x = seed;
  return Array.from({ length: count }, () => {
    x = (x * 48271) % 2147483647;
    return `w${x % vocabulary}`;
  }).join(' ');
}

test('self-BLEU equals the mean of sentence_bleu of NLTK', () => {
  golden.selfBleu.forEach((each, i) => {
    const texts = each.rows.flatMap((row) => [golden.rows[row]![0], golden.rows[row]![1][0]!]);
    close(selfBleu(texts, each.options), each.want, `selfBleu[${i}]`);
  });
});

test('SQuAD 1.1 and 2.0 equal the official scripts', () => {
  golden.squad.forEach((each, i) => {
    const predictions = hypothesesOf(each).map((text, row) => (each.options.noPrediction.includes(row) ? '' : text));
    const references = referencesOf(each);
    const v1 = squad(predictions, references);
    close([v1.exactMatch, v1.f1], each.want.v1, `squad[${i}], 1.1`);
    const answers = references.map((own, row) => (each.options.noAnswer.includes(row) ? [] : own));
    const score = squadV2(predictions, answers, each.options);
    const of = (prefix: string, part?: { exactMatch: number; f1: number; total: number }) =>
      part ? { [`${prefix}exact`]: part.exactMatch, [`${prefix}f1`]: part.f1, [`${prefix}total`]: part.total } : {};
    const { best } = score;
    const actual = {
      ...of('', score),
      ...of('HasAns_', score.hasAnswer),
      ...of('NoAns_', score.noAnswer),
      ...(best && { best_exact: best.exactMatch, best_exact_thresh: best.exactMatchThreshold }),
      ...(best && { best_f1: best.f1, best_f1_thresh: best.f1Threshold }),
      v1: each.want.v1,
    };
    close(actual, each.want, `squad[${i}], 2.0`);
  });
});

test('SQuAD: normalization, and empty answers by version', () => {
  assert.is(normalizeAnswer(' The  Cat, an\u00a0owl; thé anthem A.'), 'cat owl thé anthem');
  assert.equal(squad(['the'], [['a']]), { exactMatch: 100, f1: 0 });
  assert.equal(squadV2(['the'], [['a']]), {
    exactMatch: 100,
    f1: 100,
    total: 1,
    hasAnswer: { exactMatch: 100, f1: 100, total: 1 },
  });
});

test('distinct-n counts different n-grams of all texts', () => {
  assert.is(distinctN(['a b a', 'a b c'], 1), 3 / 6);
  assert.is(distinctN(['a b a', 'a b c'], 2), 3 / 4);
  assert.is(distinctN(['a b'], 3), 0);
  assert.is(distinctN(['aba'], 1, { tokenize: (text) => [...text] }), 2 / 3);
});

test('perplexity and bits per byte weigh texts by their length', () => {
  assert.ok(Math.abs(perplexity([Math.log(8), 3 * Math.log(2)], [3, 1]) - 2 ** 1.5) < 1e-12);
  assert.ok(Math.abs(bitsPerByte([Math.log(8), Math.log(2)], [2, 6]) - 0.5) < 1e-12);
});

test('texts of 1 MB take seconds and no deep stack', () => {
  const [a, b] = [drawWords(1, 170_000, 5000), drawWords(2, 20_000, 5000)];
  assert.ok(a.length > 900_000);
  assert.ok(corpusBleu([a], [b]).score > 0);
  assert.ok(sentenceChrf(a, b, { charOrder: 3 }).score > 0);
  assert.ok(distinctN([a, b], 2) > 0.9);
  assert.ok(squad([a], [[a, b]]).exactMatch === 100);
  const { rouge1, rougeL, rougeLsum } = rouge(a, b);
  assert.ok(rouge1.fMeasure > rougeL.fMeasure && rougeL.fMeasure > 0);
  assert.is(rougeLsum.fMeasure, rougeL.fMeasure); // each text is one sentence, so the union has one part
  assert.is(sentenceTer(a, a).edits, 0);
  assert.is(characterErrorRate([`${a}!`], [a]).insertions, 1);
});

test('bad input is named by its row', () => {
  const says = (run: () => unknown, message: string): void => assert.throws(run, (e: Error) => e.message === message);
  const notText = 7 as unknown as string;
  says(() => corpusBleu([], []), 'corpusBleu: hypotheses is empty; give at least one string');
  says(
    () => corpusBleu(['a', 'b'], ['a']),
    'corpusBleu: 2 hypotheses but 1 rows of references: references[1] is missing; ' +
      'give one row of references for each of the hypotheses',
  );
  says(
    () => corpusTer(['a', 'b'], ['a', []]),
    'corpusTer: references[1] is an empty list; give a string or a list of at least one',
  );
  says(() => corpusChrf(['a', notText], ['a', 'b']), 'corpusChrf: hypotheses[1] is 7; hypotheses must be strings');
  says(() => rouge('a', ['b', notText]), 'rouge: references[0][1] is 7; references must be strings');
  says(() => wordErrorRate(['a'], [notText]), 'wordErrorRate: references[0] is 7; references must be strings');
  says(
    () => corpusBleu(['a'], ['a'], { tokenize: '13b' as '13a' }),
    'corpusBleu: unknown tokenize "13b"; use 13a, intl, zh, char, none',
  );
  says(
    () => squad(['a', 'b'], [['a'], []]),
    'squad: answers[1] is an empty list; give at least one, or use squadV2 for unanswerable ones',
  );
  says(
    () => squadV2(['a', 'b'], [['a']]),
    'squadV2: 2 predictions but 1 rows of answers: answers[1] is missing; ' +
      'give one row of answers for each of the predictions',
  );
  says(
    () => squadV2(['a'], [['a']], { noAnswerProbabilities: [NaN] }),
    'squadV2: noAnswerProbabilities[0] is NaN; give a number',
  );
  says(() => selfBleu(['a']), 'selfBleu: there is one text; give at least two, to compare each with the others');
  says(() => perplexity([1, NaN], [1, 1]), 'perplexity: negativeLogLikelihoods[1] is NaN; give a number of nats');
  says(() => bitsPerByte([1], [0]), 'bitsPerByte: all byteCounts are 0; give texts that are not empty');
});

test.run();
