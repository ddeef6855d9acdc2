// Rust `tokenizers` (its npm binding) in a process of its own: on some files it aborts, which would end ours.
import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import Rust from 'tokenizers';
import type { JsonObject } from '../../common/json-file.ts';

/** What is asked of a tokenizer.json. */
export interface Question {
  readonly json: JsonObject;
  readonly texts: readonly string[];
  /** Ids to decode. */
  readonly lists: readonly (readonly number[])[];
  readonly pairs?: readonly (readonly [string, string])[];
}

/** A row of tokens with the special ones; places count characters, not UTF-16 units. */
export interface RustRow {
  readonly ids: readonly number[];
  readonly offsets: readonly (readonly number[])[];
  readonly words: readonly number[];
  readonly types: readonly number[];
  readonly special: readonly number[];
  readonly sequences: readonly number[];
}

/** Ids decoded with special tokens and without; null where that is an error. */
export type Decoded = readonly [all: string | null, plain: string | null];

export interface Answer {
  /** For each text its ids, its row, the ids decoded; null where it has none. */
  readonly texts: readonly (null | { ids: number[]; row: RustRow; decoded: Decoded })[];
  readonly pairs: readonly (RustRow | null)[];
  readonly lists: readonly Decoded[];
  /** What the pre-tokenizer alone makes of each text; null where there is none. */
  readonly pieces: readonly (readonly string[] | null)[];
}

function rowOf(encoding: Rust.Encoding): RustRow {
  const orMinus = (values: readonly (number | undefined | null)[]): number[] => values.map((value) => value ?? -1);
  return {
    ids: encoding.getIds(),
    offsets: encoding.getOffsets(),
    words: orMinus(encoding.getWordIds()),
    types: encoding.getTypeIds(),
    special: encoding.getSpecialTokensMask(),
    sequences: orMinus(encoding.getSequenceIds()),
  };
}

async function answer({ json, texts, lists, pairs = [] }: Question): Promise<Answer | null> {
  let tokenizer: Rust.Tokenizer;
  try {
    tokenizer = Rust.Tokenizer.fromString(JSON.stringify(json));
  } catch {
    return null;
  }
  const decode = async (ids: readonly number[]): Promise<Decoded> => {
    const attempt = (skip: boolean): Promise<string | null> => tokenizer.decode([...ids], skip).catch(() => null);
    return [await attempt(false), await attempt(true)];
  };
  const encode = async (text: string): Promise<Answer['texts'][number]> => {
    try {
      const ids = (await tokenizer.encode(text, null, { addSpecialTokens: false })).getIds();
      return { ids, row: rowOf(await tokenizer.encode(text)), decoded: await decode(ids) };
    } catch {
      return null;
    }
  };
  const preTokenizer = tokenizer.getPreTokenizer();
  const cut = (text: string): string[] | null => preTokenizer?.preTokenizeString(text).map(([piece]) => piece) ?? null;
  const result: { -readonly [K in keyof Answer]: Answer[K][number][] } = {
    texts: [],
    pairs: [],
    lists: [],
    pieces: [],
  };
  for (const text of texts) result.texts.push(await encode(text));
  for (const [first, second] of pairs) result.pairs.push(await tokenizer.encode(first, second).then(rowOf, () => null));
  for (const list of lists) result.lists.push(await decode(list));
  for (const text of texts) result.pieces.push(cut(text));
  return result;
}

/** The reference for tokenizers; `close` ends its process. */
export class RustTokenizers {
  private child: ChildProcess | null = null;

  /** The answer; null where it refuses the file; 'aborted' where it failed without an error of its own. */
  async ask(question: Question): Promise<Answer | null | 'aborted'> {
    const child = (this.child ??= fork(fileURLToPath(import.meta.url), ['serve'], {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      serialization: 'advanced',
    }));
    return new Promise((done) => {
      const finish = (result: Answer | null | 'aborted'): void => {
        child.off('message', finish);
        child.off('exit', ended);
        done(result);
      };
      const ended = (): void => {
        this.child = null;
        finish('aborted');
      };
      child.on('message', finish);
      child.on('exit', ended);
      child.send(question);
    });
  }

  close(): void {
    this.child?.kill();
    this.child = null;
  }
}

if (process.argv[2] === 'serve' && process.send)
  process.on('message', (question: Question) => void answer(question).then((result) => process.send!(result)));
