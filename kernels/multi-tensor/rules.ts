/**
 * Update rules of optimizers. What changes from step to step lies on the device, so that a recorded step can
 * be replayed: each group of parameters has `hyper`, three quads written by the host, and each parameter a
 * quad (updates so far, a, b, whether this step updates it), where a and b are what the rule derives from
 * hyper and the number of updates before the step's own kernels run.
 */
export interface Rule {
  readonly name: string;
  /** Numbers remembered for each element. */
  readonly arrays: number;
  /**
   * WGSL statements from `h0`, `h1`, `h2` (hyper) and `t` (this update's number, from 1, f32) to `return
   * vec2(a, b)`.
   */
  readonly derive: string;
  /**
   * WGSL statements from x, g, `h0`, `h1`, `a`, `b` and the state `s0`, `s1` (quads, pointers) to `return`
   * the new x.
   */
  readonly update: string;
}

export type RuleName = 'adamw' | 'adamw.averaged' | 'sgd' | 'sgd.nesterov';

/** Numbers in a group's hyper. */
export const hyperSize = 12;

export const rules: Readonly<Record<RuleName, Rule>> = {
  adamw: adamw(2, ''),
  // Also keeps a moving average of the parameters, from 0 on: divided by 1 - decay^t it is unbiased, as
  // Adam's moments are. h1.w: its decay.
  'adamw.averaged': adamw(3, '*s2 = h1.w * *s2 + (1.0 - h1.w) * y;'),
  // As PyTorch defines it: the first update's velocity is the gradient itself. h0: lr, momentum, 1 -
  // dampening, weight decay; a and b are the factors of the old velocity and of the gradient.
  sgd: sgd('v'),
  'sgd.nesterov': sgd('(d + h0.y * v)'),
};

/**
 * Loshchilov and Hutter 2019, in PyTorch's order: decay, moments, bias correction. h0: beta1, beta2 and their
 * complements; h1: eps, 1 - lr * decay, lr; h2: -log beta1, -log beta2.
 */
function adamw(arrays: number, then: string): Rule {
  return {
    name: 'adamw',
    arrays,
    derive: 'return vec2<f32>(h1.z / oneMinusExp(t * h2.x), 1.0 / sqrt(oneMinusExp(t * h2.y)));',
    update: `
let m = h0.x * *s0 + h0.z * g;
let v = h0.y * *s1 + h0.w * g * g;
*s0 = m;
*s1 = v;
let y = h1.y * x - a * m / (sqrt(v) * b + h1.x);
${then}
return y;`,
  };
}

function sgd(direction: string): Rule {
  return {
    name: 'sgd',
    arrays: 1,
    derive: 'return select(vec2<f32>(h0.y, h0.z), vec2<f32>(0.0, 1.0), t == 1.0);',
    update: `
let d = g + h0.w * x;
let v = a * *s0 + b * d;
*s0 = v;
return x - h0.x * ${direction};`,
  };
}

export interface AdamWScalars {
  readonly lr: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  /** Decay of the average that the rule adamw.averaged keeps. */
  readonly ema?: number;
}

/** Hyper of AdamW. Differences are taken here, in double precision. */
export function adamwHyper({ lr, beta1, beta2, eps, weightDecay, ema = 0 }: AdamWScalars): number[] {
  // A large finite number stands for -log 0.
  const log = (beta: number): number => Math.min(-Math.log(beta), 100);
  return [beta1, beta2, 1 - beta1, 1 - beta2, eps, 1 - lr * weightDecay, lr, ema, log(beta1), log(beta2), 0, 0];
}

export interface SgdScalars {
  readonly lr: number;
  readonly momentum: number;
  readonly dampening: number;
  readonly weightDecay: number;
}

/** Hyper of SGD. */
export function sgdHyper({ lr, momentum, dampening, weightDecay }: SgdScalars): number[] {
  return [lr, momentum, 1 - dampening, weightDecay, 0, 0, 0, 0, 0, 0, 0, 0];
}

/**
 * WGSL 1 - exp(-z) for z >= 0, to a few roundings: 1 - beta^t would lose all digits at the first steps of
 * beta = 0.999. A series for z / 8, then three doublings, exp(2y) - 1 = e (e + 2).
 */
export const oneMinusExp = `
fn oneMinusExp(z: f32) -> f32 {
  if (z > 1.0) { return 1.0 - exp(-z); }
  let y = -0.125 * z;
  var e = y * (1.0 + y * (0.5 + y * (1.0 / 6.0 + y * (1.0 / 24.0 + y * (1.0 / 120.0 + y * (1.0 / 720.0))))));
  for (var k = 0; k < 3; k++) { e = e * (e + 2.0); }
  return -e;
}`;
