/**
 * Characters that a terminal would obey or not show: controls (C0, C1, DEL), separators of lines, overrides
 * and isolates of direction, the byte order mark, lone surrogates.
 */
const unprintable = /[\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/gu;
const short: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/**
 * Text of a file or a user as one line for people, controls spelt out: an ESC is the four characters `\x1b`,
 * a line end `\n`. Letters of any script, and emoji, stay as they are.
 */
export function printable(text: string): string {
  return text.replace(unprintable, escapeOf);
}

/** The same for a text of several lines, which stay lines; so do tabs. */
export function printableLines(text: string): string {
  return text.replace(unprintable, (character) => (/[\n\t]/.test(character) ? character : escapeOf(character)));
}

/** Columns of a text on a terminal, as near as its characters tell: those of one column each. */
export function textWidth(text: string): number {
  return [...text].length;
}

/** `padEnd` or, to the right, `padStart` by characters instead of halves of them. */
export function padText(text: string, width: number, side: 'left' | 'right' = 'left'): string {
  const space = ' '.repeat(Math.max(0, width - textWidth(text)));
  return side === 'left' ? text + space : space + text;
}

/** A text of a file in a message: on one line, without control characters, cut after `most` characters. */
export function showText(text: string, most = 100): string {
  return printable(text.length > most ? `${text.slice(0, most)}...` : text);
}

/** A value of a file for an error's one line: its JSON, cut after `most` characters. */
export function brief(value: unknown, most = 60): string {
  let text: string;
  try {
    text = typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? String(value));
  } catch {
    text = `a ${typeof value} that is no JSON`; // a circle, a bigint, or nested too deep
  }
  return showText(text, most);
}

/** The first line of what an error of a library says, for our one line: a parser may quote the file in it. */
export function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return printable(text.split('\n')[0]!);
}

function escapeOf(character: string): string {
  const code = character.charCodeAt(0);
  const hex = code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
  return short[character] ?? hex;
}

/**
 * Digits after the point, as Python formats them: the nearest to the double's exact value, of two as near the
 * even one. `fixed(0.125, 2)` is 0.12; toFixed, which takes the upper one, has 0.13.
 */
export function fixed(value: number, digits: number): string {
  const [whole, decimals] = value.toFixed(100).split('.') as [string, string]; // exact where a tie is possible
  const down = digits === 0 ? whole : `${whole}.${decimals.slice(0, digits)}`;
  const isTie = /^50*$/.test(decimals.slice(digits));
  return isTie && Number(down.at(-1)) % 2 === 0 ? down : value.toFixed(digits);
}
