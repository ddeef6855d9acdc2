import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { corpusOf } from '../../train/data/token-corpus.ts';
import { blockWindows, lastIds, spanCorruption, textInfilling } from '../../train/objectives/index.ts';
import type { Rows, SpanCorruptionOptions, TextInfillingOptions } from '../../train/objectives/index.ts';
import { randomParts } from '../../train/objectives/span-corruption.ts';
import { poisson } from '../../train/objectives/text-infilling.ts';
import { Random } from '../../common/random.ts';
import { checkShare, checkTask, countingCorpus, refuses, rowsOf, special } from '../support/objectives.ts';

const test = suite('objectives: span infill');

const eos = 3;
const unused = {
  forward(): never {
    throw new Error('this model is not for use');
  },
};
const rows = blockWindows(countingCorpus([900]), { length: 64, seed: 5 });
const sentinelIds = lastIds(1000, 20);
const t5 = (over: Partial<SpanCorruptionOptions> = {}) =>
  spanCorruption({
    model: unused,
    rows,
    batchSize: 4,
    padTokenId: special.pad,
    eosTokenId: eos,
    sentinelIds,
    seed: 1,
    ...over,
  });
const bart = (over: Partial<TextInfillingOptions> = {}) =>
  textInfilling({
    model: unused,
    rows,
    batchSize: 4,
    padTokenId: special.pad,
    eosTokenId: eos,
    maskTokenId: special.mask,
    seed: 1,
    ...over,
  });

const counted = (labels: readonly number[]): number[] => labels.filter((label) => label !== -100);

test('span corruption: sentinels stand for spans, and both sides together are the text', async () => {
  await checkTask(() => t5(), { infill: 'labels' });
  const noise = Math.round(0.15 * 64);
  const spans = Math.round(noise / 3);
  for (let index = 0; index < 50; index++) {
    const batch = await t5().batch(index);
    assert.is(batch.arrays['attentionMask'], undefined, 'rows are full');
    const labels = rowsOf(batch, 'labels');
    rowsOf(batch, 'inputIds').forEach((input, i) => {
      const target = counted(labels[i]!);
      assert.is(input.length, 64 - noise + spans + 1);
      assert.is(target.length, noise + spans + 1);
      assert.is(input.at(-1), eos);
      assert.is(target.at(-1), eos);
      assert.not.ok(sentinelIds.includes(input[0]!), 'a row begins with text');
      const used = sentinelIds.slice(0, spans);
      assert.equal(
        input.filter((id) => sentinelIds.includes(id)),
        used,
      );
      assert.equal(
        target.filter((id) => sentinelIds.includes(id)),
        used,
      );
      const whole = input.slice(0, -1).flatMap((id) => {
        const at = sentinelIds.indexOf(id);
        if (at < 0) return [id];
        const next = target.indexOf(sentinelIds[at + 1] ?? eos);
        const span = target.slice(target.indexOf(id) + 1, next < 0 ? -1 : next);
        assert.ok(span.length > 0);
        return span;
      });
      assert.equal(whole, Array.from(rows.row(index * 4 + i)));
    });
  }
});

test('span corruption: padded rows, rows of one token, empty rows', async () => {
  const short = blockWindows(countingCorpus([21]), { length: 10 });
  const batch = await t5({ rows: short }).batch(0);
  const [inputs, masks, labels] = ['inputIds', 'attentionMask', 'labels'].map((name) => rowsOf(batch, name));
  assert.equal(
    masks!.map((mask) => mask.filter((bit) => bit === 1).length),
    [10, 10, 2, 1],
  );
  assert.equal(inputs![2]!.slice(0, 3), [25, eos, special.pad]);
  assert.equal(
    labels!.map((row) => counted(row).length),
    [4, 4, 0, 0],
  );
  assert.is(batch.counts['infill'], 8);
  assert.is(batch.tokens, 21);
});

test('random parts: sums, none empty, each as likely', () => {
  const random = new Random(3);
  const seen = new Map<string, number>();
  for (let i = 0; i < 6000; i++) {
    const parts = randomParts(5, 3, random).join();
    seen.set(parts, (seen.get(parts) ?? 0) + 1);
  }
  assert.equal([...seen.keys()].sort(), ['1,1,3', '1,2,2', '1,3,1', '2,1,2', '2,2,1', '3,1,1']);
  for (const [parts, count] of seen) checkShare(count, 6000, 1 / 6, parts);
  assert.equal(randomParts(7, 1, random), [7]);
});

test('text infilling: one mask a span, the text else in order, the whole predicted', async () => {
  await checkTask(() => bart(), { infill: 'labels' });
  let [spans, tokens, empty] = [0, 0, 0];
  for (let index = 0; index < 200; index++) {
    const batch = await bart().batch(index);
    const labels = rowsOf(batch, 'labels');
    const masks = rowsOf(batch, 'attentionMask');
    rowsOf(batch, 'inputIds').forEach((padded, i) => {
      const original = Array.from(rows.row(index * 4 + i));
      assert.equal(labels[i], [...original, eos]);
      const input = padded.slice(0, masks[i]!.filter((bit) => bit === 1).length);
      assert.ok(padded.slice(input.length).every((id) => id === special.pad));
      assert.is(input.at(-1), eos);
      const kept = input.slice(0, -1).filter((id) => id !== special.mask);
      assert.is(kept.length, 64 - Math.round(0.3 * 64), 'tokens that stay');
      assert.equal(
        kept,
        original.filter((id) => kept.includes(id)),
        'in their order',
      );
      // Tokens count up by one: what lies between the tokens beside a lone mask is its span.
      input.slice(0, -1).forEach((id, at) => {
        if (id !== special.mask) return;
        spans++;
        const [before, after] = [input[at - 1], input[at + 1]];
        if (before === undefined || before === special.mask || after === special.mask || after === eos) return;
        if (after! - before === 1) empty++;
      });
      tokens += 64 - kept.length;
    });
  }
  const mean = tokens / spans;
  assert.ok(mean > 2.5 && mean < 3.1, `${mean} tokens a span`);
  assert.ok(empty > 0, 'spans of no tokens');
});

test('Poisson: mean, variance, and how often nothing', () => {
  const random = new Random(8);
  const n = 20000;
  const draws = Array.from({ length: n }, () => poisson(3, random));
  const mean = draws.reduce((a, b) => a + b) / n;
  const variance = draws.reduce((a, x) => a + (x - mean) ** 2, 0) / n;
  assert.ok(Math.abs(mean - 3) <= 4 * Math.sqrt(3 / n), `mean ${mean}`);
  assert.ok(Math.abs(variance - 3) <= 4 * Math.sqrt((3 + 2 * 9) / n), `variance ${variance}`);
  checkShare(draws.filter((x) => x === 0).length, n, Math.exp(-3), 'zeros');
});

test('bad input is refused in one line', async () => {
  refuses(() => t5({ sentinelIds: lastIds(1000, 2) }), /up to 3 spans.*2 different ones/);
  refuses(() => t5({ sentinelIds: [7, 7, 7, 7] }), /1 different/);
  refuses(() => t5({ noiseDensity: 1 }), /noiseDensity.*1/);
  refuses(() => t5({ meanSpanLength: 0 }), /meanSpanLength.*0/);
  refuses(() => bart({ maskRatio: 0 }), /maskRatio.*0/);
  refuses(() => bart({ meanSpanLength: NaN }), /meanSpanLength.*NaN/);
  refuses(() => lastIds(5, 6), /6 sentinels.*5/);
  const with7: Rows = blockWindows(corpusOf([[5, 6, 7, 8, 9, 10]], 11), { length: 6 });
  refuses(() => t5({ rows: with7, sentinelIds: [7] }).batch(0), /row 0 has the sentinel 7/);
});

test.run();
