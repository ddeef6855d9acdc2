import {
  dropout,
  embedding,
  full,
  gelu,
  grad,
  layerNorm,
  linear,
  manualSeed,
  noGrad,
  ready,
  softmax,
  sum,
  synchronize,
  tensor,
} from '../../../autograd/index.ts';
import type { Tensor } from '../../../autograd/index.ts';
import { AdamW } from '../../../train/index.ts';
import { attempt } from '../cases.ts';
import type { Known } from '../numbers.ts';
import { random } from '../../rows/data.ts';
import { errorsOf, known, reader, rounding, sample, twice } from '../numbers.ts';
import { emit, free, sized } from '../shared.ts';
import type { Half } from '../shared.ts';

/** Norms, softmax, sums, embeddings and an optimizer's steps. */
export async function probeRows(types: readonly Half[]): Promise<void> {
  await attempt('layer norm', () => probeNorm(sized(16384, 70), sized(768, 96)));
  await attempt('layer norm odd', () => probeNorm(sized(1023, 33), sized(1025, 65)));
  for (const of of types) {
    await attempt(`softmax ${of}`, () => probeSoftmax(sized(16384, 40), sized(1024, 128), of));
    await attempt(`softmax wide ${of}`, () => probeSoftmax(sized(64, 4), sized(50257, 1001), of));
    await attempt(`gelu of linear ${of}`, () => probeMap(sized(16384, 64), sized(768, 64), of));
  }
  await attempt('sum', () => probeSum(sized(2 ** 26 + 3, 2 ** 14 + 3)));
  await attempt('embedding', () => probeEmbedding(sized(16384, 64), sized(50257, 50), sized(768, 16)));
  await attempt('dropout', () => probeDropout(sized(2 ** 24, 2 ** 14)));
  await attempt('large tensor', () => probeLarge(sized(9e8, 1e6)), 60);
  const shapes = sized([[50257, 768], [768, 3072], [768], [2304]], [[50, 16], [7], [64, 33]]);
  await attempt('AdamW', () => probeAdamW(shapes));
}

/** Layer norm and its three gradients. */
async function probeNorm(rows: number, width: number): Promise<void> {
  const [x, w, b, g] = [
    await known(31, [rows, width], 'f32'),
    await known(32, [width], 'f32'),
    await known(33, [width], 'f32'),
    await known(34, [rows, width], 'f32'),
  ];
  for (const t of [x, w, b]) t.tensor.requiresGrad = true;
  const { first, equal } = await twice(() => {
    const y = layerNorm(x.tensor, w.tensor, b.tensor, 1e-5);
    return [y.detach(), ...grad(y, [x.tensor, w.tensor, b.tensor], { gradOutputs: [g.tensor] })];
  });
  const [y, dx, dw, db] = first.map((bytes) => reader(bytes, 'f32')) as [
    (i: number) => number,
    (i: number) => number,
    (i: number) => number,
    (i: number) => number,
  ];
  const errors = errorsOf();
  const means = new Float64Array(rows);
  const inverse = new Float64Array(rows);
  for (let r = 0; r < rows; r++) {
    let [total, squares] = [0, 0];
    for (let c = 0; c < width; c++) total += x.host[r * width + c]!;
    means[r] = total / width;
    for (let c = 0; c < width; c++) squares += (x.host[r * width + c]! - means[r]!) ** 2;
    inverse[r] = 1 / Math.sqrt(squares / width + 1e-5);
  }
  const unit = (r: number, c: number): number => (x.host[r * width + c]! - means[r]!) * inverse[r]!;
  for (const r of sample(rows, 40, 3)) {
    let [sum1, sum2] = [0, 0];
    for (let c = 0; c < width; c++) {
      const h = g.host[r * width + c]! * w.host[c]!;
      sum1 += h / width;
      sum2 += (h * unit(r, c)) / width;
    }
    for (let c = 0; c < width; c++) {
      errors.add(() => `y (${r}, ${c})`, y(r * width + c), unit(r, c) * w.host[c]! + b.host[c]!, 2e-5);
      const h = g.host[r * width + c]! * w.host[c]!;
      errors.add(() => `dx (${r}, ${c})`, dx(r * width + c), inverse[r]! * (h - sum1 - unit(r, c) * sum2), 5e-5);
    }
  }
  for (const c of sample(width, 24, 5)) {
    let [one, two, scale] = [0, 0, 1];
    for (let r = 0; r < rows; r++) {
      one += g.host[r * width + c]! * unit(r, c);
      two += g.host[r * width + c]!;
      scale += Math.abs(g.host[r * width + c]!);
    }
    errors.add(() => `dw ${c}`, dw(c), one, 3e-6 * scale);
    errors.add(() => `db ${c}`, db(c), two, 3e-6 * scale);
  }
  errors.emit(`layer norm ${rows}x${width}`, 'f32', { equal });
  free(x.tensor, w.tensor, b.tensor, g.tensor);
}

async function probeSoftmax(rows: number, width: number, of: Half): Promise<void> {
  const x = await known(41, [rows, width], of);
  const { first, equal } = await twice(() => [noGrad(() => softmax(x.tensor))]);
  const got = reader(first[0]!, of);
  const errors = errorsOf();
  for (const r of sample(rows, 30, 3)) {
    const row = x.host.subarray(r * width, (r + 1) * width);
    const total = row.reduce((all, value) => all + Math.exp(value), 0);
    row.forEach((value, c) => {
      const want = Math.exp(value) / total;
      errors.add(() => `(${r}, ${c})`, got(r * width + c), want, 1e-5 * want + 1e-9 + rounding(of, want));
    });
  }
  errors.emit(`softmax ${rows}x${width}`, of, { equal });
  free(x.tensor);
}

async function probeSum(size: number): Promise<void> {
  const x = await known(51, [size], 'f32');
  const { first, equal } = await twice(() => [noGrad(() => sum(x.tensor))]);
  let [want, scale] = [0, 0];
  for (const value of x.host) {
    want += value;
    scale += Math.abs(value);
  }
  const errors = errorsOf();
  errors.add(() => 'sum', reader(first[0]!, 'f32')(0), want, 1e-6 * scale);
  errors.emit(`sum of ${size}`, 'f32', { equal });
  free(x.tensor);
}

async function probeMap(rows: number, width: number, of: Half): Promise<void> {
  const [x, w, b] = [
    await known(61, [rows, width], of),
    await known(62, [width, width], of),
    await known(63, [width], of),
  ];
  const { first, equal } = await twice(() => [
    noGrad(() => gelu(linear(x.tensor, w.tensor, b.tensor), { approximate: 'tanh' })),
  ]);
  const got = reader(first[0]!, of);
  const errors = errorsOf();
  for (const r of sample(rows, 16, 3)) {
    for (const c of sample(width, 64, 4)) {
      let [total, scale] = [b.host[c]!, 1];
      for (let k = 0; k < width; k++) {
        const term = x.host[r * width + k]! * w.host[c * width + k]!;
        total += term;
        scale += Math.abs(term);
      }
      const want = 0.5 * total * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (total + 0.044715 * total ** 3)));
      errors.add(() => `(${r}, ${c})`, got(r * width + c), want, 2e-6 * scale + 1e-5 + 3 * rounding(of, total));
    }
  }
  errors.emit(`gelu of linear ${rows}x${width}`, of, { equal });
  free(x.tensor, w.tensor, b.tensor);
}

/** Many rows of the gradient fall on the same rows of the table. */
async function probeEmbedding(tokens: number, rows: number, width: number): Promise<void> {
  const [table, g] = [await known(71, [rows, width], 'f32'), await known(72, [tokens, width], 'f32')];
  table.tensor.requiresGrad = true;
  const next = random(73);
  const ids = Int32Array.from({ length: tokens }, () => (next() % 4 === 0 ? next() % 7 : next() % rows));
  const index = tensor(ids).keep();
  const { first, equal } = await twice(() =>
    grad(embedding(table.tensor, index), [table.tensor], { gradOutputs: [g.tensor] }),
  );
  const got = reader(first[0]!, 'f32');
  const errors = errorsOf();
  const byRow = new Map<number, number[]>();
  ids.forEach((id, t) => byRow.set(id, [...(byRow.get(id) ?? []), t]));
  for (const row of [0, 1, 2, 3, 4, 5, 6, rows - 1, ...sample(rows, 30, 3)]) {
    for (let c = 0; c < width; c++) {
      let [total, scale] = [0, 1e-3];
      for (const t of byRow.get(row) ?? []) {
        total += g.host[t * width + c]!;
        scale += Math.abs(g.host[t * width + c]!);
      }
      errors.add(() => `(${row}, ${c})`, got(row * width + c), total, 3e-6 * scale);
    }
  }
  errors.emit(`embedding gradient ${tokens} to ${rows}x${width}`, 'f32', { equal });
  free(table.tensor, g.tensor, index);
}

async function probeAdamW(shapes: readonly (readonly number[])[]): Promise<void> {
  const made: { readonly x: Known; readonly g: Known }[] = [];
  for (const [i, shape] of shapes.entries())
    made.push({ x: await known(80 + i, shape, 'f32'), g: await known(180 + i, shape, 'f32') });
  const run = async (): Promise<Tensor[]> => {
    const parameters = made.map(({ x, g }) => {
      const p = noGrad(() => x.tensor.add(0)).keep();
      p.requiresGrad = true;
      p.grad = noGrad(() => g.tensor.add(0)).keep();
      return p;
    });
    const optimizer = new AdamW(parameters, { lr: 1e-2, betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0.1 });
    for (let step = 0; step < 3; step++) optimizer.step();
    await synchronize();
    return parameters;
  };
  const { first, equal } = await twice(run);
  const errors = errorsOf();
  made.forEach(({ x, g }, i) => {
    const got = reader(first[i]!, 'f32');
    for (const at of sample(x.host.length, 2000, 3)) {
      let [p, m, v] = [x.host[at]!, 0, 0];
      const d = g.host[at]!;
      for (let step = 1; step <= 3; step++) {
        p -= 1e-2 * 0.1 * p;
        m = 0.9 * m + 0.1 * d;
        v = 0.95 * v + 0.05 * d * d;
        p -= (1e-2 * (m / (1 - 0.9 ** step))) / (Math.sqrt(v / (1 - 0.95 ** step)) + 1e-8);
      }
      errors.add(() => `parameter ${i}, ${at}`, got(at), p, 1e-6 * (1 + Math.abs(p)));
    }
  });
  errors.emit(`AdamW of ${shapes.map((shape) => shape.join('x')).join(' ')}`, 'f32', { equal });
  for (const { x, g } of made) free(x.tensor, g.tensor);
}

/** More than 2^31 bytes in one tensor, near what a buffer holds. */
async function probeLarge(size: number): Promise<void> {
  const { maxBufferSize } = (await ready()).device.limits;
  const count = Math.min(size, Math.floor(maxBufferSize / 4) - 1024);
  const x = noGrad(() => full([count], 0.5)).keep();
  const total = await noGrad(() => sum(x)).item();
  emit({
    key: `sum of a tensor of ${(count / 2 ** 28).toFixed(2)} GiB`,
    type: 'f32',
    ok: Math.abs(total / (0.5 * count) - 1) < 1e-5,
    total,
    maxBufferSize,
  });
  free(x);
}

/** Drops what it says, and draws the same again. */
async function probeDropout(size: number): Promise<void> {
  const x = await known(91, [size], 'f32');
  const { first, equal } = await twice(() => {
    manualSeed(5);
    return [noGrad(() => dropout(x.tensor, 0.1))];
  });
  const got = reader(first[0]!, 'f32');
  const errors = errorsOf();
  let dropped = 0;
  for (let i = 0; i < size; i++) {
    if (got(i) === 0) dropped++;
    else errors.add(() => `${i}`, got(i), x.host[i]! / 0.9, 1e-6 * Math.abs(x.host[i]!) + 1e-9);
  }
  errors.add(() => 'share dropped', dropped / size, 0.1, sized(1e-3, 2e-2));
  errors.emit(`dropout of ${size}`, 'f32', { equal });
  free(x.tensor);
}
