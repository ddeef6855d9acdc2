import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../common/random.ts';
import { loadModel, pipeline } from '../../models/index.ts';
import { picturedBatches, stackPictures, tokensOfTexts } from '../../train/multimodal/batch.ts';
import { chanceRecall, ranksOf } from '../../train/multimodal/contrastive.ts';
import { trainWordPiece } from '../../train/tokenizer-training/train-word-piece.ts';
import { picture } from '../support/png.ts';
import { refused, resumesAs, runScript } from '../support/script.ts';
import type { Finished, ScriptOptions } from '../support/script.ts';

const test = suite('train-multimodal');
const folder = mkdtempSync(join(tmpdir(), 'tapeform-train-multimodal-'));
test.after(() => rmSync(folder, { recursive: true, force: true }));

/** Of the four classes the text tells one half, and the picture the other. */
const random = new Random(5);
const fillers = ['house', 'tree', 'river', 'stone', 'cloud', 'field', 'road', 'gate'];
const rows = Array.from({ length: 160 }, (_, i) => {
  const [night, red] = [i % 2, Math.floor(i / 2) % 2];
  const file = `${i}.png`;
  const noise = (): number => random.int(60);
  const [strong, weak] = red ? [190, 0] : [0, 190];
  writeFileSync(
    join(folder, file),
    picture(10, () => [strong + noise(), noise(), weak + noise()]),
  );
  const words = Array.from({ length: 4 }, () => fillers[random.int(fillers.length)]!);
  return { image: file, text: `${night ? 'night' : 'day'} ${words.join(' ')}`, label: `${night}${red}` };
});
const data = join(folder, 'pictures.jsonl');
writeFileSync(data, rows.map((row) => JSON.stringify(row)).join('\n'));
const small = [
  ...['--data', data, '--label-column', 'label', '--image-size', '8', '--patch-size', '4', '--max-length', '12'],
  ...['--vocab-size', '100', '--hidden-size', '16', '--layers', '1', '--heads', '2', '--batch-size', '16'],
];
const run = (args: readonly string[], options?: ScriptOptions): Promise<Finished> =>
  runScript(['train/train-multimodal.ts', ...small, ...args], options);

/** The numbers of a row of the table of results. */
function scoresOf({ stdout }: Finished, name: string): number[] {
  const line = stdout.split('\n').find((each) => each.startsWith(name));
  assert.ok(line, `${name} in ${stdout}`);
  return line.match(/\d\.\d{3}/g)!.map(Number);
}

test('two encoders: tested beside chance, read by pipelines; killed and resumed they are the same', async () => {
  const [whole, output] = [join(folder, 'whole'), join(folder, 'killed')];
  const training = ['--epochs', '2', '--save-every', '4'];
  const [done] = await Promise.all([
    run([...training, '--output', whole]),
    run([...training, '--output', output], { killAt: join(output, 'checkpoint-8') }),
  ]);
  assert.is(done.code, 0, done.stderr);
  assert.match(done.stdout, /128 to train, 16 to validate, 16 to test/);
  assert.equal(scoresOf(done, 'chance'), [0.063, 0.313, 0.625, 0.063, 0.313, 0.625]);
  assert.is(scoresOf(done, 'this model').length, 7);
  assert.match(readFileSync(join(whole, 'report.html'), 'utf8'), /pictures R@1/);
  await resumesAs(whole, output, () => run([...training, '--output', output, '--resume']));
  const classify = await pipeline('zero-shot-image-classification', whole);
  const file = join(folder, '0.png');
  const found = await classify(file, ['day', 'night'], { hypothesisTemplate: '{}' });
  assert.equal(found.map(({ label }) => label).sort(), ['day', 'night']);
});

test('a fused classifier knows more by both sides than by either, early and late', async () => {
  const check = async (fusion: string): Promise<void> => {
    const output = join(folder, fusion);
    const sizes = ['--patch-size', '8', '--batch-size', '32', '--hidden-size', '32'];
    const rates = ['--learning-rate', '0.005', '--epochs', '40', '--dropout', '0'];
    const done = await run(['--objective', 'classify', '--fusion', fusion, ...sizes, ...rates, '--output', output]);
    assert.is(done.code, 0, done.stderr);
    const [both] = scoresOf(done, 'this model  ');
    const [text] = scoresOf(done, 'this model, text only');
    const [image] = scoresOf(done, 'this model, picture only');
    assert.ok(both! > 0.8 && both! > text! && both! > image!, done.stdout);
    assert.ok(text! >= 0.25 && image! >= 0.25, done.stdout);
    assert.is((await loadModel(output)).constructor.name, 'FusionForClassification');
  };
  await Promise.all([check('early'), check('late')]);
});

test('flags and data that do not fit are told before the work', async () => {
  const refuse = async (args: readonly string[], says: RegExp): Promise<void> =>
    refused(await run([...args, '--output', join(folder, 'refused')]), 2, says);
  await refuse(['--heads', '3'], /--hidden-size 16 must be a multiple of --heads 3/);
  await refuse(['--patch-size', '9'], /--patch-size 9 is above --image-size 8/);
  const plain = join(folder, 'plain.jsonl');
  writeFileSync(plain, rows.map(({ image, text }) => JSON.stringify({ image, text })).join('\n'));
  const args = ['train/train-multimodal.ts', '--data', plain, '--objective', 'classify'];
  refused(await runScript([...args, '--output', join(folder, 'x')]), 2, /needs --label-column NAME with two classes/);
  const absent = join(folder, 'absent.jsonl');
  writeFileSync(absent, JSON.stringify({ image: 'none.png', text: 'a' }));
  refused(
    await runScript(['train/train-multimodal.ts', '--data', absent, '--output', join(folder, 'y')]),
    1,
    /none\.png/,
  );
});

test('ranks, chance, whole batches, cut texts and moved pictures', async () => {
  assert.equal(ranksOf(3, (row, k) => [[3, 2, 1], [5, 4, 6], [1, 1, 1]][row]![k]!), [0, 2, 1]); // prettier-ignore
  assert.is(chanceRecall(20)['texts R@5'], 0.25);
  const tokenizer = await trainWordPiece(['one two three four'], { vocabSize: 60, minFrequency: 1 });
  const [cut] = tokensOfTexts(tokenizer, ['one two three four'], 4);
  assert.equal([cut!.length, cut!.at(-1)], [4, tokenizer.tokenToId('[SEP]')]);
  const few = Array.from({ length: 10 }, (_, i) => ({ text: `one ${i}`, pixels: new Float32Array(12).fill(i) }));
  const options = { batchSize: 4, seed: 1, maxLength: 4, imageSize: 2, shift: 0 };
  const sizes = (dropLast: boolean): number[][] => {
    const { batchesPerEpoch, batch } = picturedBatches(few, tokenizer, { ...options, dropLast });
    return [0, 1].map((epoch) =>
      Array.from({ length: batchesPerEpoch }, (_, i) => batch(epoch * batchesPerEpoch + i).counts['loss']!).sort(),
    );
  };
  assert.equal(sizes(true), [[4, 4], [4, 4]]); // prettier-ignore
  assert.equal(sizes(false), [[2, 4, 4], [2, 4, 4]]); // prettier-ignore
  const pixels = Float32Array.from({ length: 3 * 9 }, (_, i) => i);
  assert.equal(stackPictures([pixels], 3).data, pixels);
  const moved = new Set(
    Array.from({ length: 30 }, (_, seed) =>
      stackPictures([pixels], 3, { shift: 1, random: new Random(seed) }).data.join(),
    ),
  );
  assert.is(moved.size, 9);
  assert.ok(moved.has(Array.from(pixels).join()));
});

test.run();
