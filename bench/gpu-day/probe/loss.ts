import { grad, linearCrossEntropy, ready, tensor } from '../../../autograd/index.ts';
import { attempt } from '../cases.ts';
import { differing, errorsOf, known, randomIds, reader, rounding, sample, twice } from '../numbers.ts';
import { allocationOf, bytesOf, free, lossInPlace, sized } from '../shared.ts';
import type { Half } from '../shared.ts';

/** The loss that overwrites its logits, many times to find races, and the whole op in chunks. */
export async function probeLoss(types: readonly Half[]): Promise<void> {
  for (const of of types) {
    for (const classes of sized([50257, 50304, 1000], [257, 256])) {
      const rows = sized(Math.min(8192, Math.floor(2 ** 25 / classes)), 8);
      await attempt(`loss in place ${classes} ${of}`, () => probeInPlace(rows, classes, of, sized(200, 20)), 60);
    }
    await attempt(`linear loss ${of}`, () => probeLinear(sized(300, 20), sized(50257, 101), 64, of), 60);
  }
}

async function probeInPlace(rows: number, classes: number, of: Half, repeats: number): Promise<void> {
  const gpu = await ready();
  const pitch = Math.ceil(classes / 8) * 8;
  const logits = await known(101, [rows, pitch], of);
  const targets = randomIds([rows], classes, 102);
  const want = Float64Array.from(targets, (target, r) => {
    let total = 0;
    for (let c = 0; c < classes; c++) total += Math.exp(logits.host[r * pitch + c]!);
    return Math.log(total) - logits.host[r * pitch + target]!;
  });
  const bytes = rows * pitch * bytesOf(of);
  const scratch = gpu.allocate(Math.ceil(bytes / 16) * 16, 'probe');
  const losses = gpu.allocate(8 * rows, 'probe');
  const labels = gpu.upload(new Uint8Array(targets.buffer), 'probe');
  const dispatch = lossInPlace(
    {
      x: { shape: [rows, classes], strides: [pitch, 1], offset: 0, dtype: of },
      labels: { shape: [rows], strides: [1], offset: 0, dtype: 'i32' },
      losses: { shape: [rows, 2], strides: [2, 1], offset: 0, dtype: 'f32' },
    },
    { ignoreIndex: -100, smoothing: 0, firstRow: 0, gradient: true },
    gpu.target,
  );
  const errors = errorsOf();
  let first: Uint8Array | undefined;
  let firstGradient: Uint8Array | undefined;
  let [different, differentGradients] = [0, 0];
  for (let i = 0; i < repeats; i++) {
    gpu.copy(allocationOf(gpu, logits.tensor), scratch, bytes);
    gpu.dispatch(dispatch, [labels, losses, scratch]);
    const got = await gpu.read(losses, 0, 8 * rows);
    const at = reader(got, 'f32');
    if (!first || differing(first, got) > 0) {
      if (first) different++;
      for (let r = 0; r < rows; r++)
        errors.add(() => `run ${i}, row ${r}, target ${targets[r]}`, at(2 * r), want[r]!, 2e-5 * (1 + want[r]!));
    }
    first ??= got;
    if (i % 20 === 0) {
      const now = await gpu.read(scratch, 0, Math.ceil(bytes / 4) * 4);
      if (firstGradient && differing(firstGradient, now) > 0) differentGradients++;
      firstGradient ??= now;
    }
  }
  if (firstGradient) {
    const at = reader(firstGradient.subarray(0, bytes), of);
    for (const r of sample(rows, 12, 3)) {
      const lse = want[r]! + logits.host[r * pitch + targets[r]!]!;
      for (let c = 0; c < classes; c++) {
        const d = Math.exp(logits.host[r * pitch + c]! - lse) - Number(c === targets[r]);
        errors.add(() => `gradient (${r}, ${c})`, at(r * pitch + c), d, 2e-5 * Math.abs(d) + 1e-9 + rounding(of, d));
      }
    }
  }
  errors.emit(`loss in place ${rows}x${classes} with gradient, ${repeats} runs`, of, {
    equal: different + differentGradients === 0,
    differentRuns: different,
    differentGradients,
  });
  for (const allocation of [scratch, losses, labels]) gpu.release(allocation);
  free(logits.tensor);
}

/** The whole op in chunks, against float64, and again. */
async function probeLinear(rows: number, classes: number, width: number, of: Half): Promise<void> {
  const [h, w] = [await known(111, [rows, width], of), await known(112, [classes, width], of)];
  const targets = randomIds([rows], classes, 113);
  const labels = tensor(targets).keep();
  h.tensor.requiresGrad = true;
  w.tensor.requiresGrad = true;
  const { first, equal } = await twice(() => {
    const loss = linearCrossEntropy(h.tensor, w.tensor, labels);
    return [loss.detach(), ...grad(loss, [h.tensor, w.tensor])];
  });
  let total = 0;
  for (let r = 0; r < rows; r++) {
    let [top, sum, own] = [-Infinity, 0, 0];
    const logits = new Float64Array(classes);
    for (let c = 0; c < classes; c++) {
      let dot = 0;
      for (let d = 0; d < width; d++) dot += h.host[r * width + d]! * w.host[c * width + d]!;
      logits[c] = dot;
      top = Math.max(top, dot);
      if (c === targets[r]) own = dot;
    }
    for (const value of logits) sum += Math.exp(value - top);
    total += Math.log(sum) + top - own;
  }
  const errors = errorsOf();
  errors.add(() => 'loss', reader(first[0]!, 'f32')(0), total / rows, (of === 'f16' ? 2e-3 : 1e-5) * (total / rows));
  errors.emit(`linear cross-entropy ${rows}x${width}x${classes}`, of, { equal });
  free(h.tensor, w.tensor, labels);
}
