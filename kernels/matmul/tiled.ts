import type { Dispatch } from '../../gpu/dispatch.ts';
import { kernel, storedType } from '../kernel.ts';
import { batchBases, matmulBindings, matmulCost, matmulUniforms } from './params.ts';
import type { MatmulParams } from './params.ts';

const tile = 64; // rows and columns of the output a workgroup makes
const slab = 16; // of k, staged in workgroup memory
const side = 16; // threads along each side; each makes a 4 x 4 block in registers
const workgroup = side * side;

/**
 * For GPUs: 64 x 64 outputs a workgroup, slabs of 16 along k staged in workgroup memory, 4 x 4 outputs a thread. Operands of any strides;
 * neighbouring threads load along whichever axis is contiguous. Out-of-range elements are staged as zeros, so any size works.
 */
export function matmulTiled(params: MatmulParams): Dispatch {
  const { m, n, batch, a, b, bias, output } = params;
  const perThread = (tile * slab) / workgroup;
  // Element e of a slab: its position along the tile and along k, the contiguous one fastest.
  const along = (kFast: boolean, e: string): [string, string] =>
    kFast ? [`${e} / ${slab}u`, `${e} % ${slab}u`] : [`${e} % ${tile}u`, `${e} / ${tile}u`];
  const [aRow, aK] = along(a.col === 1, 'e');
  const [bCol, bK] = along(b.row === 1, 'e');
  return kernel({
    name: 'matmul.tiled',
    bindings: matmulBindings(params, storedType(a.dtype), storedType(b.dtype), storedType(output)),
    params: matmulUniforms(params),
    workgroup,
    groups: Math.ceil(m / tile) * Math.ceil(n / tile) * batch[0] * batch[1],
    cost: matmulCost(params),
    declarations: `
var<workgroup> as_: array<f32, ${slab * tile}>;
var<workgroup> bs_: array<f32, ${slab * tile}>;`,
    body: `
let tilesN = (p.n + ${tile - 1}u) / ${tile}u;
let tilesM = (p.m + ${tile - 1}u) / ${tile}u;
let z = group / (tilesN * tilesM);
if (z >= p.batch) { return; }
let row0 = ((group / tilesN) % tilesM) * ${tile}u;
let col0 = (group % tilesN) * ${tile}u;
${batchBases}
let ty = (lane / ${side}u) * 4u; let tx = (lane % ${side}u) * 4u;
var acc: array<vec4<f32>, 4>;
for (var k0 = 0u; k0 < p.k; k0 += ${slab}u) {
  for (var s = 0u; s < ${perThread}u; s++) {
    let e = s * ${workgroup}u + lane;
    let ar = ${aRow}; let ak = ${aK};
    var av = 0.0;
    if (row0 + ar < p.m && k0 + ak < p.k) { av = f32(a[aBase + i32(row0 + ar) * p.ar + i32(k0 + ak) * p.ac]); }
    as_[ak * ${tile}u + ar] = av;
    let bc = ${bCol}; let bk = ${bK};
    var bv = 0.0;
    if (col0 + bc < p.n && k0 + bk < p.k) { bv = f32(b[bBase + i32(k0 + bk) * p.br + i32(col0 + bc) * p.bc]); }
    bs_[bk * ${tile}u + bc] = bv;
  }
  workgroupBarrier();
  for (var k = 0u; k < ${slab}u; k++) {
    let o = k * ${tile}u;
    let v = vec4<f32>(bs_[o + tx], bs_[o + tx + 1u], bs_[o + tx + 2u], bs_[o + tx + 3u]);
    for (var r = 0u; r < 4u; r++) { acc[r] = fma(vec4<f32>(as_[o + ty + r]), v, acc[r]); }
  }
  workgroupBarrier();
}
for (var r = 0u; r < 4u; r++) {
  let i = row0 + ty + r;
  if (i >= p.m) { continue; }
  for (var q = 0u; q < 4u; q++) {
    let j = col0 + tx + q;
    if (j < p.n) { c[cBase + i * p.n + j] = ${storedType(output)}(acc[r][q]${bias ? ' + f32(bias[p.biasO + i32(j) * p.biasS])' : ''}); }
  }
}`,
  });
}
