// Models whose weights stay in 4 or 8 bits: against the same weights dequantised, in f32.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { dequantize, linear, manualSeed, noGrad, normal, tensor } from '../../autograd/index.ts';
import { writeFilesAtomic } from '../../common/atomic-files.ts';
import type { Quantization } from '../../models/index.ts';
import {
  addLora,
  BertModel,
  generate,
  ggufFile,
  GPT2LMHeadModel,
  Linear,
  LlamaForCausalLM,
  loadAdapter,
  loadModel,
  loadTokenizer,
  PackedParameter,
  pipeline,
} from '../../models/index.ts';
import { AdamW, decayGroups } from '../../train/optim/index.ts';
import { blockType, quantize } from '../../models/gguf/blocks.ts';
import { packBlocks } from '../../models/gguf/pack.ts';
import { Random } from '../../common/random.ts';
import { failure } from '../support/failure.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';
import { i32 } from '../support/model-golden.ts';
import { runModule, runScript } from '../support/script.ts';

const test = suite('quantized models');
const folder = await mkdtemp(join(tmpdir(), 'tapeform-'));
test.after(() => rm(folder, { recursive: true }));

const kinds = ['q4_0', 'q4_1', 'q8_0'] as const satisfies readonly Quantization[];
const silent = { log: () => undefined };

/** Small decoders whose rows are whole blocks, saved; every vector of weights is drawn. */
async function decoders(): Promise<(readonly [path: string, gguf: (kind: string) => string])[]> {
  manualSeed(5);
  const tokens = await loadTokenizer(goldenFile('tiny-llama.gguf'));
  const vocabSize = 320;
  const models = {
    llama: LlamaForCausalLM.fromConfig({
      ...{ vocabSize, hiddenSize: 64, intermediateSize: 96, numHiddenLayers: 2, numAttentionHeads: 4 },
      ...{ numKeyValueHeads: 2, initializerRange: 0.2, tieWordEmbeddings: true, maxPositionEmbeddings: 64 },
    }),
    gpt2: GPT2LMHeadModel.fromConfig({
      vocabSize,
      nEmbd: 64,
      nLayer: 2,
      nHead: 4,
      nPositions: 64,
      initializerRange: 0.2,
    }),
  };
  return Promise.all(
    Object.entries(models).map(async ([name, model]) => {
      const path = join(folder, name);
      await model.savePretrained(path, { tokenizer: tokens });
      for (const kind of kinds) await writeFilesAtomic([ggufFile(`${path}-${kind}.gguf`, model, tokens, kind)]);
      return [path, (kind: string) => `${path}-${kind}.gguf`] as const;
    }),
  );
}
let made: ReturnType<typeof decoders> | undefined;
const saved = (): ReturnType<typeof decoders> => (made ??= decoders());

type Causal = LlamaForCausalLM | GPT2LMHeadModel;
const load = async (path: string, quantize?: Quantization): Promise<Causal> =>
  (await loadModel(path, { quantize, ...silent })) as Causal;
const logitsOf = async (model: Causal): Promise<Float32Array> =>
  (await noGrad(() => model.forward({ inputIds: i32([[3, 5, 7, 11, 300, 2]]) })).logits.data()) as Float32Array;

test('blocks are packed without loss: what they stand for is what gguf-py makes of them, bit for bit', async () => {
  const random = new Random(3);
  for (const kind of kinds) {
    const type = blockType(kind.toUpperCase())!;
    const values = Float32Array.from({ length: 3 * 96 }, () => random.normal());
    const data = quantize(type, values);
    const expected = Float32Array.from({ length: values.length });
    const view = new DataView(data.buffer);
    for (let block = 0; block < 9; block++) type.read(view, block * type.bytes, expected, 32 * block);
    for (const scales of ['f16', 'f32'] as const)
      assert.equal(await (await dequantize(packBlocks(type, data, [3, 96], scales))).data(), expected, kind);
  }
});

for (const kind of kinds) {
  test(`${kind}: a file's blocks compute as they do dequantised, and so does the model quantized anew`, async () => {
    for (const [path, gguf] of await saved()) {
      const [kept, anew, whole] = [await load(gguf(kind), 'keep'), await load(path, kind), await load(gguf(kind))];
      const packed = kept.parameters().filter((each) => each instanceof PackedParameter);
      // GPT-2's heads are tied here, too: a table and four matrices, or seven, a layer.
      assert.is(packed.length, kept instanceof LlamaForCausalLM ? 15 : 9, path);
      assert.is(kept.numParameters(), whole.numParameters());
      assert.is(kept.numParameters({ trainable: true }), 0);
      const expected = await logitsOf(whole);
      const off = largestDifference(await logitsOf(kept), expected);
      assert.ok(off <= 2e-5 * Math.max(...expected.map(Math.abs)), `${path}: logits differ by ${off}`);
      assert.is(largestDifference(await logitsOf(anew), await logitsOf(kept)), 0, path);
      const answers = await Promise.all(
        [kept, whole].map((model) => generate(model, [[3, 5, 7], [11]], { maxNewTokens: 12, eosTokenId: null })),
      );
      assert.equal(answers[0], answers[1], path);
    }
  });
}

test('the gradient flows through a packed weight to what comes before it', async () => {
  manualSeed(2);
  const layer = new Linear(64, 40);
  const data = quantize(blockType('Q4_1')!, (await layer.weight.data()) as Float32Array);
  const packed = packBlocks(blockType('Q4_1')!, data, [40, 64], 'f32');
  const weight = await dequantize(packed);
  const [x, y] = [0, 1].map(() => {
    manualSeed(9);
    const drawn = noGrad(() => normal([3, 64]));
    drawn.requiresGrad = true;
    return drawn;
  }) as [typeof weight, typeof weight];
  layer.weight = new PackedParameter(packed);
  layer.forward(x).pow(2).sum().backward();
  linear(y, weight, layer.bias!.detach()).pow(2).sum().backward();
  const off = largestDifference(await x.grad!.data(), await y.grad!.data());
  assert.ok(off < 1e-4, `gradients differ by ${off}`);
  assert.ok(layer.bias!.grad);
});

test('an encoder is quantized, too, and its embeddings have 8 bits', async () => {
  manualSeed(1);
  const model = BertModel.fromConfig({
    ...{ vocabSize: 80, hiddenSize: 64, intermediateSize: 128, numHiddenLayers: 2, numAttentionHeads: 4 },
    ...{ maxPositionEmbeddings: 32, initializerRange: 0.1 },
  });
  const path = join(folder, 'bert');
  await model.eval().savePretrained(path);
  const inputs = { inputIds: i32([[1, 4, 9, 16, 25, 36]]) };
  const hidden = async (of: BertModel): Promise<ArrayLike<number>> =>
    noGrad(() => of.forward(inputs)).lastHiddenState.data();
  const expected = await hidden(model);
  for (const [kind, most] of [
    ['q8_0', 0.1],
    ['q4_1', 1],
  ] as const) {
    const quantized = await BertModel.fromPretrained(path, {}, { quantize: kind, ...silent });
    assert.is(quantized.embeddings.wordEmbeddings.weight.quantized!.bits, 8);
    const off = largestDifference(await hidden(quantized), expected);
    assert.ok(off > 0 && off < most, `${kind}: differs by ${off}`);
  }
});

test('the device holds less, and says what stays in f32', async () => {
  const [[path]] = (await saved()) as [readonly [string, unknown]];
  // In processes of their own, where no other garbage is counted.
  const bytes = (quantize?: Quantization): number => {
    const { stdout, stderr } = runModule(`
      import { memory, noGrad, synchronize, tensor } from './autograd/index.ts';
      import { loadModel } from './models/index.ts';
      const model = await loadModel(${JSON.stringify(path)}, {
        quantize: ${JSON.stringify(quantize) ?? 'undefined'},
        log: console.log,
      });
      const inputIds = tensor([[3, 5, 7, 11, 300, 2]], { dtype: 'i32' });
      await noGrad(() => model.forward({ inputIds })).logits.data();
      console.log(memory().live, model.parameters().length);`);
    assert.match(stdout, /^\d+ \d+\n$/, stderr);
    return parseInt(stdout);
  };
  const lines: string[] = [];
  const [whole, eight] = [bytes(), bytes('q8_0')];
  assert.ok(eight < whole / 2, `${eight} bytes instead of ${whole}`);
  const model = await loadModel(goldenFile('tiny-llama'), { quantize: 'q8_0', log: (line) => lines.push(line) });
  assert.is(model.constructor, LlamaForCausalLM);
  assert.match(lines.join('\n'), /^not packed, and computed with in f32: matrices, 2 of F32$/);
});

test('what is frozen in few bits is not trained or changed: one line', async () => {
  const [[path]] = (await saved()) as [readonly [string, unknown]];
  const model = await load(path, 'q4_1');
  const says = /a weight \[320, 64\] of 8 bits is frozen.*load the model without quantize/;
  assert.throws(() => model.requiresGrad(), says);
  assert.throws(() => new AdamW(model.parameters(), { lr: 1e-3 }), /requires no gradient|frozen|set requiresGrad/);
  assert.match(
    await failure(model.savePretrained(join(folder, 'again'))),
    /q_proj is not symmetric.*write a GGUF file/,
  );
  assert.match(await failure(model.parameters()[0]!.data()), says);
  assert.throws(
    () =>
      model.loadStateDict(
        new Map([['model.embed_tokens.weight', tensor(new Float32Array(320 * 64), { shape: [320, 64] })]]),
        { strict: false },
      ),
    says,
  );
  const keep = /has no weights of Q4_0, Q4_1, Q8_0, NF4, INT8 to keep; quantize them: q4_0, q4_1, q8_0, nf4, int8/;
  assert.match(await failure(load(path, 'keep')), keep);
  model.to('f16');
  assert.is((await logitsOf(model)).length, 6 * 320);
});

test('adapters are trained on packed weights as on the same weights dequantised', async () => {
  const losses: number[][] = [];
  for (const [, gguf] of await saved()) {
    for (const quantize of ['keep', undefined] as const) {
      const model = await load(gguf('q4_1'), quantize);
      manualSeed(7);
      const peft = addLora(model, { r: 4, targetModules: 'all-linear' });
      const optimizer = new AdamW(decayGroups(peft.namedParameters(), 0), { lr: 1e-2 });
      const inputIds = i32([[3, 5, 7, 11, 300, 2, 9, 9]]);
      const own: number[] = [];
      for (let step = 0; step < 4; step++) {
        const { loss } = model.forward({ inputIds, labels: inputIds, outputLogits: false });
        loss.backward();
        optimizer.step();
        optimizer.zeroGrad();
        own.push(await loss.item());
      }
      losses.push(own);
    }
  }
  for (const at of [0, 2]) {
    const [packed, whole] = losses.slice(at, at + 2) as [number[], number[]];
    assert.ok(packed.at(-1)! < packed[0]! - 0.1, `losses ${packed.join(', ')}`);
    assert.ok(largestDifference(packed, whole) < 1e-3, `losses ${packed.join(', ')} and ${whole.join(', ')}`);
  }
});

test('an adapter trains packed modules whole, as elements of their own, and saves them', async () => {
  for (const [i, [path]] of (await saved()).entries()) {
    const model = await load(path, 'q8_0');
    const before = await logitsOf(model);
    const peft = addLora(model, { r: 2, targetModules: [['o_proj', 'c_attn'][i]!], modulesToSave: ['mlp'] });
    assert.ok(largestDifference(await logitsOf(model), before) < 1e-4, path);
    const { original, copy } = peft.adapters.get('default')!.wholes[0]!;
    const own = copy.stateTensors();
    for (const [key, x] of original.stateTensors()) {
      if (!(x instanceof PackedParameter)) continue;
      assert.equal([own.get(key)!.shape, own.get(key)!.requiresGrad], [x.shape, true]);
      const rows = await dequantize(x.quantized); // [out, in]; a Conv1D's weight is [in, out]
      assert.equal(await own.get(key)!.data(), await (model instanceof GPT2LMHeadModel ? rows.T : rows).data(), key);
    }
    await peft.savePretrained(join(folder, 'whole'));
    const again = await load(path, 'q8_0');
    await loadAdapter(again, join(folder, 'whole'));
    assert.equal(await logitsOf(again), await logitsOf(model));
  }
});

test('pipelines and scripts take the option', async () => {
  const [, [path]] = (await saved()) as [unknown, readonly [string, unknown]];
  const write = await pipeline('text-generation', path, { quantize: 'q8_0', ...silent });
  assert.ok(write.model.parameters().some((each) => each.quantized));
  const args = ['train/generate.ts', '--model', `${path}-q4_0.gguf`, '--greedy', '--max-new-tokens', '5', 'he'];
  const [whole, kept] = [await runScript(args), await runScript([...args, '--quantize', 'keep'])];
  assert.is(kept.code, 0, kept.stderr);
  assert.is(kept.stdout, whole.stdout);
  const wrong = await runScript([...args, '--quantize', 'q5_1']);
  assert.match(wrong.stderr, /--quantize must be one of keep, q4_0, q4_1, q8_0, nf4, int8, got "q5_1"/);
});

test.run();
