import { isJsonObject } from '../../../common/json-file.ts';
import type { JsonObject } from '../../../common/json-file.ts';
import { showValue } from '../../names.ts';
import { characters, choice, empty, hasText, optional, repeat, rule, sequence, text } from './grammar.ts';
import type { Grammar } from './grammar.ts';
import { regular } from './regular.ts';

/**
 * The JSON texts of values that fit a schema (json-schema.org, draft 2020-12; `z.toJSONSchema` of zod writes
 * such). Members come in the schema's order, with at most a space behind commas and colons. Members and
 * elements that the schema does not name come only where it says so (additionalProperties true or a schema,
 * items). Numbers are those that JavaScript holds: whole ones to 2^53 - 1.
 *
 * Error, one line: a keyword that is not known here, with its place; a schema that no value fits.
 */
export function jsonSchema(schema: unknown): Grammar {
  const reader = new Reader(schema);
  const whole = reader.read(schema, '#');
  reader.check(whole);
  return whole;
}

/** Any object in JSON. */
export const jsonObject = (): Grammar => jsonSchema({ type: 'object', additionalProperties: true });

const annotations = ['$schema', '$id', '$comment', '$defs', 'definitions', 'title', 'description', 'default'];
const ignored = new Set([...annotations, 'examples', 'deprecated', 'readOnly', 'writeOnly']);

/** What each type of value takes into account. */
const keywords = {
  string: ['minLength', 'maxLength', 'pattern', 'format'],
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'],
  integer: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'],
  object: ['properties', 'required', 'additionalProperties'],
  array: ['items', 'prefixItems', 'minItems', 'maxItems'],
  boolean: [],
  null: [],
} as const;

type Type = keyof typeof keywords;
const types = Object.keys(keywords) as Type[];

class Reader {
  readonly #root: unknown;
  readonly #rules = new Map<string, Grammar>();

  constructor(root: unknown) {
    this.#root = root;
  }

  /** Throws where a part of the schema has no value, or is itself before it is anything. */
  check(whole: Grammar): void {
    const ask = (grammar: Grammar, place: string): void => {
      if (!hasText(grammar)) throw new Error(`json schema: no value fits ${place}; let something in it be absent`);
      try {
        grammar.after(0x7b);
      } catch (error) {
        throw new Error(`json schema: ${place} refers to itself as a whole; refer to it from a member or element`, {
          cause: error,
        });
      }
    };
    for (const [place, grammar] of this.#rules) ask(grammar, place); // reads further rules as it goes
    ask(whole, '#');
  }

  read(schema: unknown, place: string): Grammar {
    if (schema === true) return this.#any(place);
    if (!isJsonObject(schema)) throw new Error(`json schema: ${place} is ${showValue(schema)}; a schema is an object`);
    const given = Object.fromEntries(Object.entries(schema).filter(([key]) => !ignored.has(key)));
    const named = Object.keys(given);
    if (named.length === 0) return this.#any(place);
    for (const key of ['$ref', 'anyOf', 'oneOf', 'allOf', 'const'] as const)
      if (key in given) {
        const beside = named.filter((name) => name !== key && !(key === 'const' && name === 'type'));
        if (beside.length > 0) throw unknown(beside[0]!, place, ` beside ${key}`);
        return this.#whole(key, given[key], place);
      }
    const asked = typesOf(given, place);
    if ('enum' in given) {
      const beside = named.find((name) => name !== 'enum' && name !== 'type');
      if (beside !== undefined) throw unknown(beside, place, ' beside enum');
      const values = listOf(given['enum'], `${place}/enum`).filter((value) => asked.some((type) => isOf(value, type)));
      return choice(...values.map(written));
    }
    const foreign = named.find((name) => name !== 'type' && !asked.some((type) => has(type, name)));
    if (foreign !== undefined) throw unknown(foreign, place);
    return choice(...asked.map((type) => this.#typed(type, given, place)));
  }

  #whole(key: '$ref' | 'anyOf' | 'oneOf' | 'allOf' | 'const', value: unknown, place: string): Grammar {
    if (key === 'const') return written(value);
    if (key === '$ref') return this.#refer(value, place);
    const parts = listOf(value, `${place}/${key}`);
    if (key === 'allOf' && parts.length !== 1) throw unknown(key, place, ' of several schemas');
    return choice(...parts.map((part, i) => this.read(part, `${place}/${key}/${i}`)));
  }

  #refer(reference: unknown, place: string): Grammar {
    if (typeof reference !== 'string' || !/^#(\/|$)/.test(reference))
      throw new Error(
        `json schema: $ref at ${place} is ${showValue(reference)}; it refers to a place of the same schema, #/...`,
      );
    const path = reference.split('/').slice(1);
    const names = path.map((name) => decodeURIComponent(name).replaceAll('~1', '/').replaceAll('~0', '~'));
    let target = this.#root;
    for (const name of names)
      target = isJsonObject(target) && Object.hasOwn(target, name) ? target[name] : (target as never[])?.[Number(name)];
    if (target === undefined) throw new Error(`json schema: $ref at ${place} is ${reference}, which is not there`);
    return this.#rule(reference, () => this.read(target, reference));
  }

  #rule(name: string, body: () => Grammar): Grammar {
    const known = this.#rules.get(name) ?? rule(body);
    this.#rules.set(name, known);
    return known;
  }

  /** Any value. */
  #any(place: string): Grammar {
    return this.#rule('any value', () =>
      choice(...types.map((type) => this.#typed(type, type === 'object' ? { additionalProperties: true } : {}, place))),
    );
  }

  #typed(type: Type, given: JsonObject, place: string): Grammar {
    switch (type) {
      case 'null':
        return text('null');
      case 'boolean':
        return choice(text('true'), text('false'));
      case 'string':
        return stringGrammar(given, place);
      case 'integer':
        return integerGrammar(given, place);
      case 'number':
        return numberGrammar(given, place);
      case 'array':
        return this.#array(given, place);
      case 'object':
        return this.#object(given, place);
    }
  }

  #array(given: JsonObject, place: string): Grammar {
    const first = listOf(given['prefixItems'] ?? [], `${place}/prefixItems`);
    const [least, most] = [countOf(given, 'minItems', place, 0), countOf(given, 'maxItems', place, Infinity)];
    const prefix = first.map((item, i) => this.read(item, `${place}/prefixItems/${i}`));
    const { items = prefix.length === 0 } = given;
    const other = items === false ? undefined : this.read(items, `${place}/items`);
    const from = (i: number): Grammar => {
      if (i >= most) return empty;
      const comma = i === 0 ? empty : next;
      if (i >= prefix.length) {
        if (!other) return empty;
        if (i > 0) return repeat(sequence(next, other), Math.max(least - i, 0), most - i);
        const some = sequence(other, repeat(sequence(next, other), Math.max(least - 1, 0), most - 1));
        return least === 0 ? optional(some) : some;
      }
      const some = sequence(comma, prefix[i]!, from(i + 1));
      return i < least ? some : optional(some);
    };
    if (least > most || (!other && least > prefix.length))
      throw new Error(`json schema: no list fits ${place}; it asks for at least ${least} elements and has fewer`);
    return sequence(text('['), from(0), text(']'));
  }

  #object(given: JsonObject, place: string): Grammar {
    const properties = given['properties'] ?? {};
    if (!isJsonObject(properties)) throw new Error(`json schema: ${place}/properties must be an object`);
    const required = listOf(given['required'] ?? [], `${place}/required`) as string[];
    const { additionalProperties: more = given['properties'] === undefined } = given;
    const other = more === false ? undefined : this.read(more, `${place}/additionalProperties`);
    const names = [...new Set([...Object.keys(properties), ...required])];
    const members = names.map((name) => {
      const own = Object.hasOwn(properties, name);
      if (!own && !other) throw new Error(`json schema: ${place} requires ${showValue(name)}, which it does not have`);
      const value = own ? this.read(properties[name], `${place}/properties/${name}`) : other!;
      return sequence(written(name), colon, value);
    });
    const stranger = other && sequence(text('"'), nameExcept(names), colon, other);
    const strangers = stranger && repeat(sequence(next, stranger));
    let [begun, fresh] = strangers ? [strangers, optional(sequence(stranger, strangers))] : [empty, empty];
    for (const [i, member] of [...members.entries()].reverse()) {
      const [with_, alone] = [sequence(next, member, begun), sequence(member, begun)];
      const isRequired = required.includes(names[i]!);
      [begun, fresh] = isRequired ? [with_, alone] : [choice(with_, begun), choice(alone, fresh)];
    }
    return sequence(text('{'), fresh, text('}'));
  }
}

const space = optional(text(' '));
const next = sequence(text(','), space);
const colon = sequence(text(':'), space);

const has = (type: Type, keyword: string): boolean => (keywords[type] as readonly string[]).includes(keyword);

const unknown = (keyword: string, place: string, how = ''): Error =>
  new Error(`json schema: ${keyword}${how} at ${place} is not known here; leave it out and check it afterwards`);

function listOf(value: unknown, place: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new Error(`json schema: ${place} is ${showValue(value)}; it must be a list`);
  return value;
}

function typesOf(given: JsonObject, place: string): readonly Type[] {
  const { type } = given;
  if (type === undefined) {
    const meant = types.filter((one) => one !== 'integer' && Object.keys(given).some((name) => has(one, name)));
    return meant.length > 0 ? meant : types.filter((one) => one !== 'integer');
  }
  const asked = [type].flat();
  const wrong = asked.find((one) => !(types as unknown[]).includes(one));
  if (wrong !== undefined || asked.length === 0)
    throw new Error(`json schema: type at ${place} is ${showValue(wrong ?? type)}; it is one of ${types.join(', ')}`);
  return asked as Type[];
}

function isOf(value: unknown, type: Type): boolean {
  if (type === 'null') return value === null;
  if (type === 'array') return Array.isArray(value);
  if (type === 'object') return isJsonObject(value);
  return type === 'integer' ? Number.isInteger(value) : typeof value === type;
}

const written = (value: unknown): Grammar => text(JSON.stringify(value));

function countOf(given: JsonObject, key: string, place: string, otherwise: number): number {
  const value = given[key] ?? otherwise;
  if (value === Infinity || (Number.isInteger(value) && (value as number) >= 0)) return value as number;
  throw new Error(`json schema: ${key} at ${place} is ${showValue(value)}; it must be a whole number from 0 on`);
}

// Strings

/** Characters that stand for themselves in a string. */
const plain = [
  [0x20, 0x21],
  [0x23, 0x5b],
  [0x5d, 0x10ffff],
] as const;
const digit = characters([[0x30, 0x39]]);

/** A character as a string has it. Half of a surrogate pair is none. */
const character = choice(
  characters(plain),
  regular('\\\\(?:["\\\\/bfnrt]|u(?:[0-9a-ce-fA-CE-F][0-9a-fA-F]|[dD][0-7])[0-9a-fA-F]{2})'),
  regular('\\\\u[dD][89abAB][0-9a-fA-F]{2}\\\\u[dD][c-fC-F][0-9a-fA-F]{2}'),
);

/** One character out of ranges, escaped where it has to be. */
function escaped(ranges: readonly (readonly [number, number])[]): Grammar {
  const marked = [0x22, 0x5c, ...Array.from({ length: 0x20 }, (_, code) => code)];
  const special = marked.filter((code) => ranges.some(([from, to]) => code >= from && code <= to));
  const others = ranges.flatMap(([from, to]) =>
    plain.map(([low, high]) => [Math.max(from, low), Math.min(to, high)] as const),
  );
  return choice(
    characters(others),
    ...special.map((code) => text(JSON.stringify(String.fromCodePoint(code)).slice(1, -1))),
  );
}

const clock = '(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)';
const days = [
  '(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])',
  '(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)',
  '02-(?:0[1-9]|1\\d|2[0-8])',
];
const day = `\\d{4}-(?:${days.join('|')})`;
const byte = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';

/** Formats, by expressions that match nothing else: of dates without the 29th of February. */
const formats = new Map([
  ['date', day],
  ['time', clock],
  ['date-time', `${day}T${clock}`],
  ['uuid', '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}'],
  ['ipv4', `${byte}(?:\\.${byte}){3}`],
  ['email', '[A-Za-z0-9_+-]+(?:\\.[A-Za-z0-9_+-]+)*@(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\\.)+[A-Za-z]{2,}'],
]);

function stringGrammar(given: JsonObject, place: string): Grammar {
  const { pattern, format } = given;
  const [least, most] = [countOf(given, 'minLength', place, 0), countOf(given, 'maxLength', place, Infinity)];
  const counts = least > 0 || most < Infinity;
  const quoted = (inside: Grammar): Grammar => sequence(text('"'), inside, text('"'));
  if (least > most) throw new Error(`json schema: no text fits ${place}; minLength is above maxLength`);
  if ([pattern !== undefined, format !== undefined, counts].filter(Boolean).length > 1)
    throw unknown('pattern, format or lengths', place, ' beside one another');
  if (typeof format === 'string') {
    const expression = formats.get(format);
    if (expression === undefined)
      throw new Error(
        `json schema: format ${showValue(format)} at ${place} is not known here; use one of ` +
          `${[...formats.keys()].join(', ')}, or a pattern`,
      );
    return quoted(regular(expression));
  }
  if (typeof pattern !== 'string') return quoted(repeat(character, least, most));
  try {
    return quoted(regular(pattern, { anywhere: true, write: escaped }));
  } catch (error) {
    throw new Error(`json schema: pattern at ${place}: ${(error as Error).message}`, { cause: error });
  }
}

/** The rest of a member's name, with its closing quote. */
const anyRest = sequence(repeat(characters(plain)), text('"'));

/** The same, that is none of `names`. */
function nameExcept(names: readonly string[], depth = 0): Grammar {
  const here = names.filter((name) => Array.from(name).length >= depth);
  if (here.length === 0) return anyRest;
  const codes = [...new Set(here.flatMap((name) => Array.from(name)[depth]?.codePointAt(0) ?? []))].sort(
    (a, b) => a - b,
  );
  const others: [number, number][] = [];
  let from = 0;
  for (const code of [...codes, 0x110000]) {
    if (code > from) others.push([from, code - 1]);
    from = code + 1;
  }
  const isName = here.some((name) => Array.from(name).length === depth);
  const free = others.flatMap(([low, high]) => plain.map(([a, b]) => [Math.max(a, low), Math.min(b, high)] as const));
  const within = codes
    .filter((code) => plain.some(([low, high]) => code >= low && code <= high))
    .map((code) => {
      const same = here.filter((name) => Array.from(name)[depth]?.codePointAt(0) === code);
      return sequence(characters([[code, code]]), nameExcept(same, depth + 1));
    });
  return choice(isName ? choice() : text('"'), sequence(characters(free), anyRest), ...within);
}

// Numbers

const greatest = Number.MAX_SAFE_INTEGER;

interface Bounds {
  readonly min: number;
  readonly max: number;
  /** Whether the bound itself is out. */
  readonly minOut: boolean;
  readonly maxOut: boolean;
}

function boundsOf(given: JsonObject, place: string): Bounds {
  const of = (key: string, otherwise: number): number => {
    const value = given[key] ?? otherwise;
    if (typeof value !== 'number' || Number.isNaN(value))
      throw new Error(`json schema: ${key} at ${place} is ${showValue(value)}; it must be a number`);
    return value;
  };
  const [min, minOut] = [of('minimum', -Infinity), of('exclusiveMinimum', -Infinity)];
  const [max, maxOut] = [of('maximum', Infinity), of('exclusiveMaximum', Infinity)];
  return {
    min: Math.max(min, minOut),
    max: Math.min(max, maxOut),
    minOut: minOut >= min && minOut > -Infinity,
    maxOut: maxOut <= max && maxOut < Infinity,
  };
}

function integerGrammar(given: JsonObject, place: string): Grammar {
  const { min, max, minOut, maxOut } = boundsOf(given, place);
  const low = Math.max(minOut ? Math.floor(min) + 1 : Math.ceil(min), -greatest);
  const high = Math.min(maxOut ? Math.ceil(max) - 1 : Math.floor(max), greatest);
  if (low > high) throw new Error(`json schema: no whole number fits ${place}; lower its minimum or raise its maximum`);
  const positive = high >= 0 ? wholeBetween(Math.max(low, 0), high) : choice();
  return low < 0 ? choice(positive, sequence(text('-'), wholeBetween(Math.max(-high, 1), -low))) : positive;
}

/** Whole numbers from 0 on, without leading zeros. */
function wholeBetween(low: number, high: number): Grammar {
  const parts: Grammar[] = [];
  for (let size = String(low).length; size <= String(high).length; size++) {
    const first = size === String(low).length ? String(low) : `1${'0'.repeat(size - 1)}`;
    const last = size === String(high).length ? String(high) : '9'.repeat(size);
    parts.push(digitsBetween(first, last));
  }
  return choice(...parts);
}

function digitsBetween(low: string, high: string): Grammar {
  const range = (from: number, to: number): Grammar => (from > to ? choice() : characters([[from, to]]));
  const [first, last] = [low.charCodeAt(0), high.charCodeAt(0)];
  const [lows, highs] = [low.slice(1), high.slice(1)];
  if (lows === '') return range(first, last);
  if (/^0+$/.test(low) && /^9+$/.test(high)) return repeat(digit, low.length, low.length);
  if (first === last) return sequence(range(first, last), digitsBetween(lows, highs));
  return choice(
    sequence(range(first, first), digitsBetween(lows, '9'.repeat(lows.length))),
    sequence(range(first + 1, last - 1), repeat(digit, lows.length, lows.length)),
    sequence(range(last, last), digitsBetween('0'.repeat(highs.length), highs)),
  );
}

const fraction = sequence(text('.'), repeat(digit, 1, 15));

function numberGrammar(given: JsonObject, place: string): Grammar {
  const { min, max, minOut, maxOut } = boundsOf(given, place);
  if (min === -Infinity && max === Infinity) {
    const exponent = sequence(regular('[eE][+-]?'), repeat(digit, 1, 2));
    return sequence(optional(text('-')), wholeBetween(0, greatest), optional(fraction), optional(exponent));
  }
  for (const bound of [min, max])
    if (Number.isFinite(bound) && !Number.isSafeInteger(bound))
      throw new Error(
        `json schema: the bound ${bound} at ${place} is no whole number; use one, and check the rest after`,
      );
  const above = max >= 0 ? numbersBetween(Math.max(min, 0), max, min >= 0 && minOut, maxOut) : choice();
  const below = min < 0 ? numbersBetween(Math.max(-max, 0), -min, max >= 0 || maxOut, minOut) : choice();
  const all = choice(above, sequence(text('-'), below));
  if (!hasText(all)) throw new Error(`json schema: no number fits ${place}; lower its minimum or raise its maximum`);
  return all;
}

/** Numbers from 0 on, between whole ones. */
function numbersBetween(low: number, high: number, lowOut: boolean, highOut: boolean): Grammar {
  const zeros = sequence(text('.'), repeat(text('0'), 1, 15));
  const most = Math.min(high - 1, greatest);
  const more = sequence(text('.'), regular('[0-9]{0,14}[1-9][0-9]{0,14}'));
  const whole = (from: number, to: number): Grammar => (from > to ? choice() : wholeBetween(from, to));
  const inside = choice(
    sequence(whole(low + 1, most), optional(fraction)),
    sequence(whole(low, Math.min(low, most)), lowOut ? more : optional(fraction)),
  );
  const isTop = Number.isFinite(high) && !highOut && !(lowOut && low === high);
  return choice(inside, isTop ? sequence(text(String(high)), optional(zeros)) : choice());
}
