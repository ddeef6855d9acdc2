import { join } from 'node:path';
import { z } from 'zod';
import { readJsonFile } from '../../common/json-file.ts';

/** meta.json of a token corpus on disk. */
const metaSchema = z.strictObject({
  format: z.literal('tapeform-tokens'),
  version: z.literal(1),
  /** How tokens.bin holds an id, little-endian. */
  dtype: z.enum(['u16', 'u32']),
  vocabSize: z.int().positive(),
  documents: z.int().positive(),
  tokens: z.int().positive(),
  /** `TokenCorpus.hash`. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** By which the tokenizer is known, where its maker gave it: a hash of its files. */
  tokenizer: z.string().optional(),
});

export type TokenMeta = z.infer<typeof metaSchema>;

/** Bytes of one id. */
export function bytesPerToken(dtype: TokenMeta['dtype']): 2 | 4 {
  return dtype === 'u16' ? 2 : 4;
}

/**
 * Reads meta.json of the token corpus in `folder`. Errors, one line: it is missing, or damaged, or of a later
 * version.
 */
export async function readTokenMeta(folder: string): Promise<TokenMeta> {
  const path = join(folder, 'meta.json');
  const parsed = metaSchema.safeParse(await readJsonFile(path));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new Error(
    `${path} is no token corpus's (${issue?.path.join('.') || 'keys'}: ${issue?.message ?? 'damaged'}); tokenize the texts again`,
  );
}
