import type { Dispatch } from '../../gpu/dispatch.ts';
import { bytesOf, computeType, f32, i32, kernel, read, storedType, u32, write } from '../kernel.ts';
import type { Dtype, Param } from '../kernel.ts';
import { collapse, sizeOf } from '../layout.ts';
import type { Layout } from '../layout.ts';
import { functionsUsedBy } from './functions.ts';
import { print } from './print.ts';
import type { Expr, Kind } from './expr.ts';

export interface MapOperand {
  readonly dtype: Dtype;
  readonly kind: Kind;
  /** Already broadcast to the output's shape. */
  readonly layout: Layout;
}

export interface MapParams {
  readonly name: string;
  readonly expr: Expr;
  readonly operands: readonly MapOperand[];
  readonly scalars: readonly number[];
  /** Type the numbers are computed in. */
  readonly compute: Dtype;
  /** `fresh`: the output has the buffer to itself, so that writes may overhang into the padding behind it. */
  readonly output: { readonly dtype: Dtype; readonly layout: Layout; readonly fresh?: boolean };
  /** Operand 0 is the output itself: one read_write binding serves both. */
  readonly inPlace?: boolean;
}

const workgroup = 64;

/**
 * Elementwise kernel over strided operands into a strided output. Bindings: the operands (without the first when it is updated in
 * place), then the output.
 * Variants: four neighbours of the last axis a thread where every operand allows it (vec4 loads, or one value for the four), else
 * one element a thread. Axes are merged first, so flat cases need no index arithmetic and few ranks occur.
 */
export function map(params: MapParams): Dispatch {
  const { name, expr, operands, scalars, compute, output, inPlace = false } = params;
  const { shape } = output.layout;
  const layouts = [...operands.map(({ layout }) => layout), output.layout];
  const merged = collapse(
    shape,
    layouts.map(({ strides }) => strides),
  );
  const rank = merged.shape.length;
  const vectors = layouts.map(({ offset }, k) => vectorises(offset, merged.strides[k]!));
  const stores = merged.strides[operands.length]![rank - 1] ?? 1;
  const width =
    vectors.every(Boolean) && (rank === 0 || stores === 1) && fits(merged.shape, output.fresh === true) ? 4 : 1;
  const count = sizeOf(shape);
  const threads = Math.ceil(count / width);

  const wgslParams: Record<string, Param> = { n: u32(threads) };
  for (let axis = 1; axis < rank; axis++) {
    wgslParams[`d${axis}`] = u32(axis === rank - 1 ? merged.shape[axis]! / width : merged.shape[axis]!);
  }
  /** Index of the thread's element (or vec4) of operand k, and the parameters it needs. */
  const index = (k: number): string => {
    wgslParams[`o${k}`] = i32(layouts[k]!.offset);
    const terms = merged.strides[k]!.flatMap((stride, axis) => {
      if (stride === 0) return [];
      if (axis === rank - 1 && width === 4) return [`i32(i${axis}) * 4`];
      wgslParams[`k${k}_${axis}`] = i32(stride);
      return [`i32(i${axis}) * p.k${k}_${axis}`];
    });
    return [`p.o${k}`, ...terms].join(' + ');
  };
  const isVector = (k: number): boolean => width === 4 && rank > 0 && merged.strides[k]![rank - 1] === 1;
  const stored = width === 4 ? `vec4<${storedType(output.dtype)}>` : storedType(output.dtype);
  const computed = computeType(compute);

  const out = operands.length;
  const target = `y[(${index(out)})${width === 4 ? ' / 4' : ''}]`;
  const loads = operands.map(({ dtype, kind }, k) => {
    const vector = isVector(k);
    const element = inPlace && k === 0 ? target : `a${k}[(${index(k)})${vector ? ' / 4' : ''}]`;
    if (kind === 'b') return `let x${k} = B(!(${element} == ${vector ? `vec4<${storedType(dtype)}>(0)` : '0'}));`;
    return `let x${k} = ${vector ? `V(${element})` : `V(${computed}(${element}))`};`;
  });
  const scalarParam = { f32, i32, u32 }[computed];
  scalars.forEach((value, k) => (wgslParams[`s${k}`] = scalarParam(value)));

  const printed = print(expr);
  const result = printed.result;
  const vec = (type: string): string => (width === 4 ? `vec4<${type}>` : type);
  const bindings = operands.map(({ dtype }, k) =>
    read(`a${k}`, isVector(k) ? `vec4<${storedType(dtype)}>` : storedType(dtype)),
  );
  if (inPlace) bindings.shift();
  return kernel({
    name,
    bindings: [...bindings, write('y', stored)],
    params: wgslParams,
    workgroup,
    groups: Math.ceil(threads / workgroup),
    cost: {
      flops: count * Math.max(1, printed.statements.split('\n').length),
      bytes:
        count * bytesOf(output.dtype) + operands.reduce((sum, o, k) => sum + touched(merged, k) * bytesOf(o.dtype), 0),
    },
    declarations: `alias V = ${vec(computed)};\nalias B = ${vec('bool')};\nalias U = ${vec('u32')};\n${functionsUsedBy(printed.statements, computed, width)}`,
    body: `
if (id >= p.n) { return; }
${unravel(rank)}
${loads.join('\n')}
${scalars.map((_, k) => `let s${k} = V(p.s${k});`).join('\n')}
${printed.statements}
${target} = ${expr.kind === 'b' ? `select(${stored}(0), ${stored}(1), ${result})` : `${stored}(${result})`};`,
  });
}

/** An operand can be read as vec4, or as one value for four lanes, wherever the last axis starts. */
function vectorises(offset: number, strides: readonly number[]): boolean {
  const last = strides[strides.length - 1] ?? 0;
  if (last === 0) return true;
  return last === 1 && offset % 4 === 0 && strides.slice(0, -1).every((s) => s % 4 === 0);
}

/** The last axis must divide by 4; a whole flat output may overhang into its buffer's padding instead. */
function fits(shape: readonly number[], fresh: boolean): boolean {
  const inner = shape[shape.length - 1] ?? 1;
  return inner % 4 === 0 || (shape.length <= 1 && fresh);
}

/** Index along each merged axis, from the thread's id. */
function unravel(rank: number): string {
  if (rank === 0) return '';
  const lines = ['var rest = id;'];
  for (let axis = rank - 1; axis >= 1; axis--)
    lines.push(`let i${axis} = rest % p.d${axis}; rest = rest / p.d${axis};`);
  lines.push('let i0 = rest;');
  return lines.join('\n');
}

/** Elements operand k really has: a broadcast axis is read once. */
function touched({ shape, strides }: { shape: number[]; strides: number[][] }, k: number): number {
  return shape.reduce((product, length, axis) => (strides[k]![axis] === 0 ? product : product * length), 1);
}
