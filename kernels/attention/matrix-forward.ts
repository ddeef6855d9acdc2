import type { Dispatch } from '../../gpu/dispatch.ts';
import { kernel, write } from '../kernel.ts';
import {
  attentionParams,
  forwardCost,
  headBase,
  headParams,
  inputBases,
  sizesOf,
  tokensOf,
  vec4Of,
} from './operands.ts';
import type { AttentionAttrs, ForwardOperands } from './operands.ts';
import { deaf, earlierKeys, keepFunctions, keyRange, maskBase, rowRanges, scoreCode } from './scores.ts';
import {
  matrixBindings,
  matrixCode,
  oneRow,
  queryPlaces,
  rowsOfTile,
  scoresPitch,
  threadsOfTile,
  tileName,
} from './matrix-tile.ts';
import type { MatrixTile } from './matrix-tile.ts';
import { each } from './walk.ts';

/**
 * By how much a row's largest score may exceed the one that its weights are relative to, before these become
 * relative to the new one: results in matrices can be scaled in workgroup memory only, which must be seldom.
 * Weights stay below exp(4), far from f16's largest number, and their ratios are as exact either way.
 */
const slack = '4.0';

/** flashAttention on matrices in subgroups: softmax(q k^T scale + mask) v, see MatrixTile. */
export function flashAttentionMatrices(operands: ForwardOperands, attrs: AttentionAttrs, tile: MatrixTile): Dispatch {
  const { y } = operands;
  const { batch, heads, queries, width } = sizesOf(operands);
  const { matrix, rows, keys } = tile;
  const { M, N, K } = matrix;
  const { bytes, four, functions } = tokensOf(operands);
  const code = matrixCode(tile, width);
  const { counts, lanes, load, multiplyAdd, store } = code;
  const places = queryPlaces(tile, width, 1);
  const line = scoresPitch(keys);
  const scores = scoreCode(operands, attrs, oneRow, 'queries', 4);
  const [begin, end] = keyRange(operands, attrs, rowsOfTile(tile));
  const fours = K / 4;
  /** Goes over the lane's pieces of a row's scores, K keys each, by fours `u`. */
  const overPieces = (four: (u: number) => string, after = ''): string =>
    `for (var piece = part; piece < ${keys / K}u; piece += ${lanes}u) {
${each(fours, (u) => `${four(u)}`)}
${after}
}`;
  const inPiece = (u: number): string =>
    `let at = first + piece * ${K}u + ${4 * u}u; let place = ownLine + piece * ${fours}u + ${u}u;`;
  const score = (u: number): string => `{ ${inPiece(u)}
var s0 = bitcast<vec4<f32>>(stage[place]) * p.scale;
${scores.apply()}
stage[place] = bitcast<vec4<u32>>(s0); peaks = max(peaks, s0); }`;
  const weight = (u: number): string => `var kept_w${u}: vec4<f32>;
{ ${inPiece(u)} ${scores.keep()}
let w0 = exp(bitcast<vec4<f32>>(stage[place]) - top); l += (w0.x + w0.y) + (w0.z + w0.w);
kept_w${u} = ${scores.dropped(0, 'w0')}; }`;
  // A piece's halves go to its beginning: no other lane reads or writes there.
  const put = code.halves('kept_w', K, `ownLine + piece * ${fours}u`);
  const right = (at: string): string => load('right', 'row', at, code.pitch);
  return kernel({
    name: `flashAttention.${tileName(tile)}`,
    bindings: [...matrixBindings(operands), write('y', vec4Of(y)), write('stats', 'f32')],
    params: { ...headParams({ y }), ...attentionParams(operands, attrs) },
    workgroup: threadsOfTile(tile),
    groups: batch * heads * Math.ceil(queries / rowsOfTile(tile)),
    cost: forwardCost(operands, attrs),
    enables: code.enables,
    attributes: code.attributes,
    builtins: code.builtins,
    declarations: `var<workgroup> stage: array<vec4<u32>, ${places.size}>;
var<workgroup> grow: u32;
${keepFunctions(attrs)}
${functions}`,
    body: `${code.place('group', 'p.tq', attrs.causal)}
let own0 = min(ownRow, p.tq - 1u);
${inputBases(operands)}
${headBase('y')}
${maskBase(operands)}
${code.stage('q', 0, 'start', rowsOfTile(tile), 'p.tq')}
workgroupBarrier();
${code.grid(counts.m, counts.k, (i, k) => {
  const at = `(subgroup * ${rows}u + ${i * M}u) * ${code.pitch}u + ${(k * K) / 8}u`;
  return `let q${i}_${k} = ${load('left', 'row', at, code.pitch)};`;
})}
${code.declareResults('o', counts.m, counts.columns)}
let own = ${places.scores}u + subgroup * ${rows * line}u;
let ownLine = own + row * ${line}u;
var top = -3e38; var l = 0.0;
${earlierKeys(operands)}
${rowRanges(operands, oneRow)}
let begin = ${begin};
let end = ${end};
for (var first = begin; first < end; first += ${keys}u) {
workgroupBarrier();
${code.stage('k', 0, 'first', keys, 'p.tk', bytes ? four : undefined)}
${code.stage('v', places.second, 'first', keys, 'p.tk', bytes ? four : undefined)}
if (lane == 0u) { grow = 0u; }
workgroupBarrier();
for (var j = 0u; j < ${keys / N}u; j++) {
${code.declareResults('s', counts.m, 1)}
${each(
  counts.k,
  (k) => `{ let x = ${load('right', 'col', `j * ${N * code.pitch}u + ${(k * K) / 8}u`, code.pitch)};
${each(counts.m, (i) => multiplyAdd(`s${i}_0`, `q${i}_${k}`, 'x'))} }`,
)}
${each(counts.m, (i) => store(`s${i}_0`, `own + ${i * M * line}u + j * ${N / 4}u`, line))}
}
workgroupBarrier();
var peaks = vec4<f32>(-3e38);
${overPieces(score)}
var peak = max(max(peaks.x, peaks.y), max(peaks.z, peaks.w));
${code.across('peak', (a, b) => `max(${a}, ${b})`)}
var fix = 1.0;
if (!(peak <= top + ${slack})) { fix = exp(top - peak); top = peak; if (first > begin) { grow = 1u; } }
if (workgroupUniformLoad(&grow) != 0u) {
${code.throughMemory(
  'o',
  `subgroup * ${rows * scoresPitch(N)}u`,
  scoresPitch(N),
  'stage[place] = bitcast<vec4<u32>>(value * fix);',
  true,
)}
}
l *= fix;
${overPieces(weight, put)}
workgroupBarrier();
for (var piece = 0u; piece < ${keys / K}u; piece++) {
${each(counts.m, (i) => `let w${i} = ${load('left', 'row', `own + ${i * M * line}u + piece * ${K / 4}u`, line)};`)}
${each(
  counts.columns,
  (j) => `{ let x = ${right(`${places.second}u + piece * ${K * code.pitch}u + ${(j * N) / 8}u`)};
${each(counts.m, (i) => multiplyAdd(`o${i}_${j}`, `w${i}`, 'x'))} }`,
)}
}
}
${code.across('l', (a, b) => `${a} + ${b}`)}
let isDeaf = top < ${deaf} && l >= 0.0; // not where l is NaN
let factor = select(1.0 / l, 0.0, isDeaf);
${code.throughMemory(
  'o',
  'own',
  line,
  `if (ownRow < p.tq) { y[yBase + i32(ownRow) * p.yt + column] = ${vec4Of(y)}(value * factor); }`,
)}
if (ownRow < p.tq && part == 0u) {
let to = 2u * (head * p.tq + ownRow); stats[to] = select(top, 0.0, isDeaf);
stats[to + 1u] = select(log(l), 0.0, isDeaf);
}`,
  });
}
