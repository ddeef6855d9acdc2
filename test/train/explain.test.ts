// Attributions against what test/golden/golden_explain.py wrote: captum, shap, lime and networkx.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseHTML } from 'linkedom';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { assign, full, manualSeed, noGrad, randomState, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import {
  BartConfig,
  BartForSequenceClassification,
  BertConfig,
  BertForMaskedLM,
  BertForQuestionAnswering,
  BertForSequenceClassification,
  BertForTokenClassification,
  BertTokenizer,
  Embedding,
  GPT2Config,
  GPT2ForSequenceClassification,
  GPT2LMHeadModel,
  Linear,
  loadModel,
  loadTokenizer,
  Module,
} from '../../models/index.ts';
import { explain, explainMethods } from '../../train/explain/explain.ts';
import type { ExplainMethod, ExplainOptions, Explanation } from '../../train/explain/explain.ts';
import { gaussLegendre } from '../../train/explain/gradient-methods.ts';
import { headOf, influenceLines, influencePage, influences, strongest } from '../../train/explain/influence.ts';
import { maximumFlow } from '../../train/explain/maximum-flow.ts';
import { limeScores } from '../../train/explain/perturbation-methods.ts';
import { kernelCoalitions } from '../../train/explain/shapley.ts';
import { tokenHierarchy } from '../../train/explain/token-hierarchy.ts';
import type { TokenGroup } from '../../train/explain/token-hierarchy.ts';
import { explanationPage } from '../../train/explain/page.ts';
import { showExplanation } from '../../train/explain/show.ts';
import { rejects } from '../support/failure.ts';
import { refused, runScript } from '../support/script.ts';
import { settings } from '../support/small-bert.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';

interface Golden {
  readonly label: string;
  readonly texts: {
    readonly text: string;
    readonly output: number;
    readonly baseline: number;
    readonly scores: Readonly<Record<string, number[]>>;
  }[];
  readonly trees: { readonly tokens: string[]; readonly joins: [left: number, right: number, distance: number][] }[];
  readonly lime: { readonly masks: number[][]; readonly outputs: number[]; readonly scores: number[] };
  readonly flow: { readonly edges: [from: number, to: number, capacity: number][]; readonly flows: number[] };
}
const golden = JSON.parse(readFileSync(goldenFile('explain.json'), 'utf8')) as Golden;
const folder = goldenFile('tiny-explain');
const model = await loadModel(folder);
const tokenizer = await loadTokenizer(folder);
const asGolden = { target: golden.label, baseline: 'pad' } as const;

/** The options that a name of the golden stands for: 'partition-shap none'. */
function optionsOf(name: string): ExplainOptions {
  const [method, ...rest] = name.split(' ') as [ExplainMethod, ...string[]];
  const options = { ...asGolden, method, evaluations: 100_000 };
  if (method === 'integrated-gradients')
    return { ...options, steps: Number(rest[0]), rule: rest[1] as NonNullable<ExplainOptions['rule']> };
  if (method === 'occlusion') return { ...options, window: Number(rest[0]) };
  if (method !== 'partition-shap' || rest[0] === 'both') return options;
  return { ...options, context: rest[0] === 'none' ? 0 : 1 };
}

/** The scores of the text's own tokens. */
const ofText = ({ tokens, scores }: Explanation): number[] => scores.filter((_, t) => tokens[t]!.text >= 0);

const test = suite('explain');

for (const { text, output, baseline, scores } of golden.texts) {
  for (const [name, wanted] of Object.entries(scores)) {
    test(`${name} of "${text}" is that of captum, shap or networkx`, async () => {
      const found = await explain(model, tokenizer, text, optionsOf(name));
      assert.ok(largestDifference(ofText(found), wanted) <= 1e-4, `${ofText(found)}\n${wanted}`);
      assert.ok(Math.abs(found.output - output) <= 1e-4);
      assert.ok(found.baseline === undefined || Math.abs(found.baseline - baseline) <= 1e-4);
    });
  }
}

/** The joins of a tree as shap lists them: the two parts of each, in the order in which they were made. */
function joinsOf(tree: TokenGroup): string[] {
  if (!tree.parts) return [];
  const name = ({ first, stop }: TokenGroup): string => `${first}-${stop}`;
  return [...tree.parts.flatMap(joinsOf), `${tree.parts.map(name).join(' ')} ${tree.isWhole}`];
}

for (const { tokens, joins } of golden.trees) {
  test(`the hierarchy of ${tokens.join(' ')} is that of shap`, () => {
    const groups = tokens.map((_, i): TokenGroup => ({ first: i, stop: i + 1, isWhole: false }));
    for (const [left, right, distance] of joins) {
      const parts = [groups[left]!, groups[right]!] as const;
      groups.push({ first: parts[0].first, stop: parts[1].stop, parts, isWhole: distance < 0 });
    }
    const tree = tokenHierarchy(tokens.map((text) => ({ text, side: 0 })));
    assert.equal(joinsOf(tree), joinsOf(groups.at(-1)!));
  });
}

test('tokens of two texts come together last', () => {
  const tree = tokenHierarchy(['a', 'film', '##s', '##ly'].map((text, i) => ({ text, side: i < 3 ? 0 : 1 })));
  assert.equal(
    tree.parts!.map(({ first, stop }) => [first, stop]),
    [
      [0, 3],
      [3, 4],
    ],
  );
});

test('why one label and not another: the scores of the difference, by every method that has a target', async () => {
  const { text } = golden.texts[0]!;
  const [a, b] = ['good', 'bad'];
  for (const method of [
    'integrated-gradients',
    'gradient-x-input',
    'occlusion',
    'exact-shap',
    'kernel-shap',
  ] as const) {
    const of = (options: ExplainOptions) => explain(model, tokenizer, text, { method, baseline: 'pad', ...options });
    const [both, first, second] = [
      await of({ target: a, contrast: b }),
      await of({ target: a }),
      await of({ target: b }),
    ];
    const wanted = first.scores.map((score, t) => score - second.scores[t]!);
    assert.ok(largestDifference(both.scores, wanted) <= 2e-5, method);
    assert.ok(Math.abs(both.output - (first.output - second.output)) <= 1e-5);
    if (both.delta !== undefined) assert.ok(Math.abs(both.delta - (first.delta! - second.delta!)) <= 2e-5);
    // Of one softmax, logarithms differ as logits do.
    const logs = await of({ target: a, contrast: b, output: 'log-probability' });
    assert.ok(largestDifference(both.scores, logs.scores) <= 5e-5, method);
  }
  const shown = await explain(model, tokenizer, text, { target: a, contrast: b, method: 'occlusion' });
  assert.equal(shown.target.contrast, { name: 'bad', number: 0 });
  assert.match(showExplanation(shown, { colours: false }), /^occlusion: logit of good rather than bad -?\d/);
  assert.match(explanationPage([shown]), /<h2>good rather than bad </);
  // Attention has no target, and takes one without complaint.
  await explain(model, tokenizer, text, { contrast: b, target: a, method: 'attention-rollout' });
  const { target } = await explain(model, tokenizer, text, { method: 'occlusion' });
  await rejects(
    explain(model, tokenizer, text, { contrast: target.name }),
    new RegExp(`^explain: the target and its contrast are both "${target.name}"; name another of them$`),
  );
  await rejects(
    explain(model, tokenizer, text, { contrast: 'fine' }),
    /^explain: unknown target label "fine"; the model/,
  );
});

test('why one next token and not another', async () => {
  const gpt = await GPT2LMHeadModel.fromPretrained('models/pretrained/gpt-small');
  const words = await loadTokenizer('models/pretrained/gpt-small');
  const options = { target: ' law', contrast: ' sea', method: 'occlusion' } as const;
  const found = await explain(gpt, words, 'We sailed the', options);
  assert.equal([found.target.name, found.target.contrast!.name], [' law', ' sea']);
  const ids = words.idsOf('We sailed the');
  const { logits } = noGrad(() => gpt.forward({ inputIds: tensor([[...ids]], { dtype: 'i32' }) }));
  const last = ((await logits.tolist()) as number[][][])[0]!.at(-1)!;
  const wanted = last[words.idsOf(' law')[0]!]! - last[words.idsOf(' sea')[0]!]!;
  assert.ok(Math.abs(found.output - wanted) < 1e-4);
  const questions = new BertForQuestionAnswering(BertConfig.create({ ...settings, vocabSize: 60 }));
  await rejects(
    explain(questions, tokenizer, [['what', 'a film']], { contrast: 'end' }),
    /^explain: a contrast is of two labels or tokens/,
  );
});

test("lime's linear model is that of the package lime", () => {
  const { masks, outputs, scores } = golden.lime;
  const found = limeScores(
    masks.map((mask) => Uint8Array.from(mask)),
    outputs,
  );
  assert.ok(largestDifference(found, scores) <= 1e-9, `${found}`);
});

test('flows are those of networkx', () => {
  const { edges, flows } = golden.flow;
  const list = edges.map(([from, to, capacity]) => ({ from, to, capacity }));
  assert.ok(largestDifference(maximumFlow(9, list, 0, [1, 2, 3, 4, 5, 6, 7, 8]), flows) <= 1e-9);
});

test('Gauss-Legendre points integrate polynomials of degree 2 n - 1', () => {
  for (const steps of [1, 2, 7, 50, 300]) {
    const { points, weights } = gaussLegendre(steps);
    for (const degree of [0, 1, 2 * steps - 1]) {
      const sum = points.reduce((total, x, i) => total + weights[i]! * x ** degree, 0);
      assert.ok(Math.abs(sum - 1 / (degree + 1)) <= 1e-13, `${steps} points, x^${degree}: ${sum}`);
    }
  }
});

test('kernel coalitions are all subsets where the budget allows, else pairs with their rest', () => {
  for (const n of [2, 3, 6]) {
    const { kept, enumerated } = kernelCoalitions(n, 1000, new Random(0));
    assert.is(new Set(kept.map((bits) => bits.join(''))).size, 2 ** n - 2);
    assert.is(enumerated, 2 ** n - 2);
  }
  const { kept, weights, enumerated } = kernelCoalitions(14, 200, new Random(0));
  assert.is(enumerated, 28); // sizes 1 and 13
  assert.ok(kept.length <= 200 && kept.length >= 198);
  for (let i = enumerated; i < kept.length; i++) assert.ok(kept[i]!.reduce((sum, bit) => sum + bit, 0) > 1);
  assert.ok(Math.abs(weights.reduce((a, b) => a + b, 0) - 1) <= 1e-12);
});

const { text: long, scores: longScores } = golden.texts[2]!;
const shortText = golden.texts[0]!.text;

test('methods that draw samples are within their own errors of what they estimate', async () => {
  const exact = longScores['integrated-gradients 50 gauss-legendre']!;
  const gradient = await explain(model, tokenizer, long, { ...asGolden, method: 'gradient-shap', steps: 96 });
  const kernel = await explain(model, tokenizer, long, { ...asGolden, method: 'kernel-shap', evaluations: 300 });
  for (const [found, wanted] of [
    [gradient, exact],
    [kernel, longScores['exact-shap']!],
  ] as const) {
    const scores = ofText(found);
    const errors = found.errors!.filter((_, t) => found.tokens[t]!.text >= 0);
    for (const [i, score] of scores.entries())
      assert.ok(
        Math.abs(score - wanted[i]!) <= 4 * errors[i]! + 1e-4,
        `${found.method}: ${score} ± ${errors[i]}, ${wanted[i]}`,
      );
    assert.ok(Math.max(...errors) > 0 && Math.max(...errors) < 0.3, `${errors}`);
  }
  assert.ok(Math.abs(kernel.delta!) <= 1e-4, 'kernel-shap adds up with any samples');
});

test('smooth-grad without noise is gradient x input; its noise follows its seed alone', async () => {
  const of = (options: ExplainOptions): Promise<Explanation> =>
    explain(model, tokenizer, shortText, { ...asGolden, method: 'smooth-grad', steps: 4, ...options });
  const plain = await explain(model, tokenizer, shortText, { ...asGolden, method: 'gradient-x-input' });
  assert.ok(largestDifference((await of({ noise: 0 })).scores, plain.scores) <= 1e-5);
  manualSeed(7);
  const state = randomState();
  const [once, again, other] = [await of({ seed: 1 }), await of({ seed: 1 }), await of({ seed: 2 })];
  assert.equal(once.scores, again.scores);
  assert.not.equal(once.scores, other.scores);
  assert.equal(randomState(), state);
});

test('scores of probabilities and their logarithms add up too', async () => {
  for (const output of ['probability', 'log-probability'] as const) {
    const options = { ...asGolden, output, steps: 100 };
    const { delta, output: value, baseline } = await explain(model, tokenizer, shortText, options);
    assert.ok(Math.abs(delta!) <= 1e-4, `${output}: ${delta}`);
    const logit = (await explain(model, tokenizer, shortText, asGolden)).output;
    assert.ok(Math.abs(value - logit) > 1e-3 && Math.abs(value - baseline!) > 1e-4);
  }
});

test('tokens say where they stand, special ones have no score, the model keeps its mode and hooks', async () => {
  model.train();
  const [{ tokens, scores, target }] = (await explain(model, tokenizer, [shortText], { baseline: 'zero' })) as [
    Explanation,
  ];
  assert.ok(model.training);
  model.eval();
  assert.not.ok(model.modules().some((module) => module.isHooked));
  const words = tokens.map(({ start, end }) => shortText.slice(start, end));
  assert.equal(words, ['', ...shortText.split(' '), '']);
  assert.equal([scores[0], scores.at(-1)], [0, 0]);
  assert.ok(['bad', 'mixed', 'good'].includes(target.name));
});

test("the baseline's output is found in the batches of the gradients", async () => {
  for (const method of ['integrated-gradients', 'gradient-shap'] as const) {
    const done: number[] = [];
    const options = { ...asGolden, method, steps: 3, batchSize: 4 };
    await explain(model, tokenizer, shortText, { ...options, onProgress: (count) => done.push(count) });
    assert.equal(done, [1, 5], method);
  }
});

/** Words without order: the mean of one number each. Every method must find those numbers. */
class BagOfWords extends Module {
  readonly words = new Embedding(tokenizer.vocabSize, 1);
  readonly out = new Linear(1, 2);

  override forward({ inputIds, attentionMask }: { readonly inputIds: Tensor; readonly attentionMask: Tensor }) {
    const seen = attentionMask.to('f32'); // (B, T)
    const sums = this.words.forward(inputIds).reshape(inputIds.shape).mul(seen).sum(1); // (B)
    return { logits: this.out.forward(sums.reshape(-1, 1)) };
  }
}

test('of a sum of words every method that adds up finds each word', async () => {
  const bag = new BagOfWords();
  const [table, weights] = [await bag.words.weight.data(), await bag.out.weight.data()];
  const worth = (id: number): number => Number(weights[1]) * (Number(table[id]) - Number(table[tokenizer.padTokenId!]));
  const wanted = Array.from(tokenizer.idsOf(shortText), worth);
  const methods = [
    'integrated-gradients',
    'gradient-shap',
    'occlusion',
    'exact-shap',
    'kernel-shap',
    'partition-shap',
  ] as const;
  for (const method of methods) {
    const found = await explain(bag, tokenizer, shortText, { method, target: 1, baseline: 'pad', steps: 4 });
    assert.ok(largestDifference(ofText(found), wanted) <= 1e-4, `${method}: ${ofText(found)}, ${wanted}`);
  }
  const lime = await explain(bag, tokenizer, shortText, {
    method: 'lime',
    target: 1,
    baseline: 'pad',
    evaluations: 64,
  });
  const order = (values: readonly number[]): number[] => [...values.keys()].sort((a, b) => values[a]! - values[b]!);
  assert.equal(order(ofText(lime)), order(wanted));
});

test('what cannot be explained is refused in one line', async () => {
  const bag = new BagOfWords();
  const of = (text: string, options: ExplainOptions = {}, subject: Module = model) =>
    explain(subject, tokenizer, text, options);
  await rejects(of(''), /^explain: this text has no tokens that could be explained/);
  await rejects(of('film '.repeat(31)), /^explain: the text has 33 tokens, and the model reads at most 32; cut it/);
  await rejects(of('film', { target: 'great' }), /unknown target label "great"; the model has bad, mixed, good$/);
  await rejects(of('film', { target: 3 }), /label 3 is none of 0 to 2$/);
  await rejects(
    of('film', { target: 'x' }, bag),
    /unknown target label "x"; the model's labels have no names, give a number$/,
  );
  await rejects(
    of('film', { method: 'lrp' as ExplainMethod }),
    /unknown method "lrp"; use one of integrated-gradients, /,
  );
  await rejects(
    of('film', { baseline: 'eos' }),
    /the tokenizer has no eos token to stand .* use the baseline mask or pad or unk or zero$/,
  );
  await rejects(of('film', { baseline: 'zero', method: 'occlusion' }), /zeros are a baseline of gradients/);
  await rejects(
    of('film film', { method: 'occlusion', window: 3 }),
    /a window of 3 tokens is longer than the text, which has 2/,
  );
  await rejects(
    of('film '.repeat(13), { method: 'exact-shap' }),
    /at most 12 tokens, and this text has 13; use partition-shap/,
  );
  await rejects(of('film', { steps: 0 }), /steps must be a whole number of at least 1, got 0$/);
  await rejects(of('film', { noise: NaN, method: 'smooth-grad' }), /noise must be a number of at least 0, got NaN$/);
  for (const method of ['attention-rollout', 'attention-flow'] as const)
    await rejects(
      of('film', { method, target: 1 }, bag),
      /a BagOfWords gives no attention weights, which this method is made of; use/,
    );
  assert.not.ok(
    model.modules().some((module) => module.isHooked),
    'hooks are taken off after errors',
  );
});

test('an output that is not finite is refused with the module where that begins', async () => {
  const broken = await loadModel(folder);
  const dense = broken.namedParameters().find(([name]) => name === 'bert.encoder.layer.1.output.dense.bias')![1];
  noGrad(() => assign(dense, full(dense.shape, NaN)));
  for (const method of ['integrated-gradients', 'occlusion', 'attention-rollout'] as const)
    await rejects(
      explain(broken, tokenizer, 'film', { method }),
      /is not finite, from bert\.encoder\.layer\.1\.output\.dense on, so there is nothing to explain/,
    );
});

test('a text of one token and of as many as the model reads', async () => {
  for (const method of explainMethods) {
    const { scores, delta } = await explain(model, tokenizer, 'film', { method, steps: 20, evaluations: 20 });
    assert.ok(scores.length === 3 && Number.isFinite(scores[1]), method);
    assert.ok(delta === undefined || Math.abs(delta) <= (method === 'gradient-shap' ? 1 : 1e-3), `${method}: ${delta}`);
  }
  const text = 'film '.repeat(600);
  const options = { method: 'gradient-x-input', truncation: true } as const;
  assert.is((await explain(model, tokenizer, text, options)).tokens.length, 32);
  const bert = BertTokenizer.default();
  const large = new BertForSequenceClassification(
    BertConfig.create({ ...settings, vocabSize: bert.vocabSize, maxPositionEmbeddings: 512 }),
  );
  assert.is((await explain(large, bert, text, options)).scores.length, 512);
});

test('taggers, models of questions, of masked tokens and decoders', async () => {
  const config = BertConfig.create({
    ...settings,
    vocabSize: tokenizer.vocabSize,
    labels: ['O', 'X'],
    maxPositionEmbeddings: 32,
  });
  const tagger = new BertForTokenClassification(config);
  const tag = await explain(tagger, tokenizer, shortText, { at: 'very', target: 'X' });
  assert.equal(tag.target, { name: 'X', number: 1, at: 5 });
  assert.ok(Math.abs(tag.delta!) <= 1e-4);
  await rejects(explain(tagger, tokenizer, shortText), /each token has labels of its own here; say with `at`/);
  await rejects(explain(tagger, tokenizer, shortText, { at: 'song' }), /"song" does not stand in the text/);

  const answerer = new BertForQuestionAnswering(config);
  const [answer] = await explain(answerer, tokenizer, [['it was a book', 'we saw a film']], {
    target: 'end',
    method: 'occlusion',
  });
  assert.ok(answer!.target.number >= 6, 'the answer is in the second text');
  assert.match(answer!.target.name, /^end at (we|saw|a|film)$/);
  await rejects(explain(answerer, tokenizer, 'film', { target: 'middle' }), /start or end of its answer, got "middle"/);

  const filler = new BertForMaskedLM(config);
  const filled = await explain(filler, tokenizer, 'the [MASK] was good', { target: 'film' });
  assert.equal(filled.target, { name: 'film', number: tokenizer.tokenToId('film'), at: 2 });
  assert.is(filled.scores[2], 0);
  await rejects(explain(filler, tokenizer, 'the film'), /needs a mask in the text, or `at`/);

  const decoder = new GPT2LMHeadModel(
    GPT2Config.create({ vocabSize: tokenizer.vocabSize, nPositions: 32, nEmbd: 8, nLayer: 1, nHead: 2 }),
  );
  const next = await explain(decoder, tokenizer, shortText, { baseline: 'pad', steps: 30 });
  assert.is(next.target.at, next.tokens.length - 1);
  assert.ok(Math.abs(next.delta!) <= 1e-4, `${next.delta}`);
  await rejects(
    explain(decoder, tokenizer, shortText, { target: 'a film' }),
    /the target "a film" is 2 tokens, one is needed; its first is "a"/,
  );
});

test('decoders and encoder-decoders that classify', async () => {
  const { vocabSize } = tokenizer;
  const sizes = { vocabSize, nPositions: 32, nEmbd: 8, nLayer: 1, nHead: 2, initializerRange: 0.5 };
  const padded = new GPT2ForSequenceClassification(GPT2Config.create({ ...sizes, padTokenId: tokenizer.padTokenId! }));
  await rejects(
    explain(padded, tokenizer, shortText, { baseline: 'pad' }),
    /GPT2ForSequenceClassification reads a text up to its last token .* the baseline pad is; use mask or unk or zero$/,
  );
  for (const method of ['integrated-gradients', 'exact-shap'] as const) {
    const { delta, target, tokens } = await explain(padded, tokenizer, shortText, { method });
    assert.ok(Math.abs(delta!) <= 1e-3, `${method}: ${delta}`);
    assert.is(target.at, tokens.length - 1);
  }
  // The last token sees all others, the first only itself.
  const { scores } = await explain(padded, tokenizer, shortText, { method: 'attention-rollout' });
  assert.ok(
    scores.slice(1, -1).every((score) => score > 0),
    `${scores}`,
  );

  const bart = new BartForSequenceClassification(
    BartConfig.create({
      vocabSize,
      dModel: 8,
      encoderLayers: 1,
      decoderLayers: 1,
      encoderAttentionHeads: 2,
      decoderAttentionHeads: 2,
      encoderFfnDim: 8,
      decoderFfnDim: 8,
      maxPositionEmbeddings: 32,
      padTokenId: tokenizer.padTokenId!,
      eosTokenId: tokenizer.sepTokenId!,
      decoderStartTokenId: tokenizer.sepTokenId!,
    }),
  );
  await rejects(explain(bart, tokenizer, shortText), /both sides of a BartForSequenceClassification read the text/);
  assert.ok(Math.abs((await explain(bart, tokenizer, shortText, { method: 'exact-shap' })).delta!) <= 1e-4);
});

test('in a terminal the words stand on colours, or a table alone tells; the text cannot steer it', async () => {
  const text = `the film was\x1b[2J good`;
  const explanation = await explain(model, tokenizer, text, { ...asGolden, method: 'occlusion' });
  const plain = showExplanation(explanation, { colours: false, top: 2 });
  assert.not.match(plain, /\x1b/);
  assert.match(plain, /^occlusion: logit of good -?\d/);
  assert.is(plain.split('\n').length, 1 + 1 + 1 + 1 + 1 + 2);
  const shown = showExplanation(explanation, { colours: true });
  assert.match(shown, /\x1b\[30;48;5;\d+m\w+\x1b\[0m/);
  assert.not.match(shown, /\x1b\[2J/);
});

test('a page has each word once with the scores of all methods; data stays text; it needs no other file', async () => {
  const text = 'the film was </script><b onclick=x> good';
  const explanations = [
    await explain(model, tokenizer, text, { ...asGolden, method: 'occlusion' }),
    await explain(model, tokenizer, text, { ...asGolden, method: 'gradient-x-input' }),
    await explain(model, tokenizer, 'film', { ...asGolden, method: 'occlusion' }),
  ];
  const html = explanationPage(explanations, '<i>title');
  const { document } = parseHTML(html);
  assert.is(document.querySelector('h1')!.textContent, '<i>title');
  assert.is(document.querySelectorAll('section').length, 2);
  assert.is(document.querySelectorAll('input[name=method]').length, 2);
  assert.is(document.querySelectorAll('b, i, [onclick]').length, 0);
  const [shown] = document.querySelectorAll('.text');
  assert.is(shown!.textContent, text);
  const tokens = [...shown!.querySelectorAll('.token')];
  const own = explanations[0]!.tokens.filter(({ text: side }) => side === 0);
  assert.equal(
    tokens.map(({ textContent }) => textContent),
    own.map(({ start, end }) => text.slice(start, end)),
  );
  const good = tokens.at(-1)!.getAttribute('data-scores')!.split(' ').map(Number);
  const wanted = explanations.slice(0, 2).map(({ scores }) => scores.at(-2)!);
  assert.ok(largestDifference(good, wanted) <= 1e-3);
  const sides = tokens.map(({ className }) => className === 'token against');
  assert.equal(
    sides,
    ofText(explanations[0]!).map((score) => score < 0),
  );
  assert.is(document.querySelectorAll('section')[0]!.querySelectorAll('tbody tr').length, own.length);
  assert.not.match(html, /(src|href)=|@import|https?:/);
});

test('the script explains, as JSON too, and refuses in one line', async () => {
  const run = (...args: string[]) => runScript(['train/explain.ts', '--model', folder, ...args]);
  const json = await run('--json', '--method', 'occlusion', '--baseline', 'pad', '--target', golden.label, shortText);
  assert.is(json.code, 0, json.stderr);
  const wanted = golden.texts[0]!.scores['occlusion 1']!;
  assert.ok(largestDifference(ofText(JSON.parse(json.stdout) as Explanation), wanted) <= 1e-4);
  refused(
    await run('--target', 'great', shortText),
    1,
    /^explain: unknown target label "great"; the model has bad, mixed, good$/,
  );
  refused(await run('--also', 'lrp', '--out', 'x.html', shortText), 2, /^explain: --also must be one of integrated-/);
  refused(await run('--also', 'lime', shortText), 2, /^explain: --also goes with --out/);
  refused(await run('--new-tokens', '2', shortText), 2, /^explain: --new-tokens is for decoders/);

  const made = mkdtempSync(join(tmpdir(), 'tapeform-explain-'));
  const [examples, page] = [join(made, 'examples.csv'), join(made, 'page.html')];
  writeFileSync(examples, 'text,label\nthe prize,bad\na list,good\nthe patch,mixed\n');
  const learnt = await run('--examples', examples, '--checkpoint', folder, '--out', page, '--json', shortText);
  assert.is(learnt.code, 0, learnt.stderr);
  const deep = await run('--examples', examples, '--layers', 'all', '--out', page, shortText);
  assert.is(deep.code, 0, deep.stderr);
  assert.match(readFileSync(page, 'utf8'), /by all linear layers \(TracIn\)/);
  const facts = JSON.parse(learnt.stdout) as { readonly for: object[]; readonly against: object[] };
  assert.is(facts.for.length + facts.against.length, 3);
  assert.match(readFileSync(page, 'utf8'), /<h3>Examples against it<\/h3>/);
  refused(await run('--examples', examples, '--target', 'great', shortText), 2, /there is no label "great"; use bad, /);
  rmSync(made, { recursive: true });
});

test('what a classifier learnt a decision from: products of the gradients of its last layer', async () => {
  const classifier = model as BertForSequenceClassification;
  const examples = [
    { text: 'the free prize', label: 0 },
    { text: 'the patch and the list', label: 1 },
    { text: 'a prize a list', label: 1 },
  ];
  const texts = ['the prize', 'the list of the patch'];
  const head = headOf(classifier);
  const gradientOf = async (text: string, label: number): Promise<number[]> => {
    for (const parameter of classifier.parameters()) parameter.grad = undefined;
    const { inputIds, tokenTypeIds } = tokenizer.encodeToArrays([text]);
    const row = (ids: Int32Array) => tensor(ids, { shape: [1, ids.length] });
    const labels = tensor(Int32Array.of(label));
    classifier.forward({ inputIds: row(inputIds), tokenTypeIds: row(tokenTypeIds), labels }).loss!.backward();
    const found = [...(await head.weight.grad!.data()), ...(await head.bias!.grad!.data())].map(Number);
    for (const parameter of classifier.parameters()) parameter.grad = undefined;
    return found;
  };
  const other = (await loadModel(folder)) as BertForSequenceClassification;
  noGrad(() => assign(headOf(other).weight, headOf(other).weight.mul(-0.5)));
  const states = [other, classifier].map((each) => ({ model: each, tokenizer }));
  const [one, two] = await influences(states.slice(1), examples, texts, { batchSize: 2 });
  for (const [text, influence] of [
    [texts[0]!, one!],
    [texts[1]!, two!],
  ] as const) {
    const own = await gradientOf(text, influence.label);
    for (const [e, example] of examples.entries()) {
      const wanted = (await gradientOf(example.text, example.label)).reduce((sum, g, i) => sum + g * own[i]!, 0);
      assert.ok(
        Math.abs(influence.scores[e]! - wanted) < 1e-5 * (1 + Math.abs(wanted)),
        `${influence.scores[e]} ${wanted}`,
      );
    }
  }
  // Of several states the mean, for the class that the last one chooses.
  const [both] = await influences(states, examples, texts);
  const [first] = await influences(states.slice(0, 1), examples, texts, { target: both!.label });
  assert.is(both!.label, one!.label);
  both!.scores.forEach((score, e) => assert.ok(Math.abs(score - (one!.scores[e]! + first!.scores[e]!) / 2) < 1e-6));

  const shown = { examples, labels: classifier.config.labels, count: 2 };
  const lists = strongest(one!, 2);
  assert.ok(lists.for.every((i) => one!.scores[i]! > 0) && lists.against.every((i) => one!.scores[i]! < 0));
  assert.match(influenceLines(one!, shown), /^"the prize" is \S+\nfor it(: none|\n *score +label +text\n)/);
  const page = influencePage([one!, two!], shown, 'Learnt <from>');
  assert.match(page, /<h1>Learnt &lt;from&gt;<\/h1>/);
  assert.not.match(page, /(src|href)=/);

  // Of all linear layers: whole, where the sides are kept; projected at random, the same in the mean.
  const linears = classifier.modules().filter((module): module is Linear => module instanceof Linear);
  const wholeOf = async (text: string, label: number): Promise<number[]> => {
    const { inputIds, tokenTypeIds } = tokenizer.encodeToArrays([text]);
    const row = (ids: Int32Array) => tensor(ids, { shape: [1, ids.length] });
    const given = { inputIds: row(inputIds), tokenTypeIds: row(tokenTypeIds), labels: tensor(Int32Array.of(label)) };
    classifier.forward(given).loss!.backward();
    const found: number[] = [];
    for (const { weight, bias } of linears)
      found.push(...Array.from(await weight.grad!.data(), Number), ...Array.from(await bias!.grad!.data(), Number));
    for (const parameter of classifier.parameters()) parameter.grad = undefined;
    return found;
  };
  const own = await wholeOf(texts[0]!, one!.label);
  const wanted: number[] = [];
  for (const { text, label } of examples)
    wanted.push((await wholeOf(text, label)).reduce((sum, g, i) => sum + g * own[i]!, 0));
  const all = { layers: 'all', target: one!.label, batchSize: 2 } as const;
  const whole = await influences(states.slice(1), examples, [texts[0]!], { ...all, size: 1000 });
  const off = largestDifference(whole[0]!.scores, wanted) / Math.max(...wanted.map(Math.abs));
  assert.ok(off < 1e-5, `off by ${off}: ${whole[0]!.scores.join()}, ${wanted.join()}`);
  const drawn: Float64Array[] = [];
  for (let seed = 0; seed < 40; seed++)
    drawn.push((await influences(states.slice(1), examples, [texts[0]!], { ...all, size: 6, seed }))[0]!.scores);
  for (const [e, exact] of wanted.entries()) {
    const values = drawn.map((scores) => scores[e]!);
    const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
    const deviation = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (values.length - 1));
    const error = deviation / Math.sqrt(values.length);
    assert.ok(error > 0 && Math.abs(mean - exact) < 3.5 * error, `${mean} +- ${error}, exact ${exact}`);
  }
  await rejects(influences([], examples, texts), /^influence: there is no classifier; .*$/);
  await rejects(influences(states, [], texts), /^influence: there are no examples; .*$/);
  await rejects(influences(states, examples, texts, { target: 9 }), /^influence: there is no class 9; .*$/);
});

test.run();
