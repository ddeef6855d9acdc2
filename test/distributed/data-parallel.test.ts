import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { noGrad, tensor } from '../../autograd/index.ts';
import type { ProcessGroup } from '../../distributed/index.ts';
import { BertForPreTraining } from '../../models/index.ts';
import { corpusOf } from '../../train/data/token-corpus.ts';
import { bertPretraining, sentencePairs } from '../../train/objectives/index.ts';
import type { TrainingTask } from '../../train/objectives/task.ts';
import { Replicas, shareOut } from '../../train/trainer/replicas.ts';
import { trainerOptions } from '../../train/trainer/settings.ts';
import type { TrainerSettings } from '../../train/trainer/settings.ts';
import { TrainingStep } from '../../train/trainer/step.ts';
import type { StepValues } from '../../train/trainer/step.ts';
import { chainModel, chainTask } from '../support/chain-task.ts';
import { failure } from '../support/failure.ts';
import { root } from '../support/files.ts';
import { groupOf } from '../support/process-groups.ts';
import { lossesIn, refused, resumesAs, runScript } from '../support/script.ts';

const test = suite('data parallel');
const base = mkdtempSync(join(tmpdir(), 'tapeform-ranks-'));
let folders = 0;
const folder = (): string => join(base, String(folders++));

/** Fails where numbers differ by more than rounding. */
function near(found: readonly number[], expected: readonly number[], tolerance: number, what: string): void {
  assert.is(found.length, expected.length, what);
  found.forEach((x, i) =>
    assert.ok(
      Math.abs(x - expected[i]!) <= tolerance * Math.max(1, Math.abs(expected[i]!)),
      `${what} ${i}: ${x}, not ${expected[i]}`,
    ),
  );
}

interface Trained {
  readonly values: readonly StepValues[];
  readonly weights: readonly Float32Array[];
}

type Make = () => { model: ReturnType<typeof chainModel> | BertForPreTraining; task: TrainingTask };

/** Steps of one process, or of several in this one, op for op what each would do in its own. */
async function steps(make: Make, settings: TrainerSettings, group?: ProcessGroup): Promise<Trained> {
  const options = trainerOptions(settings);
  const { model, task } = make();
  const step = new TrainingStep(model, task, options, group && new Replicas(group));
  const values: StepValues[] = [];
  for (let index = 0; index < options.steps; index++) {
    const batches = await Promise.all(
      Array.from({ length: options.accumulate }, (_, i) => task.batch(index * options.accumulate + i)),
    );
    values.push(await step.run(batches)());
  }
  const weights = await Promise.all(model.parameters().map(async (x) => (await x.data()) as Float32Array));
  return { values, weights };
}

async function inRanks(worldSize: number, make: Make, settings: TrainerSettings): Promise<Trained[]> {
  const groups = await groupOf(worldSize);
  const trained = await Promise.all(groups.map((group) => steps(make, settings, group)));
  await Promise.all(groups.map((group) => group.close()));
  return trained;
}

/** A BERT with two losses, whose labels are spread unevenly: few masks, and some rows without a pair. */
const bert: Make = () => {
  const config = { vocabSize: 30, hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 2, intermediateSize: 16 };
  const places = { maxPositionEmbeddings: 32, hiddenDropoutProb: 0, attentionProbsDropoutProb: 0 };
  const model = BertForPreTraining.fromConfig({ ...config, ...places });
  model.parameters().forEach((x, k) => {
    const values = Float32Array.from({ length: x.size }, (_, i) => 0.3 * Math.sin(1 + i * 1.7 + k));
    noGrad(() => x.assign(tensor(values, { shape: [...x.shape] })));
  });
  const texts = [[6, 5, 7, 8, 9, 5, 7, 5], [8, 5, 9, 5], [10, 11, 5, 12, 13, 14, 15, 5]]; // prettier-ignore
  const pairs = sentencePairs(corpusOf(texts, 30), {
    clsTokenId: 1,
    sepTokenId: 2,
    sentenceEnds: new Set([5]),
    length: 20,
    seed: 0,
  });
  const ids = { maskTokenId: 3, padTokenId: 0, specialIds: [0, 1, 2, 3] };
  return { model, task: bertPretraining({ model, pairs, batchSize: 5, seed: 0, maskProbability: 0.15, ...ids }) };
};
const chains: Make = () => {
  const model = chainModel(0);
  return { model, task: chainTask(model, 3) };
};

test('losses, norms and weights equal those of one process, however batches fall to the ranks', async () => {
  const cases: [string, Make, Partial<TrainerSettings>, number][] = [
    ['rows of a batch', chains, { ema: 0.9 }, 3],
    ['whole batches', chains, { accumulate: 2 }, 2],
    ['rows of two batches', chains, { accumulate: 2, maxGradNorm: 0.5 }, 3],
    ['more ranks than rows', chains, { steps: 1 }, 5],
    ['two losses', bert, { weightDecay: 0.1 }, 2],
  ];
  for (const [name, make, options, ranks] of cases) {
    const settings = { steps: 2, learningRate: 0.01, ...options };
    const alone = await steps(make, settings);
    const together = await inRanks(ranks, make, settings);
    for (const { values, weights } of together) {
      for (const [i, { losses, gradNorm }] of values.entries()) {
        const expected = alone.values[i]!;
        assert.equal(Object.keys(losses), Object.keys(expected.losses), name);
        near(Object.values(losses), Object.values(expected.losses), 2e-6, `${name}, loss of step`);
        near([gradNorm], [expected.gradNorm], 2e-5, `${name}, norm of step ${i}`);
      }
      weights.forEach((x, k) => near([...x], [...alone.weights[k]!], 2e-4, `${name}, parameter ${k}, element`));
      weights.forEach((x, k) => assert.equal(x, together[0]!.weights[k], `${name}: the same bits in all ranks`));
    }
  }
});

test('mixed precision skips a step in all ranks where one overflows', async () => {
  const make: Make = () => {
    const { model, task } = chains();
    return {
      model,
      task: {
        ...task,
        losses: ({ factor, ...batch }) => ({ loss: task.losses(batch)['loss']!.mul(factor!.max()) }),
        // Of the second step's four rows the last one overflows.
        batch(index) {
          const batch = chains().task.batch(index) as Awaited<ReturnType<TrainingTask['batch']>>;
          const factor = { data: Float32Array.from([1, 1, 1, index === 1 ? Infinity : 1]), shape: [4] };
          return { ...batch, arrays: { ...batch.arrays, factor } };
        },
      },
    };
  };
  const ranks = await inRanks(2, make, { steps: 3, learningRate: 0.01, precision: 'mixed' });
  for (const { values } of ranks)
    assert.equal(
      values.map(({ skipped }) => skipped),
      [false, true, false],
    );
  ranks[0]!.weights.forEach((x, k) => assert.equal(x, ranks[1]!.weights[k]));
});

test('ranks that train different things are told which, and what differs', async () => {
  const groups = await groupOf(2);
  const said = await Promise.all(
    groups.map((group) => failure(new Replicas(group).compare({ model: { nEmbd: 16 + group.rank } }))),
  );
  for (const message of said)
    assert.is(
      message,
      'train: rank 1 trains something else than rank 0 (model.nEmbd 16 -> 17); start all with the same flags and data',
    );
  await Promise.all(groups.map((group) => group.close()));
});

test('tasks whose examples depend on one another share whole batches only', async () => {
  const { task } = chains();
  const { examples: _, ...whole } = task;
  const batches = await Promise.all([0, 1, 2, 3].map((i) => task.batch(i)));
  const shares = shareOut(whole, batches, 2);
  assert.equal(
    shares.map((own) => own.map(({ batch }) => batches.indexOf(batch))),
    [
      [0, 1],
      [2, 3],
    ],
  );
  const said = await failure((async () => shareOut(whole, batches.slice(0, 3), 2))());
  assert.match(said, /^chains: the loss of an example depends on the others.*--accumulate 2/);
});

const launch = (processes: number, ...args: string[]) =>
  runScript(['train/tapeform.ts', 'launch', '--processes', String(processes), ...args]);
const rankRun = join(root, 'test/support/rank-run.ts');
/** What each rank of a launched run printed. */
const printed = (stdout: string): unknown[] =>
  stdout.trim().split('\n').map((line) => JSON.parse(line.replace(/^\[\d\] /, '')) as unknown); // prettier-ignore

test('a run that lost a rank goes on, with as many to the bit, or with one', async () => {
  const [whole, killed, alone] = [folder(), folder(), folder()];
  const settings = { steps: 4, learningRate: 0.01, evaluateEvery: 2, saveEvery: 2 };
  const run = (output: string, resume: boolean, ...more: string[]) =>
    launch(2, rankRun, output, '0.2', JSON.stringify({ ...settings, resume }), ...more);
  const first = await run(whole, false);
  assert.is(first.code, 0, first.stderr);
  const [zero, one] = printed(first.stdout);
  assert.equal(zero, one, 'both ranks tell the same');
  const lost = await run(killed, false, '1');
  assert.is(lost.code, 137, lost.stderr);
  assert.match(lost.stderr, /GroupError: rank 1 has ended \(.*\) during all\w+/);
  assert.match(lost.stderr, /launch: rank 1 was ended by SIGKILL, and the others with it\n$/);
  cpSync(killed, alone, { recursive: true });
  let said = '';
  await resumesAs(whole, killed, async () => {
    const resumed = await run(killed, true);
    said = resumed.stdout;
    return resumed;
  });
  const [lead, other] = printed(said);
  assert.equal(other, lead, 'both ranks tell of the steps before the break too');
  const single = await runScript([rankRun, alone, '0.2', JSON.stringify({ ...settings, resume: true })]);
  assert.is(single.code, 0, single.stderr);
  assert.equal(lossesIn(alone).slice(0, 2), lossesIn(whole).slice(0, 2));
  assert.is(lossesIn(alone).length, 4);
});

test('a script runs in several processes as it is: what it leaves and says is as of one', async () => {
  const text = join(base, 'text.txt');
  writeFileSync(text, 'the cat sat on the mat and looked at the rat. '.repeat(60));
  const flags = [
    '--data', text, '--tokenizer', 'char', '--layers', '1', '--hidden', '16', '--heads', '2', '--context', '16',
    '--batch-size', '3', '--steps', '4', '--warmup-steps', '0', '--evaluate-every', '2', '--evaluation-batches', '1',
  ]; // prettier-ignore
  const [one, two] = [folder(), folder()];
  const alone = await runScript(['train/pretrain-gpt.ts', ...flags, '--output', one]);
  assert.is(alone.code, 0, alone.stderr);
  const together = await launch(2, 'pretrain-gpt', ...flags, '--output', two);
  assert.is(together.code, 0, together.stderr);
  const said = (text: string, output: string): string => text.replaceAll('[0] ', '').replaceAll(output, 'OUTPUT');
  assert.is(said(together.stdout, two), said(alone.stdout, one), 'only rank 0 prints');
  near(lossesIn(two), lossesIn(one), 2e-6, 'loss of step');
  const files = (output: string): string[] =>
    (readdirSync(output, { recursive: true }) as string[]).filter((name) => !name.startsWith('events.')).sort();
  assert.equal(files(two), files(one));
  const identity = (output: string): string => {
    const state = JSON.parse(readFileSync(join(output, 'trainer_state.json'), 'utf8')) as { identity: unknown };
    return JSON.stringify(state.identity);
  };
  assert.is(identity(two), identity(one), 'a run of two may be gone on with by one');
  refused(
    await launch(2, 'pretrain-gpt', '--nonsense'),
    2,
    /^launch: rank 0 ended with code 2, and the others with it$/,
  );
});

test.after(() => rmSync(base, { recursive: true, force: true }));
test.run();
