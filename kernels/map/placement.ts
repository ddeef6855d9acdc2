import { i32, storedType, u32 } from '../kernel.ts';
import type { Dtype, Param } from '../kernel.ts';
import { collapse } from '../layout.ts';
import type { Collapsed, Layout } from '../layout.ts';
import type { CodeOptions, Elements, Width } from './elements.ts';

/**
 * Whether four neighbours of the last axis can be read (or written) at once, or are one value, wherever the
 * axis starts.
 */
export function vectorises(offset: number, strides: readonly number[]): boolean {
  const last = strides[strides.length - 1] ?? 0;
  if (last === 0) return true;
  return last === 1 && offset % 4 === 0 && strides.slice(0, -1).every((s) => s % 4 === 0);
}

/**
 * Where each operand's and output's elements lie, given `at`. Axes are merged first, so that flat cases need
 * no index arithmetic.
 */
export class Placement {
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

  /** Stores a value, four elements of it where the width is four, at the place of operand or output k. */
  store(array: string, k: number, value: string): string {
    const index = this.indices[k]!;
    if (this.width === 1) return `${array}[${index}] = ${value};`;
    if (!this.scatters(k)) return `${array}[(${index}) / 4] = ${value};`;
    const elements = [0, 1, 2, 3].map((e) => `${array}[${index} + ${e}${this.step(k)}] = four[${e}];`);
    return `{ let four = ${value}; ${elements.join(' ')} }`;
  }

  bindingType(k: number, dtype: Dtype): string {
    return this.mode(k) === 'vector' ? `vec4<${storedType(dtype)}>` : storedType(dtype);
  }

  load(array: string, k: number, dtype: Dtype): { text: string; vector: boolean } {
    const index = this.indices[k]!;
    const mode = this.mode(k);
    if (mode === 'vector') return { text: `${array}[(${index}) / 4]`, vector: true };
    if (mode === 'single') return { text: `${array}[${index}]`, vector: false };
    const elements = [0, 1, 2, 3].map((e) => `${array}[${index} + ${e}${this.step(k)}]`);
    return { text: `vec4<${storedType(dtype)}>(${elements.join(', ')})`, vector: true };
  }

  /** WGSL type of the elements of output k's binding. */
  outputType(k: number, dtype: Dtype): string {
    return this.width === 4 && !this.scatters(k) ? `vec4<${storedType(dtype)}>` : storedType(dtype);
  }

  /** Whether four neighbours of an output must be stored one by one. A single element overhangs its padding. */
  private scatters(k: number): boolean {
    return this.rank > 0 && !vectorises(this.layouts[k]!.offset, this.merged.strides[k]!);
  }

  /** From an element to its neighbour along the last axis. */
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
   * Position along each merged axis up to `last`, from one running number; the last axis of all counts in
   * units of the width.
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
