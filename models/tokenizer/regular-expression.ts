// The regular expressions of tokenizer.json are those of Oniguruma (doc/RE in its repository, Ruby's syntax);
// here they are read into a tree that pattern.ts runs.

/** A part of an expression. `source` is the same in JavaScript under the flag u; null where there is none. */
export type Expression = { readonly source: string | null } & (
  | CharacterSet
  | { readonly kind: 'sequence' | 'choice'; readonly parts: readonly Expression[] }
  | { readonly kind: 'repeat'; readonly part: Expression; readonly least: number; readonly most: number; lazy: boolean }
  | { readonly kind: 'atomic'; readonly part: Expression }
  | { readonly kind: 'look'; readonly part: Expression; readonly ahead: boolean; readonly negative: boolean }
  | { readonly kind: 'anchor'; readonly holds: (text: string, at: number) => boolean }
);

/** One character out of a set, told by its code point. */
export interface CharacterSet {
  readonly kind: 'set';
  readonly has: (code: number) => boolean;
}

type SetExpression = CharacterSet & { readonly source: string | null };

const WORD = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}';
/** Outside of classes, Oniguruma's \w has these six of Latin-1 too: superscript digits and fractions. */
const WORD_ALONE = `${WORD}\\xB2\\xB3\\xB9\\xBC-\\xBE`;

/** Classes of one letter in JavaScript, whose own \s, \d and \w are others. */
const CLASS_LETTERS: ReadonlyMap<string, string> = new Map([
  ['s', '\\p{White_Space}'],
  ['S', '\\P{White_Space}'],
  ['d', '\\p{Nd}'],
  ['D', '\\P{Nd}'],
  ['h', '[0-9A-Fa-f]'],
  ['H', '[^0-9A-Fa-f]'],
  ['w', `[${WORD}]`],
  ['W', `[^${WORD}]`],
]);

/** What these letters stand for in JavaScript itself. */
export const ecmaLetters: typeof CLASS_LETTERS = new Map([
  ['s', '\\s'],
  ['S', '\\S'],
  ['d', '[0-9]'],
  ['D', '[^0-9]'],
  ['w', '[0-9A-Za-z_]'],
  ['W', '[^0-9A-Za-z_]'],
]);

/** Properties whose name means something else in JavaScript, or nothing. */
const PROPERTIES = new Map([
  ['alpha', '\\p{Alphabetic}'],
  ['alnum', '\\p{Alphabetic}\\p{Nd}'],
  ['digit', '\\p{Nd}'],
  ['space', '\\p{White_Space}'],
  ['upper', '\\p{Uppercase}'],
  ['lower', '\\p{Lowercase}'],
  ['cntrl', '\\p{Cc}'],
  ['xdigit', '0-9A-Fa-f'],
  ['word', WORD],
]);
const UNCLEAR_PROPERTIES = new Set(['punct', 'graph', 'print', 'blank']);

const CONTROL_ESCAPES = new Map([
  ['n', 10],
  ['r', 13],
  ['t', 9],
  ['f', 12],
  ['v', 11],
  ['a', 7],
  ['e', 27],
]);

// Letters beyond ASCII that fold to an ASCII letter.
const FOLDS = new Map([
  ['s', '\u017F'],
  ['k', '\u212A'],
]);
// Letters that one character folds to; under "ignore case" it would match them.
const LIGATURES = /ss|ff|fi|fl|st/i;

/** A set whose JavaScript source is known: what it holds is asked of JavaScript, once for a character. */
export function setOf(source: string): SetExpression {
  const pattern = new RegExp(`^${source}$`, 'u');
  return { kind: 'set', source, has: remember((code) => pattern.test(String.fromCodePoint(code))) };
}

function remember(has: (code: number) => boolean): (code: number) => boolean {
  let known: Int8Array | undefined; // 0: not asked yet
  return (code) => {
    if (code > 0xffff) return has(code);
    known ??= new Int8Array(0x10000);
    const answer = known[code]!;
    if (answer !== 0) return answer > 0;
    const found = has(code);
    known[code] = found ? 1 : -1;
    return found;
  };
}

const escapeCode = (code: number): string => `\\u{${code.toString(16)}}`;
const literal = (code: number): SetExpression => setOf(escapeCode(code));

/** Joins parts, each put in brackets where it needs them. */
function joined(kind: 'sequence' | 'choice', parts: readonly Expression[]): Expression {
  if (parts.length === 1) return parts[0]!;
  const sources = parts.map((part) => (kind === 'sequence' && part.kind === 'choice' ? bracketed(part) : part.source));
  const known = sources.every((source) => source !== null);
  return { kind, parts, source: known ? sources.join(kind === 'choice' ? '|' : '') : null };
}

const bracketed = ({ source, kind }: Expression): string | null =>
  source === null || kind === 'set' ? source : `(?:${source})`;

function repeated(part: Expression, least: number, most: number, lazy: boolean): Expression {
  const inner = bracketed(part);
  const times = most === Infinity ? `{${least},}` : `{${least},${most}}`;
  return { kind: 'repeat', part, least, most, lazy, source: inner === null ? null : inner + times + (lazy ? '?' : '') };
}

/**
 * Reads an expression. Error, one line: what is not known to mean the same here as in Oniguruma is refused
 * by name (back references, named groups, conditions, look-behind of open length, ...).
 * `letters`: the classes of one letter.
 */
export function parseExpression(pattern: string, letters = CLASS_LETTERS): Expression {
  return new Parser(pattern, letters).whole();
}

class Parser {
  private readonly chars: readonly string[];
  private readonly letters: ReadonlyMap<string, string>;
  private at = 0;

  constructor(pattern: string, letters: ReadonlyMap<string, string>) {
    this.chars = Array.from(pattern);
    this.letters = letters;
  }

  whole(): Expression {
    const expression = this.choice(false);
    if (this.at < this.chars.length) throw this.refuse('a bracket that was not opened');
    return expression;
  }

  private refuse(what: string): Error {
    return new Error(`it has ${what} at character ${this.at}`);
  }

  private next(text: string): boolean {
    const length = Array.from(text).length;
    if (this.chars.slice(this.at, this.at + length).join('') !== text) return false;
    this.at += length;
    return true;
  }

  private choice(ignoreCase: boolean): Expression {
    const parts = [this.sequence(ignoreCase)];
    while (this.next('|')) parts.push(this.sequence(ignoreCase));
    return joined('choice', parts);
  }

  private sequence(ignoreCase: boolean): Expression {
    const parts: Expression[] = [];
    const from = this.at;
    while (this.at < this.chars.length && this.chars[this.at] !== '|' && this.chars[this.at] !== ')')
      parts.push(this.quantified(this.atom(ignoreCase)));
    if (ignoreCase && LIGATURES.test(this.chars.slice(from, this.at).join('')))
      throw this.refuse('letters that a ligature stands for too where case is ignored');
    return parts.length === 0 ? { kind: 'sequence', parts, source: '' } : joined('sequence', parts);
  }

  private quantified(part: Expression): Expression {
    const bounds = this.bounds();
    if (!bounds) return part;
    if (part.kind === 'anchor' || part.kind === 'look') throw this.refuse('a repeated anchor or look-around');
    const [least, most, isSign] = bounds;
    // When to stop repeating nothing is a matter of taste.
    if (most > 1 && canBeEmpty(part)) throw this.refuse('a repeated part that may be empty');
    if (least > most) throw this.refuse('a quantifier that goes down');
    if (Math.max(least, most === Infinity ? 0 : most) > 1000) throw this.refuse('a quantifier beyond 1000');
    let result: Expression;
    if (isSign && this.next('+')) {
      result = { kind: 'atomic', part: repeated(part, least, most, false), source: null };
    } else if (least !== most && this.next('?')) result = repeated(part, least, most, true);
    else result = repeated(part, least, most, false);
    const after = this.at;
    if (this.bounds()) {
      this.at = after;
      throw this.refuse('a quantifier after a quantifier');
    }
    return result;
  }

  /** [least, most, whether it was one sign]; null where there is no quantifier. */
  private bounds(): readonly [number, number, boolean] | null {
    if (this.next('?')) return [0, 1, true];
    if (this.next('*')) return [0, Infinity, true];
    if (this.next('+')) return [1, Infinity, true];
    const match = /^\{(?:(\d+)(,?)(\d*)|,(\d+))\}/.exec(this.chars.slice(this.at, this.at + 24).join(''));
    if (!match) {
      if (this.chars[this.at] === '{') throw this.refuse('a brace that is no quantifier');
      return null;
    }
    this.at += match[0].length;
    if (match[4] !== undefined) return [0, Number(match[4]), false];
    const least = Number(match[1]);
    return [least, match[2] === '' ? least : match[3] === '' ? Infinity : Number(match[3]), false];
  }

  private atom(ignoreCase: boolean): Expression {
    const char = this.chars[this.at]!;
    if (char === '(') return this.group(ignoreCase);
    if (char === '[') return this.bracketClass(ignoreCase);
    if (char === '\\') return this.escape(ignoreCase);
    this.at++;
    if (char === '.') return setOf('[^\\n]');
    if (char === '^') return anchor((text, at) => at === 0 || (text[at - 1] === '\n' && at < text.length));
    if (char === '$') return anchor((text, at) => at === text.length || text[at] === '\n');
    if ('*+?{'.includes(char)) throw this.refuse('a quantifier of nothing');
    return this.character(char.codePointAt(0)!, ignoreCase);
  }

  /** A character, in both cases where case is ignored. */
  private character(code: number, ignoreCase: boolean): SetExpression {
    const char = String.fromCodePoint(code);
    if (!ignoreCase || char.toLowerCase() === char.toUpperCase()) return literal(code);
    if (code > 127) throw this.refuse(`"${char}" where case is ignored`);
    const lower = char.toLowerCase();
    return setOf(`[${lower}${lower.toUpperCase()}${FOLDS.get(lower) ?? ''}]`);
  }

  private group(ignoreCase: boolean): Expression {
    const from = this.at;
    this.at++;
    const inside = (ignore: boolean): Expression => {
      const part = this.choice(ignore);
      if (!this.next(')')) throw this.refuse('a bracket that is not closed');
      return part;
    };
    const look = (ahead: boolean, negative: boolean): Expression => {
      const part = inside(ignoreCase);
      if (!ahead && lengthOf(part) === null) throw this.refuse('a look-behind of open length');
      return {
        kind: 'look',
        part,
        ahead,
        negative,
        source: ahead && part.source !== null ? `(?${negative ? '!' : '='}${part.source})` : null,
      };
    };
    if (!this.next('?')) return inside(ignoreCase);
    if (this.next(':')) return inside(ignoreCase);
    if (this.next('i:')) return inside(true);
    if (this.next('-i:')) return inside(false);
    if (this.next('>')) return { kind: 'atomic', part: inside(ignoreCase), source: null };
    if (this.next('=')) return look(true, false);
    if (this.next('!')) return look(true, true);
    if (this.next('<=')) return look(false, false);
    if (this.next('<!')) return look(false, true);
    this.at = from;
    throw this.refuse(`the group ${this.chars.slice(from, from + 4).join('')}...`);
  }

  private escape(ignoreCase: boolean): Expression {
    const char = this.chars[this.at + 1];
    if (char === 'A' || char === 'z' || char === 'b' || char === 'B' || char === 'Z') {
      this.at += 2;
      const isWord = setOf(`[${WORD_ALONE}]`).has;
      const edge = (text: string, at: number): boolean => {
        const before = at > 0 && isWord(codeBefore(text, at));
        return before !== (at < text.length && isWord(text.codePointAt(at)!));
      };
      if (char === 'A') return anchor((_, at) => at === 0);
      if (char === 'z') return anchor((text, at) => at === text.length);
      if (char === 'b') return anchor(edge);
      if (char === 'B') return anchor((text, at) => !edge(text, at));
      throw this.refuse('\\Z');
    }
    if (char === 'R' || char === 'X' || char === 'K' || char === 'G' || char === 'k' || char === 'g')
      throw this.refuse(`\\${char}`);
    if ((char === 'w' || char === 'W') && this.letters === CLASS_LETTERS) {
      this.at += 2;
      return setOf(`[${char === 'W' ? '^' : ''}${WORD_ALONE}]`);
    }
    const member = this.member(ignoreCase);
    return member.code === null ? member.set : this.character(member.code, ignoreCase);
  }

  /** One entry of a class, or an escape outside: a character by its code, or a set. */
  private member(ignoreCase: boolean): { code: number; set: null } | { code: null; set: SetExpression } {
    const char = this.chars[this.at]!;
    this.at++;
    if (char !== '\\') return { code: char.codePointAt(0)!, set: null };
    const letter = this.chars[this.at];
    if (letter === undefined) throw this.refuse('a backslash at its end');
    this.at++;
    const control = CONTROL_ESCAPES.get(letter);
    if (control !== undefined) return { code: control, set: null };
    const letters = this.letters.get(letter);
    if (letters !== undefined) {
      if (ignoreCase && /[hw]/i.test(letter)) throw this.refuse(`\\${letter} where case is ignored`);
      return { code: null, set: setOf(letters) };
    }
    if (letter === 'p' || letter === 'P') return { code: null, set: this.property(letter === 'P', ignoreCase) };
    if (letter === 'x' || letter === 'u') return { code: this.hexadecimal(letter), set: null };
    if (/[\p{L}\p{N}]/u.test(letter)) throw this.refuse(`\\${letter}`);
    return { code: letter.codePointAt(0)!, set: null };
  }

  private hexadecimal(letter: string): number {
    const rest = this.chars.slice(this.at, this.at + 12).join('');
    const match = (letter === 'u' ? /^([0-9a-f]{4})/i : /^(?:\{([0-9a-f]{1,8})\}|([0-7][0-9a-f]))/i).exec(rest);
    const code = match ? parseInt(match[1] ?? match[2]!, 16) : Infinity;
    if (!match || code > 0x10ffff) throw this.refuse(`\\${letter} without a character`);
    this.at += match[0].length;
    return code;
  }

  private property(negated: boolean, ignoreCase: boolean): SetExpression {
    const match = /^\{(\^?)([\w ]+)\}/.exec(this.chars.slice(this.at, this.at + 40).join(''));
    if (!match) throw this.refuse('a property without a name');
    this.at += match[0].length;
    const [, caret, name] = match as unknown as [string, string, string];
    const isNegated = negated !== (caret === '^');
    const named = PROPERTIES.get(name.toLowerCase());
    const candidates = named !== undefined ? [named] : [`\\p{${name}}`, `\\p{Script=${name}}`];
    const inside = UNCLEAR_PROPERTIES.has(name.toLowerCase()) ? undefined : candidates.find(isPattern);
    if (inside === undefined) throw this.refuse(`the property ${name}`);
    if (ignoreCase && !/^(?:N[dlo]?|P[cdfseio]?|S[cmko]|Z[slp]?|White_Space|digit|space)$/.test(name))
      throw this.refuse(`the property ${name} where case is ignored`);
    return setOf(
      named === undefined ? inside.replace('p', isNegated ? 'P' : 'p') : `[${isNegated ? '^' : ''}${inside}]`,
    );
  }

  /** A class in brackets: ranges, classes within it (all of both), and && (what both have). */
  private bracketClass(ignoreCase: boolean): SetExpression {
    this.at++;
    const negated = this.next('^');
    const operands: SetExpression[] = [];
    let inside: string | null = ''; // of the JavaScript class
    let sets: SetExpression['has'][] = [];
    const finish = (): void => {
      if (inside === '' && sets.length === 0) throw this.refuse('an empty class');
      const has = sets;
      operands.push(
        inside !== null
          ? setOf(`[${inside}]`)
          : { kind: 'set', source: null, has: remember((code) => has.some((one) => one(code))) },
      );
      [inside, sets] = ['', []];
    };
    const add = (set: SetExpression): void => {
      sets.push(set.has);
      const { source } = set;
      if (source === null || source.startsWith('[^')) inside = null;
      else if (inside !== null) inside += source.startsWith('[') ? source.slice(1, -1) : source;
    };
    for (let first = true; ; first = false) {
      const char = this.chars[this.at];
      if (char === undefined) throw this.refuse('a class that is not closed');
      if (char === ']') {
        if (first) throw this.refuse('a class that begins with ]');
        this.at++;
        break;
      }
      if (char === '[') {
        if (this.chars[this.at + 1] === ':') throw this.refuse('a POSIX class');
        add(this.bracketClass(ignoreCase));
      } else if (this.next('&&')) finish();
      else this.range(ignoreCase, add);
    }
    finish();
    if (operands.length === 1 && operands[0]!.source !== null)
      return negated ? setOf(`[^${operands[0]!.source.slice(1, -1)}]`) : operands[0]!;
    const has = (code: number): boolean => operands.every((operand) => operand.has(code)) !== negated;
    return { kind: 'set', source: null, has: remember(has) };
  }

  private range(ignoreCase: boolean, add: (set: SetExpression) => void): void {
    const first = this.member(ignoreCase);
    if (first.code === null) return add(first.set);
    let last = first.code;
    const [dash, after] = this.chars.slice(this.at, this.at + 2);
    if (dash === '-' && after !== ']' && after !== undefined) {
      this.at++;
      if (after === '[') throw this.refuse('a range up to a class');
      const end = this.member(ignoreCase);
      if (end.code === null) throw this.refuse('a range up to a class');
      last = end.code;
      if (last < first.code) throw this.refuse('a range that goes down');
    }
    if (!ignoreCase) return add(setOf(`[${escapeCode(first.code)}-${escapeCode(last)}]`));
    if (last > 127) throw this.refuse('letters beyond ASCII where case is ignored');
    for (let code = first.code; code <= last; code++) add(this.character(code, true));
  }
}

function anchor(holds: (text: string, at: number) => boolean): Expression {
  return { kind: 'anchor', holds, source: null };
}

function isPattern(inside: string): boolean {
  try {
    new RegExp(`[${inside}]`, 'u');
    return true;
  } catch {
    return false;
  }
}

/** The code point that ends at unit `at`. */
export function codeBefore(text: string, at: number): number {
  const unit = text.charCodeAt(at - 1);
  const isPair = unit >= 0xdc00 && unit <= 0xdfff && at > 1;
  return isPair ? text.codePointAt(at - 2)! : unit;
}

/** How many characters an expression takes; null where that is open. */
export function lengthOf(part: Expression): number | null {
  switch (part.kind) {
    case 'set':
      return 1;
    case 'sequence':
      return part.parts.reduce<number | null>((sum, one) => add(sum, lengthOf(one)), 0);
    case 'choice': {
      const [first = null, ...others] = part.parts.map(lengthOf);
      return others.every((length) => length === first) ? first : null;
    }
    case 'repeat': {
      const length = lengthOf(part.part);
      return length === null || part.least !== part.most ? null : length * part.least;
    }
    case 'atomic':
      return lengthOf(part.part);
    case 'look':
    case 'anchor':
      return 0;
  }
}

const add = (a: number | null, b: number | null): number | null => (a === null || b === null ? null : a + b);

/** Whether an expression may take no character at all. */
export function canBeEmpty(part: Expression): boolean {
  switch (part.kind) {
    case 'set':
      return false;
    case 'sequence':
      return part.parts.every(canBeEmpty);
    case 'choice':
      return part.parts.some(canBeEmpty);
    case 'repeat':
      return part.least === 0 || canBeEmpty(part.part);
    case 'atomic':
      return canBeEmpty(part.part);
    case 'look':
    case 'anchor':
      return true;
  }
}
