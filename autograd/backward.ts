import { bytesOf } from '../kernels/kernel.ts';
import { enableGrad, noGrad, within } from './context.ts';
import { add } from './ops/arithmetic.ts';
import { addAssign } from './ops/assign.ts';
import { joined } from './ops/concat.ts';
import { clone } from './ops/reshape.ts';
import { split } from './ops/split.ts';
import { ones, zeros } from './create.ts';
import { namedOf } from './op.ts';
import type { Edge, Form, GradNode, Like, Spec, Tensors, VjpContext } from './op.ts';
import { scope } from './storage.ts';
import type { Scope, Storage } from './storage.ts';
import type { Tensor } from './tensor.ts';

export interface BackwardOptions {
  /** Keep what backward reads, so that it can run again through the same graph. */
  readonly retainGraph?: boolean;
  /** Record the backward pass itself, for gradients of gradients. Implies retainGraph. */
  readonly createGraph?: boolean;
}

/**
 * Adds the gradient of `root` to `grad` of every leaf that requires one (torch.Tensor.backward). `gradient`
 * is the cotangent of root, of its shape; default 1, for a root of one element.
 *
 * @example
 * const x = tensor([3], { requiresGrad: true });
 * backward(x.mul(x).sum());
 * x.grad; // [6]
 */
export function backward(root: Tensor, gradient?: Tensor, options: BackwardOptions = {}): void {
  const seed = seedFor('backward', root, gradient);
  sweep([root], [seed], options, undefined);
}

/**
 * Returns the gradients of `outputs` (added up, or weighted by `gradOutputs`) with respect to `inputs`, and
 * sets no `grad` (torch.autograd.grad). An input that the outputs do not depend on gets zeros. Throws for an
 * input that does not require a gradient.
 *
 * @example
 * const x = tensor([3], { requiresGrad: true });
 * grad(x.mul(x).sum(), [x]); // [[6]]
 */
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: readonly Tensor[],
  options: BackwardOptions & { readonly gradOutputs?: readonly Tensor[] } = {},
): Tensor[] {
  const roots = Array.isArray(outputs) ? (outputs as readonly Tensor[]) : [outputs as Tensor];
  for (const x of inputs) {
    if (!x.requiresGrad)
      throw new Error(
        `grad: an input of shape [${x.shape.join(', ')}] does not require a gradient; ` +
          'set requiresGrad before computing with it',
      );
  }
  const seeds = roots.map((root, i) => seedFor('grad', root, options.gradOutputs?.[i]));
  return sweep(roots, seeds, options, inputs);
}

function seedFor(op: string, root: Tensor, gradient: Tensor | undefined): Tensor {
  if (!root.requiresGrad) {
    throw new Error(
      `${op}: this tensor does not depend on anything that requires a gradient; ` +
        'set requiresGrad on a leaf, and mind noGrad',
    );
  }
  if (gradient) {
    if (gradient.shape.join() !== root.shape.join()) {
      throw new Error(
        `${op}: the gradient's shape [${gradient.shape.join(', ')}] is not the tensor's [${root.shape.join(', ')}]`,
      );
    }
    return gradient;
  }
  if (root.size !== 1) {
    throw new Error(
      `${op}: only a single element has an implicit gradient of 1, this tensor has shape ` +
        `[${root.shape.join(', ')}]; reduce it with mean() or sum(), or pass a gradient`,
    );
  }
  return ones(root.shape, { dtype: root.dtype });
}

/** Walks the tape backwards from the roots. A sweep that is not recorded frees its temporaries at its end. */
function sweep(
  roots: readonly Tensor[],
  seeds: readonly Tensor[],
  options: BackwardOptions,
  wanted: readonly Tensor[] | undefined,
): Tensor[] {
  const { createGraph = false, retainGraph = createGraph } = options;
  if (createGraph) return enableGrad(() => walk(roots, seeds, wanted, retainGraph, undefined));
  return noGrad(() => {
    const temporaries = scope();
    try {
      const results = walk(roots, seeds, wanted, retainGraph, temporaries);
      for (const result of results) temporaries.hand(result.storage);
      return results;
    } finally {
      temporaries[Symbol.dispose]();
    }
  });
}

function walk(
  roots: readonly Tensor[],
  seeds: readonly Tensor[],
  wanted: readonly Tensor[] | undefined,
  retainGraph: boolean,
  temporaries: Scope | undefined,
): Tensor[] {
  const order = reverseOrder(roots);
  const route = wanted ? new Route(order, wanted) : undefined;
  const cotangents = new Map<GradNode, (Tensor | undefined)[]>();
  const leaves = new Map<Tensor, Tensor>();

  const give = (target: Edge, g: Tensor): void => {
    if ('leaf' in target) {
      const sum = leaves.get(target.leaf);
      leaves.set(target.leaf, sum ? add(sum, g) : g);
      return;
    }
    const list = cotangents.get(target.node) ?? new Array<Tensor | undefined>(target.node.outputSpecs.length);
    const sum = list[target.output];
    list[target.output] = sum ? add(sum, g) : g;
    cotangents.set(target.node, list);
  };

  roots.forEach((root, i) =>
    give(root.node ? { node: root.node, output: root.outputIndex } : { leaf: root }, seeds[i]!),
  );
  for (const node of order) {
    const given = cotangents.get(node);
    cotangents.delete(node);
    if (!given) continue;
    // The cotangent of a wanted tensor is complete when the node that made it comes up.
    for (const x of route?.wantedOf(node) ?? []) {
      const g = given[x.outputIndex];
      if (g) leaves.set(x, g);
    }
    if (route && !route.leadsOn(node)) continue;
    const edges = node.edges.map((edge) => (edge && (!route || route.takes(edge)) ? edge : undefined));
    // A rule knows the types it wants: autocast is for what users write.
    const partials = within({ autocast: undefined }, () => differentiate(node, given, edges));
    edges.forEach((edge, i) => {
      const partial = partials[i];
      if (edge && partial) {
        checkPartial(node, i, partial, node.inputSpecs[i]!);
        give(edge, partial);
      }
    });
    if (!retainGraph) node.release();
  }

  if (wanted) return wanted.map((x) => leaves.get(x) ?? zeros(x.shape, { dtype: x.dtype }));
  accumulateAll(leaves, temporaries);
  return [];
}

/** The nodes and edges on the way to the wanted tensors: nothing else is computed or released. */
class Route {
  private readonly wantedLeaves = new Set<Tensor>();
  private readonly wantedNodes = new Map<GradNode, Tensor[]>();
  private readonly leading = new Set<GradNode>();

  constructor(latestFirst: readonly GradNode[], wanted: readonly Tensor[]) {
    for (const x of wanted) {
      if (x.node) this.wantedNodes.set(x.node, [...this.wantedOf(x.node), x]);
      else this.wantedLeaves.add(x);
    }
    for (const node of [...latestFirst].reverse()) {
      if (node.edges.some((edge) => edge && this.takes(edge))) this.leading.add(node);
    }
  }

  wantedOf(node: GradNode): readonly Tensor[] {
    return this.wantedNodes.get(node) ?? [];
  }

  leadsOn(node: GradNode): boolean {
    return this.leading.has(node);
  }

  takes(edge: Edge): boolean {
    if ('leaf' in edge) return this.wantedLeaves.has(edge.leaf);
    return this.leading.has(edge.node) || this.wantedOf(edge.node).some((x) => x.outputIndex === edge.output);
  }
}

/** Applies an op's derivative rule: the cotangents of its inputs, as a list. */
function differentiate(
  node: GradNode,
  given: readonly (Tensor | undefined)[],
  edges: readonly (Edge | undefined)[],
): readonly (Tensor | null | undefined)[] {
  const { op, attrs, inputForm, outputForm, inputSpecs, outputSpecs } = node;
  if (op.vjp === 'none') return [];
  // Zeros are made when a rule asks: most ops never read the cotangent of their statistics.
  const cotangent = (i: number): Tensor => {
    const { shape, dtype } = outputSpecs[i]!;
    return given[i] ?? zeros(shape, { dtype });
  };
  const saved = (kind: 'input' | 'output', form: Form, name: PropertyKey): Tensor | readonly Tensor[] | undefined => {
    const place = placeOf(form, name);
    if (!place) return undefined;
    const [start, count] = place;
    if (count === undefined) return node.get(kind, start);
    return Array.from({ length: count }, (_, i) => node.get(kind, start + i));
  };
  const context: VjpContext<Tensors, Tensors, unknown> = {
    get grads() {
      const list = outputSpecs.map((_, i) => cotangent(i));
      return namedOf(outputForm, list) as Like<Tensors, Tensor>;
    },
    get g() {
      return cotangent(0);
    },
    input: (name) => saved('input', inputForm, name),
    output: (name) => saved('output', outputForm, name),
    specs: namedOf(inputForm, inputSpecs) as Like<Tensors, Spec>,
    attrs,
    needs: (name, index = 0) => edges[(placeOf(inputForm, name)?.[0] ?? NaN) + index] !== undefined,
  };
  const found = op.vjp(context);
  return inputForm.flatMap(([name, count]) => {
    const partial = found[name];
    return count === undefined ? [partial as Tensor | null] : ((partial ?? new Array(count)) as (Tensor | null)[]);
  });
}

/**
 * Returns where the tensors of a name begin in an op's list, and how many there are under the name of a list.
 */
function placeOf(form: Form, name: PropertyKey): readonly [number, number | undefined] | undefined {
  let start = 0;
  for (const [own, count] of form) {
    if (own === name) return [start, count];
    start += count ?? 1;
  }
  return undefined;
}

/**
 * Throws for a derivative of the wrong shape or type, which would else surface far from the rule that made
 * it.
 */
function checkPartial(node: GradNode, i: number, partial: Tensor, spec: Spec): void {
  if (partial.dtype !== spec.dtype || partial.shape.join() !== spec.shape.join()) {
    throw new Error(
      `${node.name}: its derivative for input ${i} is ${partial.dtype} [${partial.shape.join(', ')}], ` +
        `the input is ${spec.dtype} [${spec.shape.join(', ')}]`,
    );
  }
}

/**
 * Adds to the gradients of leaves. Where leaves lie side by side (see `joined`) and get parts of one
 * gradient, the parts stay side by side, and one update adds to all of them.
 */
function accumulateAll(gradients: ReadonlyMap<Tensor, Tensor>, temporaries: Scope | undefined): void {
  const sharing = new Map<Storage, [leaf: Tensor, g: Tensor][]>();
  for (const entry of gradients) {
    const { storage } = entry[1];
    sharing.set(storage, [...(sharing.get(storage) ?? []), entry]);
  }
  for (const entries of sharing.values()) {
    const isJoined = temporaries && entries.length > 1 && joined(entries.map(([leaf]) => leaf));
    const whole = isJoined ? joined(entries.map(([, g]) => g)) : undefined;
    const before = entries.flatMap(([leaf]) => leaf.grad ?? []);
    const sum = whole && before.length === entries.length ? joined(before) : undefined;
    if (sum) addAssign(sum, whole!);
    else if (whole && before.length === 0) {
      const own = (isOwned(whole, temporaries!) ? whole : clone(whole)).keep();
      const parts = split(
        own,
        entries.map(([, g]) => g.shape[0]!),
      );
      entries.forEach(([leaf], i) => (leaf.grad = parts[i]));
    } else for (const [leaf, g] of entries) accumulate(leaf, g, temporaries);
  }
}

/** Whether g is the whole of a storage that the sweep made. */
function isOwned(g: Tensor, temporaries: Scope): boolean {
  const isWhole = g.isContiguous && g.offset === 0 && g.size * bytesOf(g.dtype) === g.storage.bytes;
  return isWhole && temporaries.owns(g.storage);
}

/** Adds g to the gradient of a leaf, in place unless the sweep is recorded. */
function accumulate(leaf: Tensor, g: Tensor, temporaries: Scope | undefined): void {
  if (!temporaries) {
    leaf.grad = (leaf.grad ? add(leaf.grad, g) : g).keep();
  } else if (leaf.grad) {
    addAssign(leaf.grad, g);
  } else {
    // A view, or one cotangent given to several leaves, is copied.
    leaf.grad = (isOwned(g, temporaries) ? g : clone(g)).keep();
  }
}

/** Returns every application that the roots depend on, latest first. */
function reverseOrder(roots: readonly Tensor[]): GradNode[] {
  const found = new Set<GradNode>();
  const stack = roots.flatMap(({ node }) => (node ? [node] : []));
  while (stack.length > 0) {
    const node = stack.pop()!;
    if (found.has(node)) continue;
    found.add(node);
    for (const edge of node.edges) if (edge && 'node' in edge) stack.push(edge.node);
  }
  return [...found].sort((a, b) => b.position - a.position);
}
