import { bytesOf, computeType, f32, i32, quad, read, storedType, u32, write } from '../kernel.ts';
import type { Binding, Dtype, Param } from '../kernel.ts';
import { collapse, contiguousLayout, rowMajor, sizeOf, vectorises } from '../layout.ts';
import type { Collapsed, Layout } from '../layout.ts';
import { philoxWgsl } from '../philox.ts';
import { drawParams } from '../random.ts';
import type { Draw } from '../random.ts';
import { functionsUsedBy } from './functions.ts';
import { print } from './print.ts';
import { input } from './expr.ts';
import type { Expr, Kind } from './expr.ts';

export interface ElementOperand {
  readonly dtype: Dtype;
  readonly kind: Kind;
  /** Broadcast to the shape of the index space. */
  readonly layout: Layout;
  /** Number of the output that overwrites this operand: one binding serves both. */
  readonly output?: number;
}

export interface ElementOutput {
  readonly expr: Expr;
  readonly dtype: Dtype;
  /** Default: row-major from offset 0. */
  readonly layout?: Layout;
  /** The output has a buffer of its own: the last vec4 may reach into the padding behind it. */
  readonly fresh?: boolean;
}

/**
 * Elementwise expressions of operands over one index space. A map computes them; fusion adds them to the
 * loads and stores of other kernels.
 */
export interface Elements {
  readonly shape: readonly number[];
  readonly operands: readonly ElementOperand[];
  readonly outputs: readonly ElementOutput[];
  readonly scalars: readonly number[];
  readonly draws?: readonly Draw[];
  /**
   * Row-major index of the first element, a multiple of 4, where this is a run of a larger index space:
   * random numbers are counted over that one.
   */
  readonly start?: number;
  /** Type that the numbers are computed in. */
  readonly compute: Dtype;
}

/** The parts of a kernel that evaluate an `Elements`. */
export interface ElementCode {
  /** In order; an operand that an output overwrites is bound as that output only. */
  readonly operands: readonly Binding[];
  readonly outputs: readonly Binding[];
  readonly params: Readonly<Record<string, Param>>;
  /** WGSL functions, written in the types of `aliases`. `declare` joins those of several codes. */
  readonly functions: readonly string[];
  /** Operations an element. */
  readonly flops: number;
}

/** Neighbours along the last axis that a thread takes at once. */
export type Width = 1 | 4;

export interface CodeOptions {
  readonly width: Width;
  /** Begins the names of bindings and parameters, so that a kernel may hold several codes. */
  readonly prefix?: string;
  /**
   * Arguments that name an element: `index` takes `at`, the row-major index; `row` takes `row`, over all axes
   * but the last, and `c`, along the last in units of the width.
   */
  readonly by?: 'index' | 'row';
  /** Input 0 is a value `x0` that the kernel computed; operand k is input k + 1. */
  readonly carries?: boolean;
  /**
   * Loads in a function of their own, `fn NAME_load(at: u32) -> NAME_inputs`, whose result NAME takes last:
   * a thread of several units loads all before it stores any. By index, with operands, nothing carried.
   */
  readonly split?: boolean;
}

/** Declares the WGSL types that the functions use: V for numbers, B for truths, U for words. */
export function aliases(compute: Dtype, width: Width): string {
  const vec = (type: string): string => (width === 4 ? `vec4<${type}>` : type);
  return `alias V = ${vec(computeType(compute))};\nalias B = ${vec('bool')};\nalias U = ${vec('u32')};`;
}

/** Joins the functions of several codes; one that they share appears once. */
export function declare(...codes: readonly Pick<ElementCode, 'functions'>[]): string {
  return [...new Set(codes.flatMap(({ functions }) => functions))].join('\n');
}

/**
 * Emits `fn NAME(at: u32)`, or `fn NAME(row: u32, c: u32)` (see `by`), with `x0: V` last where the kernel
 * carries a value. It evaluates the expressions and stores the results.
 */
export function storeElements(name: string, spec: Elements, options: CodeOptions): ElementCode {
  const { prefix = '' } = options;
  const layouts = spec.outputs.map(({ layout }) => layout ?? contiguousLayout(spec.shape));
  const place = new Placement(spec, layouts, options);
  const printed = print(spec.outputs.map(valueToStore));
  const first = spec.operands.length;
  const stores = spec.outputs.map(({ expr, dtype }, k) => {
    const stored = options.width === 4 ? `vec4<${storedType(dtype)}>` : storedType(dtype);
    const value = printed.results[k]!;
    // A bool is stored as 0 or 1, whatever number made it.
    const truth = expr.kind === 'b' ? value : dtype === 'bool' ? `!(${value} == V(0))` : undefined;
    const converted = truth === undefined ? `${stored}(${value})` : `select(${stored}(0), ${stored}(1), ${truth})`;
    return place.store(`${prefix}y${k}`, first + k, converted);
  });
  const outputs = spec.outputs.map(({ dtype }, k) => write(`${prefix}y${k}`, place.outputType(first + k, dtype)));
  return code(name, spec, place, options, printed.statements, outputs, stores);
}

/** A store in f16 rounds by itself. */
function valueToStore({ expr, dtype }: ElementOutput): Expr {
  return dtype === 'f16' && expr.op === 'half' ? expr.args[0]! : expr;
}

/**
 * Emits `fn NAME(...) -> V` with the arguments of `storeElements`. It returns the one expression of `spec`.
 */
export function loadElements(name: string, spec: Elements, options: CodeOptions): ElementCode {
  const place = new Placement(spec, [], options);
  const printed = print(spec.outputs.map(({ expr }) => expr));
  return code(name, spec, place, options, printed.statements, [], [`return ${printed.results[0]};`]);
}

function code(
  name: string,
  spec: Elements,
  place: Placement,
  { width, prefix = '', by = 'index', carries = false, split = false }: CodeOptions,
  statements: string,
  outputs: readonly Binding[],
  ending: readonly string[],
): ElementCode {
  const { operands, scalars, draws = [], start = 0, compute } = spec;
  const computed = computeType(compute);
  const params: Record<string, Param> = { ...place.params };
  const scalarParam = { f32, i32, u32 }[computed];
  scalars.forEach((value, k) => (params[`${prefix}s${k}`] = scalarParam(value)));
  if (draws.length > 0) params[`${prefix}start`] = u32(start);
  draws.forEach((draw, k) => {
    for (const [key, param] of Object.entries(drawParams(draw))) params[`${prefix}r${k}_${key}`] = param;
  });
  const bound = operands.flatMap(({ dtype, output }, k) =>
    output === undefined ? [read(`${prefix}a${k}`, place.bindingType(k, dtype))] : [],
  );
  const where = by === 'row' ? 'row: u32, c: u32' : 'at: u32';
  const more = `${carries ? ', x0: V' : ''}${split ? `, inputs: ${name}_inputs` : ''}`;
  const signature = `fn ${name}(${where}${more})${outputs.length > 0 ? '' : ' -> V'}`;
  const loads = loadsOf(spec, place, prefix, carries);
  const names = operands.map((_, k) => `x${k}`);
  const given = split ? names.map((x) => `let ${x} = inputs.${x};`) : loads;
  const body = [place.unravel, ...given, ...numbersOf(spec, prefix), statements, ...ending].filter(Boolean);
  const random = draws.length > 0 ? [philoxWgsl, unitAt(width)] : [];
  const flops = statements.split('\n').filter(Boolean).length + 25 * draws.length;
  const fields = operands.map(({ kind }, k) => `x${k}: ${kind === 'b' ? 'B' : 'V'}`);
  const loader = [place.unravel, ...loads, `return ${name}_inputs(${names.join(', ')});`].filter(Boolean);
  const functions = [
    ...random,
    ...functionsUsedBy(statements, computed, width),
    ...(split
      ? [
          `struct ${name}_inputs { ${fields.join(', ')} }`,
          `fn ${name}_load(at: u32) -> ${name}_inputs {\n${loader.join('\n')}\n}`,
        ]
      : []),
    `${signature} {\n${body.join('\n')}\n}`,
  ];
  return { operands: bound, outputs, params, functions, flops };
}

/** Emits the random number of the element with row-major index `at`: four to a block, whatever the width. */
function unitAt(width: Width): string {
  const block = 'unit(philox(vec4<u32>(at / 4u, 0u, low, high), vec2<u32>(key0, key1)))';
  return `fn unit_at(at: u32, key0: u32, key1: u32, low: u32, high: u32) -> V {
  return ${block}${width === 4 ? '' : '[at % 4u]'};
}`;
}

function loadsOf({ operands, compute }: Elements, place: Placement, prefix: string, carries: boolean): string[] {
  const computed = computeType(compute);
  return operands.map(({ dtype, kind, output }, k) => {
    const x = `x${carries ? k + 1 : k}`;
    const array = output === undefined ? `${prefix}a${k}` : `${prefix}y${output}`;
    const { text, vector } = place.load(array, k, dtype);
    if (kind === 'b') return `let ${x} = B(!(${text} == ${vector ? `vec4<${storedType(dtype)}>(0)` : '0'}));`;
    return `let ${x} = ${vector ? `V(${text})` : `V(${computed}(${text}))`};`;
  });
}

/** Binds the scalars and the random numbers. */
function numbersOf({ scalars, draws = [] }: Elements, prefix: string): string[] {
  const names = ['key0', 'key1', 'low', 'high'];
  return [
    ...scalars.map((_, k) => `let s${k} = V(p.${prefix}s${k});`),
    ...draws.map(
      (_, k) => `let r${k} = unit_at(p.${prefix}start + at, ${names.map((n) => `p.${prefix}r${k}_${n}`).join(', ')});`,
    ),
  ];
}

/** Counts the distinct elements of an operand: a broadcast axis (stride 0) counts once. */
function touched(shape: readonly number[], strides: readonly number[]): number {
  return shape.reduce((product, length, axis) => (strides[axis] === 0 ? product : product * length), 1);
}

/** Returns 4 where elements at, ..., at + 3 always lie on one line of the merged axes, else 1. */
export function widthOf({ shape, operands, outputs }: Elements): Width {
  const stored = outputs.flatMap(({ layout }) => (layout ? [layout.strides] : []));
  const merged = collapse(shape, [rowMajor(shape), ...operands.map(({ layout }) => layout.strides), ...stored]);
  return (merged.shape.at(-1) ?? 1) % 4 === 0 ? 4 : 1;
}

/** Renames the types and helpers that depend on the width, so that a kernel may hold codes of two widths. */
export function renamed<C extends Pick<ElementCode, 'functions'>>(code: C, suffix: string): C {
  const names = /\b(V|B|U|unit_at|(?:is_nan|[a-z0-9]+|is_finite)_)(?=[\s();,>])/g;
  return { ...code, functions: code.functions.map((text) => text.replace(names, `$1${suffix}`)) };
}

const asItIs = input(0);

/** Describes an operand's elements as they lie in memory, for `loadElements`. */
export function plainSource({ dtype, layout }: Omit<ElementOperand, 'kind'>): Elements {
  const operands = [{ dtype, kind: 'v' as const, layout }];
  return { shape: layout.shape, operands, outputs: [{ expr: asItIs, dtype }], scalars: [], compute: dtype };
}

/** Describes a store of the carried value as it is, for `storeElements`. */
export function plainSink(shape: readonly number[], dtype: Dtype): Elements {
  return { shape, operands: [], outputs: [{ expr: asItIs, dtype }], scalars: [], compute: dtype };
}

/** Counts the bytes that evaluating the expressions moves at least; `stores` counts the outputs too. */
export function bytesMoved({ shape, operands, outputs }: Elements, stores: boolean): number {
  const read = operands.map(({ dtype, layout }) => touched(shape, layout.strides) * bytesOf(dtype));
  const written = stores ? outputs.map(({ dtype }) => sizeOf(shape) * bytesOf(dtype)) : [];
  return [...read, ...written].reduce((a, b) => a + b, 0);
}

/**
 * WGSL of the places of operands and outputs, numbered one after the other. Axes are merged first, so that
 * contiguous operands need no index arithmetic.
 */
class Placement {
  readonly width: Width;
  readonly params: Record<string, Param> = {};
  readonly unravel: string;
  private readonly merged: Collapsed;
  private readonly layouts: readonly Layout[];
  private readonly prefix: string;
  private readonly indices: readonly string[];

  constructor(spec: Elements, outputs: readonly Layout[], { width, prefix = '', by = 'index' }: CodeOptions) {
    const { shape, operands, draws = [] } = spec;
    this.width = width;
    this.prefix = prefix;
    this.layouts = [...operands.map(({ layout }) => layout), ...outputs];
    const strides = this.layouts.map((layout) => layout.strides);
    if (by === 'row') {
      const outer = collapse(
        shape.slice(0, -1),
        strides.map((list) => list.slice(0, -1)),
      );
      const cols = shape.at(-1)!;
      this.merged = {
        shape: [...outer.shape, cols],
        strides: outer.strides.map((list, k) => [...list, strides[k]!.at(-1)!]),
      };
      this.unravel = this.unraveled('row', this.rank - 2, [`let i${this.rank - 1} = c;`]);
      if (draws.length > 0) {
        this.params[`${prefix}cols`] = u32(cols);
        this.unravel += `\nlet at = row * p.${prefix}cols + c${width === 4 ? ' * 4u' : ''};`;
      }
    } else {
      this.merged = collapse(shape, strides);
      this.unravel = this.rank > 0 ? this.unraveled(width === 4 ? 'at / 4u' : 'at', this.rank - 1, []) : '';
    }
    this.indices = this.layouts.map((_, k) => this.index(k));
  }

  /** Stores a value (four elements at width 4) in the place of operand or output k. */
  store(array: string, k: number, value: string): string {
    const index = this.indices[k]!;
    if (this.width === 1) return `${array}[${index}] = ${value};`;
    if (!this.scatters(k)) return `${array}[${quad(index)}] = ${value};`;
    const elements = [0, 1, 2, 3].map((e) => `${array}[${index} + ${e}${this.step(k)}] = four[${e}];`);
    return `{ let four = ${value}; ${elements.join(' ')} }`;
  }

  bindingType(k: number, dtype: Dtype): string {
    return this.mode(k) === 'vector' ? `vec4<${storedType(dtype)}>` : storedType(dtype);
  }

  load(array: string, k: number, dtype: Dtype): { text: string; vector: boolean } {
    const index = this.indices[k]!;
    const mode = this.mode(k);
    if (mode === 'vector') return { text: `${array}[${quad(index)}]`, vector: true };
    if (mode === 'single') return { text: `${array}[${index}]`, vector: false };
    const elements = [0, 1, 2, 3].map((e) => `${array}[${index} + ${e}${this.step(k)}]`);
    return { text: `vec4<${storedType(dtype)}>(${elements.join(', ')})`, vector: true };
  }

  /** WGSL type of the elements of output k's binding. */
  outputType(k: number, dtype: Dtype): string {
    return this.width === 4 && !this.scatters(k) ? `vec4<${storedType(dtype)}>` : storedType(dtype);
  }

  /**
   * Whether four neighbours are stored one by one; at rank 0 they are one vec4 that reaches into the padding.
   */
  private scatters(k: number): boolean {
    return this.rank > 0 && !vectorises(this.layouts[k]!.offset, this.merged.strides[k]!);
  }

  /** Factor of the distance between neighbours along the last axis: nothing for stride 1. */
  private step(k: number): string {
    return this.merged.strides[k]!.at(-1) === 1 ? '' : ` * p.${this.prefix}k${k}_${this.rank - 1}`;
  }

  private get rank(): number {
    return this.merged.shape.length;
  }

  private mode(k: number): 'vector' | 'single' | 'gather' {
    const strides = this.merged.strides[k]!;
    const last = strides[this.rank - 1] ?? 0;
    if (this.width === 1 || last === 0) return 'single';
    return vectorises(this.layouts[k]!.offset, strides) ? 'vector' : 'gather';
  }

  /**
   * Emits the position i0, i1, ... along each merged axis up to `last`, from the row-major number `from`. The
   * last axis counts in units of the width.
   */
  private unraveled(from: string, last: number, lines: string[]): string {
    if (last < 0) return lines.join('\n');
    lines.push(`var rest = ${from};`);
    for (let axis = last; axis >= 1; axis--) {
      const length = this.merged.shape[axis]!;
      const name = `${this.prefix}d${axis}`;
      this.params[name] = u32(axis === this.rank - 1 ? length / this.width : length);
      lines.push(`let i${axis} = rest % p.${name}; rest = rest / p.${name};`);
    }
    lines.push('let i0 = rest;');
    return lines.join('\n');
  }

  private index(k: number): string {
    const name = (what: string): string => `${this.prefix}${what}`;
    this.params[name(`o${k}`)] = i32(this.layouts[k]!.offset);
    const terms = this.merged.strides[k]!.flatMap((stride, axis) => {
      if (stride === 0) return [];
      const last = axis === this.rank - 1;
      if (last && stride === 1) return [this.width === 4 ? `i32(i${axis}) * 4` : `i32(i${axis})`];
      this.params[name(`k${k}_${axis}`)] = i32(stride);
      return [`i32(i${axis})${last && this.width === 4 ? ' * 4' : ''} * p.${name(`k${k}_${axis}`)}`];
    });
    return [`p.${name(`o${k}`)}`, ...terms].join(' + ');
  }
}
