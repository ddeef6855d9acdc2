import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { grad, normal, ready, scaledDotProductAttention, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { fromHalf, toHalf } from '../../common/half.ts';
import { acquire } from '../../gpu/index.ts';
import { flashAttentionBackward, flashAttentionDelta } from '../../kernels/attention/backward.ts';
import { flashAttention } from '../../kernels/attention/forward.ts';
import { wordsOf } from '../../kernels/quant/tokens.ts';
import { broadcastLayout, contiguousLayout } from '../../kernels/layout.ts';
import type { Operand } from '../../kernels/layout.ts';
import { Random } from '../../common/random.ts';
import { AttentionReference } from '../support/attention.ts';
import { inEightBits, wordsOfTokens } from '../support/int8-tokens.ts';
import { build, get, total } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { seed, uniform } from '../support/philox.ts';
import { runKernelOutputs } from '../support/run-kernel.ts';

/** Every way of working, whichever the device would choose. */
const test = suite('attention kernels');
const { target: device } = await acquire();

/** All cases, which takes minutes where no kernel was compiled before. */
const isThorough = process.env['TAPEFORM_THOROUGH'] === '1';

interface Case {
  readonly queries: number;
  readonly keys: number;
  readonly width: number;
  readonly causal?: boolean;
  readonly slidingWindow?: number;
  readonly softCap?: number;
  readonly mask?: 'bool' | 'f32';
  readonly dropout?: number;
  readonly dtype?: 'f16';
  /** Two neighbouring query heads share a head of keys and values; memory behind these is NaN. */
  readonly group?: 2;
  /** The gradients go to one tensor. */
  readonly together?: true;
  /** Default 0.3. */
  readonly scale?: number;
  /** Lengths of the row's documents. */
  readonly documents?: readonly number[];
}

const cases: readonly Case[] = [
  { queries: 1, keys: 1, width: 4 },
  { queries: 67, keys: 70, width: 4, causal: true, dropout: 0.3 },
  { queries: 70, keys: 68, width: 4, mask: 'bool', dropout: 0.3 },
  { queries: 5, keys: 130, width: 32, mask: 'f32' },
  { queries: 9, keys: 40, width: 64, causal: true },
  { queries: 66, keys: 17, width: 100, together: true },
  { queries: 70, keys: 33, width: 64, causal: true, group: 2, together: true },
  { queries: 3, keys: 21, width: 128, dropout: 0.5, mask: 'bool' },
  { queries: 20, keys: 20, width: 64, causal: true, dtype: 'f16' },
  { queries: 6, keys: 9, width: 8, dtype: 'f16', mask: 'bool' },
  { queries: 90, keys: 90, width: 8, causal: true, slidingWindow: 1 },
  { queries: 150, keys: 150, width: 4, causal: true, slidingWindow: 7, dropout: 0.3 },
  { queries: 150, keys: 131, width: 64, causal: true, slidingWindow: 66, group: 2 },
  { queries: 80, keys: 33, width: 100, causal: true, slidingWindow: 20, mask: 'bool' },
  { queries: 30, keys: 30, width: 8, causal: true, slidingWindow: 2 ** 31 },
  { queries: 40, keys: 45, width: 8, softCap: 0.7, mask: 'bool', dropout: 0.2 },
  { queries: 40, keys: 45, width: 128, softCap: 1.5, mask: 'f32', group: 2 },
  { queries: 21, keys: 21, width: 64, causal: true, slidingWindow: 5, softCap: 0.5, together: true },
  ...(isThorough ? ([{ queries: 35, keys: 38, width: 132, causal: true, mask: 'bool' }] as const) : []),
  { queries: 33, keys: 38, width: 256, causal: true, slidingWindow: 9, softCap: 2, dropout: 0.3, group: 2 },
  { queries: 150, keys: 150, width: 4, documents: [66, 1, 83], dropout: 0.3 },
  { queries: 150, keys: 150, width: 64, causal: true, documents: [40, 2, 7, 101], group: 2 },
  { queries: 80, keys: 80, width: 128, causal: true, slidingWindow: 9, documents: [31, 33, 16], together: true },
];

/**
 * Of matrices, of f16 all: those that cross most of what there is, since a software driver takes long to
 * compile.
 */
const matrixCases: readonly Case[] = [
  { queries: 70, keys: 68, width: 16, mask: 'bool', dropout: 0.3 },
  { queries: 70, keys: 33, width: 32, causal: true, group: 2, together: true },
  { queries: 150, keys: 131, width: 8, causal: true, slidingWindow: 66, group: 2 },
  // Scores far apart: what was summed by an earlier largest score is scaled; more columns than a line holds.
  { queries: 40, keys: 200, width: 16, scale: 1.5 },
  { queries: 150, keys: 150, width: 16, causal: true, documents: [40, 2, 7, 101], group: 2 },
  ...(isThorough
    ? ([
        { queries: 1, keys: 1, width: 8 },
        { queries: 45, keys: 70, width: 8, causal: true, dropout: 0.3 },
        { queries: 9, keys: 90, width: 8, mask: 'f32', softCap: 1.5 },
        { queries: 90, keys: 90, width: 8, causal: true, slidingWindow: 1, together: true },
        { queries: 40, keys: 45, width: 8, softCap: 0.7, mask: 'bool', dropout: 0.2, group: 2 },
        { queries: 20, keys: 150, width: 72, scale: 1 },
        { queries: 150, keys: 150, width: 8, documents: [66, 1, 83], dropout: 0.3 },
      ] as const)
    : []),
];

/** [B, T]: the number of each token's document. */
const numbered = (lengths: readonly number[]): Nd => {
  const numbers = lengths.flatMap((length, i) => new Array<number>(length).fill(i));
  return { shape: [1, numbers.length], data: Float64Array.from(numbers) };
};

/** Where each token's document begins and ends. */
const rangesOf = (lengths: readonly number[]): Int32Array => {
  const ends = lengths.map((_, i) => lengths.slice(0, i + 1).reduce((sum, length) => sum + length, 0));
  return Int32Array.from(lengths.flatMap((n, i) => new Array<number[]>(n).fill([ends[i]! - n, ends[i]!]).flat()));
};

const [batch, heads] = [1, 4];

/** [B, H, T, D] stored as [B, T, H, D] after `gap` numbers of NaN, with as many after every token. */
class Stored {
  readonly operand: Operand;
  readonly size: number;

  constructor(tokens: number, width: number, dtype: 'f32' | 'f16', gap: number) {
    const token = heads * width + gap;
    const strides = [tokens * token, width, token, 1];
    this.operand = { shape: [batch, heads, tokens, width], strides, offset: gap, dtype };
    this.size = gap + batch * tokens * token;
  }

  private get half(): boolean {
    return this.operand.dtype === 'f16';
  }

  private at(index: readonly number[]): number {
    return this.operand.offset + total(index.map((i, axis) => i * this.operand.strides[axis]!));
  }

  /** Words that hold the buffer. */
  get words(): number {
    return this.half ? this.size / 2 : this.size;
  }

  write(x: Nd): Float32Array {
    const numbers = new Float32Array(this.size).fill(NaN);
    build(x.shape, (index) => (numbers[this.at(index)] = get(x, index)));
    if (!this.half) return numbers;
    return new Float32Array(Uint16Array.from(numbers, toHalf).buffer);
  }

  read(words: Float32Array): Nd {
    const halves = new Uint16Array(words.buffer, words.byteOffset, 2 * words.length);
    const element = (at: number): number => (this.half ? fromHalf(halves[at]!) : words[at]!);
    return build(this.operand.shape, (index) => element(this.at(index)));
  }
}

function close(what: string, got: Nd, want: Nd, tolerance: number): void {
  want.data.forEach((w, i) => {
    const error = Math.abs(got.data[i]! - w);
    if (!(error <= tolerance * (1 + Math.abs(w))))
      throw new Error(`${what}: element ${i} is ${got.data[i]}, want ${w}`);
  });
}

const hasMatrices = device.subgroupMatrix.some(({ component, result }) => component === 'f16' && result === 'f32');
const ways = {
  lanes: { target: { ...device, software: true }, cases, gap: 4 },
  tiled: { target: { ...device, software: false, subgroupMatrix: [] }, cases, gap: 4 },
  subgroup: {
    target: { ...device, software: false },
    cases: hasMatrices ? matrixCases.map((c): Case => ({ ...c, dtype: 'f16' })) : [],
    gap: 8,
  },
} as const;

for (const [way, { target, cases, gap }] of Object.entries(ways)) {
  for (const c of cases) {
    if (c.dtype === 'f16' && !device.f16) continue;
    test(`${way} ${JSON.stringify(c)}`, async () => {
      const { queries, keys, width, causal = false, mask, dropout = 0, dtype = 'f32', group = 1, together } = c;
      const { slidingWindow, softCap, documents } = c;
      const half = dtype === 'f16';
      const random = new Random(3);
      const normal = (tokens: number): Nd =>
        build([batch, heads, tokens, width], () =>
          half ? fromHalf(toHalf(random.normal())) : Math.fround(random.normal()),
        );
      const shared = (x: Nd): Nd => build(x.shape, ([b, h, t, d]) => get(x, [b!, Math.floor(h! / group), t!, d!]));
      const unshared = (x: Nd): Nd =>
        build(x.shape, ([b, h, t, d]) => (h! * group < heads ? get(x, [b!, h! * group, t!, d!]) : NaN));
      const inputs = [normal(queries), shared(normal(keys)), shared(normal(keys))] as const;
      const g = normal(queries);
      const masks = build([batch, 1, queries, keys], ([, , i, j]) =>
        mask === 'bool' ? Number(i !== 2 && (i! + 2 * j!) % 3 > 0) : Math.fround(random.normal()),
      );
      const [qs, ks] = [new Stored(queries, width, dtype, gap), new Stored(keys, width, dtype, gap)];
      const plain = (shape: readonly number[]): Operand => ({ ...contiguousLayout(shape), dtype: 'f32' });
      const k = { ...ks.operand, shape: [batch, heads / group, keys, width] };
      const scores = [batch, heads, queries, keys];
      const operands = {
        q: qs.operand,
        k,
        v: k,
        mask: mask && { ...broadcastLayout(contiguousLayout(masks.shape), scores), dtype: mask },
        ranges: documents && { ...contiguousLayout([batch, queries, 2]), dtype: 'i32' as const },
        y: qs.operand,
        stats: plain([batch, heads, queries, 2]),
        g: qs.operand,
        perQuery: plain([batch, heads, queries, 4]),
      };
      const draw = { key: [seed >>> 0, Math.floor(seed / 2 ** 32)] as const, stream: 0 };
      const scoring = { causal, scale: c.scale ?? 0.3, slidingWindow, softCap };
      const attrs = { ...scoring, dropout, draw };
      const words = new Float32Array(
        mask === 'bool' ? Uint32Array.from(masks.data).buffer : Float32Array.from(masks.data),
      );
      const stored = [
        qs.write(inputs[0]),
        ks.write(unshared(inputs[1])),
        ks.write(unshared(inputs[2])),
        ...(mask ? [words] : []),
        ...(documents ? [rangesOf(documents)] : []),
      ];
      const forward = flashAttention(operands, attrs, target);
      assert.match(forward.name, way);
      const [y, stats] = await runKernelOutputs(forward, stored, [qs.words, batch * heads * queries * 2]);
      const gs = qs.write(g);
      const delta = flashAttentionDelta(operands);
      const [perQuery] = await runKernelOutputs(delta, [y!, gs, stats!], [batch * heads * queries * 4]);
      const dq = qs.operand;
      const [dk, dv] = [0, 1].map((i) => ({ ...ks.operand, offset: gap + (together ? qs.size + i * ks.size : 0) }));
      const gradients = together && plain([qs.size + 2 * ks.size]);
      const outputs = { dq, dk: dk!, dv: dv!, gradients };
      const backward = flashAttentionBackward({ ...operands, ...outputs }, attrs, target);
      assert.match(backward.name, way);
      const sizes = [qs.words, ks.words, ks.words];
      const grads = await runKernelOutputs(backward, [...stored, gs, perQuery!], together ? [total(sizes)] : sizes);
      if (way === 'subgroup') {
        const again = await runKernelOutputs(backward, [...stored, gs, perQuery!], together ? [total(sizes)] : sizes);
        again.forEach((x, i) => assert.equal(new Uint32Array(x.buffer), new Uint32Array(grads[i]!.buffer)));
      }
      const begins = [0, qs.words, qs.words + ks.words];
      const gradOf = (i: number): Float32Array => (together ? grads[0]!.subarray(begins[i]) : grads[i]!);

      const drawn: number[] = [];
      const keep = (i: number): number => ((drawn[i] ??= uniform(i)) >= dropout ? 1 / (1 - dropout) : 0);
      const options = { ...scoring, keep, documents: documents && numbered(documents) };
      const reference = new AttentionReference(inputs, mask ? masks : undefined, mask === 'bool', options);
      const tolerance = half ? 4e-3 : 2e-5;
      close('y', qs.read(y!), reference.y, tolerance);
      reference.gradients(g).forEach((want, i) => {
        close('d' + 'qkv'[i]!, (i === 0 ? qs : ks).read(gradOf(i)), want, 4 * tolerance);
      });
    });
  }
}

test("sources for other devices' matrices are valid", async () => {
  if (!hasMatrices) return;
  const gpu = await acquire();
  const plain = (shape: readonly number[], dtype: 'f16' | 'f32'): Operand => ({ ...contiguousLayout(shape), dtype });
  for (const [M, N, K, sizes] of [
    [16, 16, 16, [32, 32]],
    [16, 8, 16, [32, 64]],
    [16, 8, 8, [16, 16]],
    [8, 8, 16, [8, 32]],
  ] as const) {
    for (const width of [32, 64, 128]) {
      const subgroupMatrix = [{ M, N, K, component: 'f16', result: 'f32' }];
      const limits = { workgroupMemory: 49152, maxInvocations: 1024, subgroupSizeControl: true };
      const target = { software: false, subgroupMatrix, subgroupSizes: sizes, ...limits };
      const x = plain([1, 2, 100, width], 'f16');
      const [stats, perQuery] = [plain([1, 2, 100, 2], 'f32'), plain([1, 2, 100, 4], 'f32')];
      const attrs = { causal: true, scale: 1, dropout: 0.1, draw: { key: [0, 0], stream: 0 } } as const;
      const packed = { ...contiguousLayout([1, 2, 100, wordsOf(width)]), dtype: 'u32' as const };
      for (const { name, wgsl } of [
        flashAttention({ q: x, k: x, v: x, y: x, stats }, attrs, target),
        flashAttention({ q: x, k: packed, v: packed, y: x, stats }, attrs, target),
        flashAttentionBackward({ q: x, k: x, v: x, g: x, perQuery, dq: x, dk: x, dv: x }, attrs, target),
      ]) {
        assert.match(name, `.subgroup.${M}x${N}x${K}.`);
        const { messages } = await gpu.device.createShaderModule({ code: wgsl }).getCompilationInfo();
        assert.equal(
          messages.map(({ message }) => message),
          [],
        );
      }
    }
  }
});

const endings = Object.entries(ways).flatMap(([way, how]) => [false, true].map((bytes) => ({ way, bytes, ...how })));

for (const { way, bytes, target, cases, gap } of endings)
  test(`${way}: new tokens at the end of a cache${bytes ? ' of 8 bits' : ''}, with a window and without`, async () => {
    if (cases.length === 0) return; // no matrices here
    const half = way === 'subgroup';
    const [queries, keys, width, length] = [70, 150, half ? 16 : bytes ? 100 : 64, 61];
    const random = new Random(6);
    const one = (): number => (half ? fromHalf(toHalf(random.normal())) : Math.fround(random.normal()));
    const normal = (tokens: number): Nd => build([batch, heads, tokens, width], one);
    const [qs, ks] = [queries, keys].map((tokens) => new Stored(tokens, width, half ? 'f16' : 'f32', gap)) as [
      Stored,
      Stored,
    ];
    const given = [normal(queries), normal(keys), normal(keys)] as const;
    const inputs = bytes ? ([given[0], inEightBits(given[1]), inEightBits(given[2])] as const) : given;
    const packed = { ...contiguousLayout(wordsOfTokens(given[1]).shape, 3), dtype: 'u32' as const };
    const write = (x: Nd): ArrayBufferView =>
      bytes ? Uint32Array.from([1, 2, 3, ...wordsOfTokens(x).data]) : ks.write(x);
    const stored = [qs.write(given[0]), write(given[1]), write(given[2]), Int32Array.from([-1, length])];
    const k = bytes ? packed : ks.operand;
    const operands = {
      ...{ q: qs.operand, k, v: k, y: qs.operand },
      lengths: { ...contiguousLayout([1], 1), dtype: 'i32' as const },
      stats: { ...contiguousLayout([batch, heads, queries, 2]), dtype: 'f32' as const },
    };
    for (const slidingWindow of [undefined, 40]) {
      const attrs = { causal: true, scale: 0.3, slidingWindow };
      const sizes = [qs.words, batch * heads * queries * 2];
      const forward = flashAttention(operands, attrs, target);
      assert.match(forward.name, way);
      const [y] = await runKernelOutputs(forward, stored, sizes);
      const seen = build([batch, 1, queries, keys], ([, , i, j]) =>
        Number(j! < length + i! && j! >= length + i! - (slidingWindow ?? keys)),
      );
      close('y', qs.read(y!), new AttentionReference(inputs, seen, true, { scale: 0.3 }).y, half ? 4e-3 : 2e-5);
    }
  });

for (const [way, { target, gap }] of Object.entries(ways).filter(([, { cases }]) => cases.length > 0))
  test(`${way}: blocks of other documents are not read`, async () => {
    const half = way === 'subgroup';
    const [tokens, width, documents] = [192, half ? 16 : 64, [64, 64, 64]];
    const stored = new Stored(tokens, width, half ? 'f16' : 'f32', gap);
    const { operand } = stored;
    const plain = (shape: readonly number[]): Operand => ({ ...contiguousLayout(shape), dtype: 'f32' });
    /** NaN but in the second document. */
    const x = stored.write(
      build([batch, heads, tokens, width], ([, , t]) => (t! >= 64 && t! < 128 ? Math.sin(t!) : NaN)),
    );
    const ranges = { ...contiguousLayout([batch, tokens, 2]), dtype: 'i32' as const };
    const inputs = { q: operand, k: operand, v: operand, ranges };
    const given = { y: operand, g: operand, stats: plain([batch, heads, tokens, 2]) };
    const perQuery = plain([batch, heads, tokens, 4]);
    const attrs = { causal: false, scale: 0.3 };
    const data = [x, x, x, rangesOf(documents)];
    const sizes = [stored.words, batch * heads * tokens * 2];
    const [y, stats] = await runKernelOutputs(flashAttention({ ...inputs, ...given }, attrs, target), data, sizes);
    const [each] = await runKernelOutputs(
      flashAttentionDelta({ ...given, perQuery }),
      [y!, x, stats!],
      [batch * heads * tokens * 4],
    );
    const backward = { ...inputs, g: operand, perQuery, dq: operand, dk: operand, dv: operand };
    const gradients = await runKernelOutputs(
      flashAttentionBackward(backward, attrs, target),
      [...data, x, each!],
      [stored.words, stored.words, stored.words],
    );
    for (const result of [y!, ...gradients]) {
      const read = stored.read(result);
      const own = build([batch, heads, 64, width], ([b, h, t, d]) => get(read, [b!, h!, 64 + t!, d!]));
      assert.ok(own.data.every((value) => Number.isFinite(value)));
    }
  });

test('the gradients are the same where too few buffers may be bound for a tensor each', async () => {
  await ready();
  const shape = [1, 2, 5, 8];
  const [q, k, v, weight] = [1, 2, 3, 4].map((n) => normal(shape, { mean: n / 4 })) as [Tensor, Tensor, Tensor, Tensor];
  for (const x of [q, k, v]) x.requiresGrad = true;
  const mask = tensor([1, 1, 0, 1, 1], { dtype: 'bool' });
  const gradients = async (): Promise<Float32Array[]> => {
    const y = scaledDotProductAttention(q, k, v, { mask });
    const data = await Promise.all(grad(y, [q, k, v], { gradOutputs: [weight] }).map((x) => x!.data()));
    return data.map((x) => Float32Array.from(x));
  };
  const want = await gradients();
  const { maxStorageBuffers } = device;
  Object.assign(device, { maxStorageBuffers: 8 }); // nine would be bound
  try {
    const got = await gradients();
    want.forEach((x, i) => assert.equal(got[i], x));
  } finally {
    Object.assign(device, { maxStorageBuffers });
  }
});

test.run();
