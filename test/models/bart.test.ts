// BART, mBART and Pegasus against Transformers: the golden files are made by test/golden/golden_bart.py.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { noGrad, tensor, zeros } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import {
  BartConfig,
  BartForConditionalGeneration,
  BartForSequenceClassification,
  loadModel,
  MBartForConditionalGeneration,
  PegasusForConditionalGeneration,
  writeSafetensors,
} from '../../models/index.ts';
import { loadWithHead } from '../../models/auto.ts';
import type { MarianMTModel, Seq2SeqLM } from '../../models/index.ts';
import { rejects } from '../support/failure.ts';
import { goldenFile } from '../support/golden.ts';
import { checkForwardBackward, checkTraining, i32, readModelGolden } from '../support/model-golden.ts';
import { checkSeq2Seq } from '../support/seq2seq-checks.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('bart');
let folder = '';
temporaryFolder(test, (path) => (folder = path));
await checkSeq2Seq(test, 'bart', BartForConditionalGeneration);
await checkSeq2Seq(test, 'mbart', MBartForConditionalGeneration);
await checkSeq2Seq(test, 'pegasus', PegasusForConditionalGeneration);

test('labels of texts: outputs, loss, gradients and training are those of Transformers', async () => {
  const { golden, values } = await readModelGolden('bart-classify');
  const load = async (): Promise<BartForSequenceClassification> =>
    (await BartForSequenceClassification.fromPretrained(goldenFile('tiny-bart-classify'))).train();
  const inputs = {
    inputIds: i32(golden.inputs['input_ids']!),
    attentionMask: i32(golden.inputs['attention_mask']!),
    labels: tensor(golden.labels as unknown as number[], { dtype: 'i32' }),
  };
  const model = await load();
  const output = model.forward({ ...inputs, outputHiddenStates: true, outputAttentions: true });
  await checkForwardBackward(model, output, { golden, values }, { vanishing: /k_proj\.bias$/ });
  assert.equal(
    [model.config.labels, model.config.problemType],
    [['contradiction', 'neutral', 'entailment'], 'single_label_classification'],
  );
  const trained = await load();
  await checkTraining(trained, () => trained.forward(inputs), golden.training);
  const loaded = await loadWithHead(goldenFile('tiny-bart-classify'), 'ForSequenceClassification');
  assert.instance(loaded, BartForSequenceClassification);
});

test('config.json is written as Transformers has it, which refuses 0 where it means 0.0', async () => {
  const text = await readFile(goldenFile('tiny-bart/config.json'), 'utf8');
  const config = BartConfig.fromJson(JSON.parse(text) as Record<string, unknown>, 'config.json');
  const written = BartConfig.toText(BartConfig.toJson(config));
  const numbers = (json: string): string[] => json.match(/"\w+": \d+(\.\d+)?(?=,?\n)/g)!;
  assert.equal(
    numbers(text).filter((line) => !numbers(written).includes(line)),
    [],
  );
});

test("mBART's decoder begins with the language that ends the labels, whatever its config names", () => {
  const model = MBartForConditionalGeneration.fromConfig({
    ...{ vocabSize: 12, dModel: 8, encoderLayers: 1, decoderLayers: 1, encoderFfnDim: 8, decoderFfnDim: 8 },
    ...{ encoderAttentionHeads: 1, decoderAttentionHeads: 1, maxPositionEmbeddings: 8, decoderStartTokenId: 2 },
  });
  const seen: Tensor[] = [];
  model.model.decoder.registerForwardPreHook((_, [inputs]) => {
    seen.push((inputs as { inputIds: Tensor }).inputIds);
  });
  model.forward({ inputIds: i32([[5, 2]]), labels: i32([[5, 6, 2, 9, -100]]) });
  return seen[0]!.data().then((ids) => assert.equal(Array.from(ids), [9, 5, 6, 2, 9]));
});

/** Logits of a few tokens. */
async function logitsOf(model: Seq2SeqLM): Promise<number[]> {
  const { logits } = noGrad(() => model.forward({ inputIds: i32([[5, 6, 2]]), decoderInputIds: i32([[2, 7]]) }));
  return Array.from(await logits.data(), Number);
}

test('sines that training changed are read and written back; files without them have the usual ones', async () => {
  const load = async (path: string): Promise<MarianMTModel | PegasusForConditionalGeneration> =>
    (await loadModel(path, { log: assert.unreachable })) as MarianMTModel | PegasusForConditionalGeneration;
  for (const name of ['marian', 'pegasus']) {
    const plain = await load(goldenFile(`tiny-${name}`));
    const state = new Map(plain.stateDict());
    const keys = ['encoder', 'decoder'].map((side) => `model.${side}.embed_positions.weight`);
    for (const key of keys) state.delete(key);
    const { maxPositionEmbeddings: count, dModel: dim } = plain.config;
    const folderWith = async (what: string, table?: Tensor): Promise<string> => {
      const path = join(folder, `${name} ${what}`);
      await plain.savePretrained(path);
      const tensors = [...state, ...(table ? keys.map((key) => [key, table] as const) : [])];
      const list = tensors.map(
        ([key, t]) => ({ name: key, dtype: 'F32', shape: t.shape, data: () => t.data() }) as const,
      );
      await writeSafetensors(join(path, 'model.safetensors'), list);
      return path;
    };
    const usual = await logitsOf(plain);
    assert.equal(await logitsOf(await load(await folderWith('without'))), usual, name);
    const changed = await load(await folderWith('changed', zeros([count, dim])));
    const wanted = await logitsOf(changed);
    assert.ok(
      wanted.some((value, i) => Math.abs(value - usual[i]!) > 1e-3),
      name,
    );
    const again = join(folder, `${name} again`);
    await changed.savePretrained(again);
    assert.equal(await logitsOf(await load(again)), wanted, name);
    await rejects(load(await folderWith('short', zeros([count - 1, dim]))), /embed_positions\.weight is \[\d+, \d+\]/);
  }
  // Transformers needs them in files of Pegasus, and leaves them out of those of Marian.
  const key = 'model.encoder.embed_positions.weight';
  const all = await Promise.all(['pegasus', 'marian'].map((name) => load(goldenFile(`tiny-${name}`))));
  assert.equal(
    all.map((model) => model.stateDict().has(key)),
    [true, false],
  );
});

test.run();
