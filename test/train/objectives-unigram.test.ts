import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { corpusOf } from '../../train/data/token-corpus.ts';
import {
  blockWindows,
  causalLM,
  countTokens,
  rotaryFill,
  unigramLoss,
  unigramLosses,
} from '../../train/objectives/index.ts';
import { refuses } from '../support/objectives.ts';

const test = suite('objectives: unigram baseline');

const model = {
  forward(): never {
    throw new Error('this model is not for use');
  },
};
const close = (a: number, b: number): void => assert.ok(Math.abs(a - b) <= 1e-12, `${a} is not ${b}`);

test('the entropy of the counts where both are alike, the shared mass by hand where not', () => {
  // 0 is seen 6 times, 1 once, 2 never, 3 three times: a tenth of the mass is shared by the four.
  const p = [0.9 * 0.6 + 0.025, 0.9 * 0.1 + 0.025, 0.025, 0.9 * 0.3 + 0.025];
  close(unigramLoss([6, 1, 0, 3], [1, 0, 0, 0]), -Math.log(p[0]!));
  close(
    unigramLoss([6, 1, 0, 3], [1, 2, 3, 4]),
    -(Math.log(p[0]!) + 2 * Math.log(p[1]!) + 3 * Math.log(p[2]!) + 4 * Math.log(p[3]!)) / 10,
  );
  const many = [5e8, 3e8, 2e8];
  const entropy = -many.reduce((sum, n) => sum + (n / 1e9) * Math.log(n / 1e9), 0);
  assert.ok(Math.abs(unigramLoss(many, many) - entropy) <= 1e-8);
});

test('counts of a corpus and of tasks', async () => {
  const corpus = corpusOf(
    [
      [5, 6, 5, 7],
      [5, 5],
    ],
    9,
  );
  assert.equal(Array.from(countTokens(corpus)), [0, 0, 0, 0, 0, 4, 1, 1, 0]);
  const rows = blockWindows(corpus, { length: 6 });
  const lm = causalLM({ model, rows, batchSize: 1 });
  const { lm: loss } = await unigramLosses(lm, lm, { vocabSize: 9 });
  close(loss!, unigramLoss([0, 0, 0, 0, 0, 3, 1, 1, 0], [0, 0, 0, 0, 0, 3, 1, 1, 0]));
  const rotary = rotaryFill({ model, rows, batchSize: 1, padTokenId: 0, specialIds: [], seed: 1 });
  const losses = await unigramLosses(rotary, rotary, { vocabSize: 9 });
  assert.equal(Object.keys(losses), ['fill', 'detect']);
  assert.ok(losses['detect']! < Math.log(2));
});

test('bad input is refused in one line', async () => {
  refuses(() => unigramLoss([1], [1, 2]), /1 and 2 classes/);
  refuses(() => unigramLoss([0, 0], [1, 2]), /0 labels to count/);
  refuses(() => unigramLoss([1, 2], [0, 0]), /0 to predict/);
  const task = {
    name: 'own',
    batchesPerEpoch: 1,
    batch: () => ({ arrays: {}, counts: { mine: 1 }, tokens: 1 }),
    losses: () => ({}),
  };
  const error = await unigramLosses(task, task, { vocabSize: 5 }).catch((reason: Error) => reason);
  assert.match((error as Error).message, /no baseline is known for part "mine" of own/);
});

test.run();
