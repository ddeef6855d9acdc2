// A sparse autoencoder against float64 arithmetic, directions that are known, and codes that are; its page.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseHTML } from 'linkedom';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { assign, manualSeed, noGrad, randn, tensor, zerosLike } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import { BertForMaskedLM, GPT2LMHeadModel, loadTokenizer } from '../../models/index.ts';
import { shippedModel } from '../../models/io/shipped.ts';
import { featurePage } from '../../train/inside/feature-page.ts';
import { featuresOf, testAutoencoder, tokenActivations } from '../../train/inside/features.ts';
import { saveModule } from '../../train/inside/module-file.ts';
import { SparseAutoencoder, trainAutoencoder } from '../../train/inside/sparse-autoencoder.ts';
import { windowsFor } from '../../train/inside/view.ts';
import { findChromium, withPage } from '../support/chromium.ts';
import { rejects, throwsOneLine } from '../support/failure.ts';
import { largestDifference } from '../support/golden.ts';
import { refused, runScript } from '../support/script.ts';

const test = suite('inside, features');

const folder = shippedModel('gpt-small');
const [model, tokenizer] = [await GPT2LMHeadModel.fromPretrained(folder), await loadTokenizer(folder)];
const { learnt, tested } = await windowsFor({ model, tokenizer }, 'sotu', { rows: 48, width: 24, seed: 1 });
const place = 'blocks.2.hook_resid_post';
const points = await tokenActivations(model, learnt, place);

/** Codes that are the numbers themselves, those above 0 and those below: nothing is missed. */
function exactAutoencoder(width: number): SparseAutoencoder {
  const made = new SparseAutoencoder({ width, features: 2 * width, active: width });
  const rows = new Float32Array(2 * width * width);
  for (let d = 0; d < width; d++) [rows[d * width + d], rows[(width + d) * width + d]] = [1, -1];
  const directions = tensor(rows, { shape: [2 * width, width] });
  noGrad(() => [made.encoder, made.decoder].forEach((x) => assign(x, directions)));
  return made;
}

test('codes and reconstructions are those of float64', async () => {
  manualSeed(2);
  const made = new SparseAutoencoder({ width: 6, features: 10, active: 3 });
  noGrad(() => {
    for (const x of [made.encoder, made.encoderBias, made.decoderBias]) assign(x, randn([...x.shape]));
    assign(made.mean, randn([6]));
    assign(made.scale, tensor([2.5]));
  });
  const x = randn([7, 6]);
  const rowsOf = async (t: { tolist(): Promise<unknown> }): Promise<number[][]> => (await t.tolist()) as number[][];
  const [encoder, decoder, given] = [await rowsOf(made.encoder), await rowsOf(made.decoder), await rowsOf(x)];
  const listOf = async (t: { data(): Promise<ArrayLike<number | bigint>> }) => Array.from(await t.data(), Number);
  const [bias, after, mean] = [await listOf(made.encoderBias), await listOf(made.decoderBias), await listOf(made.mean)];
  const codes = given.map((row) => {
    const scaled = row.map((value, d) => (value - mean[d]!) / 2.5);
    const all = encoder.map((w, f) => bias[f]! + w.reduce((sum, each, d) => sum + each * (scaled[d]! - after[d]!), 0));
    const least = [...all].sort((a, b) => b - a)[2]!;
    return all.map((value) => (value >= least ? Math.max(0, value) : 0));
  });
  const wanted = codes.map((row) =>
    mean.map((m, d) => m + 2.5 * (after[d]! + row.reduce((sum, code, f) => sum + code * decoder[f]![d]!, 0))),
  );
  assert.ok(largestDifference(await noGrad(() => made.encode(x)).data(), codes.flat()) < 1e-5);
  assert.ok(largestDifference(await noGrad(() => made.forward(x)).data(), wanted.flat()) < 1e-5);
  for (const row of decoder) assert.ok(Math.abs(Math.hypot(...row) - 1) < 1e-6);
});

test('directions of which numbers are made are found again', async () => {
  const random = new Random(4);
  const [width, count] = [16, 20];
  const directions = Array.from({ length: count }, () => {
    const row = Array.from({ length: width }, () => random.normal());
    return row.map((x) => x / Math.hypot(...row));
  });
  const values = new Float32Array(6000 * width);
  for (let i = 0; i < 6000; i++)
    for (const f of random.permutation(count).slice(0, 2)) {
      const strength = 1 + random.uniform();
      for (let d = 0; d < width; d++) values[i * width + d]! += strength * directions[f]![d]!;
    }
  const seen: number[] = [];
  const made = await trainAutoencoder(
    { count: 6000, width, values },
    { features: 24, active: 2 },
    { steps: 500, batchSize: 256, lr: 5e-3, onProgress: (_step, _steps, missed) => seen.push(missed) },
  );
  const found = (await made.decoder.tolist()) as number[][];
  for (const row of found) assert.ok(Math.abs(Math.hypot(...row) - 1) < 1e-5);
  const nearest = directions.map((each) =>
    Math.max(...found.map((row) => row.reduce((sum, x, d) => sum + x * each[d]!, 0))),
  );
  const mean = nearest.reduce((sum, x) => sum + x, 0) / count;
  console.log(`  ${count} directions are found with a cosine of ${mean.toFixed(3)} in the mean; missed ${seen.at(-1)}`);
  // 24 random directions come as near as 0.5 or so.
  assert.ok(mean > 0.95 && Math.min(...nearest) > 0.8, nearest.join());
  assert.ok(seen.at(-1)! < 0.1 && seen.at(-1)! < seen[0]!);
});

test('exact codes cost a model nothing, and no codes what the mean costs', async () => {
  const exact = exactAutoencoder(128);
  const all = await testAutoencoder(model, tokenizer, exact, tested, place);
  assert.ok(all.unexplained < 1e-9 && Math.abs(all.recovered - 1) < 1e-4, JSON.stringify(all));
  assert.ok(all.losses.mean > all.losses.model + 0.5);
  const none = exactAutoencoder(128);
  noGrad(() => assign(none.encoder, zerosLike(none.encoder)));
  const nothing = await testAutoencoder(model, tokenizer, none, tested, place);
  assert.ok(Math.abs(nothing.recovered) < 1e-6 && nothing.active === 0, JSON.stringify(nothing));
  const short = await trainAutoencoder(points, { features: 128, active: 8 }, { steps: 60, batchSize: 256 });
  const some = await testAutoencoder(model, tokenizer, short, tested, place);
  console.log(`  60 steps: ${some.unexplained.toFixed(2)} unexplained, ${some.recovered.toFixed(2)} recovered`);
  assert.ok(some.unexplained < 0.6 && some.recovered > 0.5 && some.recovered < 1);
  assert.ok(some.active > 4 && some.active <= 8);
  // Of a model of masked tokens, too.
  const bertFolder = shippedModel('bert-small');
  const [bert, words] = [await BertForMaskedLM.fromPretrained(bertFolder), await loadTokenizer(bertFolder)];
  const rows = (await windowsFor({ model: bert, tokenizer: words }, 'sotu', { rows: 16, width: 24, seed: 1 })).learnt;
  const masked = await testAutoencoder(bert, words, exact, rows, 'blocks.0.hook_normalized_resid_post');
  assert.ok(masked.losses.mean > masked.losses.model && Math.abs(masked.recovered - 1) < 1e-4, JSON.stringify(masked));
});

test('a feature is shown where it is most active, with its values there', async () => {
  const rows = learnt.slice(0, 6);
  const own = await tokenActivations(model, rows, place);
  const found = await featuresOf(model, tokenizer, exactAutoencoder(128), rows, place, { examples: 2, around: 3 });
  assert.is(found.length, 256);
  for (const feature of [0, 5, 128 + 5]) {
    const codes = Array.from({ length: own.count }, (_, i) =>
      Math.max(0, (feature < 128 ? 1 : -1) * own.values[i * 128 + (feature % 128)]!),
    );
    const { share, most, examples } = found[feature]!;
    assert.ok(Math.abs(share - codes.filter((code) => code > 0).length / codes.length) < 1e-9);
    assert.ok(Math.abs(most - Math.max(...codes)) < 1e-4);
    const best = codes.indexOf(Math.max(...codes));
    const [row, t] = [Math.floor(best / 23), 1 + (best % 23)];
    const [first] = examples;
    const [token] = tokenizer.convertIdsToTokens([rows[row]![t]!]);
    assert.is(first!.tokens[first!.at], token!.replace(/^Ġ/, ' '));
    assert.ok(Math.abs(first!.values[first!.at]! - most) < 1e-4);
    assert.ok(first!.tokens.length <= 7 && examples.length <= 2);
  }
});

test('what cannot be an autoencoder, or a page of one, is refused in one line', async () => {
  throwsOneLine(
    () => new SparseAutoencoder({ width: 4, features: 8, active: 9 }),
    /^SparseAutoencoder: 9 of 8 features cannot be active; give 1 to 8, say 16 of 32$/,
  );
  const shape = { features: 8, active: 2 };
  await rejects(trainAutoencoder({ count: 0, width: 4, values: [] }, shape), /^trainAutoencoder: there are no activ/);
  await rejects(
    trainAutoencoder({ count: 2, width: 2, values: [1, 1, 1, 1] }, shape),
    /^trainAutoencoder: the activations' variance is 0/,
  );
  await rejects(
    trainAutoencoder({ count: 2, width: 2, values: [1, NaN, 1, 1] }, shape),
    /^trainAutoencoder: the activations' variance is NaN/,
  );
  throwsOneLine(
    () => featurePage([{ number: 0, share: 0, most: 0, examples: [] }], [], 't'),
    /^featurePage: no feature/,
  );
});

const features = [
  {
    number: 3,
    share: 0.5,
    most: 2,
    examples: [{ tokens: ['</script><b>', ' two', ' sea'], values: [0, 1, 2], at: 2 }],
  },
  { number: 7, share: 0.01, most: 4, examples: [{ tokens: [' war', ' and'], values: [4, 0], at: 0 }] },
  { number: 9, share: 0, most: 0, examples: [] },
];

test('in Chromium: features are chosen, looked for and ordered, and words of their texts said', async () => {
  const html = featurePage(features, ['<i>fact'], '<i>title');
  const { document } = parseHTML(html);
  assert.is(document.querySelectorAll('b, main i').length, 0);
  assert.not.match(html, /(src|href)=|@import|https?:/);
  assert.equal(
    [...document.querySelectorAll('tbody tr')].map((row) => [...row.children].map((cell) => cell.textContent)),
    [
      ['3', '50.00%', '2.00', '</script><b> two[ sea]'],
      ['7', '1.00%', '4.00', '[ war]'],
    ],
  );
  if (findChromium() === undefined) return console.log('  not run: there is no Chromium');
  const place = await mkdtemp(join(tmpdir(), 'tapeform-features-'));
  try {
    const file = join(place, 'page.html');
    await writeFile(file, html);
    await withPage(async (page) => {
      await page.goto(pathToFileURL(file).href);
      await page.waitFor("document.documentElement.dataset.ready === 'yes'", 30_000);
      const text = (id: string): Promise<string> => page.evaluate(`document.getElementById('${id}').textContent`);
      const set = (id: string, value: string, event: string): Promise<unknown> =>
        page.evaluate(
          `(() => { const it = document.getElementById('${id}');
            it.value = '${value}'; it.dispatchEvent(new Event('${event}')); })()`,
        );
      assert.is(await text('name'), 'Feature 7');
      await set('order', 'share', 'change');
      assert.is(await page.evaluate("document.getElementById('list').options[0].value"), '3');
      await set('list', '3', 'change');
      assert.is(await text('name'), 'Feature 3');
      assert.is(await text('about'), 'Active on 50.00% of the tokens, up to 2.00.');
      await page.evaluate("document.querySelector('.text').focus()");
      assert.is(await text('said'), 'sea: 2.00');
      await page.evaluate(
        "document.querySelector('.text').dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft' }))",
      );
      assert.is(await text('said'), 'two: 1.00');
      await set('find', 'wa', 'input');
      assert.equal([await text('name'), await text('count')], ['Feature 7', '1 of 2']);
      await set('find', 'nowhere', 'input');
      assert.equal([await text('name'), await text('count')], ['No feature', '0 of 2']);
      assert.equal([page.errors, page.lines], [[], []]);
    });
  } finally {
    await rm(place, { recursive: true, force: true });
  }
});

test('the script trains an autoencoder once, and shows its features', async () => {
  const place = await mkdtemp(join(tmpdir(), 'tapeform-sae-'));
  const [file, out] = [join(place, 'sae.safetensors'), join(place, 'page.html')];
  const small = ['--rows', '32', '--steps', '10', '--features', '64', '--active', '4'];
  const run = (...args: string[]) => runScript(['train/inspect.ts', 'sae', '--layer', '1', '--out', out, ...args]);
  try {
    const first = await run('--autoencoder', file, ...small);
    assert.is(first.code, 0, first.stderr);
    assert.match(first.stdout, /^blocks\.1\.hook_resid_post of gpt-small: 64 features, at most 4 active at once/m);
    assert.match(first.stdout, /^loss \d\.\d{3}, with reconstructions put back \d+\.\d{3}, .*% recovered$/m);
    assert.match(await readFile(out, 'utf8'), /Features of gpt-small/);
    const again = await SparseAutoencoder.load(file);
    assert.equal(again.shape, { width: 128, features: 64, active: 4 });
    const second = await run('--autoencoder', file, '--rows', '32');
    assert.is(second.code, 0, second.stderr);
    const figures = (stdout: string): string => stdout.slice(0, stdout.indexOf('file '));
    assert.is(figures(second.stdout), figures(first.stdout));
    await saveModule(file, model.transformer.lnF);
    refused(await run('--autoencoder', file), 1, /sae\.safetensors holds no sparse autoencoder/);
    refused(await run('--layer', '4'), 1, /^there is no layer 4; a GPT2LMHeadModel has layers 0 to 3$/);
  } finally {
    await rm(place, { recursive: true, force: true });
  }
});

test.run();
