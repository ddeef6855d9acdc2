import type { Dispatch } from '../../gpu/dispatch.ts';
import { bytesOf, kernel, read, u32 } from '../kernel.ts';
import { finish, matmulBindings, matmulUniforms, storesVec4, vec4 } from './params.ts';
import type { MatmulParams, MatrixOperand } from './params.ts';

/**
 * Split-K, for outputs too few to fill the device: parts of k are multiplied as one more batch axis, then added up in order, so that results are the same on every run.
 * Only products with at most one batch axis are split, into parts of whole multiples of 8.
 */
export function canSplit({ batch, k, sums }: Pick<MatmulParams, 'batch' | 'k' | 'sums'>, splits: number): boolean {
  return !sums && (batch[0] === 1 || batch[1] === 1) && k % (8 * splits) === 0;
}

/** The product whose outputs [batch, splits, m, n], in f32, are the parts. */
export function splitProduct(params: MatmulParams, splits: number): MatmulParams {
  const { batch, k, a, b } = params;
  const part = k / splits;
  const kept = batch[0] === 1 ? 1 : 0;
  const operand = (x: MatrixOperand, strideK: number): MatrixOperand => ({
    ...x,
    batch: [x.batch[kept], part * strideK],
  });
  return {
    ...params,
    k: part,
    batch: [batch[kept], splits],
    a: operand(a, a.col),
    b: operand(b, b.row),
    bias: undefined,
    epilogue: undefined,
    output: 'f32',
  };
}

/** Adds up the parts, with what else happens to the outputs of the whole product. Bindings: parts, (bias,) outputs. */
export function sumSplits(params: MatmulParams, splits: number): Dispatch {
  const { m, n, batch, output } = params;
  const wide = storesVec4(params);
  const each = wide ? 4 : 1;
  const size = batch[0] * batch[1] * m * n;
  const type = vec4(wide, 'f32');
  const [, , ...rest] = matmulBindings(params, 'f32', 'f32');
  return kernel({
    name: 'matmul.sumSplits',
    bindings: [read('parts', type), ...rest],
    params: { ...matmulUniforms(params), splits: u32(splits) },
    workgroup: 64,
    groups: Math.ceil(size / each / 64),
    cost: { flops: size * splits, bytes: size * (4 * splits + bytesOf(output)) },
    declarations: finish(params),
    body: `
let mn = p.m * p.n / ${each}u;
let z = id / mn;
if (z >= p.batch) { return; }
let at = id % mn;
var sum = ${type}();
for (var s = 0u; s < p.splits; s++) { sum += parts[(z * p.splits + s) * mn + at]; }
finish(id * ${each}u, (at * ${each}u) % p.n, sum);`,
  });
}
