import type { Gpu } from '../../gpu/device.ts';
import { bytesOf } from '../kernel.ts';
import { contiguousLayout } from '../layout.ts';
import type { Operand } from '../layout.ts';
import { medianTime, noise } from '../tune.ts';
import type { TunedPlan } from '../tune.ts';
import { flashAttentionBackward } from './backward.ts';
import { flashAttention } from './forward.ts';
import { sizesOf } from './operands.ts';
import { attentionPlanName, attentionPlans } from './plan.ts';
import type { AttentionWork } from './plan.ts';

/**
 * Times every plan of a pass of attention, and returns them, the fastest first. Results go to tensors of
 * their own, [B, T, H, D]. Throws where the device has no timestamps.
 */
export async function timeAttention(gpu: Gpu, work: AttentionWork): Promise<TunedPlan[]> {
  const { pass, operands, attrs } = work;
  const { batch, heads, queries, keys, width } = sizesOf(operands);
  const { dtype } = operands.q;
  const tokens = (length: number): Operand => {
    const steps = [length * heads * width, width, heads * width, 1];
    return { dtype, shape: [batch, heads, length, width], strides: steps, offset: 0 };
  };
  const ofQueries = (last: number): Operand => ({ dtype: 'f32', ...contiguousLayout([batch, heads, queries, last]) });
  const { g = tokens(queries), ...inputs } = operands;
  const forward = { ...inputs, y: tokens(queries), stats: ofQueries(2) };
  const gradients = { dq: tokens(queries), dk: tokens(keys), dv: tokens(keys) };
  const backward = { ...inputs, g, perQuery: ofQueries(4), ...gradients };
  const all = pass === 'forward' ? forward : backward;
  const dispatches = attentionPlans(gpu.target, work).map((plan) => ({
    name: attentionPlanName(plan),
    dispatch:
      pass === 'forward'
        ? flashAttention(forward, { ...attrs, plan }, gpu.target)
        : flashAttentionBackward(backward, { ...attrs, plan }, gpu.target),
  }));
  /** Documents and lengths are whole rows; all else is random. */
  const filled = (name: string, operand: Operand): Uint8Array => {
    const { shape, strides, offset } = operand;
    const last = shape.reduce((sum, length, axis) => sum + Math.max(0, (length - 1) * strides[axis]!), offset);
    const bytes = (1 + last) * bytesOf(operand.dtype);
    if (name !== 'ranges' && name !== 'lengths')
      return noise(bytes, operand.dtype === 'f16' || operand.dtype === 'f32' ? operand.dtype : undefined);
    const number = (i: number): number => (name === 'lengths' ? keys - queries + 1 : ((i - offset) % 2) * keys);
    return new Uint8Array(Int32Array.from({ length: Math.max(4, bytes / 4) }, (_, i) => number(i)).buffer);
  };
  const memory = new Map(
    Object.entries(all).flatMap(([name, operand]) =>
      operand === undefined ? [] : [[name, gpu.upload(filled(name, operand), 'tune')] as const],
    ),
  );
  const times: TunedPlan[] = [];
  let best = Infinity;
  try {
    await gpu.prepare(dispatches.map(({ dispatch }) => dispatch));
    for (const { name, dispatch } of dispatches) {
      const bound = dispatch.names.map((binding) => memory.get(binding)!);
      const milliseconds = await medianTime(gpu, () => gpu.dispatch(dispatch, bound), best);
      best = Math.min(best, milliseconds);
      times.push({ name, milliseconds });
    }
  } finally {
    for (const x of memory.values()) gpu.release(x);
  }
  return times.sort((a, b) => a.milliseconds - b.milliseconds);
}
