import { createHash } from 'node:crypto';
import { join } from 'node:path';
import * as z from 'zod';
import { writeFileAtomic } from '../../common/atomic-files.ts';
import { readJsonFile } from '../../common/json-file.ts';
import { StagedFile } from '../../common/staged-file.ts';

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
    `${path} is no token corpus's (${issue?.path.join('.') || 'keys'}: ${issue?.message ?? 'damaged'}); ` +
      'tokenize the texts again',
  );
}

export interface TokenWriterOptions {
  /** Every id must be below. Up to 65536 ids are stored in two bytes each, else in four. */
  readonly vocabSize: number;
  /** By which the tokenizer is known: a hash of its files. A corpus is refused where another is expected. */
  readonly tokenizer?: string;
}

/** Ids and offsets held before they are written. */
const BLOCK = 1 << 18;

/**
 * Writes tokenised documents one after another into an existing folder: tokens.bin, offsets.bin (where each
 * document begins, f64), and, last, meta.json. Memory does not grow with the corpus. Whoever wants the folder
 * whole or not at all makes it with `writeFolderAtomic`, as `writeTokenCorpus` does.
 */
export class TokenWriter {
  private readonly folder: string;
  private readonly options: TokenWriterOptions;
  private readonly dtype: TokenMeta['dtype'];
  private readonly tokensFile: StagedFile;
  private readonly offsetsFile: StagedFile;
  private readonly hash = createHash('sha256');
  private readonly ids = new Int32Array(BLOCK);
  private readonly offsets = new Float64Array(BLOCK);
  private heldIds = 0;
  private heldOffsets = 1; // the first document begins at 0
  private documents = 0;
  private tokens = 0;

  private constructor(folder: string, options: TokenWriterOptions, tokensFile: StagedFile, offsetsFile: StagedFile) {
    this.folder = folder;
    this.options = options;
    this.dtype = options.vocabSize <= 65536 ? 'u16' : 'u32';
    this.tokensFile = tokensFile;
    this.offsetsFile = offsetsFile;
  }

  static async create(folder: string, options: TokenWriterOptions): Promise<TokenWriter> {
    const { vocabSize } = options;
    if (!Number.isInteger(vocabSize) || vocabSize < 1 || vocabSize > 2 ** 31)
      throw new Error(`TokenWriter: vocabSize must be an integer from 1 to 2^31, got ${vocabSize}`);
    const tokens = await StagedFile.create(join(folder, 'tokens.bin'));
    try {
      return new TokenWriter(folder, options, tokens, await StagedFile.create(join(folder, 'offsets.bin')));
    } catch (error) {
      await tokens.discard();
      throw error;
    }
  }

  /** Appends one document. Error: an id that is not in the vocabulary. */
  async add(document: ArrayLike<number>): Promise<void> {
    const { vocabSize } = this.options;
    const { ids } = this;
    for (let i = 0; i < document.length; i++) {
      const id = document[i]!;
      if (!(id >= 0 && id < vocabSize && Number.isInteger(id)))
        throw new Error(
          `${this.folder}: id ${id} of document ${this.documents} is outside of the vocabulary, 0 to ` +
            `${vocabSize - 1}; pass the vocabSize of the tokenizer that made it`,
        );
      if (this.heldIds === BLOCK) await this.flushIds();
      ids[this.heldIds++] = id;
    }
    this.tokens += document.length;
    this.documents++;
    if (this.heldOffsets === BLOCK) await this.flushOffsets();
    this.offsets[this.heldOffsets++] = this.tokens;
  }

  /** Writes what is held and meta.json. Error: there were no documents, or none had a token. */
  async finish(): Promise<TokenMeta> {
    const { documents, tokens, dtype } = this;
    if (tokens === 0)
      throw new Error(
        `${this.folder}: nothing to write, ` +
          `${documents === 0 ? 'there are no documents' : `all ${documents} documents are empty`}; ` +
          'check the input and what cleaning drops',
      );
    await this.flushIds();
    await this.flushOffsets();
    await this.tokensFile.commit();
    await this.offsetsFile.commit();
    const { vocabSize, tokenizer } = this.options;
    const sha256 = this.hash.digest('hex');
    const meta = { format: 'tapeform-tokens', version: 1, dtype, vocabSize, documents, tokens, sha256 } as const;
    const full = tokenizer === undefined ? meta : { ...meta, tokenizer };
    await writeFileAtomic(join(this.folder, 'meta.json'), `${JSON.stringify(full, null, 2)}\n`);
    return full;
  }

  /** Removes the unfinished files. */
  async discard(): Promise<void> {
    await this.tokensFile.discard();
    await this.offsetsFile.discard();
  }

  private async flushIds(): Promise<void> {
    const ids = this.ids.subarray(0, this.heldIds);
    this.hash.update(bytesOf(ids));
    await this.tokensFile.write(bytesOf(this.dtype === 'u16' ? Uint16Array.from(ids) : ids));
    this.heldIds = 0;
  }

  private async flushOffsets(): Promise<void> {
    await this.offsetsFile.write(bytesOf(this.offsets.subarray(0, this.heldOffsets)));
    this.heldOffsets = 0;
  }
}

/** Bytes that tokens.bin and offsets.bin of a corpus have. */
export function sizesOf({ dtype, tokens, documents }: TokenMeta): {
  readonly tokens: number;
  readonly offsets: number;
} {
  return { tokens: tokens * bytesPerToken(dtype), offsets: (documents + 1) * 8 };
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
