import type { JsonObject } from '../../common/json-file.ts';
import { isJsonObject } from '../../common/json-file.ts';
import { brief } from '../../common/printable.ts';
import type { AlignedText } from './bert-normalizer.ts';
import { sliceAligned } from './bert-normalizer.ts';
import { codeBefore } from './regular-expression.ts';

/** A token matched as a whole before the model sees the text; the fields are those of tokenizer.json. */
export interface AddedToken {
  id: number;
  content: string;
  single_word: boolean;
  lstrip: boolean;
  rstrip: boolean;
  normalized: boolean;
  special: boolean;
}

/** A stretch [start, stop) of a text: an added token where `token` is set, plain text otherwise. */
export interface Span {
  start: number;
  stop: number;
  token: AddedToken | null;
}

/** A span with its text. */
export interface Segment {
  aligned: AlignedText;
  token: AddedToken | null;
}

// \w of Rust's regex crate.
const WORD_CHARACTER = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;
// Not trim(): that takes U+FEFF, and leaves U+0085.
const WHITE_SPACE = /\p{White_Space}/u;

/**
 * What the normalised among the tokens are looked for as. Error, one line: nothing is left of one, or two
 * become the same: which is meant then is open.
 */
export function normalizedContents(
  tokens: readonly AddedToken[],
  normalize: (text: string) => string,
  path: string,
): Map<AddedToken, string> {
  const contents = new Map<AddedToken, string>();
  const seen = new Map<string, string>();
  for (const token of tokens.filter(({ normalized }) => normalized)) {
    const content = normalize(token.content);
    const other = seen.get(content);
    const problem = content === '' ? 'is nothing' : other !== undefined ? `is the same as ${brief(other)}` : null;
    if (problem !== null && token.content !== '')
      throw new Error(
        `${path}: its added token ${brief(token.content)} ${problem} once normalised; set its normalized to false`,
      );
    seen.set(content, token.content);
    contents.set(token, content);
  }
  return contents;
}

/** Whether a word goes on before `start` or after `stop`. */
function isWithinWord(text: string, start: number, stop: number): boolean {
  const before = start > 0 && WORD_CHARACTER.test(String.fromCodePoint(codeBefore(text, start)));
  return before || WORD_CHARACTER.test(text.slice(stop, stop + 2));
}

/** A token in tokenizer_config.json is its text or an object with `content`. */
export function tokenText(value: unknown): string | null {
  if (typeof value === 'string') return value;
  return isJsonObject(value) && typeof value['content'] === 'string' ? value['content'] : null;
}

export function isTokenId(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** The added_tokens of the tokenizer.json at `path`. Error: they are not a list of {id, content}. */
export function readAddedTokens(tokenizer: JsonObject, path: string): AddedToken[] {
  const added = tokenizer['added_tokens'] ?? [];
  const isToken = (token: unknown): token is JsonObject =>
    isJsonObject(token) && isTokenId(token['id']) && tokenText(token) !== null;
  if (!Array.isArray(added) || !added.every(isToken))
    throw new Error(`${path} has added_tokens that are not a list of {id, content}`);
  return added.map((token) => {
    const special = token['special'] === true;
    return {
      id: token['id'] as number,
      content: token['content'] as string,
      single_word: token['single_word'] === true,
      lstrip: token['lstrip'] === true,
      rstrip: token['rstrip'] === true,
      normalized: (token['normalized'] ?? !special) === true,
      special,
    };
  });
}

/**
 * Finds added tokens in texts; the leftmost and longest match wins, as in Rust `tokenizers`
 * (added_vocabulary.rs).
 */
export class AddedTokenMatcher {
  private readonly pattern: RegExp | null;
  private readonly byContent: ReadonlyMap<string, AddedToken>;

  /** `contents` gives what to look for in place of each token's own content (its normalised form). */
  constructor(tokens: readonly AddedToken[], contents: readonly string[] = tokens.map(({ content }) => content)) {
    const pairs = tokens
      .map((token, index) => [contents[index]!, token] as const)
      .filter(([content]) => content !== '');
    this.byContent = new Map(pairs);
    const longestFirst = [...this.byContent.keys()].sort((a, b) => b.length - a.length);
    const escaped = longestFirst.map((content) => content.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    this.pattern = escaped.length > 0 ? new RegExp(escaped.join('|'), 'g') : null;
  }

  /** Cuts a text into added tokens and the plain text between them; empty stretches are left out. */
  spans(text: string): Span[] {
    const spans: Span[] = [];
    let done = 0;
    for (const match of this.pattern ? text.matchAll(this.pattern) : []) {
      const token = this.byContent.get(match[0])!;
      if (token.single_word && isWithinWord(text, match.index, match.index + match[0].length)) continue;
      let start = match.index;
      let stop = start + match[0].length;
      while (token.lstrip && start > done && WHITE_SPACE.test(text[start - 1]!)) start--;
      // White space that the token before took is not taken again.
      if (token.lstrip) start = Math.max(start, done);
      while (token.rstrip && stop < text.length && WHITE_SPACE.test(text[stop]!)) stop++;
      if (start > done) spans.push({ start: done, stop: start, token: null });
      if (stop > start) spans.push({ start, stop, token });
      done = stop;
    }
    if (done < text.length) spans.push({ start: done, stop: text.length, token: null });
    return spans;
  }

  /** The spans of a text that knows its places. */
  split(aligned: AlignedText): Segment[] {
    if (!this.pattern || aligned.text.search(this.pattern) < 0)
      return aligned.text === '' ? [] : [{ aligned, token: null }];
    return this.spans(aligned.text).map(({ start, stop, token }) => ({
      aligned: sliceAligned(aligned, start, stop),
      token,
    }));
  }
}
