import type { Gpu, Recording, Target } from '../../gpu/index.ts';
import { describeOp } from '../lower/lower.ts';
import { bindingOf } from '../lower/window.ts';
import { keepStorage, Storage } from '../storage.ts';
import type { Entry } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { lifetimes, lowerGroups } from './build.ts';
import type { Step } from './build.ts';
import type { Constants } from './compose.ts';
import { writtenBy } from './dependencies.ts';
import { fuse } from './fuse.ts';
import type { Grouping } from './group.ts';
import { planMemory } from './plan.ts';
import type { MemoryPlan } from './plan.ts';
import { placeAbreast } from './abreast.ts';
import { simplify } from './simplify.ts';
import type { Simplified } from './simplify.ts';

export interface Source {
  readonly entries: readonly Entry[];
  /** Placeholders of the arguments. */
  readonly inputs: readonly Tensor[];
  /** Storages read after a run. */
  readonly wanted: ReadonlySet<Storage>;
  /** Stream of the first random draw. */
  readonly firstDraw: number;
  /**
   * Buffers of programs that never run at the same time as this one. Used where they fit; new ones are added.
   */
  readonly shared: Storage[];
}

/** A tape that is optimised and lowered for a device; nothing of it is on one yet. */
export interface LoweredTape {
  readonly simplified: Simplified;
  readonly grouping: Grouping;
  readonly steps: readonly Step[];
  /** Storages whose memory is planned, in the order of the plan. */
  readonly planned: readonly Storage[];
  readonly plan: MemoryPlan;
}

/** A captured tape, ready to run on a device. */
export interface Assembled extends Omit<LoweredTape, 'planned'> {
  /** The buffer of each argument and result. Values whose lifetimes do not overlap share one. */
  readonly memory: ReadonlyMap<Storage, Storage>;
  readonly recording: Recording;
}

/** Optimises a tape, lowers it for a device, which need not be at hand, and plans its memory. */
export function lowerTape({ entries, inputs, wanted, firstDraw }: Omit<Source, 'shared'>, target: Target): LoweredTape {
  const simplified = simplify(entries, wanted);
  const constants = constantsOf(simplified.entries);
  const grouping = fuse(simplified.entries, { target, wanted, constants });
  const { steps: absolute, temporaries } = lowerGroups(grouping, target, constants);
  const steps = placeAbreast(absolute, target).map((step) => numberDraws(step, firstDraw));

  const own = new Set([...inputs, ...entries.flatMap(({ outputs }) => outputs)].map(({ storage }) => storage));
  const lives = lifetimes(steps);
  for (const { storage } of inputs) {
    const life = lives.get(storage);
    if (life) life.first = -1;
    else if (wanted.has(storage)) lives.set(storage, { first: -1, last: steps.length });
  }
  for (const storage of wanted) {
    const life = lives.get(storage);
    if (life) life.last = steps.length;
  }
  const planned = [...lives].filter(([storage]) => temporaries.has(storage) || (own.has(storage) && storage.isFreed));
  const plan = planMemory(
    planned.map(([{ bytes }, life]) => ({ bytes: Math.max(16, Math.ceil(bytes / 16) * 16), ...life })),
  );
  return { simplified, grouping, steps, planned: planned.map(([storage]) => storage), plan };
}

/** Lowers a tape, makes its buffers, and compiles its kernels side by side. */
export async function assemble(source: Source, gpu: Gpu): Promise<Assembled> {
  const { planned, ...lowered } = lowerTape(source, gpu.target);
  const { steps, plan } = lowered;
  const buffers = takeBuffers(plan.buffers, source.shared);
  const memory = new Map(planned.map((storage, i) => [storage, buffers[plan.bufferOf[i]!]!]));

  await gpu.prepare(steps.map(({ dispatch }) => dispatch));
  const recording = gpu.record(
    steps.map(({ dispatch, tensors, name }) => ({
      dispatch,
      op: () => describeOp(name, tensors),
      bindings: tensors.map((x) => {
        const home = memory.get(x.storage);
        const allocate = (bytes: number, label: string) => gpu.allocate(bytes, label, home !== undefined);
        return bindingOf(dispatch.name, x, (home ?? x.storage).on(allocate), gpu.target);
      }),
    })),
  );
  return { ...lowered, memory, recording };
}

/** Returns a buffer for each size: the smallest shared one that is large enough, else a new one. */
function takeBuffers(sizes: readonly number[], shared: Storage[]): Storage[] {
  const free = [...shared].sort((a, b) => a.bytes - b.bytes);
  return sizes.map((bytes) => {
    const at = free.findIndex((storage) => storage.bytes >= bytes);
    if (at >= 0) return free.splice(at, 1)[0]!;
    const made = keepStorage(new Storage(bytes, 'compiled'));
    shared.push(made);
    return made;
  });
}

/** Finds values that need no memory: filled floats that nothing writes to. */
function constantsOf(entries: readonly Entry[]): Constants {
  const written = writtenBy(entries);
  const constants = new Map<Storage, number>();
  for (const { op, inputs, outputs, attrs } of entries) {
    const y = outputs[0];
    if (!y || inputs.length > 0 || written.has(y.storage)) continue;
    const form = op.elementwise?.(inputs, attrs, y);
    if (form?.expr.op === 'scalar' && (y.dtype === 'f32' || y.dtype === 'f16'))
      constants.set(y.storage, form.scalars[0]!);
  }
  return constants;
}

/** Counts streams from the first of the program; a replay adds the stream that the generator has reached. */
function numberDraws(step: Step, first: number): Step {
  if (step.dispatch.draws.length === 0) return step;
  const draws = step.dispatch.draws.map(({ word, stream }) => ({ word, stream: stream - first }));
  return { ...step, dispatch: { ...step.dispatch, draws } };
}
