import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SentenceTransformer } from '../../models/index.ts';
import { bm25, scoreBaseline, scoreModel } from '../../train/embeddings/evaluate.ts';
import { mineHardNegatives } from '../../train/embeddings/hard-negatives.ts';
import { goldenFile } from '../support/golden.ts';
import { refused, resumesAs, runScript } from '../support/script.ts';
import type { Finished, ScriptOptions } from '../support/script.ts';

const test = suite('train-embeddings');
const folder = mkdtempSync(join(tmpdir(), 'tapeform-train-embeddings-'));
const write = (name: string, rows: readonly object[]): string => {
  const path = join(folder, name);
  writeFileSync(path, rows.map((row) => JSON.stringify(row)).join('\n'));
  return path;
};

/** Texts of three letters each; an anchor and its positive share them. */
const rows = Array.from({ length: 60 }, (_, i) => {
  const letters = [i % 4, 4 + (Math.floor(i / 4) % 5), 9 + Math.floor(i / 20)].map((at) => 'bcdefghijklm'[at]!);
  const [a, b, c] = letters;
  return { anchor: `${c} fox ${a} ${b}?`, positive: `the ${a} man ${b} read ${c} book`, score: i % 7 };
});
const data = write('pairs.jsonl', rows);
const small = ['--data', data, '--model', goldenFile('tiny-bert-qa'), '--max-length', '16', '--batch-size', '8'];
const training = [
  ...small,
  '--epochs',
  '3',
  '--learning-rate',
  '0.01',
  '--save-every',
  '3',
  '--hard-negatives',
  '1',
  '--matryoshka',
  '16,8',
];
const run = (args: readonly string[], options?: ScriptOptions): Promise<Finished> =>
  runScript(['train/train-embeddings.ts', ...args], options);
const whole = join(folder, 'whole');

test('trains, tests beside BM25 and its start, saves; killed and resumed it is the same, bit for bit', async () => {
  const output = join(folder, 'killed');
  const [done] = await Promise.all([
    run([...training, '--output', whole]),
    run([...training, '--output', output], { killAt: join(output, 'checkpoint-6') }),
  ]);
  assert.is(done.code, 0, done.stderr);
  assert.match(done.stdout, /60 pairs; left out: .*\n {7}\d+ pairs to train, \d+ to validate, \d+ to test/);
  const recall = (name: string): number =>
    Number(new RegExp(`^${name} +(\\d\\.\\d{3})(?: +\\d\\.\\d{3}){3}$`, 'm').exec(done.stdout)![1]);
  assert.ok(recall('BM25') > 0);
  assert.ok(recall('this model') >= recall('the model it began as'), done.stdout);
  const model = await SentenceTransformer.fromPretrained(whole);
  assert.is(model.maxSeqLength, 16);
  assert.is((await model.encode(['who?'], { truncateDim: 8 }))[0]!.length, 8);

  await resumesAs(whole, output, () => run([...training, '--output', output, '--resume']));
});

test('hard negatives are near the anchor, never true of it, and keep their margin; scores are ranked', async () => {
  const model = await SentenceTransformer.fromPretrained(goldenFile('tiny-bert-qa'), { log: () => undefined });
  const pairs = rows.slice(0, 30).map(({ anchor, positive, score }) => ({ source: anchor, target: positive, score }));
  const twice = [...pairs, { source: pairs[0]!.source, target: pairs[1]!.target, score: 0 }];
  const mined = await mineHardNegatives(model, twice, { count: 3 });
  const vectors = await model.encode(
    twice.map(({ target }) => target),
    { normalize: true },
  );
  const queries = await model.encode(
    twice.map(({ source }) => source),
    { normalize: true },
  );
  const cosine = (query: number, target: string): number =>
    vectors[twice.findIndex((pair) => pair.target === target)]!.reduce((sum, x, d) => sum + x * queries[query]![d]!, 0);
  twice.forEach(({ source }, i) => {
    const own = new Set(twice.filter((pair) => pair.source === source).map(({ target }) => target));
    const others = [...new Set(twice.map(({ target }) => target))].filter((target) => !own.has(target));
    const best = others.map((target) => cosine(i, target)).sort((a, b) => b - a);
    assert.is(mined[i]!.length, 3);
    mined[i]!.forEach((target, n) => {
      assert.not.ok(own.has(target), `pair ${i} has its own positive as a negative`);
      assert.ok(Math.abs(cosine(i, target) - best[n]!) < 1e-5);
    });
  });
  const far = await mineHardNegatives(model, twice, { count: 3, margin: 0.05 });
  far.forEach((list, i) => {
    for (const target of list) assert.ok(cosine(i, target) <= cosine(i, twice[i]!.target) - 0.05 + 1e-6);
  });
  assert.ok(far.flat().length < mined.flat().length);
  const { Spearman } = await scoreModel(model, pairs);
  assert.ok(Math.abs(Spearman!) <= 1);
  assert.ok('Spearman' in (await scoreBaseline(pairs)));
});

test('BM25 by its formula', () => {
  const scores = bm25(['a b b', 'b c', 'c c c d'])('b d x');
  const idf = (n: number): number => Math.log(1 + (3 - n + 0.5) / (n + 0.5));
  const weight = (count: number, length: number): number =>
    (count * 2.5) / (count + 1.5 * (0.25 + 0.75 * (length / 3)));
  const wanted = [idf(2) * weight(2, 3), idf(2) * weight(1, 2), idf(1) * weight(1, 4)];
  wanted.forEach((score, i) => assert.ok(Math.abs(scores[i]! - score) < 1e-12));
});

test('bad input: one line that names the mend', async () => {
  const cases: readonly (readonly [args: readonly string[], code: number, pattern: RegExp])[] = [
    [['--data', write('a.jsonl', [{ anchor: 'x' }])], 1, /a\.jsonl:1: .*"positive"/],
    [['--data', write('b.jsonl', [{ anchor: 'x', positive: ' ' }])], 1, /b\.jsonl:1: "positive" is empty/],
    [
      [
        '--data',
        write('c.jsonl', [{ anchor: 'x', positive: 'y', score: 'high' }]),
        ...['--loss', 'cosent', '--score-column', 'score'],
      ],
      1,
      /c\.jsonl:1: its "score" is "high", not a number/,
    ],
    [[...small, '--loss', 'cosent', '--output', join(folder, 'd')], 2, /--loss cosent and --score-column go together/],
    [
      [...small, '--loss', 'triplet', '--output', join(folder, 'e')],
      2,
      /--loss triplet needs one negative for each pair/,
    ],
  ];
  // Folders of their own: runs side by side in one would be told that it is busy.
  const finished = await Promise.all(cases.map(([args], i) => run(['--output', join(folder, `bad-${i}`), ...args])));
  cases.forEach(([, code, pattern], i) => refused(finished[i]!, code, pattern));
});

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();
