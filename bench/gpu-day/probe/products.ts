import { matmul, noGrad, ready, transpose } from '../../../autograd/index.ts';
import type { Tensor } from '../../../autograd/index.ts';
import { matmulClass, matmulPlans, planName } from '../../../kernels/index.ts';
import { attempt } from '../cases.ts';
import { errorsOf, known, productsOf, reader, rounding, sample, twice } from '../numbers.ts';
import type { Errors, Known } from '../numbers.ts';
import { free, rehearse, sized } from '../shared.ts';
import type { Half } from '../shared.ts';

/** `nn`: a [m, k] and b [k, n]; `nt`: b is stored [n, k]; `tn`: a is stored [k, m]. */
type Order = 'nn' | 'nt' | 'tn';
interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly layout: Order;
  readonly batch?: number;
}

async function operands({ m, n, k, layout, batch }: Product, type: Half): Promise<[Known, Known]> {
  const lead = batch ? [batch] : [];
  return [
    await known(11, [...lead, ...(layout === 'tn' ? [k, m] : [m, k])], type),
    await known(12, [...lead, ...(layout === 'nt' ? [n, k] : [k, n])], type),
  ];
}

const multiply = ({ layout }: Product, a: Tensor, b: Tensor): Tensor =>
  noGrad(() => matmul(layout === 'tn' ? transpose(a) : a, layout === 'nt' ? transpose(b) : b)).keep();

/** Compares some rows and columns of a product with float64. */
function check(
  { m, n, k, layout, batch = 1 }: Product,
  [a, b]: readonly [Float32Array, Float32Array],
  { bytes, type, rows, columns }: { bytes: Uint8Array; type: Half; rows: number; columns: number },
): Errors {
  const errors = errorsOf();
  const got = reader(bytes, type);
  const strideA = layout === 'tn' ? [1, m] : [k, 1];
  const strideB = layout === 'nt' ? [1, k] : [n, 1];
  for (const z of sample(batch, 3, 5)) {
    const [a0, b0] = [z * m * k, z * k * n];
    for (const i of sample(m, rows, 7)) {
      for (const j of sample(n, columns, i + 9)) {
        let [total, scale] = [0, 1];
        let [x, y] = [a0 + i * strideA[0]!, b0 + j * strideB[1]!];
        for (let q = 0; q < k; q++) {
          const term = a[x]! * b[y]!;
          total += term;
          scale += Math.abs(term);
          x += strideA[1]!;
          y += strideB[0]!;
        }
        errors.add(() => `(${z}, ${i}, ${j})`, got((z * m + i) * n + j), total, 1e-6 * scale + rounding(type, total));
      }
    }
  }
  return errors;
}

const title = ({ m, n, k, layout, batch }: Product): string => `${batch ? `${batch}x` : ''}${m}x${n}x${k} ${layout}`;

/** Sizes that cross the edges of tiles; GPT-2's own among them. */
const products: readonly Product[] = sized<readonly Product[]>(
  [
    { m: 1023, n: 1024, k: 1025, layout: 'nn' },
    { m: 1025, n: 1023, k: 1024, layout: 'nt' },
    { m: 1024, n: 1025, k: 1023, layout: 'tn' },
    { m: 768, n: 2304, k: 1024, layout: 'nn' },
    { m: 2304, n: 768, k: 1025, layout: 'tn' },
    { m: 1025, n: 50257, k: 768, layout: 'nt' },
    { m: 1024, n: 768, k: 50257, layout: 'nn' },
    { m: 50257, n: 768, k: 1023, layout: 'tn' },
    { m: 4096, n: 3072, k: 768, layout: 'nn' },
    { m: 768, n: 768, k: 16384, layout: 'tn' },
    { m: 1, n: 50257, k: 768, layout: 'nt' },
    { m: 17, n: 768, k: 3072, layout: 'nn' },
    { m: 1024, n: 1024, k: 64, layout: 'nt', batch: 24 },
    { m: 1024, n: 64, k: 1024, layout: 'nn', batch: 24 },
    { m: 8192, n: 4096, k: 1024, layout: 'nn' },
  ],
  [
    { m: 65, n: 63, k: 129, layout: 'nn' },
    { m: 40, n: 257, k: 64, layout: 'nt' },
    { m: 72, n: 40, k: 65, layout: 'tn' },
    { m: 33, n: 64, k: 16, layout: 'nt', batch: 3 },
  ],
);

/** Products as the project plans them. */
export async function probeProducts(type: Half): Promise<void> {
  for (const p of products) await attempt(`product ${title(p)} ${type}`, () => probeProduct(p, type), 40);
}

async function probeProduct(p: Product, type: Half): Promise<void> {
  const [a, b] = await operands(p, type);
  const { first, equal, differing } = await twice(() => [multiply(p, a.tensor, b.tensor)]);
  const columns = Math.max(48, Math.min(sized(384, 64), Math.floor(6e6 / p.k)));
  check(p, [a.host, b.host], { bytes: first[0]!, type, rows: sized(24, 12), columns }).emit(
    `product ${title(p)}`,
    type,
    { equal, differing: differing[0] },
  );
  free(a.tensor, b.tensor);
}

/** Probes every plan of the device at two sizes: whole vectors and whole parts of k, then neither. */
export async function probePlans(type: Half, only: string | undefined): Promise<void> {
  for (const layout of (['nn', 'nt', 'tn'] as const).filter((one) => !only || one === only)) {
    await probePlansOf(sized({ m: 1025, n: 1032, k: 1024, layout }, { m: 70, n: 72, k: 128, layout }), type);
    await probePlansOf(sized({ m: 1023, n: 1025, k: 1001, layout }, { m: 65, n: 67, k: 65, layout }), type);
  }
}

/** Tensor cores first; `lanes` and `panel` are for software drivers. */
const variants = ['subgroup', 'tiled', 'plain', 'lanes', 'panel'];

async function probePlansOf(p: Product, type: Half): Promise<void> {
  const gpu = await ready();
  const [a, b] = await operands(p, type);
  const [params] = await productsOf(() => free(multiply(p, a.tensor, b.tensor)));
  const work = matmulClass(params!);
  // The plan that a device was tuned to is found under the class of the product; here each in turn.
  const choices = gpu.target.choices as Map<string, string>;
  const plans = matmulPlans(gpu.target, params!)
    .filter(({ variant }) => variant !== 'lanes' || rehearse)
    .toSorted((x, y) => variants.indexOf(x.variant) - variants.indexOf(y.variant));
  for (const plan of plans) {
    const name = planName(plan);
    await attempt(`plan ${name} ${title(p)} ${type}`, async () => {
      choices.set(work, name);
      const kernels = new Set<string>();
      gpu.encoder.timer = ({ name: kernel }) => {
        kernels.add(kernel);
        return undefined;
      };
      try {
        const { first, equal, differing } = await twice(() => [multiply(p, a.tensor, b.tensor)]);
        const some = { bytes: first[0]!, type, rows: sized(40, 12), columns: sized(160, 64) };
        const more = { equal, differing: differing[0], kernels: [...kernels].join(' ') };
        check(p, [a.host, b.host], some).emit(`plan ${name} ${title(p)}`, type, more);
      } finally {
        gpu.encoder.timer = undefined;
      }
    });
    choices.delete(work);
  }
  free(a.tensor, b.tensor);
}
