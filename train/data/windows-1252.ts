/** Windows-1252 where ISO 8859-1 has controls (0x80 to 0x9f); five places are free in both. */
const HIGH =
  '\u20ac\x81\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\x8d\u017d\x8f\x90\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\x9d\u017e\u0178';

/**
 * What the web means by latin1. (Some versions of Node take its own decoder of that name for plain ISO
 * 8859-1.)
 */
export function decodeWindows1252(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/[\x80-\x9f]/g, (char) => HIGH[char.charCodeAt(0) - 0x80]!);
}

/** The byte of a character, undefined where it has none. */
export function windows1252Byte(char: string): number | undefined {
  const code = char.charCodeAt(0);
  const high = HIGH.indexOf(char);
  if (high >= 0) return 0x80 + high;
  return code < 0x100 ? code : undefined;
}
