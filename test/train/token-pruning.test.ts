// Classifiers whose texts lose tokens between the layers.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../common/random.ts';
import { manualSeed, noGrad, ones, tensor, tril } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { BertForMaskedLM, loadModel, RobertaConfig, RobertaForSequenceClassification } from '../../models/index.ts';
import type { BertConfig, BertForSequenceClassification, BertSettings } from '../../models/index.ts';
import { classifyTexts, loadTextClassifier } from '../../models/pipelines/text-classification.ts';
import { scoreExamples } from '../../train/classifier/predict.ts';
import { withExits } from '../../train/compress/early-exit.ts';
import { keepLayers } from '../../train/compress/smaller.ts';
import { fewestTokens, keepTokens, retentionOf } from '../../train/compress/token-pruning.ts';
import { rejects, throwsOneLine } from '../support/failure.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';
import { reviews, smallClassifier } from '../support/reviews.ts';
import { refused, resumesAs, runScript } from '../support/script.ts';
import { i32, seededClassifier, values } from '../support/small-bert.ts';

const test = suite('token pruning');
const folder = mkdtempSync(join(tmpdir(), 'tapeform-tokens-'));

const settings = {
  ...{ vocabSize: 30, hiddenSize: 16, numHiddenLayers: 3, numAttentionHeads: 2, intermediateSize: 24 },
  ...{ maxPositionEmbeddings: 14, initializerRange: 0.6 },
};

const bert = (more: BertSettings = {}): BertForSequenceClassification => seededClassifier({ ...settings, ...more });

const width = 11;
/** Rows of 1 to 11 tokens. */
const texts = Array.from({ length: 23 }, (_, row) => {
  const random = new Random(row);
  return Array.from({ length: 1 + (row % width) }, () => 1 + random.int(29));
});
const padded = (rows: readonly number[][], length: number): { inputIds: Tensor; attentionMask: Tensor } => ({
  inputIds: i32(rows.map((row) => [...row, ...new Array<number>(length - row.length).fill(0)])),
  attentionMask: i32(rows.map((row) => Array.from({ length }, (_, i) => Number(i < row.length)))),
});
const inputs = padded(texts, width);

/** The logits of a text by itself, its tokens chosen on the host: by the definition. */
async function alone(model: BertForSequenceClassification, row: number[], shares: readonly number[]) {
  const { bert: base, classifier } = model;
  let x = noGrad(() => base.embeddings.forward({ inputIds: i32([row]) }));
  const counts: number[] = [];
  for (const [at, layer] of base.encoder.layer.entries()) {
    const { hidden, weights } = noGrad(() => layer.attention.forward(x, undefined, true));
    const all = (await weights!.tolist()) as number[][][][];
    const count = x.shape[1]!;
    const got = Array.from({ length: count }, (_, key) =>
      all[0]!.reduce((sum, head) => sum + head.reduce((total, query) => total + query[key]!, 0), 0),
    );
    const others = Array.from({ length: count - 1 }, (_, i) => i + 1).sort((a, b) => got[b]! - got[a]!);
    const kept = [0, ...others].slice(0, Math.ceil(shares[at]! * row.length - 1e-9));
    const rows = ((await hidden.tolist()) as number[][][])[0]!;
    const left = tensor([kept.map((token) => rows[token]!)]);
    x = noGrad(() => layer.output.forward(layer.intermediate.forward(left), left, (a, b) => a.add(b)));
    counts.push(x.shape[1]!);
  }
  const logits = await values(noGrad(() => classifier.forward(base.pooler!.forward(x))));
  return { logits, counts };
}

test('those with least attention go, by the definition, whatever padding and batch stand around', async () => {
  const whole = bert();
  const before = await values(noGrad(() => whole.forward(inputs).logits));
  for (const shares of [
    [0.7, 0.4, 0.2],
    [1, 0.5, 0.5],
    [0.3, 0.3, 0.01],
    [1, 1, 0.0001],
    // Of 14 tokens each leaves 7, of fewer not: what goes is a matter of the text, not of the padding.
    [0.5, 0.45, 0.43],
  ]) {
    const model = keepTokens(whole, shares);
    const found = ((await noGrad(() => model.forward(inputs).logits).tolist()) as number[][]).map((row) => [...row]);
    for (const [at, row] of texts.entries()) {
      const { logits, counts } = await alone(whole, row, shares);
      assert.equal(
        counts,
        shares.map((share) => Math.max(1, Math.ceil(share * row.length - 1e-9))),
      );
      assert.ok(largestDifference(found[at]!, logits) < 1e-5, `${shares.join()}: text ${at}`);
      // By itself, without a mask and behind more padding.
      const own = await values(noGrad(() => model.forward({ inputIds: i32([row]) }).logits));
      assert.ok(largestDifference(own, logits) < 1e-5);
    }
    const wider = await values(noGrad(() => model.forward(padded(texts, 14)).logits));
    assert.ok(largestDifference(wider, found.flat()) < 1e-5);
  }
  // What the last layer drops no classifier reads; with all tokens it is the model as it was.
  const last = await values(noGrad(() => keepTokens(whole, [1, 1, 0.01]).forward(inputs).logits));
  assert.ok(largestDifference(last, before) < 1e-5);
  assert.equal(await values(noGrad(() => keepTokens(whole, [1, 1, 1]).forward(inputs).logits)), before);
  const half = await values(noGrad(() => keepTokens(whole, 0.5).forward(inputs).logits));
  assert.ok(largestDifference(half, before) > 1e-2, 'tokens count in this model');
});

test('layers that are computed twice see the tokens and the padding that they saw', async () => {
  for (const shares of [
    [0.5, 0.25, 0.125],
    [0.5, 0.45, 0.43],
    [1, 0.4, 0.01],
  ]) {
    const labels = tensor(Int32Array.from(texts, (_, i) => i % 2));
    const gradients = async (twice: boolean): Promise<number[][]> => {
      const model = keepTokens(bert(), shares).train();
      if (twice) model.gradientCheckpointingEnable();
      manualSeed(5); // of dropout
      model.forward({ ...inputs, labels }).loss!.backward();
      return Promise.all([...model.parameters()].map(({ grad }) => values(grad!)));
    };
    assert.equal(await gradients(true), await gradients(false));
  }
});

test('later layers compute with fewer tokens', () => {
  const model = keepTokens(bert(), [0.5, 0.2, 0.1]);
  const seen: number[][] = [];
  for (const layer of model.bert.encoder.layer)
    for (const part of [layer.attention, layer.intermediate])
      part.registerForwardPreHook((_, [x]) => {
        seen.push([...(x as Tensor).shape]);
      });
  noGrad(() => model.forward(inputs));
  assert.equal(
    seen.map(([, tokens]) => tokens),
    [11, 6, 6, 3, 3, 2],
  );
});

test('it learns, in RoBERTa and ELECTRA too; saved, loaded, read by pipelines; misfits are refused', async () => {
  const model = keepTokens(bert(), 0.5);
  const labels = tensor(Int32Array.from(texts, (_, i) => i % 2));
  model.forward({ ...inputs, labels }).loss!.backward();
  for (const [name, { grad }] of model.namedParameters())
    assert.ok(!(await values(grad!)).some((g) => !Number.isFinite(g)), name);
  const position = await values(model.bert.embeddings.wordEmbeddings.weight.grad!);
  assert.ok(position.some((g) => g !== 0));

  const path = join(folder, 'saved');
  await model.savePretrained(path);
  const json = JSON.parse(readFileSync(join(path, 'config.json'), 'utf8')) as Record<string, unknown>;
  assert.equal(json['token_retention'], [0.5, 0.25, 0.125]);
  const loaded = (await loadModel(path)) as BertForSequenceClassification;
  const logits = (await noGrad(() => model.forward(inputs).logits).tolist()) as number[][];
  assert.equal(await values(noGrad(() => loaded.forward(inputs).logits)), logits.flat());
  const examples = texts.map((row) => ({
    inputIds: Int32Array.from(row),
    tokenTypeIds: new Int32Array(row.length),
    label: 0,
  }));
  const { scores } = await scoreExamples(loaded, examples, { batchSize: 4, padTokenId: 0 });
  assert.ok(
    largestDifference(
      scores.map(([p]) => p!),
      logits.map(([a, b]) => 1 / (1 + Math.exp(b! - a!))),
    ) < 1e-5,
  );
  // A model that reads every token is whole.
  const all = BertForMaskedLM.fromConfig(loaded.config).eval();
  assert.equal(noGrad(() => all.forward(inputs).logits).shape, [texts.length, width, 30]);

  manualSeed(2);
  const roberta = new RobertaForSequenceClassification(RobertaConfig.create({ ...settings, padTokenId: 0 })).eval();
  const [one, other] = [keepTokens(roberta, [1, 1, 0.1]), keepTokens(roberta, 0.5)];
  const of = (each: typeof roberta) => values(noGrad(() => each.forward(padded(texts, 12)).logits));
  assert.ok(largestDifference(await of(one), await of(roberta)) < 1e-5);
  assert.ok(largestDifference(await of(other), await of(roberta)) > 1e-3);

  assert.equal(retentionOf(0.5, 2), [0.5, 0.25]);
  for (const [wrong, line] of [
    [[0.5], /^token_retention of the config is .*; give a list of 3, a share of the tokens for each layer$/],
    [[0.5, 0.6, 0.1], /^token_retention of the config has 0\.6 for layer 1; .* none above the one before$/],
    [[0.5, 0.4, 0], /^token_retention of the config has 0 for layer 2; .*$/],
    [[NaN, 0.4, 0.1], /^token_retention of the config has NaN for layer 0; .*$/],
    [[1.5, 1, 1], /^token_retention of the config has 1\.5 for layer 0; .*$/],
  ] as const)
    throwsOneLine(() => keepTokens(bert(), wrong), line);
  throwsOneLine(() => keepTokens(bert(), 0), /^retentionOf: each layer is to leave 0 of its tokens; .*$/);
  throwsOneLine(() => keepTokens(bert(), Infinity), /^retentionOf: each layer is to leave Infinity .*$/);
  throwsOneLine(
    () => keepTokens(withExits(bert()), 0.5),
    /^token_retention .* does not go with early_exit_entropy; .*$/,
  );
  throwsOneLine(() => withExits(model), /^token_retention .* does not go with early_exit_entropy; .*$/);
  throwsOneLine(() => keepLayers(model, [0]), /^keepLayers: tokens leave the model between its layers; .*$/);
  const line = /^token_retention: later layers have fewer tokens, .*; take it out of config\.json to see them/;
  throwsOneLine(() => model.forward({ ...inputs, outputAttentions: true }), line);
  throwsOneLine(() => model.forward({ ...inputs, outputHiddenStates: true }), line);
  const mask = tril(ones([texts.length, width, width])).to('i32');
  throwsOneLine(
    () => model.forward({ inputIds: inputs.inputIds, attentionMask: mask }),
    /^token_retention: a mask for each query, .*; give an attentionMask \[batch, tokens\]/,
  );
  const distil = await loadModel(goldenFile('tiny-distilbert'));
  throwsOneLine(() => keepTokens(distil as never, 0.5), /^keepTokens: a \w+ does not drop tokens here; give a .*$/);
});

test('the script: fewer tokens, measured, trained on, saved; killed and resumed to the bit; refusals', async () => {
  const data = join(folder, 'reviews.csv');
  writeFileSync(data, reviews);
  const base = join(folder, 'base');
  const script = (name: string, args: readonly string[], options = {}) =>
    runScript([`train/${name}.ts`, '--data', data, ...args], options);
  const trained = await script('finetune-classifier', ['--output', base, '--epochs', '4', ...smallClassifier]);
  assert.is(trained.code, 0, trained.stderr);
  const training = ['--max-length', '12', '--batch-size', '8', '--learning-rate', '0.01', '--epochs', '1'];
  const args = ['--model', base, ...training];
  const output = join(folder, 'tokens');
  const done = await script('prune', [...args, '--tokens', '0.5', '--output', output]);
  assert.is(done.code, 0, done.stderr);
  assert.match(done.stdout, /\nbefore .*\nsmaller .*\nafter /);
  const classifier = await loadTextClassifier(output);
  const layers = (classifier.model.config as BertConfig).numHiddenLayers;
  assert.equal(classifier.model.config.extra['token_retention'], retentionOf(0.5, layers));
  assert.is((await classifyTexts(classifier, ['good good film', 'a bad one'])).length, 2);

  const few = await script('prune', [...args, '--tolerance', '1', '--output', join(folder, 'few')]);
  assert.is(few.code, 0, few.stderr);
  assert.match(few.stdout, /\ntokens {2}each layer leaves 0\.1 of those that it reads\n/);

  const killed = join(folder, 'killed');
  const again = [...args, '--tokens', '0.5', '--save-every', '3', '--output'];
  const stopped = await script('prune', [...again, killed], { killAt: join(killed, 'checkpoint-3') });
  assert.is(stopped.signal, 'SIGKILL', stopped.stderr);
  const straight = await script('prune', [...again, join(folder, 'straight')]);
  assert.is(straight.code, 0, straight.stderr);
  await resumesAs(join(folder, 'straight'), killed, () => script('prune', [...again, killed, '--resume']));
  for (const wrong of ['0', '1.5', '0.5,,0.2', 'half'])
    refused(
      await script('prune', ['--model', base, '--tokens', wrong]),
      2,
      /^prune: --tokens ".*": give shares above 0, at most 1, with commas between$/,
    );
  refused(
    await script('prune', ['--model', base, '--tokens', '0.5', '--tolerance', '0.1']),
    2,
    /^prune: --tokens and --tolerance both say how many tokens stay; give one$/,
  );
});

test('the fewest tokens are those before the first that cost more than the tolerance', async () => {
  const model = bert();
  // The model's own answers are the truth, so that it makes no mistakes.
  const examples = texts.map((row) => ({
    inputIds: Int32Array.from(row),
    tokenTypeIds: new Int32Array(row.length),
  }));
  const answers = (await noGrad(() => model.forward(inputs).logits).tolist()) as number[][];
  const labelled = answers.map(([a, b], i) => ({ ...examples[i]!, label: b! > a! ? 1 : 0 }));
  const trained = {
    classifier: { model, tokenizer: {} },
    data: { kind: 'classification' },
    validation: labelled,
  } as unknown as Parameters<typeof fewestTokens>[0];
  const lost = async (share: number): Promise<number> => {
    const said = (await noGrad(() => keepTokens(model, share).forward(inputs).logits).tolist()) as number[][];
    return said.filter(([a, b], i) => (b! > a! ? 1 : 0) !== labelled[i]!.label).length / texts.length;
  };
  const all = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1];
  const costs = await Promise.all(all.map(lost));
  assert.ok(Math.max(...costs) > 0.1, costs.join());
  for (const tolerance of [0, 0.05, 0.1, 1]) {
    const first = costs.findIndex((cost) => cost > tolerance + 1e-12);
    const wanted = first < 0 ? 0.1 : first === 0 ? 1 : all[first - 1]!;
    assert.is(await fewestTokens(trained, tolerance, 8), wanted, `${tolerance}: ${costs.join()}`);
  }
  await rejects(fewestTokens({ ...trained, validation: [] }, 0, 8), /^fewestTokens: there is no validation part .*$/);
});

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();
