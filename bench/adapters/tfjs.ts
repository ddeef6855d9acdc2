import type { HostArray } from '../rows/data.ts';
import type { Ops } from '../rows/ops.ts';
import type { Named, Row, Training } from '../rows/row.ts';
import { loadPeer } from './adapter.ts';
import type { Adapter, Library, Prepared } from './adapter.ts';

/** Declares the used part of @tensorflow/tfjs-core, which is not installed with the project. */
interface T {
  readonly shape: number[];
  data(): Promise<Float32Array>;
  dispose(): void;
}
interface Optimizer {
  minimize(loss: () => T, returnCost: boolean): T;
}
interface Tf {
  setBackend(name: string): Promise<boolean>;
  getBackend(): string;
  env(): { set(flag: string, value: boolean): void };
  backend(): { commandEncoder: unknown; endComputePassEncoder(): void; submitQueue(): void };
  tidy(fn: () => T): T;
  tensor(data: HostArray['data'], shape: readonly number[], dtype: string): T;
  variable(initial: T): T;
  train: {
    sgd(lr: number): Optimizer;
    adam(lr: number, beta1: number, beta2: number, epsilon: number): Optimizer;
  };
  matMul(a: T, b: T, transposeA: boolean, transposeB: boolean): T;
  fused: { matMul(o: { a: T; b: T; transposeB: boolean; bias?: T }): T };
  moments(x: T, axis: number, keepDims: boolean): { mean: T; variance: T };
  losses: { softmaxCrossEntropy(labels: T, logits: T): T };
  oneHot(x: T, depth: number): T;
  slice(x: T, begin: number[], size: number[]): T;
  reshape(x: T, shape: number[]): T;
  transpose(x: T, axes: number[]): T;
  gather(x: T, ids: T): T;
  [unary: string]: unknown;
}

const sqrt2OverPi = Math.sqrt(2 / Math.PI);

function opsOf(tf: Tf): Ops<T> {
  const binary = (name: string) => tf[name] as (a: T | number, b: T | number) => T;
  const unary = (name: string) => tf[name] as (a: T) => T;
  const [add, sub, mul] = [binary('add'), binary('sub'), binary('mul')];
  const [relu, tanh, erf, rsqrt, softmax] = ['relu', 'tanh', 'erf', 'rsqrt', 'softmax'].map(unary) as [
    (x: T) => T,
    (x: T) => T,
    (x: T) => T,
    (x: T) => T,
    (x: T) => T,
  ];
  const flat = (x: T): T => tf.reshape(x, [-1, x.shape.at(-1)!]);
  const masks = new Map<number, T>();
  const causalMask = (tokens: number): T => {
    let mask = masks.get(tokens);
    if (!mask) {
      const allowed = new Float32Array(tokens * tokens);
      for (let i = 0; i < tokens; i++) allowed.fill(-1e9, i * tokens + i + 1, (i + 1) * tokens);
      mask = tf.variable(tf.tensor(allowed, [1, 1, tokens, tokens], 'float32')); // outlives the tidy
      masks.set(tokens, mask);
    }
    return mask;
  };
  return {
    matmul: (a, b, transposeB) => tf.matMul(a, b, false, transposeB),
    linear: (x, weight, bias) => {
      const y = tf.fused.matMul({ a: flat(x), b: weight, transposeB: true, bias });
      return tf.reshape(y, [...x.shape.slice(0, -1), weight.shape[0]!]);
    },
    add,
    relu,
    gelu: (x, approximate) => {
      const inner =
        approximate === 'none'
          ? erf(mul(x, Math.SQRT1_2))
          : tanh(mul(sqrt2OverPi, add(x, mul(0.044715, mul(x, mul(x, x))))));
      return mul(mul(x, 0.5), add(inner, 1));
    },
    softmax,
    layerNorm: (x, weight, bias, eps) => {
      const { mean, variance } = tf.moments(x, -1, true);
      return add(mul(mul(sub(x, mean), rsqrt(add(variance, eps))), weight), bias);
    },
    slice: (x, from, to) => tf.slice(x, [...x.shape.slice(1).map(() => 0), from], [...x.shape.slice(0, -1), to - from]),
    attention: (q, k, v, heads, causal) => {
      const [batch, tokens, width] = q.shape as [number, number, number];
      const split = (x: T): T => tf.transpose(tf.reshape(x, [batch, tokens, heads, width / heads]), [0, 2, 1, 3]);
      let scores = mul(tf.matMul(split(q), split(k), false, true), 1 / Math.sqrt(width / heads)); // (B, H, T, T)
      if (causal) scores = add(scores, causalMask(tokens));
      const y = tf.matMul(softmax(scores), split(v), false, false); // (B, H, T, D/H)
      return tf.reshape(tf.transpose(y, [0, 2, 1, 3]), [batch, tokens, width]);
    },
    embedding: (table, ids) =>
      typeof ids === 'number' ? tf.slice(table, [0, 0], [ids, table.shape[1]!]) : tf.gather(table, ids),
    crossEntropy: (logits, labels) =>
      tf.losses.softmaxCrossEntropy(tf.oneHot(tf.reshape(labels, [-1]), logits.shape.at(-1)!), flat(logits)),
  };
}

/** TensorFlow.js on its WebGPU backend. */
export const adapter: Adapter = {
  async open(): Promise<Library> {
    const tf = await loadPeer<Tf>('@tensorflow/tfjs-core');
    await loadPeer('@tensorflow/tfjs-backend-webgpu');
    await loadPeer('@tensorflow/tfjs-layers'); // registers the gradients, which core's build for Node lacks
    if (!(await tf.setBackend('webgpu'))) throw new Error('its webgpu backend did not start');
    tf.env().set('WEBGPU_CPU_FORWARD', false); // else small ops run in JavaScript
    const ops = opsOf(tf);
    const upload = ({ data, shape }: HostArray): T =>
      tf.tensor(data, shape, data instanceof Int32Array ? 'int32' : 'float32');
    const all = (arrays: Readonly<Record<string, HostArray>>, make: (x: HostArray) => T): Named<T> =>
      Object.fromEntries(Object.entries(arrays).map(([name, x]) => [name, make(x)]));
    const optimizerOf = ({ optimizer, lr }: Training): Optimizer =>
      optimizer === 'sgd' ? tf.train.sgd(lr) : tf.train.adam(lr, 0.9, 0.999, 1e-8);

    const prepare = (row: Row): Prepared => {
      const inputs = all(row.inputs(), upload);
      const weights = all(row.weights(), (x) => (row.training ? tf.variable(upload(x)) : upload(x)));
      const program = (): T => row.program(ops, inputs, weights);
      const optimizer = row.training && optimizerOf(row.training);
      let result: T | undefined;
      return {
        run: () => {
          result?.dispose();
          result = optimizer ? optimizer.minimize(program, true) : tf.tidy(program);
        },
        read: () => result!.data(),
        dispose: () => [result, ...Object.values(inputs), ...Object.values(weights)].forEach((x) => x?.dispose()),
      };
    };
    return {
      prepare,
      flush: () => {
        const backend = tf.backend();
        backend.endComputePassEncoder();
        if (backend.commandEncoder) backend.submitQueue();
      },
    };
  },
};
