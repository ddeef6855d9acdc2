// Rotary position embedding against its definition, in float64.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed, normal, tensor } from '../../autograd/index.ts';
import { RotaryEmbedding, rotaryFrequencies, rotate } from '../../models/index.ts';
import type { RotaryScaling } from '../../models/index.ts';

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
  assert.throws(() => new RotaryEmbedding(5, { maxPositions: 4 }), /must be even, got 5/);
});

test.run();
