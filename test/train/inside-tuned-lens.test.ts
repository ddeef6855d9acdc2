// The tuned lens against float64 arithmetic, and against the logit lens on texts that it did not learn from.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseHTML } from 'linkedom';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { assign, manualSeed, noGrad, randn, tensor } from '../../autograd/index.ts';
import { BertForMaskedLM, BertForSequenceClassification, GPT2LMHeadModel, loadTokenizer } from '../../models/index.ts';
import { shippedModel } from '../../models/io/shipped.ts';
import { residualsOf } from '../../train/inside/lens.ts';
import type { LanguageModel } from '../../train/inside/lens.ts';
import { saveModule } from '../../train/inside/module-file.ts';
import { lensDivergences, trainTunedLens, TunedLens } from '../../train/inside/tuned-lens.ts';
import { windowsFor } from '../../train/inside/view.ts';
import { rejects } from '../support/failure.ts';
import { goldenFile } from '../support/golden.ts';
import { refused, runScript } from '../support/script.ts';

const test = suite('inside, tuned lens');

const folder = shippedModel('gpt-small');
const [model, tokenizer] = [await GPT2LMHeadModel.fromPretrained(folder), await loadTokenizer(folder)];
model.eval();
const { learnt, tested } = await windowsFor({ model, tokenizer }, 'sotu', { rows: 128, width: 24, seed: 1 });

/** log softmax in float64. */
function logProbs(logits: readonly number[]): number[] {
  const most = Math.max(...logits);
  const sum = Math.log(logits.reduce((total, x) => total + Math.exp(x - most), 0));
  return logits.map((x) => x - most - sum);
}

test('divergences of a lens are those of float64, of states that it changes as float64 does', async () => {
  manualSeed(3);
  const lens = TunedLens.for(model);
  noGrad(() => lens.parameters().forEach((x) => assign(x, randn([...x.shape]).mul(0.02))));
  const rows = tested.slice(0, 3);
  const found = await lensDivergences(model, rows, lens, 2);
  assert.is(found.length, 5);
  assert.is(found.at(-1), 0);
  const inputIds = tensor(Int32Array.from(rows.flatMap((row) => [...row])), { shape: [3, 24] });
  const { states, logits } = residualsOf(model, { inputIds });
  const said = ((await logits.tolist()) as number[][][]).flat().map(logProbs);
  for (const [layer, state] of states.slice(0, -1).entries()) {
    const [weight, bias] = lens.layers.at(layer).parameters();
    const [w, b] = [(await weight!.tolist()) as number[][], (await bias!.tolist()) as number[]];
    const moved = ((await state.tolist()) as number[][][])
      .flat()
      .map((h) => h.map((x, i) => x + b[i]! + w[i]!.reduce((sum, each, j) => sum + each * h[j]!, 0)));
    const read = noGrad(() => model.lmHead.forward(model.transformer.lnF.forward(tensor(moved))));
    let sum = 0;
    for (const [t, own] of ((await read.tolist()) as number[][]).entries()) {
      const q = logProbs(own);
      sum += said[t]!.reduce((total, p, v) => total + Math.exp(p) * (p - q[v]!), 0);
    }
    const off = Math.abs(found[layer]! - sum / moved.length);
    assert.ok(off < 1e-4 * (1 + sum / moved.length), `layer ${layer}: ${found[layer]}, ${sum / moved.length}`);
  }
});

test('at first it is the logit lens; trained, it is nearer to the model at every layer but the last', async () => {
  const plain = await lensDivergences(model, tested);
  const before = await model.lmHead.weight.data();
  const seen: number[] = [];
  const options = {
    steps: 120,
    batchSize: 4,
    onProgress: (_step: number, _steps: number, kl: number) => seen.push(kl),
  };
  const lens = await trainTunedLens(model, learnt, options);
  const tuned = await lensDivergences(model, tested, lens);
  const show = (list: readonly number[]): string => list.map((x) => x.toFixed(3)).join(' ');
  console.log(`  KL by layer: logit lens ${show(plain)}; tuned lens ${show(tuned)}`);
  for (const layer of [0, 1, 2, 3]) assert.ok(tuned[layer]! < 0.9 * plain[layer]!, `layer ${layer}`);
  assert.is(seen.length, 6);
  assert.ok(seen.at(-1)! < seen[0]!);
  // The model has not changed, nor has it gradients.
  assert.equal(await model.lmHead.weight.data(), before);
  assert.ok(model.parameters().every(({ grad }) => grad === undefined));
  // What is saved is what is read.
  const place = await mkdtemp(join(tmpdir(), 'tapeform-lens-'));
  try {
    const file = join(place, 'lens.safetensors');
    await saveModule(file, lens);
    const again = await TunedLens.load(file, model);
    assert.equal(
      await lensDivergences(model, tested.slice(0, 2), again),
      await lensDivergences(model, tested.slice(0, 2), lens),
    );
    const tiny = await GPT2LMHeadModel.fromPretrained(goldenFile('tiny-gpt2'));
    await rejects(
      TunedLens.load(file, tiny),
      /lens\.safetensors does not fit this TunedLens, unexpected keys: layers\.2/,
    );
  } finally {
    await rm(place, { recursive: true, force: true });
  }
});

test('models of masked tokens have one too; classifiers and no rows are refused in one line', async () => {
  const small = shippedModel('bert-small');
  const [bert, words] = [await BertForMaskedLM.fromPretrained(small), await loadTokenizer(small)];
  const rows = await windowsFor({ model: bert, tokenizer: words }, 'sotu', { rows: 32, width: 16, seed: 1 });
  assert.equal([rows.learnt[0]![0], rows.learnt[0]![15]], [words.clsTokenId, words.sepTokenId]);
  const plain = await lensDivergences(bert, rows.tested);
  const tuned = await lensDivergences(
    bert,
    rows.tested,
    await trainTunedLens(bert, rows.learnt, { steps: 30, batchSize: 4 }),
  );
  assert.is(plain.length, 3);
  assert.ok(tuned[0]! < plain[0]! && tuned[1]! < plain[1]!, `${plain.join()}; ${tuned.join()}`);
  await rejects(trainTunedLens(model, []), /^trainTunedLens: there are no rows to learn from; give texts$/);
  await rejects(lensDivergences(model, []), /^lensDivergences: there are no rows to test on; give texts$/);
  const classifier = await BertForSequenceClassification.fromPretrained(shippedModel('spam-small'));
  await rejects(
    trainTunedLens(classifier as unknown as LanguageModel, rows.learnt),
    /^lens: a BertForSequenceClassification has no logits for each token; give a decoder/,
  );
});

test('the script makes a tuned lens once, and shows both lenses', async () => {
  const place = await mkdtemp(join(tmpdir(), 'tapeform-lens-'));
  const [file, out] = [join(place, 'lens.safetensors'), join(place, 'page.html')];
  const run = (...args: string[]) => runScript(['train/inspect.ts', 'lens', 'The state of the', '--out', out, ...args]);
  try {
    const first = await run('--tuned', file, '--steps', '8', '--rows', '32');
    assert.is(first.code, 0, first.stderr);
    assert.match(first.stdout, /^layer +logit lens +tuned lens\nembeddings +\d+\.\d{4} +\d+\.\d{4}\n/m);
    assert.match(first.stdout, /^layer 3 +0\.0000 +0\.0000$/m);
    const titles = async (): Promise<(string | null)[]> =>
      [...parseHTML(await readFile(out, 'utf8')).document.querySelectorAll('h2')].map(({ textContent }) => textContent);
    const maps = ['Tuned lens: the most', 'Logit lens: the most', 'How far each lens is'];
    assert.equal(
      (await titles()).map((title) => title!.slice(0, 20)),
      maps,
    );
    const bytes = await readFile(file);
    const second = await run('--tuned', file);
    assert.is(second.code, 0, second.stderr);
    assert.equal(await readFile(file), bytes);
    assert.equal((await titles()).length, 2);
    assert.match(second.stdout, /^by the tuned lens, behind "the"$/m);
    refused(
      await run('--tuned', file, '--model', shippedModel('bert-small')),
      1,
      /^\S*lens\.safetensors does not fit this TunedLens, unexpected keys: layers\.2/,
    );
  } finally {
    await rm(place, { recursive: true, force: true });
  }
});

test.run();
