// The regular expressions of tokenizer.json are those of Oniguruma; these are the same in JavaScript.

/** GPT-2's (encoder.py), which a ByteLevel pre-tokenizer uses by itself. */
export const GPT2_PATTERN = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

// JavaScript's own \s has U+FEFF and lacks U+0085; its \d is ASCII only.
const CLASSES: Readonly<Record<string, string>> = {
  s: '\\p{White_Space}',
  S: '\\P{White_Space}',
  d: '\\p{Nd}',
  D: '\\P{Nd}',
};

// Escapes that mean the same in both.
const SAME_ESCAPE = /^(?:[pP]\{\^?[\w=]+\}|[rntfv]|[^\w\s])/;

// Letters beyond ASCII that fold to an ASCII letter.
const FOLDS: Readonly<Record<string, string>> = { s: '\u017F', k: '\u212A' };

/**
 * Oniguruma's pattern as a JavaScript one that finds all matches; null where it has something that is not
 * known to mean the same (possessive quantifiers, look-behind, nested classes, \w, \h, \X, named groups ...).
 */
export function toJavaScript(pattern: string): RegExp | null {
  let source = '';
  let inClass = false;
  const groups: boolean[] = []; // whether each open group ignores case
  for (let i = 0; i < pattern.length; i++) {
    const char = pattern[i]!;
    const ignoresCase = groups.at(-1) ?? false;
    if (char === '\\') {
      const rest = pattern.slice(i + 1);
      const mapped = CLASSES[rest[0] ?? ''];
      const same = SAME_ESCAPE.exec(rest)?.[0];
      if (mapped) {
        source += mapped;
        i++;
      } else if (same && !same.includes('^')) {
        // Under the flag u only signs of syntax may be escaped.
        source += same.length === 1 && !/[rntfv^$\\.*+?()[\]{}|/-]/.test(same) ? same : `\\${same}`;
        i += same.length;
      } else return null;
    } else if (inClass) {
      if (char === '[' || (char === '&' && pattern[i + 1] === '&')) return null;
      if (char === ']') inClass = false;
      else if (ignoresCase && /[a-z]/i.test(char)) return null;
      source += char;
    } else if (char === '[') {
      inClass = true;
      source += char;
      if (pattern[i + 1] === ']') return null;
    } else if (char === '(') {
      const opening = /^\((?:\?(?:i:|:|=|!))?/.exec(pattern.slice(i))![0];
      if (opening === '(' && pattern[i + 1] === '?') return null;
      groups.push(ignoresCase || opening === '(?i:');
      source += opening === '(?i:' ? '(?:' : opening;
      i += opening.length - 1;
    } else if (char === ')') {
      groups.pop();
      source += char;
    } else if (ignoresCase && /[a-z]/i.test(char)) {
      const lower = char.toLowerCase();
      source += `[${lower}${lower.toUpperCase()}${FOLDS[lower] ?? ''}]`;
    } else if (char === '+' && /[?*+]$/.test(source) && !/\\[?*+]$/.test(source)) {
      return null; // possessive
    } else if (char === '^' || char === '$' || char === '.') {
      return null; // lines: other rules
    } else source += char;
  }
  try {
    return new RegExp(source, 'gu');
  } catch {
    return null;
  }
}
