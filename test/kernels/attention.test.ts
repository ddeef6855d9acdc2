import { suite } from 'uvu';
import { fromHalf, toHalf } from '../../common/half.ts';
import { acquire } from '../../gpu/index.ts';
import { attentionBackward } from '../../kernels/attention/backward.ts';
import { attentionDelta } from '../../kernels/attention/delta.ts';
import { attentionForward } from '../../kernels/attention/forward.ts';
import type { AttentionParams, HeadsOperand } from '../../kernels/attention/params.ts';
import { chooseWalk } from '../../kernels/attention/walk.ts';
import type { Pass, Walk } from '../../kernels/attention/walk.ts';
import { Random } from '../../common/random.ts';
import { AttentionReference } from '../support/attention.ts';
import { build, get } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { seed, uniform } from '../support/philox.ts';
import { runKernelOutputs } from '../support/run-kernel.ts';

/** Every way of walking, whichever the device would choose. */
const test = suite('attention kernels');
const { target } = await acquire();

const walks: Readonly<Record<string, (pass: Pass, width: number) => Walk>> = {
  software: (pass, width) => chooseWalk({ software: true }, pass, width),
  gpu: (pass, width) => chooseWalk({ software: false }, pass, width),
};

interface Case {
  readonly queries: number;
  readonly keys: number;
  readonly width: number;
  readonly causal?: boolean;
  readonly mask?: 'bool' | 'f32';
  readonly dropout?: number;
  readonly dtype?: 'f16';
  /** Both query heads share the first head of keys and values; the second is NaN. */
  readonly group?: 2;
}

const cases: readonly Case[] = [
  { queries: 1, keys: 1, width: 4 },
  { queries: 67, keys: 70, width: 4, causal: true, dropout: 0.3 },
  { queries: 70, keys: 68, width: 4, mask: 'bool', dropout: 0.3 },
  { queries: 5, keys: 130, width: 32, mask: 'f32' },
  { queries: 9, keys: 40, width: 64, causal: true },
  { queries: 66, keys: 17, width: 100 },
  { queries: 70, keys: 33, width: 64, causal: true, group: 2 },
  { queries: 3, keys: 21, width: 128, dropout: 0.5, mask: 'bool' },
  { queries: 20, keys: 20, width: 64, causal: true, dtype: 'f16' },
  { queries: 6, keys: 9, width: 8, dtype: 'f16', mask: 'bool' },
];

const [batch, heads] = [1, 2];

/** [B, H, T, D] stored as [B, T, H, D] after 4 numbers of NaN, with a gap of 4 numbers after every token. */
class Stored {
  readonly operand: HeadsOperand;
  readonly size: number;
  private readonly half: boolean;

  constructor(tokens: number, width: number, half: boolean) {
    const token = heads * width + 4;
    this.operand = { offset: 4, batch: tokens * token, head: width, token };
    this.size = 4 + batch * tokens * token;
    this.half = half;
  }

  private at([b, h, t, d]: readonly number[]): number {
    const { offset, batch, head, token } = this.operand;
    return offset + b! * batch + h! * head + t! * token + d!;
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

  read(words: Float32Array, shape: readonly number[]): Nd {
    const halves = new Uint16Array(words.buffer, words.byteOffset, 2 * words.length);
    return build(shape, (index) => (this.half ? fromHalf(halves[this.at(index)]!) : words[this.at(index)]!));
  }
}

function close(what: string, got: Nd, want: Nd, tolerance: number): void {
  want.data.forEach((w, i) => {
    const error = Math.abs(got.data[i]! - w);
    if (!(error <= tolerance * (1 + Math.abs(w))))
      throw new Error(`${what}: element ${i} is ${got.data[i]}, want ${w}`);
  });
}

for (const [name, walkOf] of Object.entries(walks)) {
  for (const c of cases) {
    if (c.dtype === 'f16' && !target.f16) continue;
    test(`${name} ${JSON.stringify(c)}`, async () => {
      const { queries, keys, width, causal = false, mask, dropout = 0, dtype = 'f32', group = 1 } = c;
      const half = dtype === 'f16';
      const random = new Random(3);
      const normal = (tokens: number): Nd =>
        build([batch, heads, tokens, width], () =>
          half ? fromHalf(toHalf(random.normal())) : Math.fround(random.normal()),
        );
      const shared = (x: Nd): Nd => build(x.shape, ([b, h, t, d]) => get(x, [b!, Math.floor(h! / group), t!, d!]));
      const unshared = (x: Nd): Nd => build(x.shape, (index) => (index[1]! * group < heads ? get(x, index) : NaN));
      const inputs = [normal(queries), shared(normal(keys)), shared(normal(keys))] as const;
      const g = normal(queries);
      const masks = build([batch, 1, queries, keys], ([, , i, j]) =>
        mask === 'bool' ? Number(i !== 2 && (i! + 2 * j!) % 3 > 0) : Math.fround(random.normal()),
      );
      const [qs, ks] = [new Stored(queries, width, half), new Stored(keys, width, half)];
      const draw = { key: [seed >>> 0, Math.floor(seed / 2 ** 32)] as const, stream: 0 };
      const params: AttentionParams = {
        batch,
        heads,
        group,
        queries,
        keys,
        width,
        dtype,
        q: qs.operand,
        k: ks.operand,
        v: ks.operand,
        mask: mask && { dtype: mask, offset: 0, strides: [queries * keys, 0, keys, 1] },
        causal,
        scale: 0.3,
        dropout,
        draw,
      };
      const words = new Float32Array(
        mask === 'bool' ? Uint32Array.from(masks.data).buffer : Float32Array.from(masks.data),
      );
      const stored = [
        qs.write(inputs[0]),
        ks.write(unshared(inputs[1])),
        ks.write(unshared(inputs[2])),
        ...(mask ? [words] : []),
      ];
      const forward = attentionForward({ ...params, y: qs.operand, walk: walkOf('forward', width) });
      const [y, stats] = await runKernelOutputs(forward, stored, [qs.words, batch * heads * queries * 2]);
      const gs = qs.write(g);
      const delta = attentionDelta({ batch, heads, queries, width, dtype, y: qs.operand, g: qs.operand });
      const [rows] = await runKernelOutputs(delta, [y!, gs, stats!], [batch * heads * queries * 4]);
      const backward = attentionBackward({
        ...params,
        g: qs.operand,
        gradients: { packed: false, dq: qs.operand, dk: ks.operand, dv: ks.operand },
        walk: walkOf('backward', width),
      });
      const grads = await runKernelOutputs(backward, [...stored, gs, rows!], [qs.words, ks.words, ks.words]);

      const drawn: number[] = [];
      const keep = (i: number): number => ((drawn[i] ??= uniform(i)) >= dropout ? 1 / (1 - dropout) : 0);
      const options = { causal, scale: 0.3, keep };
      const reference = new AttentionReference(inputs, mask ? masks : undefined, mask === 'bool', options);
      const tolerance = half ? 4e-3 : 2e-5;
      close('y', qs.read(y!, g.shape), reference.y, tolerance);
      reference.gradients(g).forEach((want, i) => {
        close('d' + 'qkv'[i]!, (i === 0 ? qs : ks).read(grads[i]!, want.shape), want, 4 * tolerance);
      });
    });
  }
}

test.run();
