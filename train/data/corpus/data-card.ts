import { join } from 'node:path';
import * as z from 'zod';
import { recoverFolder } from '../../../common/atomic-folder.ts';
import { readJsonFile } from '../../../common/json-file.ts';

const splitSchema = z.object({
  documents: z.int(),
  characters: z.int(),
  tokens: z.int(),
  sha256: z.string(),
  lengths: z.object({ bins: z.array(z.int()).readonly(), total: z.int(), longest: z.int() }),
});

const ruleSchema = z.object({
  name: z.string(),
  about: z.string(),
  kind: z.enum(['change', 'drop']),
  documents: z.int(),
  example: z.object({ source: z.string(), what: z.string() }).optional(),
});

const cleaningSchema = z.object({
  documents: z.int(),
  kept: z.int(),
  charactersBefore: z.int(),
  charactersAfter: z.int(),
  rules: z.array(ruleSchema).readonly(),
});

const placeSchema = z.object({ source: z.string(), text: z.string() });

const duplicatesSchema = z.object({
  threshold: z.number(),
  related: z.number(),
  documents: z.int(),
  exact: z.int(),
  near: z.int(),
  groups: z.int(),
  relatedDocuments: z.int(),
  examples: z
    .array(z.object({ size: z.int(), similarity: z.number(), kept: placeSchema, dropped: placeSchema }))
    .readonly(),
});

/** card.json of a prepared corpus: everything that was done to make it, as numbers. */
const cardSchema = z.object({
  format: z.literal('tapeform-corpus'),
  version: z.literal(1),
  /** Hash of the inputs, the tokenizer and the options: an equal one needs no new preparation. */
  key: z.string(),
  inputs: z.array(z.object({ name: z.string(), size: z.number() })),
  options: z.record(z.string(), z.unknown()),
  tokenizer: z.object({ vocabSize: z.int(), sha256: z.string() }),
  documentsRead: z.int(),
  cleaning: cleaningSchema.optional(),
  duplicates: duplicatesSchema.optional(),
  splits: z.object({ train: splitSchema, validation: splitSchema.optional(), test: splitSchema.optional() }),
});

export type CorpusCard = z.infer<typeof cardSchema>;

/** Reads card.json of a prepared corpus. Errors, one line: it is missing or damaged. */
export async function readCard(folder: string): Promise<CorpusCard> {
  await recoverFolder(folder);
  const path = join(folder, 'card.json');
  const parsed = cardSchema.safeParse(await readJsonFile(path));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new Error(
    `${path} is no prepared corpus's (${issue?.path.join('.') || 'keys'}: ${issue?.message ?? 'damaged'}); ` +
      'remove the folder to prepare it again',
  );
}
