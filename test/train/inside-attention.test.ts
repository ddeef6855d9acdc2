// Attention as pictures: what the page holds, and in Chromium, where there is one, what it does.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseHTML } from 'linkedom';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { noGrad } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import { BertForMaskedLM, GPT2LMHeadModel, LlamaForCausalLM, loadModel, loadTokenizer } from '../../models/index.ts';
import { shippedModel } from '../../models/io/shipped.ts';
import { attentionPage } from '../../train/inside/attention-page.ts';
import { attentionPatterns, readInputs } from '../../train/inside/patterns.ts';
import type { AttentionStack } from '../../train/inside/patterns.ts';
import { trainCharacters } from '../../train/index.ts';
import { findChromium, withPage } from '../support/chromium.ts';
import { rejects } from '../support/failure.ts';
import { largestDifference } from '../support/golden.ts';
import { refused, runScript } from '../support/script.ts';

const test = suite('attention as pictures');

const gptFolder = shippedModel('gpt-small');
const gptTokenizer = await loadTokenizer(gptFolder);
const gpt = await GPT2LMHeadModel.fromPretrained(gptFolder);

/** What a page's script has for each stack. */
interface PageData {
  readonly from: string[];
  readonly to: string[];
  readonly heads: number[];
  readonly weights: string;
  readonly neurons: { readonly layers: readonly { readonly layer: number }[] };
}

const dataIn = (html: string): PageData[] => JSON.parse(/^<script>const data = (.*);$/m.exec(html)![1]!) as PageData[];

async function weightsIn({ weights }: PageData): Promise<Float32Array> {
  const stream = new Blob([Buffer.from(weights, 'base64')]).stream().pipeThrough(new DecompressionStream('deflate'));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  return Float32Array.from(bytes, (byte) => (byte / 255) ** 2);
}

/** Attention of random numbers: softmax of normal scores that some tokens draw more of. */
function randomStack(tokens: number, layers: number, heads: number, width = 64): AttentionStack {
  const random = new Random(7);
  const shown = Array.from({ length: tokens }, (_, t) => ({ text: `word${t}`, side: 0 }));
  return {
    name: 'self-attention',
    from: shown,
    to: shown,
    layers: Array.from({ length: layers }, () => {
      const weights = new Float32Array(heads * tokens * tokens);
      for (let row = 0; row < heads * tokens; row++) {
        const scores = Array.from({ length: tokens }, () => Math.exp(2 * (random.uniform() + random.uniform() - 1)));
        const sum = scores.reduce((a, b) => a + b);
        weights.set(
          scores.map((score) => score / sum),
          row * tokens,
        );
      }
      const normal = (): Float32Array => Float32Array.from({ length: heads * tokens * width }, () => random.normal());
      return { heads, weights, vectors: { width, queries: normal(), keyHeads: heads, keys: normal() } };
    }),
  };
}

test('the weights are those of the model; a pair has two sides; an encoder-decoder has three stacks', async () => {
  const text = 'The state of the Union';
  const [stack] = await attentionPatterns(gpt, gptTokenizer, text);
  const { inputs } = await readInputs(gpt, gptTokenizer, text);
  const { attentions } = noGrad(() => gpt.forward({ inputIds: inputs['inputIds']!, outputAttentions: true }));
  assert.is(stack!.layers.length, 4);
  for (const [i, { heads, weights }] of stack!.layers.entries()) {
    assert.is(heads, 4);
    assert.ok(largestDifference(weights, await attentions![i]!.data()) <= 1e-6);
  }
  assert.equal(stack!.from.map((token) => token.text).join(''), text.replaceAll(' ', ''));
  // Queries and keys are those that the weights come of.
  for (const { heads, weights, vectors } of stack!.layers) {
    const { width, queries, keys } = vectors!;
    const count = stack!.from.length;
    for (let head = 0; head < heads; head++)
      for (let i = 0; i < count; i++) {
        const at = (x: Float32Array, t: number): Float32Array =>
          x.subarray((head * count + t) * width).subarray(0, width);
        const query = at(queries, i);
        const scores = Array.from({ length: i + 1 }, (_, j) =>
          Math.exp(at(keys, j).reduce((sum, key, d) => sum + key * query[d]!, 0) / Math.sqrt(width)),
        );
        const sum = scores.reduce((a, b) => a + b);
        const row = weights.subarray((head * count + i) * count).subarray(0, i + 1);
        assert.ok(
          largestDifference(
            Float32Array.from(scores, (x) => x / sum),
            row,
          ) <= 1e-5,
          `head ${head}, token ${i}`,
        );
      }
  }

  const folder = shippedModel('bert-small');
  const [bert, tokenizer] = [await BertForMaskedLM.fromPretrained(folder), await loadTokenizer(folder)];
  const [pair] = await attentionPatterns(bert, tokenizer, ['the people', 'a nation']);
  assert.equal(
    pair!.from.map(({ side }) => side),
    [-1, 0, 0, -1, 1, 1, -1],
  );

  const mt = shippedModel('translation-en-fr-small');
  const [translator, words] = [await loadModel(mt), await loadTokenizer(mt)];
  const stacks = await attentionPatterns(translator, words, 'Opens the selected file.');
  assert.equal(
    stacks.map(({ name, layers }) => [name, layers.length]),
    [
      ["encoder's attention", 3],
      ["decoder's attention", 2],
      ['attention to the source', 2],
    ],
  );
  for (const { from, to, layers } of stacks)
    for (const { heads, weights } of layers) {
      assert.is(weights.length, heads * from.length * to.length);
      const sum = weights.subarray(0, to.length).reduce((a, b) => a + b);
      assert.ok(Math.abs(sum - 1) < 1e-5);
    }
  await rejects(attentionPatterns(translator, words, ' '), /^attention: the source is empty; give a text$/);
});

test('a page has all weights in 8 bits, needs no other file, and what tokens hold stays text', async () => {
  const from = ['</script><b>', '"&', 'c'].map((text) => ({ text, side: 0 }));
  const weights = Float32Array.from([1, 0, 0, 0.5, 0.5, 0, 0.02, 0.001, 0.979]);
  const stack = { name: 'self-attention', from, to: from, layers: [{ heads: 1, weights }] } as const;
  const html = await attentionPage([{ text: '<i>a</i>', stacks: [stack] }], '<i>title');
  const { document } = parseHTML(html);
  assert.is(document.querySelector('h1')!.textContent, '<i>title');
  assert.is(document.querySelectorAll('b, main i').length, 0);
  assert.not.match(html, /(src|href)=|@import|https?:/);
  const [data] = dataIn(html);
  assert.equal(data!.from, ['</script><b>', '"&', 'c']);
  const kept = await weightsIn(data!);
  for (const [i, weight] of weights.entries())
    assert.ok(Math.abs(kept[i]! - weight) <= Math.sqrt(weight) / 255 + 1e-5, `${kept[i]} for ${weight}`);
  await rejects(attentionPage([]), /^attentionPage: there are no layers to show/);
});

test('128 tokens of 12 layers of 12 heads take less than 3 MB, with queries and keys of three layers', async () => {
  const shown = [{ text: 'many', stacks: [randomStack(128, 12, 12)] }];
  const kept = (html: string): number[] => dataIn(html)[0]!.neurons.layers.map(({ layer }) => layer);
  const html = await attentionPage(shown);
  console.log(`  ${(html.length / 1e6).toFixed(2)} MB`);
  assert.ok(html.length < 3e6);
  assert.equal(kept(html), [0, 1, 2]);
  assert.equal(kept(await attentionPage(shown, 'Attention', { layer: 11 })), [11, 0, 1]);
  await rejects(attentionPage(shown, 'Attention', { layer: 12 }), /there is no layer 12; layers are 0 to 11$/);
});

test('heads of queries find the keys that they share', async () => {
  const config = { vocabSize: 30, hiddenSize: 16, intermediateSize: 16, numHiddenLayers: 1, numAttentionHeads: 4 };
  const model = LlamaForCausalLM.fromConfig({ ...config, numKeyValueHeads: 2, maxPositionEmbeddings: 32 });
  const tokenizer = await trainCharacters(['abcdefg']);
  const [stack] = await attentionPatterns(model, tokenizer, 'abcdef');
  const { heads, weights, vectors } = stack!.layers[0]!;
  const { width, queries, keyHeads, keys } = vectors!;
  assert.equal([heads, keyHeads, width, keys.length], [4, 2, 4, 2 * 6 * 4]);
  // Of the last token and head 3, whose keys are those of head 1; turned, as the scores take them.
  const at = (x: Float32Array, head: number, t: number): Float32Array => x.subarray((head * 6 + t) * 4).subarray(0, 4);
  const scores = Array.from({ length: 6 }, (_, j) =>
    Math.exp(at(keys, 1, j).reduce((sum, key, d) => sum + key * at(queries, 3, 5)[d]!, 0) / 2),
  );
  const sum = scores.reduce((a, b) => a + b);
  assert.ok(
    largestDifference(
      Float32Array.from(scores, (x) => x / sum),
      weights.subarray(23 * 6, 24 * 6),
    ) <= 1e-6,
  );
});

test('in Chromium: layers, heads and tokens are chosen by mouse and by keys, and values are said', async () => {
  if (findChromium() === undefined) return console.log('  not run: there is no Chromium');
  const folder = await mkdtemp(join(tmpdir(), 'tapeform-attention-'));
  try {
    const stacks = await attentionPatterns(gpt, gptTokenizer, 'The state of the Union');
    const [{ from, layers }] = stacks as [AttentionStack];
    const file = join(folder, 'page.html');
    await writeFile(file, await attentionPage([{ text: 'The state of the Union', stacks }]));
    const weight = (layer: number, head: number, i: number, j: number): string => {
      const byte = Math.round(255 * Math.sqrt(layers[layer]!.weights[(head * from.length + i) * from.length + j]!));
      return ((byte / 255) ** 2).toFixed(3);
    };
    await withPage(async (page) => {
      for (const width of [390, 1440]) {
        await page.send('Emulation.setDeviceMetricsOverride', {
          width,
          height: 900,
          deviceScaleFactor: 1,
          mobile: false,
        });
        await page.goto(`${pathToFileURL(file).href}?${width}`);
        await page.waitFor("document.documentElement.dataset.ready === 'yes'", 30_000);
        assert.ok((await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth')) <= 0);
      }
      const said = (): Promise<string> => page.evaluate("document.getElementById('said').textContent");
      const press = (id: string, key: string): Promise<unknown> =>
        page.evaluate(
          `document.getElementById('${id}')` +
            `.dispatchEvent(new KeyboardEvent('keydown', { key: '${key}', bubbles: true }))`,
        );
      assert.is(await page.evaluate("document.querySelectorAll('#all button').length"), 16);
      // A thumbnail chooses its head; arrow keys go on from there.
      await page.evaluate(`document.querySelector('[data-at="2 1"]').click()`);
      assert.is(await said(), 'layer 2, head 1');
      await press('all', 'ArrowRight');
      assert.is(await page.evaluate("document.getElementById('onename').textContent"), 'One head: layer 2, head 2');
      assert.is(await page.evaluate('document.activeElement.dataset.at'), '2 2');
      // In the map arrow keys go from cell to cell.
      await press('one', 'ArrowDown');
      await press('one', 'ArrowDown');
      const [i, j] = [2, 0];
      assert.is(await said(), `${from[i]!.text} (2) attends to ${from[j]!.text} (0): ${weight(2, 2, i, j)}`);
      // The mouse finds the same cell.
      await page.evaluate("document.getElementById('one').scrollIntoView()");
      const at = await page.evaluate<{ x: number; y: number }>(
        `(() => { const { left, top, width, height } = document.getElementById('one').getBoundingClientRect();
          return { x: left + width * 0.4, y: top + height * 0.9 }; })()`,
      );
      await page.send('Input.dispatchMouseEvent', { type: 'mouseMoved', ...at });
      await page.waitFor("/attends to .*: \\d\\.\\d{3}$/.test(document.getElementById('said').textContent)", 5000);
      // Lines: a token by keys, then the choice of layer.
      await press('lines', 'ArrowDown');
      await press('lines', 'ArrowDown');
      assert.match(await said(), new RegExp(`^${from[1]!.text} attends to \\S+ 0\\.\\d{3}, \\S+ [01]\\.\\d{3}`));
      assert.is(await page.evaluate("document.querySelector('#from .here').textContent"), from[1]!.text);
      await page.evaluate(
        `(() => { const layer = document.getElementById('layer');
          layer.value = 3; layer.dispatchEvent(new Event('change')); })()`,
      );
      assert.is(
        await page.evaluate("document.getElementById('linesname').textContent"),
        'From token to token: layer 3',
      );
      const rows = await page.evaluate<number>("document.querySelectorAll('#most tbody tr').length");
      assert.is(rows, from.length);
      // Query and keys: of layer 3, head 2 and the token chosen; the third row is the second token's key.
      await page.evaluate(
        `(() => { const token = document.getElementById('token');
          token.value = 4; token.dispatchEvent(new Event('change')); })()`,
      );
      for (const key of ['ArrowDown', 'ArrowDown', 'ArrowRight']) await press('products', key);
      const { queries, keys, width } = layers[3]!.vectors!;
      const place = (t: number): number => (2 * from.length + t) * width + 1;
      const found = /^query times key of (\S+) \((\d)\), number 1: (-?\d+\.\d\d)$/.exec(await said());
      assert.equal(found?.slice(1, 3), [from[1]!.text, '1']);
      const product = queries[place(4)]! * keys[place(1)]!;
      assert.ok(Math.abs(Number(found![3]) - product) <= 0.1, `${found![3]}, expected ${product}`);
      const score = await page.evaluate<string>("document.querySelectorAll('#scores tbody tr')[1].textContent");
      assert.match(score, new RegExp(`^${from[1]!.text}-?\\d+\\.\\d\\d${weight(3, 2, 4, 1)}$`));
      assert.equal([page.errors, page.lines], [[], []]);
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('the script writes the page, and refuses in one line', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tapeform-inspect-'));
  try {
    const out = join(folder, 'a.html');
    const done = await runScript(['train/inspect.ts', 'attention', '--out', out, 'The state', 'of the Union']);
    assert.is(done.code, 0, done.stderr);
    assert.match(done.stdout, /^self-attention: 4 layers, \d tokens attend to \d$/m);
    assert.is(dataIn(await readFile(out, 'utf8')).length, 2);
    refused(
      await runScript(['train/inspect.ts', 'atention', 'a']),
      2,
      /^inspect: there is no view "atention"; use attention/,
    );
    refused(
      await runScript(['train/inspect.ts', 'attention', 'a', '--text-pair', 'b', '--text-pair', 'c']),
      2,
      /^inspect: 1 texts but 2 of --text-pair/,
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test.run();
