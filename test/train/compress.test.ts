// Models made smaller: layers, heads and units taken out, weights held at zero, and a student of a teacher.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../common/random.ts';
import { svd } from '../../common/svd.ts';
import { assign, crossEntropy, manualSeed, matmul, mul, noGrad, scope, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import {
  BertConfig,
  BertForSequenceClassification,
  BertModel,
  changedLayers,
  hasExits,
  loadModel,
  LowRankLinear,
  MaskedLinear,
  withChangedLayers,
} from '../../models/index.ts';
import type { AlbertConfig, CausalLM, SequenceClassificationModel } from '../../models/index.ts';
import { albertFrom } from '../../train/compress/albert.ts';
import { distillation, layerMap, softLoss } from '../../train/compress/distillation.ts';
import { lowRank, rankFor } from '../../train/compress/low-rank.ts';
import { masked, movementPruning, withoutMasks } from '../../train/compress/movement.ts';
import { outcomesTable, paretoFront } from '../../train/compress/outcomes.ts';
import type { Outcome } from '../../train/compress/outcomes.ts';
import { InputProducts } from '../../train/compress/gptq.ts';
import { sparseGpt } from '../../train/compress/sparse-gpt.ts';
import { importanceOf, leastImportant, others } from '../../train/compress/importance.ts';
import {
  headsOf,
  keepLayers,
  keepUnits,
  layersOf,
  pruneHeads,
  readersOf,
  unitsOf,
} from '../../train/compress/smaller.ts';
import type { Shrinkable } from '../../train/compress/smaller.ts';
import { inputNormsOf, masksOf, PrunedWeights, sparsityAt } from '../../train/compress/weights.ts';
import type { WeightPruning } from '../../train/compress/weights.ts';
import type { StepRecord } from '../../train/trainer/callback.ts';
import { rejects, throwsOneLine } from '../support/failure.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';
import { reviews, smallClassifier } from '../support/reviews.ts';
import { refused, resumesAs, runScript } from '../support/script.ts';
import type { Finished, ScriptOptions } from '../support/script.ts';
import { i32, values } from '../support/small-bert.ts';

const test = suite('compression');
const folder = mkdtempSync(join(tmpdir(), 'tapeform-compress-'));

const config = BertConfig.create({
  ...{ vocabSize: 20, hiddenSize: 8, numHiddenLayers: 3, numAttentionHeads: 4, intermediateSize: 6 },
  ...{ maxPositionEmbeddings: 10, initializerRange: 0.5 },
});
const inputs = {
  inputIds: i32([
    [3, 4, 5, 9],
    [6, 7, 2, 0],
  ]),
  attentionMask: i32([
    [1, 1, 1, 1],
    [1, 1, 1, 0],
  ]),
};
const labels = i32([[1, 0]]).reshape(2);

function bert(seed = 1): BertForSequenceClassification {
  manualSeed(seed);
  return new BertForSequenceClassification(config).eval();
}

const ranksOf = ({ config: own }: Shrinkable) => changedLayers(own, 'low_rank');

const logitsOf = (model: BertForSequenceClassification): Promise<number[]> =>
  values(noGrad(() => model.forward(inputs).logits));
const lossOf = (model: BertForSequenceClassification): Tensor => model.forward({ ...inputs, labels }).loss!;

/** Multiplies what layer `layer` reads of group `at` of `groups` by a factor, in its weights. */
function scaleGroup(module: object, at: number, groups: number, factor: number): void {
  const { weight } = module as { weight: Tensor };
  const [, width] = weight.shape as [number, number];
  const size = width / groups;
  const row = Float32Array.from({ length: width }, (_, i) => (Math.floor(i / size) === at ? factor : 1));
  noGrad(() => assign(weight, mul(weight, tensor(row, { shape: [1, width] }))));
}

test('a model of some layers has those, and the rest of the whole', async () => {
  const model = bert();
  const whole = await logitsOf(model);
  assert.is(layersOf(model), 3);
  assert.equal(await logitsOf(keepLayers(model, [0, 1, 2])), whole);
  const two = keepLayers(model, [2, 0]);
  assert.is(two.config.numHiddenLayers, 2);
  const key = (layer: number): string => `bert.encoder.layer.${layer}.output.dense.weight`;
  const [before, after] = [model.stateDict(), two.stateDict()];
  assert.equal(await values(after.get(key(0))!), await values(before.get(key(2))!));
  assert.equal(await values(after.get(key(1))!), await values(before.get(key(0))!));
  assert.equal(await values(after.get('classifier.weight')!), await values(before.get('classifier.weight')!));
  assert.equal(await logitsOf(model), whole, 'the model itself is as it was');
  // What was pruned before goes with its layer.
  const pruned = keepLayers(pruneHeads(model, [[], [], [1]]), [2]);
  assert.equal(pruned.config.prunedHeads, { 0: [1] });
  for (const [kept, line] of [
    [[3], /^keepLayers: layer 3 is there twice or is none of 0 to 2$/],
    [[1, 1], /^keepLayers: layer 1 is there twice .*$/],
    [[NaN], /^keepLayers: layer NaN is there twice .*$/],
    [[], /^keepLayers: no layer is left; keep at least one of 3$/],
  ] as const)
    throwsOneLine(() => keepLayers(model, kept), line);
  const marian = await loadModel(goldenFile('tiny-marian'));
  throwsOneLine(
    () => keepLayers(marian, [0]),
    /^keepLayers: MarianMTModel has 2 stacks of layers \(.*\), where one .*$/,
  );
  const albert = await loadModel(goldenFile('tiny-albert'));
  throwsOneLine(() => keepLayers(albert, [0]), /^keepLayers: \w+ has 0 stacks of layers .*$/);
});

test('units and heads that are gone: as if nothing read them; saved and loaded again', async () => {
  const model = bert();
  assert.is(unitsOf(model), 6);
  const kept = [
    [0, 1, 4],
    [2, 3, 5],
    [0, 3, 5],
  ];
  const gone = [[0], [1, 3], []];
  const small = pruneHeads(keepUnits(model, kept), gone);
  assert.equal([small.config.intermediateSize, small.config.prunedHeads], [3, { 0: [0], 1: [1, 3] }]);
  assert.equal(headsOf(small), [
    [1, 2, 3],
    [0, 2],
    [0, 1, 2, 3],
  ]);
  const { attention, feedForward } = readersOf('test', model);
  kept.forEach((list, layer) => others(list, 6).forEach((unit) => scaleGroup(feedForward[layer]!, unit, 6, 0)));
  gone.forEach((list, layer) => list.forEach((head) => scaleGroup(attention[layer]!, head, 4, 0)));
  assert.ok(largestDifference(await logitsOf(small), await logitsOf(model)) < 1e-6);
  assert.ok(small.numParameters() < model.numParameters());
  const path = join(folder, 'small');
  await small.savePretrained(path);
  const loaded = (await loadModel(path)) as BertForSequenceClassification;
  assert.equal(await logitsOf(loaded.eval()), await logitsOf(small));
  // Again, by the numbers of the heads as they were.
  assert.equal(headsOf(pruneHeads(small, [[2], [], []]))[0], [1, 3]);
  throwsOneLine(() => pruneHeads(small, [[0], [], []]), /^pruneHeads: layer 0 has no head 0, only 1, 2, 3$/);
  throwsOneLine(() => pruneHeads(small, [[1, 2, 3], [], []]), /^pruneHeads: layer 0 would have no head; .*$/);
  throwsOneLine(() => pruneHeads(model, [[0]]), /^pruneHeads: a list for each of 3 layers, got 1$/);
  throwsOneLine(() => keepUnits(model, [[0], [1], [6]]), /^keepUnits, layer 2: unit 6 is there twice .*$/);
  throwsOneLine(() => keepUnits(model, [[0], [1], [2, 3]]), /^keepUnits: layer 2 keeps 2 units, layer 0 1; .*$/);
  const json = { ...JSON.parse(small.configText()), pruned_heads: { 0: [4] } } as Record<string, unknown>;
  throwsOneLine(
    () => BertConfig.fromJson(json, 'config.json'),
    /^config.json: pruned_heads of layer 0 has 4, which .*$/,
  );
  throwsOneLine(
    () => BertConfig.fromJson({ ...json, pruned_heads: { 1: [0, 1, 2, 3] } }, 'config.json'),
    /^config.json: pruned_heads takes all 4 heads of layer 1; leave one$/,
  );
  const gpt = await loadModel(goldenFile('tiny-gpt2'));
  throwsOneLine(
    () =>
      pruneHeads(
        gpt,
        Array.from({ length: layersOf(gpt) }, () => []),
      ),
    /^pruneHeads: GPT2\w+ cannot say so in its config.json; give BERT, RoBERTa or ELECTRA$/,
  );
});

test('an ALBERT of a BERT: the same answers where its narrow embeddings hold all that layers read', async () => {
  manualSeed(7);
  const own = { ...settingsOf(), vocabSize: 6, numHiddenLayers: 1, typeVocabSize: 1, initializerRange: 0.5 };
  const model = new BertForSequenceClassification(BertConfig.create(own)).eval();
  const { positionEmbeddings, wordEmbeddings, LayerNorm } = model.bert.embeddings;
  const random = new Random(7);
  const some = (...shape: number[]): Tensor =>
    tensor(
      Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => random.normal()),
      { shape },
    );
  noGrad(() => {
    // Six words, the mean of which is 0, have five directions; positions move nothing.
    assign(positionEmbeddings!.weight, mul(positionEmbeddings!.weight, tensor(0)).add(0.1));
    assign(wordEmbeddings.weight, some(6, 8));
    assign(LayerNorm.weight, some(8));
    assign(LayerNorm.bias, some(8));
  });
  const words = { ...inputs, inputIds: i32([[3, 4, 5, 1], [2, 2, 0, 0]]) }; // prettier-ignore
  const answers = (of: SequenceClassificationModel): Promise<number[]> =>
    values(noGrad(() => of.forward(words).logits));
  const wanted = await answers(model);
  const albert = await albertFrom(model, { embeddingSize: 7 });
  assert.ok(largestDifference(await answers(albert), wanted) < 1e-5, `${await answers(albert)}, not ${wanted}`);
  const narrow = await albertFrom(model, { embeddingSize: 4 });
  assert.ok(largestDifference(await answers(narrow), wanted) > 1e-3, 'of two components not');
  const size = (of: Tensor): number => Math.sqrt(of.numel());
  const [before, after] = [wordEmbeddings.weight, albert.albert.embeddings.wordEmbeddings.weight];
  const length = async (of: Tensor): Promise<number> => Math.hypot(...(await values(of))) / size(of);
  assert.ok(Math.abs((await length(after)) / (await length(before)) - 1) < 1e-4, 'as large as before');

  const twice = await albertFrom(bert(), { embeddingSize: 5, layers: 2 });
  assert.equal([twice.config.numHiddenLayers, twice.config.embeddingSize, twice.config.labels], [2, 5, config.labels]);
  const path = join(folder, 'albert');
  await twice.savePretrained(path);
  const loaded = (await loadModel(path)) as typeof twice;
  assert.equal(await answers(loaded.eval()), await answers(twice));
  for (const [wrong, line] of [
    [albertFrom(model, { embeddingSize: 2 }), /^albertFrom: embeddings are to be 2 wide; give 3 to 8, .*$/],
    [albertFrom(twice, { embeddingSize: 4 }), /^albertFrom: a AlbertFor\w+ is given; .*$/],
    [albertFrom(pruneHeads(bert(), [[0], [], []]), { embeddingSize: 4 }), /^albertFrom: the BERT lacks heads .*$/],
  ] as const)
    await rejects(wrong, line);
});

test('layers of low rank are the nearest there are; saved, loaded as the base, too; misfits are refused', async () => {
  const model = bert();
  const thin = await lowRank(model, { share: 0.6 });
  const ranks = { ...ranksOf(thin) };
  assert.is(Object.keys(ranks).length, 18);
  assert.equal([ranks['encoder.layer.0.attention.self.query'], ranks['encoder.layer.2.output.dense']], [2, 2]);
  const [whole, parts] = [model.stateDict(), thin.stateDict()];
  for (const name of Object.keys(ranks)) {
    const key = `bert.${name}`;
    const weight = whole.get(`${key}.weight`)!;
    const product = noGrad(() => matmul(parts.get(`${key}.up.weight`)!, parts.get(`${key}.down.weight`)!));
    const { s } = svd(await values(weight), weight.shape[0]!, weight.shape[1]!);
    const error = await values(noGrad(() => weight.sub(product)));
    const least = Math.hypot(...s.subarray(ranks[name]!)); // Eckart and Young
    assert.ok(Math.abs(Math.hypot(...error) - least) < 1e-5, name);
    const after = svd(await values(product), weight.shape[0]!, weight.shape[1]!).s;
    assert.ok(after[ranks[name]!]! < 1e-6 && after[ranks[name]! - 1]! > 1e-3, `${name} is of rank ${ranks[name]}`);
    noGrad(() => assign(weight, product));
  }
  const logits = await logitsOf(thin);
  assert.ok(largestDifference(logits, await logitsOf(model)) < 1e-5, 'it computes with the products');
  assert.ok(thin.numParameters() < model.numParameters());
  const path = join(folder, 'thin');
  await thin.savePretrained(path);
  const loaded = (await loadModel(path)) as BertForSequenceClassification;
  assert.equal(await logitsOf(loaded), logits);
  const base = await BertModel.fromPretrained(path, undefined, { log: () => undefined });
  assert.equal(
    await values(noGrad(() => base.forward(inputs).lastHiddenState)),
    await values(noGrad(() => thin.bert.forward(inputs).lastHiddenState)),
  );
  // It learns, and its two halves do.
  lossOf(loaded).backward();
  const { down, up } = loaded.bert.encoder.layer[1]!.intermediate.dense as unknown as LowRankLinear;
  for (const half of [down, up]) assert.ok((await values(half.weight.grad!)).some((g) => g !== 0));

  const kept = (energy: number): Promise<number[]> =>
    lowRank(bert(), { energy }).then((m) => Object.values(ranksOf(m)));
  const [some, more] = [await kept(0.3), await kept(0.5)];
  assert.ok(some.every((rank, i) => rank >= 1 && rank <= (more[i] ?? rank)) && some.join() !== more.join());
  assert.is(rankFor([2, 1, 1, 1], [4, 20], { energy: 5 / 7 }), 2);
  assert.is(rankFor([2, 1, 1, 1], [4, 4], { energy: 5 / 7 }), 0);
  await rejects(lowRank(bert(), { energy: 1 }), /^lowRank: no layer of the BertFor\w+ gets smaller .* keep less$/);
  await rejects(lowRank(bert(), { share: 1 }), /^lowRank: a share of 1 of the weights is to stay; .*$/);
  await rejects(lowRank(bert(), {}), /^lowRank: give either a share .*$/);
  await rejects(lowRank(thin, { share: 0.5 }), /^lowRank: layers of the model are of low rank already; .*$/);
  throwsOneLine(() => keepLayers(thin, [0]), /^keepLayers: layers of the model are changed already \(low_rank\); .*$/);
  await rejects(
    lowRank(await loadModel(goldenFile('tiny-gpt2')), { share: 0.5 }),
    /^lowRank: \S+ holds its weights the other way round, .*$/,
  );
  for (const [wrong, line] of [
    [{ 'encoder.layer.9.output.dense': 2 }, /^low_rank of the config: \S+ is no module of a BertModel$/],
    [{ 'encoder.layer.0.output.dense': 7 }, /^low_rank .* has 7; of \[8, 6\] it is 1 to 6$/],
    [{ 'encoder.layer.0.output': 1 }, /^low_rank .* is a \w+; only linear layers can be changed so$/],
  ] as const)
    throwsOneLine(() => BertModel.fromConfig(withChangedLayers(config, 'low_rank', wrong)), line);
});

test('decoders and other encoders, too: a model of all its layers and units is the model', async () => {
  for (const name of ['tiny-llama', 'tiny-gpt2', 'tiny-opt', 'tiny-gpt-neox', 'tiny-gemma2', 'tiny-olmo2']) {
    const model = (await loadModel(goldenFile(name))) as CausalLM & Shrinkable;
    const run = (of: CausalLM): Promise<number[]> =>
      values(noGrad(() => of.forward({ inputIds: inputs.inputIds }).logits));
    const all = Array.from({ length: unitsOf(model) }, (_, i) => i);
    const layers = Array.from({ length: layersOf(model) }, (_, i) => i);
    const same = keepUnits(
      keepLayers(model, layers),
      layers.map(() => all),
    );
    assert.equal(await run(same.eval()), await run(model.eval()), name);
    const half = all.filter((i) => i % 2 === 0);
    const smaller = keepUnits(
      keepLayers(model, layers.slice(1)),
      layers.slice(1).map(() => half),
    );
    assert.is(unitsOf(smaller), half.length, name);
    assert.is(layersOf(smaller), layers.length - 1, name);
    assert.ok((await run(smaller.eval())).every(Number.isFinite), name);
  }
  for (const name of ['tiny-distilbert', 'tiny-mpnet', 'tiny-electra', 'tiny-deberta-v2']) {
    const model = await loadModel(goldenFile(name));
    const half = Array.from({ length: unitsOf(model) >> 1 }, (_, i) => i);
    const smaller = keepUnits(keepLayers(model, [0]), [half]);
    assert.equal([layersOf(smaller), unitsOf(smaller)], [1, half.length], name);
  }
});

test('what heads and units count is the mean of |dL/dgate|, as differences of the loss say', async () => {
  const model = bert();
  const single = (row: number) => ({
    inputIds: inputs.inputIds.slice([row, row + 1]),
    attentionMask: inputs.attentionMask.slice([row, row + 1]),
    labels: labels.slice([row, row + 1]),
  });
  const found = await importanceOf(model, [0], {
    rows: () => 2,
    loss: () => lossOf(model),
    normalise: false,
  });
  const { attention, feedForward } = readersOf('test', model);
  const lossAt = (row: number): Promise<number> => noGrad(() => model.forward(single(row)).loss!).item();
  const h = 0.01;
  for (const [scores, modules, groups] of [
    [found.heads, attention, 4],
    [found.units, feedForward, 6],
  ] as const) {
    for (const [layer, module] of modules.entries()) {
      const { weight } = module as unknown as { weight: Tensor };
      const before = Float32Array.from(await values(weight));
      for (let at = 0; at < groups; at++) {
        let total = 0;
        for (const row of [0, 1]) {
          const sides: number[] = [];
          for (const factor of [1 + h, 1 - h]) {
            scaleGroup(module, at, groups, factor);
            sides.push(await lossAt(row));
            noGrad(() => assign(weight, tensor(before, { shape: [...weight.shape] })));
          }
          total += Math.abs(sides[0]! - sides[1]!) / (2 * h);
        }
        assert.ok(
          Math.abs(scores[layer]![at]! - total / 2) < 2e-3,
          `${layer} ${at}: ${scores[layer]![at]} ${total / 2}`,
        );
      }
    }
  }
  const normalised = await importanceOf(model, [0], { rows: () => 2, loss: () => lossOf(model) });
  for (const layer of [...normalised.heads, ...normalised.units]) assert.ok(Math.abs(Math.hypot(...layer) - 1) < 1e-5);
  assert.not.ok(
    model.modules().some((module) => module.isHooked),
    'no hook is left',
  );
  await rejects(
    importanceOf(model, [], { rows: () => 1, loss: () => lossOf(model) }),
    /^importanceOf: there are no .*$/,
  );
});

test('the least important go: of a layer as many each, of the model wherever they are, one head stays', () => {
  const scores = [Float32Array.of(0.1, 0.9, 0.2, 0.8), Float32Array.of(0.3, 0.4, 0.5, 0.6)];
  assert.equal(leastImportant(scores, 0.5, 'layer'), [
    [0, 2],
    [0, 1],
  ]);
  assert.equal(leastImportant(scores, 0.5, 'model'), [
    [0, 2],
    [0, 1],
  ]);
  assert.equal(leastImportant([Float32Array.of(0.1, 0.2), Float32Array.of(0.8, 0.9)], 0.5, 'model'), [[0], [0]]);
  assert.equal(leastImportant(scores, 0, 'model'), [[], []]);
  throwsOneLine(() => leastImportant(scores, 1, 'model'), /^leastImportant: a share of 1 is to go; .*$/);
});

test('masks: so many of a row, a layer, a model, of each four; ties; Wanda', () => {
  const weights = new Map([
    ['a', { values: Float32Array.of(1, -5, 2, 8, -3, 0, 7, 4), width: 4 }],
    ['b', { values: Float32Array.of(9, 10, 11, 12), width: 4 }],
  ]);
  const masks = (options: Partial<WeightPruning>): number[][] =>
    [...masksOf(weights, { sparsity: 0.5, scope: 'layer', ...options }).values()].map((mask) => [...mask]);
  assert.equal(masks({ scope: 'row' }), [
    [0, 1, 0, 1, 0, 0, 1, 1],
    [0, 0, 1, 1],
  ]);
  assert.equal(masks({}), [
    [0, 1, 0, 1, 0, 0, 1, 1],
    [0, 0, 1, 1],
  ]);
  assert.equal(masks({ scope: 'model' }), [
    [0, 0, 0, 1, 0, 0, 1, 0],
    [1, 1, 1, 1],
  ]);
  assert.equal(masks({ pattern: '1:2', sparsity: 0 }), [
    [0, 1, 0, 1, 1, 0, 1, 0],
    [0, 1, 0, 1],
  ]);
  const inputNorms = new Map([['a', Float32Array.of(10, 1, 1, 0)]]);
  assert.equal(masks({ scope: 'row', inputNorms })[0], [1, 1, 0, 0, 1, 0, 1, 0]);
  const equal = masksOf(new Map([['c', { values: new Float32Array(10).fill(2), width: 10 }]]), {
    sparsity: 0.3,
    scope: 'model',
  });
  assert.equal([...equal.get('c')!], [0, 0, 0, 1, 1, 1, 1, 1, 1, 1]);
  for (const sparsity of [1, 1.5, -0.1, NaN])
    throwsOneLine(() => masks({ sparsity }), /^pruneWeights: a sparsity of \S+ is asked for; give 0 up to below 1$/);
  throwsOneLine(() => masks({ pattern: '4:2' }), /^pruneWeights: the pattern is "4:2"; write 2:4 .*$/);
  throwsOneLine(() => masks({ pattern: '2:3' }), /^pruneWeights: a has 4 inputs, which are no multiple of 3$/);
  assert.equal(
    [0, 5, 10, 20].map((step) => sparsityAt(step, 0.8, 10)),
    [0, 0.7000000000000001, 0.8, 0.8],
  );
});

test('weights at zero stay there, steps of an optimizer or not; a run that goes on finds them', async () => {
  const model = bert();
  const pruned = new PrunedWeights(model);
  await pruned.prune({ sparsity: 0.5, scope: 'model' });
  assert.ok(Math.abs((await pruned.sparsity()) - 0.5) < 0.001);
  const { weight } = model.bert.encoder.layer[0]!.output.dense;
  const zeros = (await values(weight)).map((w) => w === 0);
  noGrad(() => assign(weight, weight.add(1)));
  pruned.apply();
  assert.equal(
    (await values(weight)).map((w) => w === 0),
    zeros,
  );
  const again = new PrunedWeights(model);
  await again.hold();
  noGrad(() => assign(weight, weight.add(1)));
  again.apply();
  assert.equal(
    (await values(weight)).map((w) => w === 0),
    zeros,
  );
  await again.prune({ sparsity: 0.75, scope: 'model' });
  const more = (await values(weight)).map((w) => w === 0);
  assert.ok(
    zeros.every((was, i) => !was || more[i]),
    'those that were zero are zero still',
  );
});

test('movement: scores learn dL/dW W of all weights, those that are out too; which may come back', async () => {
  const dense = bert();
  const moving = masked(dense);
  assert.equal(await logitsOf(moving), await logitsOf(dense));
  const layers = () =>
    moving.namedModules().filter((pair): pair is [string, MaskedLinear] => pair[1] instanceof MaskedLinear);
  assert.is(layers().length, 18);
  // Half of the weights out, by a mask that has nothing to do with the scores.
  for (const [, { mask }] of layers()) {
    const half = Float32Array.from({ length: mask.size }, (_, i) => (i * 7) % 2);
    noGrad(() => assign(mask, tensor(half, { shape: [...mask.shape] })));
  }
  const plain = withoutMasks(moving);
  assert.equal(await logitsOf(moving), await logitsOf(plain));
  lossOf(moving).backward();
  lossOf(plain).backward();
  const [own, whole] = [new Map(layers()), new Map(plain.namedParameters())];
  for (const [name, { weight, mask, scores }] of own) {
    // By the definition (Sanh et al. 2020, equation 3): the gradient of the weight that is computed with.
    const g = await values(whole.get(`${name}.weight`)!.grad!);
    const [w, m] = [await values(weight), await values(mask)];
    assert.ok(
      largestDifference(
        await values(scores.grad!),
        g.map((x, i) => x * w[i]!),
      ) < 1e-6,
      name,
    );
    assert.ok(
      largestDifference(
        await values(weight.grad!),
        g.map((x, i) => x * m[i]!),
      ) < 1e-6,
      name,
    );
  }

  const { callback, objective } = movementPruning(moving, { sparsity: 0.5, scope: 'layer', steps: 20, every: 5 });
  assert.is(objective, undefined);
  const record = (step: number): StepRecord => ({ step, loss: 0, lr: 0, gradNorm: 0, tokens: 1, seconds: 0, time: 0 });
  const [[, first]] = layers() as [[string, MaskedLinear]];
  const set = (value: (i: number) => number): Tensor =>
    noGrad(() => assign(first.scores, tensor(Float32Array.from({ length: first.scores.size }, (_, i) => value(i)))));
  const out = async (): Promise<number[]> => (await values(first.mask)).flatMap((m, i) => (m === 0 ? [i] : []));
  set((i) => i);
  for (let step = 1; step <= 5; step++) await callback.onStep!(record(step));
  // 0.5 (1 - (1 - 5 / 15)^3) of 64 weights
  assert.equal(
    await out(),
    Array.from({ length: 23 }, (_, i) => i),
  );
  set((i) => -i);
  for (let step = 6; step <= 20; step++) await callback.onStep!(record(step));
  assert.equal(
    await out(),
    Array.from({ length: 32 }, (_, i) => 32 + i),
    'by the scores of the moment',
  );
  assert.ok(Math.abs((await new PrunedWeights(withoutMasks(moving)).sparsity()) - 0.5) < 0.001);

  const path = join(folder, 'moving');
  await moving.savePretrained(path);
  const loaded = (await loadModel(path)) as BertForSequenceClassification;
  assert.equal(await logitsOf(loaded), await logitsOf(moving));
  await plain.savePretrained(path);
  assert.ok((await loadModel(path)).modules().every((module) => !(module instanceof MaskedLinear)));

  const options = { sparsity: 0, scope: 'layer', steps: 20 } as const;
  throwsOneLine(() => movementPruning(dense, options), /^movementPruning: BertFor\w+ has no layer that learns .*$/);
  throwsOneLine(() => movementPruning(moving, { ...options, sparsity: 1.5 }), /^pruneWeights: a sparsity of 1.5 .*$/);
  throwsOneLine(() => movementPruning(moving, { ...options, pattern: '2:3' }), /^pruneWeights: bert\S+ has 8 .* of 3$/);
  for (const penalty of [0, NaN, Infinity])
    throwsOneLine(() => movementPruning(moving, { ...options, penalty }), /^movementPruning: a penalty of \S+ is .*$/);
  throwsOneLine(() => masked(moving), /^masked: bert\.\S+ is a MaskedLinear; only plain linear layers .*$/);
  throwsOneLine(() => keepLayers(moving, [0]), /^keepLayers: layers of the model are changed already \(masked\); .*$/);
  throwsOneLine(
    () => BertModel.fromConfig(withChangedLayers(config, 'masked', { 'encoder.layer.0.output.dense': -1 })),
    /^masked of the config: \S+ has -1; of \[8, 6\] it is a number above 0$/,
  );
});

test('movement with a penalty: its gradient is that of the mean sigmoid; weights go by one limit', async () => {
  const moving = masked(bert());
  const penalty = 40;
  const schedule = { sparsity: 0, scope: 'model', penalty, steps: 8, every: 2 } as const;
  const { callback, objective } = movementPruning(moving, schedule);
  assert.equal(objective!.parts, ['labels', 'penalty']);
  const layers = moving.modules().filter((module) => module instanceof MaskedLinear);
  const size = layers.reduce((all, { scores }) => all + scores.size, 0);
  const losses = () => objective!.losses(inputs, labels, {});
  assert.is(await losses()['penalty']!.item(), 0, 'none at first');
  const [layer] = layers as [MaskedLinear];
  // Of multiplied scores 0.01 i - 3: sigmoid above 0.1 from -2.197 on.
  const multiplied = Array.from({ length: layer.scores.size }, (_, i) => 0.03 * i - 3);
  noGrad(() => assign(layer.scores, tensor(multiplied.map((s) => s / layer.rate))));
  for (let step = 1; step <= 8; step++)
    await callback.onStep!({ step, loss: 0, lr: 0, gradNorm: 0, tokens: 1, seconds: 0, time: 0 });
  assert.equal(
    await values(layer.mask),
    multiplied.map((s) => Number(s > Math.log(1 / 9))),
  );
  const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
  const wanted = (0.5 * (size - multiplied.length) + multiplied.reduce((all, s) => all + sigmoid(s), 0)) / size;
  assert.ok(Math.abs((await losses()['penalty']!.item()) - penalty * wanted) < 1e-4);
  losses()['penalty']!.backward();
  const slopes = multiplied.map((s) => (penalty * sigmoid(s) * (1 - sigmoid(s))) / size);
  assert.ok(largestDifference(await values(layer.scores.grad!), slopes) < 1e-6);
  // A run that goes on has the penalty of the last choice before.
  const later = movementPruning(moving, schedule);
  await later.callback.onStart!(5);
  const share = sparsityAt(4, 1, 6);
  assert.ok(
    Math.abs((await later.objective!.losses(inputs, labels, {})['penalty']!.item()) - penalty * share * wanted) < 1e-4,
  );
});

/** SparseGPT of two rows of n weights equals its definition; the inputs, X^T X and weights it was given. */
function sparseGptOf(n: number, tokens: number, random: Random) {
  const x = Array.from({ length: tokens }, () => {
    const common = random.normal();
    return Array.from({ length: n }, () => common + random.normal());
  });
  const hessian = new Float64Array(n * n);
  for (const row of x) for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) hessian[i * n + j]! += row[i]! * row[j]!;
  const before = Float32Array.from({ length: 2 * n }, () => random.normal());
  for (const [options, zeros] of [
    [{ sparsity: 0.5 }, n],
    [{ sparsity: 0, group: [1, 3] as const }, (4 * n) / 3],
  ] as const) {
    const weights = before.slice();
    const mask = sparseGpt(weights, hessian, { ...options, damping: 1e-9 });
    assert.is(mask.filter((m) => m === 0).length, zeros);
    assert.ok(weights.every((w, i) => (w === 0) === (mask[i] === 0)));
    if ('group' in options)
      for (let at = 0; at < mask.length; at += 3)
        assert.is(
          mask.slice(at, at + 3).reduce((a, b) => a + b),
          1,
        );
    // By the definition: where input i goes, those behind it take over as H restricted to i and them says.
    for (const row of [0, 1]) {
      const left = Array.from(before.subarray(row * n, (row + 1) * n), Number);
      for (let i = 0; i < n; i++) {
        if (mask[row * n + i] === 1) continue;
        const open = Array.from({ length: n - i - 1 }, (_, k) => i + 1 + k);
        // H_oo d = w_i h_oi
        const d = solved(
          open.map((a) => open.map((b) => hessian[a * n + b]!)),
          open.map((a) => left[i]! * hessian[a * n + i]!),
        );
        open.forEach((a, k) => (left[a]! += d[k]!));
        left[i] = 0;
      }
      const wanted = left.map((w, i) => (mask[row * n + i] === 0 ? 0 : w));
      const found = [...weights.subarray(row * n, (row + 1) * n)];
      assert.ok(largestDifference(found, wanted) < 1e-5, `${found.join()}, not ${wanted.join()}`);
    }
  }
  return { x, hessian, before };
}

test('SparseGPT: those that are left take over, as least squares say; groups; padding does not count', async () => {
  const random = new Random(4);
  const [n, rows] = [6, 2];
  const { x, hessian, before } = sparseGptOf(n, 40, random);
  sparseGptOf(135, 300, random); // more than are chosen among together
  // Of weights that are chosen by their size alone, and are not taken over, more is lost.
  const lost = (after: Float32Array): number =>
    x.reduce((sum, row) => {
      for (let r = 0; r < rows; r++)
        sum += row.reduce((s, value, i) => s + value * (after[r * n + i]! - before[r * n + i]!), 0) ** 2;
      return sum;
    }, 0);
  const own = before.slice();
  sparseGpt(own, hessian, { sparsity: 0.5 });
  const mask = masksOf(new Map([['a', { values: before, width: n }]]), { sparsity: 0.5, scope: 'layer' }).get('a')!;
  assert.ok(lost(own) < 0.7 * lost(before.map((w, i) => w * mask[i]!)));

  const model = bert();
  const products = new InputProducts();
  await products.add(model, () => void model.forward(inputs), inputs.attentionMask);
  const states = (await noGrad(() =>
    model.bert.forward({ ...inputs, outputHiddenStates: true }),
  ).hiddenStates![0]!.tolist()) as number[][][];
  const [a, b] = [...states[0]!, ...states[1]!.slice(0, 3)].reduce(
    ([aa, ab], token) => [aa! + token[0]! ** 2, ab! + token[0]! * token[1]!],
    [0, 0],
  );
  const product = products.of('bert.encoder.layer.0.attention.self.query.weight')!;
  assert.ok(Math.abs(product[0]! - a!) < 1e-4 && Math.abs(product[1]! - b!) < 1e-4);
  const pruned = new PrunedWeights(model);
  await pruned.prune({ sparsity: 0.5, scope: 'row', products });
  assert.ok(Math.abs((await pruned.sparsity()) - 0.5) < 0.01);
  await rejects(pruned.prune({ sparsity: 1, scope: 'row', products }), /^pruneWeights: a sparsity of 1 .*$/);
  await rejects(
    pruned.prune({ sparsity: 0.5, scope: 'row', products: new InputProducts() }),
    /^pruneWeights: nothing is known of what bert\.\S+ reads; give texts that it does$/,
  );
});

/** x of a x = b, by Gauss and Jordan. */
function solved(a: number[][], b: number[]): number[] {
  const m = a.map((row, i) => [...row, b[i]!]);
  for (let i = 0; i < m.length; i++) {
    const pivot = m[i]![i]!;
    m[i] = m[i]!.map((v) => v / pivot);
    for (let r = 0; r < m.length; r++) if (r !== i) m[r] = m[r]!.map((v, c) => v - m[r]![i]! * m[i]![c]!);
  }
  return m.map((row) => row.at(-1)!);
}

test('norms of inputs are over the tokens that count', async () => {
  const model = bert();
  const found = await inputNormsOf(
    model,
    [inputs],
    (batch) => void model.forward(batch),
    ({ attentionMask }) => attentionMask,
  );
  const seen = noGrad(() => model.bert.forward({ ...inputs, outputHiddenStates: true })).hiddenStates![0]!;
  const states = (await seen.tolist()) as number[][][];
  const wanted = Array.from({ length: 8 }, (_, i) =>
    Math.hypot(...states.flatMap((row, b) => row.slice(0, b === 0 ? 4 : 3).map((token) => token[i]!))),
  );
  assert.ok(largestDifference(found.get('bert.encoder.layer.0.attention.self.query')!, wanted) < 1e-5);
  await rejects(
    inputNormsOf(
      model,
      [],
      () => undefined,
      () => inputs.attentionMask,
    ),
    /^inputNormsOf: there are no .*$/,
  );
});

const soft = (row: readonly number[], t: number): number[] => {
  const all = row.map((x) => Math.exp(x / t));
  const sum = all.reduce((a, b) => a + b, 0);
  return all.map((x) => x / sum);
};

test('the soft loss: T^2 KL of softened answers, of several labels cross-entropy, of a score the square', async () => {
  const s = [
    [1, -2, 0.5],
    [0.3, 0.1, 2],
  ];
  const t = [
    [2, 0, -1],
    [-1, 3, 0.2],
  ];
  const loss = (kind?: 'multi_label_classification' | 'regression'): Promise<number> =>
    softLoss(tensor(s), tensor(t), 2, kind).item();
  const kl = s.map((row, i) => {
    const [p, q] = [soft(t[i]!, 2), soft(row, 2)];
    return p.reduce((sum, x, j) => sum + x * Math.log(x / q[j]!), 0);
  });
  assert.ok(Math.abs((await loss()) - (4 * (kl[0]! + kl[1]!)) / 2) < 1e-5);
  const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
  const all = s.flatMap((row, i) =>
    row.map((x, j) => {
      const [p, q] = [sigmoid(t[i]![j]! / 2), sigmoid(x / 2)];
      return -p * Math.log(q) - (1 - p) * Math.log(1 - q);
    }),
  );
  assert.ok(Math.abs((await loss('multi_label_classification')) - (4 * all.reduce((a, b) => a + b)) / 6) < 1e-5);
  const squares = s.flatMap((row, i) => row.map((x, j) => (x - t[i]![j]!) ** 2));
  assert.ok(Math.abs((await loss('regression')) - squares.reduce((a, b) => a + b) / 6) < 1e-5);
  assert.equal([layerMap(3, 12), layerMap(2, 3), layerMap(1, 6)], [[3, 7, 11], [1, 2], [5]]);
});

test('a student like its teacher has no distance to it; others are refused with the reason', async () => {
  const [teacher, student] = [bert(), bert()];
  const logits = (await noGrad(() => teacher.forward(inputs).logits).tolist()) as number[][];
  const options = { temperature: 2, alpha: 0.5, hiddenWeight: 1, attentionWeight: 1 };
  const parts = async (of: BertForSequenceClassification): Promise<Record<string, number>> => {
    const objective = distillation({ student: of, teacher, logits }, options);
    const { teacherLogits } = objective.arrays([0, 1]);
    const batch = { teacherLogits: tensor(teacherLogits!.data, { shape: [...teacherLogits!.shape] }) };
    using _ = scope();
    const losses = noGrad(() => objective.losses(inputs, labels, batch));
    assert.equal(Object.keys(losses), objective.parts);
    const found = Object.entries(losses).map(async ([name, loss]) => [name, await loss.item()] as const);
    return Object.fromEntries(await Promise.all(found));
  };
  const same = await parts(student);
  for (const name of ['soft', 'hidden', 'attention']) assert.ok(Math.abs(same[name]!) < 1e-5, `${name} ${same[name]}`);
  const own = await noGrad(() => crossEntropy(student.forward(inputs).logits, labels)).item();
  assert.ok(Math.abs(same['labels']! - 0.5 * own) < 1e-5);
  const other = await parts(bert(2));
  for (const name of ['soft', 'hidden', 'attention']) assert.ok(other[name]! > 1e-3, `${name} ${other[name]}`);
  // Layers are compared by `layerMap`: the last of the teacher is the student's.
  assert.ok((await parts(keepLayers(student, [2]))).hidden! > 0);

  const make = (more: object, change: Partial<typeof options> = {}) =>
    distillation(
      {
        student: new BertForSequenceClassification(BertConfig.create({ ...settingsOf(), ...more })),
        teacher,
        logits,
      },
      { ...options, ...change },
    );
  throwsOneLine(
    () => make({ labels: ['x', 'y'] }),
    /^distillation: the student is for x, y \(.*\), the teacher for .*$/,
  );
  throwsOneLine(() => make({ problemType: 'regression' }), /^distillation: the student is for .* \(regression\), .*$/);
  throwsOneLine(
    () => make({ hiddenSize: 4 }),
    /^distillation: hidden states are 4 wide in the student and 8 in the teacher, .*$/,
  );
  throwsOneLine(() => make({}, { temperature: 0 }), /^distillation: temperature is 0; give a number above 0$/);
  throwsOneLine(() => make({}, { alpha: 1.5 }), /^distillation: alpha is 1.5; give a share from 0 to 1$/);
  const heads = make({ numAttentionHeads: 2 });
  const batch = { teacherLogits: tensor(logits) };
  throwsOneLine(
    () => noGrad(() => heads.losses(inputs, labels, batch)),
    /^distillation: layer 0 of the student has 2 heads, layer 0 of the teacher 4, .*$/,
  );
});

function settingsOf(): object {
  const { vocabSize, hiddenSize, numHiddenLayers, numAttentionHeads, intermediateSize, maxPositionEmbeddings } = config;
  return { vocabSize, hiddenSize, numHiddenLayers, numAttentionHeads, intermediateSize, maxPositionEmbeddings };
}

const data = join(folder, 'reviews.csv');
writeFileSync(data, reviews);
const base = join(folder, 'base');
const script = (name: string, args: readonly string[], options?: ScriptOptions): Promise<Finished> =>
  runScript([`train/${name}.ts`, '--data', data, ...args], options);
const training = ['--max-length', '12', '--batch-size', '8', '--learning-rate', '0.01', '--epochs', '2'];

test('scripts: a classifier is pruned, and taught to a smaller one; killed and resumed to the bit', async () => {
  const small = smallClassifier.map((word, i, all) => (all[i - 1] === '--layers' ? '2' : word));
  const trained = await script('finetune-classifier', ['--output', base, '--epochs', '4', ...small]);
  assert.is(trained.code, 0, trained.stderr);

  const pruned = join(folder, 'pruned');
  const parts = ['--heads', '0.25', '--units', '0.5', '--rank', '0.5', '--sparsity', '0.5'];
  const prune = ['--model', base, ...parts, ...training];
  const done = await script('prune', [...prune, '--sparse-file', '--output', pruned]);
  assert.is(done.code, 0, done.stderr);
  assert.match(done.stdout, /\ntest +M parameters +smaller +faster +accuracy +f1 +loss\nbefore .*\nsmaller .*\nafter /);
  assert.match(done.stdout, /\n50\.0% of the layers' weights are zero\n/);
  // The report has the model, then the others: scores, size and speed.
  const page = readFileSync(join(pruned, 'report.html'), 'utf8');
  assert.match(
    page,
    /<th scope="col">accuracy<\/th>[^]*<th scope="row">after<[^]*<th scope="row">before<[^]*>smaller</,
  );
  assert.match(
    page,
    /<th scope="col">M parameters<\/th><th scope="col">MB on the device<\/th><th scope="col">times faster</,
  );
  assert.match(done.stdout, /\nsaved {2}\S+\/pruned, \d\.\d\d MB\nsaved {2}\S+\/pruned\/sparse, \d\.\d\d MB\n/);
  const loaded = (await loadModel(pruned)) as BertForSequenceClassification;
  assert.equal(await logitsOf((await loadModel(join(pruned, 'sparse'))) as typeof loaded), await logitsOf(loaded));
  assert.equal([loaded.config.intermediateSize, headsOf(loaded).flat().length], [16, 3]);
  assert.ok(loaded.bert.encoder.layer[1]!.output.dense instanceof LowRankLinear);
  const killed = join(folder, 'killed');
  const again = [...prune, '--output', killed, '--save-every', '3'];
  const stopped = await script('prune', again, { killAt: join(killed, 'checkpoint-6') });
  assert.is(stopped.signal, 'SIGKILL', stopped.stderr);
  refused(await script('prune', [...again, '--scope', 'row', '--resume']), 1, /belongs to a run with other options/);
  await resumesAs(pruned, killed, () => script('prune', [...again, '--resume']));

  const moved = join(folder, 'moved');
  const move = ['--model', base, '--score', 'movement', '--sparsity', '0.6', ...training, '--output', moved];
  const moving = await script('prune', [...move, '--save-every', '3'], { killAt: join(moved, 'checkpoint-6') });
  assert.is(moving.signal, 'SIGKILL', moving.stderr);
  const [whole, resumed] = [
    await script('prune', [...move, '--output', join(folder, 'moved-whole')]),
    await script('prune', [...move, '--resume']),
  ];
  for (const { code, stdout, stderr } of [whole, resumed]) {
    assert.is(code, 0, stderr);
    assert.match(stdout, /\n60\.\d% of the layers' weights are zero\nsaved  \S+\/pruned, \d\.\d\d MB\n/);
  }
  const weightsAt = (place: string): Buffer => readFileSync(join(place, 'pruned', 'model.safetensors'));
  assert.ok(weightsAt(moved).equals(weightsAt(join(folder, 'moved-whole'))));

  // How many go is up to the training, which goes on learning.
  const soft = ['--model', base, '--score', 'movement', '--penalty', '2', ...training, '--epochs', '6'];
  const softly = await script('prune', [...soft, '--output', join(folder, 'softly')]);
  assert.is(softly.code, 0, softly.stderr);
  const zero = Number(/\n(\d+\.\d)% of the layers' weights are zero\n/.exec(softly.stdout)?.[1]);
  assert.ok(zero > 40 && zero < 97, `${zero}% are zero`);
  const [before, after] = ['before', 'after'].map((name) => {
    const [, accuracy, loss] = new RegExp(`\n${name} .* (\\S+) +\\S+ +(\\S+)\n`).exec(softly.stdout) ?? [];
    return { accuracy: Number(accuracy), loss: Number(loss) };
  });
  assert.ok(after!.accuracy === 1 && after!.loss < 0.5 * before!.loss, softly.stdout);

  const distilled = join(folder, 'distilled');
  const teach = ['--teacher', base, '--layers', '1', '--hidden-weight', '1', ...training, '--output', distilled];
  const taught = await script('distill', teach);
  assert.is(taught.code, 0, taught.stderr);
  assert.match(taught.stdout, /\nteacher +0\.\d+ +1\.00x +1\.00x +.*\nstudent +0\.\d+ +1\.\d+x/);
  assert.is(layersOf(await loadModel(distilled)), 1);

  const shared = ['--teacher', base, '--embedding-size', '4', ...training, '--output', join(folder, 'shared')];
  const lite = await script('distill', shared);
  assert.is(lite.code, 0, lite.stderr);
  assert.match(lite.stdout, /\nstudent +AlbertForSequenceClassification .*\n/);
  const { config: few } = await loadModel(join(folder, 'shared'));
  assert.equal([few.modelType, (few as AlbertConfig).embeddingSize], ['albert', 4]);
});

test('all ways in one table: each point measured and saved, those that are there are kept', async () => {
  const output = join(folder, 'all');
  const asked = ['--model', base, ...training, '--output', output, '--points'];
  const done = await script('compress', [
    ...asked,
    'whole,heads-50,weights-2:4,bits-8,bits-4-aware,movement-80,early-exit',
  ]);
  assert.is(done.code, 0, done.stderr);
  assert.match(done.stdout, /not zero +MB in file +MB on device +ms a text +tokens\/s +faster +accuracy +f1\n/);
  const outcomes = JSON.parse(readFileSync(join(output, 'outcomes.json'), 'utf8')) as Outcome[];
  const [dense, whole, heads, pattern, bits, aware, moved, exits] = outcomes;
  assert.equal(
    outcomes.map(({ point }) => point),
    ['dense', 'whole', 'heads-50', 'weights-2:4', 'bits-8', 'bits-4-aware', 'movement-80', 'early-exit'],
  );
  assert.ok(whole!.parameters === dense!.parameters && whole!.loss !== dense!.loss);
  assert.ok(heads!.parameters < dense!.parameters && heads!.fileBytes < dense!.fileBytes);
  assert.is(dense!.deviceBytes, 4 * dense!.parameters);
  assert.is(pattern!.nonZero, 0.5);
  assert.ok(Math.abs(moved!.nonZero - 0.2) < 0.001 && moved!.fileBytes === dense!.fileBytes);
  assert.ok(exits!.parameters > dense!.parameters);
  assert.ok(hasExits(await loadModel(join(output, 'early-exit-42'))));
  assert.ok(bits!.fileBytes < dense!.fileBytes);
  assert.ok(aware!.fileBytes < bits!.fileBytes && aware!.parameters === dense!.parameters);
  assert.ok(bits!.deviceBytes < dense!.deviceBytes && bits!.parameters === dense!.parameters);
  const loaded = (await loadModel(join(output, 'heads-50-42'))) as BertForSequenceClassification;
  assert.is(heads!.parameters, loaded.numParameters());
  const page = readFileSync(join(output, 'report.html'), 'utf8');
  assert.match(page, /<th scope="row">\*? ?weights-2:4<\/th>/);
  assert.not.match(page, /(src|href)=/);

  // Killed after a model was trained and saved, before it was measured and said so.
  const unsaid = ['heads-50', 'bits-4-aware', 'movement-80', 'early-exit'];
  const weightsOf = (point: string): Buffer => readFileSync(join(output, `${point}-42`, 'model.safetensors'));
  const trained = unsaid.map(weightsOf);
  for (const point of unsaid) rmSync(join(output, `${point}-42`, 'outcome.json'));
  const again = await script('compress', [...asked, unsaid.join(','), '--resume']);
  assert.is(again.code, 0, again.stderr);
  for (const [i, point] of unsaid.entries()) {
    assert.ok(weightsOf(point).equals(trained[i]!), `${point} is as it was`);
    const said = JSON.parse(readFileSync(join(output, `${point}-42`, 'outcome.json'), 'utf8')) as { outcome: Outcome };
    assert.equal(said.outcome.figures, outcomes.find((outcome) => outcome.point === point)!.figures, point);
  }

  const more = await script('compress', [...asked, 'heads-50,units-50', '--resume']);
  assert.is(more.code, 0, more.stderr);
  assert.not.match(more.stdout, /^heads-50, seed/m);
  assert.match(more.stdout, /^units-50, seed/m);
  const other = [...asked, 'heads-50', '--resume', '--weight-decay', '0.5'];
  refused(await script('compress', other), 1, /outcome\.json is of a run with other options; leave --resume away/);
});

test('the front: what no other point beats', () => {
  const outcome = (point: string, bytes: number, value: number): Outcome => ({
    ...{ point, method: 'm', strength: '', seed: 1, parameters: 1, nonZero: 1, fileBytes: bytes, deviceBytes: 9 },
    ...{ milliseconds: 1, denseMilliseconds: 1, tokensPerSecond: 1, loss: 0 },
    figures: { f1: { value, low: value, high: value } },
  });
  const all = [outcome('large', 8, 0.9), outcome('small', 2, 0.7), outcome('bad', 4, 0.6), outcome('fair', 4, 0.8)];
  assert.equal(paretoFront(all, 'f1'), ['small', 'fair', 'large']);
  assert.equal(paretoFront([...all, outcome('small', 4, 0.9)], 'f1'), ['small', 'large'], 'by the mean of runs');
  const table = outcomesTable([...all, outcome('large', 8, 0.8)]);
  assert.match(table, /^\* fair .* 0\.800 \[0\.800, 0\.800\]$/m);
  assert.match(table, /^\* large .* 0\.850 ± 0\.071$/m);
});

test('scripts refuse what they cannot do in one line', async () => {
  refused(await script('compress', []), 2, /^compress: needs a trained classifier: --model FOLDER; .*$/);
  refused(
    await script('compress', ['--model', base, '--points', 'x']),
    2,
    /^compress: there is no point "x"; choose .*$/,
  );
  refused(await script('prune', []), 2, /^prune: needs a trained classifier: --model FOLDER; .*$/);
  refused(await script('prune', ['--model', base]), 2, /^prune: nothing is to go; give --heads, .*$/);
  const file = ['--model', base, '--heads', '0.5', '--sparse-file'];
  refused(await script('prune', file), 2, /^prune: --sparse-file leaves out zeros; .*$/);
  const both = ['--model', base, '--rank', '0.5', '--energy', '0.9'];
  refused(await script('prune', both), 2, /^prune: --rank and --energy both say .*$/);
  const movement = ['--model', base, '--score', 'movement'];
  for (const [args, line] of [
    [
      [...movement, '--sparsity', '0.5', '--epochs', '0'],
      /^prune: --score movement learns .*; give --epochs 1 or more$/,
    ],
    [[...movement, '--penalty', '0'], /^prune: --penalty 0 takes nothing out; .*$/],
    [[...movement, '--penalty', '9', '--sparsity', '0.5'], /^prune: --penalty decides how many weights go; .*$/],
    [['--model', base, '--penalty', '9'], /^prune: --penalty goes with --score movement$/],
  ] as const)
    refused(await script('prune', args), 2, line);
  refused(await script('distill', []), 2, /^distill: needs a trained classifier: --teacher FOLDER; .*$/);
  const many = ['--teacher', base, '--layers', '3', '--output', join(folder, 'many')];
  refused(await script('distill', many), 2, /^distill: --layers 3, and the teacher has 2$/);
  const shares = ['--teacher', base, '--embedding-size', '4', '--units', '3', '--output', join(folder, 'both')];
  refused(await script('distill', shares), 2, /^distill: --embedding-size makes a student of .*$/);
  const other = join(folder, 'other.csv');
  writeFileSync(other, reviews.replaceAll(',good', ',fine'));
  const odd = ['train/prune.ts', '--data', other, '--model', base, '--heads', '0.5', '--output', join(folder, 'odd')];
  refused(await runScript(odd), 1, /^.* is for the labels bad, good, and the data has bad, fine; .*$/);
});

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();
