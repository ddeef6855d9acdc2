import type { Dispatch } from '../../gpu/dispatch.ts';
import { read, storedType } from '../kernel.ts';
import { quantizedBindings } from '../quant/weights.ts';
import { batchBases, assembleMatmul, sumOverK } from './product.ts';
import type { Product } from './product.ts';

const workgroup = 64;

/**
 * The obviously right version: one thread an output, any strides. Also used for products too small to tile.
 */
export function matmulPlain(params: Product): Dispatch {
  const { m, n, batch, a, b, sums } = params;
  // A quantized weight is contiguous along k, or along the outputs.
  const quads = b.row === 1 ? 'quad(j, u32(k) / 4u * 4u)[k % 4]' : 'quad(u32(k), j / 4u * 4u)[j % 4u]';
  const weight = b.quantized ? quads : 'f32(b[bBase + k * p.br + i32(j) * p.bc])';
  const [own, other] = sums?.of === 'a' ? ['i', 'j'] : ['j', 'i'];
  const putSum = sums && `if (${other} == 0u) { sums[${own}] = ${storedType(sums.dtype)}(sumOverK(${own})); }`;
  return assembleMatmul(params, {
    name: 'matmul.plain',
    inputs: [
      read('a', storedType(a.dtype)),
      ...(b.quantized ? quantizedBindings(b.quantized) : [read('b', storedType(b.dtype))]),
    ],
    single: true,
    workgroup,
    groups: Math.ceil((batch[0] * batch[1] * m * n) / workgroup),
    declarations: sumOverK(params, false),
    body: `
let mn = p.m * p.n;
let z = id / mn;
if (z >= p.batch) { return; }
let i = (id % mn) / p.n; let j = id % p.n;
${batchBases}
var acc = 0.0;
for (var k = 0; k < i32(p.k); k++) {
  acc += f32(a[aBase + i32(i) * p.ar + k * p.ac]) * ${weight};
}
finish(id, j, acc);
${putSum ?? ''}`,
  });
}
