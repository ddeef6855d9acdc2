import type { AlignedText } from './aligned-text.ts';
import { sliceAligned } from './aligned-text.ts';

/** A token matched as a whole before WordPiece sees the text; the fields are those of tokenizer.json. */
export interface AddedToken {
  id: number;
  content: string;
  single_word: boolean;
  lstrip: boolean;
  rstrip: boolean;
  normalized: boolean;
  special: boolean;
}

/** A stretch of text: an added token where `token` is set, plain text otherwise. */
export interface Segment {
  aligned: AlignedText;
  token: AddedToken | null;
}

const ENDS_IN_WORD = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;
const STARTS_WITH_WORD = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;

/** Finds added tokens in texts; the leftmost and longest match wins, as in Rust `tokenizers` (added_vocabulary.rs). */
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
  split(aligned: AlignedText): Segment[] {
    const { text } = aligned;
    if (!this.pattern?.test(text)) return text === '' ? [] : [{ aligned, token: null }];
    this.pattern.lastIndex = 0;
    const segments: Segment[] = [];
    let done = 0;
    for (const match of text.matchAll(this.pattern)) {
      const token = this.byContent.get(match[0])!;
      const before = text.slice(0, match.index);
      const after = text.slice(match.index + match[0].length);
      if (token.single_word && (ENDS_IN_WORD.test(before) || STARTS_WITH_WORD.test(after))) continue;
      const left = token.lstrip ? before.length - before.trimEnd().length : 0;
      const right = token.rstrip ? after.length - after.trimStart().length : 0;
      const start = Math.max(match.index - left, done);
      const stop = match.index + match[0].length + right;
      if (start > done) segments.push({ aligned: sliceAligned(aligned, done, start), token: null });
      segments.push({ aligned: sliceAligned(aligned, start, stop), token });
      done = stop;
    }
    if (done < text.length) segments.push({ aligned: sliceAligned(aligned, done, text.length), token: null });
    return segments;
  }
}
