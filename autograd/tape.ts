import { debugLevel, debugOp } from '../gpu/index.ts';
import type { Layout } from '../kernels/layout.ts';
import { bindingOf } from './blocks/window.ts';
import { callerOutside, currentRegion, recording } from './capture.ts';
import { casting } from './casting.ts';
import { isGradEnabled } from './grad-mode.ts';
import { GradNode } from './graph.ts';
import { lowerEntry } from './lowering.ts';
import { nameOf } from './op.ts';
import type { Lowering, Op, Spec, ViewOp, Vjp } from './op.ts';
import { isRunning, onDevice } from './runtime.ts';
import { holdTensors, saveFor } from './saving.ts';
import { emptyTensor, isFloat, Tensor } from './tensor.ts';

/** One application of an op to values. */
export interface Entry {
  readonly name: string;
  readonly op: Op<unknown>;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly attrs: unknown;
  readonly position: number;
  /** Inputs that the op overwrites in place. */
  readonly mutates: readonly Tensor[];
  /** See `inOwnRegion`. */
  readonly region: number;
}

/** Sees every application after it was appended; used by anomaly detection and op counts. */
export type Observer = (entry: Entry) => void;

let position = 0;
const observers = new Set<Observer>();

/** Calls `observer` for each entry appended until the returned function is called. */
export function observe(observer: Observer): () => void {
  observers.add(observer);
  return () => observers.delete(observer);
}

/**
 * Appends one application to the tape: checks it, executes it, and records how to differentiate it where that
 * is asked for.
 */
export function apply<A>(op: Op<A>, given: readonly Tensor[], attrs: A): Tensor[] {
  const name = nameOf(op, attrs);
  const inputs = casting()?.inputs(name, given) ?? given;
  for (const x of inputs) checkAlive(name, x);
  const specs: readonly Spec[] = op.infer(inputs, attrs);
  const outputs = specs.map(({ shape, dtype }) => emptyTensor(shape, dtype, name));
  const entry: Entry = {
    name,
    op: op as Op<unknown>,
    inputs,
    outputs,
    attrs,
    position: position++,
    mutates: op.mutates?.(inputs, attrs) ?? [],
    region: currentRegion(),
  };
  const recorder = recording();
  if (debugLevel > 0) debugOp(recorder ? 'capture' : 'op', name, inputs, outputs, callerOutside());
  if (recorder) recorder.append(entry);
  else execute(entry);
  for (const x of entry.mutates) {
    x.storage.version++;
    x.storage.host = undefined;
  }
  if (op.vjp !== 'none' && isGradEnabled() && inputs.some((x) => x.requiresGrad)) {
    const saves = typeof op.saves === 'function' ? op.saves(attrs) : (op.saves ?? {});
    const saved = saveFor(saves, inputs, outputs);
    const node = new GradNode(name, entry.position, op.vjp as Vjp<unknown>, attrs, inputs, outputs, saved);
    outputs.forEach((y, i) => link(y, node, i));
  }
  for (const observer of observers) observer(entry);
  return outputs;
}

/** Appends a view: the result shares the input's storage, or that of a copy of it. */
export function applyView<A>(op: ViewOp<A>, x: Tensor, attrs: A, home: Tensor = x): Tensor {
  checkAlive(op.name, x);
  const y = new Tensor(home.storage, home.dtype, op.view(x, attrs));
  if (debugLevel > 0) debugOp('view', op.name, [x], [y], callerOutside());
  if (isGradEnabled() && x.requiresGrad) {
    const node = new GradNode(op.name, position++, op.vjp as Vjp<unknown>, attrs, [x], [y], saveFor({}, [x], [y]));
    link(y, node, 0);
  }
  return y;
}

/**
 * A view of tensors that lie side by side in one storage; `vjp` shares a gradient out among them. It is part
 * of no checkpoint's region, so that one view may serve several forward passes: their gradients then meet
 * before they are shared out.
 */
export function applyJoin(name: string, inputs: readonly Tensor[], layout: Layout, vjp: Vjp<null>): Tensor {
  for (const x of inputs) checkAlive(name, x);
  const y = new Tensor(inputs[0]!.storage, inputs[0]!.dtype, layout);
  if (isGradEnabled() && inputs.some((x) => x.requiresGrad)) {
    const saved = holdTensors({}, inputs, [y]);
    link(y, new GradNode(name, position++, vjp as Vjp<unknown>, null, inputs, [y], saved), 0);
  }
  return y;
}

function link(y: Tensor, node: GradNode, index: number): void {
  if (!isFloat(y.dtype)) return;
  y.node = node;
  y.outputIndex = index;
}

function checkAlive(op: string, x: Tensor): void {
  if (x.storage.isFreed) {
    throw new Error(
      `${op}: an input of shape [${x.shape.join(', ')}] was freed when its scope ended; call keep() on it inside the scope`,
    );
  }
}

function execute(entry: Entry): void {
  if (entry.outputs.length > 0 && entry.outputs.every((y) => y.size === 0)) return;
  // Work that waits for the device must find its inputs where they are now: leaves may move meanwhile
  // (Tensor.moveInto).
  const here = isRunning() ? entry : { ...entry, inputs: entry.inputs.map((x) => x.detach()) };
  onDevice((gpu) => {
    const allocate = (bytes: number, label: string) => gpu.allocate(bytes, label);
    const emit: Lowering['emit'] = (dispatch, tensors) => {
      gpu.dispatch(
        dispatch,
        tensors.map((t) => bindingOf(entry.name, t, t.storage.on(allocate), gpu.target)),
      );
    };
    for (const t of lowerEntry(here, { target: gpu.target, emit })) t.storage.free();
  });
}
