import type { Saves, Spec, Vjp } from './op.ts';
import type { Tensor } from './tensor.ts';

/** A saved tensor, and the version of its storage at that time. */
export interface Saved {
  readonly tensor: Tensor;
  readonly version: number;
}

/** Where a gradient flows on: into another application's output, or into a leaf that accumulates it. */
export type Edge = { readonly node: GradNode; readonly output: number } | { readonly leaf: Tensor };

/**
 * One application on the tape whose gradient may be asked for. Nodes refer to earlier ones only, by
 * `position`, so descending positions are a reverse topological order.
 */
export class GradNode {
  readonly name: string;
  readonly position: number;
  readonly vjp: Vjp<unknown>;
  readonly attrs: unknown;
  readonly edges: readonly (Edge | undefined)[];
  readonly inputSpecs: readonly Spec[];
  readonly outputSpecs: readonly Spec[];
  private saved: SavedTensors | undefined;

  constructor(
    name: string,
    position: number,
    vjp: Vjp<unknown>,
    attrs: unknown,
    inputs: readonly Tensor[],
    outputs: readonly Tensor[],
    saved: SavedTensors,
  ) {
    this.name = name;
    this.position = position;
    this.vjp = vjp;
    this.attrs = attrs;
    this.edges = inputs.map(edgeTo);
    this.inputSpecs = inputs.map(specOf);
    this.outputSpecs = outputs.map(specOf);
    this.saved = saved;
  }

  input(i: number): Tensor {
    return this.use().get('input', i, this.name);
  }

  output(i: number): Tensor {
    return this.use().get('output', i, this.name);
  }

  /** Drops the saved tensors: backward has passed, and their memory is free to go. */
  release(): void {
    this.saved = undefined;
  }

  private use(): SavedTensors {
    if (!this.saved) {
      throw new Error(
        `${this.name}: backward a second time through a graph that was freed; pass retainGraph: true the first time`,
      );
    }
    return this.saved;
  }
}

/** Access to saved tensors; a checkpoint computes them again instead of holding them. */
export interface SavedTensors {
  get(kind: 'input' | 'output', i: number, op: string): Tensor;
}

/** Holds the tensors themselves. */
export class HeldTensors implements SavedTensors {
  private readonly inputs: readonly (Saved | undefined)[];
  private readonly outputs: readonly (Saved | undefined)[];

  constructor(saves: Saves, inputs: readonly Tensor[], outputs: readonly Tensor[]) {
    const hold = (tensor: Tensor): Saved => ({ tensor, version: tensor.storage.version });
    this.inputs = inputs.map((t, i) => (saves.inputs?.includes(i) ? hold(t) : undefined));
    this.outputs = outputs.map((t, i) => (saves.outputs?.includes(i) ? hold(t) : undefined));
  }

  get(kind: 'input' | 'output', i: number, op: string): Tensor {
    const saved = (kind === 'input' ? this.inputs : this.outputs)[i];
    if (!saved) throw new Error(`${op}: its derivative reads ${kind} ${i}, which its record does not save`);
    const { tensor, version } = saved;
    if (tensor.storage.version !== version) {
      throw new Error(
        `${op}: ${kind} ${i}, needed for its gradient, was changed in place since; clone() it first or change it after backward`,
      );
    }
    return tensor;
  }
}

function edgeTo(x: Tensor): Edge | undefined {
  if (x.node) return { node: x.node, output: x.outputIndex };
  return x.requiresGrad ? { leaf: x } : undefined;
}

function specOf({ shape, dtype }: Tensor): Spec {
  return { shape, dtype };
}
