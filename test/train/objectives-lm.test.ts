import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BertForMaskedLM, GPT2LMHeadModel } from '../../models/index.ts';
import { corpusOf } from '../../train/data/token-corpus.ts';
import {
  blockWindows,
  causalLM,
  documentWindows,
  maskedLM,
  randomWindows,
  withSeparators,
  wordStarts,
  wrapRows,
} from '../../train/objectives/index.ts';
import type { MaskedLMOptions, Rows } from '../../train/objectives/index.ts';
import { Random } from '../../common/random.ts';
import { toDevice } from '../../train/objectives/task.ts';
import { checkShare, checkTask, countingCorpus, refuses, rowsOf, special } from '../support/objectives.ts';
import { settings } from '../support/small-bert.ts';

const test = suite('objectives: causal and masked LM');

const unused = {
  forward(): never {
    throw new Error('this model is not for use');
  },
};
const wrap = (rows: Rows): Rows => wrapRows(rows, { before: [special.cls], after: [special.sep] });
const masking = {
  model: unused,
  batchSize: 8,
  padTokenId: special.pad,
  maskTokenId: special.mask,
  specialIds: special.all,
  seed: 3,
};
const masked = (rows: Rows, options: Partial<MaskedLMOptions> = {}) => maskedLM({ ...masking, rows, ...options });

test('causal LM: labels are the tokens, the first of a row none; pure', async () => {
  const corpus = withSeparators(countingCorpus([30, 41, 9]), 1);
  const make = () =>
    causalLM({ model: unused, rows: blockWindows(corpus, { length: 8, overlap: 1, seed: 1 }), batchSize: 3 });
  for (const batch of await checkTask(make, { lm: 'labels' })) {
    assert.is(batch.counts['lm'], 3 * 7);
    assert.is(batch.tokens, 24);
    const inputs = rowsOf(batch, 'inputIds');
    rowsOf(batch, 'labels').forEach((labels, row) => assert.equal(labels, [-100, ...inputs[row]!.slice(1)]));
  }
  assert.is(make().batchesPerEpoch, Math.ceil(11 / 3));
});

test('causal LM, held out: each token but the first counts once', async () => {
  const corpus = countingCorpus([50]);
  const rows = blockWindows(corpus, { length: 8, overlap: 1 });
  const task = causalLM({ model: unused, rows, batchSize: 3 });
  const labels: number[] = [];
  for (let i = 0; i < task.batchesPerEpoch; i++)
    labels.push(
      ...rowsOf(await task.batch(i), 'labels')
        .flat()
        .filter((label) => label !== -100),
    );
  assert.equal(
    labels,
    Array.from({ length: 49 }, (_, i) => 6 + i),
  );
});

test('masked LM: 15 in 100 exactly, 80/10/10, labels are the originals, special tokens untouched', async () => {
  const corpus = withSeparators(countingCorpus([400, 333, 67], 5 + 800), special.sep);
  const make = () => masked(wrap(blockWindows(corpus, { length: 100, seed: 9 })));
  const [first] = await checkTask(make, { mlm: 'labels' });
  assert.equal(first!.arrays['labels']!.shape, [8, 16], 'K = ceil(0.15 * 102)');
  const task = make();
  const source = wrap(blockWindows(corpus, { length: 100, seed: 9 }));
  const tally = { mask: 0, same: 0, other: 0 };
  let total = 0;
  for (let index = 0; index < 100; index++) {
    const batch = await task.batch(index);
    const [inputs, positions, labels] = ['inputIds', 'maskedPositions', 'labels'].map((name) => rowsOf(batch, name));
    inputs!.forEach((input, row) => {
      const original = source.row(index * 8 + row);
      const ordinary = original.filter((id) => !special.all.includes(id)).length;
      const chosen = positions![row]!.filter((_, k) => labels![row]![k] !== -100);
      assert.is(chosen.length, Math.round(0.15 * ordinary));
      assert.is(new Set(chosen).size, chosen.length);
      chosen.forEach((place, k) => {
        assert.is(labels![row]![k], original[place]);
        assert.not.ok(special.all.includes(original[place]!));
        const now = input[place]!;
        assert.ok(now === special.mask || !special.all.includes(now));
        tally[now === special.mask ? 'mask' : now === original[place] ? 'same' : 'other']++;
        total++;
      });
      input.forEach(
        (id, place) => chosen.includes(place) || assert.is(id, original[place], 'a token that is not predicted'),
      );
    });
  }
  checkShare(tally.mask, total, 0.8, 'masks');
  checkShare(tally.other, total, 0.1 * (799 / 800), 'other tokens');
  checkShare(tally.same, total, 0.1 + 0.1 / 800, 'tokens left');
});

test('masked LM: every place is as likely as any other, and masks differ from pass to pass', async () => {
  const rows = wrap(blockWindows(countingCorpus([20]), { length: 20, seed: 1 }));
  const task = masked(rows, { batchSize: 1 });
  const counts = new Array<number>(22).fill(0);
  for (let i = 0; i < 2000; i++)
    for (const place of rowsOf(await task.batch(i), 'maskedPositions')[0]!.slice(0, 3)) counts[place]!++;
  assert.equal([counts[0], counts[21]], [0, 0]);
  for (const count of counts.slice(1, 21)) checkShare(count, 2000, 3 / 20, 'a place');
});

test('masked LM: padded rows, a row of one token, and empty rows', async () => {
  const rows = wrap(documentWindows(countingCorpus([7, 1, 3]), { length: 8 }));
  const batch = await masked(rows, { batchSize: 4 }).batch(0);
  assert.equal(
    rowsOf(batch, 'attentionMask').map((mask) => mask.join('')),
    ['1111111110', '1110000000', '1111100000', '1000000000'],
  );
  assert.equal(
    rowsOf(batch, 'labels').map((row) => row.filter((label) => label !== -100).length),
    [1, 1, 1, 0],
  );
  assert.is(batch.counts['mlm'], 3);
  assert.is(batch.tokens, 9 + 3 + 5);
  assert.equal(rowsOf(batch, 'inputIds')[1]!.slice(3), new Array(7).fill(special.pad));
});

test('whole words are masked whole, and about as many tokens', async () => {
  const random = new Random(4);
  // Odd ids continue a word: words of one to several tokens.
  const words = Array.from({ length: 3000 }, () => 5 + random.int(95));
  const starts = Uint8Array.from({ length: 100 }, (_, id) => (id % 3 === 0 ? 0 : 1));
  const corpus = corpusOf([words], 100);
  const source = wrap(blockWindows(corpus, { length: 60, seed: 2 }));
  const task = masked(source, { wordStarts: starts, batchSize: 1 });
  assert.match(task.name, /whole words/);
  let chosenTokens = 0;
  for (let index = 0; index < 200; index++) {
    const batch = await task.batch(index);
    const original = source.row(index);
    const labels = rowsOf(batch, 'labels')[0]!;
    const chosen = new Set(rowsOf(batch, 'maskedPositions')[0]!.filter((_, k) => labels[k] !== -100));
    chosenTokens += chosen.size;
    assert.ok(chosen.size <= 9);
    for (let place = 2; place < 61; place++)
      if (starts[original[place]!] === 0) assert.is(chosen.has(place), chosen.has(place - 1), 'a word stays whole');
  }
  assert.ok(chosenTokens >= 0.95 * 9 * 200, `${chosenTokens} tokens`);
});

test('which tokens begin a word', () => {
  assert.equal([...wordStarts(['[CLS]', 'play', '##ing', '!', '##s'])], [1, 1, 0, 1, 0]);
  assert.equal([...wordStarts(['Ġplay', 'ing', '!', 'Ċ', "'s", 'Ã©', 'Ġ'])], [1, 0, 1, 1, 1, 0, 1]);
});

test('the losses are those of the models over the same batch', async () => {
  const corpus = corpusOf([Array.from({ length: 40 }, (_, i) => 5 + ((i * i) % 15))], 20);
  const bert = BertForMaskedLM.fromConfig({ ...settings, maxPositionEmbeddings: 12 }).eval();
  const mlm = masked(wrap(documentWindows(corpus, { length: 9, seed: 1 })), { model: bert, batchSize: 2 });
  const loss = await mlm.losses(toDevice(await mlm.batch(0)))['mlm']!.item();
  assert.ok(Math.abs(loss - Math.log(20)) < 0.5, `masked LM ${loss}`);
  const gpt = GPT2LMHeadModel.fromConfig({ vocabSize: 20, nPositions: 8, nEmbd: 8, nLayer: 1, nHead: 2 }).eval();
  const lm = causalLM({ model: gpt, rows: randomWindows(corpus, { length: 8, seed: 1 }), batchSize: 2 });
  const other = await lm.losses(toDevice(await lm.batch(0)))['lm']!.item();
  assert.ok(Math.abs(other - Math.log(20)) < 0.5, `causal LM ${other}`);
});

test('bad input is refused in one line', () => {
  const rows = wrap(documentWindows(countingCorpus([7, 1, 3]), { length: 8 }));
  refuses(() => masked(rows, { maskTokenId: 100 }), /id 100 is outside of the vocabulary, 0 to 15/);
  refuses(() => masked(rows, { maskProbability: 0 }), /maskProbability.*0/);
  refuses(() => masked(rows, { maskProbability: 1.5 }), /maskProbability.*1.5/);
  refuses(() => masked(rows, { wordStarts: new Uint8Array(3) }), /3 entries.*16/);
  refuses(() => masked(rows, { specialIds: Array.from({ length: 16 }, (_, i) => i) }), /nothing to predict/);
  refuses(() => masked(rows, { batchSize: 0 }), /batchSize.*0/);
  refuses(() => causalLM({ model: unused, rows, batchSize: 2.5 }), /batchSize.*2.5/);
});

test.run();
