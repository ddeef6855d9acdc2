/**
 * `explain(model, tokenizer, text, options)`: how much each token of a text counts for one number of a
 * model's output.
 *
 *     const { tokens, scores } = await explain(model, tokenizer, 'You have won!', { target: 'spam' });
 */
import type { AnyTokenizer, Module } from '../../models/index.ts';
import { attentionMethods } from './attention-methods.ts';
import { gradientMethods } from './gradient-methods.ts';
import type { AttributionMethod, MethodOptions } from './method.ts';
import { perturbationMethods } from './perturbation-methods.ts';
import type { ExplainedText } from './read-text.ts';
import { shapleyMethods } from './shapley.ts';
import { openSession } from './subject.ts';
import type { Session, Subject, SubjectOptions } from './subject.ts';

const methods = {
  ...gradientMethods,
  ...perturbationMethods,
  ...shapleyMethods,
  ...attentionMethods,
} as const satisfies Record<string, AttributionMethod>;

export type ExplainMethod = keyof typeof methods;
export const explainMethods = Object.keys(methods) as ExplainMethod[];

export interface ExplainOptions extends SubjectOptions, MethodOptions {
  /** Default integrated-gradients. */
  readonly method?: ExplainMethod | undefined;
}

/** A token of a row. */
export interface ExplainedToken {
  /** As the vocabulary has it. */
  readonly token: string;
  /** [start, end) in its text, in UTF-16 units as `slice` counts; 0 for special tokens. */
  readonly start: number;
  readonly end: number;
  /** Which of two texts it is of, 0 or 1; -1 for special tokens that were added. */
  readonly text: number;
}

/** What was explained, for people. */
export const describeTarget = ({ target: { name, contrast } }: Explanation): string =>
  contrast ? `${name} rather than ${contrast.name}` : name;

export interface Explanation {
  readonly method: ExplainMethod;
  /** The text, or both. */
  readonly texts: readonly string[];
  /** What was explained: the name and number of a label or token; `at` is the token whose output counts. */
  readonly target: {
    readonly name: string;
    readonly number: number;
    readonly at: number;
    /** What it is compared with, of a contrast. */
    readonly contrast?: { readonly name: string; readonly number: number };
  };
  /** Which number of it. */
  readonly scale: NonNullable<SubjectOptions['output']>;
  readonly tokens: readonly ExplainedToken[];
  /** How much each token counts, one a token; 0 for special tokens that were added. */
  readonly scores: readonly number[];
  /** Standard error of each score, of methods that draw samples. */
  readonly errors?: readonly number[];
  /** The explained number of the text. */
  readonly output: number;
  /** The explained number of the baseline, for methods whose scores add up to output - baseline. */
  readonly baseline?: number;
  /** The sum of the scores less (output - baseline), for these methods: 0 but for the method's error. */
  readonly delta?: number;
}

/**
 * How much each token of a text, or of each of a list of texts, counts for one number of a model's output. A
 * pair of texts is `[text, textPair]` in a list of its own: `explain(model, tokenizer, [[question,
 * context]])`.
 *
 * Errors, each one line: a text without tokens, or one that is longer than the model reads; a target that the
 * model does not have; an output that is not finite, with the module where that begins; attention asked for
 * of a model without it; a method's own limits.
 *
 * @example
 * const { model, tokenizer } = await pipeline('text-classification');
 * const { tokens, scores } = await explain(model, tokenizer, 'Win a prize', { method: 'gradient-x-input' });
 * tokens.length === scores.length; // true
 */
export async function explain(
  model: Module,
  tokenizer: AnyTokenizer,
  text: string,
  options?: ExplainOptions,
): Promise<Explanation>;
export async function explain(
  model: Module,
  tokenizer: AnyTokenizer,
  texts: readonly ExplainedText[],
  options?: ExplainOptions,
): Promise<Explanation[]>;
export async function explain(
  model: Module,
  tokenizer: AnyTokenizer,
  input: string | readonly ExplainedText[],
  options: ExplainOptions = {},
): Promise<Explanation | Explanation[]> {
  const texts = typeof input === 'string' ? [input] : input;
  const session = openSession(model, tokenizer, options);
  try {
    const explanations = await explainWith(session, texts, options);
    return typeof input === 'string' ? explanations[0]! : explanations;
  } finally {
    session.close();
  }
}

/** The same within a session. */
async function explainWith(
  session: Session,
  texts: readonly ExplainedText[],
  options: ExplainOptions,
): Promise<Explanation[]> {
  const { method = 'integrated-gradients' } = options;
  if (!Object.hasOwn(methods, method))
    throw new Error(`explain: unknown method "${String(method)}"; use one of ${explainMethods.join(', ')}`);
  const subjects: Subject[] = [];
  for (const text of texts) {
    const subject = await session.subject(text);
    session.expect(1 + methods[method].evaluations(subject.features.length, options));
    subjects.push(subject);
  }
  const explanations: Explanation[] = [];
  for (const subject of subjects) explanations.push(await attribute(subject, method, options));
  return explanations;
}

/** The scores of a subject's tokens by one method. */
export async function attribute(subject: Subject, method: ExplainMethod, options: MethodOptions): Promise<Explanation> {
  const { row, tokens, features, target, output, scale } = subject;
  const run: AttributionMethod = methods[method];
  const { scores, errors, baseline } = await run.attribute(subject, options);
  const spread = (values: ArrayLike<number>): number[] => {
    const all = new Array<number>(tokens.length).fill(0);
    for (const [i, place] of features.entries()) all[place] = values[i]!;
    return all;
  };
  const sum = Array.from(scores).reduce((a, b) => a + b, 0);
  return {
    method,
    texts: subject.texts,
    target: {
      ...{ name: subject.targetName, number: target.label, at: target.place },
      ...(target.foil === undefined ? {} : { contrast: { name: subject.foilName!, number: target.foil } }),
    },
    scale,
    tokens: tokens.map((token, t) => ({ token, start: row.starts[t]!, end: row.ends[t]!, text: row.texts[t]! })),
    scores: spread(scores),
    ...(errors ? { errors: spread(errors) } : {}),
    output,
    ...(baseline === undefined ? {} : { baseline, delta: sum - (output - baseline) }),
  };
}
