import type { Dispatch } from '../../gpu/dispatch.ts';
import { bytesOf, kernel, read, u32, write } from '../kernel.ts';
import { headBase, headsUniforms, vec4Of } from './params.ts';
import type { HeadsOperand } from './params.ts';

export interface AttentionDeltaParams {
  readonly batch: number;
  readonly heads: number;
  readonly queries: number;
  readonly width: number;
  readonly dtype: 'f32' | 'f16';
  readonly y: HeadsOperand;
  readonly g: HeadsOperand;
}

const workgroup = 64;

/**
 * What the backward pass reads of each query: (largest score, log of the sum above it, g . y, 0); the last is
 * what softmax subtracts from each score's gradient. Bindings y, g, stats, rows [B, H, Tq] of vec4.
 */
export function attentionDelta({ batch, heads, queries, width, dtype, y, g }: AttentionDeltaParams): Dispatch {
  const rows = batch * heads * queries;
  const type = vec4Of(dtype);
  return kernel({
    name: 'attentionDelta',
    bindings: [read('y', type), read('g', type), read('stats', 'vec2<f32>'), write('rows', 'vec4<f32>')],
    params: {
      n: u32(rows),
      heads: u32(heads),
      tq: u32(queries),
      columns: u32(width / 4),
      ...headsUniforms('y', y),
      ...headsUniforms('g', g),
    },
    workgroup,
    groups: Math.ceil(rows / workgroup),
    cost: { flops: 2 * rows * width, bytes: rows * (2 * width * bytesOf(dtype) + 24) },
    body: `
if (id >= p.n) { return; }
let t = i32(id % p.tq); let head = id / p.tq;
let b = head / p.heads; let h = head % p.heads;
${headBase('y')}
${headBase('g')}
var sum = vec4<f32>();
for (var c = 0; c < i32(p.columns); c++) {
  sum = fma(vec4<f32>(y[yBase + t * p.yt + c]), vec4<f32>(g[gBase + t * p.gt + c]), sum);
}
rows[id] = vec4<f32>(stats[id], (sum.x + sum.y) + (sum.z + sum.w), 0.0);`,
  });
}
