import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed, memory, scope, synchronize } from '../../autograd/index.ts';
import { BertConfig, BertForSequenceClassification } from '../../models/index.ts';
import { rejects } from '../support/failure.ts';
import { collate } from '../../train/data/tokenised.ts';
import type { TokenisedExample } from '../../train/data/tokenised.ts';
import { AdamW, clipCoefficient, decayGroups, gradNorm } from '../../train/optim/index.ts';
import { predict } from '../../train/classifier/predict.ts';
import { Random } from '../../common/random.ts';
import { latestCheckpoint, readTrainingState, restoreTraining, saveTraining } from '../../train/trainer/run-state.ts';

const test = suite('fine-tuning');

/** Examples whose second token tells the class. */
function examples(count: number): TokenisedExample[] {
  const random = new Random(3);
  return Array.from({ length: count }, () => {
    const label = random.int(2);
    const length = 4 + random.int(5);
    const inputIds = Int32Array.from({ length }, (_, i) => (i === 1 ? 10 + label : 12 + random.int(20)));
    return { inputIds, tokenTypeIds: new Int32Array(length), label };
  });
}

const config = BertConfig.create({
  vocabSize: 32,
  hiddenSize: 16,
  numHiddenLayers: 2,
  numAttentionHeads: 2,
  intermediateSize: 32,
  maxPositionEmbeddings: 16,
});

/** A model, its optimizer, and one training step as the training loop does it. */
function trainer() {
  manualSeed(5);
  const model = new BertForSequenceClassification(config);
  const optimizer = new AdamW(decayGroups(model.namedParameters(), 0.01), { lr: 5e-3 });
  const step = (batch: readonly TokenisedExample[]): Promise<number> => {
    using _ = scope();
    const { loss } = model.forward(collate(batch, 0));
    loss!.backward();
    optimizer.step({ gradScale: clipCoefficient(gradNorm(optimizer.parameters), 1) });
    optimizer.zeroGrad();
    return loss!.item();
  };
  return { model, optimizer, step };
}

test('200 steps leave live memory flat, and the model learns', async () => {
  const { model, step } = trainer();
  const data = examples(64);
  const live: number[] = [];
  const losses: number[] = [];
  for (let i = 0; i < 200; i++) {
    losses.push(await step(data.slice((i % 8) * 8, (i % 8) * 8 + 8)));
    if (i >= 1) live.push(memory().live);
  }
  assert.ok(Math.max(...live) <= live[0]!, `live bytes went from ${live[0]} to ${live.at(-1)}`);
  const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;
  assert.ok(
    mean(losses.slice(-20)) < 0.25 * mean(losses.slice(0, 8)),
    `${mean(losses.slice(0, 8))} -> ${mean(losses.slice(-20))}`,
  );
  const { labels } = await predict(model, data, { batchSize: 16, padTokenId: 0 });
  assert.ok(labels.filter((label, i) => label === data[i]!.label).length >= 60);
  assert.is(model.training, true, 'predict puts the mode back');
});

test('two runs with one seed give bit-equal losses', async () => {
  const data = examples(16);
  const run = async (): Promise<number[]> => {
    const { step } = trainer();
    const losses = [];
    for (let i = 0; i < 12; i++) losses.push(await step(i % 2 ? data.slice(0, 8) : data.slice(8)));
    return losses;
  };
  assert.equal(await run(), await run());
});

test('a checkpoint is whole or not there, and replaces older ones', async () => {
  const output = mkdtempSync(join(tmpdir(), 'tapeform-checkpoint-'));
  try {
    const { optimizer, step } = trainer();
    await step(examples(8));
    const state = { step: 1, seconds: 0.5, sinceBest: 0, identity: {} };
    await rejects(
      saveTraining(output, state, optimizer, () => Promise.reject(new Error('the disk is full'))),
      /disk is full/,
    );
    assert.is(await latestCheckpoint(output), undefined);
    await saveTraining(output, state, optimizer, () => Promise.resolve());
    const folder = await saveTraining(output, { ...state, step: 2 }, optimizer, () => Promise.resolve());
    assert.is(await latestCheckpoint(output), folder);
    assert.is(await latestCheckpoint(output), join(output, 'checkpoint-2'));
    const saved = await readTrainingState(folder);
    assert.is(saved.step, 2);
    const other = trainer();
    await restoreTraining(folder, saved, other.optimizer);
    await synchronize();
    const [a, b] = [optimizer.snapshot(), other.optimizer.snapshot()];
    for (const [i, group] of a.groups.entries()) {
      assert.equal(await b.groups[i]!.steps.data(), await group.steps.data());
      for (const [k, x] of group.tensors.entries()) assert.equal(await b.groups[i]!.tensors[k]!.data(), await x.data());
    }
  } finally {
    rmSync(output, { recursive: true, force: true });
  }
});

test.run();
