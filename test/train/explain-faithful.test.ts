// Whether measures of faithfulness measure it, and whether methods find words that were planted.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../common/random.ts';
import { BertConfig, BertForMaskedLM, loadModel, loadTokenizer } from '../../models/index.ts';
import { classifyTexts } from '../../models/pipelines/text-classification.ts';
import { compareMethods, comparisonTable, shareFound } from '../../train/explain/compare-methods.ts';
import { counterfactual, counterfactualLines, counterfactualPage } from '../../train/explain/counterfactual.ts';
import type { Counterfactual } from '../../train/explain/counterfactual.ts';
import { explain } from '../../train/explain/explain.ts';
import { faithfulness, randomisedCorrelation, sensitivity } from '../../train/explain/faithfulness.ts';
import { plantedTexts, trainPlanted } from '../../train/explain/planted.ts';
import { rejects } from '../support/failure.ts';
import { goldenFile } from '../support/golden.ts';
import { refused, runScript } from '../support/script.ts';

const test = suite('faithful explanations');

/** f(kept) = the sum of what kept tokens are worth. */
const sumOf = (worth: readonly number[]) => ({
  features: [...worth.keys()],
  output: worth.reduce((a, b) => a + b, 0),
  values: (kept: readonly Uint8Array[]) =>
    Promise.resolve(Float64Array.from(kept, (bits) => bits.reduce((sum, bit, i) => sum + bit * worth[i]!, 0))),
});

test('the measures of a sum are those computed by hand', async () => {
  const worth = [4, 3, 2, 1];
  const found = await faithfulness(sumOf(worth), worth);
  // 10 to 50% of four tokens are 1, 1, 1, 2 and 2 of them.
  assert.ok(Math.abs(found.comprehensiveness - (4 + 4 + 4 + 7 + 7) / 5) < 1e-12);
  assert.ok(Math.abs(found.sufficiency - (6 + 6 + 6 + 3 + 3) / 5) < 1e-12);
  assert.ok(Math.abs(found.deletion - (10 / 2 + 6 + 3 + 1) / 4) < 1e-12);
  assert.ok(Math.abs(found.insertion - (4 + 7 + 9 + 10 / 2) / 4) < 1e-12);
  assert.ok(found.infidelity < 1e-20);
});

test('scores that turn the truth round are worse by each measure', async () => {
  const worth = [4, 3, 2, 1, 0.5, -2];
  const [right, wrong] = [
    await faithfulness(sumOf(worth), worth),
    await faithfulness(
      sumOf(worth),
      worth.map((x) => -x),
    ),
  ];
  assert.ok(right.comprehensiveness > wrong.comprehensiveness && right.sufficiency < wrong.sufficiency);
  assert.ok(right.deletion < wrong.deletion && right.insertion > wrong.insertion);
  assert.ok(right.infidelity < wrong.infidelity);
});

test('the share that was found', () => {
  assert.is(shareFound([0, 3, 1, 2], [1, 3]), 1);
  assert.is(shareFound([0, 3, 1, 2], [1, 0]), 0.5);
});

test('weights are moved and shuffled for a while only', async () => {
  const folder = goldenFile('tiny-explain');
  const [model, tokenizer] = [await loadModel(folder), await loadTokenizer(folder)];
  const text = 'the film was not very good , but we saw it';
  const scoresOf = async () => (await explain(model, tokenizer, text, { method: 'occlusion', target: 'good' })).scores;
  const before = await Promise.all(model.parameters().map((parameter) => parameter.data()));
  const own = await scoresOf();
  const moved = await sensitivity(model, scoresOf, { samples: 2 });
  assert.ok(moved > 0 && moved < 0.5, `${moved}`);
  assert.ok((await sensitivity(model, scoresOf, { samples: 2, radius: 0.5 })) > moved);
  const correlation = await randomisedCorrelation(model, scoresOf);
  assert.ok(Math.abs(correlation) < 0.95, `${correlation}`);
  const constant = await randomisedCorrelation(model, () => Promise.resolve([1, 2, 3]));
  assert.ok(Math.abs(constant - 1) < 1e-12, 'scores that do not depend on the weights');
  const failing = (): Promise<number[]> => Promise.reject(new Error('no scores'));
  await randomisedCorrelation(model, failing).catch(() => undefined);
  const after = await Promise.all(model.parameters().map((parameter) => parameter.data()));
  assert.equal(after, before);
  assert.equal(await scoresOf(), own);
});

test('methods find the planted word, attention and chance less often', async () => {
  const { model, tokenizer, accuracy } = await trainPlanted('word', { steps: 250, length: 8 });
  assert.ok(accuracy >= 0.99, `the model knows the task: ${accuracy}`);
  const texts = plantedTexts('word', 40, 8, new Random(0, 1))
    .filter(({ planted }) => planted.length > 0)
    .slice(0, 6);
  const compared = await compareMethods(
    model,
    tokenizer,
    texts.map(({ words }) => words.join(' ')),
    {
      methods: ['integrated-gradients', 'occlusion', 'partition-shap'],
      planted: texts.map(({ planted }) => planted),
      target: 1,
      evaluations: 100,
    },
  );
  const random = compared.at(-1)!;
  assert.is(random.method, 'random');
  for (const { method, found, texts: measured } of compared.slice(0, -1)) {
    assert.ok(found.reduce((a, b) => a + b, 0) >= 5, `${method} found ${found}`);
    const deletion = (all: typeof measured): number => all.reduce((sum, each) => sum + each.deletion, 0);
    assert.ok(deletion(measured) < deletion(random.texts), method);
  }
  const table = comparisonTable(compared);
  assert.match(table, /^method +found +compr\. /);
  assert.is(table.split('\n').length, 5);

  // The change that turns the decision is of the planted word, or plants it; words come from any model.
  const { vocabSize } = model.config;
  const sizes = { hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 1, intermediateSize: 8 };
  const filler = new BertForMaskedLM(BertConfig.create({ ...sizes, vocabSize, maxPositionEmbeddings: 10 })).eval();
  const turn = (text: string) => counterfactual({ model, tokenizer }, { model: filler, tokenizer }, text);
  const all: Counterfactual[] = [];
  for (const { words, planted } of texts.slice(0, 2)) {
    const text = words.join(' ');
    const found = await turn(text);
    all.push(found);
    assert.equal([found.flipped, found.label, found.changedLabel], [true, 'LABEL_1', 'LABEL_0'], text);
    const [change, ...more] = found.changes;
    assert.equal([change!.from, more.length], ['key', 0]);
    assert.is(change!.start, words.slice(0, planted[0]).join(' ').length + Number(planted[0]! > 0));
    const wanted = words.with(planted[0]!, change!.to).join(' ');
    assert.is(found.changed, wanted);
    const [now] = await classifyTexts({ model, tokenizer }, [wanted], { topK: null });
    const own = now!.find(({ label }) => label === 'LABEL_1')!.score;
    assert.ok(Math.abs(own - found.changedProbability) < 1e-5 && own < 0.5 && found.probability > 0.5);
  }
  const plant = await turn('river stone, cloud! table');
  assert.equal([plant.flipped, plant.changes.map(({ to }) => to)], [true, ['key']]);
  assert.ok(/^\S+ \S+, \S+! \S+$/.test(plant.changed), 'what is no word stays');
  assert.match(counterfactualLines(plant), /^LABEL_0, .*%; by 1 word LABEL_1, .*\n {2}.*\[\w+ -> key\]/);
  const page = counterfactualPage(all, 'Turned <by>');
  assert.match(page, /<h1>Turned &lt;by&gt;<\/h1>/);
  assert.match(page, /<del>key<\/del> <ins>\w+<\/ins>/);
  await rejects(turn('!?'), /^counterfactual: the text has no words; give one that has$/);
});

test('the script compares on a model and texts, and refuses texts without one', async () => {
  refused(
    await runScript(['train/compare-explanations.ts', 'a text']),
    2,
    /^compare-explanations: texts go with --model/,
  );
  const turned = await runScript([
    'train/explain.ts',
    '--counterfactual',
    '--json',
    'You have won a free prize! Click here.',
  ]);
  assert.is(turned.code, 0, turned.stderr);
  const { label, flipped, changes } = JSON.parse(turned.stdout) as Counterfactual;
  assert.equal([label, flipped, changes.length > 0], ['spam', true, true]);
  refused(await runScript(['train/compare-explanations.ts', '--model', 'x']), 2, /--model needs texts/);
});

test.run();
