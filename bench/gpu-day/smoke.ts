import { gelu, matmul, normal, ready, scaledDotProductAttention, softmax, synchronize } from '../../autograd/index.ts';
import { chooseMatmul, matmulPlans, planName } from '../../kernels/index.ts';
import { attempt, failFor } from './cases.ts';
import { bytesIn, errorsOf, known, productsOf, reader, rounding } from './numbers.ts';
import { emit, free, message, sized } from './shared.ts';
import type { Half } from './shared.ts';
import { time } from './timing.ts';

/**
 * Does the device compute at all: in f32, in f16, on matrices of subgroups, with time stamps? Exit code 1
 * where it fails, so that run.sh tries again with less of the device.
 */
export async function run(): Promise<void> {
  const { target } = await ready();
  const types: readonly Half[] = target.f16 ? ['f32', 'f16'] : ['f32'];
  try {
    failFor(`smoke ${process.env.GPU_DAY_MODE ?? 'all'}`);
    for (const type of types) await product(type, 256); // f16: on tensor cores where the device has them
    if (target.f16) await halfRows();
    await synchronize();
  } catch (error) {
    emit({ key: 'smoke', error: message(error) });
    process.exit(1);
  }
  await attempt('smoke timestamps', async () => {
    const n = sized(1024, 128);
    const x = normal([n, n]).keep();
    const { ms, by } = await time(() => matmul(x, x), 0.02);
    emit({ key: 'smoke timestamps', ms, by, ok: ms > 0 });
  });
  await attempt('smoke plans', async () => {
    const n = sized(4096, 256);
    const names: Record<string, string> = {};
    for (const type of types) {
      const x = normal([n, n], { dtype: type }).keep();
      const [params] = await productsOf(() => matmul(x, x));
      const whole = matmulPlans(target, params!).filter(({ splits }) => !splits);
      names[type] = `${planName(chooseMatmul(target, params!))} of ${whole.map(planName).join(' ')}`;
      free(x);
    }
    emit({ key: 'matmul plans', size: n, ...names });
  });
}

async function product(type: Half, n: number): Promise<void> {
  const [a, b] = [await known(1, [n, n], type), await known(2, [n, n], type)];
  const y = matmul(a.tensor, b.tensor).keep();
  const got = reader(await bytesIn(y), type);
  const errors = errorsOf();
  for (let i = 0; i < n; i += 7) {
    for (let j = 0; j < n; j++) {
      let [sum, scale] = [0, 1];
      for (let k = 0; k < n; k++) {
        const term = a.host[i * n + k]! * b.host[k * n + j]!;
        sum += term;
        scale += Math.abs(term);
      }
      errors.add(() => `(${i}, ${j})`, got(i * n + j), sum, 1e-6 * scale + rounding(type, sum));
    }
  }
  errors.emit(`smoke matmul ${n}`, type);
  free(a.tensor, b.tensor, y);
}

async function halfRows(): Promise<void> {
  const x = normal([64, 256], { dtype: 'f16' });
  const sums = reader(await bytesIn(softmax(gelu(x)).keep()), 'f16');
  const errors = errorsOf();
  for (let i = 0; i < 64; i++) {
    let sum = 0;
    for (let j = 0; j < 256; j++) sum += sums(256 * i + j);
    errors.add(() => `row ${i}`, sum, 1, 0.01);
  }
  errors.emit('smoke softmax of gelu', 'f16');
  const q = normal([1, 2, 64, 64], { dtype: 'f16' });
  const first = reader(await bytesIn(scaledDotProductAttention(q, q, q, { causal: true }).keep()), 'f16');
  emit({ key: 'smoke attention', type: 'f16', ok: Number.isFinite(first(0)) });
}
