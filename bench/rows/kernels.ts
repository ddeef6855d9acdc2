import { noise } from './data.ts';
import type { HostArrays } from './data.ts';
import type { Row } from './row.ts';

const none = (): HostArrays => ({});
const base = { dtype: 'f32', weights: none } as const;

/** Dot products in float64, relative to the size of their terms: 1e-5 x sqrt(K). */
function square(n: number): Row {
  return {
    ...base,
    name: 'matmul',
    shape: `${n}x${n}x${n}`,
    flops: 2 * n ** 3,
    bytes: 12 * n ** 2,
    size: n ** 2,
    inputs: () => ({ a: noise('a', [n, n]), b: noise('b', [n, n]) }),
    program: (ops, { a, b }) => ops.matmul(a!, b!, false),
    reference: ({ a, b }) => {
      const [x, y] = [a!.data, b!.data];
      return (i) => {
        const [row, col] = [Math.floor(i / n), i % n];
        let sum = 0;
        for (let k = 0; k < n; k++) sum += x[row * n + k]! * y[k * n + col]!;
        return sum;
      };
    },
    tolerance: 1e-5 * Math.sqrt(n),
    control: n === 512,
  };
}

const heads = [8, 12, 128, 64] as const; // batch, heads, tokens, width of a head

function batched(name: string, scores: boolean): Row {
  const [batch, count, tokens, width] = heads;
  const b = batch * count;
  const [k, n] = scores ? [width, tokens] : [tokens, width];
  return {
    ...base,
    name,
    shape: `${batch}x${count}x${tokens}x${width}`,
    flops: 2 * b * tokens * tokens * width,
    size: b * tokens * n,
    bytes: 4 * b * (tokens * k + k * n + tokens * n),
    inputs: () => ({
      a: noise('a', [batch, count, tokens, k]),
      b: noise('b', scores ? [batch, count, n, k] : [batch, count, k, n]),
    }),
    program: (ops, { a, b: right }) => ops.matmul(a!, right!, scores),
    reference: ({ a, b: right }) => {
      const [x, y] = [a!.data, right!.data];
      return (i) => {
        const [z, row, col] = [Math.floor(i / (tokens * n)), Math.floor(i / n) % tokens, i % n];
        let sum = 0;
        for (let q = 0; q < k; q++)
          sum += x[(z * tokens + row) * k + q]! * y[z * k * n + (scores ? col * k + q : q * n + col)]!;
        return sum;
      };
    },
    tolerance: 1e-4,
  };
}

function softmax(rows: number, width: number): Row {
  return {
    ...base,
    name: 'softmax',
    shape: `${rows}x${width}`,
    flops: 5 * rows * width,
    bytes: 8 * rows * width,
    size: rows * width,
    inputs: () => ({ x: noise('x', [rows, width], 2) }),
    program: (ops, { x }) => ops.softmax(x!),
    reference: ({ x }) => {
      const { data } = x!;
      return (i) => {
        const row = Array.from(data.subarray(i - (i % width), i - (i % width) + width));
        const top = Math.max(...row);
        return Math.exp(data[i]! - top) / row.reduce((sum, v) => sum + Math.exp(v - top), 0);
      };
    },
    tolerance: 1e-6,
    control: true,
  };
}

function layerNorm(rows: number, width: number): Row {
  return {
    ...base,
    name: 'layer norm',
    shape: `${rows}x${width}`,
    flops: 8 * rows * width,
    bytes: 8 * rows * width,
    size: rows * width,
    inputs: () => ({ x: noise('x', [rows, width], 2) }),
    weights: () => ({ weight: noise('weight', [width]), bias: noise('bias', [width]) }),
    program: (ops, { x }, { weight, bias }) => ops.layerNorm(x!, weight!, bias!, 1e-5),
    reference: ({ x }) => {
      const { data } = x!;
      const [weight, bias] = [noise('weight', [width]).data, noise('bias', [width]).data];
      return (i) => {
        const row = data.subarray(i - (i % width), i - (i % width) + width);
        let [sum, squares] = [0, 0];
        for (const v of row) sum += v;
        for (const v of row) squares += (v - sum / width) ** 2;
        const unit = (data[i]! - sum / width) / Math.sqrt(squares / width + 1e-5);
        return unit * weight[i % width]! + bias[i % width]!;
      };
    },
    tolerance: 1e-5,
  };
}

/** By the error function. */
function gelu(count: number): Row {
  return {
    ...base,
    name: 'gelu',
    shape: `${count}`,
    flops: 30 * count,
    bytes: 8 * count,
    size: count,
    inputs: () => ({ x: noise('x', [1024, count / 1024], 2) }),
    program: (ops, { x }) => ops.gelu(x!, 'none'),
    tolerance: 1e-5,
  };
}

/**
 * Overhead: a thousand calls, so that milliseconds read as microseconds a call. Each addition needs the one
 * before and has next to no arithmetic.
 */
function adds(width: number): Row {
  const calls = 1000;
  return {
    ...base,
    name: `${calls} chained adds`,
    shape: `${width} elements (ms = us each)`,
    flops: calls * width,
    bytes: 12 * calls * width,
    size: width,
    inputs: () => ({ x: noise('x', [width]), one: noise('one', [width]) }),
    program: (ops, { x, one }) => {
      let y = ops.add(x!, one!);
      for (let i = 1; i < calls; i++) y = ops.add(y, one!);
      return y;
    },
    reference:
      ({ x, one }) =>
      (i) =>
        x!.data[i]! + calls * one!.data[i]!,
    tolerance: 1e-3, // each addition rounds
    eager: true,
  };
}

export const kernelRows: readonly Row[] = [
  square(512),
  square(1024),
  batched('attention scores', true),
  batched('attention values', false),
  softmax(512, 1024),
  layerNorm(512, 768),
  gelu(2 ** 22),
  adds(16),
];
