// Maps of tokens and texts against umap-learn and scikit-learn (test/golden/golden_umap.py), and their page.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseHTML } from 'linkedom';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../common/random.ts';
import { GPT2LMHeadModel, loadTokenizer, SentenceTransformer } from '../../models/index.ts';
import { shippedModel } from '../../models/io/shipped.ts';
import { principalMap, textVectors, tokenVectors } from '../../train/inside/embedding-map.ts';
import { scatterLines, scatterPage } from '../../train/inside/scatter.ts';
import { curveOf, fuzzyGraph, trustworthiness, umap } from '../../train/inside/umap.ts';
import type { Points } from '../../train/inside/points.ts';
import { findChromium, withPage } from '../support/chromium.ts';
import { rejects, throwsOneLine } from '../support/failure.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';
import { refused, runScript } from '../support/script.ts';

const test = suite('inside, maps');

const golden = JSON.parse(await readFile(goldenFile('umap.json'), 'utf8')) as {
  readonly points: number[][];
  readonly neighbours: number;
  readonly graphs: Readonly<Record<'cosine' | 'euclidean', number[]>>;
  readonly curves: readonly { minDist: number; a: number; b: number }[];
  readonly map: [number, number][];
  readonly trustworthiness: Readonly<Record<'cosine' | 'euclidean', number>>;
};
const { neighbours } = golden;
const points: Points = { count: golden.points.length, width: 6, values: golden.points.flat() };
const metrics = ['cosine', 'euclidean'] as const;

/** The cross-entropy of a graph and a map, which UMAP lowers (McInnes et al. 2018, definition 10). */
function crossEntropyOf(map: readonly (readonly [number, number])[]): number {
  const { a, b } = curveOf(0.1);
  let sum = 0;
  for (const [at, weight] of golden.graphs.cosine.entries()) {
    const [i, j] = [Math.floor(at / map.length), at % map.length];
    if (i === j) continue;
    const square = (map[i]![0] - map[j]![0]) ** 2 + (map[i]![1] - map[j]![1]) ** 2;
    const near = Math.min(1 - 1e-9, Math.max(1e-9, 1 / (1 + a * square ** b)));
    sum -= weight * Math.log(near) + (1 - weight) * Math.log(1 - near);
  }
  return sum;
}

test("UMAP's graph and curve are umap-learn's", () => {
  for (const metric of metrics) {
    const { from, to, weights } = fuzzyGraph(points, { neighbours, metric });
    const dense = new Float64Array(points.count ** 2);
    weights.forEach((weight, edge) => (dense[from[edge]! * points.count + to[edge]!] = weight));
    const off = largestDifference(dense, golden.graphs[metric]);
    assert.ok(off < 3e-5, `${metric}: off by ${off}`); // umap-learn's are of float32, found to 1e-5
  }
  for (const { minDist, a, b } of golden.curves) {
    const found = curveOf(minDist);
    assert.ok(Math.abs(found.a - a) < 1e-5 && Math.abs(found.b - b) < 1e-5, JSON.stringify(found));
  }
});

test("UMAP's map is as good as umap-learn's, and the same for the same seed", () => {
  for (const metric of metrics) {
    const found = trustworthiness(points, golden.map, { neighbours, metric });
    assert.ok(Math.abs(found - golden.trustworthiness[metric]) < 1e-9, `${found}`);
  }
  const { points: start } = principalMap(points);
  const theirs = crossEntropyOf(golden.map);
  for (const seed of [0, 1, 2]) {
    const map = umap(points, start, { neighbours, seed });
    const [own, trust] = [crossEntropyOf(map), trustworthiness(points, map, { neighbours })];
    console.log(`  cross-entropy ${own.toFixed(0)} and umap-learn's ${theirs.toFixed(0)}, trust ${trust.toFixed(3)}`);
    assert.ok(own < 1.05 * theirs);
    assert.ok(trust > golden.trustworthiness.cosine - 0.02);
    if (seed === 0) assert.equal(umap(points, start, { neighbours, seed }), map);
  }
  const random = new Random(1);
  const anywhere = golden.map.map((): [number, number] => [random.uniform(), random.uniform()]);
  assert.ok(crossEntropyOf(anywhere) > 1.5 * theirs && trustworthiness(points, anywhere, { neighbours }) < 0.7);
  throwsOneLine(() => fuzzyGraph({ count: 2, width: 1, values: [1, NaN] }), /^umap: the numbers of point 1 are not/);
  throwsOneLine(() => fuzzyGraph({ count: 1, width: 1, values: [1] }), /^umap: 1 points with 15 neighbours make no/);
});

test('few points, equal points and zeros have maps too', () => {
  for (const values of [
    [1, 2, 3, 4, 5, 6],
    [1, 1, 1, 1, 1, 1],
    [0, 0, 0, 0, 1, 1],
  ]) {
    const few = { count: 3, width: 2, values };
    const { points: main, shares } = principalMap(few);
    assert.ok([...main.flat(), ...shares, ...umap(few, main).flat()].every(Number.isFinite), values.join());
  }
  throwsOneLine(
    () => principalMap({ count: 2, width: 2, values: [1, 2, 3, 4] }),
    /^principalMap: 2 points make no map/,
  );
});

test('main directions are those of the covariance', () => {
  const { points: map, shares } = principalMap(points);
  for (const side of [0, 1] as const) assert.ok(Math.abs(map.reduce((sum, point) => sum + point[side], 0)) < 1e-9);
  // Along them the points are uncorrelated, and have these shares of the variance.
  assert.ok(Math.abs(map.reduce((sum, [x, y]) => sum + x * y, 0)) < 1e-6);
  const middle = golden.points[0]!.map((_, d) => golden.points.reduce((sum, p) => sum + p[d]!, 0) / points.count);
  const total = golden.points.flat().reduce((sum, x, i) => sum + (x - middle[i % 6]!) ** 2, 0);
  for (const side of [0, 1] as const) {
    const own = map.reduce((sum, point) => sum + point[side] ** 2, 0);
    assert.ok(Math.abs(own / total - shares[side]) < 1e-9);
  }
  assert.ok(shares[0] > shares[1] && shares[0] + shares[1] < 1);
});

test("a text's vector is its tokens' mean, as of sentence-transformers; a token's its embedding", async () => {
  const sentences = await SentenceTransformer.fromPretrained(shippedModel('bert-small'));
  const texts = ['The state of the Union', 'peace', 'a long and happy time at sea'];
  const found = await textVectors(sentences.encoder, sentences.tokenizer, texts, { batchSize: 2 });
  const wanted = await sentences.encode(texts);
  assert.equal([found.count, found.width], [3, 128]);
  for (const [i, vector] of wanted.entries()) {
    const off = largestDifference(Array.from(found.values).slice(i * 128, (i + 1) * 128), vector);
    assert.ok(off < 1e-5, `off by ${off}`);
  }
  const folder = shippedModel('gpt-small');
  const [gpt, tokenizer] = [await GPT2LMHeadModel.fromPretrained(folder), await loadTokenizer(folder)];
  const { values } = await tokenVectors(gpt, tokenizer, [' war', ' peace']);
  const table = await gpt.transformer.wte.weight.data();
  const at = 128 * tokenizer.idsOf(' peace')[0]!;
  assert.equal(Array.from(values).slice(128), Array.from(table.subarray(at, at + 128), Number));
  await rejects(textVectors(gpt, tokenizer, texts, { layer: 4 }), /^there is no layer 4; a GPT2LMHeadModel has layers/);
});

const scatter = {
  texts: ['</script><b>a', 'two', 'three', 'four'],
  labels: [0, 0, 1, 1],
  labelNames: ['<i>left', 'right'],
  maps: [
    {
      name: 'one',
      note: 'first',
      points: [
        [0, 0],
        [1, 0],
        [9, 0],
        [10, 10],
      ] as const,
    },
    {
      name: 'other',
      note: 'second',
      points: [
        [0, 0],
        [0, 1],
        [0, 2],
        [0, 3],
      ] as const,
    },
  ],
};

test('a plot of letters has every label where its points are; words stand for what has none', () => {
  const lines = scatterLines(scatter, scatter.maps[0]!.points, { columns: 11, lines: 3 }).split('\n');
  assert.equal(lines, [
    '+-----------+',
    '|          x|',
    '|           |',
    '|oo       x |',
    '+-----------+',
    'o <i>left   x right',
  ]);
  const { labels: _, labelNames: __, ...words } = scatter;
  const plain = scatterLines(words, scatter.maps[1]!.points, { columns: 20, lines: 4 });
  for (const word of scatter.texts) assert.ok(plain.includes(word), plain);
});

test('a page of points needs no other file, and what texts hold stays text', () => {
  const html = scatterPage(scatter, '<i>title');
  const { document } = parseHTML(html);
  assert.is(document.querySelectorAll('b, main i').length, 0);
  assert.not.match(html, /(src|href)=|@import|https?:/);
  assert.equal(
    [...document.querySelectorAll('tbody tr')].map((row) => [...row.children].map((cell) => cell.textContent)),
    [
      ['</script><b>a', '<i>left', '0', '0', '0', '0'],
      ['two', '<i>left', '1', '0', '0', '1'],
      ['three', 'right', '9', '0', '0', '2'],
      ['four', 'right', '10', '10', '0', '3'],
    ],
  );
  throwsOneLine(
    () => scatterPage({ texts: ['a'], maps: [] }, 't'),
    /^scatterPage: 1 texts, no labels, maps of nothing/,
  );
});

test('in Chromium: points are found by mouse, keys and words, labels hidden, parts seen closer', async () => {
  if (findChromium() === undefined) return console.log('  not run: there is no Chromium');
  const folder = await mkdtemp(join(tmpdir(), 'tapeform-scatter-'));
  try {
    const file = join(folder, 'page.html');
    await writeFile(file, scatterPage(scatter, 'points'));
    await withPage(async (page) => {
      await page.goto(pathToFileURL(file).href);
      await page.waitFor("document.documentElement.dataset.ready === 'yes'", 30_000);
      const said = (): Promise<string> => page.evaluate("document.getElementById('said').textContent");
      const press = (key: string): Promise<unknown> =>
        page.evaluate(
          `document.getElementById('map')` +
            `.dispatchEvent(new KeyboardEvent('keydown', { key: '${key}', bubbles: true }))`,
        );
      const change = (selector: string): Promise<unknown> =>
        page.evaluate(`document.querySelector('${selector}').click()`);
      await press('Home');
      assert.is(await said(), '<i>left: </script><b>a');
      await press('ArrowRight');
      assert.is(await said(), '<i>left: two');
      await press('ArrowRight');
      assert.is(await said(), 'right: three');
      await press('ArrowUp');
      assert.is(await said(), 'right: four');
      // The mouse finds the point at the lower left.
      await page.evaluate("document.getElementById('map').scrollIntoView()");
      const corner = await page.evaluate<{ x: number; y: number }>(
        `(() => { const { left, bottom } = document.getElementById('map').getBoundingClientRect();
          return { x: left + 20, y: bottom - 20 }; })()`,
      );
      await page.send('Input.dispatchMouseEvent', { type: 'mouseMoved', ...corner });
      await page.waitFor("document.getElementById('said').textContent.endsWith('<b>a')", 5000);
      // What is hidden is passed over.
      await change('#key input[value="0"]');
      await press('Home');
      assert.is(await said(), 'right: three');
      await change('#key input[value="0"]');
      await page.evaluate(
        `(() => { const find = document.getElementById('find');
          find.value = 'T'; find.dispatchEvent(new Event('input')); })()`,
      );
      assert.is(await said(), '3 of 4 texts have "t"');
      await change('input[value="1"][name=map]');
      assert.is(await page.evaluate("document.getElementById('note').textContent"), 'second');
      // Closer, the next point is brought into view.
      await press('Home');
      for (let i = 0; i < 6; i++) await press('+');
      await press('End');
      assert.is(await said(), 'right: four');
      await press('Escape');
      assert.equal([page.errors, page.lines], [[], []]);
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('the script draws maps of tokens and of texts, and probes by layer; it refuses in one line', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tapeform-maps-'));
  const out = join(folder, 'page.html');
  const run = (...args: string[]) => runScript(['train/inspect.ts', ...args, '--out', out]);
  try {
    const tokens = await run('map', ' war', ' peace', ' sea', ' ship', ' law');
    assert.is(tokens.code, 0, tokens.stderr);
    assert.match(tokens.stdout, /^UMAP: .*\n\+-+\+\n\|[^]*\bpeace\b[^]*^PCA: The two main directions, which have \d/m);
    assert.match(await readFile(out, 'utf8'), /Embeddings of gpt-small/);
    const data = join(folder, 'texts.csv');
    const nouns = ['war', 'peace', 'law', 'people', 'country', 'state', 'power', 'treaty'];
    const rows = nouns.flatMap((noun) => [`the ${noun} of the people,state`, `the ${noun} of the whale at sea,sea`]);
    await writeFile(data, ['text,label', ...rows].join('\n'));
    const texts = await run('map', '--data', data, '--layer', '1');
    assert.is(texts.code, 0, texts.stderr);
    assert.match(texts.stdout, /^o sea {3}x state$/m);
    assert.match(await readFile(out, 'utf8'), /Texts in the space of gpt-small behind layer 1/);
    const probes = await run('probes', '--data', data);
    assert.is(probes.code, 0, probes.stderr);
    assert.match(probes.stdout, /^linear probes read the label of its text, sea or state, off single tokens/m);
    assert.match(probes.stdout, /^layer 3 +[01]\.\d{3} +[01]\.\d{3} +-?[01]\.\d{3} +#*$/m);
    const tagged = join(folder, 'tagged.conll');
    const sentences = nouns.flatMap((noun) => ['the', 'a'].map((word) => `${word} O\n${noun} B-NOUN\nis O\n`));
    await writeFile(tagged, sentences.map((lines, i) => `${lines}${i} O\n`).join('\n'));
    const words = await run('probes', '--data', tagged, '--model', shippedModel('bert-small'));
    assert.is(words.code, 0, words.stderr);
    assert.match(words.stdout, /^linear probes read the tag of a word, O, B-NOUN, I-NOUN, off its first token/m);
    refused(await run('map', ' war', ' peace'), 2, /^inspect: 2 points make no map; give three or more$/);
    refused(await run('map'), 2, /^inspect: map takes three tokens or more, or --data/);
    refused(await run('probes'), 2, /^inspect: probes needs --data, words with tags/);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test.run();
