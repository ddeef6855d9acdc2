// Reading the parts of a tokenizer.json (normalizer, pre_tokenizer, decoder ...): only what is known to be
// that of Rust `tokenizers` is taken, all else is refused by name.
import { brief, printable } from '../../common/printable.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { isJsonObject } from '../../common/json-file.ts';
import type { Pattern } from './pattern.ts';
import { expressionPattern, textPattern } from './pattern.ts';

/** A part of a tokenizer.json with the place it stands at, for errors. */
export class Part {
  readonly json: JsonObject;
  readonly type: string;
  /** Such as `tokenizer.json: pre_tokenizer Split`. */
  readonly where: string;

  /** Error, one line: no object with a type. */
  constructor(json: unknown, where: string) {
    if (!isJsonObject(json) || typeof json['type'] !== 'string')
      throw new Error(
        `${where} cannot be used: it is ${json === undefined ? 'missing' : brief(json)}, where an object with a ` +
          'type is needed',
      );
    this.json = json;
    this.type = json['type'];
    this.where = `${where} ${printable(this.type.slice(0, 60))}`;
  }

  refuse(reason: string): Error {
    return new Error(`${this.where} cannot be used: ${reason}`);
  }

  /** Makes what `makers` has for this part's type. Error, one line: a type that is not there. */
  make<T>(makers: ReadonlyMap<string, (part: Part) => T>): T {
    const maker = makers.get(this.type);
    if (!maker) throw this.refuse(`the types known here are ${[...makers.keys()].join(', ')}`);
    return maker(this);
  }

  /** The parts of a Sequence. */
  list(name: string): Part[] {
    const list = this.json[name];
    if (!Array.isArray(list)) throw this.needs(name, 'a list');
    return list.map((json) => new Part(json, this.where));
  }

  flag(name: string, otherwise?: boolean): boolean {
    const value = this.json[name] ?? otherwise;
    if (typeof value !== 'boolean') throw this.needs(name, 'true or false');
    return value;
  }

  text(name: string, otherwise?: string): string {
    const value = this.json[name] ?? otherwise;
    if (typeof value !== 'string') throw this.needs(name, 'a text');
    return value;
  }

  /** A text that is not empty. */
  someText(name: string): string {
    const value = this.text(name);
    if (value === '') throw this.needs(name, 'a text of at least one character');
    return value;
  }

  /** A text of one character. */
  character(name: string): string {
    const value = this.text(name);
    if (Array.from(value).length !== 1) throw this.needs(name, 'one character');
    return value;
  }

  whole(name: string, otherwise?: number): number {
    const value = this.json[name] ?? otherwise;
    if (!Number.isSafeInteger(value) || (value as number) < 0) throw this.needs(name, 'a whole number of at least 0');
    return value as number;
  }

  oneOf<T extends string>(name: string, values: readonly T[], otherwise?: T): T {
    const value = this.json[name] ?? otherwise;
    if (!values.includes(value as T)) throw this.needs(name, `one of ${values.join(', ')}`);
    return value as T;
  }

  /** `{"String": "x"}` or `{"Regex": "x+"}`. */
  pattern(): Pattern {
    const { pattern } = this.json;
    if (isJsonObject(pattern) && typeof pattern['String'] === 'string') return textPattern(pattern['String']);
    if (!isJsonObject(pattern) || typeof pattern['Regex'] !== 'string')
      throw this.needs('pattern', '{"String": ...} or {"Regex": ...}');
    const expression = pattern['Regex'];
    try {
      return expressionPattern(expression);
    } catch (error) {
      throw this.refuse(`its pattern ${brief(expression)} is not supported: ${(error as Error).message}`);
    }
  }

  private needs(name: string, what: string): Error {
    return this.refuse(
      `its ${name} is ${this.json[name] === undefined ? 'missing' : brief(this.json[name])}, where ${what} is needed`,
    );
  }
}
