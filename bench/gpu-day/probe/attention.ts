import { grad, manualSeed, scaledDotProductAttention } from '../../../autograd/index.ts';
import type { Tensor } from '../../../autograd/index.ts';
import { attempt } from '../cases.ts';
import { errorsOf, known, reader, twice } from '../numbers.ts';
import { emit, free, sized } from '../shared.ts';
import type { Half } from '../shared.ts';

interface Heads {
  readonly batch: number;
  readonly heads: number;
  readonly tokens: number;
  readonly width: number;
  readonly causal: boolean;
}

/** One head in float64: y, and the gradients of q, k and v. */
function attentionReference(
  head: number,
  x: readonly Float32Array[],
  { tokens: T, width: D, causal }: Heads,
): Float64Array[] {
  const [q, k, v, g] = x.map((all) => Float64Array.from(all.subarray(head * T * D, (head + 1) * T * D))) as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const [y, dq, dk, dv] = [0, 1, 2, 3].map(() => new Float64Array(T * D)) as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const scale = 1 / Math.sqrt(D);
  const weights = new Float64Array(T);
  for (let i = 0; i < T; i++) {
    const keys = causal ? i + 1 : T;
    let top = -Infinity;
    for (let j = 0; j < keys; j++) {
      let dot = 0;
      for (let d = 0; d < D; d++) dot += q[i * D + d]! * k[j * D + d]!;
      weights[j] = dot * scale;
      top = Math.max(top, dot * scale);
    }
    let total = 0;
    for (let j = 0; j < keys; j++) total += weights[j] = Math.exp(weights[j]! - top);
    let delta = 0;
    for (let j = 0; j < keys; j++) {
      const w = (weights[j]! /= total);
      for (let d = 0; d < D; d++) y[i * D + d]! += w * v[j * D + d]!;
    }
    for (let d = 0; d < D; d++) delta += y[i * D + d]! * g[i * D + d]!;
    for (let j = 0; j < keys; j++) {
      const w = weights[j]!;
      let dp = 0;
      for (let d = 0; d < D; d++) {
        dp += g[i * D + d]! * v[j * D + d]!;
        dv[j * D + d]! += w * g[i * D + d]!;
      }
      const ds = w * (dp - delta) * scale;
      for (let d = 0; d < D; d++) {
        dq[i * D + d]! += ds * k[j * D + d]!;
        dk[j * D + d]! += ds * q[i * D + d]!;
      }
    }
  }
  return [y, dq, dk, dv];
}

/** Attention forward and backward, at GPT-2's size and at odd ones. */
export async function probeAttention(type: Half): Promise<void> {
  const shape = sized<Heads>(
    { batch: 2, heads: 12, tokens: 1024, width: 64, causal: true },
    { batch: 1, heads: 2, tokens: 64, width: 64, causal: true },
  );
  const { tokens } = shape;
  const some: Record<string, Heads> = {
    attention: shape,
    'attention odd': { ...shape, batch: 1, heads: 3, tokens: tokens + 1 },
    'attention whole': { ...shape, batch: 1, heads: 3, tokens: tokens - 1, causal: false },
    'attention wide': { ...shape, batch: 1, heads: 2, tokens: tokens / 2, width: 128 },
  };
  for (const [name, heads] of Object.entries(some)) await attempt(`${name} ${type}`, () => probe(heads, type), 60);
  await attempt(`attention dropout ${type}`, () => probeDropout(shape, type), 60);
}

async function probe(shape: Heads, type: Half): Promise<void> {
  const { batch, heads, tokens, width, causal } = shape;
  const size = [batch, heads, tokens, width];
  const x = [
    await known(21, size, type),
    await known(22, size, type),
    await known(23, size, type),
    await known(24, size, type),
  ];
  const [q, k, v, g] = x.map(({ tensor }) => tensor) as [Tensor, Tensor, Tensor, Tensor];
  for (const t of [q, k, v]) t.requiresGrad = true;
  const { first, differing } = await twice(() => {
    const y = scaledDotProductAttention(q, k, v, { causal });
    return [y.detach(), ...grad(y, [q, k, v], { gradOutputs: [g] })];
  });
  const names = ['y', 'dq', 'dk', 'dv'];
  const errors = names.map(errorsOf);
  const factor = type === 'f16' ? 8e-3 : 2e-5; // f16 keeps its weights in f16 at best
  for (const head of new Set([0, Math.floor((batch * heads) / 2), batch * heads - 1])) {
    const hosts = x.map(({ host }) => host);
    attentionReference(head, hosts, shape).forEach((want, which) => {
      const got = reader(first[which]!, type);
      // Against the root mean square too: single elements of a gradient cancel.
      const rms = Math.sqrt(want.reduce((total, w) => total + w * w, 0) / want.length);
      want.forEach((w, at) => {
        const where = () => `head ${head}, token ${Math.floor(at / width)}, ${at % width}`;
        errors[which]!.add(where, got(head * tokens * width + at), w, factor * (rms + Math.abs(w)));
      });
    });
  }
  names.forEach((name, which) =>
    errors[which]!.emit(`attention ${name} ${size.join('x')}${causal ? ' causal' : ''}`, type, {
      equal: differing[which] === 0,
    }),
  );
  free(q, k, v, g);
}

/** Dropout has no reference here: the same draws must give the same bits. */
async function probeDropout({ batch, heads, tokens, width }: Heads, type: Half): Promise<void> {
  const size = [batch, heads, tokens, width];
  const x = await known(25, size, type);
  x.tensor.requiresGrad = true;
  const { first, equal } = await twice(() => {
    manualSeed(3);
    const y = scaledDotProductAttention(x.tensor, x.tensor, x.tensor, { causal: true, dropout: 0.1 });
    return [y.detach(), ...grad(y, [x.tensor], { gradOutputs: [x.tensor.detach()] })];
  });
  const finite = first.every((bytes) => {
    const at = reader(bytes, type);
    for (let i = 0; i < x.host.length; i += 97) if (!Number.isFinite(at(i))) return false;
    return true;
  });
  emit({ key: `attention dropout ${size.join('x')}`, type, ok: equal && finite, equal, finite });
  free(x.tensor);
}
