import type { Dispatch } from '../../gpu/dispatch.ts';
import { bytesOf, kernel, write } from '../kernel.ts';
import { attentionUniforms, headBase, headsUniforms, inputBases, inputBindings, scoreCount, vec4Of } from './params.ts';
import type { AttentionParams, HeadsOperand } from './params.ts';
import { RowCode } from './rows.ts';
import { ScoreCode } from './scores.ts';
import { rowsOf, threadsOf } from './walk.ts';
import type { Walk } from './walk.ts';

export interface AttentionForwardParams extends AttentionParams {
  readonly y: HeadsOperand;
  readonly walk: Walk;
}

/**
 * softmax(q k^T scale + mask) v without the scores in memory: rows of queries walk along keys and values with
 * a running maximum and sum (Milakov and Gimelshein 2018; Dao et al. 2022). Bindings q, k, v, (mask,) y,
 * stats; stats f32 [B, H, Tq, 2] holds each row's largest score and the logarithm of its sum of exponentials
 * above it (apart, since their sum would be rounded to the larger's precision).
 */
export function attentionForward(params: AttentionForwardParams): Dispatch {
  const { batch, heads, queries, keys, width, dtype, causal, y, walk } = params;
  const code = new RowCode(walk, width);
  const scores = new ScoreCode(params, code, 'queries', 4);
  const type = vec4Of(dtype);
  const softmax = (r: number): string => `
let top${r} = max(max(m${r}, max(s${r}.x, s${r}.y)), max(s${r}.z, s${r}.w));
let fix${r} = exp(m${r} - top${r});
m${r} = top${r};
let w${r} = exp(s${r} - top${r});
l${r} = fma(l${r}, fix${r}, (w${r}.x + w${r}.y) + (w${r}.z + w${r}.w));
let kept_w${r} = ${scores.dropped(r, `w${r}`)};`;
  const block = `
${code.forRows((r) => `var s${r} = vec4<f32>();`)}
${code.tokens('p.tk', ['k'], `${code.dot('one', 'q', 'k', 0)}\n${code.collect('s', 'one')}`)}
${code.exchange(['s'])}
${scores.apply()}
${scores.keep()}
${code.forRows(softmax)}
${code.scaleRows('o', 'fix')}
${code.tokens(
  'p.tk',
  ['v'],
  code.accumulate('o', (r) => `kept_w${r}[e]`, 'v', 1),
)}`;
  const bytes = batch * heads * (2 * queries + 2 * keys) * width * bytesOf(dtype);
  return kernel({
    name: `attention.${walk.tile > 0 ? 'tiled' : 'lanes'}`,
    bindings: [...inputBindings(params), write('y', type), write('stats', 'f32')],
    params: { ...headsUniforms('y', y), ...attentionUniforms(params) },
    workgroup: threadsOf(walk),
    groups: batch * heads * Math.ceil(queries / rowsOf(walk)),
    cost: { flops: 4 * scoreCount(params) * width, bytes },
    declarations: `${code.shared(1)}\n${ScoreCode.declarations(params)}`,
    body: `${code.place('group', 'p.tq', causal)}
${inputBases(params)}
${headBase('y')}
${code.loadRows('q', 'q', ' * p.scale')}
${ScoreCode.prepare(params)}
${code.forRows((r) => `var m${r} = -3e38; var l${r} = 0.0;`)}
${code.zeroRows('o')}
let end = ${causal ? `min(p.tk, start + ${rowsOf(walk)}u)` : 'p.tk'};
${code.blocks('0u', 'end', 'p.tk', ['k', 'v'], block)}
${code.storeRows('o', (r) => `(1.0 / l${r})`, 'y', 'y', 'p.tq', type)}
${code.forRows((r) => `if (row${r} < p.tq${walk.share > 1 ? ' && part == 0' : ''}) { let to = 2u * (head * p.tq + row${r}); stats[to] = m${r}; stats[to + 1u] = log(l${r}); }`)}`,
  });
}
