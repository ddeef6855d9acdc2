import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { writeFileAtomic } from '../../common/atomic-files.ts';
import { disk, writeAllSync } from '../../common/file-system.ts';
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
  private readonly file: number;

  private constructor(path: string, records: LogRecord[]) {
    this.path = path;
    this.records = records;
    this.file = disk.openSync(path, 'a');
  }

  /**
   * Starts a log anew, or keeps that of a run up to the step that it goes on from. Error: records of those
   * steps are missing.
   */
  static async open(path: string, resumedAt?: number): Promise<RunLog> {
    await disk.makeFolder(dirname(path));
    const records = resumedAt === undefined ? [] : readLog(path).filter(({ step }) => step <= resumedAt);
    const steps = records.filter(isStep).length;
    if (resumedAt !== undefined && steps !== resumedAt)
      throw new Error(
        `${path} has ${steps} of the ${resumedAt} steps up to the checkpoint; ` +
          'put the log back, or remove the folder to start again',
      );
    await writeFileAtomic(path, records.map(line).join(''));
    return new RunLog(path, records);
  }

  get steps(): StepRecord[] {
    return this.records.filter(isStep);
  }

  get evaluations(): EvaluationRecord[] {
    return this.records.filter(isEvaluation);
  }

  append(record: LogRecord): void {
    this.records.push(record);
    try {
      writeAllSync(this.file, Buffer.from(line(record)));
    } catch (error) {
      throw writeError(this.path, error);
    }
  }

  /** Makes sure that all records are on the disk, before a checkpoint that relies on them. */
  sync(): void {
    try {
      disk.syncSync(this.file);
    } catch (error) {
      throw writeError(this.path, error);
    }
  }

  close(): void {
    disk.closeSync(this.file);
  }
}

const line = (record: LogRecord): string => `${JSON.stringify(record)}\n`;

/** The records of a log, up to the first line that is not whole. An absent file has none. */
export function readLog(path: string): LogRecord[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  const records: LogRecord[] = [];
  for (const part of text.split('\n').slice(0, -1)) {
    try {
      records.push(JSON.parse(part) as LogRecord);
    } catch {
      break;
    }
  }
  return records;
}
