// Byte-level BPE (Radford et al. 2019, "Language models are unsupervised multitask learners", 2.2): the fast
// path of Tokenizer.
import { utf8 } from '../../common/bytes.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { isJsonObject } from '../../common/json-file.ts';
import { BoundedCache } from '../../common/collections.ts';
import { BYTE_CHARS, writeBytes } from './byte-level.ts';
import type { IdList } from '../../common/collections.ts';
import type { MergeTable } from './merge-table.ts';
import { mergeTable } from './merge-table.ts';
import type { Stretch } from './stretch.ts';
import { Part } from './part.ts';
import type { Pattern } from './pattern.ts';
import { GPT2_PATTERN, expressionPattern, nativePattern } from './pattern.ts';

// Pieces seen before are not merged again. Longer ones hardly ever come twice.
const MAX_CACHED_PIECES = 200_000;
const MAX_CACHED_LENGTH = 100;

/** One step of cutting a text before its bytes are merged. */
interface Stage {
  /** Puts a space before what begins with none. */
  prefixSpace: boolean;
  /** Cuts into its matches and what is between them. */
  pattern: Pattern | null;
}

/** Encodes plain text (no added tokens in it) by the byte-level BPE of a tokenizer.json. */
export class ByteLevelBpe {
  private readonly stages: readonly Stage[];
  private readonly normalization: 'NFC' | null;
  private readonly merges: MergeTable;
  /** Tokens that are taken whole where a piece is one of them (`ignore_merges`); null: none are. */
  private readonly whole: ReadonlyMap<string, number> | null;
  private readonly byteIds: readonly (number | undefined)[];
  private readonly cache = new BoundedCache<readonly number[]>(MAX_CACHED_PIECES);

  private constructor(
    stages: readonly Stage[],
    normalization: 'NFC' | null,
    vocab: ReadonlyMap<string, number>,
    merges: readonly (readonly [string, string])[],
    ignoreMerges: boolean,
  ) {
    this.stages = stages;
    this.normalization = normalization;
    this.whole = ignoreMerges ? vocab : null;
    this.byteIds = BYTE_CHARS.map((char) => vocab.get(char));
    this.merges = mergeTable(vocab, merges);
  }

  /**
   * The encoder for a tokenizer.json, whose vocabulary and merges are given checked; null where it is no
   * byte-level BPE or has something that this encoder lacks: another normaliser than NFC, another
   * pre-tokeniser, dropout. Error, one line: a pattern that is refused. `where` names the file in it.
   */
  static from(
    tokenizer: JsonObject,
    vocab: ReadonlyMap<string, number>,
    merges: readonly (readonly [string, string])[],
    where: string,
  ): ByteLevelBpe | null {
    const { model, normalizer } = tokenizer;
    if (!isJsonObject(model) || (model['type'] ?? 'BPE') !== 'BPE' || !Array.isArray(model['merges'])) return null;
    const plain = ['dropout', 'continuing_subword_prefix', 'end_of_word_suffix', 'byte_fallback'];
    if (plain.some((name) => Boolean(model[name]))) return null;
    if ((normalizer ?? null) !== null && !(isJsonObject(normalizer) && normalizer['type'] === 'NFC')) return null;
    const stages = readStages(tokenizer['pre_tokenizer'], `${where}: its pre_tokenizer`);
    if (!stages) return null;
    // A byte without a token is left out, unless there is a token for what is unknown: see bpe.ts.
    if (model['unk_token'] != null && BYTE_CHARS.some((char) => !vocab.has(char))) return null;
    return new ByteLevelBpe(stages, normalizer ? 'NFC' : null, vocab, merges, model['ignore_merges'] === true);
  }

  normalize({ text, atStart }: Stretch): Stretch {
    return { text: this.normalization ? text.normalize(this.normalization) : text, atStart };
  }

  /** Appends the ids of a normalised text. */
  encode({ text }: Stretch, ids: IdList): void {
    if (text !== '') this.split(text, 0, ids);
  }

  private split(text: string, stage: number, ids: IdList): void {
    if (stage === this.stages.length) return this.encodePiece(text, ids);
    const { prefixSpace, pattern } = this.stages[stage]!;
    const spaced = prefixSpace && !text.startsWith(' ') ? ` ${text}` : text;
    for (const piece of pattern ? cut(spaced, pattern) : [spaced]) this.split(piece, stage + 1, ids);
  }

  private encodePiece(piece: string, ids: IdList): void {
    const known = this.cache.get(piece);
    if (known) return ids.pushAll(known);
    const encoded = this.mergeBytes(piece);
    if (piece.length <= MAX_CACHED_LENGTH) this.cache.set(piece, encoded);
    ids.pushAll(encoded);
  }

  private mergeBytes(piece: string): readonly number[] {
    const whole = this.whole?.get(writeBytes(piece));
    if (whole !== undefined) return [whole];
    const bytes: number[] = [];
    for (const byte of utf8(piece)) {
      const id = this.byteIds[byte];
      if (id !== undefined) bytes.push(id);
    }
    return this.merges.apply(bytes);
  }
}

/** Texts up to this length, in characters, are matched at once. */
const LONGEST_LISTED = 1 << 22;

/** The matches of a pattern and what is between them. */
function cut(text: string, pattern: Pattern): Iterable<string> {
  if (!pattern.native || text.length > LONGEST_LISTED) return walk(text, pattern);
  const matches = text.match(pattern.native) ?? [];
  const matched = matches.reduce((length, piece) => length + piece.length, 0);
  // Matches without gaps are the rule; where each is need not be asked then, which is faster.
  return matched === text.length ? matches : walk(text, pattern);
}

function* walk(text: string, pattern: Pattern): Generator<string> {
  let done = 0;
  for (const [start, end] of pattern.matches(text)) {
    if (start > done) yield text.slice(done, start);
    if (end > start) yield text.slice(start, end);
    done = end;
  }
  if (done < text.length) yield text.slice(done);
}

/**
 * Reads a ByteLevel pre-tokeniser, or a Sequence of Split and Digits that ends in one; null for anything
 * else.
 */
function readStages(json: unknown, where: string): Stage[] | null {
  if (!isJsonObject(json)) return null;
  const parts: unknown = json['type'] === 'Sequence' ? json['pretokenizers'] : [json];
  if (!Array.isArray(parts)) return null;
  const last: unknown = parts.at(-1);
  if (!isJsonObject(last) || last['type'] !== 'ByteLevel') return null;
  const stages: Stage[] = [];
  for (const part of parts.slice(0, -1)) {
    const pattern = isJsonObject(part) ? readPattern(part, where) : null;
    if (!pattern) return null;
    stages.push({ prefixSpace: false, pattern });
  }
  const pattern = last['use_regex'] === false ? null : expressionPattern(GPT2_PATTERN);
  return [...stages, { prefixSpace: last['add_prefix_space'] !== false, pattern }];
}

function readPattern(json: JsonObject, where: string): Pattern | null {
  if (json['type'] === 'Digits') return nativePattern(json['individual_digits'] === true ? /\p{N}/gu : /\p{N}+/gu);
  if (json['type'] !== 'Split' || json['behavior'] !== 'Isolated' || json['invert'] === true) return null;
  return new Part(json, where).pattern();
}
