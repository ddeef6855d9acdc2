import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { crc32c } from '../../common/checksum.ts';
import { tensorBoard } from '../../train/trainer/tensorboard.ts';
import { runHistory } from '../support/run-history.ts';

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

test.run();
