import { primitives } from './expr.ts';
import type { Expr } from './expr.ts';

/** WGSL of expressions: statements that name each part once, and the names of the results. */
export interface Printed {
  readonly statements: string;
  readonly results: readonly string[];
}

/**
 * Prints expressions of inputs x0, x1, ..., scalars s0, ..., random numbers r0, ... in the types V (number)
 * and B (truth). Parts that occur twice are computed once.
 */
export function print(exprs: readonly Expr[]): Printed {
  const lines: string[] = [];
  const names = new Map<string, string>();
  const byNode = new Map<Expr, string>();
  const visit = (e: Expr): string => {
    const done = byNode.get(e);
    if (done !== undefined) return done;
    const name = emit(e);
    byNode.set(e, name);
    return name;
  };
  const emit = (e: Expr): string => {
    if (e.op === 'input') return e.name ?? `x${e.value}`;
    if (e.op === 'scalar') return `s${e.value}`;
    if (e.op === 'random') return `r${e.value}`;
    if (e.op === 'const') return `V(${literal(e.value!)})`;
    const text = primitives[e.op].wgsl(...e.args.map(visit));
    const known = names.get(text);
    if (known) return known;
    const name = `t${names.size}`;
    names.set(text, name);
    lines.push(`let ${name} = ${text};`);
    return name;
  };
  const results = exprs.map(visit);
  return { statements: lines.join('\n'), results };
}

function literal(value: number): string {
  return Number.isInteger(value) && Math.abs(value) < 2 ** 31 ? value.toFixed(0) : value.toExponential();
}

/** Returns the numbers of the inputs that an expression reads, in ascending order. */
export function inputsOf(expr: Expr): number[] {
  const inputs = partsOf([expr]).flatMap(({ op, value }) => (op === 'input' ? [value!] : []));
  return [...new Set(inputs)].sort((a, b) => a - b);
}

/** Names of the inputs that expressions read by name. */
export function leavesOf(exprs: readonly Expr[]): Set<string> {
  return new Set(partsOf(exprs).flatMap(({ name }) => name ?? []));
}

/** All expressions that these are made of, each once. */
function partsOf(exprs: readonly Expr[]): Expr[] {
  const found = new Set<Expr>();
  const visit = (e: Expr): void => {
    if (found.has(e)) return;
    found.add(e);
    e.args.forEach(visit);
  };
  exprs.forEach(visit);
  return [...found];
}
