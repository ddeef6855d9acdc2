import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { arange, assign, manualSeed, noGrad } from '../../autograd/index.ts';
import { BertForMaskedLM, extendVocabulary, GPT2LMHeadModel, Linear, Sequential } from '../../models/index.ts';
import { failure, rejects } from '../support/failure.ts';
import { largestDifference } from '../support/golden.ts';
import { i32, inputs, settings, values } from '../support/small-bert.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('extending a vocabulary');

let folder = '';
temporaryFolder(test, (path) => (folder = path));

const pieces = [[3, 4], Int32Array.of(7, 7, 19), [5]];

for (const tieWordEmbeddings of [true, false]) {
  const tied = tieWordEmbeddings ? 'tied' : 'not tied';
  test(`BERT, ${tied}: old scores stay, new ones are means of the pieces' scores`, async () => {
    manualSeed(2);
    const model = BertForMaskedLM.fromConfig({ ...settings, tieWordEmbeddings }).eval();
    // A bias of zeros would show nothing.
    noGrad(() => assign(model.cls.predictions!.bias, arange(20)));
    const made = await extendVocabulary(model, pieces);
    assert.is(made.config.vocabSize, 23);
    assert.instance(made, BertForMaskedLM);
    assert.is(made.training, false);
    assert.is(made.cls.predictions!.decoder.weight === made.bert.embeddings.wordEmbeddings.weight, tieWordEmbeddings);
    const [before, after] = noGrad(() => [model.forward(inputs).logits, made.forward(inputs).logits]);
    const [old, now] = [await values(before!), await values(after!)];
    assert.is(model.config.vocabSize, 20, 'the old model is as it was');
    for (let token = 0; token < 6; token++) {
      const [was, is] = [old.slice(token * 20, token * 20 + 20), now.slice(token * 23, token * 23 + 23)];
      assert.ok(largestDifference(is.slice(0, 20), was) <= 1e-6);
      const means = [(was[3]! + was[4]!) / 2, (2 * was[7]! + was[19]!) / 3, was[5]!];
      assert.ok(largestDifference(is.slice(20), means) <= 1e-6, 'scores are linear in the rows');
    }
  });
}

test('GPT-2: an old model with rows to spare takes the new tokens there; it is saved and loaded', async () => {
  manualSeed(3);
  const model = GPT2LMHeadModel.fromConfig({ vocabSize: 12, nPositions: 8, nEmbd: 8, nLayer: 1, nHead: 2 });
  const made = await extendVocabulary(model, [[1, 2], [9], [0, 1]], { firstId: 10 });
  assert.is(made.config.vocabSize, 13);
  assert.is(made.training, true);
  const [old, table] = [await values(model.transformer.wte.weight), await values(made.transformer.wte.weight)];
  const row = (of: number[], i: number): number[] => of.slice(i * 8, i * 8 + 8);
  assert.equal(table.slice(0, 80), old.slice(0, 80));
  assert.equal(row(table, 11), row(old, 9));
  const mean = row(old, 1).map((x, i) => (x + row(old, 2)[i]!) / 2);
  assert.ok(largestDifference(row(table, 10), mean) <= 1e-7);
  await made.savePretrained(folder);
  const loaded = await GPT2LMHeadModel.fromPretrained(folder);
  const inputIds = i32([[12, 11, 3]]);
  const logits = async (of: GPT2LMHeadModel): Promise<number[]> =>
    values(noGrad(() => of.eval().forward({ inputIds }).logits));
  assert.equal(await logits(loaded), await logits(made));
});

test('a model in f16 stays one', async () => {
  const model = BertForMaskedLM.fromConfig(settings).to('f16');
  const made = await extendVocabulary(model, [[5]]);
  assert.ok(made.parameters().every(({ dtype }) => dtype === 'f16'));
});

test('bad input is refused in one line', async () => {
  const model = BertForMaskedLM.fromConfig(settings);
  assert.match(await failure(extendVocabulary(model, [[3], []])), /new token 1 has no pieces/);
  assert.match(await failure(extendVocabulary(model, [[20]])), /piece 20 of new token 0.*0 to 19/);
  assert.match(await failure(extendVocabulary(model, [[3]], { firstId: 21 })), /first new id is 21.*0 to 19/);
  assert.match(await failure(extendVocabulary(model, [[11]], { firstId: 10 })), /piece 11/);
});

test('a model with a replaced layer is refused, since its weights would be lost', async () => {
  const model = BertForMaskedLM.fromConfig(settings);
  Object.assign(model.bert.encoder.layer[0]!.intermediate, {
    dense: new Sequential(new Linear(8, 2), new Linear(2, 6)),
  });
  await rejects(
    extendVocabulary(model, pieces),
    /other weights than a BertForMaskedLM of its config, bert\.encoder\.layer\.0\.\S+\.dense\.weight, .* more; put/,
  );
});

test.run();
