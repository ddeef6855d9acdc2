import { join } from 'node:path';
import { writeFileAtomic } from '../../common/atomic-files.ts';
import { crc32 } from '../../common/checksum.ts';
import { bytesField, intField } from '../../common/protobuf.ts';
import { sha256 } from '../../common/sha256.ts';
import type { NamedRun } from './run-groups.ts';
import { endOf, keyOf, numbersOf } from './run-history.ts';
import type { RunNumbers } from './run-history.ts';

/** A run that was written. */
export interface OfflineRun {
  /** What `wandb sync` is given. */
  readonly folder: string;
  /** How many numbers of its log, and scores of its test. */
  readonly count: number;
}

/**
 * Writes a run as Weights & Biases keeps one that was made offline, in a folder of `output`: options as its
 * config, numbers of the log as its history, the last of each and the test's scores as its summary.
 * `wandb sync` sends it. The same run has the same name there each time, so that one that has gone on since
 * takes the place of what was sent before. Errors, one line: the folder cannot be written.
 */
export async function writeOfflineRun(
  { name, history }: NamedRun,
  project: string,
  output: string,
): Promise<OfflineRun> {
  const { info } = history;
  const id = Buffer.from(sha256([keyOf(history)])).toString('hex', 0, 4);
  const begun = Date.parse(info.started);
  const numbers = byStep(numbersOf(history));
  const config = {
    ...info.identity,
    parameters: info.parameters,
    ...{ command: info.command, adapter: info.adapter, driver: info.driver, versions: info.versions },
  };
  const last = Object.assign({}, ...numbers.map(({ values }) => values)) as RunNumbers['values'];
  const records = [
    // Record: header = 21, run = 17, history = 2, summary = 3, exit = 18 (wandb/proto/wandb_internal.proto).
    bytesField(21, bytesField(1, bytesField(1, 'tapeform'), bytesField(2, '0.70.0'))),
    bytesField(
      17,
      bytesField(1, id),
      bytesField(3, project),
      bytesField(4, ...items(config)),
      bytesField(8, name),
      bytesField(17, ...timestamp(begun)),
      ...(info.commit === undefined ? [] : [bytesField(21, bytesField(2, info.commit.replace('+', '')))]),
    ),
    ...numbers.map(({ step, time, values }) => {
      const runtime = (time - begun) / 1000;
      const all = { ...values, _step: step, _timestamp: time / 1000, _runtime: runtime };
      return bytesField(2, ...items(all), bytesField(2, intField(1, step)));
    }),
    bytesField(3, ...items({ ...last, _runtime: (endOf(history) - begun) / 1000 })),
    bytesField(18),
  ];
  const stamp = info.started.replace(/\D/g, '').replace(/^(\d{8})(\d{6}).*/, '$1_$2');
  const folder = join(output, `offline-run-${stamp}-${id}`);
  const numbered = records.map((record, i) => Buffer.concat([intField(1, i + 1), record]));
  await writeFileAtomic(join(folder, `run-${id}.wandb`), logOf(numbered));
  return { folder, count: numbers.reduce((sum, { values }) => sum + Object.keys(values).length, 0) };
}

/** One entry a step: Weights & Biases takes a step once, in order. */
function byStep(numbers: readonly RunNumbers[]): RunNumbers[] {
  const steps = new Map<number, RunNumbers>();
  for (const { step, time, values } of numbers) {
    const before = steps.get(step);
    steps.set(step, { step, time: Math.max(time, before?.time ?? 0), values: { ...before?.values, ...values } });
  }
  return [...steps.values()].sort((a, b) => a.step - b.step);
}

/** Repeated ConfigItem, HistoryItem or SummaryItem = 1: key = 1, value as JSON = 16. */
const items = (values: Readonly<Record<string, unknown>>): Buffer[] =>
  Object.entries(values).map(([key, value]) =>
    bytesField(1, bytesField(1, key), bytesField(16, JSON.stringify(value))),
  );

/** google.protobuf.Timestamp: seconds = 1, nanoseconds = 2. */
const timestamp = (time: number): Buffer[] => [
  intField(1, Math.floor(time / 1000)),
  intField(2, (time % 1000) * 1_000_000),
];

const [blockSize, headerSize] = [32_768, 7];
const [whole, first, middle, final] = [1, 2, 3, 4];

/**
 * LevelDB's log (leveldb/doc/log_format.md) with the head and the checksum of Weights & Biases: plain CRC-32
 * of the type and the data. Records are cut where a block of 32 KiB ends.
 */
function logOf(records: readonly Uint8Array[]): Buffer {
  const parts: Uint8Array[] = [Buffer.from([...Buffer.from(':W&B'), 0xe1, 0xbe, 0])];
  let position = parts[0]!.length;
  const put = (part: Uint8Array): void => {
    parts.push(part);
    position += part.length;
  };
  for (const record of records) {
    let at = 0;
    let isFirst = true;
    do {
      if (blockSize - (position % blockSize) < headerSize) put(new Uint8Array(blockSize - (position % blockSize)));
      const room = blockSize - (position % blockSize) - headerSize;
      const data = record.subarray(at, at + room);
      at += data.length;
      const isLast = at === record.length;
      const type = isFirst ? (isLast ? whole : first) : isLast ? final : middle;
      const header = Buffer.alloc(headerSize);
      header.writeUInt32LE(crc32(Buffer.of(type), data), 0);
      header.writeUInt16LE(data.length, 4);
      header[6] = type;
      put(header);
      put(data);
      isFirst = false;
    } while (at < record.length);
  }
  return Buffer.concat(parts);
}
