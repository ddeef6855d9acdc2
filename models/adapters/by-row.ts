import {
  add,
  assign,
  embedding,
  eq,
  indexSelect,
  matmul,
  mul,
  noGrad,
  pad,
  reshape,
  stack,
  tensor,
  transpose,
  where,
  zeros,
} from '../../autograd/index.ts';
import { Tensor } from '../../autograd/tensor.ts';
import { showShape } from '../names.ts';
import { Embedding } from '../nn/embedding.ts';
import type { LoraLayer } from './lora.ts';

/** PEFT's name for no adapter, in a list of names for the rows of a batch. */
export const noAdapter = '__base__';

/** Which of a model's adapters each row of a batch has, on the device: a compiled step replays with any. */
export class AdapterRows {
  /** i32 [B]: the number of the row's adapter, as many as there are for none. */
  readonly index: Tensor;

  constructor(batch: number) {
    this.index = noGrad(() => zeros([batch], { dtype: 'i32' })).keep();
  }

  get batch(): number {
    return this.index.shape[0]!;
  }

  /** Gives row i the adapter names[i], one of `all` or none. */
  set(names: readonly string[], all: readonly string[]): void {
    const numbers = names.map((name) => (name === noAdapter ? all.length : all.indexOf(name)));
    noGrad(() => assign(this.index, tensor(numbers, { shape: [this.batch], dtype: 'i32' })));
  }
}

/**
 * The matrices of all adapters of one layer, one behind the other, with zeros behind them for none: A (N + 1,
 * r, in), B (N + 1, out, r), which has the factors. Smaller ranks are filled with zeros.
 */
export interface LowRankStack {
  readonly a: Tensor;
  readonly b: Tensor;
}

export function stackOf(layers: readonly (LoraLayer | undefined)[]): LowRankStack {
  const rank = Math.max(...layers.map((layer) => layer?.a.shape[0] ?? 1));
  const [first] = layers.filter((layer) => layer !== undefined);
  const [into, out] = [first!.a.shape[1]!, first!.b.shape[0]!];
  const all = [...layers, undefined];
  const a = all.map((layer) =>
    layer
      ? pad(layer.a, [
          [0, rank - layer.a.shape[0]!],
          [0, 0],
        ])
      : zeros([rank, into]),
  );
  const b = all.map((layer) =>
    layer
      ? mul(
          pad(layer.b, [
            [0, 0],
            [0, rank - layer.b.shape[1]!],
          ]),
          layer.scaling,
        )
      : zeros([out, rank]),
  );
  return { a: stack(a), b: stack(b) };
}

/**
 * A layer's output (B, ..., out) of its input x (B, ..., in), or indices (B, T), with each row's own adapter.
 */
export function lowRankByRow(
  output: Tensor,
  x: Tensor,
  { a, b }: LowRankStack,
  rows: AdapterRows,
  layer: object,
): Tensor {
  const isTable = layer instanceof Embedding;
  if (x.ndim < 2 || x.shape[0] !== rows.batch)
    throw new Error(`adapters by row: the layer's input is ${showShape(x.shape)}, and ${rows.batch} rows have names`);
  const down = transpose(indexSelect(b, 0, rows.index), 1, 2); // (B, r, out)
  const low = isTable ? rowsOfTables(a, x, rows) : lowOf(a, x, rows); // (B, T, r)
  return add(output, reshape(matmul(low, down), output.shape));
}

/** x (B, ..., in) by A of each row, (B, T, r). */
function lowOf(a: Tensor, x: Tensor, rows: AdapterRows): Tensor {
  const wide = reshape(x, [rows.batch, -1, x.shape.at(-1)!]); // (B, T, in)
  return matmul(wide, transpose(indexSelect(a, 0, rows.index), 1, 2));
}

/** Column index[b, t] of A of row b, (B, T, r). */
function rowsOfTables(a: Tensor, index: Tensor, rows: AdapterRows): Tensor {
  const [adapters, rank, count] = a.shape as [number, number, number];
  const tables = reshape(transpose(a, 1, 2), [adapters * count, rank]);
  const begin = reshape(mul(rows.index, count), [rows.batch, 1]);
  return embedding(tables, add(reshape(index, [rows.batch, -1]), begin));
}

/** Of outputs of a module by number of adapter, undefined where it is the base's: each row's own. */
export function chooseByRow(base: unknown, copies: readonly unknown[], rows: AdapterRows): unknown {
  return copies.reduce((chosen, copy, number) => {
    if (copy === undefined) return chosen;
    if (!(chosen instanceof Tensor && copy instanceof Tensor && chosen.shape[0] === rows.batch))
      throw new Error(`adapters by row: a module that is trained whole must give a tensor of ${rows.batch} rows`);
    const own = reshape(eq(rows.index, number), [rows.batch, ...chosen.shape.slice(1).map(() => 1)]);
    return where(own, copy, chosen);
  }, base);
}
