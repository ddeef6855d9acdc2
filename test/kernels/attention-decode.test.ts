import { suite } from 'uvu';
import { decodeLanes, decodeWorkgroup, joinParts, partialSize } from '../../kernels/attention/decode.ts';
import type { DecodeParams } from '../../kernels/attention/decode.ts';
import { Random } from '../../common/random.ts';
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
];

for (const [name, kernel] of Object.entries({ lanes: decodeLanes, workgroup: decodeWorkgroup })) {
  for (const c of cases) {
    test(`${name} ${JSON.stringify(c)}`, async () => {
      const { batch, heads, group, capacity, width, length } = c;
      const random = new Random(5);
      const offset = 4;
      const draw = (count: number): Float32Array =>
        Float32Array.from({ length: offset + count }, (_, i) => (i < offset ? NaN : random.normal()));
      const [q, k, v] = [
        draw(batch * heads * group * width),
        draw(batch * heads * capacity * width),
        draw(batch * heads * capacity * width),
      ];
      const cache = { offset, batch: heads * capacity * width, head: capacity * width, token: width };
      const params: DecodeParams = {
        batch,
        heads,
        group,
        capacity,
        width,
        dtype: 'f32',
        q: { offset, batch: heads * group * width, head: group * width, token: width },
        k: cache,
        v: cache,
        length: { offset: 1, stride: 0 },
        scale: 0.2,
        span: 64,
      };
      const lengths = new Float32Array(Int32Array.from([-1, length]).buffer);
      const [partial] = await runKernelOutputs(kernel(params), [q, k, v, lengths], [partialSize(params)]);
      const [y] = await runKernelOutputs(joinParts(params), [partial!], [batch * heads * group * width]);
      for (let row = 0; row < batch * heads * group; row++) {
        const start = offset + Math.floor(row / group) * capacity * width;
        const tokens = Array.from({ length }, (_, j) => start + j * width);
        const columns = Array.from({ length: width }, (_, d) => d);
        const scores = tokens.map((at) => 0.2 * total(columns.map((d) => q[offset + row * width + d]! * k[at + d]!)));
        const top = Math.max(...scores);
        const weights = scores.map((s) => Math.exp(s - top));
        for (const d of columns) {
          const want = total(weights.map((w, j) => w * v[tokens[j]! + d]!)) / total(weights);
          const error = Math.abs(y![row * width + d]! - want);
          if (!(error <= 2e-5)) throw new Error(`row ${row}, column ${d}: ${y![row * width + d]}, want ${want}`);
        }
      }
    });
  }
}

test.run();
