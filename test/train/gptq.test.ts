// Weights of 4 or 8 bits: GPTQ against its definition in float64, and against rounding to nearest; learnt
// with steps, against PyTorch's op.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { assign, crossEntropy, manualSeed, noGrad, tensor } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import { blockType, quantize } from '../../models/gguf/blocks.ts';
import {
  BertConfig,
  BertForSequenceClassification,
  FakeQuantizedLinear,
  LlamaForCausalLM,
  loadModel,
  pipeline,
} from '../../models/index.ts';
import type { CausalLM } from '../../models/index.ts';
import { gptq, InputProducts } from '../../train/compress/gptq.ts';
import { blockValues, precisions, roundBlocks } from '../../train/compress/rounding.ts';
import type { Precision } from '../../train/compress/rounding.ts';
import { errorOfScaled, scaleForActivations, scalesFor } from '../../train/compress/awq.ts';
import { halfQuadratic, hqq } from '../../train/compress/hqq.ts';
import { lowRank } from '../../train/compress/low-rank.ts';
import { fakeQuantized, packFakeQuantized } from '../../train/compress/quantization-aware.ts';
import { AdamW } from '../../train/optim/index.ts';
import { rejects, throwsOneLine } from '../support/failure.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';
import { refused, runScript } from '../support/script.ts';
import { i32, settings as small, values } from '../support/small-bert.ts';

const test = suite('weights of few bits');
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
  const n = 96;
  const { hessian } = inputsOf(300, n, random);
  const weights = weightsOf(n, random);
  const damping = 0.01;
  const data = gptq('q8_0', weights, hessian, { damping });
  const found = blockValues('q8_0', data);
  // The scales of the file, whose whole multiples the values are.
  const view = new DataView(data.buffer);
  const scales = [0, 1, 2].map((block) => {
    const bits = view.getUint16((block * data.length) / 3, true);
    return ((1024 + (bits & 1023)) / 1024) * 2 ** ((bits >> 10) - 15);
  });

  let mean = 0;
  for (let i = 0; i < n; i++) mean += hessian[i * n + i]! / n;
  const h = Array.from({ length: n }, (_, i) =>
    Array.from({ length: n }, (__, j) => hessian[i * n + j]! + (i === j ? damping * mean : 0)),
  );
  const left = Array.from(weights, Number);
  for (let i = 0; i < n; i++) {
    const open = inverse(h.slice(i).map((row) => row.slice(i)));
    const scale = scales[Math.floor(i / 32)]!;
    const rounded = scale * Math.max(-127, Math.min(127, Math.round(left[i]! / scale)));
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
  for (const type of precisions) {
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

test('rows of any number of blocks: each block is written where it belongs', () => {
  const random = new Random(9);
  for (const type of precisions)
    for (const n of [320, 768]) {
      const weights = weightsOf(2 * n, random);
      const even = new Float64Array(n).fill(1);
      const blocks = Array.from({ length: weights.length / 32 }, (_, i) =>
        roundBlocks(type, weights.slice(32 * i, 32 * i + 32), even.subarray(0, 32)),
      );
      const wanted = Buffer.concat(blocks);
      assert.ok(wanted.equals(roundBlocks(type, weights, even)), `${type}, ${n} wide`);
      // Inputs that have nothing in common: no weight takes over anything.
      const apart = new Float64Array(n * n);
      for (let i = 0; i < n; i++) apart[i * n + i] = 1;
      assert.ok(wanted.equals(gptq(type, weights, apart)), `gptq, ${type}, ${n} wide`);
    }
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
  const run = (type: Precision, more: readonly string[] = []) =>
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

  for (const [type, method, made] of [
    ['q4_0', 'awq', 16],
    ['q4_1', 'hqq', 16],
  ] as const) {
    const other = await run(type, ['--method', method, '--evaluation', '0']);
    assert.is(other.code, 0, other.stderr);
    assert.match(other.stdout, new RegExp(`^${method} +${made} matrices; \\d+ others`, 'm'));
  }
  // Some weights have 8 bits: 4 of 16, rounded to nearest; a larger file.
  const mixed = await run('q4_0', ['--finer', 'mlp.c_proj', '--evaluation', '0']);
  assert.is(mixed.code, 0, mixed.stderr);
  assert.match(mixed.stdout, /^gptq +12 matrices; 40 others .*\nsaved +.*small\.gguf, 1\.0 MB/m);
  refused(await run('q4_0', ['--finer', 'down_proj']), 2, /^quantize: --finer "down_proj" is in the name of no .*$/);
  refused(await run('q8_0', ['--finer', 'mlp']), 2, /^quantize: --finer mlp is for files of 4 bits; .*$/);
  refused(await run('q4_0', ['--method', 'hqq']), 2, /^quantize: hqq finds a minimum for each block; .*$/);

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

test('zeros without any texts are those of the library hqq; blocks hold them', async () => {
  const { halfQuadratic: golden } = JSON.parse(readFileSync(goldenFile('compression.json'), 'utf8')) as {
    readonly halfQuadratic: Readonly<Record<'weights' | 'codes' | 'inverses' | 'zeros', number[]>>;
  };
  const weights = Float32Array.from(golden.weights);
  const { zeros, inverses } = halfQuadratic(weights, 15);
  assert.ok(largestDifference(inverses, golden.inverses) < 1e-5);
  assert.ok(largestDifference(zeros, golden.zeros) < 1e-4, `${zeros.join()}, not ${golden.zeros.join()}`);
  const found = blockValues('q4_1', hqq(weights));
  const wanted = golden.codes.map((code, i) => {
    const block = Math.floor(i / 32);
    return (code - golden.zeros[block]!) / golden.inverses[block]!;
  });
  assert.ok(largestDifference(found, wanted) < 0.01, 'scales and minimums have 16 bits');
  assert.ok(blockValues('q4_1', hqq(new Float32Array(32).fill(0.5))).every((w) => Math.abs(w - 0.5) < 1e-3));
});

test('weights of large inputs are rounded more finely, and the model computes what it did', async () => {
  const random = new Random(7);
  const n = 64;
  const { x, hessian } = inputsOf(200, n, random);
  // One input is 30 times as large as the others.
  for (const row of x) row[5]! *= 30;
  for (let i = 0; i < n; i++) for (const at of [i * n + 5, 5 * n + i]) hessian[at]! *= 30;
  const weights = weightsOf(8 * n, random);
  const sizes = Array.from({ length: n }, (_, i) => Math.sqrt(hessian[i * n + i]!));
  const errors = [0, 0.5].map((exponent) => {
    const scales = scalesFor(sizes, exponent);
    // By the definition: what x W' / s is off by.
    const large = weights.map((w, i) => w * scales[i % n]!);
    const importance = Float64Array.from(sizes, (size, i) => (size / scales[i]!) ** 2);
    const back = blockValues('q4_0', roundBlocks('q4_0', large, importance)).map((w, i) => w / scales[i % n]!);
    const wanted = outputError(x, n, weights, back);
    const found = errorOfScaled('q4_0', weights, hessian, scales);
    assert.ok(Math.abs(found - wanted) < 1e-3 * wanted, `${found}, not ${wanted}`);
    return found;
  });
  assert.ok(errors[1]! < 0.7 * errors[0]!, errors.join());

  const sizesOfAll = { hiddenSize: 32, intermediateSize: 64, numAttentionHeads: 2, numKeyValueHeads: 2, vocabSize: 40 };
  const llama = LlamaForCausalLM.fromConfig({ ...sizesOfAll, numHiddenLayers: 1, maxPositionEmbeddings: 16 });
  for (const [name, model, scaled] of [
    ['gpt2', (await loadModel(goldenFile('tiny-gpt2'))) as CausalLM, 4],
    ['grouped heads', (await loadModel(goldenFile('tiny-llama'))) as CausalLM, 10],
    ['llama', llama.eval(), 7],
  ] as const) {
    const inputIds = i32([[1, 2, 3, 7, 9]]);
    const run = () => values(noGrad(() => model.forward({ inputIds }).logits));
    const before = await run();
    const products = new InputProducts();
    await products.add(model as never, () => void model.lastHiddenState(inputIds));
    const importance = await scaleForActivations(model as never, 'q4_0', products);
    assert.ok(largestDifference(await run(), before) < 1e-4, name);
    assert.is(importance.size, scaled, name);
    for (const [parameter, counts] of importance)
      assert.is(counts.length ** 2, products.of(parameter)!.length, `${name} ${parameter}`);
  }
  await rejects(
    scaleForActivations((await loadModel(goldenFile('tiny-gemma2'))) as never, 'q4_0', new InputProducts()),
    /^awq: Gemma2ForCausalLM is none of GPT-2's or Llama's kind; use gptq for it$/,
  );
});

interface FakeQuantizedCase extends Record<string, unknown> {
  readonly bits: 4 | 8;
  readonly weight: number[];
  readonly scale: number[];
  readonly upstream: number[];
  readonly y: number[];
  readonly weightGrad: number[];
  readonly scaleGrad: number[];
}

test("weights that learn with few bits: PyTorch's values, and gradients of weights and steps", async () => {
  const golden = JSON.parse(readFileSync(goldenFile('compression.json'), 'utf8')) as {
    readonly fakeQuantized: readonly FakeQuantizedCase[];
  };
  for (const { bits, weight, scale, upstream, y, weightGrad, scaleGrad } of golden.fakeQuantized) {
    const layer = new FakeQuantizedLinear(64, 3, bits);
    noGrad(() => {
      assign(layer.weight, tensor(weight, { shape: [3, 64] }));
      assign(layer.logScale, tensor(scale.map(Math.log)));
    });
    const computed = layer.quantizedWeight();
    // A weight in the middle of two steps may go to either.
    const far = (await values(computed)).filter((v, i) => Math.abs(v - y[i]!) > 1e-5);
    assert.ok(far.length <= 1, `${bits} bits: ${far.length} are off`);
    computed
      .mul(tensor(upstream, { shape: [3, 64] }))
      .sum()
      .backward();
    assert.ok(largestDifference(await values(layer.weight.grad!), weightGrad) < 1e-6);
    // Of log s: s times that of s.
    const wanted = scaleGrad.map((g, i) => g * scale[i]!);
    assert.ok(largestDifference(await values(layer.logScale.grad!), wanted) < 1e-4, `${bits} bits`);
  }
  throwsOneLine(() => new FakeQuantizedLinear(33, 2, 4), /^FakeQuantizedLinear: rows of 33 weights .* 32$/);
});

test('a model learns with few bits, goes on from its folder, and its packed folder says the same', async () => {
  manualSeed(3);
  const config = BertConfig.create({
    ...{ vocabSize: 64, hiddenSize: 64, numHiddenLayers: 1, numAttentionHeads: 2, intermediateSize: 96 },
    ...{ maxPositionEmbeddings: 16, initializerRange: 0.3 },
  });
  const inputs = {
    inputIds: i32([
      [3, 9, 40, 2, 63],
      [5, 1, 8, 30, 7],
    ]),
  };
  const logitsOf = (model: BertForSequenceClassification) => values(noGrad(() => model.forward(inputs).logits));
  const whole = new BertForSequenceClassification(config).eval();
  const before = await logitsOf(whole);
  for (const bits of [4, 8] as const) {
    const model = await fakeQuantized(whole, bits);
    assert.ok(largestDifference(await logitsOf(model), before) < (bits === 4 ? 2 : 0.1), `${bits} bits begin near`);
    assert.ok(largestDifference(await logitsOf(model), before) > 1e-4);
    const optimizer = new AdamW(model.parameters(), { lr: 1e-2 });
    const losses: number[] = [];
    for (let step = 0; step < 8; step++) {
      const loss = crossEntropy(model.forward(inputs).logits, i32([[1, 0]]).reshape(2));
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
      losses.push(await loss.item());
    }
    assert.ok(losses.at(-1)! < 0.5 * losses[0]!, losses.join());
    const path = join(folder, `fake-${bits}`);
    await model.savePretrained(path);
    assert.equal(await logitsOf((await loadModel(path)) as typeof whole), await logitsOf(model), 'loads as it is');

    const packed = await packFakeQuantized(model);
    const wanted = await logitsOf(model); // with scales in f16
    assert.ok(
      largestDifference(await logitsOf(packed), wanted) < 1e-4,
      `${bits}: ${await logitsOf(packed)}, ${wanted}`,
    );
    await packed.savePretrained(`${path}-packed`);
    const silent = { log: () => undefined };
    for (const quantize of [undefined, 'keep'] as const) {
      const loaded = (await loadModel(`${path}-packed`, { ...silent, quantize })) as typeof whole;
      assert.ok(largestDifference(await logitsOf(loaded), wanted) < 1e-4, `${bits} bits, ${quantize}`);
      assert.is(loaded.bert.pooler!.dense.weight.quantized?.bits, quantize && bits);
    }
    await rejects(fakeQuantized(model, 4), /^fakeQuantized: the BertFor\w+ learns so already$/);
    await rejects(fakeQuantized(packed, 4), /^fakeQuantized: the \w+ has packed weights, .*$/);
  }
  assert.equal(await logitsOf(whole), before, 'the model itself is as it was');
  // Layers of low rank: those of their parts that are whole groups wide.
  const thin = await fakeQuantized(await lowRank(whole, { share: 0.5 }), 8);
  assert.ok(Object.keys(thin.config.extra['fake_quantized'] as object).includes('encoder.layer.0.output.dense.down'));
  await rejects(
    fakeQuantized(new BertForSequenceClassification(BertConfig.create({ ...small })), 4),
    /^fakeQuantized: the \w+ has no linear layer with rows of whole groups of 32$/,
  );
});

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();
