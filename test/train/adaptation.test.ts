import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed, noGrad } from '../../autograd/index.ts';
import { BertForMaskedLM, BertTokenizer, GPT2LMHeadModel, Tokenizer } from '../../models/index.ts';
import { adaptVocabulary, domainWords } from '../../train/adaptation/index.ts';
import { failure } from '../support/failure.ts';
import { i32 } from '../support/small-bert.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('domain adaptation');

let folder = '';
temporaryFolder(test, (path) => (folder = path));

const texts = [
  ...Array<string>(6).fill('The autograd tape; Autograd, autograd! A tokenizer.'),
  ...Array<string>(4).fill('backpropagation'),
];

test('words of a domain, by the tokens they would save; those alike to the tokenizer count as one', async () => {
  const bert = BertTokenizer.default();
  const pieces = (word: string): number => bert.idsOf(word).length;
  const words = await domainWords(texts, bert, { count: 10 });
  assert.equal(words, [
    { word: 'autograd', frequency: 18, pieces: pieces('autograd') },
    { word: 'tokenizer', frequency: 6, pieces: pieces('tokenizer') },
  ]);
  assert.equal((await domainWords(texts, bert, { count: 10, minFrequency: 4 })).length, 3);
  assert.equal(await domainWords(texts, bert, { count: 1 }), words.slice(0, 1));
  const gpt = await domainWords(texts, Tokenizer.gpt2(), { count: 10 });
  assert.equal(
    gpt.map(({ word, frequency }) => [word, frequency]),
    [
      [' autograd', 12],
      [' Autograd', 6],
      [' tokenizer', 6],
    ],
  );
  assert.match(await failure(domainWords(texts, bert, { count: -1 })), /count.*-1/);
});

test('BERT: model and tokenizer grow together and are saved together', async () => {
  manualSeed(1);
  const old = BertForMaskedLM.fromConfig({
    vocabSize: 30522,
    hiddenSize: 4,
    numHiddenLayers: 1,
    numAttentionHeads: 1,
    intermediateSize: 4,
    maxPositionEmbeddings: 16,
  });
  const { model, tokenizer } = await adaptVocabulary(old, BertTokenizer.default(), ['autograd', 'tokenizer']);
  assert.instance(model, BertForMaskedLM);
  assert.is(model.config.vocabSize, 30524);
  assert.is(tokenizer.vocabSize, 30524);
  await model.savePretrained(folder, { tokenizer });
  const [again, words] = [await BertForMaskedLM.fromPretrained(folder), await BertTokenizer.fromPretrained(folder)];
  const ids = words.encode(['an autograd tape']);
  assert.equal(Array.from(await ids.inputIds.data()).includes(30522), true);
  const [a, b] = noGrad(() => [again.forward(ids).logits, model.eval().forward(ids).logits]);
  assert.equal(await a!.data(), await b!.data());
});

test('GPT-2 with rows to spare fills those first', async () => {
  const old = GPT2LMHeadModel.fromConfig({ vocabSize: 50304, nPositions: 8, nEmbd: 2, nLayer: 1, nHead: 1 });
  const { model, tokenizer } = await adaptVocabulary(old, Tokenizer.gpt2(), [' autograd']);
  assert.is(model.config.vocabSize, 50304);
  const id = tokenizer.idsOf(' autograd')[0]!;
  assert.ok(id >= 50257 && id < 50304);
  assert.ok(noGrad(() => model.forward({ inputIds: i32([[id]]) }).logits).shape.at(-1) === 50304);
});

test("another model's tokenizer is refused", async () => {
  const model = GPT2LMHeadModel.fromConfig({ vocabSize: 100, nPositions: 8, nEmbd: 2, nLayer: 1, nHead: 1 });
  assert.match(await failure(adaptVocabulary(model, Tokenizer.gpt2(), [' autograd'])), /50257 tokens.*rows for 100/);
});

test.run();
