import { join } from 'node:path';
import { disk } from '../../../common/file-system.ts';
import { splitNames } from '../split.ts';
import type { SplitFractions, SplitName } from '../split.ts';
import { TokenWriter } from '../token-writer.ts';
import type { TokenMeta, TokenWriterOptions } from '../token-writer.ts';
import { LengthCounter } from './length-histogram.ts';
import type { LengthCounts } from './length-histogram.ts';
import { encodeDocument } from './text-tokenizer.ts';
import type { TextTokenizer } from './text-tokenizer.ts';

/** The numbers of one split that was written. */
export interface SplitSummary {
  readonly documents: number;
  readonly characters: number;
  readonly tokens: number;
  readonly sha256: string;
  /** Tokens of its documents. */
  readonly lengths: LengthCounts;
}

interface Part {
  readonly writer: TokenWriter;
  readonly lengths: LengthCounter;
  characters: number;
}

/** Tokenises documents into train/, validation/ and test/ of a folder, those with a share above 0. */
export class SplitWriters {
  private readonly parts: ReadonlyMap<SplitName, Part>;
  private readonly tokenizer: TextTokenizer;
  /** Of all splits so far. */
  tokens = 0;

  private constructor(parts: ReadonlyMap<SplitName, Part>, tokenizer: TextTokenizer) {
    this.parts = parts;
    this.tokenizer = tokenizer;
  }

  static async create(
    folder: string,
    tokenizer: TextTokenizer,
    fractions: SplitFractions,
    options: TokenWriterOptions,
  ): Promise<SplitWriters> {
    const parts = new Map<SplitName, Part>();
    const writers = new SplitWriters(parts, tokenizer);
    try {
      for (const name of splitNames.filter((split) => fractions[split] > 0)) {
        await disk.makeFolder(join(folder, name));
        const writer = await TokenWriter.create(join(folder, name), options);
        parts.set(name, { writer, lengths: new LengthCounter(), characters: 0 });
      }
      return writers;
    } catch (error) {
      await writers.discard();
      throw error;
    }
  }

  /** Tokenises a document into a split; one without a token is left out. */
  async add(split: SplitName, text: string): Promise<void> {
    const part = this.parts.get(split);
    const ids = encodeDocument(this.tokenizer, text);
    if (!part || ids.length === 0) return;
    await part.writer.add(ids);
    part.lengths.add(ids.length);
    part.characters += text.length;
    this.tokens += ids.length;
  }

  /** Closes all. Error: a split that got nothing. */
  async finish(): Promise<Partial<Record<SplitName, SplitSummary>>> {
    const counts = [...this.parts].map(([name, { lengths }]) => [name, lengths.counts().total] as const);
    const empty = counts.find(([, total]) => total === 0);
    if (empty && counts.some(([, total]) => total > 0))
      throw new Error(
        `the ${empty[0]} split is empty: there are too few documents for its share; ` +
          'read lines or paragraphs as documents, split by position, take another seed, or set the share to 0',
      );
    const summaries: Partial<Record<SplitName, SplitSummary>> = {};
    for (const [name, { writer, lengths, characters }] of this.parts) {
      const { documents, tokens, sha256 }: TokenMeta = await writer.finish();
      summaries[name] = { documents, characters, tokens, sha256, lengths: lengths.counts() };
    }
    return summaries;
  }

  async discard(): Promise<void> {
    for (const { writer } of this.parts.values()) await writer.discard();
  }
}
