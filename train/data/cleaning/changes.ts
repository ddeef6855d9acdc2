import { isUtf8 } from 'node:buffer';
import { htmlText } from '../html-text.ts';
import { windows1252Byte } from '../utf8-blocks.ts';

const TAG = /<(!doctype|html|head|body|table|div|span|font|p|br|a|ul|ol|li|h[1-6]|img|script|style)\b[^<>]*>/i;

/** HTML to the text that a reader sees; what has no HTML tag stays as it is. */
export function withoutHtml(text: string): string {
  return TAG.test(text) ? htmlText(text) : text;
}

/** The bytes of one UTF-8 character read as Windows-1252, two to four characters: "Ã©" for "é". */
const MOJIBAKE = (() => {
  const next = '[\\u0080-\\u00bf\\u0152-\\u2122]';
  const leads = ['[\\u00c2-\\u00df]', '[\\u00e0-\\u00ef]', '[\\u00f0-\\u00f4]'];
  return new RegExp(leads.map((lead, i) => `${lead}${next}{${i + 1}}`).join('|'), 'g');
})();

/** UTF-8 that was read as Windows-1252, read as UTF-8. */
export function withoutMojibake(text: string): string {
  return text.replace(MOJIBAKE, (run) => {
    const bytes = Array.from(run, windows1252Byte);
    if (bytes.includes(undefined)) return run;
    const buffer = Buffer.from(bytes as number[]);
    return isUtf8(buffer) ? buffer.toString('utf8') : run;
  });
}

/** Anything but the characters of most texts: a quick first look. */
const MAY_BE_CONTROL = /[^\n\t\x20-\x7e\xa0-\xac\xae-\u05ff\u2010-\u2027\u3000-\ud7ff]/;

/**
 * Characters that show nothing: controls, marks of direction, zero widths (joiners have a meaning and stay),
 * halves of characters, U+FFFD. Line ends become "\n".
 */
export function withoutControls(text: string): string {
  if (!MAY_BE_CONTROL.test(text)) return text;
  return text
    .replace(/\r\n?|[\f\v\u0085\u2028\u2029]/g, '\n')
    .replace(/(?![\n\t\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\ufffd]/gu, '');
}

/** Unicode's canonical composition: "é" as one character, however it was written. */
export function composed(text: string): string {
  return text.normalize('NFC');
}

/** Names of links that lead through a site. */
const LINK_NAMES =
  'home|about|about us|contact|contact us|log ?in|log ?out|sign ?in|sign ?up|register|search|menu|next|previous|' +
  'site ?map|privacy policy|terms of (?:use|service)|cookie policy|subscribe|share|print|read more';

/** Lines that a page has beside its text. */
const NAVIGATION = [
  /^(?:©|\(c\)|copyright\b).{0,120}$/i,
  /^.{0,80}\ball rights reserved\b.{0,40}$/i,
  /^(?:skip to|jump to|back to) (?:main |the )?(?:content|navigation|top|search)\.?$/i,
  new RegExp(`^(?:${LINK_NAMES})(?:\\s*[|\\u00b7\\u2022>\\u00bb/\\u2013-]\\s*[\\w ]{1,24})*\\.?$`, 'i'),
  /^.{0,80}\b(?:accept|use|uses) (?:all )?cookies\b.{0,80}$/i,
  /^.{0,80}\b(?:enable|requires?) javascript\b.{0,80}$/i,
];

/**
 * Lines that many documents have, and lines of navigation, copyright and consent, are left out of texts of
 * several lines. Where the former are half of a text or more, the text itself is what many documents have:
 * they stay, for the search for duplicates to keep one of them.
 */
export function withoutBoilerplate(text: string, isRepeated: (line: string) => boolean): string {
  if (!text.trim().includes('\n')) return text;
  const lines = text.split('\n');
  const repeated = lines.map((line) => line.trim() !== '' && isRepeated(line.trim()));
  const characters = lines.reduce((sum, { length }, i) => sum + (repeated[i] ? length : 0), 0);
  const isCopy = 2 * characters >= text.length;
  return lines
    .filter((line, i) => !(repeated[i] && !isCopy) && !NAVIGATION.some((pattern) => pattern.test(line.trim())))
    .join('\n');
}

/** White space that is not as it should be, or may not be. */
const UNEVEN_SPACE =
  /  |[ \n]\n\n|\n | \n|[\t\v\f\r\x85\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]|^[ \n]|[ \n]$/;

/**
 * One space between words, no space at the ends of lines, at most one blank line, none at the ends of the
 * text.
 */
export function withPlainSpace(text: string): string {
  if (!UNEVEN_SPACE.test(text)) return text;
  return text
    .replace(/[\p{Zs}\t]+/gu, ' ')
    .replace(/ ?\n ?/g, '\n')
    .replace(/\n{3,}/g, '\n\n')
    .trim();
}
