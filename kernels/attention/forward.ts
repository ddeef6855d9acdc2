import type { Dispatch } from '../../gpu/dispatch.ts';
import { kernel, write } from '../kernel.ts';
import { flashAttentionMatrices } from './matrix-forward.ts';
import {
  attentionParams,
  forwardCost,
  headBase,
  headParams,
  inputBases,
  inputBindings,
  sizesOf,
  tokensOf,
  vec4Of,
} from './operands.ts';
import type { AttentionAttrs, AttentionTarget, ForwardOperands } from './operands.ts';
import { attentionPlans } from './plan.ts';
import type { AttentionPlan } from './plan.ts';
import { deaf, earlierKeys, keepFunctions, keyRange, maskBase, rowRanges, scoreCode } from './scores.ts';
import { walkName, rowsOf, threadsOf, walkCode } from './walk.ts';

/**
 * softmax(q k^T scale + mask) v without the scores in memory: rows of queries walk along keys and values with
 * a running maximum and sum (Milakov and Gimelshein 2018; Dao et al. 2022).
 */
export function flashAttention(
  operands: ForwardOperands,
  { plan, ...attrs }: AttentionAttrs & { readonly plan?: AttentionPlan },
  target: AttentionTarget,
): Dispatch {
  const chosen = plan ?? attentionPlans(target, { pass: 'forward', operands })[0]!;
  if ('tile' in chosen) return flashAttentionMatrices(operands, attrs, chosen.tile);
  const { walk } = chosen;
  const { y } = operands;
  const { causal } = attrs;
  const { batch, heads, queries, width } = sizesOf(operands);
  const tokens = tokensOf(operands);
  const code = walkCode(walk, width, tokens.four);
  const scores = scoreCode(operands, attrs, code, 'queries', 4);
  const [first, end] = keyRange(operands, attrs, rowsOf(walk));
  const softmax = (r: number): string => `
let top${r} = max(max(m${r}, max(s${r}.x, s${r}.y)), max(s${r}.z, s${r}.w));
let fix${r} = exp(m${r} - top${r});
m${r} = top${r};
let w${r} = exp(s${r} - top${r});
l${r} = fma(l${r}, fix${r}, (w${r}.x + w${r}.y) + (w${r}.z + w${r}.w));
let kept_w${r} = ${scores.dropped(r, `w${r}`)};`;
  const sum = code.accumulate('o', (r) => `kept_w${r}[e]`, 'v', 1);
  const block = `
${code.forRows((r) => `var s${r} = vec4<f32>();`)}
${code.tokens('p.tk', ['k'], `${code.dot('one', 'q', 'k', 0)}\n${code.collect('s', 'one')}`)}
${code.exchange(['s'])}
${scores.apply()}
${scores.keep()}
${code.forRows(softmax)}
${code.scaleRows('o', 'fix')}
${code.tokens('p.tk', ['v'], sum)}`;
  const storeStats = (r: number): string => `if (row${r} < p.tq${walk.share > 1 ? ' && part == 0' : ''}) {
let to = 2u * (head * p.tq + row${r}); stats[to] = select(m${r}, 0.0, deaf${r});
stats[to + 1u] = select(log(l${r}), 0.0, deaf${r});
}`;
  return kernel({
    name: `flashAttention.${walkName(walk)}`,
    bindings: [...inputBindings(operands), write('y', vec4Of(y)), write('stats', 'f32')],
    params: { ...headParams({ y }), ...attentionParams(operands, attrs) },
    workgroup: threadsOf(walk),
    groups: batch * heads * Math.ceil(queries / rowsOf(walk)),
    cost: forwardCost(operands, attrs),
    declarations: `${code.shared(1)}\n${keepFunctions(attrs)}\n${tokens.functions}`,
    body: `${code.place('group', 'p.tq', causal)}
${inputBases(operands)}
${headBase('y')}
${code.loadRows('q', ' * p.scale')}
${maskBase(operands)}
${rowRanges(operands, code)}
${code.forRows((r) => `var m${r} = -3e38; var l${r} = 0.0;`)}
${code.zeroRows('o')}
${earlierKeys(operands)}
let end = ${end};
${code.blocks(first, 'end', 'p.tk', ['k', 'v'], block)}
${code.forRows((r) => `let deaf${r} = m${r} < ${deaf};`)}
${code.storeRows('o', (r) => `select(1.0 / l${r}, 0.0, deaf${r})`, { to: 'y', length: 'p.tq', type: vec4Of(y) })}
${code.forRows(storeStats)}`,
  });
}
