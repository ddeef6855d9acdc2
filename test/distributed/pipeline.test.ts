import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Pipeline, ProcessGroup } from '../../distributed/index.ts';
import { BertForMaskedLM, GPT2LMHeadModel, LlamaForCausalLM, T5ForConditionalGeneration } from '../../models/index.ts';
import type { Module } from '../../models/index.ts';
import { AdamW } from '../../train/optim/index.ts';
import { failure } from '../support/failure.ts';
import { groupOf } from '../support/process-groups.ts';

const test = suite('pipeline');

interface Cut {
  readonly model: Module;
  readonly layers: readonly Module[];
  readonly loss: (batch: Readonly<Record<string, Tensor>>) => Tensor;
}

const gpt2 = (): Cut => {
  const dropout = { embdPdrop: 0, residPdrop: 0, attnPdrop: 0 };
  const model = GPT2LMHeadModel.fromConfig({ vocabSize: 11, nPositions: 8, nEmbd: 8, nLayer: 3, nHead: 2, ...dropout });
  const loss: Cut['loss'] = ({ ids }) => model.forward({ inputIds: ids!, labels: ids!, outputLogits: false }).loss;
  return { model, layers: model.transformer.h, loss };
};
const llama = (): Cut => {
  const size = { hiddenSize: 8, intermediateSize: 12, numHiddenLayers: 2, numAttentionHeads: 2, numKeyValueHeads: 1 };
  const model = LlamaForCausalLM.fromConfig({ vocabSize: 11, maxPositionEmbeddings: 8, ...size });
  const loss: Cut['loss'] = ({ ids }) => model.forward({ inputIds: ids!, labels: ids!, outputLogits: false }).loss;
  return { model, layers: model.model.layers, loss };
};
const bert = (): Cut => {
  const size = { hiddenSize: 8, intermediateSize: 12, numHiddenLayers: 4, numAttentionHeads: 2 };
  const dropout = { hiddenDropoutProb: 0, attentionProbsDropoutProb: 0 };
  const model = BertForMaskedLM.fromConfig({ vocabSize: 11, maxPositionEmbeddings: 8, ...size, ...dropout });
  const loss: Cut['loss'] = ({ ids }) => model.forward({ inputIds: ids!, labels: ids! }).loss!;
  return { model, layers: model.bert.encoder.layer, loss };
};

/** Parts of a batch of unequal sizes, by their labels. */
const parts = () => {
  const rows = Array.from({ length: 5 }, (_, i) => Array.from({ length: 6 }, (_, t) => (3 * i + 5 * t * t + t) % 11));
  return [rows.slice(0, 2), rows.slice(2, 4), rows.slice(4)].map((part) => ({
    batch: { ids: tensor(part, { dtype: 'i32' }).keep() },
    weight: part.length / 5,
  }));
};

/** All ranks in this process, which draw their weights from one seed. */
async function inRanks<T>(worldSize: number, make: () => Cut, run: (pipeline: Pipeline, cut: Cut) => Promise<T>) {
  const groups = await groupOf(worldSize);
  const cuts = groups.map(() => {
    manualSeed(5);
    return make();
  });
  const results = await Promise.all(groups.map((group, i) => run(new Pipeline({ group, ...cuts[i]! }), cuts[i]!)));
  await Promise.all(groups.map((group) => group.close()));
  return results;
}

const read = async (x: Tensor): Promise<number[]> => Array.from(await x.data(), Number);

function near(found: readonly number[], expected: readonly number[], what: string): void {
  const scale = Math.max(...expected.map(Math.abs), 1e-3);
  assert.is(found.length, expected.length, what);
  found.forEach((x, i) => {
    const off = Math.abs(x - expected[i]!);
    assert.ok(off <= 3e-6 * scale, `${what}, ${i}: ${x}, not ${expected[i]}`);
  });
}

for (const [name, make, stages] of [
  ['GPT-2, with tied embeddings', gpt2, 3],
  ['Llama', llama, 2],
  ['BERT', bert, 2],
] as const) {
  test(`loss, gradients and their norm equal those of one process: ${name}`, async () => {
    manualSeed(5);
    const { model, loss } = make();
    const batch = parts();
    let expected = 0;
    for (const { batch: part, weight } of batch) {
      const value = loss(part).mul(weight);
      value.backward();
      expected += await value.item();
    }
    const gradients = new Map<string, number[]>();
    for (const [key, x] of model.namedParameters()) if (x.grad) gradients.set(key, await read(x.grad));
    const norm = Math.sqrt([...gradients.values()].flat().reduce((sum, x) => sum + x * x, 0));
    const covered = new Set<string>();
    await inRanks(stages, make, async (pipeline, cut) => {
      for (const turn of [1, 2]) {
        near([await pipeline.step(batch)], [expected], `loss, turn ${turn}`);
        for (const [key, x] of cut.model.namedParameters()) {
          if (!pipeline.parameters.includes(x)) assert.is(x.grad, undefined, key);
          else if (gradients.has(key)) near(await read(x.grad!), gradients.get(key)!, key);
          else assert.is(x.grad, undefined, key);
          if (x.grad) covered.add(key);
        }
        near([await pipeline.gradNorm()], [norm], 'norm');
      }
    });
    assert.equal([...covered].sort(), [...gradients.keys()].sort());
  });
}

test('training goes as in one process, with clipping; then all have all weights', async () => {
  const train = async (pipeline: Pipeline, { model }: Cut) => {
    const optimizer = new AdamW(pipeline.parameters, { lr: 0.05 });
    const losses: number[] = [];
    for (let step = 0; step < 3; step++) {
      losses.push(await pipeline.step(parts()));
      optimizer.step({ gradScale: await pipeline.clip(0.5) });
      optimizer.zeroGrad();
    }
    await pipeline.gather();
    return { losses, weights: await Promise.all(model.parameters().map(read)) };
  };
  const [alone] = await inRanks(1, gpt2, train);
  for (const { losses, weights } of await inRanks(3, gpt2, train)) {
    losses.forEach((loss, i) => assert.ok(Math.abs(loss - alone!.losses[i]!) < 1e-5, `step ${i}: ${loss}`));
    weights.forEach((x, i) =>
      x.forEach((value, k) => assert.ok(Math.abs(value - alone!.weights[i]![k]!) < 1e-3, `${i}, ${k}`)),
    );
  }
  assert.ok(alone!.losses[2]! < alone!.losses[0]!);
});

test('dropout draws the same numbers when layers are computed once more', async () => {
  const make = (): Cut => {
    const shape = { vocabSize: 11, nPositions: 8, nEmbd: 8, nLayer: 2, nHead: 2 };
    const model = GPT2LMHeadModel.fromConfig({ ...shape, embdPdrop: 0, attnPdrop: 0.2, residPdrop: 0.5 });
    const loss: Cut['loss'] = ({ ids }) => model.forward({ inputIds: ids!, labels: ids!, outputLogits: false }).loss;
    return { model, layers: model.transformer.h, loss };
  };
  const [part] = parts();
  manualSeed(5);
  const { model, loss } = make();
  manualSeed(9);
  const value = loss(part!.batch);
  value.backward();
  const expected = await value.item();
  // Both ranks, in this process, draw from one generator in turn, as the layers of one model do.
  await inRanks(2, make, async (pipeline, cut) => {
    if (pipeline.parameters.includes(cut.layers[0]!.parameters()[0]!)) manualSeed(9);
    near([await pipeline.step([{ ...part!, weight: 1 }])], [expected], 'loss');
    const other = new Map(model.namedParameters());
    for (const [key, x] of cut.model.namedParameters())
      if (x.grad) near(await read(x.grad), await read(other.get(key)!.grad!), key);
  });
});

test('a model that cannot be cut is refused', async () => {
  const group = await ProcessGroup.connect({ rank: 0, worldSize: 1 });
  const t5 = T5ForConditionalGeneration.fromConfig({
    vocabSize: 11,
    dModel: 8,
    dKv: 4,
    dFf: 8,
    numLayers: 1,
    numHeads: 2,
  });
  const ids = tensor([[1, 2, 3]], { dtype: 'i32' });
  const loss = (): Tensor => t5.forward({ inputIds: ids, labels: ids, outputLogits: false }).loss;
  const cut = new Pipeline({ group, model: t5, layers: t5.encoder.block, loss });
  assert.match(await failure(cut.step([{ batch: {}, weight: 1 }])), /runs another stack of layers/);
  const shared = gpt2();
  const [layer] = shared.layers;
  assert.throws(() => new Pipeline({ group, ...shared, layers: [layer!, layer!] }), /layers share weights/);
  assert.throws(() => new Pipeline({ group, ...shared, layers: [] }), /0 layers cannot be 1 stages/);
});

test.run();
