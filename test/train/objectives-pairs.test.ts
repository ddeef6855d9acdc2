import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BertForNextSentencePrediction, BertForPreTraining } from '../../models/index.ts';
import { corpusOf } from '../../train/data/token-corpus.ts';
import type { TokenCorpus } from '../../train/data/token-corpus.ts';
import { bertPretraining, nextSentence, sentenceEnds, sentencePairs } from '../../train/objectives/index.ts';
import type { SentencePairOptions } from '../../train/objectives/index.ts';
import { Random } from '../../common/random.ts';
import { toDevice } from '../../train/objectives/task.ts';
import { checkShare, checkTask, countingCorpus, refuses, rowsOf, special } from '../support/objectives.ts';
import { settings } from '../support/small-bert.ts';

const test = suite('objectives: sentence pairs');

const stop = 5;
/** Twenty documents of sentences of 3 to 12 tokens, each token naming its document: 10 + document. */
const random = new Random(1);
const documents = Array.from({ length: 20 }, (_, document) =>
  Array.from({ length: 12 }, () => [...new Array<number>(2 + random.int(10)).fill(10 + document), stop]).flat(),
);
const corpus = corpusOf(documents, 40);
const options: SentencePairOptions = {
  length: 48,
  clsTokenId: special.cls,
  sepTokenId: special.sep,
  sentenceEnds: new Set([stop]),
  seed: 2,
};
const pairsOf = (over: Partial<SentencePairOptions> = {}, of: TokenCorpus = corpus) =>
  sentencePairs(of, { ...options, ...over });

/** The texts of [CLS] A [SEP] B [SEP], its form checked. */
function split(ids: Int32Array, types: Int32Array): [number[], number[]] {
  const row = Array.from(ids);
  const first = row.indexOf(special.sep);
  assert.is(row[0], special.cls);
  assert.is(row.indexOf(special.sep, first + 1), row.length - 1);
  assert.equal(
    Array.from(types),
    row.map((_, i) => (i <= first ? 0 : 1)),
  );
  return [row.slice(1, first), row.slice(first + 1, -1)];
}

test('B follows A in half of the pairs, else it is of another document; both begin and A ends with a sentence', () => {
  const pairs = pairsOf({ shortProbability: 0 });
  let random = 0;
  const drawn = new Array<number>(20).fill(0);
  const n = 2000;
  for (let index = 0; index < n; index++) {
    const { ids, types, label } = pairs.pair(index);
    assert.ok(ids.length <= 48);
    const [a, b] = split(ids, types);
    assert.is(a.at(-1), stop, 'A ends with a sentence');
    assert.ok(b.length > 0 && b[0] !== stop);
    const document = a.find((id) => id !== stop)! - 10;
    const other = b.find((id) => id !== stop)! - 10;
    assert.is(label, document === other ? 0 : 1);
    assert.ok(
      b.every((id) => id === stop || id === 10 + other),
      'B is of one document',
    );
    const text = documents[other]!.join();
    assert.ok(text.startsWith(b.join()) || text.includes(`${stop},${b.join()}`), 'B begins a sentence');
    if (label === 0) assert.ok(text.includes([...a, ...b].join()), 'what follows');
    random += label;
    if (label === 1) drawn[other]!++;
  }
  checkShare(random, n, 0.5, 'random pairs');
  for (const count of drawn) checkShare(count, random, 1 / 20, 'a document drawn');
});

test('one pair in ten is cut to a length drawn evenly', () => {
  const [whole, some] = [pairsOf({ shortProbability: 0 }), pairsOf()];
  const n = 2000;
  let [cut, below] = [0, 0];
  for (let index = 0; index < n; index++) {
    const { label, ids } = some.pair(index);
    if (label === 1) continue;
    const all = whole.pair(index).ids.length;
    if (ids.length < all && ids.length - 3 < 24) cut++;
    if (ids.length - 3 < 13) below++;
  }
  checkShare(cut, n / 2, 0.1 * (22 / 44), 'pairs cut to less than 24');
  checkShare(below, n / 2, 0.1 * (11 / 44), 'pairs cut to less than 13');
});

test('nothing but the texts tells the answer: lengths are alike on both sides', () => {
  const pairs = pairsOf();
  const sums = [0, 0];
  const counts = [0, 0];
  for (let index = 0; index < 2000; index++) {
    const { ids, label } = pairs.pair(index);
    sums[label]! += ids.length;
    counts[label]!++;
  }
  const [follows, random] = sums.map((sum, label) => sum / counts[label]!);
  assert.ok(Math.abs(follows! - random!) < 1.5, `${follows} and ${random} tokens`);
});

test('in order, each token of the documents is in one piece; no pair is short where none is asked for', () => {
  const pairs = pairsOf({ ordered: true, shortProbability: 0 });
  let tokens = 0;
  for (let index = 0; index < pairs.count; index++) {
    const { ids, label } = pairs.pair(index);
    if (label === 0) tokens += ids.length - 3;
    else assert.ok(ids.length > 24);
  }
  assert.ok(tokens > corpus.tokens / 4 && tokens < (corpus.tokens * 3) / 4);
});

test('text without sentence ends is cut in its middle', () => {
  const plain = countingCorpus([40, 40, 1, 0]);
  const pairs = pairsOf({ shortProbability: 0, length: 23, sentenceEnds: new Set([1]) }, plain);
  assert.is(pairs.count, 4);
  for (let index = 0; index < 50; index++) {
    const { ids, types } = pairs.pair(index);
    const [a, b] = split(ids, types);
    assert.is(a.length, 10);
    assert.ok(b.length === 10 || b.length === 1);
  }
});

const masking = { padTokenId: special.pad, maskTokenId: special.mask, specialIds: special.all, batchSize: 6, seed: 3 };
const unused = {
  forward(): never {
    throw new Error('this model is not for use');
  },
};

test('next-sentence batches are pure, padded, and filled up at the end of a pass', async () => {
  const make = (ordered: boolean) => () =>
    nextSentence({ model: unused, pairs: pairsOf({ ordered }), batchSize: 6, padTokenId: special.pad });
  await checkTask(make(false), { nsp: 'nextSentenceLabel' });
  const task = make(true)();
  const count = pairsOf({ ordered: true }).count;
  let labels = 0;
  for (let index = 0; index < task.batchesPerEpoch; index++) labels += (await task.batch(index)).counts['nsp']!;
  assert.is(labels, count);
  const last = await task.batch(task.batchesPerEpoch - 1);
  const mask = rowsOf(last, 'attentionMask');
  const rows = rowsOf(last, 'inputIds');
  mask.forEach((row, i) => {
    const length = row.filter((bit) => bit === 1).length;
    assert.equal(rows[i]!.slice(length), new Array(48 - length).fill(special.pad));
  });
  assert.is(last.tokens, rows.flat().filter((id) => id !== special.pad).length);
});

test('both together: the pairs of the one, masked as by the other', async () => {
  const make = () => bertPretraining({ model: unused, pairs: pairsOf(), ...masking });
  await checkTask(make, { mlm: 'labels', nsp: 'nextSentenceLabel' });
  const pairs = pairsOf();
  for (let index = 0; index < 20; index++) {
    const batch = await make().batch(index);
    const [inputs, places, labels] = ['inputIds', 'maskedPositions', 'labels'].map((name) => rowsOf(batch, name));
    inputs!.forEach((input, row) => {
      const { ids, label } = pairs.pair(index * 6 + row);
      assert.is(batch.arrays['nextSentenceLabel']!.data[row], label);
      const chosen = places![row]!.filter((_, k) => labels![row]![k] !== -100);
      assert.is(chosen.length, Math.max(1, Math.round(0.15 * (ids.length - 3))));
      chosen.forEach((place, k) => assert.is(labels![row]![k], ids[place]));
      ids.forEach((id, place) => chosen.includes(place) || assert.is(input[place], id));
    });
  }
});

test('the parts are the losses of the models', async () => {
  const small = { ...settings, vocabSize: 40, maxPositionEmbeddings: 48 };
  const pairs = pairsOf();
  const both = bertPretraining({ model: BertForPreTraining.fromConfig(small).eval(), pairs, ...masking });
  const { mlm, nsp } = both.losses(toDevice(await both.batch(0)));
  assert.ok(Math.abs((await mlm!.item()) - Math.log(40)) < 0.5);
  assert.ok(Math.abs((await nsp!.item()) - Math.log(2)) < 0.3);
  const model = BertForNextSentencePrediction.fromConfig(small).eval();
  const one = nextSentence({ model, pairs, batchSize: 4, padTokenId: special.pad });
  assert.ok(Math.abs((await one.losses(toDevice(await one.batch(0)))['nsp']!.item()) - Math.log(2)) < 0.3);
});

test('which tokens end a sentence', () => {
  const tokens = ['.', '!', 'Ġ?', '##.', '。', '."', 'a.', '##s', ',', '...', '!)'];
  assert.equal(
    [...sentenceEnds(tokens)].map((id) => tokens[id]),
    ['.', '!', 'Ġ?', '##.', '。', '."', '...', '!)'],
  );
  refuses(() => sentenceEnds(['a', ',']), /none of the 2 tokens ends a sentence/);
});

test('one document, and rows without room, are refused in one line', () => {
  refuses(() => pairsOf({}, countingCorpus([100])), /two documents or more, this corpus has 1; split the text/);
  refuses(() => pairsOf({}, corpusOf([[7, 8, 9], [], []], 10)), /this corpus has 1;/);
  refuses(() => pairsOf({}, countingCorpus([1, 1])), /none of the 2 documents has 2 tokens/);
  refuses(() => pairsOf({ length: 4 }), /no room for two texts/);
  refuses(() => pairsOf({}, corpusOf([], 10)), /0 tokens/);
});

test.run();
