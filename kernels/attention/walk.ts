import { fourAsItIs } from './operands.ts';
import type { AttentionTarget } from './operands.ts';

/**
 * How a workgroup works: it owns some rows (queries, or keys in the pass for dK and dV) and walks along the
 * other side's tokens, four at a time. Each row is held by `share` threads, which take every share-th vec4 of
 * it; each thread holds its part of `rows` rows.
 *
 * Measured on llvmpipe (Mesa 26) on 2 cores that other work shared, GFLOP/s a processor second, where a
 * product of 512^3 had 13 and register-only multiply-adds 20 (4 heads, D 64, T 512): products, softmax and
 * products in three kernels 8; lanes as rows of queries, keys read uniformly and unrolled by four, 2 rows a
 * lane 7, 4 rows 11; the same with a loop over the four keys 12 and 14, and compiled in 0.5 and 1.5 s instead
 * of 2.0 and 3.7 (each load is a branch there, and costs 12 ms of compilation); rows in an array instead of
 * variables 3-6; keys as 4 x 4 matrices 6. Backward: four keys at a time, each read twice 9; one at a time,
 * read once 15 (7 products, where the composite has 4, and still 1.2 to 6 times as fast as it, see
 * bench/attention.ts). At D 256, T 256, causal, a row a lane: 1.5 times as fast as the composite, 1.2 times
 * with backward. The way for GPUs (tiles in workgroup memory, rows shared by threads where registers would
 * not hold them) has been tested on software only.
 */
export interface Walk {
  /** Threads along the rows. */
  readonly lanes: number;
  readonly rows: number;
  readonly share: number;
  /**
   * Tokens of the other side staged in workgroup memory at once, a multiple of 4; 0: they are read from where
   * they lie, uniformly.
   */
  readonly tile: number;
}

/** Numbers in a head at most. */
export const widestHead = 256;

/** Numbers of rows that a GPU's thread can hold in registers beside the rest. */
const registers = 128;
/** Half of the workgroup memory that every device has; the other half is for exchanges. */
const tileBytes = 8192;

/**
 * Chooses by the device, D and `held`, the number of rows of D numbers that a thread must hold at once.
 * Forward these are q and o; backward q, g and dq, or k, v, dk and dv, in one kernel.
 */
function chooseWalk({ software }: AttentionTarget, held: number, width: number): Walk {
  if (software) {
    const rows = width > 128 ? 1 : held <= 2 && width <= 64 ? 4 : 2;
    return { lanes: 8, rows, share: 1, tile: 0 };
  }
  const wanted = (held * width) / registers;
  return sharedWalk(wanted <= 1 ? 1 : wanted <= 2 ? 2 : wanted <= 4 ? 4 : 8, width);
}

/** A walk of a GPU's threads, of which `share` hold a row. */
function sharedWalk(share: number, width: number): Walk {
  const tokenBytes = 2 * 16 * chunksOf({ share }, width) * share;
  const tile = Math.min(64, Math.floor(tileBytes / tokenBytes / 4) * 4);
  return { lanes: share === 8 ? 32 : 64, rows: 1, share, tile };
}

/**
 * Returns the walks that registers and the time to compile allow, the default first: more or fewer rows a
 * lane, or threads a row.
 */
export function walksOf(target: AttentionTarget, held: number, width: number): Walk[] {
  const chosen = chooseWalk(target, held, width);
  const others = target.software
    ? [1, 2, 4].filter((rows) => rows * width <= 256).map((rows): Walk => ({ ...chosen, rows }))
    : [1, 2, 4, 8]
        .filter((share) => (held * width) / share <= 2 * registers && 4 * share <= width)
        .map((share) => sharedWalk(share, width));
  return [chosen, ...others.filter(({ rows, share }) => rows !== chosen.rows || share !== chosen.share)];
}

/** Returns the last part of a kernel's name. */
export const walkName = ({ tile }: Walk): string => (tile > 0 ? 'tiled' : 'lanes');
export const threadsOf = ({ lanes, share }: Walk): number => lanes * share;
export const rowsOf = ({ lanes, rows }: Walk): number => lanes * rows;

/** vec4s of a row that a thread holds; the last may lie past the row's end. */
const chunksOf = ({ share }: Pick<Walk, 'share'>, width: number): number => Math.ceil(width / 4 / share);

/** Lines of code, one for each i below count. */
export const each = (count: number, fn: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => fn(i)).join('\n');

export type WalkCode = ReturnType<typeof walkCode>;

/**
 * WGSL of the parts that all passes share: a thread's rows r = 0, 1, .. in registers as vec4s c = 0, 1, ..
 * (NAMEr_c), a walk along the other side's tokens in blocks of four (`at` the first of them), products of
 * rows with tokens, sums of tokens into rows. Scores, weights and the like, one for a row
 * and each token of a block, are vec4s NAMEr. `four` reads tokens of the other side.
 */
export function walkCode(walk: Walk, width: number, four = fourAsItIs) {
  const { rows, share, tile } = walk;
  const [threads, all] = [threadsOf(walk), rowsOf(walk)];
  /** vec4s of a row, of it in a thread, and from one staged token to the next. */
  const columns = width / 4;
  const chunks = chunksOf(walk, width);
  const pitch = chunks * share;

  const forRows = (fn: (r: number) => string): string => each(rows, fn);
  const forChunks = (fn: (r: number, c: number) => string): string => forRows((r) => each(chunks, (c) => fn(r, c)));
  /** Which of the row's vec4s is the thread's c-th, and whether it may lie past the row's end. */
  const column = (c: number): string => (share === 1 ? `${c}` : `${c * share} + part`);
  const overhangs = (c: number): boolean => (c + 1) * share > columns;
  /** The thread's c-th vec4 of token e. */
  const tokenAt = (name: string, which: 0 | 1, c: number): string =>
    tile > 0 ? `tile${which}[${name}At + ${column(c)}]` : four(name, `${name}At`, column(c));

  return {
    walk,
    chunks,
    forRows,

    /**
     * Binds head, tile and rows of the thread in workgroup `group` of this kind, of `length` rows a head;
     * leaves main past the last head.
     */
    place: (group: string, length: string, lastFirst: boolean): string => `
let tiles = (${length} + ${all - 1}u) / ${all}u;
let head = ${group} / tiles;
if (head >= p.count) { return; }
let b = head / p.heads; let h = head % p.heads;
let start = ${lastFirst ? `(tiles - 1u - ${group} % tiles)` : `(${group} % tiles)`} * ${all}u;
let slot = ${share === 1 ? 'lane' : `lane / ${share}u`};
${share === 1 ? '' : `let part = i32(lane % ${share}u);`}
${forRows((r) => `let row${r} = start + slot * ${rows}u + ${r}u; let own${r} = min(row${r}, ${length} - 1u);`)}`,

    /** The thread's rows of a binding, times a factor. */
    loadRows: (name: string, factor = ''): string =>
      forChunks((r, c) => {
        const value = `vec4<f32>(${name}[${name}Base + i32(own${r}) * p.${name}t + ${column(c)}])${factor}`;
        const guarded = overhangs(c) ? `select(vec4<f32>(), ${value}, ${column(c)} < ${columns})` : value;
        return `let ${name}${r}_${c} = ${guarded};`;
      }),

    zeroRows: (name: string): string => forChunks((r, c) => `var ${name}${r}_${c} = vec4<f32>();`),

    scaleRows: (name: string, factor: string): string => forChunks((r, c) => `${name}${r}_${c} *= ${factor}${r};`),

    /** Writes the thread's rows, times `factor`, as operand `to` of binding `output`. */
    storeRows(
      name: string,
      factor: (r: number) => string,
      { to, output = to, length, type }: { to: string; output?: string; length: string; type: string },
    ): string {
      const store = (r: number) => (c: number) => {
        const guard = overhangs(c) ? `if (${column(c)} < ${columns}) ` : '';
        return `${guard}{ ${output}[${to}At + ${column(c)}] = ${type}(${name}${r}_${c} * ${factor(r)}); }`;
      };
      return forRows(
        (r) => `if (row${r} < ${length}) {
let ${to}At = ${to}Base + i32(row${r}) * p.${to}t;
${each(chunks, store(r))}
}`,
      );
    },

    /**
     * Walks over blocks of four tokens from `from` (a multiple of 4) to `end`, of `length` in all; `names`
     * are the two bindings to be read.
     */
    blocks(from: string, end: string, length: string, names: readonly [string, string], body: string): string {
      if (tile === 0) return `for (var at = ${from}; at < ${end}; at += 4u) {\n${body}\n}`;
      const stage = names.map((name, i) => {
        const value = four(name, `${name}Base + token * p.${name}t`, 'column');
        return `tile${i}[e] = ${pitch === columns ? value : `select(vec4<f32>(), ${value}, column < ${columns})`};`;
      });
      return `for (var first = ${from}; first < ${end}; first += ${tile}u) {
workgroupBarrier();
for (var e = lane; e < ${tile * pitch}u; e += ${threads}u) {
let token = i32(min(first + e / ${pitch}u, ${length} - 1u)); let column = i32(e % ${pitch}u);
${stage.join('\n')}
}
workgroupBarrier();
for (var at = first; at < min(first + ${tile}u, ${end}); at += 4u) {
${body}
}
}`;
    },

    /**
     * A loop over the block's tokens (`token`, in place e = 0..3), of `length` in all: unrolled, the loads
     * alone would cost seconds of compilation on software drivers.
     */
    tokens(length: string, names: readonly string[], body: string): string {
      const start = (name: string): string =>
        tile > 0
          ? `let ${name}At = i32(token - first) * ${pitch};`
          : `let ${name}At = ${name}Base + i32(min(token, ${length} - 1u)) * p.${name}t;`;
      return `for (var e = 0u; e < 4u; e++) {\nlet token = at + e;\n${names.map(start).join('\n')}\n${body}\n}`;
    },

    /** The thread's part of the products of its rows with token e, as INTOr. */
    dot(into: string, row: string, token: string, which: 0 | 1): string {
      const products = (c: number): string =>
        ['x', 'y', 'z', 'w']
          .map((x, i) =>
            forRows((r) => {
              const sum = `${into}${r}_${i % 2}`; // two chains a row hide latency
              return `${sum} = fma(${row}${r}_${c}.${x}, x.${x}, ${sum});`;
            }),
          )
          .join('\n');
      return `${forRows((r) => `var ${into}${r}_0 = 0.0; var ${into}${r}_1 = 0.0;`)}
${each(chunks, (c) => `{ let x = ${tokenAt(token, which, c)};\n${products(c)} }`)}
${forRows((r) => `var ${into}${r} = ${into}${r}_0 + ${into}${r}_1;`)}`;
    },

    /** Numbers NAMEr of token e as component e of the block's INTOr. */
    collect: (into: string, name: string): string =>
      forRows(
        (r) => `${into}${r} = select(${into}${r}, vec4<f32>(${name}${r}), vec4<u32>(e) == vec4<u32>(0u, 1u, 2u, 3u));`,
      ),

    /** rows += weight * token e, the weight a WGSL expression for row r. */
    accumulate(name: string, weight: (r: number) => string, token: string, which: 0 | 1): string {
      const add = (c: number) => (r: number) => `${name}${r}_${c} = fma(vec4<f32>(${weight(r)}), x, ${name}${r}_${c});`;
      return each(chunks, (c) => `{ let x = ${tokenAt(token, which, c)};\n${forRows(add(c))} }`);
    },

    /** Workgroup variables, for `sums` vec4s a row that `exchange` completes at once. */
    shared: (sums: number): string =>
      [
        ...(tile > 0 ? [0, 1].map((i) => `var<workgroup> tile${i}: array<vec4<f32>, ${tile * pitch}>;`) : []),
        ...(share > 1 ? [`var<workgroup> exchanged: array<vec4<f32>, ${sums * rows * threads}>;`] : []),
      ].join('\n'),

    /** Completes vec4s over the threads that share a row, in the same order in all of them. */
    exchange(names: readonly string[]): string {
      if (share === 1) return '';
      const sums = names.flatMap((name) => Array.from({ length: rows }, (_, r) => `${name}${r}`));
      const sum = (i: number): string =>
        Array.from({ length: share }, (_, s) => `exchanged[${i * threads + s}u + slot * ${share}u]`).join(' + ');
      return `${sums.map((name, i) => `exchanged[${i * threads}u + lane] = ${name};`).join('\n')}
workgroupBarrier();
${sums.map((name, i) => `${name} = ${sum(i)};`).join('\n')}
workgroupBarrier();`;
    },
  };
}
