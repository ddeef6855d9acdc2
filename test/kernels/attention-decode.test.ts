import { suite } from 'uvu';
import { decodeAttention, joinParts } from '../../kernels/attention/decode.ts';
import { contiguousLayout, sizeOf } from '../../kernels/layout.ts';
import type { Operand } from '../../kernels/layout.ts';
import { Random } from '../../common/random.ts';
import { inEightBits, wordsOfTokens } from '../support/int8-tokens.ts';
import { total } from '../support/nd.ts';
import { runKernelOutputs } from '../support/run-kernel.ts';

/** Both ways of decoding, whichever the device would choose. */
const test = suite('attention decode kernels');

const cases = [
  { batch: 1, heads: 1, group: 1, capacity: 1, width: 4, length: 1 },
  { batch: 2, heads: 2, group: 3, capacity: 200, width: 8, length: 130 },
  { batch: 1, heads: 2, group: 9, capacity: 130, width: 64, length: 65 },
  { batch: 1, heads: 1, group: 2, capacity: 70, width: 100, length: 70 },
  { batch: 1, heads: 1, group: 1, capacity: 64, width: 128, length: 63 },
  { batch: 1, heads: 2, group: 2, capacity: 70, width: 256, length: 66 },
  { batch: 2, heads: 1, group: 1, capacity: 66, width: 200, length: 65, slidingWindow: 30 },
  { batch: 1, heads: 2, group: 3, capacity: 200, width: 8, length: 190, slidingWindow: 70, softCap: 0.4 },
  { batch: 1, heads: 1, group: 2, capacity: 200, width: 64, length: 129, slidingWindow: 1 },
];

const bytesCases = [
  { batch: 2, heads: 2, group: 3, capacity: 200, width: 8, length: 130, bytes: true },
  { batch: 1, heads: 2, group: 9, capacity: 70, width: 64, length: 65, bytes: true },
  { batch: 1, heads: 1, group: 2, capacity: 70, width: 100, length: 70, slidingWindow: 30, bytes: true },
  { batch: 1, heads: 1, group: 2, capacity: 70, width: 256, length: 66, softCap: 0.4, bytes: true },
];

const noScoring: { slidingWindow?: number; softCap?: number; bytes?: boolean } = {};

const plain = (shape: readonly number[], offset = 0): Operand => ({ ...contiguousLayout(shape, offset), dtype: 'f32' });

for (const software of [true, false]) {
  for (const c of [...cases, ...bytesCases]) {
    test(`${software ? 'lanes' : 'workgroup'} ${JSON.stringify(c)}`, async () => {
      const { batch, heads, group, capacity, width, length, slidingWindow, softCap, bytes } = { ...noScoring, ...c };
      const random = new Random(5);
      const offset = 4;
      const draw = (count: number): Float32Array =>
        Float32Array.from({ length: offset + count }, (_, i) => (i < offset ? NaN : random.normal()));
      const [q, k, v] = [
        draw(batch * heads * group * width),
        draw(batch * heads * capacity * width),
        draw(batch * heads * capacity * width),
      ];
      const shape = [batch, heads, capacity, width];
      /** Words that a cache holds of these, behind as many others, and the numbers that they stand for. */
      const inBytes = (x: Float32Array) => {
        const own = { shape, data: Float64Array.from(x.subarray(offset)) };
        const words = Uint32Array.from([...new Array<number>(offset).fill(7), ...wordsOfTokens(own).data]);
        return { words, numbers: [...new Array<number>(offset).fill(NaN), ...inEightBits(own).data] };
      };
      const [keys, values] = bytes ? [inBytes(k), inBytes(v)] : [k, v].map((x) => ({ words: x, numbers: [...x] }));
      const own = wordsOfTokens({ shape, data: new Float64Array(sizeOf(shape)) }).shape;
      const cache = bytes ? { ...plain(own, offset), dtype: 'u32' as const } : plain(shape, offset);
      const operands = {
        q: plain([batch, heads * group, 1, width], offset),
        k: cache,
        v: cache,
        lengths: { ...plain([1], 1), dtype: 'i32' as const },
        partial: plain([batch, heads * group, Math.ceil(capacity / 64), width + 4]),
      };
      const decode = decodeAttention(operands, { scale: 0.2, slidingWindow, softCap, span: 64 }, { software });
      const lengths = Int32Array.from([-1, length]);
      const [partial] = await runKernelOutputs(
        decode,
        [q, keys!.words, values!.words, lengths],
        [sizeOf(operands.partial.shape)],
      );
      const y0 = plain([batch, heads * group, 1, width]);
      const [y] = await runKernelOutputs(joinParts({ ...operands, y: y0 }), [partial!], [sizeOf(y0.shape)]);
      const attrs = { scale: 0.2, slidingWindow, softCap, span: 64 * Math.ceil(capacity / 64) };
      const inOnePart = decodeAttention({ ...operands, partial: undefined, y: y0 }, attrs, { software });
      const [direct] = await runKernelOutputs(inOnePart, [q, keys!.words, values!.words, lengths], [sizeOf(y0.shape)]);
      for (let row = 0; row < batch * heads * group; row++) {
        const start = offset + Math.floor(row / group) * capacity * width;
        const seen = Math.min(length, slidingWindow ?? length);
        const tokens = Array.from({ length: seen }, (_, j) => start + (length - seen + j) * width);
        const columns = Array.from({ length: width }, (_, d) => d);
        const products = tokens.map(
          (at) => 0.2 * total(columns.map((d) => q[offset + row * width + d]! * keys!.numbers[at + d]!)),
        );
        const scores = products.map((s) => (softCap ? softCap * Math.tanh(s / softCap) : s));
        const top = Math.max(...scores);
        const weights = scores.map((s) => Math.exp(s - top));
        for (const d of columns) {
          const want = total(weights.map((w, j) => w * values!.numbers[tokens[j]! + d]!)) / total(weights);
          for (const got of [y!, direct!]) {
            const error = Math.abs(got[row * width + d]! - want);
            if (!(error <= 2e-5)) throw new Error(`row ${row}, column ${d}: ${got[row * width + d]}, want ${want}`);
          }
        }
      }
    });
  }
}

test.run();
