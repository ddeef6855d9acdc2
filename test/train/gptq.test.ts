// Weights of 4 or 8 bits by GPTQ: against the definition in float64, and against rounding to nearest.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { noGrad, tensor } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import { blockType, quantize } from '../../models/gguf/blocks.ts';
import { loadModel, pipeline } from '../../models/index.ts';
import type { CausalLM } from '../../models/index.ts';
import { blockValues, gptq, gptqTypes, InputProducts } from '../../train/compress/gptq.ts';
import type { GptqType } from '../../train/compress/gptq.ts';
import { throwsOneLine } from '../support/failure.ts';
import { goldenFile } from '../support/golden.ts';
import { refused, runScript } from '../support/script.ts';
import { i32, values } from '../support/small-bert.ts';

const test = suite('gptq');
const folder = mkdtempSync(join(tmpdir(), 'tapeform-gptq-'));

/** Inputs [tokens, n] that hang together, and X^T X. */
function inputsOf(tokens: number, n: number, random: Random) {
  const mix = Array.from({ length: n }, () => Array.from({ length: n }, () => random.normal()));
  const x = Array.from({ length: tokens }, () => {
    const hidden = Array.from({ length: 6 }, () => random.normal());
    return mix.map((row) => row.slice(0, 6).reduce((sum, w, k) => sum + w * hidden[k]!, 0.2 * random.normal()));
  });
  const hessian = new Float64Array(n * n);
  for (const row of x) for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) hessian[i * n + j]! += row[i]! * row[j]!;
  return { x, hessian };
}

const weightsOf = (count: number, random: Random): Float32Array =>
  Float32Array.from({ length: count }, () => random.normal());

/** The squared error of what a layer computes. */
function outputError(x: readonly number[][], n: number, a: Float32Array, b: Float32Array): number {
  let error = 0;
  for (const row of x)
    for (let r = 0; r < a.length / n; r++) {
      let difference = 0;
      for (let i = 0; i < n; i++) difference += (a[r * n + i]! - b[r * n + i]!) * row[i]!;
      error += difference ** 2;
    }
  return error;
}

/** A^-1 by Gauss and Jordan. */
function inverse(a: number[][]): number[][] {
  const n = a.length;
  const m = a.map((row, i) => [...row, ...row.map((_, j) => Number(i === j))]);
  for (let i = 0; i < n; i++) {
    const pivot = m[i]![i]!;
    m[i] = m[i]!.map((v) => v / pivot);
    for (let r = 0; r < n; r++) if (r !== i) m[r] = m[r]!.map((v, c) => v - m[r]![i]! * m[i]![c]!);
  }
  return m.map((row) => row.slice(n));
}

test('each weight is rounded in turn, and those that are left take over its error as least squares say', () => {
  const random = new Random(3);
  const n = 32;
  const { hessian } = inputsOf(100, n, random);
  const weights = weightsOf(n, random);
  const damping = 0.01;
  const data = gptq('q8_0', weights, hessian, { damping });
  const found = blockValues('q8_0', data);
  const scale = found.reduce((least, v) => (v !== 0 ? Math.min(least, Math.abs(v)) : least), Infinity);
  // The scale of the file, which all values are whole multiples of.
  const d = new DataView(data.buffer).getUint16(0, true);
  assert.ok(scale > 0 && d > 0);
  const half = ((1024 + (d & 1023)) / 1024) * 2 ** ((d >> 10) - 15);

  let mean = 0;
  for (let i = 0; i < n; i++) mean += hessian[i * n + i]! / n;
  const h = Array.from({ length: n }, (_, i) =>
    Array.from({ length: n }, (__, j) => hessian[i * n + j]! + (i === j ? damping * mean : 0)),
  );
  const left = Array.from(weights, Number);
  for (let i = 0; i < n; i++) {
    const open = inverse(h.slice(i).map((row) => row.slice(i)));
    const rounded = half * Math.max(-127, Math.min(127, Math.round(left[i]! / half)));
    const error = left[i]! - rounded;
    assert.ok(Math.abs(found[i]! - rounded) < 1e-6, `${i}: ${found[i]}, not ${rounded}`);
    for (let j = i; j < n; j++) left[j]! -= (error / open[0]![0]!) * open[0]![j - i]!;
  }
});

test('of every type: what the layer computes is nearer than by rounding to nearest', () => {
  const random = new Random(5);
  const n = 96;
  const { x, hessian } = inputsOf(400, n, random);
  const weights = weightsOf(8 * n, random);
  for (const type of gptqTypes) {
    const nearest = blockValues(type, quantize(blockType(type.toUpperCase())!, weights));
    const made = blockValues(type, gptq(type, weights, hessian));
    const [before, after] = [nearest, made].map((each) => outputError(x, n, weights, each)) as [number, number];
    assert.ok(after < 0.5 * before, `${type}: ${after} of ${before}`);
  }
  // Inputs that nothing ever fed, and none at all: as good as rounding, and no NaN.
  const dead = hessian.map((v, at) => (at % n === 7 || Math.floor(at / n) === 7 ? 0 : v));
  for (const h of [dead, new Float64Array(n * n)])
    assert.ok(blockValues('q4_0', gptq('q4_0', weights, h)).every(Number.isFinite));
  assert.ok(blockValues('q4_1', gptq('q4_1', new Float32Array(n), hessian)).every((v) => v === 0));
  throwsOneLine(
    () => gptq('q4_0', weightsOf(33, random), new Float64Array(33 * 33)),
    /^gptq: rows of 33 weights .* 32$/,
  );
  throwsOneLine(
    () => gptq('q4_0', weights, new Float64Array(n * n), { damping: 0 }),
    /^gptq: what a layer reads has no use for all of its inputs; .*$/,
  );
});

test('what layers read is summed over batches, GPT-2 and Llama', async () => {
  for (const [name, layer] of [
    ['tiny-llama', 'model.layers.0.self_attn.q_proj'],
    ['tiny-gpt2', 'transformer.h.0.attn.c_attn'],
  ] as const) {
    const model = (await loadModel(goldenFile(name))) as CausalLM;
    model.eval();
    const products = new InputProducts();
    const seen: number[][] = [];
    const module = new Map(model.namedModules()).get(layer)!;
    const batches = [i32([[1, 2, 3]]), i32([[4, 5, 6]])];
    for (const inputIds of batches) {
      await products.add(model, () => void model.lastHiddenState(inputIds));
      const reads: (typeof inputIds)[] = [];
      const handle = module.registerForwardPreHook((_, [x]) => void reads.push(x as typeof inputIds));
      noGrad(() => model.lastHiddenState(inputIds));
      handle.remove();
      seen.push(...((await reads[0]!.reshape(3, -1).tolist()) as number[][]));
    }
    const n = seen[0]!.length;
    const found = products.of(`${layer}.weight`)!;
    assert.is(found.length, n * n, name);
    for (const [i, j] of [
      [0, 0],
      [1, 3],
      [n - 1, 2],
    ] as const) {
      const wanted = seen.reduce((sum, row) => sum + row[i]! * row[j]!, 0);
      assert.ok(Math.abs(found[i * n + j]! - wanted) < 1e-4 * (1 + Math.abs(wanted)), `${name} ${i} ${j}`);
    }
    assert.is(products.of('model.embed_tokens.weight'), undefined);
  }
});

test('the script writes a file that loads, and tells what it cost', async () => {
  const output = join(folder, 'small.gguf');
  const few = ['--calibration', '8', '--evaluation', '4', '--max-length', '64'];
  const run = (type: GptqType, more: readonly string[] = []) =>
    runScript(['train/quantize.ts', '--output', output, '--data', 'moby-dick', '--precision', type, ...few, ...more]);
  const done = await run('q4_0');
  assert.is(done.code, 0, done.stderr);
  assert.match(done.stdout, /gptq +16 matrices; 36 others .*\nsaved +.*small\.gguf, 0\.9 MB, of 4\.3 MB in f32\n/);
  assert.match(done.stdout, /\nheld-out texts +perplexity +more\nf32 +\d+\.\d+\nq4_0, gptq +\d+\.\d+ +-?\d+\.\d\d%\n/);
  const model = (await loadModel(output)) as CausalLM;
  assert.ok(
    (await values(noGrad(() => model.forward({ inputIds: tensor([[1, 2]], { dtype: 'i32' }) }).logits))).every(
      Number.isFinite,
    ),
  );

  const packed = join(folder, 'packed');
  refused(await run('q8_0', ['--output', packed, '--method', 'gptq']), 2, /^quantize: gptq writes GGUF files; .*$/);
  const spam = ['train/quantize.ts', '--model', 'models/pretrained/spam-small', '--output', packed];
  const whole = await runScript([...spam, '--precision', 'q4_0']);
  assert.is(whole.code, 0, whole.stderr);
  assert.match(whole.stdout, /^saved +.*packed, 4\.4 MB, of \d\.\d MB in f32$/m);
  const classify = await pipeline('text-classification', packed, { quantize: 'keep', log: () => undefined });
  assert.is(
    (await classify('Congratulations! You have won a FREE vacation, click here now to claim it!'))[0]!.label,
    'spam',
  );
  const text = join(folder, 'one.txt');
  writeFileSync(text, 'Call me Ishmael.\n');
  refused(
    await run('q4_0', ['--data', text]),
    1,
    /^.*one\.txt: 8 rows of 64 tokens are asked for to learn from, .* 0; .*$/,
  );
});

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();
