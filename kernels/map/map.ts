import type { Dispatch } from '../../gpu/dispatch.ts';
import { kernel, u32 } from '../kernel.ts';
import { collapse, contiguousLayout, sizeOf, vectorises } from '../layout.ts';
import { aliases, bytesMoved, declare, storeElements } from './elements.ts';
import type { Elements, Width } from './elements.ts';

/**
 * Threads of a workgroup, and units (elements or vec4s) of a thread. Large maps take more of both: a
 * workgroup costs a software driver about as much as a hundred loads. Milliseconds of a copy of 16 MB on
 * llvmpipe: 64 x 1 12.9, 256 x 1 10.9, 256 x 4 6.3, 1024 x 4 6.2, 64 x 4 28. All units are loaded before one
 * is stored, so that loads wait for memory together: GELU of 16 MB 1.2 times as fast.
 */
const small = { workgroup: 64, units: 1 };
const large = { workgroup: 256, units: 4 };
const manyThreads = 2 ** 16;

/**
 * Computes elementwise expressions of strided operands into strided outputs. Variants: a thread takes four
 * neighbours of the last axis where every operand allows it (a vec4, or one value for the four), else one
 * element. Bindings: the operands, without those updated in place, then the outputs.
 *
 * @example
 * const layout = contiguousLayout([1000]);
 * const x = { dtype: 'f32', kind: 'v', layout } as const;
 * const outputs = [{ expr: expr.mul(2, expr.input(0)), dtype: 'f32' }] as const;
 * const elements = { shape: [1000], operands: [x], outputs, scalars: [], compute: 'f32' } as const;
 * map({ elements }, { name: 'double' }).names; // ['a0', 'y0']
 */
export function map({ elements }: { readonly elements: Elements }, { name }: { readonly name: string }): Dispatch {
  const { shape, compute } = elements;
  const width = mapWidth(elements);
  const threads = Math.ceil(sizeOf(shape) / width);
  const { workgroup, units } = threads >= manyThreads ? large : small;
  const split = units > 1 && elements.operands.length > 0;
  const code = storeElements('store', elements, { width, split });
  const unit = (u: number): string => (units === 1 ? 'id' : `group * ${workgroup * units}u + ${u * workgroup}u + lane`);
  const at = width === 4 ? ' * 4u' : '';
  const each = (fn: (u: number) => string): string => Array.from({ length: units }, (_, u) => fn(u)).join('\n');
  return kernel({
    name,
    bindings: [...code.operands, ...code.outputs],
    params: { n: u32(threads), ...code.params },
    workgroup,
    groups: Math.ceil(threads / (workgroup * units)),
    cost: { flops: sizeOf(shape) * Math.max(1, code.flops), bytes: bytesMoved(elements, true) },
    declarations: `${aliases(compute, width)}\n${declare(code)}`,
    body: `
${each((u) => `let i${u} = ${unit(u)};`)}
${split ? each((u) => `let x${u} = store_load(i${u}${at});`) : ''}
${each((u) => `if (i${u} < p.n) { store(i${u}${at}${split ? `, x${u}` : ''}); }`)}`,
  });
}

/**
 * Returns 4 where every operand and output allows it, else 1. The length of the last axis must be a multiple
 * of 4, except of contiguous fresh outputs, which have padding behind them.
 */
function mapWidth({ shape, operands, outputs }: Elements): Width {
  const stored = outputs.map(({ layout }) => layout ?? contiguousLayout(shape));
  const layouts = [...operands.map(({ layout }) => layout), ...stored];
  const merged = collapse(
    shape,
    layouts.map(({ strides }) => strides),
  );
  const rank = merged.shape.length;
  const inner = merged.shape[rank - 1] ?? 1;
  const fits = inner % 4 === 0 || (rank <= 1 && outputs.every(({ fresh }) => fresh));
  const contiguous = stored.every((_, k) => rank === 0 || merged.strides[operands.length + k]![rank - 1] === 1);
  return fits && contiguous && layouts.every(({ offset }, k) => vectorises(offset, merged.strides[k]!)) ? 4 : 1;
}
