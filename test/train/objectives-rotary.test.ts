import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed } from '../../autograd/index.ts';
import { BertForMaskedLM, BertForRotaryFill } from '../../models/index.ts';
import { corpusOf } from '../../train/data/token-corpus.ts';
import { blockWindows, documentWindows, rotaryFill, withSeparators, wrapRows } from '../../train/objectives/index.ts';
import type { RotaryFillOptions, Rows } from '../../train/objectives/index.ts';
import { rotateSpans } from '../../train/objectives/rotary-fill.ts';
import { Random } from '../../common/random.ts';
import { toDevice } from '../../train/objectives/task.ts';
import { checkShare, checkTask, countingCorpus, refuses, rowsOf, special } from '../support/objectives.ts';
import { i32, inputs, settings } from '../support/small-bert.ts';

const test = suite('objectives: rotary fill');

const unused = {
  forward(): never {
    throw new Error('this model is not for use');
  },
};
const wrap = (rows: Rows): Rows => wrapRows(rows, { before: [special.cls], after: [special.sep] });
const corpus = withSeparators(countingCorpus([300, 45, 200]), special.sep);
const rows = wrap(blockWindows(corpus, { length: 80, seed: 2 }));
const rotary = (over: Partial<RotaryFillOptions> = {}) =>
  rotaryFill({
    model: unused,
    rows,
    batchSize: 4,
    padTokenId: special.pad,
    specialIds: special.all,
    seed: 6,
    ...over,
  });
const specialSet = new Set(special.all);

test('spans are rotations of ordinary tokens, apart from one another, and hold 15 in 100 exactly', () => {
  const lengths = new Map<number, number>();
  const offsets = new Map<string, number>();
  let spanCount = 0;
  for (let index = 0; index < 3000; index++) {
    const row = rows.row(index);
    const { ids, positions, spans } = rotateSpans(row, specialSet, 0.15, new Random(1, index));
    const inside = new Set<number>();
    for (const { start, length, offset } of spans) {
      const original = row.subarray(start, start + length);
      assert.ok(length >= 2 && length <= 11 && offset >= 1 && offset < length);
      assert.not.ok(
        original.some((id) => specialSet.has(id)),
        'special tokens stay',
      );
      const turned = [...original.subarray(offset), ...original.subarray(0, offset)];
      assert.equal(Array.from(ids.subarray(start, start + length)), turned);
      for (let place = start - 1; place <= start + length; place++) assert.not.ok(inside.has(place), 'spans apart');
      for (let place = start; place < start + length; place++) inside.add(place);
      lengths.set(length, (lengths.get(length) ?? 0) + 1);
      offsets.set(`${length}:${offset}`, (offsets.get(`${length}:${offset}`) ?? 0) + 1);
      spanCount++;
    }
    assert.equal(
      positions,
      [...inside].sort((a, b) => a - b),
    );
    assert.is(positions.length, Math.round(0.15 * row.filter((id) => !specialSet.has(id)).length));
    row.forEach((id, place) => inside.has(place) || assert.is(ids[place], id));
  }
  for (let offset = 1; offset < 6; offset++)
    checkShare(offsets.get(`6:${offset}`)!, lengths.get(6)!, 1 / 5, `offset ${offset} of 6`);
  // Two lengths that are seldom cut: 0.8 times as many of the longer.
  const [five, six] = [lengths.get(5)!, lengths.get(6)!];
  assert.ok(six < five && spanCount > 6000, `${five} spans of 5, ${six} of 6`);
});

test('first spans of long rows have the geometric lengths', () => {
  const long = Int32Array.from({ length: 4000 }, (_, i) => 5 + i);
  const counts = new Array<number>(12).fill(0);
  for (let index = 0; index < 20; index++)
    for (const { length } of rotateSpans(long, specialSet, 0.15, new Random(2, index)).spans) counts[length]!++;
  const total = counts.reduce((a, b) => a + b);
  const weight = (length: number): number => 0.8 ** length;
  const sum = [2, 3, 4, 5, 6, 7, 8, 9, 10].reduce((a, length) => a + weight(length), 0);
  for (let length = 2; length <= 10; length++)
    checkShare(counts[length]!, total, weight(length) / sum, `length ${length}`);
});

test('batches: originals at all rotated places, 1 where a token differs; pure', async () => {
  await checkTask(() => rotary(), { fill: 'labels', detect: 'rotatedLabels' });
  // Tokens that repeat: a rotation may bring the same token back.
  const repeating = corpusOf([Array.from({ length: 400 }, (_, i) => 5 + ((i >> 1) % 3))], 10);
  const source = wrap(documentWindows(repeating, { length: 50, seed: 1 }));
  const task = rotary({ rows: source });
  let same = 0;
  for (let index = 0; index < 30; index++) {
    const batch = await task.batch(index);
    const [read, places, labels, changed] = ['inputIds', 'maskedPositions', 'labels', 'rotatedLabels'].map((name) =>
      rowsOf(batch, name),
    );
    read!.forEach((ids, i) => {
      const original = source.row(index * 4 + i);
      const chosen = places![i]!.filter((_, k) => labels![i]![k] !== -100);
      chosen.forEach((place, k) => assert.is(labels![i]![k], original[place]));
      ids.forEach((id, place) => {
        const was = original[place];
        const expected = was === undefined || specialSet.has(was) ? -100 : id === was ? 0 : 1;
        assert.is(changed![i]![place], expected);
        if (expected === 1) assert.ok(chosen.includes(place));
        if (expected === 0 && chosen.includes(place)) same++;
      });
    });
  }
  assert.ok(same > 0, 'places that the rotation leaves as they were');
});

test('rows that are too short are left alone', async () => {
  const short = wrap(documentWindows(countingCorpus([1, 2, 0, 3]), { length: 8 }));
  const batch = await rotary({ rows: short }).batch(0);
  assert.equal(
    rowsOf(batch, 'labels').map((row) => row.filter((label) => label !== -100).length),
    [0, 2, 2, 0],
  );
  assert.equal(
    rowsOf(batch, 'rotatedLabels').map((row) => row.filter((label) => label !== -100).length),
    [1, 2, 3, 0],
  );
  assert.equal(rowsOf(batch, 'inputIds')[1]!.slice(0, 4), [special.cls, 7, 6, special.sep]);
});

test('the model: both losses, their sum, and a masked-LM checkpoint that fits its head', async () => {
  manualSeed(3);
  const model = BertForRotaryFill.fromConfig({ ...settings, vocabSize: 550, maxPositionEmbeddings: 82 }).eval();
  const task = rotary({ model });
  const { fill, detect } = task.losses(toDevice(await task.batch(0)));
  assert.ok(Math.abs((await fill!.item()) - Math.log(550)) < 0.3);
  assert.ok(Math.abs((await detect!.item()) - Math.log(2)) < 0.3);

  const small = BertForRotaryFill.fromConfig(settings).eval();
  const labels = i32([
    [4, -100, 5],
    [-100, 7, -100],
  ]);
  const rotatedLabels = i32([
    [1, 0, 1],
    [0, 1, -100],
  ]);
  const { loss, fillLoss, rotatedLoss, logits, rotatedLogits } = small.forward({ ...inputs, labels, rotatedLabels });
  assert.ok(Math.abs((await loss!.item()) - (await fillLoss!.item()) - (await rotatedLoss!.item())) <= 1e-6);
  assert.equal(
    [logits.shape, rotatedLogits.shape],
    [
      [2, 3, 20],
      [2, 3, 2],
    ],
  );
  const masked = BertForMaskedLM.fromConfig(settings);
  const { missing, unexpected } = small.loadStateDict(masked.stateDict(), { strict: false });
  assert.equal([missing, unexpected], [['detector.weight', 'detector.bias'], []]);
  refuses(() => small.forward({ ...inputs, labels }), /labels and rotatedLabels/);
});

test('bad input is refused in one line', () => {
  refuses(() => rotary({ rotatedShare: 0 }), /rotatedShare.*0/);
  refuses(() => rotary({ rotatedShare: 0.6 }), /rotatedShare.*0.6/);
  refuses(() => rotary({ batchSize: -1 }), /batchSize.*-1/);
});

test.run();
