import { add, input, primitives } from './expr.ts';
import type { Expr } from './expr.ts';

/**
 * Differentiates an expression in reverse mode. Returns the adjoint of each of its inputs as an expression,
 * or null where it is zero: x0 * x1 gives [x0 * x2, x0 * x1]. In these, input 0 is the adjoint of the result,
 * and input i + 1 stands for input i of `expr`.
 */
export function differentiate(expr: Expr, inputs: number): (Expr | null)[] {
  const root = shift(expr, new Map());
  const order: Expr[] = [];
  const seen = new Set<Expr>();
  const visit = (e: Expr): void => {
    if (seen.has(e)) return;
    seen.add(e);
    e.args.forEach(visit);
    order.push(e);
  };
  visit(root);

  const adjoints = new Map<Expr, Expr>([[root, input(0)]]);
  const results: (Expr | null)[] = new Array<Expr | null>(inputs).fill(null);
  for (const e of order.reverse()) {
    const g = adjoints.get(e);
    if (!g || e.op === 'const' || e.op === 'scalar' || e.op === 'random') continue;
    if (e.op === 'input') {
      const at = e.value! - 1;
      const sum = results[at];
      results[at] = sum ? add(sum, g) : g;
      continue;
    }
    primitives[e.op].vjp(g, e.args, e).forEach((partial, i) => {
      if (!partial) return;
      const arg = e.args[i]!;
      const sum = adjoints.get(arg);
      adjoints.set(arg, sum ? add(sum, partial) : partial);
    });
  }
  return results;
}

/** Renumbers inputs by one, keeping shared nodes shared. */
function shift(expr: Expr, done: Map<Expr, Expr>): Expr {
  const known = done.get(expr);
  if (known) return known;
  const moved: Expr =
    expr.op === 'input'
      ? { ...expr, value: expr.value! + 1 }
      : expr.args.length === 0
        ? expr
        : { ...expr, args: expr.args.map((a) => shift(a, done)) };
  done.set(expr, moved);
  return moved;
}
