import type { HostArray, HostArrays } from '../rows/data.ts';
import type { Ops } from '../rows/ops.ts';
import type { Named, Row, Training } from '../rows/row.ts';
import { loadPeer } from './adapter.ts';
import type { Adapter, Library, Prepared } from './adapter.ts';

/** Declares the used part of @jax-js/jax, which is not installed with the project. */
interface A {
  readonly shape: number[];
  /** A further reference: every function consumes one of each argument. */
  readonly ref: A;
  add(x: A | number): A;
  sub(x: A | number): A;
  mul(x: A | number): A;
  div(x: A | number): A;
  reshape(shape: number[]): A;
  sum(axis?: number): A;
  slice(...index: ([number, number] | [])[]): A;
  data(): Promise<Float32Array>;
  blockUntilReady(): Promise<unknown>;
  dispose(): void;
}
type Tree = Record<string, A>;
interface Numpy {
  array(data: HostArray['data'], options: { shape: readonly number[]; dtype: unknown }): A;
  readonly int32: unknown;
  readonly float32: unknown;
  add(a: A, b: A): A;
  matmul(a: A, b: A): A;
  matrixTranspose(a: A): A;
  sqrt(a: A): A;
  power(a: number, b: A): A;
  take(table: A, ids: A, axis: number): A;
}
interface Jax {
  init(device: string): Promise<string[]>;
  defaultDevice(device: string): void;
  numpy: Numpy;
  jit<F>(fn: F): F;
  valueAndGrad(fn: (weights: Tree, inputs: Tree) => A): (weights: Tree, inputs: Tree) => [A, Tree];
  tree: { ref(tree: Tree): Tree; dispose(tree: Tree): void };
  nn: {
    relu(x: A): A;
    gelu(x: A, o: { approximate: boolean }): A;
    softmax(x: A, axis: number): A;
    logSoftmax(x: A, axis: number): A;
    standardize(x: A, axis: number, o: { epsilon: number }): A;
    oneHot(x: A, classes: number): A;
    dotProductAttention(q: A, k: A, v: A, o: { isCausal: boolean }): A;
  };
}

/** Iterators got `map` and `filter` in Node 22; jax-js' einsum needs them. */
function addIteratorHelpers(): void {
  const iterator = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]())) as Record<string, unknown>;
  iterator['map'] ??= function* <X, Y>(this: Iterable<X>, fn: (x: X) => Y): Generator<Y> {
    for (const x of this) yield fn(x);
  };
  iterator['filter'] ??= function* <X>(this: Iterable<X>, fn: (x: X) => boolean): Generator<X> {
    for (const x of this) if (fn(x)) yield x;
  };
}

const flat = (x: A): A => x.ref.reshape([-1, x.shape.at(-1)!]);

/**
 * None of these consumes its arguments, as programs expect; what is traced by `jit` is cheap to leave behind.
 */
function opsOf({ numpy: np, nn }: Jax): Ops<A> {
  const matmul = (a: A, b: A, transposeB: boolean): A =>
    np.matmul(a.ref, transposeB ? np.matrixTranspose(b.ref) : b.ref);
  return {
    matmul,
    linear: (x, weight, bias) => {
      const y = matmul(flat(x), weight, true);
      return (bias ? y.add(bias.ref) : y).reshape([...x.shape.slice(0, -1), weight.shape[0]!]);
    },
    add: (a, b) => np.add(a.ref, b.ref),
    relu: (x) => nn.relu(x.ref),
    gelu: (x, approximate) => nn.gelu(x.ref, { approximate: approximate === 'tanh' }),
    softmax: (x) => nn.softmax(x.ref, -1),
    layerNorm: (x, weight, bias, eps) => nn.standardize(x.ref, -1, { epsilon: eps }).mul(weight.ref).add(bias.ref),
    slice: (x, from, to) => x.ref.slice(...x.shape.slice(1).map((): [] => []), [from, to]),
    attention: (q, k, v, heads, isCausal) => {
      const [batch, tokens, width] = q.shape as [number, number, number];
      const split = (x: A): A => x.ref.reshape([batch, tokens, heads, width / heads]);
      return nn.dotProductAttention(split(q), split(k), split(v), { isCausal }).reshape([batch, tokens, width]);
    },
    embedding: (table, ids) => (typeof ids === 'number' ? table.ref.slice([0, ids]) : np.take(table.ref, ids.ref, 0)),
    crossEntropy: (logits, labels) => {
      const classes = logits.shape.at(-1)!;
      const rows = flat(logits);
      const count = rows.shape[0]!;
      const target = nn.oneHot(labels.ref.reshape([-1]), classes);
      return nn
        .logSoftmax(rows, -1)
        .mul(target)
        .sum()
        .mul(-1 / count);
    },
  };
}

/**
 * The state after one update, (weights, state, gradients, step) -> [weights, state]; consumes its arguments.
 */
type Update = (weights: Tree, state: readonly [Tree, Tree], grads: Tree, step: A) => [Tree, [Tree, Tree]];

function updateOf({ numpy: np }: Jax, { optimizer, lr }: Training): Update {
  if (optimizer === 'sgd')
    return (weights, state, grads, step) => {
      step.dispose();
      const next = Object.entries(weights).map(([name, w]) => [name, w.sub(grads[name]!.mul(lr))] as const);
      return [Object.fromEntries(next), [...state]];
    };
  const [beta1, beta2, eps] = [0.9, 0.999, 1e-8];
  return (weights, [means, squares], grads, step) => {
    const next: [Tree, [Tree, Tree]] = [{}, [{}, {}]];
    const correction = (beta: number): A => np.power(beta, step.ref).mul(-1).add(1);
    const [first, second] = [correction(beta1), correction(beta2)];
    for (const [name, w] of Object.entries(weights)) {
      const g = grads[name]!;
      const m = means[name]!.mul(beta1).add(g.ref.mul(1 - beta1));
      const v = squares[name]!.mul(beta2).add(g.ref.mul(g).mul(1 - beta2));
      const direction = m.ref.div(first.ref).div(np.sqrt(v.ref.div(second.ref)).add(eps));
      next[0][name] = w.sub(direction.mul(lr));
      next[1][0][name] = m;
      next[1][1][name] = v;
    }
    step.dispose();
    return next;
  };
}

function trainer(jax: Jax, row: Row, ops: Ops<A>, inputs: Tree, upload: (x: HostArray) => A): () => A {
  const zeros = (): Tree => uploadAll(row.weights(), ({ shape, data }) => upload({ shape, data: data.map(() => 0) }));
  const update = updateOf(jax, row.training!);
  const gradients = jax.valueAndGrad((weights, x) => row.program(ops, x, weights));
  const step = jax.jit((weights: Tree, state: [Tree, Tree], x: Tree, count: A): [A, Tree, [Tree, Tree]] => {
    const [loss, grads] = gradients(jax.tree.ref(weights), x);
    return [loss, ...update(weights, state, grads, count)];
  });
  let weights = uploadAll(row.weights(), upload);
  let state: [Tree, Tree] = row.training!.optimizer === 'adam' ? [zeros(), zeros()] : [{}, {}];
  let count = 0;
  return () => {
    const at = upload({ shape: [], data: Float32Array.of(++count) });
    const [loss, ...next] = step(weights, state, jax.tree.ref(inputs), at);
    [weights, state] = next;
    return loss;
  };
}

function uploadAll(arrays: HostArrays, upload: (x: HostArray) => A): Tree {
  return Object.fromEntries(Object.entries(arrays).map(([name, x]) => [name, upload(x)]));
}

/** Op by op: `add` alone is compiled (faster here than without), and what a run made is freed at its end. */
function eagerly(jax: Jax, row: Row, ops: Ops<A>, inputs: Tree): () => A {
  const add = jax.jit((a: A, b: A) => jax.numpy.add(a, b));
  return () => {
    const made: A[] = [];
    const note = (x: A): A => made[made.push(x) - 1]!;
    const result = row.program({ ...ops, add: (a, b) => note(add(a.ref, b.ref)) }, inputs, {} as Named<A>);
    for (const x of made) if (x !== result) x.dispose();
    return result;
  };
}

/**
 * jax-js, whole runs compiled by its `jit`. Device "webgpu", or "wasm" for the processor without a driver.
 */
export function jaxOn(device: 'webgpu' | 'wasm'): Adapter {
  return {
    async open(): Promise<Library> {
      addIteratorHelpers();
      const jax = await loadPeer<Jax>('@jax-js/jax');
      if (!(await jax.init(device)).includes(device)) throw new Error(`its ${device} device did not start`);
      jax.defaultDevice(device);
      const ops = opsOf(jax);
      const { numpy: np } = jax;
      const upload = ({ shape, data }: HostArray): A =>
        np.array(data, { shape, dtype: data instanceof Int32Array ? np.int32 : np.float32 });
      const forward = (row: Row, inputs: Tree): (() => A) => {
        const weights = uploadAll(row.weights(), upload);
        const run = jax.jit((w: Tree, x: Tree) => row.program(ops, x, w));
        return () => run(jax.tree.ref(weights), jax.tree.ref(inputs));
      };
      const prepare = (row: Row): Prepared => {
        const inputs = uploadAll(row.inputs(), upload);
        const step = row.training
          ? trainer(jax, row, ops, inputs, upload)
          : row.eager
            ? eagerly(jax, row, ops, inputs)
            : forward(row, inputs);
        let result: A | undefined;
        return {
          run: async () => {
            result?.dispose();
            result = step();
            await result.blockUntilReady();
          },
          read: () => result!.ref.data(),
        };
      };
      return { prepare };
    },
  };
}

export const adapter = jaxOn('webgpu');
export const wasm = jaxOn('wasm');
