import { brief } from '../../common/printable.ts';

/**
 * The classes of Python's patterns of texts, which know all of Unicode; "[" and "]" around them are left out.
 */
const classes: Readonly<Record<string, string>> = {
  w: '\\p{L}\\p{N}_',
  d: '\\p{Nd}',
  s: '\\s\\x1c-\\x1f\\x85',
};
const wordEnd = `(?:(?<=[${classes['w']!}])(?![${classes['w']!}])|(?<![${classes['w']!}])(?=[${classes['w']!}]))`;
const flagsOf: Readonly<Record<string, string>> = { i: 'i', m: 'm', s: 's', u: '' };

/**
 * A pattern of Python's `re` that finds all matches: `(?s).*#### ` has its flags in front, `(?P<name>...)`
 * its own groups, \w, \d and \b know all of Unicode, \A and \Z the text's ends. Error, one line: what only
 * Python has, such as (?x), or a pattern that is none.
 */
export function pythonPattern(source: string): RegExp {
  let pattern = known.get(source);
  if (!pattern) known.set(source, (pattern = translated(source)));
  return pattern;
}

/** Each is asked for once a row. */
const known = new Map<string, RegExp>();

function translated(source: string): RegExp {
  const [, letters = ''] = /^\(\?([a-zA-Z]+)\)/.exec(source) ?? [];
  const refused = (what: string): Error => new Error(`the pattern ${brief(source)} ${what}; write it in another way`);
  const unknown = [...letters].find((letter) => !Object.hasOwn(flagsOf, letter));
  if (unknown !== undefined) throw refused(`has the flag ${unknown}, which is not known here`);
  const flags = [...new Set([...letters].map((letter) => flagsOf[letter]!))].join('');
  const body = letters === '' ? source : source.slice(letters.length + 3);
  let text = '';
  let isInClass = false;
  for (const [token] of body.matchAll(/\\[\s\S]|\(\?P[<=]|[\s\S]/gu)) {
    if (token === '[' && isInClass) text += '\\[';
    else if (token.startsWith('\\')) text += escapeOf(token[1]!, isInClass, refused, token);
    else if (token === '(?P<' && !isInClass) text += '(?<';
    else if (token === '(?P=') throw refused('names a group that was found before');
    // Python's $ also stands before a line end at the end of the text.
    else if (token === '$' && !isInClass && !flags.includes('m')) text += '(?=\\n?(?![\\s\\S]))';
    else text += token;
    if (token === '[') isInClass = true;
    else if (token === ']') isInClass = false;
  }
  try {
    return new RegExp(text, `gu${flags}`);
  } catch (error) {
    throw new Error(`the pattern ${brief(source)} is none that is known here; write it in another way`, {
      cause: error,
    });
  }
}

function escapeOf(letter: string, isInClass: boolean, refused: (what: string) => Error, token: string): string {
  const known = classes[letter];
  if (known !== undefined) return isInClass ? known : `[${known}]`;
  const others = classes[letter.toLowerCase()];
  if (others !== undefined && letter !== 'S' && isInClass) throw refused(`has \\${letter} in brackets`);
  if (others !== undefined) return isInClass ? '\\S' : `[^${others}]`;
  if (!isInClass && letter === 'b') return wordEnd;
  if (!isInClass && letter === 'A') return '(?<![\\s\\S])';
  if (!isInClass && letter === 'Z') return '(?![\\s\\S])';
  if (/[a-zA-Z0-9]/.test(letter)) {
    if (!/[nrtfv0-9xu]/.test(letter)) throw refused(`has ${token}`);
    return token;
  }
  // Only what has a meaning may be escaped in a pattern of Unicode.
  return /[\^$\\.*+?()[\]{}|/]/.test(letter) || (isInClass && letter === '-') ? token : letter;
}
