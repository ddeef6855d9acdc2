import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BertTokenizer } from '../../models/index.ts';
import { paddedLength } from '../../models/pipelines/rows.ts';
import { collate, tokenise } from '../../train/data/tokenised.ts';

const test = suite('tokenised examples');
const tokenizer = BertTokenizer.default();
const words = (count: number): string =>
  Array.from(
    { length: count },
    (_, i) => ['red', 'green', 'blue', 'dog', 'cat', 'tree', 'house'][(i * i + i) % 7]!,
  ).join(' ');
const { clsTokenId: cls, sepTokenId: sep } = tokenizer;

test('a short text is kept whole', () => {
  const [example] = tokenise(tokenizer, [{ text: 'red dog', label: 1 }], 8, 'ends');
  assert.equal([...example!.inputIds], [cls, ...tokenizer.convertTokensToIds(['red', 'dog']), sep]);
  assert.equal([...example!.tokenTypeIds], [0, 0, 0, 0]);
  assert.is(example!.label, 1);
});

for (const count of [20, 3000]) {
  test(`of ${count} words the head, or both ends, are kept`, () => {
    const text = words(count);
    const ids = tokenizer.convertTokensToIds(text.split(' '));
    const [head] = tokenise(tokenizer, [{ text, label: 0 }], 9, 'head');
    assert.equal([...head!.inputIds], [cls, ...ids.slice(0, 7), sep]);
    const [ends] = tokenise(tokenizer, [{ text, label: 0 }], 9, 'ends');
    assert.equal([...ends!.inputIds], [cls, ...ids.slice(0, 4), ...ids.slice(-3), sep]);
  });
}

test('pairs keep their types', () => {
  const [example] = tokenise(tokenizer, [{ text: 'red', textPair: 'blue', label: 0 }], 16, 'ends');
  assert.equal([...example!.tokenTypeIds], [0, 0, 0, 1, 1]);
});

test('few lengths occur, none shorter than what is padded nor beyond the limit', () => {
  const lengths = Array.from({ length: 512 }, (_, i) => paddedLength(i + 1));
  lengths.forEach((length, i) =>
    assert.ok(length > i && length <= Math.max(8, 1.5 * (i + 8)), `${i + 1} to ${length}`),
  );
  assert.equal([...new Set(lengths)], [8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]);
  assert.equal([paddedLength(33, 40), paddedLength(40, 40), paddedLength(9, 100)], [40, 40, 16]);
});

test('batches are padded and masked', async () => {
  const examples = tokenise(
    tokenizer,
    [
      { text: words(7), label: 2 },
      { text: 'cat', label: 0 },
    ],
    32,
  );
  const { inputIds, attentionMask, tokenTypeIds, labels } = collate(examples, 7);
  assert.equal(
    [inputIds.shape, tokenTypeIds!.shape],
    [
      [2, 16],
      [2, 16],
    ],
  );
  assert.equal(
    [...(await attentionMask.data())],
    [...new Array<number>(9).fill(1), ...new Array<number>(7).fill(0), 1, 1, 1, ...new Array<number>(13).fill(0)],
  );
  assert.equal([...(await inputIds.data())].slice(16), [...examples[1]!.inputIds, ...new Array<number>(13).fill(7)]);
  assert.equal(await labels.tolist(), [2, 0]);
});

test.run();
