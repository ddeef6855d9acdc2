import type { Dispatch } from '../../gpu/dispatch.ts';
import { kernel, read, u32, write } from '../kernel.ts';
import { attentionParams, backwardCost, headBase, headParams, inputBases, sizesOf, vec4Of } from './operands.ts';
import type { AttentionAttrs, BackwardOperands } from './operands.ts';
import { keepFunctions, keyRange, maskBase, rowRanges, scoreCode, withinDocuments } from './scores.ts';
import {
  keyPlaces,
  matrixBindings,
  matrixCode,
  oneRow,
  queryPlaces,
  rowsOfTile,
  scoresPitch,
  threadsOfTile,
  tileName,
} from './matrix-tile.ts';
import type { MatrixCode, MatrixTile } from './matrix-tile.ts';
import { each } from './walk.ts';

/** flashAttentionBackward on matrices in subgroups, see MatrixTile. */
export function flashAttentionMatricesBackward(
  operands: BackwardOperands,
  attrs: AttentionAttrs,
  tile: MatrixTile,
): Dispatch {
  const { g, dq, dk, dv, gradients } = operands;
  const { batch, heads, queries, keys, width } = sizesOf(operands);
  const code = matrixCode(tile, width);
  const groups = (tokens: number): number => batch * heads * Math.ceil(tokens / rowsOfTile(tile));
  const outputs = gradients ? ['gradients'] : ['dq', 'dk', 'dv'];
  const size = Math.max(queryPlaces(tile, width, 2).size, keyPlaces(tile, width).size);
  return kernel({
    name: `flashAttentionBackward.${tileName(tile)}`,
    bindings: [
      ...matrixBindings(operands),
      read('g', 'vec4<u32>'),
      read('perQuery', 'vec4<f32>'),
      ...outputs.map((name) => write(name, vec4Of(dq))),
    ],
    params: { split: u32(groups(keys)), ...headParams({ g, dq, dk, dv }), ...attentionParams(operands, attrs) },
    workgroup: threadsOfTile(tile),
    groups: groups(keys) + groups(queries),
    cost: backwardCost(operands, attrs),
    enables: code.enables,
    attributes: code.attributes,
    builtins: code.builtins,
    declarations: `var<workgroup> stage: array<vec4<u32>, ${size}>;\n${keepFunctions(attrs)}`,
    body: `
if (group < p.split) {
${ownKeys(operands, attrs, code)}
} else {
${ownQueries(operands, attrs, code)}
}`,
  });
}

/**
 * WGSL of the lane's pieces of a line, numbered from `first` in steps of `step` below `count`, of `keys` keys
 * each. Scores and products of g with values, from ownLine and ownXLine on, give way to weights (where
 * `weights` are needed) and to gradients of the scores, as halves at the beginning of each piece. The first
 * key of the line is `key`. In scope: own0, and top, logSum and delta of the query, which exists if `valid`.
 */
function between(
  operands: BackwardOperands,
  attrs: AttentionAttrs,
  code: MatrixCode,
  spec: {
    readonly first: string;
    readonly step: number;
    readonly count: number;
    readonly keys: number;
    readonly key: string;
    readonly weights: boolean;
    readonly valid: string;
  },
): string {
  const { first, step, count, keys, key, weights, valid } = spec;
  const scores = scoreCode(operands, attrs, oneRow, 'queries', 4);
  const four = (u: number): string => `var d${u}: vec4<f32>; ${weights ? `var kept_w${u}: vec4<f32>;` : ''}
{ let at = ${key} + piece * ${keys}u + ${4 * u}u; let place = piece * ${keys / 4}u + ${u}u;
var s0 = bitcast<vec4<f32>>(stage[ownLine + place]) * p.scale;
let x0 = bitcast<vec4<f32>>(stage[ownXLine + place]);
${scores.apply()}
${scores.keep()}
let w0 = select(vec4<f32>(), exp((s0 - top) - logSum), vec4<bool>(${valid}));
${weights ? `kept_w${u} = ${scores.dropped(0, 'w0')};` : ''}
d${u} = ${scores.through(0, `w0 * (${scores.dropped(0, 'x0')} - delta)`)}; }`;
  return `${rowRanges(operands, oneRow)}
for (var piece = ${first}; piece < ${count}u; piece += ${step}u) {
${each(keys / 4, four)}
${weights ? code.halves('kept_w', keys, `ownLine + piece * ${keys / 4}u`) : ''}
${code.halves('d', keys, `ownXLine + piece * ${keys / 4}u`)}
}`;
}

/** WGSL that binds what the gradients need of query own0. */
const bindQuery = `let query0 = perQuery[head * p.tq + own0];
let top = query0.x; let logSum = query0.y; let delta = query0.z;`;

/** Writes the lane's row of a result to operand `to`, of `length` rows, times a factor. */
function storeRow({ gradients, dq }: BackwardOperands, to: string, length: string, factor: string): string {
  return `if (ownRow < ${length}) {
${gradients ? 'gradients' : to}[${to}Base + i32(ownRow) * p.${to}t + column] = ${vec4Of(dq)}(value${factor}); }`;
}

/** A subgroup owns queries and sums dQ over tiles of keys. */
function ownQueries(operands: BackwardOperands, attrs: AttentionAttrs, code: MatrixCode): string {
  const { tile, counts, lanes, pitch, load, store, multiplyAdd, grid } = code;
  const { rows, keys } = tile;
  const { M, N, K } = tile.matrix;
  const { width } = sizesOf(operands);
  const places = queryPlaces(tile, width, 2);
  const line = scoresPitch(keys);
  const fours = K / 4;
  const lines = (at: number): string => `${at}u + subgroup * ${rows * line}u`;
  const product = (into: string, left: string, at: number): string =>
    each(
      counts.k,
      (k) => `{ let x = ${load('right', 'col', `${at}u + j * ${N * pitch}u + ${(k * K) / 8}u`, pitch)};
${each(counts.m, (i) => multiplyAdd(`${into}${i}_0`, `${left}${i}_${k}`, 'x'))} }`,
    );
  const lefts = (name: string, at: number): string =>
    grid(counts.m, counts.k, (i, k) => {
      const from = `${at}u + (subgroup * ${rows}u + ${i * M}u) * ${pitch}u + ${(k * K) / 8}u`;
      return `let ${name}${i}_${k} = ${load('left', 'row', from, pitch)};`;
    });
  const [begin, end] = keyRange(operands, attrs, rowsOfTile(tile));
  return `${code.place('(group - p.split)', 'p.tq', attrs.causal)}
let own0 = min(ownRow, p.tq - 1u);
${inputBases(operands)}
${headBase('g')}
${headBase('dq')}
${maskBase(operands)}
${bindQuery}
${code.stage('q', 0, 'start', rowsOfTile(tile), 'p.tq')}
${code.stage('g', places.second, 'start', rowsOfTile(tile), 'p.tq')}
workgroupBarrier();
${lefts('q', 0)}
${lefts('g', places.second)}
${code.declareResults('dq', counts.m, counts.columns)}
let own = ${lines(places.scores)}; let ownX = ${lines(places.gradients)};
let ownLine = own + row * ${line}u; let ownXLine = ownX + row * ${line}u;
let end = ${end};
for (var first = ${begin}; first < end; first += ${keys}u) {
workgroupBarrier();
${code.stage('k', 0, 'first', keys, 'p.tk')}
${code.stage('v', places.second, 'first', keys, 'p.tk')}
workgroupBarrier();
for (var j = 0u; j < ${keys / N}u; j++) {
${code.declareResults('s', counts.m, 1)}
${code.declareResults('x', counts.m, 1)}
${product('s', 'q', 0)}
${product('x', 'g', places.second)}
${each(
  counts.m,
  (i) => `${store(`s${i}_0`, `own + ${i * M * line}u + j * ${N / 4}u`, line)}
${store(`x${i}_0`, `ownX + ${i * M * line}u + j * ${N / 4}u`, line)}`,
)}
}
workgroupBarrier();
${between(operands, attrs, code, {
  first: 'part',
  step: lanes,
  count: keys / K,
  keys: K,
  key: 'first',
  weights: false,
  valid: 'ownRow < p.tq',
})}
workgroupBarrier();
for (var piece = 0u; piece < ${keys / K}u; piece++) {
${each(counts.m, (i) => `let w${i} = ${load('left', 'row', `ownX + ${i * M * line}u + piece * ${fours}u`, line)};`)}
${each(
  counts.columns,
  (j) => `{ let x = ${load('right', 'row', `piece * ${K * pitch}u + ${(j * N) / 8}u`, pitch)};
${each(counts.m, (i) => multiplyAdd(`dq${i}_${j}`, `w${i}`, 'x'))} }`,
)}
}
}
${code.throughMemory('dq', 'own', line, storeRow(operands, 'dq', 'p.tq', ' * p.scale'))}`;
}

/** A subgroup owns keys and sums dK and dV over tiles of queries, one a lane. */
function ownKeys(operands: BackwardOperands, attrs: AttentionAttrs, code: MatrixCode): string {
  const { causal, slidingWindow } = attrs;
  const { tile, counts, pitch, load, store, multiplyAdd, grid } = code;
  const { rows, subgroupSize } = tile;
  const { M, N, K } = tile.matrix;
  const { width } = sizesOf(operands);
  const places = keyPlaces(tile, width);
  const line = scoresPitch(rows);
  const all = rowsOfTile(tile);
  const rights = (name: string, at: number): string =>
    grid(counts.k, counts.n, (k, j) => {
      const from = `${at}u + (subgroup * ${rows}u + ${j * N}u) * ${pitch}u + ${(k * K) / 8}u`;
      return `let ${name}${k}_${j} = ${load('right', 'col', from, pitch)};`;
    });
  const product = (into: string, right: string, at: number): string =>
    each(
      counts.k,
      (k) => `{ let x = ${load('left', 'row', `${at}u + i * ${M * pitch}u + ${(k * K) / 8}u`, pitch)};
${each(counts.n, (j) => multiplyAdd(`${into}0_${j}`, 'x', `${right}${k}_${j}`))} }`,
    );
  const sums = (into: string, from: string, at: number): string => `
${each(counts.m, (i) => {
  const at = `${from} + piece * ${K * line}u + ${(i * M) / 4}u`;
  return `let ${into}w${i} = ${load('left', 'col', at, line)};`;
})}
${each(
  counts.columns,
  (j) => `{ let x = ${load('right', 'row', `${at}u + piece * ${K * pitch}u + ${(j * N) / 8}u`, pitch)};
${each(counts.m, (i) => multiplyAdd(`${into}${i}_${j}`, `${into}w${i}`, 'x'))} }`,
)}`;
  const own = (at: number): string => `${at}u + subgroup * ${subgroupSize * line}u`;
  const lastQuery = slidingWindow === undefined ? 'p.tq' : `min(p.tq, start + ${all - 1}u + p.window)`;
  const [begin, end] = withinDocuments(operands, all, [causal ? 'start' : '0u', lastQuery]);
  return `${code.place('group', 'p.tk', false)}
${inputBases(operands)}
${['g', 'dk', 'dv'].map((name) => headBase(name)).join('\n')}
${maskBase(operands)}
${code.stage('k', 0, 'start', all, 'p.tk')}
${code.stage('v', places.second, 'start', all, 'p.tk')}
workgroupBarrier();
${rights('k', 0)}
${rights('v', places.second)}
${code.declareResults('dk', counts.m, counts.columns)}
${code.declareResults('dv', counts.m, counts.columns)}
let own = ${own(places.scores)}; let ownX = ${own(places.gradients)};
let ownLine = own + member * ${line}u; let ownXLine = ownX + member * ${line}u;
let end = ${end};
for (var first = ${begin}; first < end; first += ${subgroupSize}u) {
workgroupBarrier();
${code.stage('q', 0, 'first', subgroupSize, 'p.tq')}
${code.stage('g', places.second, 'first', subgroupSize, 'p.tq')}
workgroupBarrier();
for (var i = 0u; i < ${subgroupSize / M}u; i++) {
${code.declareResults('s', 1, counts.n)}
${code.declareResults('x', 1, counts.n)}
${product('s', 'k', 0)}
${product('x', 'v', places.second)}
${each(
  counts.n,
  (j) => `${store(`s0_${j}`, `own + i * ${M * line}u + ${(j * N) / 4}u`, line)}
${store(`x0_${j}`, `ownX + i * ${M * line}u + ${(j * N) / 4}u`, line)}`,
)}
}
workgroupBarrier();
{
let own0 = min(first + member, p.tq - 1u);
${bindQuery}
${between(operands, attrs, code, {
  first: '0u',
  step: 1,
  count: rows / M,
  keys: M,
  key: `start + subgroup * ${rows}u`,
  weights: true,
  valid: 'first + member < p.tq',
})}
}
workgroupBarrier();
for (var piece = 0u; piece < ${subgroupSize / K}u; piece++) {
${sums('dv', 'own', places.second)}
${sums('dk', 'ownX', 0)}
}
}
${code.throughMemory('dk', 'own', line, storeRow(operands, 'dk', 'p.tk', ' * p.scale'))}
${code.throughMemory('dv', 'own', line, storeRow(operands, 'dv', 'p.tk', ''))}`;
}
