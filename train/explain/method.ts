import type { Subject } from './subject.ts';

/** Settings of methods; each reads those that it names. */
export interface MethodOptions {
  /** integrated-gradients: points of the way; default 50. smooth-grad, gradient-shap: samples; default 50. */
  readonly steps?: number | undefined;
  /** integrated-gradients: where the points lie and what they weigh; default gauss-legendre. */
  readonly rule?: IntegrationRule | undefined;
  /**
   * smooth-grad (default 0.1) and gradient-shap (default 0): deviation of the noise, as a share of the range
   * of the text's embeddings.
   */
  readonly noise?: number | undefined;
  /** occlusion: tokens that are taken away at once; default 1. */
  readonly window?: number | undefined;
  /**
   * Evaluations of the model at most: kernel-shap (default 2 n + 2048 of n tokens, as shap), partition-shap
   * (default 500, as shap), lime (default 1000, as lime).
   */
  readonly evaluations?: number | undefined;
  /** partition-shap: which of the other tokens are there, 0 none and 1 all; default both, averaged. */
  readonly context?: 0 | 1 | undefined;
  /** Of what is drawn at random; default 0. */
  readonly seed?: number | undefined;
}

export type IntegrationRule = 'gauss-legendre' | 'riemann-middle' | 'riemann-trapezoid';

export interface Attribution {
  /** One a feature. */
  readonly scores: ArrayLike<number>;
  /** Standard error of each score, of methods that draw samples. */
  readonly errors?: ArrayLike<number>;
  /**
   * The explained number of the baseline, for methods whose scores add up to the difference between it and
   * that of the text.
   */
  readonly baseline?: number;
}

/** A way to share an output out among the tokens. */
export interface AttributionMethod {
  /** One line for people. */
  readonly about: string;
  /** How often the model is evaluated for n features, for the progress. */
  evaluations(features: number, options: MethodOptions): number;
  attribute(subject: Subject, options: MethodOptions): Promise<Attribution>;
}

/** A positive whole number among the options. Error, one line: another one. */
export function count(name: keyof MethodOptions, value: number | undefined, fallback: number): number {
  const found = value ?? fallback;
  if (Number.isInteger(found) && found > 0) return found;
  throw new Error(`explain: ${name} must be a whole number of at least 1, got ${found}`);
}

/** The explained number of the baseline: all features replaced. */
export async function baseValue(subject: Subject): Promise<number> {
  return (await subject.values([new Uint8Array(subject.features.length)]))[0]!;
}
