// A model run while its activations are looked at or replaced, as TransformerLens does.
import { Tensor } from '../../autograd/index.ts';
import { nearestNames } from '../../common/nearest.ts';
import type { Module } from '../module.ts';
import { listNames, showShape } from '../names.ts';
import { watchPoints } from './points.ts';
import { withHooks } from './with-hooks.ts';
import type { ModuleHooks } from './with-hooks.ts';

/**
 * Which activations: a name, a regular expression, a predicate, or a list of these. Names are
 *
 * - paths of modules, as in `model.namedModules()`: `transformer.h.0.attn` is what this module gives (of
 *   several things the hidden states or the logits);
 * - TransformerLens' names: `blocks.0.hook_resid_pre`, `blocks.0.attn.hook_pattern`. Those of an
 *   encoder-decoder begin with `encoder.0` and `decoder.0`. Shapes are TransformerLens' too: queries, keys,
 *   values and what the heads give are (B, T, H, D/H), attention weights (B, H, Tq, Tk).
 */
export type ActivationNames = string | RegExp | ((name: string) => boolean) | readonly ActivationNames[];

/** Sees an activation; what it returns, unless undefined, takes its place: of the same shape and type. */
export type ActivationHook = (activation: Tensor, name: string) => unknown;

type InputsOf<M extends Module> = Parameters<M['forward']>[0];
type OutputOf<M extends Module> = ReturnType<M['forward']>;

/** One name, expression or predicate, and whether anything that ran has matched it. */
interface Pattern {
  readonly by: string | RegExp | ((name: string) => boolean);
  isFound: boolean;
}

const matches = ({ by }: Pattern, name: string): boolean => {
  if (typeof by === 'string') return by === name;
  return typeof by === 'function' ? by(name) : name.search(by) >= 0;
};

const patternsOf = (names: ActivationNames): Pattern[] =>
  Array.isArray(names)
    ? (names as readonly ActivationNames[]).flatMap(patternsOf)
    : [{ by: names as Pattern['by'], isFound: false }];

/** The tensor that an output is known by: itself, or the field of the hidden states or logits. */
function mainTensor(output: unknown): { readonly x: Tensor; readonly replace: (by: Tensor) => unknown } | undefined {
  if (output instanceof Tensor) return { x: output, replace: (by) => by };
  const fields = (output ?? {}) as Record<string, unknown>;
  const field = ['hidden', 'lastHiddenState', 'logits'].find((name) => fields[name] instanceof Tensor);
  return field === undefined
    ? undefined
    : { x: fields[field] as Tensor, replace: (by) => ({ ...fields, [field]: by }) };
}

/**
 * Runs `model.forward(inputs)` with hooks on activations, each pair `[names, hook]` in its order, and returns
 * what it gives:
 *
 *     // without the third head of the first layer
 *     runWithHooks(model, { inputIds }, [['blocks.0.attn.hook_z', (z) => z.mul(others)]]);
 *
 * Inside of a function given to `compile` the hooks run while it is captured, and what they compute is part
 * of the program. Attention weights are made, which flash attention does not, only where they are named.
 *
 * Errors: names that match nothing that ran, and a hook that returns another shape or type.
 *
 * @example
 * const model = GPT2LMHeadModel.fromConfig({ vocabSize: 50, nEmbd: 8, nLayer: 1, nHead: 2 });
 * const inputIds = tensor([[2, 7, 3]], { dtype: 'i32' });
 * // The logits without what the attention adds.
 * const { logits } = runWithHooks(model, { inputIds }, [['blocks.0.hook_attn_out', (x) => x.mul(0)]]);
 */
export function runWithHooks<M extends Module>(
  model: M,
  inputs: InputsOf<M>,
  hooks: readonly (readonly [names: ActivationNames, hook: ActivationHook])[],
): OutputOf<M> {
  return run('runWithHooks', model, inputs, hooks);
}

/**
 * Runs `model.forward(inputs)` and keeps activations, under their names (see `ActivationNames`):
 *
 *     const { output, cache } = runWithCache(model, { inputIds }, /hook_resid_post$/);
 *
 * With `compile((batch) => runWithCache(model, batch, names))` the program gives them beside its output.
 *
 * Error: names that match nothing that ran.
 *
 * @example
 * const model = await GPT2LMHeadModel.fromPretrained('models/pretrained/gpt-small');
 * const inputIds = tensor([[2, 7, 3]], { dtype: 'i32' });
 * const { cache } = runWithCache(model, { inputIds }, 'blocks.0.attn.hook_pattern');
 * cache['blocks.0.attn.hook_pattern'].shape; // [1, 4, 3, 3]
 */
export function runWithCache<M extends Module>(
  model: M,
  inputs: InputsOf<M>,
  names: ActivationNames,
): { readonly output: OutputOf<M>; readonly cache: Readonly<Record<string, Tensor>> } {
  const cache: Record<string, Tensor> = {};
  const keep: ActivationHook = (x, name) => void (cache[name] = x);
  return { output: run('runWithCache', model, inputs, [[names, keep]]), cache };
}

function run<M extends Module>(
  caller: string,
  model: M,
  inputs: InputsOf<M>,
  hooks: readonly (readonly [names: ActivationNames, hook: ActivationHook])[],
): OutputOf<M> {
  const pairs = hooks.map(([names, hook]) => ({ patterns: patternsOf(names), hook }));
  const known = new Set<string>();
  const wants = (name: string): boolean => {
    known.add(name);
    return pairs.some(({ patterns }) => patterns.some((pattern) => matches(pattern, name)));
  };
  const show = (name: string, x: Tensor): Tensor => {
    for (const { patterns, hook } of pairs) {
      const found = patterns.filter((pattern) => matches(pattern, name));
      for (const pattern of found) pattern.isFound = true;
      if (found.length === 0) continue;
      // What a hook runs is not the model: its own hook points are not watched.
      const made = watchPoints(undefined, () => hook(x, name));
      if (made === undefined) continue;
      checkSame(caller, name, x, made);
      x = made;
    }
    return x;
  };
  const ran = new Set<string>();
  const placed = model
    .namedModules()
    .filter(([name]) => name !== '' && wants(name))
    .map(([name, module]): ModuleHooks => ({
      module,
      after: (_module, _args, output) => {
        ran.add(name);
        const main = mainTensor(output);
        if (!main) return undefined;
        const made = show(name, main.x);
        return made === main.x ? undefined : main.replace(made);
      },
    }));
  const output = withHooks(placed, () => watchPoints({ wants, show }, () => model.forward(...([inputs] as never[]))));
  const missing = pairs.flatMap(({ patterns }) => patterns).find(({ isFound }) => !isFound);
  if (missing) throw new Error(`${caller}: ${describeMissing(model, missing.by, [...known], ran)}`);
  return output as OutputOf<M>;
}

function checkSame(caller: string, name: string, x: Tensor, made: unknown): asserts made is Tensor {
  const isSame = made instanceof Tensor && made.dtype === x.dtype && made.shape.join() === x.shape.join();
  if (isSame) return;
  const what = made instanceof Tensor ? `${made.dtype} ${showShape(made.shape)}` : `a ${typeof made}`;
  throw new Error(
    `${caller}: the hook at ${name} returned ${what} for an activation ${x.dtype} ${showShape(x.shape)}; return the ` +
      'same shape and type, or nothing',
  );
}

function describeMissing(
  model: Module,
  pattern: Pattern['by'],
  known: readonly string[],
  ran: ReadonlySet<string>,
): string {
  const { name } = model.constructor;
  const shown = typeof pattern === 'string' ? `"${pattern}"` : `${String(pattern)}`;
  if (typeof pattern === 'string' && ran.has(pattern))
    return `${shown} of ${name} gives several tensors; name one of its parts`;
  if (typeof pattern === 'string' && known.includes(pattern))
    return `${shown} of ${name} did not run for these inputs; name another part, or give it what it reads`;
  const near = typeof pattern === 'string' ? nearestNames(pattern, known) : [];
  const mend = near.length > 0 ? `did you mean ${near.join(' or ')}?` : `there are ${listNames(known)}`;
  return `no activation of ${name} is named ${shown}; ${mend}`;
}
