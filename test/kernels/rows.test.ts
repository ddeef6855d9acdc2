import { suite } from 'uvu';
import { broadcastLayout, contiguousLayout } from '../../kernels/layout.ts';
import type { Operand } from '../../kernels/layout.ts';
import { plainSink, plainSource } from '../../kernels/map/elements.ts';
import { norm, normBackward, normParameters, sumNormParts } from '../../kernels/norm.ts';
import type { RowTarget } from '../../kernels/rows.ts';
import { softmax, softmaxBackward } from '../../kernels/softmax.ts';
import { crossEntropy, crossEntropyBackward } from '../../kernels/cross-entropy.ts';
import { acquire } from '../../gpu/index.ts';
import { Random } from '../../common/random.ts';
import { total } from '../support/nd.ts';
import { runKernelOutputs } from '../support/run-kernel.ts';

/**
 * Every way of sharing a row out, whichever the device would choose: a thread a row, parts of a subgroup, a
 * subgroup, and a workgroup, with subgroups and without.
 */
const test = suite('row kernels');

const device = (await acquire()).target;
const { subgroupSizes } = device;
const without = [0, 0] as const;
/** With those that take all sizes; the others take a few. */
const targets: readonly (RowTarget & { readonly all: boolean })[] = [
  { software: true, subgroupSizes, share: 1, all: true },
  ...(subgroupSizes.every((size) => size === 8) ? [{ software: true, subgroupSizes, share: 8, all: true }] : []),
  ...(subgroupSizes[0] > 0 ? [1, 4, 8, 64, 256] : []).map((share) => ({
    ...{ software: false, subgroupSizes, share, all: share === 4 || share === 64 },
  })),
  ...[8, 256].map((share) => ({ software: false, subgroupSizes: without, share, all: false })),
];
const nameOf = ({ software, subgroupSizes: [least], share }: RowTarget): string =>
  `${software ? 'processor' : 'GPU'}, ${share} a row${least > 0 ? '' : ', no subgroups'}`;
const sizes = [
  { rows: 1, cols: 1 },
  { rows: 3, cols: 5 },
  { rows: 7, cols: 8 },
  { rows: 70, cols: 12 },
  { rows: 2, cols: 63 },
  { rows: 3, cols: 260 },
  { rows: 2, cols: 1027 },
];

const random = new Random(11);
/** Numbers after `offset` of NaN, which no kernel may read. */
const draw = (count: number, offset: number): Float32Array =>
  Float32Array.from({ length: offset + count }, (_, i) => (i < offset ? NaN : random.normal()));

/** Errors relative to the size of the numbers that went into the sums. */
function close(what: string, got: Float32Array, want: ArrayLike<number>, scale = 1): void {
  if (got.length !== want.length) throw new Error(`${what}: ${got.length} elements, want ${want.length}`);
  for (let i = 0; i < got.length; i++) {
    const error = Math.abs(got[i]! - want[i]!);
    if (!(error <= 2e-6 * scale + 1e-5 * Math.abs(want[i]!)))
      throw new Error(`${what}: element ${i} is ${got[i]}, want ${want[i]}`);
  }
}

/** A row-major operand. */
const plain = (shape: readonly number[], dtype: Operand['dtype'] = 'f32'): Operand => ({
  ...contiguousLayout(shape),
  dtype,
});

/** Each row of a row-major matrix through a function, one after the other. */
const byRow = (cols: number, rows: number, of: (row: number) => readonly number[]): number[] =>
  Array.from({ length: rows }, (_, row) => of(row))
    .flat()
    .slice(0, rows * cols);
const rowOf = (x: Float32Array, row: number, cols: number, offset: number): number[] =>
  Array.from(x.subarray(offset + row * cols, offset + (row + 1) * cols));

for (const target of targets) {
  for (const { rows, cols } of target.all ? sizes : sizes.slice(-4)) {
    for (const offset of target.all ? [0, 3] : [0]) {
      const shape = [rows, cols];
      const stats = plain([rows, 2]);
      const at = (from: number) => plainSource({ dtype: 'f32', layout: contiguousLayout(shape, from) });
      const perColumn = plainSource({ dtype: 'f32', layout: broadcastLayout(contiguousLayout([cols]), shape) });
      const result = plainSink(shape, 'f32');
      const name = `${nameOf(target)}, ${rows} x ${cols} from ${offset}`;

      for (const log of [false, true]) {
        test(`${log ? 'logSoftmax' : 'softmax'} ${name}`, async () => {
          const x = draw(rows * cols, offset);
          x[offset] = 80; // exp overflows without the shift by the largest
          const [y] = await runKernelOutputs(
            softmax({ x: at(offset), y: result }, { log }, target),
            [x],
            [rows * cols],
          );
          const want = byRow(cols, rows, (row) => {
            const values = rowOf(x, row, cols, offset);
            const top = Math.max(...values);
            const sum = total(values.map((v) => Math.exp(v - top)));
            return values.map((v) => (log ? v - top - Math.log(sum) : Math.exp(v - top) / sum));
          });
          close('softmax', y!, want, log ? 80 : 1);
        });

        test(`${log ? 'logSoftmax' : 'softmax'} backward ${name}`, async () => {
          const [g, y] = [draw(rows * cols, offset), draw(rows * cols, 0)];
          const dispatch = softmaxBackward({ g: at(offset), out: at(0), y: result }, { log }, target);
          const [dx] = await runKernelOutputs(dispatch, [g, y], [rows * cols]);
          const want = byRow(cols, rows, (row) => {
            const [gs, ys] = [rowOf(g, row, cols, offset), rowOf(y, row, cols, 0)];
            const sum = total(gs.map((v, i) => (log ? v : v * ys[i]!)));
            return gs.map((v, i) => (log ? v - Math.exp(ys[i]!) * sum : ys[i]! * (v - sum)));
          });
          close('softmaxBackward', dx!, want, 30 * Math.sqrt(cols));
        });
      }

      for (const centre of [false, true]) {
        for (const affine of [false, true]) {
          const kind = `${centre ? 'layerNorm' : 'rmsNorm'}${affine ? ' affine' : ''}`;
          const statistics = (values: readonly number[]): readonly [mean: number, rstd: number] => {
            const mean = centre ? total(values) / cols : 0;
            return [mean, 1 / Math.sqrt(total(values.map((v) => (v - mean) ** 2)) / cols + 0.01)];
          };
          const bias = affine && centre;

          test(`${kind} ${name}`, async () => {
            const [x, w, b] = [draw(rows * cols, offset), draw(cols, 0), draw(cols, 0)];
            const parameters = { weight: affine ? perColumn : undefined, bias: bias ? perColumn : undefined };
            const operands = { x: at(offset), ...parameters, y: result, stats };
            const dispatch = norm(operands, { centre, epsilon: 0.01 }, target);
            const [y, found] = await runKernelOutputs(
              dispatch,
              [x, ...(affine ? [w] : []), ...(bias ? [b] : [])],
              [rows * cols, 2 * rows],
            );
            const each = Array.from({ length: rows }, (_, row) => statistics(rowOf(x, row, cols, offset)));
            const want = byRow(cols, rows, (row) => {
              const [mean, rstd] = each[row]!;
              return rowOf(x, row, cols, offset).map(
                (v, i) => (v - mean) * rstd * (affine ? w[i]! : 1) + (bias ? b[i]! : 0),
              );
            });
            close('y', y!, want, 10);
            close('stats', found!, each.flat(), 10);
          });

          const alone = affine && target === targets[0];
          for (const parts of alone ? [0, 1, 3].filter((parts) => parts <= rows) : []) {
            const where = parts === 0 ? 'processor' : `GPU, rows in ${parts}`;
            test(`${kind} parameters, ${where}, ${rows} x ${cols} from ${offset}`, async () => {
              const [g, x] = [draw(rows * cols, offset), draw(rows * cols, 0)];
              const each = Array.from({ length: rows }, (_, row) => statistics(rowOf(x, row, cols, 0)));
              const sums = (rows: number) => ({ dw: plain([rows, cols]), db: bias ? plain([rows, cols]) : undefined });
              const lengths = (rows: number): number[] => (bias ? [rows * cols, rows * cols] : [rows * cols]);
              const target = { software: parts === 0, units: 1 };
              const given = { g: at(offset), x: at(0), stats, ...sums(Math.max(1, parts)) };
              const dispatch = normParameters(given, { parts: Math.max(1, parts) }, target);
              const inputs = [g, x, Float32Array.from(each.flat())];
              const found = await runKernelOutputs(dispatch, inputs, lengths(Math.max(1, parts)));
              const { dw: wParts, db: bParts } = sums(parts);
              const results =
                parts > 1
                  ? await runKernelOutputs(sumNormParts({ wParts, bParts, ...sums(1) }, null), found, lengths(1))
                  : found;
              const column = (of: (g: number, x: number, row: number) => number): number[] =>
                Array.from({ length: cols }, (_, c) =>
                  total(each.map((_, row) => of(g[offset + row * cols + c]!, x[row * cols + c]!, row))),
                );
              const dw = column((gv, xv, row) => gv * (xv - each[row]![0]) * each[row]![1]);
              close('dw', results[0]!, dw, 20 * Math.sqrt(rows));
              if (bias)
                close(
                  'db',
                  results[1]!,
                  column((gv) => gv),
                  20 * Math.sqrt(rows),
                );
            });
          }

          test(`${kind} backward ${name}`, async () => {
            const [g, x, w] = [draw(rows * cols, offset), draw(rows * cols, 0), draw(cols, 0)];
            const each = Array.from({ length: rows }, (_, row) => statistics(rowOf(x, row, cols, 0)));
            const weight = affine ? perColumn : undefined;
            const operands = { g: at(offset), x: at(0), weight, stats, y: result };
            const dispatch = normBackward(operands, { centre }, target);
            const [dx] = await runKernelOutputs(
              dispatch,
              [g, x, ...(affine ? [w] : []), Float32Array.from(each.flat())],
              [rows * cols],
            );
            const want = byRow(cols, rows, (row) => {
              const [mean, rstd] = each[row]!;
              const h = rowOf(g, row, cols, offset).map((v, i) => v * (affine ? w[i]! : 1));
              const unit = rowOf(x, row, cols, 0).map((v) => (v - mean) * rstd);
              const along = total(h.map((v, i) => v * unit[i]!)) / cols;
              const level = centre ? total(h) / cols : 0;
              return h.map((v, i) => rstd * (v - level - unit[i]! * along));
            });
            close('dx', dx!, want, 10);
          });
        }
      }
    }

    const shape = [rows, cols];
    for (const smoothing of [0, 0.1]) {
      test(`crossEntropy ${nameOf(target)}, ${rows} x ${cols}, smoothing ${smoothing}`, async () => {
        const [x, weight, g] = [draw(rows * cols, 0), draw(cols, 0).map(Math.abs), draw(rows, 0)];
        const labels = Int32Array.from({ length: rows }, (_, row) => (row === 2 ? -100 : random.int(cols)));
        const bits = new Float32Array(labels.buffer);
        const attrs = { ignoreIndex: -100, smoothing };
        const operands = {
          logits: plainSource({ dtype: 'f32', layout: contiguousLayout(shape) }),
          weight: plainSource({ dtype: 'f32', layout: broadcastLayout(contiguousLayout([cols]), shape) }),
          labels: plain([rows], 'i32'),
          loss: plain([rows]),
          stats: plain([rows, 3]),
        };
        const forward = crossEntropy(operands, attrs, target);
        const [loss, stats] = await runKernelOutputs(forward, [x, weight, bits], [rows, 3 * rows]);
        const [dx] = await runKernelOutputs(
          crossEntropyBackward({ ...operands, g: plain([rows]), y: plainSink(shape, 'f32') }, attrs, target),
          [x, weight, bits, stats!, g],
          [rows * cols],
        );
        const shift = Array.from({ length: rows }, (_, row) =>
          Math.log(total(rowOf(x, row, cols, 0).map((v) => Math.exp(v)))),
        );
        const all = total([...weight]);
        const wantLoss = shift.map((lse, row) => {
          const label = labels[row]!;
          if (label < 0) return 0;
          const each = rowOf(x, row, cols, 0).map((v, c) => weight[c]! * (lse - v));
          return (1 - smoothing) * each[label]! + (smoothing * total(each)) / cols;
        });
        const wantGrad = byRow(cols, rows, (row) =>
          rowOf(x, row, cols, 0).map((v, c) => {
            const [label, p] = [labels[row]!, Math.exp(v - shift[row]!)];
            if (label < 0) return 0;
            return (
              g[row]! *
              ((1 - smoothing) * weight[label]! * (p - Number(c === label)) +
                (smoothing / cols) * (all * p - weight[c]!))
            );
          }),
        );
        close('loss', loss!, wantLoss, 10);
        close('dx', dx!, wantGrad, 10);
      });
    }
  }
}

test.run();
