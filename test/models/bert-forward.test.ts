// BERT with its inputs, apart from the numbers that bert.test.ts compares with Transformers.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import {
  BertConfig,
  BertForQuestionAnswering,
  BertForSequenceClassification,
  BertForTokenClassification,
  BertModel,
  BertTokenizer,
} from '../../models/index.ts';
import { i32, inputs, logitsOf, settings, values } from '../support/small-bert.ts';

const test = suite('bert forward');
test.before.each(() => manualSeed(1));

test('initial weights: normal with the configured deviation, biases 0, LayerNorm 1 and 0, padding row 0', async () => {
  const model = BertModel.fromConfig({ ...settings, hiddenSize: 64, vocabSize: 500, initializerRange: 0.1 });
  const std = (list: number[]): number => Math.sqrt(list.reduce((sum, v) => sum + v * v, 0) / list.length);
  const words = await values(model.embeddings.wordEmbeddings.weight);
  assert.ok(Math.abs(std(words.slice(64)) - 0.1) < 0.003);
  assert.ok(words.slice(0, 64).every((v) => v === 0));
  for (const [name, p] of model.namedParameters()) {
    const list = await values(p);
    if (name.endsWith('LayerNorm.weight'))
      assert.ok(
        list.every((v) => v === 1),
        name,
      );
    else if (p.ndim === 1)
      assert.ok(
        list.every((v) => v === 0),
        name,
      );
    else assert.ok(Math.abs(std(list) - 0.1) < 0.01, name);
  }
});

test('inputs that the model cannot take are refused in one line', () => {
  const model = BertForSequenceClassification.fromConfig(settings);
  const inputIds = i32([[1, 2, 3]]);
  const bad: [Parameters<typeof model.forward>[0], RegExp][] = [
    [{ inputIds: tensor([1, 2]) }, /inputIds must be \[batch, tokens\] and not empty, got \[2\]/],
    [{ inputIds: i32([[]]) }, /not empty, got \[1, 0\]/],
    [
      { inputIds: i32([new Array<number>(11).fill(1)]) },
      /11 tokens are more than the model's 10 positions; encode with/,
    ],
    [{ inputIds: i32([[1, 20]]) }, /token id 20 is outside the vocabulary of this model, 0 to 19/],
    [{ inputIds: i32([[1, -1]]) }, /token id -1 is outside/],
    [{ inputIds: tensor([[1, 2]]) }, /inputIds are f32, they must be i32; make them with/],
    [{ inputIds: tensor([[true]]) }, /inputIds are bool, they must be i32/],
    [{ inputIds, tokenTypeIds: tensor([[0, 1, 0]]) }, /tokenTypeIds are f32, they must be i32/],
    [{ inputIds, tokenTypeIds: i32([[0, 2, 0]]) }, /token type 2 is outside/],
    [{ inputIds, tokenTypeIds: i32([[0, 1]]) }, /tokenTypeIds is \[1, 2\], to match inputIds it must be \[1, 3\]/],
    [{ inputIds, positionIds: i32([[0, 1, 10]]) }, /position 10 is outside/],
    [
      { inputIds, attentionMask: i32([[1, 1]]) },
      /attentionMask is \[1, 2\], to match inputIds it must be \[1, 3\] or \[1, 3, 3\]/,
    ],
    [{ inputIds, labels: tensor([2]) }, /label 2 is out of range for 2 classes/],
    [{ inputIds, labels: tensor([0, 1]) }, /labels are \[2\]; one class number for each of the 1 inputs/],
  ];
  for (const [input, message] of bad) {
    assert.throws(
      () => model.forward(input),
      (error: Error) => message.test(error.message) && !error.message.includes('\n'),
    );
  }
  assert.throws(() => BertForQuestionAnswering.fromConfig({ ...settings, numLabels: 3 }), /needs numLabels 2/);
  const answering = BertForQuestionAnswering.fromConfig(settings);
  assert.throws(() => answering.forward({ inputIds, startPositions: tensor([1]) }), /give both or neither/);
  assert.throws(
    () => BertForTokenClassification.fromConfig(settings).forward({ inputIds, labels: i32([[0, 1]]) }),
    /labels are \[1, 2\]; one for each token/,
  );
});

test('the kind of problem is told from the labels and kept for saving', () => {
  const kinds: [number, Tensor, string][] = [
    [1, tensor([0.5, 2]), 'regression'],
    [3, tensor([0, 2]), 'single_label_classification'],
    [
      3,
      tensor([
        [1, 0, 1],
        [0, 0, 1],
      ]),
      'multi_label_classification',
    ],
  ];
  for (const [numLabels, labels, kind] of kinds) {
    const model = BertForSequenceClassification.fromConfig({ ...settings, numLabels });
    model.forward({ ...inputs, labels });
    assert.is(model.config.problemType, kind);
    assert.is(BertConfig.toJson(model.config)['problem_type'], kind);
  }
  const set = BertForSequenceClassification.fromConfig({ ...settings, numLabels: 3, problemType: 'regression' });
  assert.throws(
    () => set.forward({ ...inputs, labels: tensor([1, 2]) }),
    /labels are \[2\]; regression needs \[2, 3\]/,
  );
});

test('encode gives tensors ready for forward', async () => {
  const tokenizer = BertTokenizer.default();
  const one = tokenizer.encode('hello world');
  assert.equal([one.inputIds.dtype, one.inputIds.shape], ['i32', [1, 4]]);
  assert.equal(await one.inputIds.tolist(), [[101, 7592, 2088, 102]]);
  const pairs = tokenizer.encode(
    [
      ['hello', 'world'],
      ['hello', 'hello world'],
    ],
    { padding: true, truncation: true, returnOffsets: true },
  );
  assert.equal(await pairs.tokenTypeIds.tolist(), [
    [0, 0, 0, 1, 1, 0],
    [0, 0, 0, 1, 1, 1],
  ]);
  assert.equal(await pairs.attentionMask.tolist(), [
    [1, 1, 1, 1, 1, 0],
    [1, 1, 1, 1, 1, 1],
  ]);
  assert.is(pairs.offsets!.length, 24);
  const model = BertForSequenceClassification.fromConfig({ ...settings, vocabSize: tokenizer.vocabSize });
  assert.equal(model.forward(pairs).logits.shape, [2, 2]);
});

test('dropout is active in training only, and follows the seed', async () => {
  const model = BertForSequenceClassification.fromConfig({ ...settings, initializerRange: 1 });
  assert.equal(await logitsOf(model.eval()), await logitsOf(model));
  model.train();
  const draw = (): Promise<number[]> => {
    manualSeed(9);
    return logitsOf(model);
  };
  const first = await draw();
  assert.not.equal(await logitsOf(model), first);
  assert.equal(await draw(), first);
});

test.run();
