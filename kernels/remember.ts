import { BoundedCache } from '../common/collections.ts';
import type { Target } from '../gpu/device.ts';
import type { Dispatch } from '../gpu/dispatch.ts';
import type { Operand } from './layout.ts';
import type { Elements } from './map/elements.ts';
import type { Expr } from './map/expr.ts';
import { drawParams } from './random.ts';
import type { Draw } from './random.ts';

/** A kernel generator: operands by the names of its WGSL variables, attributes, device. It is pure. */
export type Kernel<K, A> = (operands: K, attrs: A, target: Target) => Dispatch;

/** A kernel's operands, whatever it is. */
type Operands = Readonly<Record<string, Operand | Elements | readonly Operand[] | undefined>>;

const capacity = 1024;
const made = new WeakMap<Target, Map<unknown, BoundedCache<Dispatch>>>();

/** Stands for any draw in remembered dispatches. */
const anyDraw: Draw = { key: [0, 0], stream: 0 };

/**
 * Returns the dispatch that a generator makes of these operands and attributes, made once for equal ones: a
 * model asks for the same few dozen kernels in every step, and to write their source took most of the host's
 * time. Random draws differ from step to step, but only in a few words of the parameters, which are written
 * anew.
 */
export function remembered<K extends object, A>(kernel: Kernel<K, A>, operands: K, attrs: A, target: Target): Dispatch {
  const all = operands as Operands;
  const draws = drawsOf(all, attrs);
  const draw = draws[0];
  if (draws.some((other) => other.stream !== draw!.stream)) return kernel(operands, attrs, target);
  let kernels = made.get(target);
  if (!kernels) made.set(target, (kernels = new Map()));
  let known = kernels.get(kernel);
  if (!known) kernels.set(kernel, (known = new BoundedCache(capacity)));
  const own = draw && isDrawn(attrs) ? { ...attrs, draw: anyDraw } : attrs;
  const key = `${keyOf(all)}|${own === null ? '' : JSON.stringify(own, exact)}`;
  let dispatch = known.get(key);
  if (!dispatch) {
    dispatch = kernel(operands, own, target);
    known.set(key, dispatch);
  }
  return draw ? withDraw(dispatch, draw) : dispatch;
}

/** Writes out the numbers that JSON makes null or 0. */
const exact = (_: string, value: unknown): unknown => (typeof value === 'number' ? exactNumber(value) : value);

const exactNumber = (value: number): number | string =>
  Object.is(value, -0) ? '-0' : Number.isFinite(value) ? value : String(value);

const isDrawn = (attrs: unknown): attrs is { readonly draw: Draw } =>
  typeof attrs === 'object' && attrs !== null && 'draw' in attrs && attrs.draw !== undefined;

function drawsOf(operands: Operands, attrs: unknown): readonly Draw[] {
  const draws = isDrawn(attrs) ? [attrs.draw] : [];
  for (const name in operands) {
    const value = operands[name];
    if (isElements(value) && value.draws) draws.push(...value.draws);
  }
  return draws;
}

/** Writes another draw into a copy of a dispatch's parameters. */
function withDraw(dispatch: Dispatch, draw: Draw): Dispatch {
  const words = new Uint32Array(dispatch.params.slice().buffer);
  const values = Object.values(drawParams(draw)).map(({ value }) => value);
  for (const { word } of dispatch.draws) words.set(values, word);
  const draws = dispatch.draws.map(({ word }) => ({ word, stream: draw.stream }));
  return { ...dispatch, params: new Uint8Array(words.buffer), draws };
}

/** Returns a text that is equal for operands that differ in their draws only. Faster than JSON. */
function keyOf(operands: Operands): string {
  let key = '';
  for (const name in operands) {
    const value = operands[name];
    if (value === undefined) continue;
    key += `${name}=`;
    if (isElements(value)) key += keyOfElements(value);
    else if ('dtype' in value) key += keyOfOperand(value);
    else for (const x of value) key += `${keyOfOperand(x)},`;
    key += ';';
  }
  return key;
}

const isElements = (value: Operands[string]): value is Elements => value !== undefined && 'compute' in value;

const keyOfOperand = ({ dtype, shape, strides, offset }: Operand): string =>
  `${dtype}[${shape.join()}]${strides.join()}+${offset}`;

function keyOfElements({ shape, operands, outputs, scalars, draws, start, compute }: Elements): string {
  let key = `[${shape.join()}]${compute}(${scalars.map(exactNumber).join()})${start ?? 0}#${draws?.length ?? 0}`;
  for (const { dtype, kind, layout, output } of operands)
    key += `<${dtype}${kind}${layout.strides.join()}+${layout.offset}@${output ?? ''}`;
  for (const { expr, dtype, layout, fresh } of outputs)
    key += `>${dtype}${numberOf(expr)}${layout ? `${layout.strides.join()}+${layout.offset}` : ''}${fresh ? '!' : ''}`;
  return key;
}

/** Numbers expressions by identity: an op makes its expression once. */
function numberOf(expr: Expr): number {
  let number = numbers.get(expr);
  if (number === undefined) numbers.set(expr, (number = next++));
  return number;
}

const numbers = new WeakMap<Expr, number>();
let next = 0;
