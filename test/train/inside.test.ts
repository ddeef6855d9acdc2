// A model's inside: the logit lens, patching, ablation, heads that repeat. Patching and ablation against
// TransformerLens: test/golden/golden_activations.py.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseHTML } from 'linkedom';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { noGrad, select, softmax, sub, tensor, zeros } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import { BertForMaskedLM, GPT2LMHeadModel, loadTokenizer, Module, runWithCache } from '../../models/index.ts';
import { hookPoint, inBlock } from '../../models/hooks/points.ts';
import { shippedModel } from '../../models/io/shipped.ts';
import { activationSizes } from '../../train/inside/activation-sizes.ts';
import { heatMapPage } from '../../train/inside/heat-map-page.ts';
import { inductionScores, logProbMetric } from '../../train/inside/induction.ts';
import { activationPatching, headAblation, patched } from '../../train/inside/interventions.ts';
import { logitLens } from '../../train/inside/lens.ts';
import { readInputs } from '../../train/inside/patterns.ts';
import { linearProbes } from '../../train/inside/probes.ts';
import { largestSingular } from '../../common/largest-singular.ts';
import { nearestTokens, weightSizes } from '../../train/inside/weights.ts';
import { rejects, throwsOneLine } from '../support/failure.ts';
import { goldenFile, largestDifference, readGolden } from '../support/golden.ts';
import { i32 } from '../support/model-golden.ts';
import { refused, runScript } from '../support/script.ts';

const test = suite('inside');

const golden = JSON.parse(await readFile(goldenFile('activations.json'), 'utf8')) as {
  readonly row: number[][];
  readonly corrupted: number[][];
};
const values = await readGolden('activations.safetensors');
const tiny = (await GPT2LMHeadModel.fromPretrained(goldenFile('tiny-gpt2'))).eval();
const metric = (logits: Tensor): Tensor => {
  const last = select(logits, 1, -1);
  return sub(select(last, 1, 3), select(last, 1, 9));
};
const runs = { clean: { inputIds: i32(golden.row) }, corrupted: { inputIds: i32(golden.corrupted) } };

for (const activation of patched)
  test(`patching ${activation} brings back what it does in TransformerLens`, async () => {
    const found = await activationPatching(tiny, runs, metric, { activation });
    assert.equal([found.layers, found.width], [2, 5]);
    const off = largestDifference(found.values, values.get(`gpt2/patched/${activation}`)!);
    assert.ok(off <= 1e-5, `off by ${off}`);
  });

test('ablation takes away what it does in TransformerLens', async () => {
  const found = await headAblation(tiny, runs.clean, logProbMetric(Int32Array.from(golden.row[0]!), 1));
  assert.equal([found.layers, found.width], [2, 4]);
  const off = largestDifference(found.values, values.get('gpt2/ablated')!);
  assert.ok(off <= 1e-5, `off by ${off}`);
});

test('patching refuses in one line what tells nothing', async () => {
  await rejects(
    activationPatching(tiny, { clean: runs.clean, corrupted: { inputIds: i32([[1, 2]]) } }, metric),
    /^activationPatching: the clean text has 5 tokens and the corrupted one 2; give texts/,
  );
  await rejects(
    activationPatching(tiny, { clean: runs.clean, corrupted: runs.clean }, metric),
    /^activationPatching: the metric is .* nothing can come back/,
  );
  await rejects(
    activationPatching(tiny, runs, (logits) => logits),
    /^a metric gave \[1, 5, 97\] for logits \[1, 5, 97\]; it must give a number a row, \[1\]$/,
  );
});

test('the lens: each layer through the last norm and the head; the last one is the model', async () => {
  const folder = shippedModel('gpt-small');
  const [model, tokenizer] = [await GPT2LMHeadModel.fromPretrained(folder), await loadTokenizer(folder)];
  const text = 'The state of the';
  const { tokens, layers } = await logitLens(model, tokenizer, text, { top: 3 });
  assert.equal(
    layers.map(({ name }) => name),
    ['embeddings', 'layer 0', 'layer 1', 'layer 2', 'layer 3'],
  );
  const { inputs } = await readInputs(model, tokenizer, text);
  const { output, cache } = noGrad(() =>
    runWithCache(model, { inputIds: inputs['inputIds']! }, ['blocks.0.hook_resid_pre', /\.hook_resid_post$/]),
  );
  const states = Object.values(cache);
  const check = async (logits: Tensor, layer: number): Promise<void> => {
    const probabilities = (await noGrad(() => softmax(logits)).tolist()) as number[][][];
    for (const [t, place] of layers[layer]!.places.entries()) {
      const row = probabilities[0]![t]!;
      const best = [...row.keys()].sort((a, b) => row[b]! - row[a]!).slice(0, 3);
      assert.equal(
        place.map(({ id }) => id),
        best,
      );
      place.forEach(({ id, probability }) => assert.ok(Math.abs(probability - row[id]!) < 1e-5));
    }
  };
  for (const [layer, state] of states.entries())
    await check(
      noGrad(() => model.lmHead.forward(model.transformer.lnF.forward(state))),
      layer,
    );
  await check(output.logits, 4);
  assert.is(tokens.length, layers[0]!.places.length);
});

test('the lens of a model of masked tokens ends in what the model says; a classifier has none', async () => {
  const folder = shippedModel('bert-small');
  const [model, tokenizer] = [await BertForMaskedLM.fromPretrained(folder), await loadTokenizer(folder)];
  const text = 'The [MASK] of the United States';
  const { tokens, layers } = await logitLens(model, tokenizer, text, { top: 1 });
  const at = tokens.findIndex((token) => token.text === '[MASK]');
  const { inputs } = await readInputs(model, tokenizer, text);
  const logits = await noGrad(() => model.forward({ inputIds: inputs['inputIds']! }).logits)
    .argmax(2)
    .tolist();
  assert.is(layers.at(-1)!.places[at]![0]!.id, (logits as number[][])[0]![at]);
  assert.is(layers.length, 3);
});

/** A model of one layer whose first head attends as it is told, and whose logits are 0. */
class Scripted extends Module {
  readonly config = { vocabSize: 50 };
  readonly attends: (i: number, tokens: number) => number;

  constructor(attends: (i: number, tokens: number) => number) {
    super();
    this.attends = attends;
  }

  override forward({ inputIds }: { inputIds: Tensor }): { logits: Tensor } {
    const [rows, tokens] = inputIds.shape as [number, number];
    const pattern = new Float32Array(rows * tokens * tokens);
    for (let i = 0; i < rows * tokens; i++) pattern[i * tokens + this.attends(i % tokens, tokens)] = 1;
    inBlock('blocks.0', () => {
      hookPoint('attn.hook_pattern', tensor(pattern, { shape: [rows, 1, tokens, tokens] }));
      hookPoint('attn.hook_z', zeros([rows, tokens, 1, 4]));
    });
    return { logits: zeros([rows, tokens, this.config.vocabSize]) };
  }
}

test('scores of heads that repeat are 1 where a head does just that', async () => {
  const score = async (attends: (i: number, tokens: number) => number): Promise<number[]> => {
    const { induction, previous, duplicate, copying, logProbs } = await inductionScores(new Scripted(attends), {
      length: 6,
      rows: 2,
    });
    assert.ok(Math.abs(logProbs[0] + Math.log(50)) < 1e-5 && Math.abs(logProbs[1] + Math.log(50)) < 1e-5);
    return [induction, previous, duplicate, copying].map((map) => Number(map.values[0]!.toFixed(6)));
  };
  assert.equal(await score((i, tokens) => Math.max(0, i - tokens / 2 + 1)), [1, 0, 0, 0]);
  assert.equal(await score((i) => Math.max(0, i - 1)), [0, 1, 0, 0]);
  assert.equal(await score((i, tokens) => Math.max(0, i - tokens / 2)), [0, 0, 1, 0]);
  await rejects(inductionScores(new Scripted((_, tokens) => tokens - 1)), /sees the tokens to come; give a decoder$/);
});

test("probes read a token's own label off every layer, and the one before off those that attend", async () => {
  const model = await GPT2LMHeadModel.fromPretrained(shippedModel('gpt-small'));
  const random = new Random(3);
  const rows = Array.from({ length: 24 }, () => Int32Array.from({ length: 12 }, () => 200 + random.int(6)));
  const probe = (label: (ids: Int32Array, t: number) => number) =>
    linearProbes(
      model,
      rows.map((inputIds) => ({ inputIds, labels: inputIds.map((_, t) => label(inputIds, t)) })),
      { steps: 60, lr: 0.1 },
    );
  const own = await probe((ids, t) => ids[t]! % 2);
  assert.is(own.layers.length, 5);
  assert.ok(own.majority > 0.3 && own.majority < 0.7);
  // Six tokens are learnt by heart: the control task is as easy, so that nothing is selective.
  for (const { accuracy, control, selectivity } of own.layers) {
    assert.ok(accuracy > 0.99 && control > 0.99);
    assert.ok(Math.abs(selectivity) < 0.011);
  }
  const before = await probe((ids, t) => (t === 0 ? -100 : ids[t - 1]! % 2));
  const [embeddings, ...layers] = before.layers.map(({ accuracy }) => accuracy) as [number, ...number[]];
  console.log(`  the token before: ${[embeddings, ...layers].map((x) => x.toFixed(2)).join(', ')}`);
  assert.ok(embeddings < 0.65, `${embeddings}`);
  assert.ok(Math.max(...layers) > embeddings + 0.1);
  await rejects(linearProbes(model, [{ inputIds: [1], labels: [0] }]), /^linearProbes: 1 rows leave none to train or/);
  const same = Array.from({ length: 8 }, () => ({ inputIds: [1, 2], labels: [0, 0] }));
  await rejects(linearProbes(model, same), /^linearProbes: the labels are all the same/);
});

test('singular values, norms and principal directions are those of a matrix made of them', async () => {
  // U diag(5, 3, 1) V^T with the columns of two rotations.
  const [c, s] = [Math.cos(0.7), Math.sin(0.7)];
  const u = [c, -s, 0, s, c, 0, 0, 0, 1];
  const v = [1, 0, 0, 0, c, -s, 0, s, c];
  const sigma = [5, 3, 1];
  const matrix = Array.from({ length: 9 }, (_, at) => {
    const [i, j] = [Math.floor(at / 3), at % 3];
    return sigma.reduce((sum, value, k) => sum + u[i * 3 + k]! * value * v[j * 3 + k]!, 0);
  });
  const { values: found, right: vectors } = largestSingular(matrix, 3, 3, 3);
  assert.ok(largestDifference(found, sigma) < 1e-6, String(found));
  for (const [k, vector] of vectors.entries()) {
    const along = vector.reduce((sum, x, j) => sum + x * v[j * 3 + k]!, 0);
    assert.ok(Math.abs(Math.abs(along) - 1) < 1e-6);
  }
  const sizes = await weightSizes(tiny, { singularValues: 2 });
  const wpe = sizes.find(({ name }) => name === 'transformer.wpe.weight')!;
  const data = Float64Array.from(await tiny.transformer.wpe.weight.data(), Number);
  assert.equal(wpe.shape, [32, 32]);
  assert.ok(Math.abs(wpe.norm - Math.hypot(...data)) < 1e-5);
  assert.ok(wpe.singularValues[0]! > wpe.singularValues[1]! && wpe.stableRank > 1 && wpe.stableRank < 32);
});

test('near tokens are those of the largest cosine', async () => {
  const folder = shippedModel('gpt-small');
  const [model, tokenizer] = [await GPT2LMHeadModel.fromPretrained(folder), await loadTokenizer(folder)];
  const near = await nearestTokens(model, tokenizer, ' people', 5);
  assert.is(near.length, 5);
  assert.ok(near.every(({ similarity }, i) => i === 0 || similarity <= near[i - 1]!.similarity));
  const table = model.transformer.wte.weight;
  const row = async (id: number): Promise<number[]> => (await select(table, 0, id).tolist()) as number[];
  const [a, b] = [await row(tokenizer.idsOf(' people')[0]!), await row(near[0]!.id)];
  const cosine = a.reduce((sum, x, i) => sum + x * b[i]!, 0) / Math.hypot(...a) / Math.hypot(...b);
  assert.ok(Math.abs(near[0]!.similarity - cosine) < 1e-5);
  await rejects(nearestTokens(model, tokenizer, 'incomprehensible'), /is \d+ tokens; give text that is one/);
});

test('sizes of activations are those of their numbers', async () => {
  const rows = [golden.row[0]!, golden.corrupted[0]!.slice(0, 3)].map((ids) => Int32Array.from(ids));
  const given = rows.map((inputIds) => ({ inputIds, tokenTypeIds: new Int32Array(inputIds.length) }));
  const sizes = await activationSizes(tiny, given, { bins: 9, units: 2 });
  assert.equal(
    sizes.map(({ name }) => name).filter((name) => name.startsWith('blocks.1.')),
    ['attn_out', 'mlp.post', 'mlp_out', 'resid_post'].map((name) =>
      name === 'mlp.post' ? 'blocks.1.mlp.hook_post' : `blocks.1.hook_${name}`,
    ),
  );
  const name = 'blocks.1.hook_attn_out';
  const tokens: number[][] = [];
  for (const ids of rows) {
    const { cache } = noGrad(() => runWithCache(tiny, { inputIds: i32([[...ids]]) }, name));
    tokens.push(...((await cache[name]!.tolist()) as number[][][])[0]!);
  }
  const all = tokens.flat();
  const moment = (power: number, middle: number): number =>
    all.reduce((sum, x) => sum + (x - middle) ** power, 0) / all.length;
  const mean = moment(1, 0);
  const deviation = Math.sqrt(moment(2, mean));
  const found = sizes.find((size) => size.name === name)!;
  const near = (a: number, b: number): void => assert.ok(Math.abs(a - b) < 1e-5 * (1 + Math.abs(b)), `${a}, ${b}`);
  near(found.mean, mean);
  near(found.deviation, deviation);
  near(found.kurtosis, moment(4, mean) / deviation ** 4);
  near(found.least, Math.min(...all));
  near(found.most, Math.max(...all));
  near(
    found.bins.reduce((a, b) => a + b),
    1,
  );
  // The middle bin of nine lies within 4/9 of a deviation.
  const middle = all.filter((x) => Math.abs(x - mean) < (4 / 9) * deviation).length;
  assert.ok(Math.abs(found.bins[4]! * all.length - middle) < 1 + 1e-6);
  const units = tokens[0]!.map((_, d) => Math.hypot(...tokens.map((token) => token[d]!)));
  const order = [...units.keys()].sort((a, b) => units[b]! - units[a]!);
  assert.equal(
    found.units.map(({ unit }) => unit),
    order.slice(0, 2),
  );
  near(found.units[0]!.times, units[order[0]!]! / units[order[order.length - 1 - (units.length >> 1)]!]!);
});

test('a page of maps has all values, and none where there is none', () => {
  const html = heatMapPage(
    [{ title: '<b>', rows: ['a', 'b'], columns: ['</script>', 'd'], values: [0.5, -1, NaN, 0] }],
    'maps',
  );
  const { document } = parseHTML(html);
  assert.is(document.querySelectorAll('main b').length, 0);
  assert.equal(
    [...document.querySelectorAll('tbody td')].map(({ textContent }) => textContent),
    ['0.500', '-1.000', '', '0.000'],
  );
  assert.not.match(html, /(src|href)=|@import|https?:/);
  throwsOneLine(
    () => heatMapPage([{ title: 'x', rows: ['a'], columns: ['b'], values: [] }], 't'),
    /^heatMapPage: "x" has 0 values for 1 rows and 1 columns$/,
  );
});

test('the script prints and draws each view, and refuses in one line', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tapeform-inspect-'));
  const run = (...args: string[]) => runScript(['train/inspect.ts', ...args, '--out', join(folder, 'page.html')]);
  try {
    const lens = await run('lens', 'The state of the');
    assert.is(lens.code, 0, lens.stderr);
    assert.match(lens.stdout, /^layer 3 {5}\S+ 0\.\d{3} /m);
    assert.match(await readFile(join(folder, 'page.html'), 'utf8'), /Logit lens of gpt-small/);
    const words = ['--answer', ' country', '--wrong', ' people'];
    const patch = await run('patch', ...words, 'the people of this', 'the peace of this');
    assert.is(patch.code, 0, patch.stderr);
    assert.match(patch.stdout, /clean -?\d+\.\d{3}, corrupted/);
    const nearest = await run('nearest', ' people', ' law');
    assert.is(nearest.code, 0, nearest.stderr);
    assert.match(nearest.stdout, /^ people +nation 0\.\d\d /m);
    assert.match(await readFile(join(folder, 'page.html'), 'utf8'), /Embeddings of gpt-small/);
    const sizes = await run('weights', '--model', shippedModel('bert-small'));
    assert.is(sizes.code, 0, sizes.stderr);
    assert.match(sizes.stdout, /^bert\.embeddings\.word_embeddings\.weight +8000 x 128( +-?\d+\.\d+%?){6} +▁+[▂-█]/m);
    assert.match(
      await readFile(join(folder, 'page.html'), 'utf8'),
      /<svg role="img" aria-label="histogram of bert\.pooler|>stable rank<\/th>/,
    );
    const activations = await run('activations', 'The state of the Union', '--model', shippedModel('bert-small'));
    assert.is(activations.code, 0, activations.stderr);
    assert.match(activations.stdout, /^blocks\.1\.hook_normalized_resid_post( +-?\d+\.\d+%?){6} .*[▁█]/m);
    assert.match(await readFile(join(folder, 'page.html'), 'utf8'), /Activations of bert-small/);
    refused(await run('patch', 'a', 'b'), 2, /^inspect: patch needs --answer and --wrong/);
    refused(await run('lens', 'a', 'b'), 2, /^inspect: lens takes 1 texts, got 2$/);
    refused(await run('heads', '--model', shippedModel('bert-small')), 2, /^inspect: heads is for decoders/);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test.run();
