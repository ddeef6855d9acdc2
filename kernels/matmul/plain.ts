import type { Dispatch } from '../../gpu/dispatch.ts';
import { kernel, storedType } from '../kernel.ts';
import { batchBases, finish, matmulBindings, matmulCost, matmulUniforms } from './params.ts';
import type { MatmulParams } from './params.ts';
import { sumOverK } from './sums.ts';

const workgroup = 64;

/** The obviously right version: one thread an output, any strides. Also the choice for products too small to tile. */
export function matmulPlain(params: MatmulParams): Dispatch {
  const { m, n, batch, a, b, sums } = params;
  return kernel({
    name: 'matmul.plain',
    bindings: matmulBindings(params, storedType(a.dtype), storedType(b.dtype), false),
    params: matmulUniforms(params, false),
    workgroup,
    groups: Math.ceil((batch[0] * batch[1] * m * n) / workgroup),
    cost: matmulCost(params),
    declarations: `${finish(params, false)}${sumOverK(params, false)}`,
    body: `
let mn = p.m * p.n;
let z = id / mn;
if (z >= p.batch) { return; }
let i = (id % mn) / p.n; let j = id % p.n;
${batchBases}
var acc = 0.0;
for (var k = 0; k < i32(p.k); k++) {
  acc += f32(a[aBase + i32(i) * p.ar + k * p.ac]) * f32(b[bBase + k * p.br + i32(j) * p.bc]);
}
finish(id, j, acc);
${sums ? `if (${sums.of === 'a' ? 'j' : 'i'} == 0u) { sums[${sums.of === 'a' ? 'i' : 'j'}] = ${storedType(sums.dtype)}(sumOverK(${sums.of === 'a' ? 'i' : 'j'})); }` : ''}`,
  });
}
