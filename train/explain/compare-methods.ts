import { highest } from '../../common/collections.ts';
import { Random } from '../../common/random.ts';
import { mean } from '../../common/statistics.ts';
import { alignTable } from '../../common/text-table.ts';
import type { AnyTokenizer, Module } from '../../models/index.ts';
import { meanOf, pairedSignificance } from '../metrics/statistics.ts';
import { attribute, explainMethods } from './explain.ts';
import type { ExplainMethod, ExplainOptions } from './explain.ts';
import { faithfulness, randomisedCorrelation, sensitivity } from './faithfulness.ts';
import type { Faithfulness } from './faithfulness.ts';
import type { ExplainedText } from './read-text.ts';
import { mostExact } from './shapley.ts';
import { openSession } from './subject.ts';
import type { Subject } from './subject.ts';

/** A method, or scores drawn at random, with what it is worth on each text. */
export interface ComparedMethod {
  readonly method: ExplainMethod | 'random';
  readonly texts: readonly Faithfulness[];
  /** Of each text, how many of its planted tokens are among so many highest; where the truth is known. */
  readonly found: readonly number[];
  /** On the first text. */
  readonly sensitivity: number;
  readonly randomised: number;
}

export interface CompareOptions extends Omit<ExplainOptions, 'method'> {
  /** Default all that the texts are not too long for. */
  readonly methods?: readonly ExplainMethod[];
  /** The features of each text that decide, by their number, where that is known. */
  readonly planted?: readonly (readonly number[])[];
}

/**
 * How faithful each method is on some texts, beside scores drawn at random. Numbers are of the target's
 * probability unless `output` says otherwise.
 *
 * @example
 * const { model, tokenizer } = await pipeline('text-classification');
 * const options = { methods: ['gradient-x-input'] } as const;
 * const compared = await compareMethods(model, tokenizer, ['Win a prize now'], options);
 */
export async function compareMethods(
  model: Module,
  tokenizer: AnyTokenizer,
  texts: readonly ExplainedText[],
  { methods, planted = [], output = 'probability', ...rest }: CompareOptions = {},
): Promise<ComparedMethod[]> {
  const options = { output, ...rest };
  const session = openSession(model, tokenizer, options);
  try {
    const subjects: Subject[] = [];
    for (const text of texts) subjects.push(await session.subject(text));
    const longest = Math.max(...subjects.map(({ features }) => features.length));
    const all = methods ?? explainMethods.filter((method) => method !== 'exact-shap' || longest <= mostExact);
    const compared: ComparedMethod[] = [];
    for (const method of [...all, 'random' as const]) {
      const scoresOf = async (subject: Subject, seed: number): Promise<number[]> => {
        if (method === 'random') {
          const random = new Random(seed);
          return subject.features.map(() => random.normal());
        }
        const { scores } = await attribute(subject, method, options);
        return subject.features.map((place) => scores[place]!);
      };
      const results: Faithfulness[] = [];
      const found: number[] = [];
      for (const [i, subject] of subjects.entries()) {
        const scores = await scoresOf(subject, i);
        results.push(await faithfulness(subject, scores));
        const truth = planted[i];
        if (truth && truth.length > 0) found.push(shareFound(scores, truth));
      }
      // With other weights the subject's outputs are others, which it must not remember.
      const afresh = async (): Promise<number[]> => scoresOf(await session.subject(texts[0]!), 0);
      compared.push({
        method,
        texts: results,
        found,
        sensitivity: method === 'random' ? 0 : await sensitivity(model, afresh),
        randomised: method === 'random' ? 0 : await randomisedCorrelation(model, afresh),
      });
    }
    return compared;
  } finally {
    session.close();
  }
}

/** The share of the true features that is among as many highest scores. */
export function shareFound(scores: readonly number[], truth: readonly number[]): number {
  const found = highest(scores, truth.length);
  return truth.filter((feature) => found.includes(feature)).length / truth.length;
}

/**
 * A table, a method a row; p: how often chance makes a deletion curve differ as much from a random order's.
 *
 * @example
 * const { model, tokenizer } = await pipeline('text-classification');
 * const options = { methods: ['gradient-x-input'] } as const;
 * console.log(comparisonTable(await compareMethods(model, tokenizer, ['Win a prize now'], options)));
 */
export function comparisonTable(compared: readonly ComparedMethod[]): string {
  const random = compared.find(({ method }) => method === 'random')!;
  const hasTruth = random.found.length > 0;
  const head = [
    'method',
    ...(hasTruth ? ['found'] : []),
    'compr.',
    'suff.',
    'deletion',
    'p',
    'insertion',
    'infidelity',
    'sens.',
    'randomised',
  ];
  const rows = compared.map(({ method, texts, found, sensitivity: sensitive, randomised }) => {
    const of = (key: keyof Faithfulness): string => mean(texts.map((each) => each[key])).toFixed(3);
    const isRandom = method === 'random';
    const deletions = [...texts, ...random.texts].map(({ deletion }) => deletion);
    const p = isRandom || texts.length < 2 ? '' : pairedSignificance(texts.length, meanOf(deletions)).pValue.toFixed(3);
    return [
      method,
      ...(hasTruth ? [mean(found).toFixed(2)] : []),
      of('comprehensiveness'),
      of('sufficiency'),
      of('deletion'),
      p,
      of('insertion'),
      of('infidelity'),
      isRandom ? '' : sensitive.toFixed(2),
      isRandom ? '' : randomised.toFixed(2),
    ];
  });
  return alignTable(head, rows, new Set([...head.keys()].slice(1)));
}
