import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { disk, writeAllSync } from '../../common/file-system.ts';
import { isStep } from './callback.ts';
import type { Callback, LogRecord } from './callback.ts';

/** Named numbers of one moment, as TensorBoard shows them. */
interface Scalars {
  readonly step: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly values: Readonly<Record<string, number>>;
}

/**
 * TensorBoard's event files: records of length, masked CRC-32C of the length, an Event protocol buffer,
 * masked CRC-32C of that (tensorflow/core/lib/io/record_writer.h, core/util/event.proto). A file is written
 * anew from the log when a run is resumed.
 */
class EventFile {
  private readonly file: number;

  constructor(folder: string, time: number) {
    for (const name of readdirSync(folder))
      if (name.startsWith('events.out.tfevents.')) disk.removeSync(join(folder, name));
    this.file = disk.openSync(join(folder, `events.out.tfevents.${Math.floor(time / 1000)}.tapeform`), 'w');
    this.#write(event(time, 0, field(3, 2, bytes('brain.Event:2'))));
  }

  add({ step, time, values }: Scalars): void {
    const each = Object.entries(values).map(([tag, value]) =>
      field(1, 2, Buffer.concat([field(1, 2, bytes(tag)), field(2, 5, float32(value))])),
    );
    this.#write(event(time, step, field(5, 2, Buffer.concat(each))));
  }

  close(): void {
    disk.closeSync(this.file);
  }

  #write(data: Buffer): void {
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(data.length));
    writeAllSync(this.file, Buffer.concat([length, checksum(length), data, checksum(data)]));
  }
}

/** Writes a run's records as event files: those it has so far, and then each as it comes. */
export function tensorBoard(folder: string, earlier: readonly LogRecord[], now: number): Callback {
  const file = new EventFile(folder, earlier[0]?.time ?? now);
  const add = (record: LogRecord): void => file.add({ ...record, values: scalarsOf(record) });
  earlier.forEach(add);
  return { onStep: add, onEvaluation: add, onEnd: () => file.close() };
}

/** The numbers of a record under the names that TensorBoard and MLflow show. */
export function scalarsOf(record: LogRecord): Record<string, number> {
  const under = (group: string, values: Readonly<Record<string, number>>): [string, number][] =>
    Object.entries(values).map(([name, value]) => [`${group}/${name}`, value]);
  if (!isStep(record)) return Object.fromEntries(under('evaluation', record.evaluation));
  const { loss, losses = {}, measures = {}, lr, gradNorm } = record;
  return Object.fromEntries(under('train', { loss, ...losses, ...measures, learning_rate: lr, grad_norm: gradNorm }));
}

/** Event: wall_time = 1 (double, seconds), step = 2 (int64), then what it says. */
function event(time: number, step: number, what: Buffer): Buffer {
  const seconds = Buffer.alloc(8);
  seconds.writeDoubleLE(time / 1000);
  return Buffer.concat([field(1, 1, seconds), ...(step > 0 ? [field(2, 0, varint(step))] : []), what]);
}

/**
 * A protocol buffer field: its number and wire type (0 varint, 1 64 bit, 2 bytes with their length, 5 32
 * bit).
 */
function field(number: number, type: 0 | 1 | 2 | 5, data: Buffer): Buffer {
  const tag = Buffer.of((number << 3) | type);
  return Buffer.concat(type === 2 ? [tag, varint(data.length), data] : [tag, data]);
}

function varint(value: number): Buffer {
  const out: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) out.push((value % 128) | 128);
  return Buffer.of(...out, value);
}

const bytes = (text: string): Buffer => Buffer.from(text, 'utf8');

function float32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeFloatLE(value);
  return out;
}

/** CRC-32C, turned and moved, so that a checksum of data with checksums inside stays one. */
function checksum(data: Buffer): Buffer {
  const crc = crc32c(data);
  const out = Buffer.alloc(4);
  out.writeUInt32LE((((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0);
  return out;
}

/** Remainders of each byte by the Castagnoli polynomial, bits reversed. */
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** CRC-32C (Castagnoli; RFC 3720, B.4), which zlib, hence Node, does not have. */
export function crc32c(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) crc = table[(crc ^ byte) & 255]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
