import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { readError } from '../../../common/json-file.ts';
import { stringCell } from '../read-table.ts';
import type { ReadOptions, TextDocument } from './document.ts';

/**
 * The texts of a Parquet file, a row each; one row group at a time is in memory. Errors name the file, and
 * the row counted from 1.
 */
export async function* parquetFileDocuments(path: string, options: ReadOptions): AsyncGenerator<TextDocument> {
  const { textColumn = 'text', onBytes } = options;
  const whole = await asyncBufferFromFile(path).catch((error: unknown) => Promise.reject(readError(path, error)));
  const metadata = await parquetMetadataAsync(whole).catch((error: unknown) => Promise.reject(damaged(path, error)));
  const names = metadata.schema.filter(({ num_children: children }) => !children).map(({ name }) => name);
  if (!names.includes(textColumn))
    throw new Error(`${path}: no column "${textColumn}" among ${names.join(', ')}; name the right one as textColumn`);
  let first = 0;
  for (const group of metadata.row_groups) {
    const end = first + Number(group.num_rows);
    const rows: readonly Readonly<Record<string, unknown>>[] = await parquetReadObjects({
      file: whole,
      metadata,
      compressors,
      columns: [textColumn],
      rowStart: first,
      rowEnd: end,
    }).catch((error: unknown) => Promise.reject(damaged(path, error)));
    // All columns of the group are passed over, though one is read.
    onBytes?.(group.columns.reduce((sum, { meta_data: meta }) => sum + Number(meta?.total_compressed_size ?? 0), 0));
    for (const [i, row] of rows.entries()) {
      const source = `${path}:${first + i + 1}`;
      yield { text: stringCell(row, textColumn, 'textColumn', source), source };
    }
    first = end;
  }
}

function damaged(path: string, error: unknown): Error {
  const [reason = ''] = String(error instanceof Error ? error.message : error).split('\n');
  return new Error(`${path}: no Parquet file, or a damaged one (${reason}); fetch it again`, { cause: error });
}
