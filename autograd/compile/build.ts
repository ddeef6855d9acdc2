import type { Dispatch, Target } from '../../gpu/index.ts';
import { emitElements } from '../lower/elementwise.ts';
import { lowerEntry, lowering } from '../lower/lower.ts';
import type { Bound, Fused } from '../op.ts';
import type { Storage } from '../storage.ts';
import { inputNamed } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { compose } from './compose.ts';
import type { Constants } from './compose.ts';
import { loadedShape } from './group.ts';
import type { Group, Grouping } from './group.ts';

/** One dispatch of a program, and what it binds. */
export interface Step {
  readonly dispatch: Dispatch;
  readonly tensors: readonly Tensor[];
  /** What it was made of: names of ops. */
  readonly name: string;
}

export interface Lowered {
  readonly steps: readonly Step[];
  /** Scratch memory of the ops. */
  readonly temporaries: ReadonlySet<Storage>;
}

/** Lowers every group to dispatches, in order. */
export function lowerGroups({ groups, stored }: Grouping, target: Target, constants: Constants): Lowered {
  const steps: Step[] = [];
  const temporaries = new Set<Storage>();
  for (const group of groups) {
    const emit = (dispatch: Dispatch, tensors: readonly Tensor[]): void =>
      void steps.push({ dispatch, tensors, name: group.name });
    const isStored = ({ storage }: Tensor): boolean => stored.has(storage);
    const { anchor, maps } = group;
    const results = maps.map(({ outputs }) => outputs[0]!).filter(isStored);
    if (!anchor) {
      const { elements, ...tensors } = compose(maps, group.shape, undefined, results, constants);
      const fresh = elements.outputs.map((output) => ({ ...output, fresh: true }));
      const bound = { elements: { ...elements, outputs: fresh }, ...tensors };
      emitElements(lowering(group.name, { target, emit, temporaries: [], remembers: false }), group.name, bound);
    } else if (!isEmpty(anchor.outputs)) {
      const fused = fusedOf(group, results, isStored, constants);
      for (const { storage } of lowerEntry(anchor, { target, emit, fused, remembers: false })) temporaries.add(storage);
    }
  }
  return { steps, temporaries };
}

function isEmpty(outputs: readonly Tensor[]): boolean {
  return outputs.length > 0 && outputs.every((y) => y.size === 0);
}

function fusedOf(
  { anchor, maps, prologues, shape, carried }: Group,
  results: readonly Tensor[],
  isStored: (x: Tensor) => boolean,
  constants: Constants,
): Fused | undefined {
  if (maps.length === 0 && prologues.size === 0) return undefined;
  const stored = carried && isStored(carried) ? [carried, ...results] : results;
  return {
    sink: maps.length > 0 ? compose(maps, shape, carried, stored, constants) : undefined,
    sources: new Map(
      [...prologues].map(([name, entries]): [string, Bound] => {
        const x = inputNamed(anchor!, name)!;
        return [name, compose(entries, loadedShape(anchor!, x, entries), undefined, [x], constants)];
      }),
    ),
  };
}

/** First and last step that uses each storage. */
export function lifetimes(steps: readonly Step[]): Map<Storage, { first: number; last: number }> {
  const found = new Map<Storage, { first: number; last: number }>();
  steps.forEach(({ tensors }, at) => {
    for (const bound of tensors) {
      const { storage } = bound;
      const life = found.get(storage);
      if (life) life.last = at;
      else found.set(storage, { first: at, last: at });
    }
  });
  return found;
}
