import type { TextFileOptions } from '../utf8-blocks.ts';

/** One text of a corpus, and where it comes from: "a.txt", "a.jsonl:12", "sotu/1790 George Washington". */
export interface TextDocument {
  readonly text: string;
  readonly source: string;
}

/** Parts of a text file that are documents: the whole, each line, or each run of lines that are not blank. */
export const documentUnits = ['file', 'line', 'paragraph'] as const;
export type DocumentUnit = (typeof documentUnits)[number];

export interface ReadOptions extends TextFileOptions {
  /** Of text files. Default "file". */
  readonly documents?: DocumentUnit;
  /** Of JSONL, CSV, TSV and Parquet files. Default "text". */
  readonly textColumn?: string;
}
