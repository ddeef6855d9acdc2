import * as autograd from '../../autograd/index.ts';
import {
  add,
  compile,
  crossEntropy,
  embedding,
  gelu,
  layerNorm,
  linear,
  matmul,
  noGrad,
  permute,
  profile,
  ready,
  relu,
  reshape,
  scaledDotProductAttention,
  scope,
  slice,
  softmax,
  tensor,
  transpose,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import * as optim from '../../train/optim/index.ts';
import type { HostArrays } from '../rows/data.ts';
import type { Ops } from '../rows/ops.ts';
import type { Row } from '../rows/row.ts';
import type { Adapter, Library, Prepared } from './adapter.ts';
import { modelRun } from './tapeform-models.ts';

/** A function of the library's tensors that is called again and again with the same shapes. */
export type Step = (...inputs: Tensor[]) => Tensor;

/** How a step is run: as it is, or captured once and replayed. */
export type Wrap = (step: Step) => Step;

export const ops: Ops<Tensor> = {
  matmul: (a, b, transposeB) => matmul(a, transposeB ? transpose(b) : b),
  linear: (x, weight, bias) => linear(x, weight, bias),
  add: (a, b) => add(a, b),
  relu: (x) => relu(x),
  gelu: (x, approximate) => gelu(x, { approximate }),
  softmax: (x) => softmax(x),
  layerNorm: (x, weight, bias, eps) => layerNorm(x, weight, bias, eps),
  slice: (x, from, to) => slice(x, ...x.shape.slice(1).map(() => null), [from, to]),
  attention: (q, k, v, heads, causal) => {
    const [batch, tokens, width] = q.shape as [number, number, number];
    const split = (x: Tensor): Tensor => permute(reshape(x, [batch, tokens, heads, width / heads]), [0, 2, 1, 3]);
    const y = scaledDotProductAttention(split(q), split(k), split(v), { causal }); // (B, H, T, D/H)
    return reshape(permute(y, [0, 2, 1, 3]), [batch, tokens, width]);
  },
  embedding: (table, ids) => (typeof ids === 'number' ? slice(table, [0, ids]) : embedding(table, ids)),
  crossEntropy: (logits, labels) => crossEntropy(reshape(logits, [-1, logits.shape.at(-1)!]), reshape(labels, [-1])),
};

export function upload(arrays: HostArrays): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(arrays).map(([name, { shape, data }]) => [name, tensor(data, { shape }).keep()]),
  );
}

/** Rows with a model of ours use that; others are written in ops. */
function stepOf(row: Row, names: readonly string[], weights: HostArrays): Step {
  if (row.model) return modelRun(row.model, weights, row.training);
  const parameters = upload(weights);
  return (...inputs) => {
    const named = Object.fromEntries(names.map((name, i) => [name, inputs[i]!]));
    return noGrad(() => row.program(ops, named, parameters));
  };
}

/** Our own library in one of its modes. */
export function tapeform(wrap: Wrap): Adapter {
  return {
    async open(): Promise<Library> {
      const gpu = await ready();
      return {
        prepare(row): Prepared {
          const inputs = upload(row.inputs());
          const step = wrap(stepOf(row, Object.keys(inputs), row.weights()));
          let result: Tensor | undefined;
          return {
            run: () => {
              result?.storage.free();
              using _ = scope();
              result = step(...Object.values(inputs)).keep();
            },
            read: async () => (await result!.data()) as Float32Array,
          };
        },
        prepareOwn({ own }): Prepared {
          const run = own({ tf: autograd, optim, gpu });
          return {
            run: () => {
              using _ = scope();
              run();
            },
            read: () => Promise.resolve([]),
          };
        },
        flush: () => gpu.encoder.flush(),
        cost: async (run) => {
          let [flops, bytes] = [0, 0];
          gpu.encoder.timer = ({ cost }) => {
            flops += cost.flops;
            bytes += cost.bytes;
            return undefined;
          };
          await run().finally(() => (gpu.encoder.timer = undefined));
          return { flops, bytes };
        },
        profile: async (run) => `${await profile(run)}`,
      };
    },
  };
}

export const adapter = tapeform((step) => step);

export const compiled = tapeform((step) => compile(step));
