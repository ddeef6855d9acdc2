import { spawn, spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { addLora, GPT2LMHeadModel } from '../../models/index.ts';
import { getFloat32MatmulPrecision, manualSeed, noGrad } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { disk } from '../../common/file-system.ts';
import { writeManifest } from '../../common/manifest.ts';
import { Random } from '../../common/random.ts';
import type { HostBatch, TrainingTask } from '../../train/objectives/task.ts';
import { claimRun, latestCheckpoint, resumeCommand } from '../../train/trainer/run-state.ts';
import { evaluator } from '../../train/trainer/evaluate.ts';
import { readLog } from '../../train/trainer/run-log.ts';
import { TrainingStep } from '../../train/trainer/step.ts';
import { train } from '../../train/trainer/trainer.ts';
import type { TrainingRun } from '../../train/trainer/trainer.ts';
import { collectGarbage } from '../support/garbage.ts';
import { chainModel, chainRun, chainTask } from '../support/chain-task.ts';
import { root } from '../support/files.ts';
import { failure, rejects } from '../support/failure.ts';
import { lossesIn, refused, runScript } from '../support/script.ts';

const test = suite('trainer');
const base = mkdtempSync(join(tmpdir(), 'tapeform-trainer-'));
let folders = 0;
const folder = (): string => join(base, String(folders++));

/** A run of twelve steps on a small task. */
const small = (output: string, options: Partial<TrainingRun['options']> = {}, more: Partial<TrainingRun> = {}) =>
  train({ ...chainRun(output, { steps: 12, learningRate: 0.01, ...options }), ...more });

test('trains, and leaves a folder with model, log, curves, report, event file, what the run was', async () => {
  const output = folder();
  const { steps, evaluations, best } = await small(output, { steps: 120, evaluateEvery: 40 });
  const losses = steps.map(({ loss }) => loss);
  const mean = (part: readonly number[]): number => part.reduce((a, b) => a + b, 0) / part.length;
  assert.is(steps.length, 120);
  // The task has eight batches.
  assert.ok(mean(losses.slice(-8)) < 0.3 * mean(losses.slice(0, 8)), losses.join(' '));
  assert.equal(
    evaluations.map(({ step }) => step),
    [40, 80, 120],
  );
  assert.is(best!.value, Math.min(...evaluations.map(({ evaluation }) => evaluation['loss']!)));
  const files = readdirSync(output);
  for (const name of ['config.json', 'model.safetensors', 'log.jsonl', 'curves.svg', 'report.html', 'run.json', 'best'])
    assert.ok(files.includes(name), name);
  assert.ok(files.some((name) => name.startsWith('events.out.tfevents.')));
  assert.not(files.some((name) => name.startsWith('checkpoint') || name.endsWith('.tmp')));
  const report = readFileSync(join(output, 'report.html'), 'utf8');
  assert.match(report, /<figure class="chart"/);
  assert.not.match(report, /(src|href)=/, 'the report needs no other file');
  const info = JSON.parse(readFileSync(join(output, 'run.json'), 'utf8')) as Record<string, unknown>;
  for (const key of ['command', 'identity', 'adapter', 'driver', 'versions', 'started']) assert.ok(info[key], key);

  const kept = await GPT2LMHeadModel.fromPretrained(join(output, 'best'));
  const task = chainTask(kept, 99);
  assert.is((await evaluator(kept, task, 2)())['loss'], best!.value, 'best/ holds what was measured');
});

/** What happens to the steps of a run, in order: each is run, and its numbers are read. */
async function orderOf(run: () => Promise<unknown>): Promise<string> {
  const original = Object.getOwnPropertyDescriptor(TrainingStep.prototype, 'run')!.value as TrainingStep['run'];
  const events: string[] = [];
  let count = 0;
  TrainingStep.prototype.run = function (batches) {
    const number = ++count;
    events.push(`run ${number}`);
    const read = original.call(this, batches);
    return async () => {
      events.push(`read ${number}`);
      return read();
    };
  };
  try {
    await run();
  } finally {
    TrainingStep.prototype.run = original;
  }
  return events.join(', ');
}

test('numbers of a step are read when the next one runs, but where something is to be done between', async () => {
  const [output, atOnce] = [folder(), folder()];
  const lines = (at: string): unknown[] =>
    readLog(join(at, 'log.jsonl')).map(({ seconds: _, time: __, ...rest }) => rest);
  const options = { steps: 12, evaluateEvery: 8 };
  assert.is(
    await orderOf(() => small(output, options)),
    // The first three are watched for their memory.
    'run 1, read 1, run 2, read 2, run 3, read 3, run 4, run 5, read 4, run 6, read 5, run 7, read 6, ' +
      'run 8, read 7, read 8, run 9, run 10, read 9, run 11, read 10, run 12, read 11, read 12',
  );
  const order = await orderOf(() => small(atOnce, options, { callbacks: [{ onStep: () => undefined }] }));
  assert.is(order, Array.from({ length: 12 }, (_, i) => `run ${i + 1}, read ${i + 1}`).join(', '));
  assert.equal(lines(output), lines(atOnce));
  for (const name of ['model.safetensors', 'best/model.safetensors'])
    assert.ok(readFileSync(join(output, name)).equals(readFileSync(join(atOnce, name))), name);
});

test('a run that fails has the lines of all steps before and the same reason, read late or not', async () => {
  const failAt = async (bad: 'loss' | 'batch', late: boolean) => {
    const output = folder();
    const model = chainModel(0);
    const parts = chainTask(model, 3);
    const task: TrainingTask = {
      ...parts,
      batch: (index) => {
        if (bad === 'batch' && index === 7) throw new Error('batch 7 is damaged');
        const batch = parts.batch(index) as HostBatch;
        const factor = { data: Float32Array.of(bad === 'loss' && index === 7 ? NaN : 1), shape: [1] };
        return { ...batch, arrays: { ...batch.arrays, factor } };
      },
      losses: ({ factor, ...batch }) => {
        const { loss } = parts.losses(batch) as { loss: Tensor };
        return { loss: loss.mul(factor!.reshape([])) };
      },
    };
    const callbacks = late ? [] : [{ onStep: () => undefined }];
    const message = await failure(small(output, {}, { model, task, callbacks }));
    const steps = readLog(join(output, 'log.jsonl')).map(({ seconds: _, time: __, ...rest }) => rest);
    return { message: message.replace(output, ''), steps, weights: Array.from(await model.parameters()[0]!.data()) };
  };
  for (const bad of ['loss', 'batch'] as const) {
    const [late, atOnce] = [await failAt(bad, true), await failAt(bad, false)];
    assert.equal(late, atOnce);
    assert.is(late.steps.length, 7);
  }
});

test('memory is told by kind: an adapter saves gradients and moments, smaller batches activations', async () => {
  const memoryOf = async (rows: number, adapter: boolean) => {
    await collectGarbage(); // of the tests before, whose memory would go back while this one is measured
    const model = chainModel(0);
    const parts = chainTask(model, 3);
    const shape = [rows, 12];
    const data = Int32Array.from({ length: rows * 12 }, (_, i) => i % 17);
    const arrays = { inputIds: { data, shape }, labels: { data, shape } };
    const task: TrainingTask = { ...parts, batch: () => ({ arrays, counts: { loss: rows * 11 }, tokens: rows * 12 }) };
    const trained = adapter ? addLora(model, { r: 2, targetModules: ['c_attn'] }) : model;
    const count = model.numParameters();
    const { memory } = await small(folder(), { steps: 3 }, { model: trained, task });
    return { ...memory!, count };
  };
  const [few, many] = [await memoryOf(16, false), await memoryOf(32, false)];
  // A number has 4 bytes; each of the parameters is rounded up to 1024 of them by the optimizer.
  const isNear = (bytes: number, numbers: number, tensors: number): void =>
    assert.ok(bytes >= 4 * numbers && bytes <= 4 * numbers + 1024 * tensors, `${bytes} for ${numbers} numbers`);
  const { count } = few;
  for (const { weights, gradients, moments } of [few, many]) {
    isNear(weights, count, 28);
    isNear(moments, 2 * count, 56);
    assert.is(gradients, 4 * count);
  }
  // Of each layer at least what norms, attention and the feed-forward part read: some 12 vectors a token.
  const least = 2 * 12 * (16 * 12) * 16 * 4;
  assert.ok(few.activations > 0.5 * least && few.activations < 4 * least, `${few.activations}, by hand ${least}`);
  assert.ok(Math.abs(many.activations / few.activations - 2) < 0.4, `${few.activations}, then ${many.activations}`);
  assert.is(few.weights + few.gradients + few.moments + few.activations, few.total);
  // c_attn of two layers: A [2, 16], B [48, 2].
  const own = 2 * (2 * 16 + 48 * 2);
  const lora = await memoryOf(16, true);
  isNear(lora.weights, count + own, 32);
  isNear(lora.moments, 2 * own, 8);
  assert.is(lora.gradients, 4 * own);
  assert.ok(lora.total < few.total);
});

test('gradient checkpointing: the same numbers to the bit, with dropout and an adapter; less memory', async () => {
  const runOf = async (gradientCheckpointing: boolean, options: Partial<TrainingRun['options']>, adapter: boolean) => {
    await collectGarbage();
    const output = folder();
    const model = chainModel();
    const trained = adapter ? addLora(model, { r: 2, targetModules: ['c_attn'] }) : model;
    const more = { model: trained, task: chainTask(model, 3) };
    const { steps, memory } = await small(output, { steps: 6, ...options, gradientCheckpointing }, more);
    const name = adapter ? 'adapter_model.safetensors' : 'model.safetensors';
    return { losses: steps.map(({ loss }) => loss), weights: readFileSync(join(output, name)), memory: memory! };
  };
  for (const [options, adapter] of [
    [{}, false],
    [{ accumulate: 2 }, false],
    [{}, true],
  ] as const) {
    const [whole, again] = [await runOf(false, options, adapter), await runOf(true, options, adapter)];
    assert.equal(again.losses, whole.losses);
    assert.ok(again.weights.equals(whole.weights));
    const [a, b] = [whole.memory.activations, again.memory.activations];
    assert.ok(b < 0.85 * a, `${b} bytes of activations, ${a} where they are kept`);
  }
});

test('accumulation: batches with few labels weigh less; the gradient is that of all rows as one batch', async () => {
  const model = chainModel(0);
  const parts = chainTask(model, 3);
  /** Two batches of `parts` as one. */
  const joined: TrainingTask = {
    ...parts,
    batch: async (index) => join2(await parts.batch(2 * index), await parts.batch(2 * index + 1)),
  };
  const [apart, together] = [folder(), folder()];
  await small(apart, { accumulate: 2 }, { model, task: parts });
  const other = chainModel(0);
  await small(together, {}, { model: other, task: { ...joined, losses: chainTask(other, 3).losses } });
  const counts = (await Promise.all([parts.batch(2), parts.batch(3)])).map(({ counts }) => counts['loss']);
  assert.is.not(counts[0], counts[1], 'the batches have to differ in their labels');
  const [a, b] = [lossesIn(apart), lossesIn(together)];
  a.forEach((loss, i) => {
    if (!(Math.abs(loss - b[i]!) <= 2e-5)) assert.unreachable(`step ${i + 1}: ${loss}, as one batch ${b[i]}`);
  });
});

function join2(a: HostBatch, b: HostBatch): HostBatch {
  const arrays = Object.fromEntries(
    Object.entries(a.arrays).map(([name, { data, shape }]) => [
      name,
      { data: Int32Array.from([...data, ...b.arrays[name]!.data]), shape: [2 * shape[0]!, ...shape.slice(1)] },
    ]),
  );
  return { arrays, counts: { loss: a.counts['loss']! + b.counts['loss']! }, tokens: a.tokens + b.tokens };
}

/**
 * Runs the same run in a process of its own, killed with SIGKILL `delay` ms after so many steps unless it
 * ends before. Whether it ended.
 */
function runs(output: string, args: readonly string[], steps = Infinity, delay = 0): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--import', 'tsx', 'test/support/chain-run.ts', output, ...args], {
      cwd: root,
    });
    let seen = '';
    let timer: NodeJS.Timeout | undefined;
    child.stdout.on('data', (chunk: Buffer) => {
      seen += chunk.toString();
      if (seen.split('\n').length > steps) timer ??= setTimeout(() => child.kill('SIGKILL'), delay);
    });
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve(code === 0);
    });
  });
}

test("Ctrl-C in a user's own script: one line, no stack, no flag that the script lacks", async () => {
  const output = folder();
  let pressed = false;
  const script = ['test/support/chain-run.ts', output];
  const stopped = await runScript(script, {
    onStdout: (_, interrupt) => {
      if (!pressed) interrupt();
      pressed = true;
    },
  });
  refused(
    stopped,
    130,
    /^stopped at step \d+ of 60, saved in \S+checkpoint-\d+; to go on, call again with resume: true$/,
  );
  assert.not.match(stopped.stderr, /--resume|Interrupted|throw /);
  await rejects(
    small(output),
    /holds a run that was stopped \(\S+checkpoint-\d+\); pass resume: true to go on, or remove/,
  );
  await rejects(small(folder(), {}, { resume: true }), /has no checkpoint to resume; leave resume away to start$/);
});

for (const [name, args] of [
  ['dropout, accumulation, averages', ['--accumulate', '2', '--ema', '0.9']],
  ['mixed precision', ['--precision', 'mixed']],
] as const) {
  test(`kill -9 at any moment, resume: bit-equal losses and model (${name})`, async () => {
    const [whole, broken] = [folder(), folder()];
    assert.ok(await runs(whole, args));
    const random = new Random(11);
    const from: string[] = [];
    // It saves after every third step and evaluates after every tenth.
    for (let kills = 0; kills < 4; kills++) {
      const checkpoint = await latestCheckpoint(broken);
      if (checkpoint) from.push(checkpoint);
      const ended = await runs(
        broken,
        [...args, ...(checkpoint ? ['--resume'] : [])],
        2 + random.int(12),
        random.int(60),
      );
      assert.not(ended, 'it was to be killed');
    }
    assert.ok(from.length >= 2, 'it was to go on from checkpoints');
    assert.ok(await runs(broken, [...args, '--resume']));
    assert.equal(lossesIn(broken), lossesIn(whole));
    assert.is(lossesIn(whole).length, 60);
    for (const file of ['model.safetensors', 'best/model.safetensors'])
      assert.ok(readFileSync(join(broken, file)).equals(readFileSync(join(whole, file))), file);
    const [state, other] = [broken, whole].map((output) =>
      readFileSync(join(output, 'trainer_state.json'), 'utf8').replace(/"seconds":[\d.]+/, ''),
    );
    assert.is(state, other);
    assert.not(readdirSync(broken).some((file) => file.endsWith('.tmp') || file.startsWith('checkpoint')));
  });
}

test(
  'a log cut in the middle of a line, or with steps after the checkpoint, resumes; ' +
    'one that lacks steps is refused',
  async () => {
    const output = folder();
    const stop = new Error('stop');
    const onStep = ({ step }: { step: number }): void => {
      if (step === 9) throw stop;
    };
    await rejects(small(output, { saveEvery: 4 }, { callbacks: [{ onStep }] }), /stop/);
    const path = join(output, 'log.jsonl');
    appendFileSync(path, '{"step": 10, "lo');
    const text = readFileSync(path, 'utf8');
    writeFileSync(path, text.split('\n').slice(1).join('\n'));
    await rejects(
      small(output, { saveEvery: 4 }, { resume: true }),
      /has 7 of the 8 steps up to the checkpoint; put the log back/,
    );
    // A clock that was set back: times do not go back.
    writeFileSync(path, text.replace(/"time":\d+/g, `"time":${Date.now() + 1e9}`));
    await small(output, { saveEvery: 4 }, { resume: true });
    const whole = folder();
    await small(whole);
    assert.equal(lossesIn(output), lossesIn(whole));
    const times = readLog(path).map(({ time }) => time);
    assert.equal(
      times,
      [...times].sort((a, b) => a - b),
    );
    const seconds = readLog(path).map(({ seconds }) => seconds);
    assert.equal(
      seconds,
      [...seconds].sort((a, b) => a - b),
    );
  },
);

test('scripts write over a run that has ended, not over a model that came in another way', async () => {
  const output = folder();
  await small(output);
  assert.equal(await claimRun('adapt', output, false), { checkpoint: undefined, finished: false });
  const other = folder();
  await chainModel().savePretrained(other);
  await rejects(claimRun('adapt', other, false), /^adapt: \S+ holds a model, but not of a run \(no run.json\)/);
});

test('a stopped run is not written over, nor resumed as another', async () => {
  const output = folder();
  const onSave = (): never => {
    throw new Error('stop');
  };
  await rejects(small(output, { saveEvery: 4 }, { callbacks: [{ onSave }] }), /stop/);
  await rejects(
    small(output),
    /holds a run that was stopped \(.*checkpoint-4\); pass resume: true to go on, or remove/,
  );
  await rejects(
    small(output, { learningRate: 0.02 }, { resume: true }),
    /other options or data \(learningRate 0.01 -> 0.02\)/,
  );
  await rejects(
    small(output, { seed: 1 }, { resume: true, identity: { data: 'x' } }),
    /seed 42 -> 1, data none -> "x"/,
  );
  await rejects(small(folder(), {}, { resume: true }), /has no checkpoint to resume/);
  assert.ok(existsSync(join(output, 'checkpoint-4', 'model.safetensors')));
});

test('a checkpoint with a flipped bit is refused, whichever file has it, and the one before is offered', async () => {
  const output = folder();
  const onStep = ({ step }: { step: number }): void => {
    if (step === 11) throw new Error('stop');
  };
  await rejects(small(output, { saveEvery: 3 }, { callbacks: [{ onStep }] }), /stop/);
  assert.equal(
    readdirSync(output)
      .filter((name) => name.startsWith('checkpoint'))
      .sort(),
    ['checkpoint-6', 'checkpoint-9'],
  );
  const last = join(output, 'checkpoint-9');
  for (const name of readdirSync(last)) {
    const path = join(last, name);
    const [whole, damaged] = [readFileSync(path), readFileSync(path)];
    damaged[damaged.length >> 1]! ^= 1;
    writeFileSync(path, damaged);
    const line = await failure(small(output, { saveEvery: 3 }, { resume: true }));
    // A manifest with a wrong hash blames the file of that hash.
    const file = name === 'manifest.json' ? '\\S+' : name;
    assert.match(line, new RegExp(`${file} is damaged.*; checkpoint-6 before it is whole: remove .*checkpoint-9 and`));
    writeFileSync(path, whole);
  }
  rmSync(last, { recursive: true });
  await small(output, { saveEvery: 3 }, { resume: true });
  const whole = folder();
  await small(whole);
  assert.equal(lossesIn(output), lossesIn(whole));
});

test('killed while it removes its checkpoints, a run goes on, and leaves none', async () => {
  const output = folder();
  const { remove } = disk;
  disk.remove = async (path) => {
    if (!/checkpoint-9(\.old\.tmp)?$/.test(path) || !existsSync(path)) return remove(path);
    rmSync(join(path, 'model.safetensors'));
    throw new Error('killed');
  };
  await rejects(small(output, { saveEvery: 3 }), /killed/).finally(() => Object.assign(disk, { remove }));
  await small(output, { saveEvery: 3 }, { resume: true });
  const whole = folder();
  await small(whole);
  assert.equal(lossesIn(output), lossesIn(whole));
  assert.not(readdirSync(output).some((name) => name.includes('checkpoint')));
});

test('a run of another version is refused; one with other options goes on where it is asked to', async () => {
  const output = folder();
  const onSave = (): never => {
    throw new Error('stop');
  };
  await rejects(small(output, { saveEvery: 4 }, { callbacks: [{ onSave }] }), /stop/);
  const state = join(output, 'checkpoint-4', 'trainer_state.json');
  const text = readFileSync(state, 'utf8');
  writeFileSync(state, text.replace('"format":2', '"format":1'));
  await writeManifest(join(output, 'checkpoint-4'));
  await rejects(small(output, {}, { resume: 'anyway' }), /another version of this project \(format 1, here 2\); go on/);
  writeFileSync(state, text);
  await writeManifest(join(output, 'checkpoint-4'));
  await rejects(small(output, { steps: 14 }, { resume: true }), /steps 12 -> 14.*resume: 'anyway'$/);
  const { steps } = await small(output, { steps: 14 }, { resume: 'anyway' });
  assert.is(steps.length, 14);
  await rejects(
    small(output, { steps: 16 }, { resume: 'anyway' }),
    /reached its end with other options or data \(steps 14 -> 16\); give those, or remove the folder to start again$/,
  );
});

test('early stopping, and the best model by another number', async () => {
  const values = [1, 3, 2, 2, 2, 5];
  let calls = 0;
  const evaluate = () => Promise.resolve({ loss: 1, score: values[calls++]! });
  const run = { evaluate, best: { name: 'score', mode: 'max' as const } };
  const { steps, best } = await small(folder(), { evaluateEvery: 2, patience: 3 }, run);
  assert.is(steps.length, 10);
  assert.equal(best, { step: 4, value: 3 });
  calls = 0;
  await rejects(
    small(folder(), { evaluateEvery: 2 }, { ...run, best: { name: 'f1', mode: 'max' } }),
    /no "f1" to tell the best model by, only loss, score/,
  );
});

test('a NaN is named with its op, module path and step, and the weights are those before it', async () => {
  const output = folder();
  const model = chainModel();
  const task = chainTask(model, 3);
  const poisoned: TrainingTask = {
    ...task,
    losses: (batch) => {
      const { loss } = task.losses(batch);
      const at = batch['poison'];
      return { loss: at ? loss!.add(at.log().mul(0)) : loss! };
    },
    batch: async (index) => {
      const batch = await task.batch(index);
      const poison = { data: Float32Array.of(index === 5 ? -1 : 1), shape: [] };
      return { ...batch, arrays: { ...batch.arrays, poison } };
    },
  };
  const run = small(output, { saveEvery: 4 }, { model, task: poisoned });
  const message = await failure(run);
  assert.match(
    message,
    /^step 6: the loss became NaN; first in log \[\] \(.*trainer\.test\.ts.*\): 1 elements are not/,
  );
  assert.match(message, /finite; lower .*checkpoint-4 is from before$/);
  const weights = await model.transformer.wte.weight.data();
  assert.ok(weights.every(Number.isFinite));
});

test('a batch that cannot be made ends the run with its own error, after the steps before it', async () => {
  const model = chainModel();
  const task = chainTask(model, 3);
  const broken: TrainingTask = {
    ...task,
    batch: (index) => {
      if (index === 3) throw new Error('corpus: the disk is gone');
      return task.batch(index);
    },
  };
  const output = folder();
  await rejects(small(output, {}, { model, task: broken }), /^corpus: the disk is gone$/);
  assert.is(lossesIn(output).length, 3);
});

test('a batch without a label is refused', async () => {
  const model = chainModel();
  const task = chainTask(model, 3);
  const bare: TrainingTask = {
    ...task,
    batch: async (index) => ({ ...(await task.batch(index)), ...(index === 2 ? { counts: { loss: 0 } } : {}) }),
  };
  await rejects(
    small(folder(), {}, { model, task: bare }),
    /^chains: a batch has no label of "loss", hence no mean loss; give it more rows/,
  );
});

test('mixed precision skips a step that overflows, and gives up where every step does', async () => {
  const model = chainModel();
  const task = chainTask(model, 3);
  const poisoned = (bad: (index: number) => boolean): TrainingTask => ({
    ...task,
    losses: (batch) => ({ loss: task.losses(batch)['loss']!.mul(batch['factor']!) }),
    batch: async (index) => {
      const batch = await task.batch(index);
      const factor = { data: Float32Array.of(bad(index) ? Infinity : 1), shape: [] };
      return { ...batch, arrays: { ...batch.arrays, factor } };
    },
  });
  const mixed = { precision: 'mixed' as const, steps: 40 };
  const { steps } = await small(folder(), mixed, {
    model,
    task: poisoned((index) => index === 5),
    evaluate: undefined,
  });
  assert.equal(
    steps.flatMap(({ step, skipped }) => (skipped ? [step] : [])),
    [6],
  );
  assert.is(steps[6]!.scale, steps[4]!.scale! / 2);
  const hopeless = small(folder(), mixed, { model, task: poisoned((index) => index >= 5), evaluate: undefined });
  await rejects(hopeless, /^step 30: the loss became Infinity/);
});

test('precision high is that of products while the run goes on', async () => {
  const model = chainModel();
  const task = chainTask(model, 3);
  const seen: string[] = [];
  const losses = (...args: Parameters<TrainingTask['losses']>): ReturnType<TrainingTask['losses']> => {
    seen.push(getFloat32MatmulPrecision());
    return task.losses(...args);
  };
  await small(folder(), { precision: 'high', steps: 2 }, { model, task: { ...task, losses }, evaluate: undefined });
  assert.equal([...new Set(seen)], ['high']);
  assert.is(getFloat32MatmulPrecision(), 'highest');
  await rejects(small(folder(), { precision: 'low' as 'high' }), /precision/);
});

test('a NaN inside of the model: the module path', async () => {
  const model = chainModel();
  const { weight } = model.transformer.h[1]!.ln2;
  const onStep = ({ step }: { step: number }): void => {
    if (step === 3) noGrad(() => weight.assign(weight.mul(NaN)));
  };
  await rejects(
    small(folder(), {}, { model, task: chainTask(model, 3), callbacks: [{ onStep }] }),
    /^step 4: the loss became NaN; first in \w+ \[.*\] \(GPT2LMHeadModel: transformer\.h\.1\.ln_2, .*\): \d+ elements/,
  );
});

test('bad options: one line that names the option', async () => {
  const cases: readonly (readonly [options: Partial<TrainingRun['options']>, pattern: RegExp])[] = [
    [{ steps: 0 }, /^train: steps: /],
    [{ learningRate: -1 }, /^train: learningRate: /],
    [{ warmupSteps: 13 }, /^train: warmupSteps 13 exceeds steps 12; shorten the warm-up$/],
    [{ patience: 2 }, /^train: patience counts evaluations, and evaluateEvery is 0/],
    [{ ema: 1 }, /^train: ema: /],
    [{ accumulate: 1.5 }, /^train: accumulate: /],
  ];
  for (const [options, pattern] of cases) await rejects(small(folder(), options), pattern);
  const model = chainModel();
  manualSeed(1);
  const task = { ...chainTask(model, 3), losses: () => ({}) };
  await rejects(
    small(folder(), {}, { model, task }),
    /batches count labels of "loss", and the losses are ; name both alike/,
  );
});

const hasShell = spawnSync('sh', ['-c', 'true']).status === 0;
if (hasShell)
  test('the command that goes on is the one that was given, as a shell reads it', () => {
    const [argv, given] = [
      process.argv,
      ['--data', "Ann's *new* mails.csv", '--label-separator', ';', '--text', 'été $1'],
    ];
    process.argv = [...argv.slice(0, 2), ...given, '--resume'];
    try {
      const { stdout } = spawnSync('sh', ['-c', resumeCommand(`printf '%s\\n'`)], { encoding: 'utf8' });
      assert.equal(stdout.trim().split('\n'), [...given, '--resume']);
      process.argv = [...argv.slice(0, 2), '--output', 'runs/a-1,b', '--lr=1e-3'];
      assert.is(resumeCommand('node x.ts'), 'node x.ts --output runs/a-1,b --lr=1e-3 --resume');
    } finally {
      process.argv = argv;
    }
  });

test.after(() => rmSync(base, { recursive: true, force: true }));
test.run();
