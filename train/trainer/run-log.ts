import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import * as z from 'zod';
import { writeFileAtomic } from '../../common/atomic-files.ts';
import { disk, writeAllSync } from '../../common/file-system.ts';
import { isJsonObject, readError } from '../../common/json-file.ts';
import { brief, printable } from '../../common/printable.ts';
import { writeError } from '../../common/staged-file.ts';
import { isEvaluation, isStep } from './callback.ts';
import type { EvaluationRecord, LogRecord, StepRecord } from './callback.ts';

/**
 * A run's log, one JSON record a line: what happened, in order. A resumed run first cuts off what came after
 * its checkpoint, for those steps are taken again; a line that a killed run left unfinished goes with it. All
 * else that shows a run (curves, report, event files) is made from these records.
 */
export class RunLog {
  readonly path: string;
  readonly records: LogRecord[];
  /** None of a process that does not write. */
  private readonly file: number | undefined;

  private constructor(path: string, records: LogRecord[], file: number | undefined) {
    this.path = path;
    this.records = records;
    this.file = file;
  }

  /**
   * Starts a log anew, or keeps that of a run up to the step that it goes on from. Error: records of those
   * steps are missing.
   */
  static async open(path: string, resumedAt?: number): Promise<RunLog> {
    await disk.makeFolder(dirname(path));
    const records = recordsUpTo(path, resumedAt);
    const steps = records.filter(isStep).length;
    if (resumedAt !== undefined && steps !== resumedAt)
      throw new Error(
        `${path} has ${steps} of the ${resumedAt} steps up to the checkpoint; ` +
          'put the log back, or remove the folder to start again',
      );
    await writeFileAtomic(path, records.map(line).join(''));
    return new RunLog(path, records, disk.openSync(path, 'a'));
  }

  /** The same for a process beside the one that writes: what it appends is kept in memory alone. */
  static unwritten(path: string, resumedAt?: number): RunLog {
    return new RunLog(path, recordsUpTo(path, resumedAt), undefined);
  }

  get steps(): StepRecord[] {
    return this.records.filter(isStep);
  }

  get evaluations(): EvaluationRecord[] {
    return this.records.filter(isEvaluation);
  }

  append(record: LogRecord): void {
    this.records.push(record);
    if (this.file === undefined) return;
    try {
      writeAllSync(this.file, Buffer.from(line(record)));
    } catch (error) {
      throw writeError(this.path, error);
    }
  }

  /** Makes sure that all records are on the disk, before a checkpoint that relies on them. */
  sync(): void {
    if (this.file === undefined) return;
    try {
      disk.syncSync(this.file);
    } catch (error) {
      throw writeError(this.path, error);
    }
  }

  close(): void {
    if (this.file !== undefined) disk.closeSync(this.file);
  }
}

/** The records that a run keeps which goes on from a step; one that begins has none. */
const recordsUpTo = (path: string, resumedAt: number | undefined): LogRecord[] =>
  resumedAt === undefined ? [] : readLog(path).filter(({ step }) => step <= resumedAt);

const line = (record: LogRecord): string => `${JSON.stringify(record)}\n`;

/** JSON has no NaN and no infinity: a loss that is none is written as null. */
const value = z
  .number()
  .nullable()
  .transform((number) => number ?? NaN);
const step = z.int().min(0);
const count = z.number().min(0);
const stepSchema = z.looseObject({
  step,
  loss: value,
  losses: z.record(z.string(), value).optional(),
  measures: z.record(z.string(), value).optional(),
  lr: value,
  gradNorm: value,
  skipped: z.literal(1).optional(),
  scale: value.optional(),
  tokens: count,
  seconds: count,
  time: count,
});
const evaluationSchema = z.looseObject({ step, evaluation: z.record(z.string(), value), seconds: count, time: count });

/**
 * The records of a log. An absent file has none, and a last line that a killed run left unfinished is none.
 * Error: any other line that is no record, by its number.
 *
 * @example
 * readLog('runs/none/log.jsonl'); // []
 */
export function readLog(path: string): LogRecord[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw readError(path, error);
  }
  const lines = text.split('\n').slice(0, -1);
  return lines.flatMap((part, i) => {
    const parsed = parseRecord(part);
    if (typeof parsed !== 'string') return [parsed];
    if (parsed === 'is no JSON' && i === lines.length - 1) return [];
    throw new Error(
      `${printable(path)}, line ${i + 1} ${parsed}: ${brief(part)}; ` +
        'put the log back, or remove the folder to start again',
    );
  });
}

/** A record, or what is wrong with the line. */
function parseRecord(part: string): LogRecord | string {
  let json: unknown;
  try {
    json = JSON.parse(part);
  } catch {
    return 'is no JSON';
  }
  if (!isJsonObject(json)) return 'is no record of a run';
  const { data, error } = ('loss' in json ? stepSchema : evaluationSchema).safeParse(json);
  if (data) return data as LogRecord;
  const [issue] = error!.issues;
  return `is no record of a run (${printable(issue!.path.join('.'))}: ${issue!.message})`;
}
