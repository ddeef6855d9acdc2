import type { Dispatch } from '../../gpu/dispatch.ts';
import { storedType } from '../kernel.ts';
import { batchBases, assembleMatmul, tileOrigin } from './product.ts';
import type { Product } from './product.ts';
import { slabBindings, slabLoader, slabOf } from './slab.ts';
import type { Slab } from './slab.ts';

/** Outputs of a workgroup, length of a slab along k, and outputs of a thread; all multiples of 4. */
export interface Tile {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly threadM: number;
  readonly threadN: number;
}

/**
 * For GPUs: stages slabs of both operands in workgroup memory, one line for each k. A step along k reads
 * vec4s of rows and of columns and multiplies each with each in registers. A thread's rows (and columns) are
 * groups of four, spread over the tile so that neighbouring threads read neighbouring vec4s. Registers take
 * the next slab while the current one is multiplied. Operands may have any strides: where k is contiguous, a
 * thread loads 4 x 4 elements and transposes them in registers. Out-of-range elements are zeros.
 *
 * Tested on software drivers, where it is slower than `lanes`; not timed on a GPU yet. 128 x 128 x 16 with 8
 * x 8 a thread reads 4 bytes of workgroup memory for 4 products; 64 x 64 x 16 with 4 x 4 reads twice that,
 * but fills the device with a quarter of the outputs.
 */
export function matmulTiled(params: Product, tile: Tile): Dispatch {
  const { m, n, k, batch, a, b, sums } = params;
  const [threadsM, threadsN] = [tile.m / tile.threadM, tile.n / tile.threadN];
  const workgroup = threadsM * threadsN;
  const [groupsM, groupsN] = [tile.threadM / 4, tile.threadN / 4];
  const slabs = { A: slabOf(a, a.row, a.col, k, 4), B: slabOf(b, b.col, b.row, k, 4) };
  const width = { A: tile.m, B: tile.n };
  const each = (count: number, fn: (i: number) => string): string =>
    Array.from({ length: count }, (_, i) => fn(i)).join('\n');

  /** Units that the threads stage: blocks of 4 x 4 where k is contiguous, else vec4s along the tile. */
  const units = (name: 'A' | 'B'): number => (width[name] * tile.k) / (slabs[name].kFast ? 16 : 4);
  const rounds = (name: 'A' | 'B'): number => Math.ceil(units(name) / workgroup);
  /**
   * Emits a statement for each unit that a thread stages, at vec4 `x` along the tile and `q` along k. Units
   * of b are given out from the last thread on, so that threads without one of a have one of b.
   */
  const staged = (name: 'A' | 'B', fn: (s: number) => string): string =>
    each(rounds(name), (s) => {
      const first = name === 'A' ? 'lane' : `(${workgroup - 1}u - lane)`;
      const [perLine, x, q] = slabs[name].kFast
        ? [tile.k / 4, 'u / w', '(u % w) * 4u']
        : [width[name] / 4, 'u % w', 'u / w'];
      const guard = (s + 1) * workgroup > units(name) ? `if (${first} + ${s * workgroup}u < ${units(name)}u) ` : '';
      const place = `let u = ${first} + ${s * workgroup}u; let w = ${perLine}u; let x = ${x}; let q = ${q};`;
      return `${guard}{ ${place} ${fn(s)} }`;
    });
  const pieces = ({ kFast }: Slab): number[] => (kFast ? [0, 1, 2, 3] : [0]);
  /** Declares the registers; `fetch` fills them from memory, `put` writes them to workgroup memory. */
  const registers = (name: 'A' | 'B'): string =>
    each(rounds(name), (s) =>
      pieces(slabs[name])
        .map((e) => `var next${name}${s}_${e}: vec4<f32>;`)
        .join(' '),
    );
  const fetch = (name: 'A' | 'B'): string => {
    const [base, origin] = name === 'A' ? ['aBase', 'row0'] : ['bBase', 'col0'];
    return staged(name, (s) =>
      pieces(slabs[name])
        .map((e) => `next${name}${s}_${e} = load${name}(${base}, ${origin} + x * 4u + ${e}u, k0 + q);`)
        .join(' '),
    );
  };
  const put = (name: 'A' | 'B'): string =>
    staged(name, (s) => {
      const at = (e: number): string => `slab${name}[(q + ${e}u) * ${width[name] / 4}u + x]`;
      if (!slabs[name].kFast) return `${at(0)} = next${name}${s}_0;`;
      const column = (e: number): string => [0, 1, 2, 3].map((r) => `next${name}${s}_${r}.${'xyzw'[e]}`).join(', ');
      return [0, 1, 2, 3].map((e) => `${at(e)} = vec4<f32>(${column(e)});`).join(' ');
    });

  const outputs = (fn: (r: number, g: number) => string): string =>
    each(tile.threadM, (r) => each(groupsN, (g) => fn(r, g)));
  const row = (r: number): string => `row0 + (ty + ${Math.floor(r / 4) * threadsM}u) * 4u + ${r % 4}u`;

  // In the tiles that make the sums, a thread adds up four rows (or columns) of each slab.
  const side = sums?.of === 'a' ? 'A' : 'B';
  const summing = `${side === 'A' ? 'col0' : 'row0'} == 0u && lane < ${width[side] / 4}u`;
  const addSums = `if (${summing}) {
    for (var q = 0u; q < ${tile.k}u; q++) { sum += slab${side}[q * ${width[side] / 4}u + lane]; }
  }`;
  const storeSums = (dtype: string): string => {
    const [origin, limit] = side === 'A' ? ['row0', 'p.m'] : ['col0', 'p.n'];
    const at = `${origin} + lane * 4u + e`;
    return `if (${summing}) {
  for (var e = 0u; e < 4u; e++) { if (${at} < ${limit}) { sums[z * ${limit} + ${at}] = ${dtype}(sum[e]); } }
}`;
  };
  const store = (r: number, g: number): string => `{
  let i = ${row(r)};
  let j = col0 + (tx + ${g * threadsN}u) * 4u;
  if (i < p.m) { finishFour(cBase + i * p.n + j, j, c${r}_${g}); }
}`;

  return assembleMatmul(params, {
    name: `matmul.tiled.${tile.m}x${tile.n}x${tile.k}`,
    inputs: [...slabBindings('a', slabs.A), ...slabBindings('b', slabs.B)],
    workgroup,
    groups: Math.ceil(m / tile.m) * Math.ceil(n / tile.n) * batch[0] * batch[1],
    declarations: `
var<workgroup> slabA: array<vec4<f32>, ${(tile.k * tile.m) / 4}>;
var<workgroup> slabB: array<vec4<f32>, ${(tile.k * tile.n) / 4}>;
${slabLoader('A', slabs.A)}
${slabLoader('B', slabs.B)}`,
    body: `
${tileOrigin(tile.m, tile.n)}
${batchBases}
let ty = lane / ${threadsN}u; let tx = lane % ${threadsN}u;
${outputs((r, g) => `var c${r}_${g}: vec4<f32>;`)}
${sums ? 'var sum: vec4<f32>;' : ''}
${registers('A')}
${registers('B')}
var k0 = 0u;
${fetch('A')}
${fetch('B')}
while (k0 < p.k) {
  workgroupBarrier();
  ${put('A')}
  ${put('B')}
  workgroupBarrier();
  k0 += ${tile.k}u;
  if (k0 < p.k) {
    ${fetch('A')}
    ${fetch('B')}
  }
  ${sums ? addSums : ''}
  for (var q = 0u; q < ${tile.k}u; q++) {
    ${each(groupsM, (g) => `let a${g} = slabA[q * ${tile.m / 4}u + ty + ${g * threadsM}u];`)}
    ${each(groupsN, (g) => `let b${g} = slabB[q * ${tile.n / 4}u + tx + ${g * threadsN}u];`)}
    ${outputs((r, g) => `c${r}_${g} = fma(vec4<f32>(a${Math.floor(r / 4)}.${'xyzw'[r % 4]}), b${g}, c${r}_${g});`)}
  }
}
${outputs(store)}
${sums ? storeSums(storedType(sums.dtype)) : ''}`,
  });
}
