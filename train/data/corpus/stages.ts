import { Cleaner } from '../cleaning/cleaner.ts';
import { LineCounter } from '../cleaning/line-counter.ts';
import type { CleaningOptions } from '../cleaning/rule.ts';
import { DuplicateFilter } from '../duplicates/filter.ts';
import type { DuplicateThresholds } from '../duplicates/filter.ts';
import { NearDuplicates } from '../duplicates/near-duplicates.ts';
import type { ReadOptions, TextDocument } from '../readers/document.ts';
import { readDocuments } from '../readers/inputs.ts';
import type { Input } from '../readers/inputs.ts';
import { fileSize, JsonlWriter, spooledDocuments } from './jsonl-spool.ts';
import type { Watch } from './watch.ts';

/** Documents that can be read again and again. */
export interface DocumentSource {
  /** Bytes of one reading, for progress. */
  readonly size: number;
  read(onBytes: (bytes: number) => void): AsyncIterable<TextDocument>;
}

export function inputSource(inputs: readonly Input[], options: ReadOptions): DocumentSource {
  const size = inputs.reduce((sum, input) => sum + input.size, 0);
  return { size, read: (onBytes) => readDocuments(inputs, { ...options, onBytes }) };
}

export async function spoolSource(path: string): Promise<DocumentSource> {
  return { size: await fileSize(path), read: (onBytes) => spooledDocuments(path, onBytes) };
}

/** One reading of all documents, watched. */
export async function* pass(stage: string, source: DocumentSource, watch: Watch): AsyncGenerator<TextDocument> {
  watch.begin(stage, source.size);
  for await (const document of source.read(watch.onBytes)) {
    watch.step();
    yield document;
  }
}

/**
 * A cleaner for the documents of a source; where lines that many of them have are to go, they are counted
 * first.
 */
export async function makeCleaner(source: DocumentSource, options: CleaningOptions, watch: Watch): Promise<Cleaner> {
  const { repeatedLines = 10, skip = [] } = options;
  if (repeatedLines === 0 || skip.includes('boilerplate')) return new Cleaner(options);
  if (repeatedLines > 255) throw new Error(`cleaning: repeatedLines must be at most 255, got ${repeatedLines}`);
  const lines = new LineCounter();
  for await (const { text } of pass('count lines', source, watch)) lines.add(text);
  return new Cleaner(options, (line) => lines.count(line));
}

/**
 * Writes the documents that `change` does not drop (null) as JSONL. Error: none is left; it names the
 * rules of `cleaner` that dropped most.
 */
export async function writeDocuments(
  path: string,
  documents: AsyncIterable<TextDocument>,
  change: (document: TextDocument) => string | null,
  cleaner?: Cleaner,
): Promise<void> {
  const writer = await JsonlWriter.create(path);
  try {
    let read = 0;
    for await (const document of documents) {
      read++;
      const text = change(document);
      if (text !== null) await writer.add({ text, source: document.source });
    }
    if (writer.documents === 0)
      throw new Error(`nothing is left: all ${read} documents were dropped${cleaner ? whyOf(cleaner) : ''}`);
    await writer.finish();
  } finally {
    await writer.discard();
  }
}

/** The rules that dropped documents, those that dropped most first, and the mend. */
function whyOf(cleaner: Cleaner): string {
  const rules = cleaner.report().rules.filter(({ kind, documents }) => kind === 'drop' && documents > 0);
  const most = rules.sort((a, b) => b.documents - a.documents).slice(0, 3);
  return `, by ${most.map(({ name, documents }) => `${name} (${documents})`).join(', ')}; leave rules out with --skip`;
}

/** Reads all documents and decides which are duplicates. */
export async function findDuplicates(
  source: DocumentSource,
  thresholds: DuplicateThresholds,
  watch: Watch,
): Promise<DuplicateFilter> {
  const index = new NearDuplicates();
  for await (const { text } of pass('find duplicates', source, watch)) index.add(text);
  return new DuplicateFilter(index, thresholds);
}
