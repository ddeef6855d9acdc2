import { parentPort } from 'node:worker_threads';
import type { FileMetaData } from 'hyparquet';
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';

/** The thread in which parquet-file.ts has files parsed. */

export type ParquetRow = Readonly<Record<string, unknown>>;

/** Asks for what a file holds, or, with `column`, for the values of its rows from `start` to `end`. */
export interface ParquetRequest {
  readonly path: string;
  readonly column?: string;
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

async function answer({ path, column, start, end }: ParquetRequest): Promise<ParquetAnswer> {
  if (column === undefined || last?.path !== path) {
    const file = await asyncBufferFromFile(path);
    last = { path, file, metadata: await parquetMetadataAsync(file) };
  }
  const { file, metadata } = last;
  if (column === undefined) return { layout: layoutOf(metadata) };
  const columns = [column];
  return { rows: await parquetReadObjects({ file, metadata, compressors, columns, rowStart: start, rowEnd: end }) };
}

function layoutOf({ schema, row_groups: groups }: FileMetaData): ParquetLayout {
  return {
    columns: schema.filter(({ num_children: children }) => !children).map(({ name }) => name),
    groups: groups.map(({ num_rows: rows, columns }) => ({
      rows: Number(rows),
      bytes: columns.reduce((sum, { meta_data: meta }) => sum + Number(meta?.total_compressed_size ?? 0), 0),
    })),
  };
}

parentPort!.on('message', (request: ParquetRequest) => {
  void answer(request)
    .catch((error: unknown): ParquetAnswer => ({ error: error instanceof Error ? error.message : String(error) }))
    .then((found) => parentPort!.postMessage(found));
});
parentPort!.postMessage({}); // it is ready
