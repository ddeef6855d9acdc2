import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { crc32c } from '../../common/checksum.ts';
import { trainerOptions } from '../../train/trainer/settings.ts';
import { TrainingStep } from '../../train/trainer/step.ts';
import { tensorBoard } from '../../train/trainer/tensorboard.ts';
import { train } from '../../train/trainer/trainer.ts';
import { chainRun } from '../support/chain-task.ts';
import { rejects } from '../support/failure.ts';
import { runHistory } from '../support/run-history.ts';
import { lossesIn } from '../support/script.ts';

const test = suite('event files');
const { info } = runHistory;

/** The records of a file as [payload]; every length and checksum is checked. */
function records(path: string): Buffer[] {
  const file = readFileSync(path);
  const masked = (data: Buffer): number => {
    const crc = crc32c(data);
    return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
  };
  const found: Buffer[] = [];
  for (let at = 0; at < file.length;) {
    const length = Number(file.readBigUInt64LE(at));
    assert.is(file.readUInt32LE(at + 8), masked(file.subarray(at, at + 8)));
    const data = file.subarray(at + 12, at + 12 + length);
    assert.is(file.readUInt32LE(at + 12 + length), masked(data));
    found.push(data);
    at += 16 + length;
  }
  return found;
}

test('records as TensorBoard reads them; a resumed run writes its file anew', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tapeform-events-'));
  try {
    const step = { step: 300, loss: 1.5, lr: 0.25, gradNorm: 2, tokens: 8, seconds: 1, time: 1_700_000_000_500 };
    const first = tensorBoard(folder, info, [], step.time);
    await first.onStep!(step);
    await first.onEnd!();
    const again = tensorBoard(folder, info, [step], step.time);
    await again.onEvaluation!({ step: 300, evaluation: { loss: 2 }, seconds: 2, time: step.time });
    await again.onEnd!();
    const names = readdirSync(folder);
    assert.equal(names, ['events.out.tfevents.1700000000.tapeform']);
    const [version, run, options, train, evaluation] = records(join(folder, names[0]!));
    assert.ok(version!.includes('brain.Event:2'));
    assert.ok(run!.includes('| learningRate | 0.001 |'), 'what made it, in Markdown');
    // A map's entry: key (field 1), google.protobuf.Value (field 2) with its number (field 2, double).
    const rate = Buffer.alloc(8);
    rate.writeDoubleLE(0.001);
    const key = Buffer.concat([Buffer.from([0x0a, 12]), Buffer.from('learningRate')]);
    assert.ok(options!.includes(Buffer.concat([key, Buffer.from([0x12, 9, 0x11]), rate])), 'a number among options');
    assert.ok(options!.includes('_hparams_/session_start_info'));
    // wall_time (field 1, double), step (field 2, varint 300 = ac 02), summary (field 5).
    assert.is(train![0], 0x09);
    assert.is(train!.readDoubleLE(1), 1_700_000_000.5);
    assert.equal([...train!.subarray(9, 12)], [0x10, 0xac, 0x02]);
    assert.is(train![12], 0x2a);
    const value = Buffer.concat([
      Buffer.from([0x0a, 10]),
      Buffer.from('train/loss'),
      Buffer.from([0x15, 0, 0, 0xc0, 0x3f]),
    ]);
    assert.ok(train!.includes(value), 'train/loss is 1.5');
    assert.ok(evaluation!.includes('evaluation/loss'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

/** Event > summary > values with a histogram: of each tag the step, count, limits and counts. */
function histogramsIn(
  folder: string,
): Map<string, { step: number; count: number; limits: number[]; bins: number[] }[]> {
  const found = new Map<string, { step: number; count: number; limits: number[]; bins: number[] }[]>();
  const [name] = readdirSync(folder).filter((each) => each.startsWith('events.'));
  for (const event of records(join(folder, name!))) {
    const { 2: [step = 0] = [], 5: [summary] = [] } = fieldsOf(event);
    for (const value of summary ? (fieldsOf(summary as Buffer)[1] ?? []) : []) {
      const { 1: tag, 5: [proto] = [] } = fieldsOf(value as Buffer);
      if (!(proto instanceof Buffer)) continue;
      const { 3: count, 6: limits, 7: bins } = fieldsOf(proto);
      const doubles = (bytes: unknown): number[] => {
        const data = bytes as Buffer;
        return Array.from({ length: data.length / 8 }, (_, i) => data.readDoubleLE(8 * i));
      };
      const shown = { count: count![0] as number, limits: doubles(limits![0]), bins: doubles(bins![0]) };
      const key = String(tag![0]);
      found.set(key, [...(found.get(key) ?? []), { step: step as number, ...shown }]);
    }
  }
  return found;
}

/** The fields of a message by their numbers: numbers, and bytes. */
function fieldsOf(message: Buffer): Record<number, (number | Buffer)[]> {
  const fields: Record<number, (number | Buffer)[]> = {};
  let at = 0;
  const varint = (): number => {
    for (let [value, bit] = [0, 1]; ; bit *= 128) {
      const byte = message[at++]!;
      value += (byte % 128) * bit;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const list = (fields[Math.floor(tag / 8)] ??= []);
    const wire = tag % 8;
    if (wire === 0) list.push(varint());
    else if (wire === 1) list.push(message.readDoubleLE((at += 8) - 8));
    else if (wire === 5) list.push(message.readFloatLE((at += 4) - 4));
    else {
      const length = varint();
      list.push(message.subarray(at, (at += length)));
    }
  }
  return fields;
}

test('histograms of weights and gradients change no loss, and outlive a stop', async () => {
  const base = mkdtempSync(join(tmpdir(), 'tapeform-histograms-'));
  try {
    const run = (name: string, more: object, rest: object = {}) =>
      train({ ...chainRun(join(base, name), { steps: 8, learningRate: 0.01, accumulate: 2, ...more }), ...rest });
    await run('plain', {});
    await run('shown', { histogramEvery: 3 });
    assert.equal(lossesIn(join(base, 'shown')), lossesIn(join(base, 'plain')));
    const shown = histogramsIn(join(base, 'shown'));
    const weights = [...shown.keys()].filter((tag) => tag.startsWith('weights/'));
    assert.ok(weights.length > 5 && shown.size === 2 * weights.length, [...shown.keys()].join(' '));
    for (const [tag, each] of shown)
      for (const { count, limits, bins } of each) {
        assert.is(bins.reduce((a, b) => a + b), count, tag); // prettier-ignore
        assert.ok(limits.length === bins.length && limits.every((x, i) => i === 0 || x >= limits[i - 1]!), tag);
      }
    assert.equal(shown.get(weights[0]!)!.map(({ step }) => step), [3, 6]); // prettier-ignore

    const stop = new Error('stop');
    const onStep = ({ step }: { step: number }): void => {
      if (step === 7) throw stop;
    };
    const stopped = { histogramEvery: 3, saveEvery: 4 };
    await rejects(run('stopped', stopped, { callbacks: [{ onStep }] }), /stop/);
    await run('stopped', stopped, { resume: true });
    assert.equal(lossesIn(join(base, 'stopped')), lossesIn(join(base, 'plain')));
    // That of step 6 was behind the checkpoint, and came anew.
    assert.equal(histogramsIn(join(base, 'stopped')), shown);
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
});

test('gradients are those of all batches together', async () => {
  const { model, task } = chainRun('unused', { steps: 1, learningRate: 0.01 });
  model.eval(); // dropout would draw other numbers
  const settings = trainerOptions({ steps: 1, learningRate: 0.01, accumulate: 2 });
  const batches = [await task.batch(0), await task.batch(1)];
  const step = new TrainingStep(model, task, settings);
  const [first, second] = [await step.gradients(model, [batches[0]!]), await step.gradients(model, [batches[1]!])];
  const both = await step.gradients(model, batches);
  const [labels, others] = batches.map(({ counts }) => counts['loss']!);
  const share = labels! / (labels! + others!); // each batch weighs as much as it has labels
  assert.ok(both.size > 5);
  for (const [name, sum] of both)
    for (const [i, x] of sum.entries()) {
      const mean = share * first.get(name)![i]! + (1 - share) * second.get(name)![i]!;
      assert.ok(Math.abs(x - mean) <= 1e-6 + 1e-4 * Math.abs(mean), `${name}[${i}]: ${x}, expected ${mean}`);
    }
});

test.run();
