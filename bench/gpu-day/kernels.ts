import {
  attentionWeights,
  cast,
  clone,
  compile,
  crossEntropy,
  embedding,
  gelu,
  grad,
  layerNorm,
  linearCrossEntropy,
  matmul,
  noGrad,
  normal,
  ready,
  scaledDotProductAttention,
  scope,
  softmax,
  synchronize,
  tensor,
  transpose,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { Cost } from '../../gpu/index.ts';
import { GPT2LMHeadModel } from '../../models/index.ts';
import { AdamW } from '../../train/index.ts';
import { median } from '../../common/statistics.ts';
import { attempt } from './cases.ts';
import { ceilings } from './ceilings.ts';
import { bytesOf, emit, free, gptConfig, sized } from './shared.ts';
import type { Half } from './shared.ts';
import { clock, measure, measureForward, rates } from './timing.ts';

/** The parts, in order; `day.ts kernels PART ...` runs some of them. */
const parts: Readonly<Record<string, (types: readonly Half[]) => Promise<void>>> = {
  ceilings,
  copy,
  products,
  gpt2: gpt2Products,
  attention,
  rows,
  optimizer,
  overhead,
};

/** Times kernels by the device's own stamps, at the sizes of GPT-2 124M on 16 x 1024 tokens. */
export async function run(only: readonly string[]): Promise<void> {
  const { f16 } = (await ready()).target;
  const types: readonly Half[] = f16 ? ['f16', 'f32'] : ['f32'];
  await attempt('warm up', () => warmUp(types[0]!));
  for (const [name, part] of Object.entries(parts)) if (only.length === 0 || only.includes(name)) await part(types);
}

/** Clocks of a GPU at rest are low. */
async function warmUp(dtype: Half): Promise<void> {
  const n = sized(4096, 128);
  const x = make([n, n], dtype);
  const end = performance.now() + sized(1000, 50);
  while (performance.now() < end) {
    using _ = scope();
    for (let i = 0; i < 10; i++) noGrad(() => matmul(x, x));
    await synchronize();
  }
  free(x);
}

const make = (shape: readonly number[], dtype: Half = 'f32'): Tensor => normal(shape, { dtype }).keep();
const leaf = (shape: readonly number[], dtype: Half = 'f32'): Tensor => {
  const x = make(shape, dtype);
  x.requiresGrad = true;
  return x;
};
/** Class numbers that fall all over a table of `below` rows. */
const labelsOf = (length: number, below: number): Tensor =>
  tensor(Int32Array.from({ length }, (_, i) => (i * 7919) % below)).keep();

/** Times an op forward, and the gradients of its inputs for the gradient g of its result. */
async function bothWays(
  names: readonly [forward: string, backward: string],
  type: Half,
  works: readonly [forward: Partial<Cost>, backward: Partial<Cost>],
  op: () => Tensor,
  inputs: readonly Tensor[],
  g: Tensor,
): Promise<void> {
  await measureForward(names[0], type, works[0], op);
  const y = op();
  await measure(names[1], type, works[1], () => grad([y], inputs, { gradOutputs: [g], retainGraph: true }));
  free(y);
}

async function copy(types: readonly Half[]): Promise<void> {
  const bytes = sized(2 ** 30, 2 ** 22);
  const text = sized('1 GiB', '4 MiB');
  await attempt('copy by the driver', async () => {
    const gpu = await ready();
    const [from, to] = [gpu.allocate(bytes, 'gpu-day'), gpu.allocate(bytes, 'gpu-day')];
    const once = (): void => gpu.copy(from, to, bytes);
    await clock(once, 3);
    const count = sized(40, 3);
    const ms = median([await clock(once, count), await clock(once, count), await clock(once, count)]);
    emit({ key: `copy by the driver ${text}`, type: 'bytes', ms, ...rates({ bytes: 2 * bytes }, ms), by: 'clock' });
    gpu.release(from);
    gpu.release(to);
  });
  await attempt('copy', async () => {
    const x = make([bytes / 4]);
    await measureForward(`copy ${text}`, 'f32', { bytes: 2 * bytes }, () => clone(x));
    if (types.includes('f16'))
      await measureForward(`cast ${text} to half`, 'f32', { bytes: 1.5 * bytes }, () => cast(x, 'f16'));
    free(x);
  });
}

/** `nn`: a [m, k] and b [k, n]; `nt`: b is stored [n, k]; `tn`: a is stored [k, m]. */
async function product(
  label: string,
  type: Half,
  [m, n, k]: readonly [m: number, n: number, k: number],
  stored: 'nn' | 'nt' | 'tn',
): Promise<void> {
  const key = `${label} ${m}x${n}x${k}`;
  await attempt(`${key} ${type}`, async () => {
    const a = stored === 'tn' ? make([k, m], type) : make([m, k], type);
    const b = stored === 'nt' ? make([n, k], type) : make([k, n], type);
    const [left, right] = [stored === 'tn' ? transpose(a) : a, stored === 'nt' ? transpose(b) : b];
    const bytes = bytesOf(type) * (m * k + k * n + m * n);
    await measureForward(key, type, { flops: 2 * m * n * k, bytes }, () => matmul(left, right));
    free(a, b);
  });
}

async function products(types: readonly Half[]): Promise<void> {
  for (const type of types) for (const n of sized([4096, 8192], [256])) await product('matmul', type, [n, n, n], 'nn');
}

/** Products of a training step: y of a layer, and the gradients of its input (dx) and of its weight (dw). */
async function gpt2Products(types: readonly Half[]): Promise<void> {
  const tokens = sized(16384, 128);
  const [width, words, some] = sized<readonly [number, number, number]>([768, 50257, 4096], [64, 1001, 64]);
  const layers: Readonly<Record<string, readonly [out: number, inputs: number]>> = {
    qkv: [3 * width, width],
    proj: [width, width],
    fc: [4 * width, width],
    out: [width, 4 * width],
  };
  for (const type of types) {
    for (const [name, [n, k]] of Object.entries(layers)) {
      await product(`gpt2 ${name} y`, type, [tokens, n, k], 'nn'); // weights are stored [in, out]
      await product(`gpt2 ${name} dx`, type, [tokens, k, n], 'nt');
      await product(`gpt2 ${name} dw`, type, [k, n, tokens], 'tn');
    }
    await product('gpt2 head y', type, [some, words, width], 'nt');
    await product('gpt2 head dx', type, [some, width, words], 'nn');
    await product('gpt2 head dw', type, [words, width, some], 'tn');
  }
}

type Heads = readonly [batch: number, heads: number, tokens: number, width: number];

async function attention(types: readonly Half[]): Promise<void> {
  const usual = sized<Heads>([16, 12, 1024, 64], [1, 2, 128, 64]);
  for (const type of types) {
    await attentionOf(type, usual, 0, type === 'f16');
    await attentionOf(type, usual, 0.1, false);
    await attentionOf(type, sized<Heads>([4, 12, 4096, 64], [1, 2, 256, 64]), 0, false);
  }
}

/** Causal attention; `products`: by two products and a softmax too, all scores in memory. */
async function attentionOf(type: Half, shape: Heads, dropout: number, products: boolean): Promise<void> {
  const [batch, heads, tokens, width] = shape;
  const label = `${shape.join('x')} causal${dropout > 0 ? ` dropout ${dropout}` : ''}`;
  const flops = (4 * batch * heads * tokens * tokens * width) / 2; // half of the scores are masked
  const bytes = 4 * bytesOf(type) * batch * heads * tokens * width;
  await attempt(`attention ${label} ${type}`, async () => {
    const [q, k, v, g] = [leaf(shape, type), leaf(shape, type), leaf(shape, type), make(shape, type)];
    const works = [
      { flops, bytes },
      { flops: 2.5 * flops, bytes: 2 * bytes },
    ] as const;
    const fused = (): Tensor => scaledDotProductAttention(q, k, v, { causal: true, dropout });
    const names = [`attention forward ${label}`, `attention backward ${label}`] as const;
    await bothWays(names, type, works, fused, [q, k, v], g);
    if (products) {
      const composite = (): Tensor => matmul(attentionWeights(q, k, { causal: true }), v);
      const others = [`attention by products, forward ${label}`, `attention by products, backward ${label}`] as const;
      await bothWays(others, type, [{ flops }, { flops: 2.5 * flops }], composite, [q, k, v], g);
    }
    free(q, k, v, g);
  });
}

async function rows(types: readonly Half[]): Promise<void> {
  const [tokens, width, words] = sized<readonly [number, number, number]>([16384, 768, 50257], [256, 64, 1001]);
  const bothNames = (op: string, shape: string) => [`${op} forward ${shape}`, `${op} backward ${shape}`] as const;
  for (const type of types) {
    const moved = (columns: number, times: number) => ({ bytes: times * bytesOf(type) * tokens * columns });
    await attempt(`layer norm ${type}`, async () => {
      const [x, w, b, g] = [leaf([tokens, width], type), leaf([width]), leaf([width]), make([tokens, width], type)];
      const works = [moved(width, 2), moved(width, 3)] as const;
      const names = bothNames('layer norm', `${tokens}x${width}`);
      await bothWays(names, type, works, () => layerNorm(x, w, b), [x, w, b], g);
      free(x, w, b, g);
    });
    await attempt(`softmax ${type}`, async () => {
      const columns = sized(1024, 128);
      const x = make([tokens, columns], type);
      await measureForward(`softmax ${tokens}x${columns}`, type, moved(columns, 2), () => softmax(x));
      free(x);
    });
    await attempt(`gelu ${type}`, async () => {
      const [x, g] = [leaf([tokens, 4 * width], type), make([tokens, 4 * width], type)];
      const works = [moved(4 * width, 2), moved(4 * width, 3)] as const;
      const names = bothNames('gelu', `${tokens}x${4 * width}`);
      await bothWays(names, type, works, () => gelu(x, { approximate: 'tanh' }), [x], g);
      free(x, g);
    });
    await attempt(`cross-entropy ${type}`, async () => {
      const some = sized(4096, 64);
      const [logits, labels] = [leaf([some, words], type), labelsOf(some, words)];
      const key = `cross-entropy forward and backward ${some}x${words}`;
      const work = { bytes: 3 * bytesOf(type) * some * words };
      await measure(key, type, work, () => grad(crossEntropy(logits, labels), [logits]));
      free(logits, labels);
    });
    await attempt(`linear cross-entropy ${type}`, async () => {
      const [h, w, labels] = [leaf([tokens, width], type), leaf([words, width], type), labelsOf(tokens, words)];
      const key = `linear cross-entropy forward and backward ${tokens}x${width}x${words}`;
      const work = { flops: 6 * tokens * width * words };
      await measure(key, type, work, () => grad(linearCrossEntropy(h, w, labels), [h, w]));
      free(h, w, labels);
    });
  }
  await attempt('embedding', async () => {
    const [table, g, ids] = [leaf([words, width]), make([tokens, width]), labelsOf(tokens, words)];
    const works = [{ bytes: 8 * tokens * width }, { bytes: 4 * tokens * width + 4 * words * width }] as const;
    const names = bothNames('embedding', `${tokens} of ${words}x${width}`);
    await bothWays(names, 'f32', works, () => embedding(table, ids), [table], g);
    free(table, g, ids);
  });
}

async function optimizer(): Promise<void> {
  await attempt('AdamW', async () => {
    const model = GPT2LMHeadModel.fromConfig(gptConfig());
    const parameters = model.parameters();
    const count = model.numParameters();
    for (const p of parameters) p.grad = normal(p.shape, { std: 1e-3 }).keep();
    const adamw = new AdamW(parameters, { lr: 1e-4, betas: [0.9, 0.95] });
    const key = `AdamW ${(count / 1e6).toFixed(0)}M`;
    await measure(key, 'f32', { bytes: 28 * count }, () => adamw.step());
    await measure(`${key} with clipping`, 'f32', { bytes: 32 * count }, () => adamw.step({ maxNorm: 1 }));
  });
}

/** Times the host's part of a dispatch: many small products, each of which needs the one before. */
async function overhead(): Promise<void> {
  await attempt('overhead', async () => {
    const calls = sized(1000, 100);
    const [x, one] = [make([16]), make([16])];
    const chain = (): Tensor => {
      let y = x;
      for (let i = 0; i < calls; i++) y = matmul(y.reshape([4, 4]), one.reshape([4, 4]));
      return y;
    };
    const compiled = compile(() => noGrad(chain), { name: 'chain', log: () => undefined });
    for (const [name, fn] of [['compiled', compiled] as const, ['immediate', () => noGrad(chain)] as const]) {
      const [hosts, walls]: [number[], number[]] = [[], []];
      for (let i = 0; i < 12; i++) {
        const begun = performance.now();
        {
          using _ = scope();
          fn();
        }
        const host = performance.now() - begun;
        await synchronize();
        if (i < 3) continue; // compiles and warms up
        hosts.push(host);
        walls.push(performance.now() - begun);
      }
      const hostUs = (1000 * median(hosts)) / calls;
      emit({ key: `${calls} small products, ${name}`, type: 'f32', ms: median(walls), hostUs, by: 'clock' });
    }
  });
}
