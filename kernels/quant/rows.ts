import type { Dispatch } from '../../gpu/dispatch.ts';
import { i32, kernel, read, u32 } from '../kernel.ts';
import { sizeOf } from '../layout.ts';
import type { Operand } from '../layout.ts';
import { aliases, bytesMoved, declare, storeElements } from '../map/elements.ts';
import type { Elements } from '../map/elements.ts';
import { quadOf, quantizedBindings, quantizedParams } from './weights.ts';
import type { QuantizedWeight } from './weights.ts';

export interface QuantizedRowsOperands {
  /** The packed table, u32 [rows, words]. It, scales, zeros and minimums [rows, groups] begin at offset 0. */
  readonly b: Operand;
  readonly scales: Operand;
  readonly zeros?: Operand;
  readonly minimums?: Operand;
  /** i32, row-major. */
  readonly index: Operand;
  /** Stores the rows, [..., cols]. */
  readonly y: Elements;
}

const workgroup = 64;

/** Computes y[i, :] = table[index[i], :] of a quantized table; NaN for an index that names no row. */
export function quantizedRows({ b, index, y }: QuantizedRowsOperands, table: QuantizedWeight): Dispatch {
  const [rows, words] = b.shape as [number, number];
  const cols = table.inFeatures;
  const count = sizeOf(index.shape);
  const sink = storeElements('put', y, { width: 4, prefix: 'y_', by: 'row', carries: true });
  return kernel({
    name: 'quantizedRows',
    bindings: [...quantizedBindings(table), read('index', 'i32'), ...sink.operands, ...sink.outputs],
    declarations: `${aliases(y.compute, 4)}\n${declare(sink)}\n${quadOf(table)}`,
    params: {
      ...sink.params,
      ...quantizedParams(table),
      n: u32((count * cols) / 4),
      rows: i32(rows),
      cols: u32(cols / 4),
      io: u32(index.offset),
    },
    workgroup,
    groups: Math.ceil((count * cols) / 4 / workgroup),
    cost: { flops: count * cols * (2 + sink.flops), bytes: count * (4 * words + 4) + bytesMoved(y, true) },
    body: `
if (id >= p.n) { return; }
let i = id / p.cols; let c = id % p.cols;
let row = index[p.io + i];
var bits = 0x7fc00000u;
var value = V(bitcast<f32>(bits));
if (row >= 0 && row < p.rows) { value = quad(u32(row), 4u * c); }
put(i, c, value);`,
  });
}
