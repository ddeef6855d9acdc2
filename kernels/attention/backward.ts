import type { Dispatch } from '../../gpu/dispatch.ts';
import { bytesOf, kernel, read, u32, write } from '../kernel.ts';
import { flashAttentionMatricesBackward } from './matrix-backward.ts';
import {
  attentionParams,
  backwardCost,
  headBase,
  headParams,
  inputBases,
  inputBindings,
  sizesOf,
  vec4Of,
} from './operands.ts';
import type { AttentionAttrs, AttentionTarget, BackwardOperands, DeltaOperands } from './operands.ts';
import { attentionPlans } from './plan.ts';
import type { AttentionPlan } from './plan.ts';
import { keepFunctions, keyRange, maskBase, rowRanges, scoreCode, withinDocuments } from './scores.ts';
import type { Side } from './scores.ts';
import { each, walkName, rowsOf, threadsOf, walkCode } from './walk.ts';
import type { WalkCode } from './walk.ts';

/** Computes what the gradients need of each query. */
export function flashAttentionDelta({ y, g }: DeltaOperands): Dispatch {
  const [batch, heads, queries, width] = y.shape as [number, number, number, number];
  const rows = batch * heads * queries;
  return kernel({
    name: 'flashAttentionDelta',
    bindings: [read('y', vec4Of(y)), read('g', vec4Of(g)), read('stats', 'vec2<f32>'), write('perQuery', 'vec4<f32>')],
    params: {
      n: u32(rows),
      heads: u32(heads),
      tq: u32(queries),
      columns: u32(width / 4),
      ...headParams({ y, g }),
    },
    workgroup: 64,
    groups: Math.ceil(rows / 64),
    cost: { flops: 2 * rows * width, bytes: rows * (2 * width * bytesOf(y.dtype) + 24) },
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
perQuery[id] = vec4<f32>(stats[id], (sum.x + sum.y) + (sum.z + sum.w), 0.0);`,
  });
}

/**
 * Gradients of queries, keys and values without the scores in memory and without atomics (Dao et al. 2022,
 * algorithm 4): workgroups of one kind own keys and walk along the queries for dK and dV, those of the other
 * own queries and walk along the keys for dQ, in one dispatch. Both compute the weights again from the
 * forward pass's maximum and sum.
 */
export function flashAttentionBackward(
  operands: BackwardOperands,
  { plan, ...attrs }: AttentionAttrs & { readonly plan?: AttentionPlan },
  target: AttentionTarget,
): Dispatch {
  const chosen = plan ?? attentionPlans(target, { pass: 'backward', operands })[0]!;
  if ('tile' in chosen) return flashAttentionMatricesBackward(operands, attrs, chosen.tile);
  const { walk } = chosen;
  const { g, dq, dk, dv, gradients } = operands;
  const { batch, heads, queries, keys, width } = sizesOf(operands);
  const code = walkCode(walk, width);
  const groups = (tokens: number): number => batch * heads * Math.ceil(tokens / rowsOf(walk));
  const outputs = gradients ? ['gradients'] : ['dq', 'dk', 'dv'];
  return kernel({
    name: `flashAttentionBackward.${walkName(walk)}`,
    bindings: [
      ...inputBindings(operands),
      read('g', vec4Of(g)),
      read('perQuery', 'vec4<f32>'),
      ...outputs.map((name) => write(name, vec4Of(dq))),
    ],
    params: { split: u32(groups(keys)), ...headParams({ g, dq, dk, dv }), ...attentionParams(operands, attrs) },
    workgroup: threadsOf(walk),
    groups: groups(keys) + groups(queries),
    cost: backwardCost(operands, attrs),
    declarations: `${code.shared(2)}\n${keepFunctions(attrs)}`,
    body: `
if (group < p.split) {
${passOf('keys', operands, attrs, code)}
} else {
${passOf('queries', operands, attrs, code)}
}`,
  });
}

/** The work of a workgroup that owns rows of one side. */
interface Pass {
  readonly group: string;
  /** The thread's rows and how many there are, the tokens it walks along and how many there are. */
  readonly rows: readonly [first: string, second: string];
  readonly length: string;
  readonly tokens: readonly [first: string, second: string];
  readonly otherLength: string;
  /** Gradients: sums of tokens, each times its weight kept_w or its score's gradient d, times a factor. */
  readonly sums: readonly { readonly name: string; of: 'd' | 'kept_w'; which: 0 | 1; factor: string }[];
}

const passes: Readonly<Record<Side, Pass>> = {
  keys: {
    group: 'group',
    rows: ['k', 'v'],
    length: 'p.tk',
    tokens: ['q', 'g'],
    otherLength: 'p.tq',
    sums: [
      { name: 'dk', of: 'd', which: 0, factor: 'p.scale' },
      { name: 'dv', of: 'kept_w', which: 1, factor: '1.0' },
    ],
  },
  queries: {
    group: '(group - p.split)',
    rows: ['q', 'g'],
    length: 'p.tq',
    tokens: ['k', 'v'],
    otherLength: 'p.tk',
    sums: [{ name: 'dq', of: 'd', which: 0, factor: 'p.scale' }],
  },
};

/** Returns the statements of that: the workgroup walks along the other side's tokens and stores its sums. */
function passOf(side: Side, operands: BackwardOperands, attrs: AttentionAttrs, code: WalkCode): string {
  const { causal, slidingWindow } = attrs;
  const { group, rows, length, otherLength, tokens, sums } = passes[side];
  const ownsKeys = side === 'keys';
  const next = `start + ${rowsOf(code.walk)}u`;
  const lastQuery = slidingWindow === undefined ? 'p.tq' : `min(p.tq, ${next} - 1u + p.window)`;
  const all = rowsOf(code.walk);
  const [first, end] = ownsKeys
    ? withinDocuments(operands, all, [causal ? 'start' : '0u', lastQuery])
    : keyRange(operands, attrs, all);
  const store = ({ name, factor }: Pass['sums'][number]): string => {
    const place = { to: name, output: operands.gradients && 'gradients', length, type: vec4Of(operands.dq) };
    return `${headBase(name)}\n${code.storeRows(name, () => factor, place)}`;
  };
  return `${code.place(group, length, !ownsKeys && causal)}
${inputBases(operands)}
${headBase('g')}
${code.loadRows(rows[0], ' * p.scale')}
${code.loadRows(rows[1])}
${sums.map(({ name }) => code.zeroRows(name)).join('\n')}
${ownsKeys ? '' : code.forRows((r) => `${loadQuery(r, `own${r}`)} ${bindQuery(r, (x) => `query${r}.${x}`)}`)}
${maskBase(operands)}
${rowRanges(operands, code)}
let end = ${end};
${code.blocks(first, 'end', otherLength, tokens, block(side, operands, attrs, code))}
${sums.map(store).join('\n')}`;
}

/** WGSL: loads `perQuery` of a query as queryN, and binds its fields as topN, logSumN and deltaN. */
const loadQuery = (n: number, query: string): string => `let query${n} = perQuery[head * p.tq + ${query}];`;
const bindQuery = (n: number | '', of: (field: string) => string): string =>
  `let top${n} = ${of('x')}; let logSum${n} = ${of('y')}; let delta${n} = ${of('z')};`;

/**
 * A block of four tokens. Where no rows are shared, each token is finished at once, and read once for both of
 * its uses; where they are, the products of the four are completed by one exchange.
 */
function block(side: Side, operands: BackwardOperands, attrs: AttentionAttrs, code: WalkCode): string {
  const { rows, tokens, otherLength, sums } = passes[side];
  const span = code.walk.share === 1 ? 1 : 4;
  const scores = scoreCode(operands, attrs, code, side, span);
  const products = (s: string, x: string): string =>
    `${code.dot(s, rows[0], tokens[0], 0)}\n${code.dot(x, rows[1], tokens[1], 1)}`;
  // Weights w and gradients d of scores s, from products x of g with values: w (x kept - delta).
  const gradient = (r: number): string => {
    const n = side === 'keys' ? '' : r;
    return `let w${r} = exp((s${r} - top${n}) - logSum${n});
let kept_w${r} = ${scores.dropped(r, `w${r}`)};
let d${r} = ${scores.through(r, `w${r} * (${scores.dropped(r, `x${r}`)} - delta${n})`)};`;
  };
  const between = `${scores.apply()}\n${side === 'keys' ? bindTokens(span) : ''}\n${code.forRows(gradient)}`;
  const at = span === 4 ? '[e]' : '';
  const add = sums
    .map(({ name, of, which }) => code.accumulate(name, (r) => `${of}${r}${at}`, tokens[which], which))
    .join('\n');
  if (span === 1) {
    return `${scores.keep()}\n${code.tokens(otherLength, tokens, `${products('s', 'x')}\n${between}\n${add}`)}`;
  }
  const collect = `${products('one', 'other')}\n${code.collect('s', 'one')}\n${code.collect('x', 'other')}`;
  return `${code.forRows((r) => `var s${r} = vec4<f32>(); var x${r} = vec4<f32>();`)}
${code.tokens(otherLength, tokens, collect)}
${code.exchange(['s', 'x'])}
${scores.keep()}
${between}
${code.tokens(otherLength, tokens, add)}`;
}

/** WGSL: top, logSum and delta of the token, or of the block's four as vec4s, where tokens are queries. */
function bindTokens(span: 1 | 4): string {
  if (span === 1) return `${loadQuery(0, 'min(token, p.tq - 1u)')} ${bindQuery('', (x) => `query0.${x}`)}`;
  const column = (x: string): string => `vec4<f32>(${[0, 1, 2, 3].map((e) => `query${e}.${x}`).join(', ')})`;
  return `${each(4, (e) => loadQuery(e, `min(at + ${e}u, p.tq - 1u)`))}\n${bindQuery('', column)}`;
}
