import { mean, sampleDeviation } from '../../common/statistics.ts';
import { Random } from '../../common/random.ts';
import { count } from './method.ts';
import type { Attribution, AttributionMethod, IntegrationRule, MethodOptions } from './method.ts';
import type { Subject } from './subject.ts';

/** Points of [0, 1] and their weights, which add up to 1. */
interface Quadrature {
  readonly points: number[];
  readonly weights: number[];
}

const quadratures: Readonly<Record<IntegrationRule, (steps: number) => Quadrature>> = {
  'gauss-legendre': gaussLegendre,
  'riemann-middle': (steps) => ({
    points: Array.from({ length: steps }, (_, i) => (i + 0.5) / steps),
    weights: new Array<number>(steps).fill(1 / steps),
  }),
  // As Captum's riemann_trapezoid: the ends weigh half as much as the others.
  'riemann-trapezoid': (steps) => ({
    points: Array.from({ length: steps }, (_, i) => (steps === 1 ? 0 : i / (steps - 1))),
    weights: Array.from({ length: steps }, (_, i) => (i === 0 || i === steps - 1 ? 0.5 : 1) / steps),
  }),
};

/**
 * The zeros of the Legendre polynomial of degree `steps` moved to [0, 1], by Newton's method, and the weights
 * 1 / ((1 - x^2) P'(x)^2).
 */
export function gaussLegendre(steps: number): Quadrature {
  const points: number[] = [];
  const weights: number[] = [];
  for (let i = 0; i < steps; i++) {
    let x = -Math.cos((Math.PI * (i + 0.75)) / (steps + 0.5));
    let slope = 1;
    for (let round = 0; round < 100; round++) {
      let [before, now] = [1, x];
      for (let degree = 2; degree <= steps; degree++)
        [before, now] = [now, ((2 * degree - 1) * x * now - (degree - 1) * before) / degree];
      slope = (steps * (x * now - before)) / (x * x - 1);
      const move = now / slope;
      x -= move;
      if (Math.abs(move) < 1e-15) break;
    }
    points.push((x + 1) / 2);
    weights.push(1 / ((1 - x * x) * slope * slope));
  }
  return { points, weights };
}

/** Each feature's shares at points of the way, and the explained number at its start, of the same batches. */
async function alongTheWay(subject: Subject, points: readonly number[], { noise = 0, seed = 0 } = {}) {
  const { scores, values } = await subject.gradients({ alphas: [...points, 0], times: 'difference', noise, seed });
  return { shares: scores.slice(0, -1), baseline: values.at(-1)! };
}

/** Means of samples and their standard errors. */
function meansOf(samples: readonly Float64Array[], features: number): Required<Pick<Attribution, 'scores' | 'errors'>> {
  const of = (i: number): number[] => samples.map((scores) => scores[i]!);
  const each = Array.from({ length: features }, (_, i) => i);
  return {
    scores: each.map((i) => mean(of(i))),
    errors: each.map((i) => (samples.length < 2 ? Infinity : sampleDeviation(of(i)) / Math.sqrt(samples.length))),
  };
}

const stepsOf = ({ steps }: MethodOptions): number => count('steps', steps, 50);

function noiseOf({ noise }: MethodOptions, fallback: number): number {
  const found = noise ?? fallback;
  if (Number.isFinite(found) && found >= 0) return found;
  throw new Error(`explain: noise must be a number of at least 0, got ${found}`);
}

export const gradientMethods = {
  'integrated-gradients': {
    about: 'gradients along the way from the baseline to the text, added up (Sundararajan et al. 2017)',
    evaluations: (_, options) => stepsOf(options) + 1,
    async attribute(subject, options) {
      const { points, weights } = quadratures[options.rule ?? 'gauss-legendre'](stepsOf(options));
      const { shares, baseline } = await alongTheWay(subject, points);
      return {
        scores: subject.features.map((_, i) => shares.reduce((sum, each, step) => sum + weights[step]! * each[i]!, 0)),
        baseline,
      };
    },
  },
  'gradient-x-input': {
    about: "the gradient at the text times the token's embedding (Shrikumar et al. 2016)",
    evaluations: () => 1,
    async attribute(subject) {
      const { scores } = await subject.gradients({ alphas: [1], times: 'difference', fromZero: true });
      return { scores: scores[0]! };
    },
  },
  'smooth-grad': {
    about: 'the same with the mean of the gradients around the text (Smilkov et al. 2017)',
    evaluations: (_, options) => stepsOf(options),
    async attribute(subject, options) {
      const { seed = 0 } = options;
      const alphas = new Array<number>(stepsOf(options)).fill(1);
      const plan = { alphas, times: 'input', fromZero: true, noise: noiseOf(options, 0.1), seed } as const;
      return meansOf((await subject.gradients(plan)).scores, subject.features.length);
    },
  },
  'gradient-shap': {
    about: 'gradients at random places of the way from the baseline (Lundberg and Lee 2017; Erion et al. 2021)',
    evaluations: (_, options) => stepsOf(options) + 1,
    async attribute(subject, options) {
      const { seed = 0 } = options;
      const random = new Random(seed);
      const points = Array.from({ length: stepsOf(options) }, () => random.uniform());
      const { shares, baseline } = await alongTheWay(subject, points, { noise: noiseOf(options, 0), seed });
      return { ...meansOf(shares, subject.features.length), baseline };
    },
  },
} as const satisfies Record<string, AttributionMethod>;
