/**
 * `npx tsx bench/attention.ts [tokens ...]`: fused attention beside the products and the softmax that it
 * replaces, forward and forward + backward, taken in turns in one run (medians), and the memory that each
 * holds at its peak.
 */
import {
  attentionWeights,
  grad,
  matmul,
  init,
  memory,
  noGrad,
  normal,
  ready,
  resetPeakMemory,
  scaledDotProductAttention,
  scope,
  synchronize,
} from '../autograd/index.ts';
import type { Tensor } from '../autograd/index.ts';
import { median } from '../common/statistics.ts';

type Triple = readonly [q: Tensor, k: Tensor, v: Tensor];
type Attention = (x: Triple, causal: boolean) => Tensor;

const fused: Attention = (x, causal) => scaledDotProductAttention(...x, { causal });
const composite: Attention = ([q, k, v], causal) => matmul(attentionWeights(q, k, { causal }), v);

async function time(run: () => void): Promise<number> {
  const start = performance.now();
  {
    using _ = scope();
    run();
    await synchronize();
  }
  return performance.now() - start;
}

async function peakOf(run: () => void): Promise<number> {
  await synchronize();
  const before = memory().live;
  resetPeakMemory();
  await time(run);
  return memory().peak - before;
}

await init({ restart: true });
const { adapter } = await ready();
const tokens = process.argv.slice(2).map(Number);
const lengths = tokens.length > 0 ? tokens : [64, 128, 512, 1024];
const heads = 4;
console.log(
  `${adapter.info.description}; 1 sequence, ${heads} heads, f32; ms of fused and composite, and composite / fused`,
);
console.log('tokens    D  mask        forward                    forward + backward         MiB at the peak');
for (const length of lengths) {
  for (const width of [32, 64]) {
    for (const causal of [false, true]) {
      const make = (): Tensor => {
        const x = normal([1, heads, length, width]).keep();
        x.requiresGrad = true;
        return x;
      };
      const x: Triple = [make(), make(), make()];
      const g = normal([1, heads, length, width]).keep();
      const forward = (attention: Attention) => () => void noGrad(() => attention(x, causal));
      const both = (attention: Attention) => () => void grad(attention(x, causal), x, { gradOutputs: [g] });
      const runs = [forward(fused), forward(composite), both(fused), both(composite)];
      for (const run of runs) await time(run); // compiles
      const rounds = length > 512 ? 7 : 15;
      const times: number[][] = runs.map(() => []);
      for (let i = 0; i < rounds; i++) for (const [k, run] of runs.entries()) times[k]!.push(await time(run));
      const [f, c, fb, cb] = times.map(median) as [number, number, number, number];
      const peaks = [await peakOf(runs[2]!), await peakOf(runs[3]!)].map((bytes) => (bytes / 2 ** 20).toFixed(1));
      const pair = (a: number, b: number): string =>
        `${a.toFixed(2).padStart(8)} ${b.toFixed(2).padStart(8)} ${(b / a).toFixed(2).padStart(6)}`;
      const shape = `${String(length).padStart(6)} ${String(width).padStart(4)}  ${causal ? 'causal' : 'none  '}`;
      const memories = peaks.map((p) => p.padStart(7)).join(' ');
      console.log(`${shape} ${pair(f, c)}   ${pair(fb, cb)}   ${memories}`);
      for (const t of [...x, g]) t.storage.free();
    }
  }
}
