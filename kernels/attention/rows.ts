import { chunksOf, threadsOf } from './walk.ts';
import type { Walk } from './walk.ts';

/** Lines of code, one for each i below count. */
export const each = (count: number, fn: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => fn(i)).join('\n');

/**
 * WGSL of the parts that all passes share: a thread's rows r = 0, 1, .. in registers as vec4s c = 0, 1, ..
 * (NAMEr_c), a walk along the other side's tokens in blocks of four (`at` the first of them), products of
 * rows with tokens, sums of tokens into rows. What belongs to a row and the tokens of a block, as scores and
 * weights do, is a vec4 NAMEr.
 */
export class RowCode {
  readonly walk: Walk;
  readonly chunks: number;
  /** vec4s of a row. */
  private readonly columns: number;
  /** vec4s from one staged token to the next. */
  private readonly pitch: number;

  constructor(walk: Walk, width: number) {
    this.walk = walk;
    this.columns = width / 4;
    this.chunks = chunksOf(walk, width);
    this.pitch = this.chunks * walk.share;
  }

  forRows(fn: (r: number) => string): string {
    return each(this.walk.rows, fn);
  }

  private forChunks(fn: (r: number, c: number) => string): string {
    return this.forRows((r) => each(this.chunks, (c) => fn(r, c)));
  }

  /** Which of the row's vec4s is the thread's c-th. */
  private column(c: number): string {
    return this.walk.share === 1 ? `${c}` : `${c * this.walk.share} + part`;
  }

  /** Whether the thread's c-th vec4 may lie past the row's end. */
  private overhangs(c: number): boolean {
    return (c + 1) * this.walk.share > this.columns;
  }

  /**
   * Head, tile and rows of the thread in workgroup `group` of this kind, of `length` rows a head; leaves main
   * past the last head.
   */
  place(group: string, length: string, lastFirst: boolean): string {
    const { lanes, rows, share } = this.walk;
    const all = lanes * rows;
    return `
let tiles = (${length} + ${all - 1}u) / ${all}u;
let head = ${group} / tiles;
if (head >= p.count) { return; }
let b = head / p.heads; let h = head % p.heads;
let start = ${lastFirst ? `(tiles - 1u - ${group} % tiles)` : `(${group} % tiles)`} * ${all}u;
let slot = ${share === 1 ? 'lane' : `lane / ${share}u`};
${share === 1 ? '' : `let part = i32(lane % ${share}u);`}
${this.forRows((r) => `let row${r} = start + slot * ${rows}u + ${r}u; let own${r} = min(row${r}, ${length} - 1u);`)}`;
  }

  /** The thread's rows of a binding, times a factor. */
  loadRows(name: string, binding: string, factor = ''): string {
    return this.forChunks((r, c) => {
      const column = this.column(c);
      const value = `vec4<f32>(${binding}[${binding}Base + i32(own${r}) * p.${binding}t + ${column}])${factor}`;
      return `let ${name}${r}_${c} = ${this.overhangs(c) ? `select(vec4<f32>(), ${value}, ${column} < ${this.columns})` : value};`;
    });
  }

  zeroRows(name: string): string {
    return this.forChunks((r, c) => `var ${name}${r}_${c} = vec4<f32>();`);
  }

  scaleRows(name: string, factor: string): string {
    return this.forChunks((r, c) => `${name}${r}_${c} *= ${factor}${r};`);
  }

  /** Writes the thread's rows, times `factor`, as operand `to` of binding `output`. */
  storeRows(
    name: string,
    factor: (r: number) => string,
    output: string,
    to: string,
    length: string,
    type: string,
  ): string {
    const store = (r: number) => (c: number) => {
      const column = this.column(c);
      const guard = this.overhangs(c) ? `if (${column} < ${this.columns}) ` : '';
      return `${guard}{ ${output}[${to}At + ${column}] = ${type}(${name}${r}_${c} * ${factor(r)}); }`;
    };
    return this.forRows(
      (r) => `if (row${r} < ${length}) {
let ${to}At = ${to}Base + i32(row${r}) * p.${to}t;
${each(this.chunks, store(r))}
}`,
    );
  }

  /**
   * Walks over blocks of four tokens from `from` (a multiple of 4) to `end`, of `length` in all; `names` are
   * the two bindings to be read.
   */
  blocks(from: string, end: string, length: string, names: readonly [string, string], body: string): string {
    const { tile } = this.walk;
    if (tile === 0) return `for (var at = ${from}; at < ${end}; at += 4u) {\n${body}\n}`;
    const stage = names.map((name, i) => {
      const value = `vec4<f32>(${name}[${name}Base + token * p.${name}t + column])`;
      return `tile${i}[e] = ${this.pitch === this.columns ? value : `select(vec4<f32>(), ${value}, column < ${this.columns})`};`;
    });
    return `for (var first = ${from}; first < ${end}; first += ${tile}u) {
workgroupBarrier();
for (var e = lane; e < ${tile * this.pitch}u; e += ${threadsOf(this.walk)}u) {
let token = i32(min(first + e / ${this.pitch}u, ${length} - 1u)); let column = i32(e % ${this.pitch}u);
${stage.join('\n')}
}
workgroupBarrier();
for (var at = first; at < min(first + ${tile}u, ${end}); at += 4u) {
${body}
}
}`;
  }

  /**
   * A loop over the block's tokens (`token`, in place e = 0..3), of `length` in all: unrolled, the loads
   * alone would cost seconds of compilation on software drivers.
   */
  tokens(length: string, names: readonly string[], body: string): string {
    const start = (name: string): string =>
      this.walk.tile > 0
        ? `let ${name}At = i32(token - first) * ${this.pitch};`
        : `let ${name}At = ${name}Base + i32(min(token, ${length} - 1u)) * p.${name}t;`;
    return `for (var e = 0u; e < 4u; e++) {\nlet token = at + e;\n${names.map(start).join('\n')}\n${body}\n}`;
  }

  /** The thread's part of the products of its rows with token e, as INTOr. */
  dot(into: string, rows: string, token: string, which: 0 | 1): string {
    const products = (c: number): string =>
      ['x', 'y', 'z', 'w']
        .map((x, i) =>
          this.forRows((r) => {
            const sum = `${into}${r}_${i % 2}`; // two chains a row hide latency
            return `${sum} = fma(${rows}${r}_${c}.${x}, x.${x}, ${sum});`;
          }),
        )
        .join('\n');
    return `${this.forRows((r) => `var ${into}${r}_0 = 0.0; var ${into}${r}_1 = 0.0;`)}
${each(this.chunks, (c) => `{ let x = ${this.token(token, which, c)};\n${products(c)} }`)}
${this.forRows((r) => `var ${into}${r} = ${into}${r}_0 + ${into}${r}_1;`)}`;
  }

  /** Numbers NAMEr of token e as component e of the block's INTOr. */
  collect(into: string, name: string): string {
    const put = (r: number): string =>
      `${into}${r} = select(${into}${r}, vec4<f32>(${name}${r}), vec4<u32>(e) == vec4<u32>(0u, 1u, 2u, 3u));`;
    return this.forRows(put);
  }

  /** rows += weight * token e, the weight a WGSL expression for row r. */
  accumulate(rows: string, weight: (r: number) => string, token: string, which: 0 | 1): string {
    const add = (c: number) => (r: number) => `${rows}${r}_${c} = fma(vec4<f32>(${weight(r)}), x, ${rows}${r}_${c});`;
    return each(this.chunks, (c) => `{ let x = ${this.token(token, which, c)};\n${this.forRows(add(c))} }`);
  }

  /** The thread's c-th vec4 of token e. */
  private token(name: string, which: 0 | 1, c: number): string {
    const index = `${name}At + ${this.column(c)}`;
    return this.walk.tile > 0 ? `tile${which}[${index}]` : `vec4<f32>(${name}[${index}])`;
  }

  /** Workgroup variables, for `sums` vec4s a row that `exchange` completes at once. */
  shared(sums: number): string {
    const { tile, share, rows } = this.walk;
    return [
      ...(tile > 0 ? [0, 1].map((i) => `var<workgroup> tile${i}: array<vec4<f32>, ${tile * this.pitch}>;`) : []),
      ...(share > 1 ? [`var<workgroup> exchanged: array<vec4<f32>, ${sums * rows * threadsOf(this.walk)}>;`] : []),
    ].join('\n');
  }

  /** Completes vec4s over the threads that share a row, in the same order in all of them. */
  exchange(names: readonly string[]): string {
    const { share, rows } = this.walk;
    if (share === 1) return '';
    const threads = threadsOf(this.walk);
    const all = names.flatMap((name) => Array.from({ length: rows }, (_, r) => `${name}${r}`));
    const sum = (i: number): string =>
      Array.from({ length: share }, (_, s) => `exchanged[${i * threads + s}u + slot * ${share}u]`).join(' + ');
    return `${all.map((name, i) => `exchanged[${i * threads}u + lane] = ${name};`).join('\n')}
workgroupBarrier();
${all.map((name, i) => `${name} = ${sum(i)};`).join('\n')}
workgroupBarrier();`;
  }
}
