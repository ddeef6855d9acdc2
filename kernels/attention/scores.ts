import type { Operand } from '../layout.ts';
import { philoxWgsl } from '../philox.ts';
import { rowNumber, sizesOf, stepsOf } from './operands.ts';
import type { AttentionAttrs, AttentionOperands } from './operands.ts';
import { each } from './walk.ts';
import type { Walk, WalkCode } from './walk.ts';

/** Whose rows a workgroup owns. */
export type Side = 'queries' | 'keys';

const block = ['at', 'at + 1u', 'at + 2u', 'at + 3u'];

/** Below every score: what a mask or the end of the tokens cuts off weighs exactly nothing. */
const cutOff = '-1e30';
/** Of masks that are added: -infinity would make a row NaN. */
const lowestAdded = '-1e29';
/** A query whose largest score is below has nothing to attend to: its result and its gradients are 0. */
export const deaf = '-5e28';

/** WGSL: position of a query among the keys. */
const positionOf = (query: string, { lengths }: AttentionOperands): string => (lengths ? `${query} + earlier` : query);

/** WGSL, before the walk: how many keys lie before that of the first query. */
export const earlierKeys = ({ lengths }: AttentionOperands): string =>
  lengths ? `let earlier = clamp(${rowNumber('lengths')}, 1u, p.tk) - 1u;` : '';

/**
 * WGSL: the keys that the workgroup's `rows` queries, from `start` on, see: from a multiple of 4 to an end.
 */
export function keyRange(
  operands: AttentionOperands,
  { causal, slidingWindow }: AttentionAttrs,
  rows: number,
): readonly [first: string, end: string] {
  const start = positionOf('start', operands);
  return withinDocuments(operands, rows, [
    slidingWindow === undefined ? '0u' : `(max(${start} + 1u, p.window) - p.window) / 4u * 4u`,
    causal ? `min(p.tk, ${start} + ${rows}u)` : 'p.tk',
  ]);
}

/** WGSL: the range of a token of the row. */
const rangeOf = (token: string): string => `ranges[p.ro + b * p.tq + ${token}]`;

/** WGSL, before the walk: the range of each of the thread's rows. */
export const rowRanges = ({ ranges }: AttentionOperands, { forRows }: Pick<WalkCode, 'forRows'>): string =>
  ranges ? forRows((r) => `let range${r} = ${rangeOf(`own${r}`)};`) : '';

/**
 * WGSL: of tokens first..end - 1, those that the documents of the workgroup's `rows`, from `start` on, have.
 */
export function withinDocuments(
  { ranges }: AttentionOperands,
  rows: number,
  [first, end]: readonly [first: string, end: string],
): readonly [first: string, end: string] {
  if (!ranges) return [first, end];
  const last = `min(start + ${rows}u, p.tq) - 1u`;
  return [`max(${first}, ${rangeOf('start')}.x / 4u * 4u)`, `min(${end}, ${rangeOf(last)}.y)`];
}

/** WGSL functions that `keep` calls. */
export function keepFunctions({ dropout = 0 }: AttentionAttrs): string {
  if (dropout === 0) return '';
  return `${philoxWgsl}
fn keepFour(block: u32) -> vec4<f32> {
  let u = unit(philox(vec4<u32>(block, 0u, p.low, p.high), vec2<u32>(p.key0, p.key1)));
  return select(vec4<f32>(), vec4<f32>(p.kept), u >= vec4<f32>(p.drop));
}
fn keepOne(i: u32) -> f32 { return keepFour(i / 4u)[i % 4u]; }`;
}

/** WGSL, before the walk: where the head's mask begins. */
export function maskBase({ mask }: AttentionOperands): string {
  return mask ? 'let maskBase = p.mo + i32(b) * p.mb + i32(h) * p.mh;' : '';
}

/**
 * WGSL of the steps between the two products. They work on the scores sR of row R: with `span` 4 those of a
 * block's four tokens (`at` the first), as a vec4; else that of one `token`, in place e of the block.
 */
export function scoreCode(
  operands: AttentionOperands,
  { causal, slidingWindow, softCap, dropout = 0 }: AttentionAttrs,
  { walk, forRows }: Pick<WalkCode, 'forRows'> & { readonly walk: Pick<Walk, 'rows'> },
  side: Side,
  span: 1 | 4,
) {
  const { mask, ranges } = operands;
  const { keys } = sizesOf(operands);
  /** Tokens whose scores sR holds. */
  const tokens = span === 4 ? block : ['token'];
  /** The values, one for each token, as one of the type of the scores. */
  const of = (type: 'f32' | 'u32', values: readonly string[]): string =>
    `${span === 4 ? `vec4<${type}>` : type}(${values.join(', ')})`;
  /** Query and key of row r and a token. */
  const pair = (r: number, token: string): readonly [query: string, key: string] =>
    side === 'queries' ? [`own${r}`, token] : [token, `own${r}`];

  const one = (value: string): string => of('u32', [value]);
  const seen = (r: number): string => {
    if (!ranges) return near(r);
    return `(tokens >= ${one(`range${r}.x`)}) & (tokens < ${one(`range${r}.y`)}) & ${near(r)}`;
  };
  const near = (r: number): string => {
    const isWindowed = slidingWindow !== undefined;
    if (side === 'queries') {
      const own = positionOf(`own${r}`, operands);
      const after = isWindowed ? `(tokens + ${one('p.window')} > ${one(own)}) & ` : '';
      return `${after}(tokens < ${one(causal ? `min(p.tk, ${own} + 1u)` : 'p.tk')})`;
    }
    const own = `own${r}`;
    const end = isWindowed ? `min(p.tq, ${own} + p.window)` : 'p.tq';
    return `${causal ? `(tokens >= ${one(own)}) & ` : ''}(tokens < ${one(end)})`;
  };
  /** tR = tanh(sR / cap); beyond 10 it is 1 in f32, and overflows on some drivers. */
  const capped = (r: number): string => {
    if (softCap === undefined) return '';
    const [low, high, cap] = ['-10.0', '10.0', 'p.cap'].map((value) => of('f32', [value])) as [string, string, string];
    return `let t${r} = tanh(clamp(s${r} / ${cap}, ${low}, ${high})); s${r} = ${cap} * t${r};`;
  };
  const masked = (r: number, { dtype }: Operand, [, , stepI, stepJ]: readonly number[]): string => {
    const values = tokens.map((token) => {
      const [i, j] = pair(r, token);
      // A stride known to be 0 keeps the index uniform over the workgroup.
      const alongQueries = stepI === 0 ? '' : ` + i32(min(${i}, p.tq - 1u)) * p.mi`;
      const alongKeys = stepJ === 0 ? '' : ` + i32(min(${j}, p.tk - 1u)) * p.mj`;
      return `mask[maskBase${alongQueries}${alongKeys}]`;
    });
    if (dtype === 'bool') {
      return `let allowed${r} = ${of('u32', values)} != ${of('u32', ['0u'])};
s${r} = select(${of('f32', [cutOff])}, s${r}, allowed${r});`;
    }
    const numbers = values.map((value) => `f32(${value})`);
    return `s${r} += max(${of('f32', numbers)}, ${of('f32', [lowestAdded])});`;
  };

  return {
    /** Caps, adds the mask and cuts off; allowedR says where a bool mask lets scores through. */
    apply: (): string => `let tokens = ${of('u32', tokens)};
${forRows(
  (r) => `${capped(r)}
${mask ? masked(r, mask, stepsOf(mask)) : ''}
s${r} = select(${of('f32', [cutOff])}, s${r}, ${seen(r)});`,
)}`,

    /**
     * keptR of the block, vec4s: 0 or 1 / (1 - p), by the numbers that dropout of the weights [B, H, Tq, Tk]
     * would draw.
     */
    keep(): string {
      if (dropout === 0) return '';
      if (keys % 4 === 0 && side === 'queries') {
        return forRows((r) => `let kept${r} = keepFour((head * p.tq + own${r}) * (p.tk / 4u) + at / 4u);`);
      }
      if (keys % 4 === 0 && walk.rows === 2) {
        // A thread's two neighbouring keys lie in the same block of four numbers.
        const four = (e: number): string =>
          `let four${e} = keepFour((head * p.tq + at + ${e}u) * (p.tk / 4u) + row0 / 4u);`;
        const kept = (r: number): string =>
          `let kept${r} = vec4<f32>(${[0, 1, 2, 3].map((e) => `four${e}[row0 % 4u + ${r}u]`).join(', ')});`;
        return `${each(4, four)}\n${forRows(kept)}`;
      }
      const keepOne = (r: number) => (token: string) => {
        const [i, j] = pair(r, token);
        return `keepOne((head * p.tq + ${i}) * p.tk + ${j})`;
      };
      return forRows((r) => `let kept${r} = vec4<f32>(${block.map(keepOne(r)).join(', ')});`);
    },

    /** A weight with dropout. */
    dropped: (r: number, weight: string): string =>
      dropout === 0 ? weight : `${weight} * kept${r}${span === 4 ? '' : '[e]'}`,

    /** A score's gradient, before the cap: none where a bool mask put another score in its place. */
    through(r: number, gradient: string): string {
      const slope = softCap === undefined ? gradient : `(${gradient}) * (1.0 - t${r} * t${r})`;
      return mask?.dtype === 'bool' ? `select(${of('f32', ['0.0'])}, ${slope}, allowed${r})` : slope;
    },
  };
}
