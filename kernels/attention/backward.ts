import type { Dispatch } from '../../gpu/dispatch.ts';
import { bytesOf, kernel, read, u32, write } from '../kernel.ts';
import { attentionUniforms, headBase, headsUniforms, inputBases, inputBindings, scoreCount, vec4Of } from './params.ts';
import type { AttentionParams, HeadsOperand } from './params.ts';
import { RowCode } from './rows.ts';
import { ScoreCode } from './scores.ts';
import { rowsOf, threadsOf } from './walk.ts';
import type { Walk } from './walk.ts';

/** Gradients, in three buffers or as parts of one. */
export interface GradientOperands {
  readonly packed: boolean;
  readonly dq: HeadsOperand;
  readonly dk: HeadsOperand;
  readonly dv: HeadsOperand;
}

export interface AttentionBackwardParams extends AttentionParams {
  readonly g: HeadsOperand;
  readonly gradients: GradientOperands;
  readonly walk: Walk;
}

/**
 * Gradients of queries, keys and values without the scores in memory and without atomics (Dao et al. 2022,
 * algorithm 4): workgroups of one kind own keys and walk along the queries for dK and dV, those of the other
 * own queries and walk along the keys for dQ, in one dispatch. Both compute the weights again from the
 * forward pass's maximum and sum. Gradients of keys and values are those by query head: where a group of
 * these shares a head, they are still to be added up. Bindings q, k, v, (mask,) g, rows, then dq, dk, dv or
 * the one that holds all three; rows is what `attentionDelta` writes.
 */
export function attentionBackward(params: AttentionBackwardParams): Dispatch {
  const { batch, heads, queries, keys, width, dtype, g, gradients, walk } = params;
  const code = new RowCode(walk, width);
  const type = vec4Of(dtype);
  const outputs = gradients.packed ? ['gradients'] : ['dq', 'dk', 'dv'];
  const output = (name: string): string => (gradients.packed ? 'gradients' : name);
  const keyGroups = batch * heads * Math.ceil(keys / rowsOf(walk));
  const queryGroups = batch * heads * Math.ceil(queries / rowsOf(walk));
  const store = (name: string, length: string, factor: string): string =>
    `${headBase(name)}\n${code.storeRows(name, () => factor, output(name), name, length, type)}`;
  return kernel({
    name: `attentionBackward.${walk.tile > 0 ? 'tiled' : 'lanes'}`,
    bindings: [
      ...inputBindings(params),
      read('g', type),
      read('rows', 'vec4<f32>'),
      ...outputs.map((name) => write(name, type)),
    ],
    params: {
      split: u32(keyGroups),
      ...headsUniforms('g', g),
      ...headsUniforms('dq', gradients.dq),
      ...headsUniforms('dk', gradients.dk),
      ...headsUniforms('dv', gradients.dv),
      ...attentionUniforms(params),
    },
    workgroup: threadsOf(walk),
    groups: keyGroups + queryGroups,
    cost: {
      flops: 14 * scoreCount(params) * width,
      bytes: batch * heads * (3 * queries + 4 * keys) * width * bytesOf(dtype),
    },
    declarations: `${code.shared(2)}\n${ScoreCode.declarations(params)}`,
    body: `
if (group < p.split) {
${keyRows(params, code)}
${store('dk', 'p.tk', 'p.scale')}
${store('dv', 'p.tk', '1.0')}
} else {
${queryRows(params, code)}
${store('dq', 'p.tq', 'p.scale')}
}`,
  });
}

const bases = (params: AttentionParams): string => `${inputBases(params)}\n${headBase('g')}`;

/**
 * The statistics of the block's or the token's queries, as top, logSum and delta: of this row, where rows are
 * queries.
 */
interface Statistics {
  readonly top: (r: number) => string;
  readonly logSum: (r: number) => string;
  readonly delta: (r: number) => string;
}

interface Side {
  readonly side: 'queries' | 'keys';
  /** Length of the other side, the bindings read of it, and the thread's rows that go with them. */
  readonly length: string;
  readonly tokens: readonly [first: string, second: string];
  readonly rows: readonly [first: string, second: string];
  readonly statistics: (span: 1 | 4) => Statistics & { readonly bind: string };
  /** Adds a token to the sums, given weights and gradients of scores. */
  readonly accumulate: (weight: (r: number) => string, gradient: (r: number) => string) => string;
}

/**
 * A block of four tokens. Where no rows are shared, each token is finished at once, and read once for both of
 * its uses; where they are, the products of the four are completed by one exchange.
 */
function block(
  params: AttentionBackwardParams,
  code: RowCode,
  { side, length, tokens, rows, statistics, accumulate }: Side,
): string {
  const span = params.walk.share === 1 ? 1 : 4;
  const scores = new ScoreCode(params, code, side, span);
  const products = (s: string, x: string): string =>
    `${code.dot(s, rows[0], tokens[0], 0)}\n${code.dot(x, rows[1], tokens[1], 1)}`;
  const { bind, top, logSum, delta } = statistics(span);
  // Weights w and gradients d of scores s, from products x of g with values: w (x kept - delta).
  const gradient = (r: number): string => `let w${r} = exp((s${r} - ${top(r)}) - ${logSum(r)});
let kept_w${r} = ${scores.dropped(r, `w${r}`)};
let d${r} = ${scores.through(r, `w${r} * (${scores.dropped(r, `x${r}`)} - ${delta(r)})`)};`;
  const between = `${scores.apply()}\n${bind}\n${code.forRows(gradient)}`;
  if (span === 1) {
    const whole = [
      products('s', 'x'),
      between,
      accumulate(
        (r) => `kept_w${r}`,
        (r) => `d${r}`,
      ),
    ];
    return `${scores.keep()}\n${code.tokens(length, tokens, whole.join('\n'))}`;
  }
  const collect = `${products('one', 'other')}\n${code.collect('s', 'one')}\n${code.collect('x', 'other')}`;
  return `${code.forRows((r) => `var s${r} = vec4<f32>(); var x${r} = vec4<f32>();`)}
${code.tokens(length, tokens, collect)}
${code.exchange(['s', 'x'])}
${scores.keep()}
${between}
${code.tokens(
  length,
  tokens,
  accumulate(
    (r) => `kept_w${r}[e]`,
    (r) => `d${r}[e]`,
  ),
)}`;
}

function keyRows(params: AttentionBackwardParams, code: RowCode): string {
  const query = (token: string): string => `rows[head * p.tq + min(${token}, p.tq - 1u)]`;
  const four = [0, 1, 2, 3].map((e) => `let row_${e} = ${query(`at + ${e}u`)};`).join('\n');
  const column = (x: string): string => `vec4<f32>(${[0, 1, 2, 3].map((e) => `row_${e}.${x}`).join(', ')})`;
  const walk = block(params, code, {
    side: 'keys',
    length: 'p.tq',
    tokens: ['q', 'g'],
    rows: ['k', 'v'],
    statistics: (span) => ({
      bind:
        span === 1
          ? `let row = ${query('token')}; let top = row.x; let logSum = row.y; let delta = row.z;`
          : `${four}\nlet top = ${column('x')}; let logSum = ${column('y')}; let delta = ${column('z')};`,
      top: () => 'top',
      logSum: () => 'logSum',
      delta: () => 'delta',
    }),
    accumulate: (weight, gradient) =>
      `${code.accumulate('dk', gradient, 'q', 0)}\n${code.accumulate('dv', weight, 'g', 1)}`,
  });
  return `${code.place('group', 'p.tk', false)}
${bases(params)}
${code.loadRows('k', 'k', ' * p.scale')}
${code.loadRows('v', 'v')}
${code.zeroRows('dk')}
${code.zeroRows('dv')}
${ScoreCode.prepare(params)}
${code.blocks(params.causal ? 'start' : '0u', 'p.tq', 'p.tq', ['q', 'g'], walk)}`;
}

function queryRows(params: AttentionBackwardParams, code: RowCode): string {
  const walk = block(params, code, {
    side: 'queries',
    length: 'p.tk',
    tokens: ['k', 'v'],
    rows: ['q', 'g'],
    statistics: () => ({
      bind: '',
      top: (r) => `row_${r}.x`,
      logSum: (r) => `row_${r}.y`,
      delta: (r) => `row_${r}.z`,
    }),
    accumulate: (_, gradient) => code.accumulate('dq', gradient, 'k', 0),
  });
  return `${code.place('(group - p.split)', 'p.tq', params.causal)}
${bases(params)}
${code.loadRows('q', 'q', ' * p.scale')}
${code.loadRows('g', 'g')}
${code.zeroRows('dq')}
${code.forRows((r) => `let row_${r} = rows[head * p.tq + own${r}];`)}
${ScoreCode.prepare(params)}
let end = ${params.causal ? `min(p.tk, start + ${rowsOf(params.walk)}u)` : 'p.tk'};
${code.blocks('0u', 'end', 'p.tk', ['k', 'v'], walk)}`;
}
