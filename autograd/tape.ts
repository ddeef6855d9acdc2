import type { Gpu } from '../gpu/index.ts';
import type { Dtype } from '../kernels/kernel.ts';
import { copyTo } from './copy.ts';
import { isGradEnabled } from './grad-mode.ts';
import { GradNode } from './graph.ts';
import { nameOf } from './op.ts';
import type { Lowering, Op, Spec, ViewOp, Vjp } from './op.ts';
import { onDevice } from './runtime.ts';
import { saveFor } from './saving.ts';
import { emptyTensor, isFloat, Tensor } from './tensor.ts';

/** One application of an op to values. */
export interface Entry {
  readonly name: string;
  readonly op: Op<unknown>;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly attrs: unknown;
  readonly position: number;
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

/** Appends one application to the tape: checks it, executes it, and records how to differentiate it where that is asked for. */
export function apply<A>(op: Op<A>, inputs: readonly Tensor[], attrs: A): Tensor[] {
  const name = nameOf(op, attrs);
  for (const x of inputs) checkAlive(name, x);
  const specs: readonly Spec[] = op.infer(inputs, attrs);
  const outputs = specs.map(({ shape, dtype }) => emptyTensor(shape, dtype, name));
  const entry: Entry = { name, op: op as Op<unknown>, inputs, outputs, attrs, position: position++ };
  execute(entry);
  for (const x of op.mutates?.(inputs, attrs) ?? []) {
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

/** Appends a view: the result shares the input's storage. */
export function applyView<A>(op: ViewOp<A>, x: Tensor, attrs: A): Tensor {
  checkAlive(op.name, x);
  const y = new Tensor(x.storage, x.dtype, op.view(x, attrs));
  if (isGradEnabled() && x.requiresGrad) {
    const node = new GradNode(op.name, position++, op.vjp as Vjp<unknown>, attrs, [x], [y], saveFor({}, [x], [y]));
    link(y, node, 0);
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

function execute({ name, op, inputs, outputs, attrs }: Entry): void {
  if (outputs.length > 0 && outputs.every((y) => y.size === 0)) return;
  onDevice((gpu) => {
    const temporaries: Tensor[] = [];
    op.lower(lowering(gpu, name, temporaries), inputs, outputs, attrs);
    for (const t of temporaries) t.storage.free();
  });
}

function lowering(gpu: Gpu, name: string, temporaries: Tensor[]): Lowering {
  const allocate = (bytes: number, label: string) => gpu.allocate(bytes, label);
  const emit: Lowering['emit'] = (dispatch, tensors) => {
    gpu.dispatch(
      dispatch,
      tensors.map((t) => t.storage.on(allocate)),
    );
  };
  const temporary = (shape: readonly number[], dtype: Dtype): Tensor => {
    const t = emptyTensor(shape, dtype, name);
    temporaries.push(t);
    return t;
  };
  const copy = (x: Tensor): Tensor => {
    const y = temporary(x.shape, x.dtype);
    emit(copyTo(x, y), [x, y]);
    return y;
  };
  return { target: gpu.target, emit, temporary, copy, contiguous: (x) => (x.isContiguous ? x : copy(x)) };
}
