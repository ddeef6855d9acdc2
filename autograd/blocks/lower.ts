import type { Dtype } from '../../kernels/kernel.ts';
import { copyInto } from '../copy.ts';
import type { Lowering, Op, Port } from '../op.ts';
import { sinkOf, sourceOf } from '../ports.ts';
import type { Tensor } from '../tensor.ts';
import { isBindable, tooLarge, windowed } from './window.ts';

/**
 * Lowers one application of an op: the way from the tape to kernels, immediate or compiled. Tensors too large
 * for one binding of which the op sees a small part are bound in windows; where a part is too large itself
 * the op's record says how to cut it.
 */
export function lowerOp<A>(
  name: string,
  op: Op<A>,
  lowering: Omit<Lowering, 'source' | 'sink'>,
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  attrs: A,
): void {
  const { target } = lowering;
  const bindable = (x: Tensor): boolean => isBindable(x, target);
  const lower = (ins: readonly Tensor[], outs: readonly Tensor[], own: A): void => {
    const { fused } = lowering;
    const source = (i: number): Port => fused?.sources.get(i) ?? sourceOf(ins[i]!);
    const sink = (): Port => fused?.sink ?? sinkOf(outs[0]!);
    op.lower({ ...lowering, source, sink }, ins, outs, own);
  };
  if (inputs.every(bindable) && outputs.every(bindable)) return lower(inputs, outputs, attrs);
  const fitted = inputs.map((x) => (bindable(x) ? x : (windowed(x, target) ?? x)));
  const fits = fitted.every(bindable) && outputs.every(bindable);
  if (fits || !op.blocks) return lower(fitted, outputs, attrs);
  const known = new Map<string, Tensor>();
  const scratch = (shape: readonly number[], dtype: Dtype, purpose = ''): Tensor => {
    const key = `${purpose}${dtype}[${shape.join()}]`;
    if (!known.has(key)) known.set(key, lowering.temporary(shape, dtype));
    return known.get(key)!;
  };
  const part = (ins: readonly Tensor[], outs: readonly Tensor[], own: A): void => {
    const fit = (x: Tensor): Tensor => {
      const y = x.offset === 0 && bindable(x) ? x : windowed(x, target);
      if (!y) throw tooLarge(name, x, target);
      return y;
    };
    // Kernels write row-major from offset 0: other results are moved to their places.
    const results = outs.map((y, k) => {
      const own = y.isContiguous ? windowed(y, target) : undefined;
      return own?.offset === 0 ? own : scratch(y.shape, y.dtype, `output ${k} `);
    });
    lower(ins.map(fit), results, own);
    outs.forEach((y, k) => {
      if (results[k]!.storage !== y.storage) copyInto(lowering, results[k]!, results[k]!, y, y);
    });
  };
  op.blocks({ ...lowering, name, scratch, part }, fitted, outputs, attrs);
}
