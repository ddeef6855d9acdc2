// Rotary position embedding against its definition, in float64.
import { readFile } from 'node:fs/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile, manualSeed, normal, reshape, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { rotaryAttentionFactor, RotaryEmbedding, rotaryFrequencies, rotate } from '../../models/index.ts';
import type { RotaryScaling } from '../../models/index.ts';
import { scalingOf } from '../../models/transformer/rotary-settings.ts';
import { goldenFile } from '../support/golden.ts';

/** What golden_decoders.py writes. */
interface RotaryGolden {
  readonly theta: number;
  readonly dim: number;
  readonly maxPositions: number;
  readonly cases: readonly {
    readonly scaling: JsonObject;
    readonly length: number;
    readonly frequencies: readonly number[];
    readonly factor: number;
  }[];
}

const test = suite('rotary');

test('each pair turns by position times frequency, at any position, to rounding', async () => {
  manualSeed(2);
  const [dim, theta, maxPositions] = [8, 500000, 131072];
  const positions = [0, 1, 255, 256, 257, 1000, 70000, 131071];
  const rotary = new RotaryEmbedding(dim, { theta, maxPositions });
  const x = normal([2, positions.length, 3, dim]); // (B, T, H, D)
  const given = await x.data();
  const turned = await rotate(x, rotary.forward(tensor(positions, { dtype: 'i32' }))).data();
  for (let i = 0; i < given.length; i += dim) {
    const position = positions[Math.floor(i / dim / 3) % positions.length]!;
    for (let pair = 0; pair < dim / 2; pair++) {
      const angle = position * theta ** ((-2 * pair) / dim);
      const [a, b] = [given[i + pair]!, given[i + pair + dim / 2]!];
      const wanted = [a * Math.cos(angle) - b * Math.sin(angle), a * Math.sin(angle) + b * Math.cos(angle)];
      const got = [turned[i + pair]!, turned[i + pair + dim / 2]!];
      wanted.forEach((w, part) =>
        assert.ok(Math.abs(got[part]! - w) <= 2e-6, `position ${position}, pair ${pair}: ${got[part]}, want ${w}`),
      );
    }
  }
});

test('positions by text, and the derivative turns back', async () => {
  manualSeed(3);
  const rotary = new RotaryEmbedding(4, { maxPositions: 20 });
  const rotation = rotary.forward(tensor([[0, 3], [19, 7]], { dtype: 'i32' })); // prettier-ignore
  const x = normal([2, 2, 1, 4]);
  x.requiresGrad = true;
  const y = rotate(x, rotation);
  // The gradient of y . stop(y) is the inverse rotation of y: x itself, since rotations keep lengths.
  y.mul(y.detach()).sum().backward();
  const [back, own] = [await x.grad!.data(), await x.data()];
  back.forEach((value, i) => assert.ok(Math.abs(value - own[i]!) <= 1e-6));
});

test('scaled frequencies: linear divides all; llama3 keeps fast ones, divides slow ones, blends between', () => {
  const plain = rotaryFrequencies(8, 100);
  plain.forEach((frequency, i) => assert.ok(Math.abs(frequency - 10 ** (-i / 2)) < 1e-12));
  const linear = rotaryFrequencies(8, 100, { ropeType: 'linear', factor: 4 });
  assert.equal(linear, plain.map((frequency) => frequency / 4)); // prettier-ignore
  const scaling: RotaryScaling = {
    ropeType: 'llama3',
    factor: 8,
    lowFreqFactor: 1,
    highFreqFactor: 4,
    originalMaxPositionEmbeddings: 32,
  };
  const scaled = rotaryFrequencies(8, 100, scaling);
  assert.is(scaled[0], plain[0]);
  assert.ok(scaled[1]! > plain[1]! / 8 && scaled[1]! < plain[1]!);
  assert.equal(scaled.slice(2), plain.slice(2).map((frequency) => frequency / 8)); // prettier-ignore
});

test('every scaling has the frequencies and the factor of Transformers', async () => {
  const golden = JSON.parse(await readFile(goldenFile('rotary.json'), 'utf8')) as RotaryGolden;
  const { theta, dim, maxPositions, cases } = golden;
  for (const { scaling: json, length, frequencies, factor } of cases) {
    const scaling = scalingOf(json) as unknown as RotaryScaling;
    const found = rotaryFrequencies(dim, theta, scaling, { length, maxPositions });
    found.forEach((frequency, i) => {
      const off = Math.abs(frequency / frequencies[i]! - 1);
      assert.ok(off <= 1e-5, `${JSON.stringify(json)}, ${length} tokens, pair ${i}: ${frequency}, off by ${off}`);
    });
    assert.ok(Math.abs(rotaryAttentionFactor(scaling, maxPositions) - factor) <= 1e-6, JSON.stringify(json));
  }
});

test('scalings that depend on the length take that of the longest text, on the device', async () => {
  manualSeed(4);
  const [dim, maxPositions, theta] = [8, 300, 100];
  const longrope: RotaryScaling = {
    ropeType: 'longrope',
    shortFactor: [1, 1.5, 2, 2],
    longFactor: [3, 4, 5, 6],
    originalMaxPositionEmbeddings: 40,
  };
  for (const scaling of [longrope, { ropeType: 'dynamic', factor: 4 } as const]) {
    const rotary = new RotaryEmbedding(dim, { theta, scaling, maxPositions });
    assert.is(rotary.maxPositions, scaling.ropeType === 'dynamic' ? 1200 : 300);
    const x = normal([3, 1, dim]);
    const given = await x.data();
    const compiled = compile((t: Tensor) => rotate(reshape(x, [1, 3, 1, dim]), rotary.forward(t)));
    for (const positions of [
      [0, 5, 39],
      [0, 40, 299],
      [2, 1150, 7],
    ]) {
      // prettier-ignore
      if (positions[1]! >= rotary.maxPositions) continue;
      const length = Math.max(...positions) + 1;
      const frequencies = rotaryFrequencies(dim, theta, scaling, { length, maxPositions });
      const amplitude = rotaryAttentionFactor(scaling, maxPositions);
      const turned = await compiled(tensor(positions, { dtype: 'i32' })).data();
      positions.forEach((position, t) => {
        for (let pair = 0; pair < dim / 2; pair++) {
          const angle = position * frequencies[pair]!;
          const [a, b] = [given[t * dim + pair]!, given[t * dim + pair + dim / 2]!];
          const wanted = amplitude * (a * Math.cos(angle) - b * Math.sin(angle));
          const off = Math.abs(turned[t * dim + pair]! - wanted);
          assert.ok(off <= 1e-3, `${scaling.ropeType}, position ${position}, pair ${pair}: off by ${off}`);
        }
      });
    }
  }
});

test('where the rotation is narrower than a head, the rest of the head stays', async () => {
  manualSeed(5);
  const rotation = new RotaryEmbedding(4, { maxPositions: 20 }).forward(tensor([3, 9], { dtype: 'i32' }));
  const x = normal([1, 2, 2, 6]);
  const whole = await rotate(x, rotation).data();
  const part = await rotate(x.narrow(-1, 0, 4), rotation).data();
  const given = await x.data();
  for (let head = 0; head < 4; head++) {
    assert.equal(whole.slice(6 * head, 6 * head + 4), part.slice(4 * head, 4 * head + 4));
    assert.equal(whole.slice(6 * head + 4, 6 * head + 6), given.slice(6 * head + 4, 6 * head + 6));
  }
});

test('a head of an odd size is refused', () => {
  assert.throws(() => new RotaryEmbedding(5, { maxPositions: 4 }), /must be even, got 5/);
});

test.run();
