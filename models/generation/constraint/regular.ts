import { codeBefore, ecmaLetters, parseExpression } from '../../tokenizer/regular-expression.ts';
import type { CharacterSet, Expression } from '../../tokenizer/regular-expression.ts';
import { characters, choice, empty, repeat, sequence } from './grammar.ts';
import type { Grammar } from './grammar.ts';

/** Ranges of code points, and how one character out of them is written. */
type Ranges = readonly (readonly [from: number, to: number])[];
type Write = (ranges: Ranges) => Grammar;

export interface RegularOptions {
  /**
   * Also texts that have more around the match, on the sides that ^ and $ do not bind, as JSON schemas mean
   * it.
   */
  readonly anywhere?: boolean;
  /** How a character is written, where quotes and the like are not written as they are. */
  readonly write?: Write;
}

/**
 * The texts that a regular expression of JavaScript (flag u) matches as a whole. ^ at its beginning and $ at
 * its end change nothing.
 *
 * Error, one line: what only looks (anchors within, look-around, \b), and what `parseExpression` refuses.
 */
export function regular(pattern: string, { anywhere = false, write = characters }: RegularOptions = {}): Grammar {
  const begins = pattern.startsWith('^');
  const ends = /(?<!\\)(?:\\\\)*\$$/.test(pattern);
  const inside = pattern.slice(begins ? 1 : 0, ends ? -1 : undefined);
  try {
    const expression = parseExpression(inside, ecmaLetters);
    // In "^a|b$" the anchors are those of a branch.
    if ((begins || ends) && expression.kind === 'choice')
      throw new Error('^ or $ stands in one of its branches; put brackets around them all');
    const whole = grammarOf(expression, write);
    const more = (isBound: boolean): Grammar => (anywhere && !isBound ? repeat(write([[0, 0x10ffff]])) : empty);
    return sequence(more(begins), whole, more(ends));
  } catch (error) {
    throw new Error(`the regular expression ${JSON.stringify(pattern)}: ${(error as Error).message}`, { cause: error });
  }
}

function grammarOf(expression: Expression, write: Write): Grammar {
  const within = (part: Expression): Grammar => grammarOf(part, write);
  switch (expression.kind) {
    case 'set':
      return write(rangesOf(expression));
    case 'sequence':
      return sequence(...expression.parts.map(within));
    case 'choice':
      return choice(...expression.parts.map(within));
    case 'repeat':
      return repeat(within(expression.part), expression.least, expression.most);
    case 'atomic':
      throw new Error('it has a part that gives nothing back (?>, ++), which says nothing of a whole text');
    case 'look':
      throw new Error('it looks ahead or behind; write what is there');
    case 'anchor':
      throw new Error('it has an anchor (^, $, \\b) within; write what is there');
  }
}

const known = new Map<string, Ranges>();

function rangesOf(set: CharacterSet & { readonly source: string | null }): Ranges {
  const { source } = set;
  if (source === null) return scanned(set);
  const ranges = known.get(source) ?? runs(source);
  known.set(source, ranges);
  return ranges;
}

/** All characters, in order; half pairs are none. */
let all: string | undefined;

function allCharacters(): string {
  const units = new Uint16Array(0x10000 - 0x800 + 2 * 0x100000);
  let at = 0;
  for (let code = 0; code < 0x10000; code++) if (code < 0xd800 || code > 0xdfff) units[at++] = code;
  for (let code = 0; code < 0x100000; code++) {
    units[at++] = 0xd800 | (code >> 10);
    units[at++] = 0xdc00 | (code & 0x3ff);
  }
  return new TextDecoder('utf-16le', { ignoreBOM: true }).decode(units);
}

/** The ranges of a set, by letting JavaScript find its runs among all characters. */
function runs(source: string): [number, number][] {
  all ??= allCharacters();
  return Array.from(all.matchAll(new RegExp(`(?:${source})+`, 'gu')), ([run]) => [
    run.codePointAt(0)!,
    codeBefore(run, run.length),
  ]);
}

function scanned({ has }: CharacterSet): [number, number][] {
  const ranges: [number, number][] = [];
  for (let code = 0; code <= 0x10ffff; code++) {
    if (!has(code)) continue;
    const last = ranges.at(-1);
    if (last?.[1] === code - 1) last[1] = code;
    else ranges.push([code, code]);
  }
  return ranges;
}
