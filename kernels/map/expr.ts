/**
 * Elementwise expressions as data. One description of a function serves its kernel (print.ts), its
 * derivatives of any order (differentiate.ts) and, since expressions compose, the fusion of chains of maps.
 */

/** `v`: a number in the kernel's compute type. `b`: a truth value. */
export type Kind = 'v' | 'b';

// prettier-ignore
type PrimitiveName =
  | 'add' | 'sub' | 'mul' | 'div' | 'neg' | 'pow' | 'exp' | 'expm1' | 'log' | 'log1p' | 'sqrt' | 'rsqrt'
  | 'abs' | 'sign' | 'floor' | 'ceil' | 'round' | 'sin' | 'cos' | 'tanh' | 'sigmoid' | 'erf' | 'max' | 'min'
  | 'select' | 'lt' | 'le' | 'gt' | 'ge' | 'eq' | 'ne' | 'and' | 'or' | 'not' | 'isFinite' | 'isNan'
  | 'oneMinusExp' | 'half';

export interface Expr {
  readonly op: 'input' | 'scalar' | 'const' | 'random' | PrimitiveName;
  readonly kind: Kind;
  readonly args: readonly Expr[];
  /** Number of an input, scalar or random draw; value of a constant. */
  readonly value?: number;
  /** Of an input that has a name instead of a position. */
  readonly name?: string;
}

/**
 * Adjoints of the arguments from that of the result; null where the derivative is zero wherever it exists.
 */
type Vjp = (g: Expr, args: readonly Expr[], y: Expr) => readonly (Expr | null)[];

interface Primitive {
  readonly result: Kind;
  readonly wgsl: (...args: string[]) => string;
  readonly vjp: Vjp;
}

const flat: Vjp = (_, args) => args.map(() => null);
const infix = (symbol: string) => (a: string, b: string) => `(${a} ${symbol} ${b})`;
const call =
  (name: string) =>
  (...args: string[]) =>
    `${name}(${args.join(', ')})`;
const number = (wgsl: Primitive['wgsl'], vjp: Vjp): Primitive => ({ result: 'v', wgsl, vjp });
const truth = (wgsl: Primitive['wgsl']): Primitive => ({ result: 'b', wgsl, vjp: flat });

/** The functions that expressions are made of. WGSL names that end in `_` are ours (functions.ts). */
export const primitives: Record<PrimitiveName, Primitive> = {
  add: number(infix('+'), (g) => [g, g]),
  sub: number(infix('-'), (g) => [g, neg(g)]),
  mul: number(infix('*'), (g, [a, b]) => [mul(g, b!), mul(g, a!)]),
  div: number(infix('/'), (g, [, b], y) => [div(g, b!), neg(div(mul(g, y), b!))]),
  neg: number(
    (a) => `(-${a})`,
    (g) => [neg(g)],
  ),
  // As PyTorch: d/dx of x^0 is 0 everywhere; d/dy is 0 at x = 0, y >= 0, where log x * x^y tends to 0.
  pow: number(call('pow_'), (g, [x, y], z) => [
    select(eq(y!, constant(0)), constant(0), mul(g, mul(y!, pow(x!, sub(y!, constant(1)))))),
    select(and(eq(x!, constant(0)), ge(y!, constant(0))), constant(0), mul(g, mul(z, log(x!)))),
  ]),
  exp: number(call('exp'), (g, _, y) => [mul(g, y)]),
  expm1: number(call('expm1_'), (g, _, y) => [mul(g, add(y, constant(1)))]),
  /** 1 - exp(-z) for z >= 0, to a few roundings. */
  oneMinusExp: number(call('one_minus_exp_'), (g, [z]) => [mul(g, exp(neg(z!)))]),
  log: number(call('log'), (g, [x]) => [div(g, x!)]),
  log1p: number(call('log1p_'), (g, [x]) => [div(g, add(x!, constant(1)))]),
  sqrt: number(call('sqrt'), (g, _, y) => [div(mul(g, constant(0.5)), y)]),
  rsqrt: number(call('inverseSqrt'), (g, [x], y) => [mul(mul(g, constant(-0.5)), div(y, x!))]),
  abs: number(call('abs'), (g, [x]) => [mul(g, sign(x!))]),
  sign: number(call('sign_'), flat),
  floor: number(call('floor'), flat),
  ceil: number(call('ceil'), flat),
  round: number(call('round'), flat),
  sin: number(call('sin'), (g, [x]) => [mul(g, cos(x!))]),
  cos: number(call('cos'), (g, [x]) => [neg(mul(g, sin(x!)))]),
  tanh: number(call('tanh_'), (g, _, y) => [mul(g, sub(constant(1), mul(y, y)))]),
  sigmoid: number(call('sigmoid_'), (g, _, y) => [mul(g, mul(y, sub(constant(1), y)))]),
  erf: number(call('erf_'), (g, [x]) => [mul(g, mul(constant(2 / Math.sqrt(Math.PI)), exp(neg(mul(x!, x!)))))]),
  // Ties share the gradient; where either is NaN both get it, as in PyTorch.
  max: number(call('max_'), (g, [a, b]) => [share(g, lt(a!, b!), a!, b!), share(g, lt(b!, a!), a!, b!)]),
  min: number(call('min_'), (g, [a, b]) => [share(g, gt(a!, b!), a!, b!), share(g, gt(b!, a!), a!, b!)]),
  // A selected adjoint, not a product with a mask: the branch not taken may hold an infinity.
  select: number(
    (c, a, b) => `select(${b}, ${a}, ${c})`,
    (g, [c]) => [null, select(c!, g, constant(0)), select(c!, constant(0), g)],
  ),
  lt: truth(infix('<')),
  le: truth(infix('<=')),
  gt: truth(infix('>')),
  ge: truth(infix('>=')),
  eq: truth(infix('==')),
  // Not `!=`, which is false for NaN.
  ne: truth((a, b) => `(!(${a} == ${b}))`),
  and: truth(infix('&')),
  or: truth(infix('|')),
  not: truth((a) => `(!${a})`),
  /** Rounded to what f16 holds. */
  half: number(call('half_'), (g) => [g]),
  isFinite: truth(call('is_finite_')),
  isNan: truth(call('is_nan_')),
};

function share(g: Expr, loses: Expr, a: Expr, b: Expr): Expr {
  return select(loses, constant(0), select(eq(a, b), mul(g, constant(0.5)), g));
}

const node = (op: PrimitiveName, ...args: Expr[]): Expr => ({ op, kind: primitives[op].result, args });

export const input = (index: number, kind: Kind = 'v'): Expr => ({ op: 'input', kind, args: [], value: index });
export const scalar = (index: number): Expr => ({ op: 'scalar', kind: 'v', args: [], value: index });
/** The element's own random number of a draw, uniform in [0, 1). */
export const random = (index: number): Expr => ({ op: 'random', kind: 'v', args: [], value: index });
export const constant = (value: number): Expr => ({ op: 'const', kind: 'v', args: [], value });

const is = (e: Expr, value: number): boolean => e.op === 'const' && e.value === value;

/** A number stands for a constant. */
type ExprOrNumber = Expr | number;
const lift = (e: ExprOrNumber): Expr => (typeof e === 'number' ? constant(e) : e);

// Sums and products drop the zeros and ones, and multiply the constants, that differentiation leaves behind.
export function add(a: ExprOrNumber, b: ExprOrNumber): Expr {
  const [x, y] = [lift(a), lift(b)];
  if (is(x, 0)) return y;
  if (is(y, 0)) return x;
  return node('add', x, y);
}
export function sub(a: ExprOrNumber, b: ExprOrNumber): Expr {
  const [x, y] = [lift(a), lift(b)];
  return is(y, 0) ? x : node('sub', x, y);
}
export function mul(a: ExprOrNumber, b: ExprOrNumber): Expr {
  const [x, y] = [lift(a), lift(b)];
  if (is(x, 1)) return y;
  if (is(y, 1)) return x;
  if (x.op === 'const' && y.op === 'const') return constant(x.value! * y.value!);
  return node('mul', x, y);
}
export function neg(a: ExprOrNumber): Expr {
  const x = lift(a);
  if (x.op === 'const') return constant(-x.value!);
  return x.op === 'neg' ? x.args[0]! : node('neg', x);
}

type Unary = (a: ExprOrNumber) => Expr;
type Binary = (a: ExprOrNumber, b: ExprOrNumber) => Expr;
const unary =
  (op: PrimitiveName): Unary =>
  (a) =>
    node(op, lift(a));
const binary =
  (op: PrimitiveName): Binary =>
  (a, b) =>
    node(op, lift(a), lift(b));

export const div = binary('div');
export const pow = binary('pow');
export const exp = unary('exp');
export const expm1 = unary('expm1');
export const oneMinusExp = unary('oneMinusExp');
export const log = unary('log');
export const log1p = unary('log1p');
export const sqrt = unary('sqrt');
export const rsqrt = unary('rsqrt');
export const abs = unary('abs');
export const sign = unary('sign');
export const floor = unary('floor');
export const ceil = unary('ceil');
export const round = unary('round');
export const sin = unary('sin');
export const cos = unary('cos');
export const tanh = unary('tanh');
export const sigmoid = unary('sigmoid');
export const erf = unary('erf');
export const max = binary('max');
export const min = binary('min');
export const lt = binary('lt');
export const le = binary('le');
export const gt = binary('gt');
export const ge = binary('ge');
export const eq = binary('eq');
export const ne = binary('ne');
export const and = binary('and');
export const or = binary('or');
export const not = unary('not');
export const half = unary('half');
export const isFinite = unary('isFinite');
export const isNan = unary('isNan');

/** c ? a : b, element by element. */
export const select = (c: Expr, a: ExprOrNumber, b: ExprOrNumber): Expr => node('select', c, lift(a), lift(b));

/** Replaces each input, scalar and draw by what `leaf` returns for it; constants stay. */
export function substitute(expr: Expr, leaf: (leaf: Expr) => Expr): Expr {
  const done = new Map<Expr, Expr>();
  const visit = (e: Expr): Expr => {
    let made = done.get(e);
    if (!made) {
      if (e.args.length > 0) made = { ...e, args: e.args.map(visit) };
      else made = e.op === 'const' ? e : leaf(e);
      done.set(e, made);
    }
    return made;
  };
  return visit(expr);
}
