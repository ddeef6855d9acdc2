import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { generateFromSources, loadTextGenerator, MarianMTModel } from '../../models/index.ts';
import type { TextGenerator } from '../../models/index.ts';
import { Random } from '../../common/random.ts';
import { bucketBatches, lengthBuckets } from '../../train/data/batches.ts';
import { translationMemory } from '../../train/seq2seq/baselines.ts';
import { newSeq2Seq, seq2seqTokenizer, tokenisePairs } from '../../train/seq2seq/model.ts';
import { readPairs, splitPairs } from '../../train/seq2seq/pairs.ts';
import type { TextPair } from '../../train/seq2seq/pairs.ts';
import { seq2seqTask } from '../../train/seq2seq/task.ts';
import { goldenFile } from '../support/golden.ts';
import { rejects } from '../support/failure.ts';
import { lossesIn, refused, runScript } from '../support/script.ts';

const test = suite('pairs of texts');
const folder = mkdtempSync(join(tmpdir(), 'tapeform-seq2seq-'));
test.after(() => rmSync(folder, { recursive: true }));

/** A language of numbers and one in which each word is another and the order is turned round. */
const numbers = ['one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten'];
const others = ['un', 'deux', 'trois', 'quatre', 'cinq', 'six', 'sept', 'huit', 'neuf', 'dix'];
const pairOf = (i: number): TextPair => {
  const random = new Random(7, i);
  const digits = Array.from({ length: 2 + random.int(6) }, () => random.int(10));
  return {
    source: digits.map((digit) => numbers[digit]!).join(' '),
    target: digits
      .map((digit) => others[digit]!)
      .reverse()
      .join(' '),
    group: `page ${i % 40}`,
  };
};
const turned = ({ source, target, group }: TextPair): TextPair => ({
  source: source.split(' ').reverse().join(' '),
  target: target.split(' ').reverse().join(' '),
  group,
});
const pairs = Array.from({ length: 120 }, (_, i) => pairOf(i));

const write = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};

test('batches by tokens: each example once an epoch, as many batches in each, few shapes', () => {
  const random = new Random(1);
  const lengths = Array.from({ length: 503 }, () => 1 + random.int(90));
  const buckets = lengthBuckets(lengths, 256);
  const first = bucketBatches(buckets, 3, 0);
  for (const epoch of [0, 1, 2]) {
    const batches = bucketBatches(buckets, 3, epoch);
    assert.is(batches.length, first.length);
    assert.equal(
      batches.flatMap(({ indices }) => indices).sort((a, b) => a - b),
      lengths.map((_, i) => i),
    );
    for (const { length, indices } of batches) {
      assert.ok(length * indices.length <= 256);
      assert.ok(indices.every((i) => lengths[i]! <= length));
    }
    const shapes = new Set(batches.map(({ length, indices }) => `${length} ${indices.length}`));
    assert.ok(shapes.size <= buckets.length + 1, [...shapes].join(', '));
  }
  assert.not.equal(bucketBatches(buckets, 3, 1), first);
  assert.equal(bucketBatches(buckets, 3, 0), first);
});

test('an example longer than a batch makes one by itself', () => {
  const batches = bucketBatches(lengthBuckets([4, 400, 4], 64), 0, 0);
  assert.equal(batches.find(({ indices }) => indices.includes(1))!.indices, [1]);
  assert.throws(() => lengthBuckets([], 64), 'there are no examples');
  assert.throws(() => lengthBuckets([4], 0), 'maxTokens must be a positive integer, got 0');
});

test('pairs from a file; bad rows are named by file and line', async () => {
  const rows = pairs.slice(0, 3).map(({ source, target }) => JSON.stringify({ en: ` ${source}\n`, fr: target }));
  const columns = { sourceColumn: 'en', targetColumn: 'fr' };
  const path = write('good.jsonl', rows.join('\n'));
  assert.equal(
    await readPairs(path, columns),
    pairs.slice(0, 3).map(({ source, target }) => ({ source, target })),
  );
  const bad = (line: string, pattern: RegExp): Promise<void> =>
    rejects(readPairs(write('bad.jsonl', `${rows[0]}\n${line}`), columns), pattern);
  await bad('{"en": "a", "fr": " "}', /bad\.jsonl:2: "fr" is empty; a pair needs both sides/);
  await bad('{"en": "a"}', /bad\.jsonl:2: no column "fr" among en; name the right one as targetColumn/);
  await bad('{"en": 3, "fr": "b"}', /bad\.jsonl:2: "en" is 3, not a string/);
  await rejects(readPairs(path, { groupColumn: 'page', ...columns }), /good\.jsonl:1: no column "page"/);
  await rejects(
    readPairs(write('empty.jsonl', '')),
    /empty\.jsonl: no rows; pairs of "source" and "target" are needed/,
  );
});

test('a split has no page in two parts, and nothing held out that is nearly trained on', () => {
  const near = { source: pairs[0]!.source.toUpperCase(), target: 'near', group: 'page 7' };
  const equal = { source: 'LibreOffice', target: 'LibreOffice', group: 'page 1' };
  const all = [...pairs, near, equal, pairs[5]!];
  const { counts, ...split } = splitPairs(all, { seed: 1, fractions: { train: 0.6, validation: 0.2, test: 0.2 } });
  const parts = Object.values(split);
  const pages = parts.map((part) => new Set(part.map(({ group }) => group)));
  for (const page of pages[0]!) assert.not.ok(pages[1]!.has(page) || pages[2]!.has(page));
  for (const page of pages[1]!) assert.not.ok(pages[2]!.has(page));
  assert.is(counts.equal, 1);
  assert.ok(counts.repeated >= 1);
  const fold = (text: string): string => text.toLowerCase();
  const trained = new Set(split.train.map(({ source }) => fold(source)));
  for (const { source } of [...split.validation, ...split.test]) assert.not.ok(trained.has(fold(source)));
  const total = counts.equal + counts.repeated + counts.near + parts.reduce((sum, { length }) => sum + length, 0);
  assert.is(total, all.length);
  assert.throws(() => splitPairs([equal, equal], { seed: 1 }), /: 0 examples .*leave the train split empty/);
});

test("a translator's memory gives the target of the nearest source, rare words counting more", () => {
  const recall = translationMemory([
    { source: 'the cat on the mat', target: 'A' },
    { source: 'the dog in the garden', target: 'B' },
    { source: 'a bird', target: 'C' },
  ]);
  assert.equal(['The dog on the mat?', 'the garden', 'BIRD', 'nothing known'].map(recall), ['A', 'B', 'C', 'A']);
});

test('the task: sources and labels of like length, padded to one; the loss is that of its rows', async () => {
  const tokenizer = await seq2seqTokenizer(
    pairs.flatMap(({ source, target }) => [source, target]),
    300,
    64,
  );
  const sizes = { layers: 1, decoderLayers: 1, hidden: 16, heads: 2, feedForward: 32, dropout: 0 };
  const model = newSeq2Seq(tokenizer, { ...sizes, maxLength: 64, seed: 3 });
  const { pairs: read, tooLong } = tokenisePairs({ model, tokenizer }, pairs, 14);
  assert.is(read.length + tooLong, pairs.length);
  assert.ok(tooLong > 0 && read.length > 0);
  const [end] = [model.config.eosTokenId].flat();
  for (const { source, target } of read) assert.equal([source.at(-1), target.at(-1)], [end, end]);
  const padTokenId = model.config.padTokenId;
  const task = seq2seqTask({ model, pairs: read, maxTokens: 60, padTokenId, seed: 5 });
  for (let index = 0; index < task.batchesPerEpoch; index++) {
    const { arrays, counts, tokens } = await task.batch(index);
    const [ids, mask, labels] = [arrays['inputIds']!, arrays['attentionMask']!, arrays['labels']!];
    assert.is(ids.shape[0], labels.shape[0]);
    ids.data.forEach((id, i) => assert.is(mask.data[i], id === padTokenId ? 0 : 1));
    const known = labels.data.filter((label) => label !== -100);
    assert.equal([counts['loss'], tokens], [known.length, known.length + mask.data.filter(Boolean).length]);
  }
});

test('a tokenizer that does not know the language is refused with the text', () => {
  const tokenizer = { idsOf: () => Int32Array.of(3, 3, 5), unkTokenId: 3 };
  const seq2seq = { model: { config: { eosTokenId: 0 } }, tokenizer } as unknown as Parameters<typeof tokenisePairs>[0];
  assert.throws(
    () => tokenisePairs(seq2seq, [{ source: 'один два', target: 'x' }], 9),
    'the tokenizer does not know 2 of the 3 tokens of "один два"; is the model one for this language?',
  );
});

test('train-translation learns, goes on bit for bit after Ctrl-C', async () => {
  const rows = (list: readonly TextPair[]): string => list.map((pair) => JSON.stringify(pair)).join('\n');
  // Of like length, so that there are few shapes to compile.
  const like = pairs.filter(({ source }) => [4, 5].includes(source.split(' ').length));
  const data = write(
    'numbers.jsonl',
    rows(like.flatMap((pair, i) => [pair, turned(pair)].map((each) => ({ ...each, group: String(i) })))),
  );
  const small = '--vocab-size 300 --layers 1 --decoder-layers 1 --hidden 32 --heads 2 --max-tokens 128 --ema 0.9';
  const pace = '--steps 30 --warmup-steps 3 --learning-rate 0.01 --save-every 4 --evaluate-every 30 --beams 2';
  const args = ['train/train-translation.ts', '--data', data, '--group-column', 'group'];
  args.push(...`${small} ${pace} --evaluation-pairs 8`.split(' '), '--output');
  const whole = join(folder, 'whole');
  const done = await runScript([...args, whole]);
  assert.is(done.code, 0, done.stderr);
  assert.match(done.stdout, /^this model +\d+\.\d$/m);
  const report = readFileSync(join(whole, 'report.html'), 'utf8');
  assert.match(report, /<h2>Test<\/h2>[^]*>this model<[^]*<h2>Samples<\/h2>/);
  const losses = lossesIn(whole);
  assert.ok(losses.at(-1)! < 0.7 * losses[0]!, `${losses[0]} -> ${losses.at(-1)}`);

  const killed = join(folder, 'killed');
  let sent = false;
  const stopped = await runScript([...args, killed], {
    onStderr: (text, interrupt) => {
      if (sent || !/step \d+\/30/.test(text)) return;
      sent = true;
      interrupt();
    },
  });
  assert.is(stopped.code, 130, stopped.stderr);
  refused(await runScript([...args, killed]), 2, /holds a run that was stopped/);
  const resumed = await runScript([...args, killed, '--resume']);
  assert.is(resumed.code, 0, resumed.stderr);
  assert.equal(lossesIn(killed), losses);

  const generator = await loadTextGenerator(whole);
  assert.ok(generator.model instanceof MarianMTModel);
  assert.equal([generator.options.numBeams, generator.options.earlyStopping], [2, true]);
});

test('texts come in the order of their sources, each as if it were alone', async () => {
  const model = await MarianMTModel.fromPretrained(goldenFile('tiny-marian'));
  const { vocabSize, maxPositionEmbeddings } = model.config;
  const tokenizer = {
    idsOf: (text: string) => Int32Array.from(text, (letter) => letter.charCodeAt(0) % vocabSize),
    decode: (ids: ArrayLike<number>) => Array.from(ids).join(' '),
  };
  const generator = { model, tokenizer, options: { maxNewTokens: 6 } } as unknown as TextGenerator;
  const sources = ['a fairly long source', 'bc', 'another one', 'x', 'yes', 'no', 'the last of all'];
  const options = { batchSize: 3, noRepeatNgramSize: 1 };
  const together = await generateFromSources(generator, sources, options);
  assert.ok(new Set(together).size > 2, together.join(' | '));
  for (const [i, source] of sources.entries())
    assert.equal(await generateFromSources(generator, [source], options), [together[i]]);
  const beams = { ...options, numBeams: 2, numReturnSequences: 2 };
  const [best, ...others] = await generateFromSources(generator, sources, beams);
  assert.is(others.length, sources.length - 1);
  assert.equal(await generateFromSources(generator, sources.slice(0, 1), { ...beams, numReturnSequences: 1 }), [best]);

  await rejects(generateFromSources(generator, ['one', ' ']), /source 1 is empty/);
  const long = 'o'.repeat(maxPositionEmbeddings);
  const pattern = new RegExp(`source 0 has ${long.length + 1} tokens, more than the model's ${long.length} positions`);
  await rejects(generateFromSources(generator, [long]), pattern);
  assert.is((await generateFromSources(generator, [long], { truncation: true })).length, 1);
});

test.run();
