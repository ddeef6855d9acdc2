import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as tf from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import { watchMatmul } from '../../kernels/index.ts';

const test = suite('quantize');

const weights = (count: number): number[] => {
  const random = new Random(3);
  return Array.from({ length: count }, (_, i) => random.normal() * (1 + (i % 7)));
};

for (const bits of [4, 8] as const) {
  for (const symmetric of [true, false]) {
    for (const scales of ['f32', 'f16'] as const) {
      test(`${bits} bits, ${symmetric ? 'symmetric' : 'with zeros'}, ${scales}: within half a step`, async () => {
        const [out, into, group] = [5, 48, 32];
        const data = weights(out * into).map((x) => (symmetric ? x : x + 3));
        const q = await tf.quantize(tf.tensor(data, { shape: [out, into] }), { bits, group, symmetric, scales });
        assert.equal(q.scales.shape, [out, 2]);
        const back = await (await tf.dequantize(q)).data();
        const steps = await q.scales.data();
        data.forEach((value, i) => {
          const step = Number(steps[Math.floor(i / into) * 2 + Math.floor((i % into) / group)]);
          const error = Math.abs(Number(back[i]) - value);
          // A rounded zero moves both ends of an asymmetric range by up to half a step.
          const bound = step * ((symmetric ? 0.5 : 1) + (scales === 'f16' ? 1 / 16 : 0)) + 1e-6;
          assert.ok(error <= bound, `element ${i}: ${back[i]} is not ${value} to ${bound}`);
        });
      });
    }
  }
}

test('zeros, and groups of zeros, are exact', async () => {
  const q = await tf.quantize(tf.zeros([2, 16]), { bits: 4, group: 8 });
  assert.equal([...(await (await tf.dequantize(q)).data())], new Array(32).fill(0));
});

test('a plan is chosen for each product, so that a tuned one takes effect', async () => {
  const q = await tf.quantize(tf.ones([24, 32]));
  const x = tf.ones([8, 32]);
  for (let i = 0; i < 2; i++) {
    const seen: string[] = [];
    const stop = watchMatmul(({ m, n, k }) => void seen.push([m, n, k].join()));
    tf.quantizedLinear(x, q);
    stop();
    assert.equal(seen, ['8,24,32'], `call ${i + 1}`);
  }
});

test('int8 activations stay within the stated bound', async () => {
  const [rows, out, into] = [6, 10, 64];
  const x = weights(rows * into);
  const w = weights(out * into).reverse();
  const q = await tf.quantize(tf.tensor(w, { shape: [out, into] }));
  const got = await tf
    .quantizedLinear(tf.tensor(x, { shape: [rows, into] }), q, undefined, { activations: 'int8' })
    .data();
  const stands = await (await tf.dequantize(q)).data();
  for (let r = 0; r < rows; r++) {
    const largest = Math.max(...x.slice(r * into, (r + 1) * into).map(Math.abs));
    for (let o = 0; o < out; o++) {
      let [sum, magnitude] = [0, 0];
      for (let i = 0; i < into; i++) {
        sum += x[r * into + i]! * Number(stands[o * into + i]);
        magnitude += Math.abs(Number(stands[o * into + i]));
      }
      const error = Math.abs(Number(got[r * out + o]) - sum);
      assert.ok(error <= (largest / 254) * magnitude * 1.001, `(${r}, ${o}): ${got[r * out + o]} is not ${sum}`);
    }
  }
});

test('what does not fit is refused', async () => {
  const says = async (fn: () => Promise<unknown>, message: RegExp): Promise<void> => {
    let error: unknown;
    await fn().catch((e: unknown) => (error = e));
    assert.match(String(error), message);
  };
  await says(() => tf.quantize(tf.zeros([3, 6])), /\[3, 6\].*multiple of 4/);
  await says(() => tf.quantize(tf.zeros([3, 8]), { bits: 4, group: 12 }), /12.*multiples of 8/);
});

test.run();
