import { isNanFunction } from '../nan.ts';

/** WGSL of x * (c1 + x * (c2 + x * (... + x * cn))). */
function series(coefficients: readonly string[], x = 'x'): string {
  const [last, ...rest] = [...coefficients].reverse();
  return `${x} * ${rest.reduce((inner, c) => `(V(${c}) + ${x} * ${inner})`, `V(${last})`)}`;
}

const log1pSeries = series(['1', '-1.0 / 2.0', '1.0 / 3.0', '-1.0 / 4.0', '1.0 / 5.0', '-1.0 / 6.0', '1.0 / 7.0']);
const expm1Coefficients = ['1', '1.0 / 2.0', '1.0 / 6.0', '1.0 / 24.0', '1.0 / 120.0', '1.0 / 720.0'];

/**
 * WGSL functions that the built-ins lack or get wrong at the edges. `V` is the number type (f32, i32, u32 or
 * a vec4 of one), `B` the truth type of its width. Each returns NaN for NaN, which WGSL's own min, max and
 * clamp may lose.
 */
const sources: Record<string, string> = {
  // Some drivers compute tanh by exponentials and overflow; beyond 10 it is 1 in f32.
  tanh_: 'fn tanh_(x: V) -> V { return select(tanh(x), sign(x), abs(x) > V(10)); }',
  // exp takes no positive number here, so it cannot overflow.
  sigmoid_: `fn sigmoid_(x: V) -> V { let e = exp(-abs(x)); return select(e, V(1), x >= V(0)) / (V(1) + e); }`,
  // Rational minimax approximation on [-4, 4] of Eigen and XLA, error below 1 ulp of 1; beyond 4 erf is 1 in
  // f32.
  erf_: `fn erf_(x: V) -> V {
let c = select(x, sign(x) * V(4), abs(x) > V(4));
let s = c * c;
var n = V(-2.72614225801306e-10);
n = n * s + V(2.77068142495902e-08);
n = n * s + V(-2.10102402082508e-06);
n = n * s + V(-5.69250639462346e-05);
n = n * s + V(-7.34990630326855e-04);
n = n * s + V(-2.95459980854025e-03);
n = n * s + V(-1.60960333262415e-02);
var d = V(-1.45660718464996e-05);
d = d * s + V(-2.13374055278905e-04);
d = d * s + V(-1.68282697438203e-03);
d = d * s + V(-7.37332916720468e-03);
d = d * s + V(-1.42647390514189e-02);
return c * n / d; }`,
  // Near 0 the sum 1 + x loses x: a series is used where its next term is below f32's precision.
  log1p_: `fn log1p_(x: V) -> V {
let series = ${log1pSeries};
return select(log(V(1) + x), series, abs(x) < V(0.08)); }`,
  expm1_: `fn expm1_(x: V) -> V {
let series = ${series(expm1Coefficients)};
return select(exp(x) - V(1), series, abs(x) < V(0.15)); }`,
  // 1 - exp(-z) for z >= 0: a difference would lose all digits where z is small, as in the first bias
  // corrections of beta = 0.999. A series gives e = exp(y) - 1 for y = -z / 8, then three times
  // exp(2y) - 1 = e (e + 2).
  one_minus_exp_: `fn one_minus_exp_(z: V) -> V {
let y = V(-0.125) * z;
var e = ${series(expm1Coefficients, 'y')};
for (var k = 0; k < 3; k++) { e = e * (e + V(2.0)); }
return select(-e, V(1.0) - exp(-z), z > V(1.0)); }`,
  // WGSL's pow is undefined for negative bases, at 0 and at infinities: IEEE 754's pow, by the bits, because
  // compilers may assume that there is no NaN or infinity. From 2^24 on every number is even.
  pow_: `fn pow_(x: V, y: V) -> V {
let ax = bitcast<U>(x) & U(0x7fffffffu);
let ay = bitcast<U>(y) & U(0x7fffffffu);
let inf = U(0x7f800000u);
let one = U(0x3f800000u);
let below = bitcast<U>(x) != ax;
let up = bitcast<U>(y) == ay;
let small = ay < U(0x4b800000u);
let whole = !small | (floor(y) == y);
let odd = small & (abs(y - V(2) * floor(y * V(0.5))) == V(1));
var bits = bitcast<U>(pow(bitcast<V>(ax), y));
bits = select(bits, select(U(0u), inf, (ax == inf) == up), (ax == U(0u)) | (ax == inf));
bits = select(bits, select(U(0u), inf, (ax > one) == up), ay == inf);
bits = select(bits, one, ax == one);
bits = bits | select(U(0u), U(0x80000000u), below & odd);
let undefined = (ax > inf) | (ay > inf) | (below & !whole & (ax != U(0u)) & (ax != inf));
bits = select(bits, U(0x7fc00000u), undefined);
return bitcast<V>(select(bits, one, (ay == U(0u)) | (bitcast<U>(x) == one))); }`,
  // Not f32(f16(x)), which compilers may take for x. quantizeToF16 may take f16's numbers below 2^-14 for 0:
  // those are the multiples of 2^-24.
  half_: `fn half_(x: V) -> V {
return select(quantizeToF16(x), round(x * V(16777216)) * V(5.960464477539063e-8), abs(x) < V(6.103515625e-5)); }`,
  sign_: 'fn sign_(x: V) -> V { return sign(x); }',
  max_: 'fn max_(a: V, b: V) -> V { return select(select(b, a, a > b), a, is_nan_(a)); }',
  min_: 'fn min_(a: V, b: V) -> V { return select(select(b, a, a < b), a, is_nan_(a)); }',
  // Infinity and NaN have all exponent bits set. Compilers may assume that neither exists and remove a
  // comparison of floats, so the bits are compared.
  is_finite_: `fn is_finite_(x: V) -> B { return (bitcast<U>(x) & U(0x7f800000u)) != U(0x7f800000u); }`,
};

/** The same for integers, where it differs. */
const integerSources: Record<string, string> = {
  // Repeated squaring, wrapping as products do. A power below 0 of a whole number is 0, but of 1 and -1.
  pow_: `fn pow_(x: V, y: V) -> V {
var result = V(1); var base = x; var rest = y;
for (var k = 0; k < 32; k++) {
  result = select(result, result * base, (rest & V(1)) == V(1));
  base = base * base;
  rest = rest >> U(1u);
}
let unit = select(V(0), select(V(1), x, (y & V(1)) == V(1)), x * x == V(1));
return select(result, unit, y < V(0)); }`,
  // WGSL's own does not take u32, which has no -1 either.
  sign_: 'fn sign_(x: V) -> V { return V(x > V(0)) - V(x < V(0)); }',
};

/** Returns the WGSL of the functions that a body calls, for numbers of this type and width. */
export function functionsUsedBy(body: string, computed: 'f32' | 'i32' | 'u32', width: 1 | 4): string[] {
  const own = computed === 'f32' ? sources : { ...sources, ...integerSources };
  const used = Object.keys(own)
    .filter((name) => body.includes(`${name}(`))
    .map((name) => own[name]!);
  if ([body, ...used].some((source) => source.includes('is_nan_(')))
    used.unshift(isNanFunction('is_nan_', computed, width));
  return used;
}
