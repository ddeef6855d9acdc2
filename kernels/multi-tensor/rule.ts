import type { Expr } from '../map/expr.ts';
import { functionsUsedBy } from '../map/functions.ts';
import { leavesOf, print } from '../map/print.ts';

/**
 * An optimizer's update rule, as a table of expressions over names. What changes from step to step lies on the
 * device, so that a recorded step can be replayed: `hyper` of each group of parameters, written by the host,
 * and for each parameter what is derived from it and from the number of updates, once a step.
 */
export interface RuleTable<Options, H extends string, D extends string, S extends string> {
  readonly name: string;
  readonly defaults: NoInfer<Options>;
  /** The numbers that the kernels read, of a group's options; differences are taken here, in double precision. */
  readonly hyper: (options: Options) => Readonly<Record<H, number>>;
  /** At most two numbers of hyper and of the update's number `t`, from 1. */
  readonly derived?: (hyper: Readonly<Record<H | 't', Expr>>) => Readonly<Record<D, Expr>>;
  /** Numbers remembered for each element, 0 at first: PyTorch's names. */
  readonly state: readonly S[];
  /** The new parameter and the new state. */
  readonly update: (x: Readonly<Record<'param' | 'grad' | H | D | S, Expr>>) => Readonly<Record<'param' | S, Expr>>;
}

/** A rule as its kernels need it. */
export interface UpdateRule {
  readonly name: string;
  readonly hyper: readonly string[];
  readonly state: readonly string[];
  /** WGSL declarations with `derive(h, t) -> vec2<f32>`, h: quad of the group's hyper in `control`. */
  readonly derive: string;
  /** WGSL declarations with `update(param, grad, s, a, b) -> V`, s: quad of the element in the state's arrays. */
  readonly update: string;
}

/** Numbers in a group's hyper. */
export const hyperSize = 12;

const leaf = (name: string): Expr => ({ op: 'input', kind: 'v', args: [], name });
const leaves = <N extends string>(names: readonly N[]): Record<N, Expr> =>
  Object.fromEntries(names.map((name) => [name, leaf(name)])) as Record<N, Expr>;

/** The kernels' side of a rule: all WGSL of an update comes from its table. */
export function updateRule<Options, H extends string, D extends string, S extends string>({
  name,
  defaults,
  hyper,
  derived,
  state,
  update,
}: RuleTable<Options, H, D, S>): UpdateRule {
  const names = Object.keys(hyper(defaults)) as H[];
  const ofStep = derived?.(leaves([...names, 't'])) ?? ({} as Record<D, Expr>);
  const derivedNames = Object.keys(ofStep) as D[];
  if (names.length > hyperSize || derivedNames.length > 2)
    throw new Error(`${name}: a rule has at most ${hyperSize} numbers of hyper and 2 that are derived from them`);
  const next = update(leaves(['param', 'grad', ...names, ...derivedNames, ...state]));
  return {
    name,
    hyper: names,
    state,
    derive: deriveWgsl(names, Object.values(ofStep)),
    update: updateWgsl(names, derivedNames, state, next),
  };
}

/** `let` statements for the hyper that expressions read, from quad `h` of `control` on. */
function hyperLets(names: readonly string[], exprs: readonly Expr[], h: string): string[] {
  const read = leavesOf(exprs);
  return names.flatMap((name, i) =>
    read.has(name) ? [`let ${name} = V(control[${h} + ${i >> 2}u].${'xyzw'[i & 3]});`] : [],
  );
}

function deriveWgsl(names: readonly string[], exprs: readonly Expr[]): string {
  const { statements, results } = print(exprs);
  return `alias V = f32;
alias B = bool;
alias U = u32;
${functionsUsedBy(statements, 'f32', 1).join('\n')}
fn derive(h: u32, t: f32) -> vec2<f32> {
${[...hyperLets(names, exprs, 'h'), statements].join('\n')}
return vec2<f32>(${[0, 1].map((i) => results[i] ?? '0.0').join(', ')});
}`;
}

function updateWgsl(
  names: readonly string[],
  derived: readonly string[],
  state: readonly string[],
  next: Readonly<Record<string, Expr>>,
): string {
  const exprs = ['param', ...state].map((name) => next[name]!);
  const { statements, results } = print(exprs);
  const at = (k: number): string => `state[${state.length}u * s + ${k}u]`;
  return `alias V = vec4<f32>;
alias B = vec4<bool>;
alias U = vec4<u32>;
${functionsUsedBy(statements, 'f32', 4).join('\n')}
fn update(param: V, grad: V, s: u32, a: f32, b: f32) -> V {
${[
  ...hyperLets(names, exprs, 'p.hyper'),
  ...derived.map((name, i) => `let ${name} = V(${'ab'[i]});`),
  ...state.map((name, k) => `let ${name} = ${at(k)};`),
  statements,
  ...state.map((_, k) => `${at(k)} = ${results[k + 1]};`),
].join('\n')}
return ${results[0]};
}`;
}
