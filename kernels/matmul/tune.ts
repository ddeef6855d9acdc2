import type { Gpu } from '../../gpu/device.ts';
import { bytesOf } from '../kernel.ts';
import { contiguousLayout, roundUp, sizeOf } from '../layout.ts';
import type { Operand } from '../layout.ts';
import { plainSink } from '../map/elements.ts';
import { hopeless, medianTime, noise } from '../tune.ts';
import type { TunedPlan } from '../tune.ts';
import { matmulDispatch, matmulPlans, planName } from './matmul.ts';
import type { MatmulPlan } from './matmul.ts';
import type { MatrixOperand, Product } from './product.ts';
import { splitProduct, sumSplits } from './split.ts';

/**
 * Times every plan of a product, or only `plans`, and returns them, the fastest first. The outputs are stored
 * as they are: what fusion adds costs every plan the same. Throws where the device has no timestamps.
 */
export async function timePlans(gpu: Gpu, params: Product, plans?: readonly MatmulPlan[]): Promise<TunedPlan[]> {
  const { m, n, batch, a, b, bias, sums } = params;
  const sink = plainSink([...batch, m, n], params.sink.outputs[0]!.dtype);
  const product: Product = { ...params, sink };
  const size = sizeOf(sink.shape);
  const groups = b.quantized ? Math.ceil(b.quantized.inFeatures / b.quantized.group) : 0;
  const scaleBytes = 4 * groups * Math.max(m, n, params.k);
  const bytes = {
    a: spanOf(a, m, params.k, batch) * bytesOf(a.dtype),
    b: spanOf(b, params.k, n, batch) * (b.quantized ? b.quantized.bits / 8 : bytesOf(b.dtype)),
    scales: scaleBytes,
    bias: bias ? 4 * (bias.offset + n * Math.max(1, bias.stride)) : 0,
    output: size * bytesOf(sink.outputs[0]!.dtype),
    sums: 4 * Math.max(m, n),
  };
  const make = (length: number) => gpu.allocate(Math.max(16, roundUp(length, 16)), 'tune');
  const memory = {
    operands: [
      gpu.upload(noise(bytes.a, a.dtype), 'tune'),
      gpu.upload(noise(bytes.b, b.quantized ? undefined : b.dtype), 'tune'),
    ],
    scales: b.quantized
      ? [make(bytes.scales), ...(b.quantized.zeros || b.quantized.minimums ? [make(bytes.scales)] : [])]
      : [],
    bias: bias ? [make(bytes.bias)] : [],
    output: make(bytes.output),
    sums: sums ? [make(bytes.sums)] : [],
  };
  const times: TunedPlan[] = [];
  let best = Infinity;
  const all = plans ?? matmulPlans(gpu.target, product);
  try {
    await gpu.prepare(all.filter(({ splits }) => !splits).map((plan) => matmulDispatch(plan, product)));
    for (const plan of all) {
      // To split k helps where workgroups are too few, not where the kernel does not suit the device.
      const whole = plan.splits
        ? times.find(({ name }) => name === planName({ ...plan, splits: undefined }))
        : undefined;
      if (whole && whole.milliseconds > hopeless * best) continue;
      const parts = plan.splits ? make(4 * size * plan.splits) : undefined;
      const partSums = plan.splits && sums ? [make(4 * Math.max(m, n) * plan.splits)] : [];
      const run = (): void => {
        const left = [...memory.operands, ...memory.scales];
        const rest = [...memory.bias, memory.output, ...memory.sums];
        if (!parts) return gpu.dispatch(matmulDispatch(plan, product), [...left, ...rest]);
        gpu.dispatch(matmulDispatch(plan, splitProduct(product, plan)), [...left, parts, ...partSums]);
        const each = sums && vectorOf(sums.of === 'a' ? m : n);
        const all = { parts: partsOf(product, plan.splits!), partSums: each, bias: operandOf(bias, n), y: sink };
        gpu.dispatch(sumSplits({ ...all, sums: each }), [parts, ...partSums, ...rest]);
      };
      const milliseconds = await medianTime(gpu, run, best);
      best = Math.min(best, milliseconds);
      times.push({ name: planName(plan), milliseconds });
      for (const x of parts ? [parts, ...partSums] : []) gpu.release(x);
    }
  } finally {
    for (const list of Object.values(memory)) for (const x of Array.isArray(list) ? list : [list]) gpu.release(x);
  }
  return times.sort((x, y) => x.milliseconds - y.milliseconds);
}

const partsOf = ({ m, n, batch }: Product, splits: number): Operand => ({
  dtype: 'f32',
  ...contiguousLayout([batch[0] * batch[1], splits, m, n]),
});
const vectorOf = (length: number): Operand => ({ dtype: 'f32', ...contiguousLayout([length]) });
const operandOf = (bias: Product['bias'], n: number): Operand | undefined =>
  bias && { dtype: bias.dtype, shape: [n], strides: [bias.stride], offset: bias.offset };

/** Counts the elements from the beginning of an operand's buffer to its last one. */
function spanOf(x: MatrixOperand, rows: number, cols: number, batch: readonly [number, number]): number {
  const steps = [(rows - 1) * x.row, (cols - 1) * x.col, ...batch.map((count, axis) => (count - 1) * x.batch[axis]!)];
  return 1 + x.offset + steps.reduce((sum, step) => sum + Math.max(0, step), 0);
}
