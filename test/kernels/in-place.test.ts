import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { lossInPlace } from '../../kernels/cross-entropy.ts';
import { acquire } from '../../gpu/index.ts';
import type { Dispatch } from '../../gpu/index.ts';
import { Random } from '../../common/random.ts';
import { total } from '../support/nd.ts';
import { runKernelOutputs } from '../support/run-kernel.ts';

/** Kernels whose threads overwrite a buffer that their neighbours read. */
const test = suite('kernels in place');

const { target } = await acquire();
const { subgroupSizes } = target;
const shares = subgroupSizes.every((size) => size === 8) ? [1, 4, 8, 64, 256] : [1, 64, 256];
const random = new Random(5);

const pitchOf = (classes: number): number => Math.ceil(classes / 4) * 4;

function loss(classes: number, rows: number, share: number, smoothing: number): Dispatch {
  const x = { shape: [rows, classes], strides: [pitchOf(classes), 1], offset: 0, dtype: 'f32' as const };
  const labels = { shape: [rows], strides: [1], offset: 0, dtype: 'i32' as const };
  const losses = { shape: [rows, 2], strides: [2, 1], offset: 0, dtype: 'f32' as const };
  const attrs = { ignoreIndex: -100, smoothing, firstRow: 0, gradient: true };
  return lossInPlace({ x, labels, losses }, attrs, { subgroupSizes, software: share < 64 && share !== 4, share });
}

for (const share of [1, 8, 64]) {
  for (const classes of [5003, 5004]) {
    // prettier-ignore
    // No barrier of a row kernel orders the buffer, so that a logit may be read by the thread alone that
    // overwrites it: as `x[o + c]` in its own loop, or where its loop meets the target.
    test(`lossInPlace: no thread reads another's logit, ${share} threads a row, ${classes} classes`, () => {
      const { wgsl } = loss(classes, 2, share, 0.1);
      assert.not.match(wgsl, 'storageBarrier');
      const own = 'if ((at / 4u) % stride == first) {';
      const guarded = wgsl.slice(wgsl.indexOf(own), wgsl.indexOf('}', wgsl.indexOf(own)));
      assert.ok(wgsl.includes(own) && guarded.includes('x[o + at'), wgsl);
      const elsewhere = [...wgsl.replace(guarded, '').matchAll(/\bx\[([^\]]*)\]/g)].map(([, at]) => at);
      assert.equal([...new Set(elsewhere)], ['o + c']);
      // Its loop's stores come after that read in the program's order.
      assert.ok(wgsl.indexOf(own) < wgsl.search(/\bx\[o \+ c\] = /));
    });
  }
}

for (const share of shares) {
  for (const classes of [3, 64, 5003, 5004]) {
    for (const smoothing of [0, 0.1]) {
      test(`lossInPlace: ${share} threads a row, rows of ${classes}, smoothing ${smoothing}`, async () => {
        const rows = 9;
        const pitch = pitchOf(classes);
        const x = Float32Array.from({ length: rows * pitch }, () => 3 * random.normal());
        const labels = Int32Array.from({ length: rows }, (_, row) => (row === 2 ? -100 : random.int(classes)));
        labels[3] = 0;
        labels[4] = classes - 1;
        const [losses, gradient] = await runKernelOutputs(
          loss(classes, rows, share, smoothing),
          [labels],
          [2 * rows, x],
        );
        for (let row = 0; row < rows; row++) {
          const [label, begin] = [labels[row]!, row * pitch];
          const logits = [...x.subarray(begin, begin + classes)];
          const top = Math.max(...logits);
          const shift = top + Math.log(total(logits.map((v) => Math.exp(v - top))));
          const nll = logits.map((v) => shift - v);
          const want = label < 0 ? 0 : (1 - smoothing) * nll[label]! + (smoothing * total(nll)) / classes;
          assert.ok(Math.abs(losses![2 * row]! - want) <= 1e-5 * (1 + want), `loss of row ${row}`);
          assert.is(losses![2 * row + 1], label < 0 ? 0 : 1);
          logits.forEach((v, c) => {
            const hit = (1 - smoothing) * Number(c === label) + smoothing / classes;
            const wanted = label < 0 ? 0 : Math.exp(v - shift) - hit;
            assert.ok(Math.abs(gradient![begin + c]! - wanted) <= 1e-6, `gradient ${c} of row ${row}`);
          });
        }
      });
    }
  }
}

test.run();
