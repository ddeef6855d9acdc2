import { open } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import { readError } from '../../../common/json-file.ts';
import { firstLine } from '../../../common/printable.ts';
import { noColumn, stringCell } from '../read-table.ts';
import type { ReadOptions, TextDocument } from './document.ts';
import type { TableRow } from '../table-rows.ts';
import type { ParquetAnswer, ParquetRequest, ParquetRow } from './parquet-worker.ts';

/**
 * The texts of a Parquet file, a row each; one row group at a time is in memory. Errors name the file, and
 * the row counted from 1.
 */
export async function* parquetFileDocuments(path: string, options: ReadOptions): AsyncGenerator<TextDocument> {
  const { textColumn = 'text', onBytes } = options;
  const missing = (columns: readonly string[]): Error =>
    new Error(`${path}: ${noColumn(textColumn, columns, 'textColumn')}`);
  const pick = (columns: readonly string[]): readonly string[] => {
    if (!columns.includes(textColumn)) throw missing(columns);
    return [textColumn];
  };
  for await (const { number, cells } of rowsOf(path, pick, onBytes)) {
    const source = `${path}:${number}`;
    yield { text: stringCell(cells, textColumn, 'textColumn', source), source };
  }
}

/** The rows of a Parquet file with all their columns, numbers of 64 bits as numbers; `line` counts from 1. */
export async function* parquetRows(path: string): AsyncGenerator<TableRow> {
  for await (const { number, cells } of rowsOf(path, (columns) => columns))
    yield { line: number, cells: asJson(cells) as TableRow['cells'] };
}

async function* rowsOf(
  path: string,
  pick: (columns: readonly string[]) => readonly string[],
  onBytes?: (bytes: number) => void,
): AsyncGenerator<{ readonly number: number; readonly cells: ParquetRow }> {
  const size = await sizeOf(path).catch((error: unknown) => Promise.reject(readError(path, error)));
  const { columns, groups } = (await parse({ path }, 0)).layout!;
  const wanted = pick(columns);
  let first = 0;
  for (const { rows: count, bytes } of groups) {
    const end = first + count;
    const { rows } = await parse({ path, columns: wanted, start: first, end }, Math.min(bytes, size));
    onBytes?.(bytes); // all columns of the group are passed over, though fewer are read
    for (const [i, cells] of rows!.entries()) yield { number: first + i + 1, cells };
    first = end;
  }
}

/** A value as JSON has it. */
function asJson(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (value === undefined) return null;
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(asJson);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, asJson(item)]));
}

async function sizeOf(path: string): Promise<number> {
  const file = await open(path);
  try {
    return (await file.stat()).size;
  } finally {
    await file.close();
  }
}

/** Milliseconds for a request, and bytes that add one: a hundred times what it takes. */
const [patience, bytesPerMs] = [5000, 1000];

let worker: Promise<Worker> | undefined;
let before: Promise<unknown> = Promise.resolve();

/**
 * Has a request answered by another thread, one at a time. The parser trusts what a file says of itself: a
 * page without a size keeps it in a loop, a count of 2^31 fills the memory, and neither can be stopped from
 * its own thread.
 */
function parse(request: ParquetRequest, bytes: number): Promise<ParquetAnswer> {
  const answered = before.then(async () => {
    worker ??= start();
    const thread = await worker;
    const limit = patience + bytes / bytesPerMs;
    try {
      thread.postMessage(request);
      const answer = await nextAnswer(thread, limit);
      if (answer.error !== undefined) throw new Error(answer.error);
      return answer;
    } catch (error) {
      const what = `${request.path}: no Parquet file, or a damaged one (${firstLine(error)}); fetch it again`;
      throw new Error(what, { cause: error });
    }
  });
  before = answered.catch(() => undefined);
  return answered;
}

/** tsx has the main thread read TypeScript and no other: this one asks for it before it opens the file. */
const bootstrap = `
  const { workerData: { file, tsx } } = require('node:worker_threads');
  import(tsx).then(({ register }) => register()).then(() => import(file));`;

async function start(): Promise<Worker> {
  const isSource = import.meta.url.endsWith('.ts');
  const file = new URL(`./parquet-worker.${isSource ? 'ts' : 'js'}`, import.meta.url);
  const asItIs = 'Deno' in globalThis || !isSource;
  const workerData = { file: file.href, tsx: asItIs ? '' : import.meta.resolve('tsx/esm/api') };
  const thread = asItIs ? new Worker(file) : new Worker(bootstrap, { eval: true, execArgv: [], workerData });
  await nextAnswer(thread, Infinity);
  return thread;
}

/**
 * The thread's next answer. Ends it where that takes longer than `limit` ms; the next request starts
 * another.
 */
function nextAnswer(thread: Worker, limit: number): Promise<ParquetAnswer> {
  return new Promise<ParquetAnswer>((done, fail) => {
    thread.ref(); // the process waits for an answer, but not for a thread without work
    const end = (error: Error): void => {
      worker = undefined;
      void thread.terminate();
      fail(error);
    };
    const late = (): void => end(new Error(`its pages do not end within ${Math.round(limit / 1000)} s`));
    const timer = limit === Infinity ? undefined : setTimeout(late, limit);
    thread.once('error', end);
    thread.once('message', (answer: ParquetAnswer) => {
      thread.off('error', end);
      clearTimeout(timer);
      thread.unref();
      done(answer);
    });
  });
}
