/**
 * Text as Python sees it, so that scores equal those of the reference implementations: lengths in code
 * points, Python's white space (it has \x1c-\x1f and \x85, JavaScript's has \ufeff), and the checks of what
 * is scored.
 */
const space = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const spaces = new RegExp(`[${space}]+`, 'g');
const twoSpacesOrMore = new RegExp(`[${space}]{2,}`, 'g');
const isSpace = new RegExp(`[${space}]`);

/** The words between white space; Python's `text.split()`. */
export function splitWords(text: string): string[] {
  return splitAtSpaces(text).filter((word) => word !== '');
}

/** What stands between white space, be it nothing at the ends; Python's `re.split(r'\s+', text)`. */
export function splitAtSpaces(text: string): string[] {
  return text.split(spaces);
}

/** Python's `text.rstrip()`. A loop, as a pattern with `$` takes quadratic time on long white space. */
export function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && isSpace.test(text[end - 1]!)) end--;
  return text.slice(0, end);
}

/** Python's `text.strip()`. */
export function trim(text: string): string {
  const trimmed = trimEnd(text);
  let start = 0;
  while (start < trimmed.length && isSpace.test(trimmed[start]!)) start++;
  return trimmed.slice(start);
}

/** One space where two or more characters of white space were. */
export function collapseSpaces(text: string): string {
  return text.replace(twoSpacesOrMore, ' ');
}

/** The reference or references of one hypothesis. A string is one reference. */
export type References = string | readonly string[];

/**
 * The references of each row as lists. Throws, with the number of the first wrong row, where a hypothesis is
 * no string, has no references, or the two lists differ in length. Rows count from 0.
 */
export function checkReferences(
  op: string,
  hypotheses: readonly string[],
  references: readonly References[],
): (readonly string[])[] {
  checkRows(op, hypotheses, references, 'references');
  return references.map((row, i) => {
    const list: unknown = typeof row === 'string' ? [row] : row;
    if (!Array.isArray(list) || list.length === 0)
      throw new Error(`${op}: references[${i}] is ${kindOf(row)}; give a string or a list of at least one`);
    const wrong = list.findIndex((reference) => typeof reference !== 'string');
    if (wrong !== -1)
      throw new Error(`${op}: references[${i}][${wrong}] is ${kindOf(list[wrong])}; references must be strings`);
    return list as string[];
  });
}

/** Throws unless `texts` (its name: `textsName`) is a list of at least one string and `others` is as long. */
export function checkRows(
  op: string,
  texts: readonly string[],
  others: readonly unknown[],
  name: string,
  textsName = 'hypotheses',
): void {
  checkTexts(op, texts, textsName);
  if (!Array.isArray(others))
    throw new Error(`${op}: ${name} is ${kindOf(others)}; give a list, one row for each text`);
  if (texts.length === others.length) return;
  const missing = texts.length < others.length ? `${textsName}[${texts.length}]` : `${name}[${others.length}]`;
  throw new Error(
    `${op}: ${texts.length} ${textsName} but ${others.length} rows of ${name}: ${missing} is missing; ` +
      `give one row of ${name} for each of the ${textsName}`,
  );
}

/** Throws unless `texts` is a list of at least one string and of nothing else. */
export function checkTexts(op: string, texts: readonly string[], name: string): void {
  if (!Array.isArray(texts)) throw new Error(`${op}: ${name} is ${kindOf(texts)}; give a list of strings`);
  if (texts.length === 0) throw new Error(`${op}: ${name} is empty; give at least one string`);
  const wrong = texts.findIndex((text) => typeof text !== 'string');
  if (wrong !== -1) throw new Error(`${op}: ${name}[${wrong}] is ${kindOf(texts[wrong])}; ${name} must be strings`);
}

/** Throws unless `value` is a whole number of at least `least`. */
export function checkWhole(op: string, name: string, value: number, least: number): void {
  if (!Number.isInteger(value) || value < least)
    throw new Error(`${op}: ${name} must be a whole number from ${least}, got ${value}`);
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  return value === null || typeof value !== 'object' ? String(value) : 'an object';
}
