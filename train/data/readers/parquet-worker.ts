import { parentPort } from 'node:worker_threads';
import type { FileMetaData } from 'hyparquet';
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';

/** The thread in which parquet-file.ts has files parsed. */

export type ParquetRow = Readonly<Record<string, unknown>>;

/** Asks for what a file holds, or, with `columns`, for these of its rows from `start` to `end`. */
export interface ParquetRequest {
  readonly path: string;
  readonly columns?: readonly string[];
  readonly start?: number;
  readonly end?: number;
}

export interface ParquetLayout {
  readonly columns: readonly string[];
  /** Bytes are those in the file, of all columns. */
  readonly groups: readonly { readonly rows: number; readonly bytes: number }[];
}

export interface ParquetAnswer {
  readonly layout?: ParquetLayout;
  readonly rows?: readonly ParquetRow[];
  /** Why there is neither. */
  readonly error?: string;
}

type Opened = { readonly file: Awaited<ReturnType<typeof asyncBufferFromFile>>; readonly metadata: FileMetaData };
let last: (Opened & { readonly path: string }) | undefined;

async function answer({ path, columns, start, end }: ParquetRequest): Promise<ParquetAnswer> {
  if (columns === undefined || last?.path !== path) {
    const file = await asyncBufferFromFile(path);
    last = { path, file, metadata: await parquetMetadataAsync(file) };
  }
  const { file, metadata } = last;
  if (columns === undefined) return { layout: layoutOf(metadata) };
  const wanted = { columns: [...columns], rowStart: start, rowEnd: end };
  return { rows: await parquetReadObjects({ file, metadata, compressors, ...wanted }) };
}

function layoutOf({ schema, row_groups: groups }: FileMetaData): ParquetLayout {
  return {
    columns: topLevel(schema),
    groups: groups.map(({ num_rows: rows, columns }) => ({
      rows: Number(rows),
      bytes: columns.reduce((sum, { meta_data: meta }) => sum + Number(meta?.total_compressed_size ?? 0), 0),
    })),
  };
}

/**
 * Names of the columns, of which those of lists and records hold others: the schema lists all, depth first.
 */
function topLevel(schema: FileMetaData['schema']): string[] {
  const names: string[] = [];
  const skip = (at: number): number => {
    let next = at + 1;
    for (let child = 0; child < (schema[at]!.num_children ?? 0); child++) next = skip(next);
    return next;
  };
  for (let at = 1; at < schema.length; at = skip(at)) names.push(schema[at]!.name);
  return names;
}

parentPort!.on('message', (request: ParquetRequest) => {
  void answer(request)
    .catch((error: unknown): ParquetAnswer => ({ error: error instanceof Error ? error.message : String(error) }))
    .then((found) => parentPort!.postMessage(found));
});
parentPort!.postMessage({}); // it is ready
