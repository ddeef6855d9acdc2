import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32c } from '../../common/checksum.ts';
import { disk, writeAllSync } from '../../common/file-system.ts';
import { bytesField, doubleField, floatField, intField } from '../../common/protobuf.ts';
import type { Histogram } from '../../common/statistics.ts';
import { isStep } from './callback.ts';
import type { Callback, LogRecord } from './callback.ts';
import { optionTexts } from './run-info.ts';
import type { RunInfo } from './run-info.ts';

/** When something was, and at which step. */
interface Moment {
  readonly step: number;
  /** Milliseconds since 1970. */
  readonly time: number;
}

/**
 * TensorBoard's event files: records of length, masked CRC-32C of the length, an Event protocol buffer,
 * masked CRC-32C of that (tensorflow/core/lib/io/record_writer.h, core/util/event.proto, summary.proto). A
 * file is written anew from the log when a run is resumed.
 */
class EventFile {
  private readonly file: number;

  /** Begins a file, with the histograms that older ones have up to step `last`: these are in no log. */
  constructor(folder: string, time: number, last: number) {
    const older = readdirSync(folder)
      .filter((name) => name.startsWith('events.out.tfevents.'))
      .map((name) => join(folder, name));
    const kept = older.flatMap((path) => histogramEvents(readFileSync(path), last));
    for (const path of older) disk.removeSync(path);
    this.file = disk.openSync(join(folder, `events.out.tfevents.${Math.floor(time / 1000)}.tapeform`), 'w');
    this.#write({ step: 0, time }, bytesField(3, 'brain.Event:2'));
    kept.forEach((event) => this.#append(event));
  }

  /** HistogramProto: min = 1, max = 2, num = 3, sum = 4, sum_squares = 5, bucket_limit = 6, bucket = 7. */
  histograms(moment: Moment, values: ReadonlyMap<string, Histogram>): void {
    const each = [...values].map(([tag, { least, most, count, sum, squares, bins }]) => {
      const limits = bins.map((_, i) =>
        i + 1 < bins.length ? least + ((most - least) * (i + 1)) / bins.length : most,
      );
      const numbers = [least, most, count, sum, squares].map((value, i) => doubleField(i + 1, value));
      const packed = [limits, bins].map((list, i) => bytesField(6 + i, new Uint8Array(Float64Array.from(list).buffer)));
      return summary(tag, bytesField(5, ...numbers, ...packed));
    });
    this.#write(moment, bytesField(5, ...each));
  }

  scalars(moment: Moment, values: Readonly<Record<string, number>>): void {
    const each = Object.entries(values).map(([tag, value]) => summary(tag, floatField(2, value)));
    this.#write(moment, bytesField(5, ...each));
  }

  /** A text in Markdown, in the Text tab. */
  text(moment: Moment, tag: string, markdown: string): void {
    const shape = bytesField(2, bytesField(2, intField(1, 1)));
    const tensor = bytesField(8, intField(1, stringType), shape, bytesField(8, markdown));
    this.#write(moment, bytesField(5, summary(tag, plugin('text'), tensor)));
  }

  /** Options for the HParams tab (tensorboard/plugins/hparams/plugin_data.proto). */
  options(moment: Moment, options: readonly (readonly [name: string, text: string])[]): void {
    const entries = options.map(([name, text]) => bytesField(1, bytesField(1, name), bytesField(2, valueOf(text))));
    // HParamsPluginData with SessionStartInfo = 3: hparams = 1 (a map to google.protobuf.Value), start = 5.
    const data = bytesField(3, ...entries, doubleField(5, moment.time / 1000));
    this.#write(moment, bytesField(5, summary('_hparams_/session_start_info', plugin('hparams', data))));
  }

  close(): void {
    disk.closeSync(this.file);
  }

  /** Event: wall_time = 1 (double, seconds), step = 2, then what it says. */
  #write({ step, time }: Moment, what: Buffer): void {
    this.#append(Buffer.concat([doubleField(1, time / 1000), ...(step > 0 ? [intField(2, step)] : []), what]));
  }

  #append(data: Buffer): void {
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(data.length));
    writeAllSync(this.file, Buffer.concat([length, checksum(length), data, checksum(data)]));
  }
}

/**
 * The events of a file that hold histograms of steps up to `last`. A record that a killed run left unfinished
 * ends them.
 */
function histogramEvents(file: Buffer, last: number): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at + 12 <= file.length;) {
    const end = at + 12 + Number(file.readBigUInt64LE(at));
    if (end + 4 > file.length) break;
    const event = file.subarray(at + 12, end);
    at = end + 4;
    // The time in 9 bytes, then the step.
    if (event[9] !== 0x10) continue;
    let [step, place] = [0, 10];
    for (let bit = 1; ; bit *= 128) {
      step += (event[place]! % 128) * bit;
      if (event[place++]! < 128) break;
    }
    // Summary = 5 with a value = 1 with its tag = 1, each before its length.
    const begin = /^\x2a[^]{1,5}\x0a[^]{1,5}\x0a[^]{1,2}(weights|gradients)\//;
    if (step <= last && begin.test(event.toString('latin1', place, place + 40))) found.push(Buffer.from(event));
  }
  return found;
}

/** A run's events as they come, and histograms besides. */
export interface Board extends Callback {
  histograms(moment: Moment, values: ReadonlyMap<string, Histogram>): void;
}

/** Writes a run's options and records as event files: those it has so far, and then each as it comes. */
export function tensorBoard(folder: string, info: RunInfo, earlier: readonly LogRecord[], now: number): Board {
  const begun = { step: 0, time: earlier[0]?.time ?? now };
  const file = new EventFile(folder, begun.time, earlier.at(-1)?.step ?? 0);
  const options = optionTexts(info);
  file.text(begun, 'run', describe(info, options));
  file.options(begun, options);
  const add = (record: LogRecord): void => file.scalars(record, scalarsOf(record));
  earlier.forEach(add);
  return {
    onStep: add,
    onEvaluation: add,
    histograms: ({ step, time }, values) => file.histograms({ step, time }, values),
    onEnd: () => file.close(),
  };
}

/** The numbers of a record under the names that TensorBoard, MLflow and Weights & Biases show. */
export function scalarsOf(record: LogRecord): Record<string, number> {
  const under = (group: string, values: Readonly<Record<string, number>>): [string, number][] =>
    Object.entries(values).map(([name, value]) => [`${group}/${name}`, value]);
  if (!isStep(record)) return Object.fromEntries(under('evaluation', record.evaluation));
  const { loss, losses = {}, measures = {}, lr, gradNorm } = record;
  return Object.fromEntries(under('train', { loss, ...losses, ...measures, learning_rate: lr, grad_norm: gradNorm }));
}

/** What made a run, as Markdown. */
function describe(info: RunInfo, options: readonly (readonly [string, string])[]): string {
  const { command, commit = 'unknown', adapter, driver, versions } = info;
  const facts = Object.entries({ commit, adapter, driver, ...versions });
  const rows = [...facts, ...options].map(([name, value]) => `| ${cell(name)} | ${cell(value)} |`);
  return [...command.split('\n').map((line) => `    ${line}`), '', '| | |', '| --- | --- |', ...rows].join('\n');
}

const cell = (text: string): string => text.replace(/[\\|`*_<[\]]/g, '\\$&').replace(/\s+/g, ' ');

/** google.protobuf.Value: number = 2, string = 3, bool = 4. */
function valueOf(text: string): Buffer {
  if (text === 'true' || text === 'false') return intField(4, Number(text === 'true'));
  return text !== '' && Number.isFinite(Number(text)) ? doubleField(2, Number(text)) : bytesField(3, text);
}

/** DT_STRING of tensorflow's types.proto. */
const stringType = 7;

/** Summary.Value: tag = 1, then what it is. */
const summary = (tag: string, ...what: readonly Buffer[]): Buffer => bytesField(1, bytesField(1, tag), ...what);

/** SummaryMetadata = 9: plugin_data = 1, with plugin_name = 1 and content = 2. */
const plugin = (name: string, content?: Buffer): Buffer =>
  bytesField(9, bytesField(1, bytesField(1, name), ...(content ? [bytesField(2, content)] : [])));

/** CRC-32C, turned and moved, so that a checksum of data with checksums inside stays one. */
function checksum(data: Buffer): Buffer {
  const crc = crc32c(data);
  const out = Buffer.alloc(4);
  out.writeUInt32LE((((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0);
  return out;
}
