/**
 * Personal data in texts, found by form and, where it has them, by its check digits: no list of names, no
 * model. Each form is bounded in length, so that a stream knows how much of its end may yet become one.
 */

/** What is found; the names stand in configurations. */
export const personalDataKinds = ['email', 'phone', 'iban', 'card', 'ip', 'secret'] as const;
export type PersonalDataKind = (typeof personalDataKinds)[number];

/** A stretch of a text, [start, end) in UTF-16 units. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

export interface PersonalData extends Span {
  readonly kind: PersonalDataKind;
}

interface Form {
  readonly kind: PersonalDataKind;
  readonly pattern: RegExp;
  /** Whether what has the form is meant: `text` has it at [start, end). */
  readonly isMeant?: (found: string, text: string, start: number) => boolean;
}

const raw = String.raw;
/** Between the groups of a number; the last two are not broken over lines. */
const space = raw`[ \u00a0\u202f]`;

/** Lengths of IBANs by country, of the SWIFT registry. */
const ibanLengths = new Map(
  (
    'AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 ' +
    'FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 ' +
    'LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 ' +
    'SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20'
  )
    .split(' ')
    .map((entry): [string, number] => [entry.slice(0, 2), Number(entry.slice(2))]),
);

/** An account number of each country, its groups with spaces between them or none. */
function ibanPattern(): RegExp {
  const byLength = new Map<number, string[]>();
  for (const [country, length] of ibanLengths) byLength.set(length, [...(byLength.get(length) ?? []), country]);
  const ways = [...byLength].map(([length, of]) => `(?:${of.join('|')})\\d{2}(?:${space}?[A-Z0-9]){${length - 4}}`);
  return new RegExp(`(?<![A-Za-z0-9])(?:${ways.join('|')})(?![A-Za-z0-9])`, 'g');
}

/** ISO 13616: the first four characters go to the end, letters become numbers, the whole is 1 modulo 97. */
function isIban(found: string): boolean {
  const plain = found.replace(/\s/g, '');
  let rest = 0;
  for (const character of plain.slice(4) + plain.slice(0, 4)) rest = Number(`${rest}${parseInt(character, 36)}`) % 97;
  return rest === 1;
}

/** Numbers that issuers of cards give out: first digits, and lengths. */
const issuers: readonly (readonly [first: RegExp, lengths: readonly number[]])[] = [
  [/^4/, [13, 16, 19]], // Visa
  [/^(5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720)/, [16]], // Mastercard
  [/^3[47]/, [15]], // American Express
  [/^(6011|64[4-9]|65)/, [16, 19]], // Discover
  [/^35(2[89]|[3-8])/, [16]], // JCB
  [/^3(0[0-5]|[689])/, [14]], // Diners Club
  [/^62/, [16, 17, 18, 19]], // UnionPay
];

/** ISO/IEC 7812: Luhn's check digit, and an issuer's form. */
function isCard(found: string): boolean {
  const digits = found.replace(/\D/g, '');
  if (/^(\d)\1+$/.test(digits)) return false;
  if (!issuers.some(([first, lengths]) => first.test(digits) && lengths.includes(digits.length))) return false;
  let sum = 0;
  for (let i = 0; i < digits.length; i++) {
    const digit = Number(digits[digits.length - 1 - i]);
    const doubled = i % 2 === 1 ? 2 * digit : digit;
    sum += doubled > 9 ? doubled - 9 : doubled;
  }
  return sum % 10 === 0;
}

/**
 * An address of the internet, not of a network of one's own, and not a number of a version or a section,
 * whose parts are small.
 */
function isIpv4(found: string, text: string, start: number): boolean {
  const [a = 0, b = 0, c = 0, d = 0] = found.split('.').map(Number);
  const isOwn = a === 0 || a === 10 || a === 127 || a >= 224 || (a === 169 && b === 254) || (a === 192 && b === 168);
  const isSample = (a === 192 && b === 0 && c === 2) || (a === 198 && b === 51) || (a === 203 && b === 0 && c === 113);
  if (isOwn || isSample || (a === 172 && b >= 16 && b < 32)) return false;
  return (
    Math.max(a, b, c, d) > 31 &&
    !/(\bv|version|release|section|§)\.? *$/i.test(text.slice(Math.max(0, start - 12), start))
  );
}

/** Eight groups, or fewer with one gap, of the addresses that are given out (2000::/3). */
function isIpv6(found: string): boolean {
  const halves = found.split('::');
  const groups = halves.map((half) => (half === '' ? [] : half.split(':')));
  const count = groups.flat().length;
  const isWhole = groups.flat().every((group) => /^[\da-f]{1,4}$/i.test(group));
  const fits = halves.length === 1 ? count === 8 : halves.length === 2 && count >= 2 && count < 8;
  const isSample = /^2001:0?db8(:|$)/i.test(found);
  return isWhole && fits && !isSample && /^[23][\da-f]{3}$/i.test(groups[0]![0] ?? '');
}

const digitCount = (text: string): number => text.replace(/\D/g, '').length;

/** Has both letters and digits, as keys and good passwords have, and is no name or place in a program. */
const isRandom = (found: string): boolean =>
  /\d/.test(found) && /[A-Za-z]/.test(found) && !/[()[\]{}$]|^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$/.test(found);

/** A pattern of parts, for all places of a text. */
const pattern = (flags: string, ...parts: readonly string[]): RegExp => new RegExp(parts.join(''), `g${flags}`);

/** Not inside of a longer word or number. */
const alone = raw`(?<![\w+.,/-]|\d${space})`;
const ends = raw`(?![\w-])(?!\.\d)`;

/** In this order where two begin at one place and are as long. */
const forms: readonly Form[] = [
  {
    kind: 'secret', // a private key
    pattern: pattern(
      '',
      '-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----',
      raw`(?:(?!-----BEGIN)[\s\S]){1,8000}?`,
      '-----END [A-Z ]{0,30}PRIVATE KEY-----',
    ),
  },
  {
    kind: 'secret', // keys that services give out, by how they begin; tokens of JSON (JWT)
    pattern: pattern(
      '',
      raw`(?<![\w-])(?:`,
      [
        raw`sk-[\w-]{20,200}`,
        '[rs]k_(?:live|test)_[A-Za-z0-9]{16,100}',
        'gh[pousr]_[A-Za-z0-9]{36,100}',
        raw`github_pat_\w{22,100}`,
        raw`glpat-[\w-]{20,40}`,
        'xox[abeprs]-[A-Za-z0-9-]{10,200}',
        'hf_[A-Za-z0-9]{30,40}',
        'npm_[A-Za-z0-9]{36}',
        '(?:AKIA|ASIA)[A-Z0-9]{16}',
        raw`AIza[\w-]{35}`,
        raw`eyJ[\w-]{10,700}\.eyJ[\w-]{10,700}\.[\w-]{10,500}`,
      ].join('|'),
      raw`)(?![\w-])`,
    ),
  },
  {
    kind: 'secret', // the password of an address, after its name
    pattern: pattern('', raw`(?<=\b[a-z][a-z0-9+.-]{1,12}:\/\/[^\s/:@]{1,64}:)`, raw`[^\s/:@]{3,128}(?=@[\w.-])`),
  },
  {
    kind: 'secret', // what is said to be one
    pattern: pattern(
      'i',
      raw`(?<=\b(?:password|passwd|pwd|secret|token|(?:api|access|secret|private)[ _-]?key)`,
      raw`["']?\s{0,2}[:=]\s{0,2}["']?)`,
      raw`[^\s"'<>,;]{8,128}(?=$|[\s"'<>,;])`,
    ),
    isMeant: isRandom,
  },
  {
    kind: 'email',
    pattern: pattern(
      '',
      raw`(?<![\w.%+@-])[A-Za-z0-9_](?:[\w.%+'-]{0,62}[\w%+-])?@`,
      raw`(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,6}[A-Za-z]{2,24}(?![\w@-])`,
    ),
  },
  { kind: 'iban', pattern: ibanPattern(), isMeant: isIban },
  ...[
    raw`\d{4}([ \u00a0\u202f-]?)\d{4}\1\d{4}\1\d{1,7}`,
    raw`\d{4}([ \u00a0\u202f-])\d{4}\1\d{4}\1\d{4}\1\d{1,3}`,
    raw`\d{4}([ \u00a0\u202f-])\d{6}\1\d{4,5}`,
  ].map((digits): Form => ({
    kind: 'card',
    pattern: pattern('', raw`(?<![\w.,/-])`, digits, raw`(?![\w-])(?![.,]\d)`),
    isMeant: isCard,
  })),
  {
    kind: 'ip',
    pattern: pattern('', raw`(?<![\w.:-])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)`, ends),
    isMeant: isIpv4,
  },
  { kind: 'ip', pattern: /(?<![\w:.])[23][\da-f]{3}:[\da-f:]{2,40}(?![\w:])/gi, isMeant: isIpv6 },
  {
    kind: 'phone', // with the country's code
    pattern: pattern('', alone, raw`(?:\+|00)[1-9](?:[ \u00a0\u202f.()/-]{0,2}\d){7,14}`, ends),
    isMeant: (found) => digitCount(found) <= 17,
  },
  {
    kind: 'phone', // of North America: neither part begins with 0 or 1
    pattern: pattern('', alone, raw`(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}([ .-]))[2-9]\d{2}[ .-]\d{4}`, ends),
  },
  {
    kind: 'phone', // what is said to be one
    pattern: pattern(
      'i',
      raw`(?<=\b(?:tel|phone|telephone|telefon|téléphone|mobile?|cell|handy|fax|call)\b`,
      raw`[.:]{0,2}(?: ?(?:number|no|nr)[.:]{0,2})? {0,2})`,
      raw`\(?\d[\d ().\/-]{5,22}\d`,
      ends,
    ),
    isMeant: (found) => digitCount(found) >= 6 && digitCount(found) <= 15,
  },
];

/** What stands in the place of each kind. */
export const maskOf = (kind: PersonalDataKind): string => `[${kind.toUpperCase()}]`;

/** Where a text may have any: most have none of these characters, and need no second look. */
const mayHave = /\d|@|-----|sk-|pass|secret|token|key/i;

/**
 * Personal data in a text, in its order, none of them overlapping.
 *
 * @example
 * const text = 'Write to ann@example.org or call +49 30 901820.';
 * findPersonalData(text).map(({ kind }) => kind); // ['email', 'phone']
 */
export function findPersonalData(text: string, kinds: readonly PersonalDataKind[] = personalDataKinds): PersonalData[] {
  if (kinds.length === 0 || !mayHave.test(text)) return [];
  const found: PersonalData[] = [];
  for (const { kind, pattern, isMeant } of forms) {
    if (!kinds.includes(kind)) continue;
    for (const match of text.matchAll(pattern))
      if (isMeant?.(match[0], text, match.index) ?? true)
        found.push({ kind, start: match.index, end: match.index + match[0].length });
  }
  return apart(found);
}

/** The spans that do not overlap: the first of each place, the longest of those that begin there. */
export function apart<S extends Span>(spans: readonly S[]): S[] {
  let end = 0;
  return [...spans]
    .sort((a, b) => a.start - b.start || b.end - a.end)
    .filter((span) => span.start >= end && (end = span.end) > 0);
}

/**
 * A text with its personal data masked, `[EMAIL]` and so on.
 *
 * @example
 * maskPersonalData('IBAN DE89 3704 0044 0532 0130 00, please'); // 'IBAN [IBAN], please'
 */
export function maskPersonalData(text: string, kinds?: readonly PersonalDataKind[]): string {
  const spans = findPersonalData(text, kinds).map((found) => ({ ...found, mask: maskOf(found.kind) }));
  return masked(text, spans);
}

/** A text with marks in the place of spans, which are in its order. */
export function masked(text: string, spans: readonly (Span & { readonly mask: string })[]): string {
  let [result, at] = ['', 0];
  for (const { start, end, mask } of spans) {
    result += text.slice(at, start) + mask;
    at = end;
  }
  return result + text.slice(at);
}

/** Ends of a text that may yet become something: their characters, what begins them, how long they are. */
const openEnds: readonly { readonly of: RegExp; readonly begins?: RegExp; readonly most: number }[] = [
  { of: /[\x21-\x7e]/, most: 2048 }, // keys, addresses: all that has no space
  { of: /[\d +().,/\u00a0\u202f-]/, begins: /[+(\d]/, most: 64 }, // numbers with what stands between their parts
  { of: /[A-Z\d \u00a0\u202f]/, begins: /[A-Z]{2}\d\d/, most: 64 }, // account numbers
];

/** Of a private key, which has many lines. */
const keyBegins = '-----BEGIN ';
const keyMost = 8192;

/** From where on a text may begin personal data that is not whole yet; its length, if nowhere. */
export function openPersonalData(text: string): number {
  let open = text.length;
  for (const { of, begins, most } of openEnds) {
    let start = text.length;
    while (start > 0 && text.length - start < most && of.test(text[start - 1]!)) start--;
    const at = begins ? text.slice(start).search(begins) : 0;
    if (at >= 0) open = Math.min(open, start + at);
  }
  const key = text.lastIndexOf(keyBegins);
  if (key >= 0 && text.length - key < keyMost && !/-----END [A-Z ]*-----/.test(text.slice(key)))
    open = Math.min(open, key);
  return open;
}
