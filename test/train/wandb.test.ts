// Runs as Weights & Biases keeps offline ones: read back by a reader of its own, byte for byte. Its program
// reads them, too: `wandb beta leet` of wandb 0.31 showed a run's options, curves and summary.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { crc32 } from '../../common/checksum.ts';
import { writeOfflineRun } from '../../train/report/wandb.ts';
import { runHistory } from '../support/run-history.ts';

const test = suite('wandb');

/** The records of LevelDB's log: blocks of 32 KiB, each piece with checksum, length and type. */
function records(file: Buffer): Buffer[] {
  assert.equal([...file.subarray(0, 7)], [...Buffer.from(':W&B'), 0xe1, 0xbe, 0]);
  const found: Buffer[] = [];
  let pieces: Buffer[] = [];
  for (let at = 7; at < file.length;) {
    const left = 32_768 - (at % 32_768);
    if (left < 7) {
      assert.ok(file.subarray(at, at + left).every((byte) => byte === 0));
      at += left;
      continue;
    }
    const [length, type] = [file.readUInt16LE(at + 4), file[at + 6]!];
    const data = file.subarray(at + 7, at + 7 + length);
    assert.is(file.readUInt32LE(at), crc32(Buffer.of(type), data));
    assert.is(pieces.length === 0, type === 1 || type === 2, 'a record begins with a whole or a first piece');
    pieces.push(data);
    if (type === 1 || type === 4) {
      found.push(Buffer.concat(pieces));
      pieces = [];
    }
    at += 7 + length;
  }
  assert.is(pieces.length, 0);
  return found;
}

/** The fields of a protocol buffer: numbers of varints, bytes of the rest. */
function fieldsOf(data: Buffer): [number: number, value: number | Buffer][] {
  const found: [number, number | Buffer][] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = data[at++]!;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < data.length) {
    const tag = varint();
    assert.ok((tag & 7) === 0 || (tag & 7) === 2);
    if ((tag & 7) === 0) {
      found.push([tag >>> 3, varint()]);
    } else {
      const length = varint();
      found.push([tag >>> 3, data.subarray(at, at + length)]);
      at += length;
    }
  }
  return found;
}

/** Fields of one number, as messages or texts. */
const all = (data: Buffer, number: number): Buffer[] =>
  fieldsOf(data).flatMap(([each, value]) => (each === number && typeof value !== 'number' ? [value] : []));
/** What repeated items say: key = 1, JSON = 16. */
const itemsOf = (data: Buffer): Record<string, unknown> =>
  Object.fromEntries(
    all(data, 1).map((item) => [String(all(item, 1)[0]), JSON.parse(String(all(item, 16)[0])) as unknown]),
  );

test('options, numbers step by step, summary; records cross blocks; a run keeps its name', async () => {
  const output = mkdtempSync(join(tmpdir(), 'tapeform-wandb-'));
  try {
    const { folder, count } = await writeOfflineRun({ name: 'a', history: runHistory }, 'spam', output);
    assert.is(count, 700 * 3 - 1 + 2);
    assert.match(basename(folder), /^offline-run-20261129_100000-[0-9a-f]{8}$/);
    const id = basename(folder).slice(-8);
    const file = readFileSync(join(folder, `run-${id}.wandb`));
    assert.ok(file.length > 2 * 32_768);
    const found = records(file);
    assert.equal(
      found.map((record) => fieldsOf(record)[0]),
      found.map((_, i) => [1, i + 1]),
      'records are counted from 1',
    );
    const kinds = found.map((record) => fieldsOf(record)[1]![0]);
    assert.equal(kinds, [21, 17, ...Array.from({ length: 700 }, () => 2), 3, 18]);
    const of = (kind: number): Buffer[] => found.flatMap((record) => all(record, kind));
    const [run] = of(17);
    assert.is(String(all(run!, 1)[0]), id);
    assert.is(String(all(run!, 3)[0]), 'spam');
    assert.is(String(all(run!, 8)[0]), 'a');
    const config = itemsOf(all(run!, 4)[0]!);
    assert.is(config['learningRate'], 0.001);
    assert.equal(config['model'], runHistory.info.identity['model']);
    const history = of(2);
    assert.equal(itemsOf(history[3]!)['train/loss'], undefined, 'a number that is none is left out');
    const last = itemsOf(history.at(-1)!);
    assert.is(last['_step'], 700);
    assert.is(last['train/loss'], 1 / 700);
    assert.is(last['evaluation/loss'], 0.5, 'an evaluation goes with its step');
    assert.equal(fieldsOf(all(history.at(-1)!, 2)[0]!), [[1, 700]]);
    assert.is(itemsOf(of(3)[0]!)['evaluation/top 5 (%)'], 7);
    const longer = { ...runHistory, steps: runHistory.steps.slice(0, 5) };
    assert.is((await writeOfflineRun({ name: 'b', history: longer }, 'spam', output)).folder, folder);
  } finally {
    rmSync(output, { recursive: true, force: true });
  }
});

test('a record that begins where a block has room for no more than a header', async () => {
  const output = mkdtempSync(join(tmpdir(), 'tapeform-wandb-'));
  try {
    /** Where the third record begins, behind the head and two records of one piece each. */
    const write = async (length: number): Promise<readonly [file: Buffer, third: number]> => {
      const run = { name: 'a', history: runHistory };
      const { folder } = await writeOfflineRun(run, 'p'.repeat(length), output);
      const file = readFileSync(join(folder, `run-${basename(folder).slice(-8)}.wandb`));
      const second = 7 + 7 + file.readUInt16LE(11);
      return [file, second + 7 + file.readUInt16LE(second + 4)];
    };
    const [, third] = await write(20_000);
    const [file, moved] = await write(20_000 + 32_768 - 7 - third);
    assert.is(moved, 32_768 - 7);
    assert.equal([...file.subarray(moved + 4, moved + 7)], [0, 0, 2], 'an empty first piece');
    assert.is(records(file).length, 704);
  } finally {
    rmSync(output, { recursive: true, force: true });
  }
});

test.run();
