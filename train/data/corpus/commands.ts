import { join } from 'node:path';
import { writeFileAtomic, writeFilesAtomic, writeFolderAtomic } from '../../../common/atomic-files.ts';
import { writeManifest } from '../../../common/manifest.ts';
import type { CleaningReport } from '../cleaning/cleaner.ts';
import type { CleaningOptions } from '../cleaning/rule.ts';
import type { DuplicateReport, DuplicateThresholds } from '../duplicates/filter.ts';
import { checkFractions, hashedSplit, splitNames } from '../split.ts';
import type { SplitFractions, SplitName } from '../split.ts';
import type { TokenMeta } from '../token-writer.ts';
import { TokenWriter } from '../token-writer.ts';
import { cardPage } from './data-card-page.ts';
import { readCard } from './data-card.ts';
import { JsonlWriter } from './jsonl-spool.ts';
import { findDuplicates, makeCleaner, pass, writeDocuments } from './stages.ts';
import type { DocumentSource } from './stages.ts';
import { encodeDocument, tokenizerFingerprint } from './text-tokenizer.ts';
import type { TextTokenizer } from './text-tokenizer.ts';
import type { Watch } from './watch.ts';

// The steps of prepareCorpus one by one, each from documents to a file or folder of its own.

/** Cleans documents into a JSONL file. */
export async function cleanTo(
  path: string,
  source: DocumentSource,
  options: CleaningOptions,
  watch: Watch,
): Promise<CleaningReport> {
  const cleaner = await makeCleaner(source, options, watch);
  await writeDocuments(path, pass('clean', source, watch), (document) => cleaner.clean(document), cleaner);
  return cleaner.report();
}

/** Writes documents without their duplicates into a JSONL file; reads them twice. */
export async function dedupeTo(
  path: string,
  source: DocumentSource,
  thresholds: DuplicateThresholds,
  watch: Watch,
): Promise<DuplicateReport> {
  const filter = await findDuplicates(source, thresholds, watch);
  let next = 0;
  await writeDocuments(path, pass('write', source, watch), (document) => {
    const i = next++;
    filter.see(i, document);
    return filter.keeps(i) ? document.text : null;
  });
  return filter.report();
}

/**
 * Splits documents into train.jsonl, validation.jsonl and test.jsonl of a folder, so that what overlaps by
 * `related` or more is in one; reads them twice. Returns the documents of each. Error: an empty split.
 */
export async function splitTo(
  folder: string,
  source: DocumentSource,
  options: { readonly fractions: SplitFractions; readonly seed: number; readonly related: number },
  watch: Watch,
): Promise<Partial<Record<SplitName, number>>> {
  const { fractions, seed, related } = options;
  checkFractions('split', fractions);
  const filter = await findDuplicates(source, { threshold: 1, related }, watch);
  return writeFolderAtomic(folder, 'train.jsonl', async (temporary) => {
    const writers = new Map<SplitName, JsonlWriter>();
    try {
      for (const name of splitNames.filter((split) => fractions[split] > 0))
        writers.set(name, await JsonlWriter.create(join(temporary, `${name}.jsonl`)));
      let next = 0;
      for await (const document of pass('split', source, watch))
        await writers.get(hashedSplit(filter.splitKey(next++), fractions, seed))!.add(document);
      const counts: Partial<Record<SplitName, number>> = {};
      for (const [name, writer] of writers) {
        if (writer.documents === 0)
          throw new Error(
            `the ${name} split is empty: ${next} documents are too few for its share; take another seed or share`,
          );
        await writer.finish();
        counts[name] = writer.documents;
      }
      return counts;
    } finally {
      for (const writer of writers.values()) await writer.discard();
    }
  });
}

/** Tokenises documents into one token corpus, the tokenizer's files beside it. */
export async function tokenizeTo(
  folder: string,
  source: DocumentSource,
  tokenizer: TextTokenizer,
  watch: Watch,
): Promise<TokenMeta> {
  return writeFolderAtomic(folder, 'meta.json', async (temporary) => {
    const { vocabSize } = tokenizer;
    const writer = await TokenWriter.create(temporary, { vocabSize, tokenizer: tokenizerFingerprint(tokenizer) });
    try {
      let tokens = 0;
      for await (const { text } of pass('tokenize', source, watch)) {
        const ids = encodeDocument(tokenizer, text);
        if (ids.length > 0) await writer.add(ids);
        watch.step((tokens += ids.length));
      }
      const meta = await writer.finish();
      await writeFilesAtomic(tokenizer.filesToSave(temporary));
      await writeManifest(temporary);
      return meta;
    } finally {
      await writer.discard();
    }
  });
}

/** Writes the page of a prepared corpus's card again, and returns it. */
export async function cardTo(folder: string): Promise<string> {
  const page = cardPage(await readCard(folder));
  await writeFileAtomic(join(folder, 'README.md'), page);
  return page;
}
