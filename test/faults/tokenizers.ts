// Small tokenizer.json files of every kind and option against Rust `tokenizers` (its npm binding): the same
// ids and the same text back, or refused by name when loaded; expressions likewise; and those that make a
// backtracking engine hang.
import { BertTokenizer, Tokenizer } from '../../models/index.ts';
import type { AnyTokenizer } from '../../models/index.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { Random } from '../../common/random.ts';
import { wellFormed } from '../../models/tokenizer/normalizers.ts';
import { expressionPattern } from '../../models/tokenizer/pattern.ts';
import { Tally } from '../support/faults.ts';
import type { Decoded, RustRow } from '../support/rust-tokenizers.ts';
import { RustTokenizers } from '../support/rust-tokenizers.ts';
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';
import {
  hangingExpressions,
  randomBert,
  randomExpression,
  randomText,
  randomTokenizer,
} from '../support/tokenizers.ts';

export const name = 'tokenizer.json as in Rust tokenizers';

/** How a file fared; Rust itself refuses some that are made, or aborts. */
export type Fate = 'equal' | 'refused' | 'refused by Rust' | 'aborted by Rust' | 'wrong';

export async function run({ seed, short }: FaultOptions): Promise<FaultOutcome[]> {
  const random = new Random(seed);
  const rust = new RustTokenizers();
  const [kinds, bert, expressions, hanging] = [new Tally(), new Tally(), new Tally(), new Tally()];
  try {
    for (let i = 0; i < (short ? 300 : 15_000); i++)
      await compareFile(randomTokenizer(random), random, rust, kinds, Tokenizer);
    for (let i = 0; i < (short ? 50 : 3_000); i++)
      await compareFile(randomBert(random), random, rust, bert, BertTokenizer);
    for (let i = 0; i < (short ? 200 : 10_000); i++)
      await compareExpression(randomExpression(random), random, rust, expressions);
  } finally {
    rust.close();
  }
  for (const expression of hangingExpressions)
    for (const text of ['a'.repeat(40), 'a'.repeat(20_000), `${'a'.repeat(2_000)} `.repeat(5)])
      await hanging.try(`${expression} on ${text.length} characters`, () => search(expression, text));
  return [
    kinds.outcome(`${name}: all kinds`),
    bert.outcome(`${name}: BERT's kind`),
    expressions.outcome('expressions as in Oniguruma'),
    hanging.outcome('expressions that try for ever'),
  ];
}

/** Loads a file both ways and compares ids and texts of some random texts and ids. */
export async function compareFile(
  json: JsonObject,
  random: Random,
  rust: RustTokenizers,
  tally: Tally,
  kind: { fromJson(json: JsonObject): Tokenizer | BertTokenizer },
): Promise<Fate> {
  const label = JSON.stringify(json);
  const texts = Array.from({ length: 6 }, () => randomText(random));
  const numbers = Array.from({ length: 6 }, () => Array.from({ length: random.int(6) }, () => random.int(1 << 20)));
  const ours = attempt(() => kind.fromJson(json));
  if (ours instanceof Error) {
    await tally.try(label, () => {
      if (ours.message.includes('\n') || !ours.message.startsWith('the tokenizer')) throw ours;
    });
    return 'refused';
  }
  const known = (id: number): boolean => ours.idToToken(id) !== undefined;
  const lists = numbers
    .map((list) => list.map((number) => number % ours.vocabSize).filter(known))
    .filter((list) => list.length > 0);
  const pairs = texts.slice(1).map((text, i) => [texts[i]!, text] as const);
  const expected = await rust.ask({ json, texts, lists, pairs });
  if (expected === null) return 'refused by Rust';
  if (expected === 'aborted') return 'aborted by Rust';
  let fate: Fate = 'equal';
  const same = (what: string, found: () => unknown, wanted: unknown): Promise<void> =>
    tally.try(`${what} by ${label}`, () => {
      const [a, b] = [JSON.stringify(found()), JSON.stringify(wanted)];
      if (a === b) return;
      fate = 'wrong';
      throw new Error(`${a}, in Rust ${b}`);
    });
  const decoded = (ids: readonly number[], wanted: Decoded): unknown =>
    wanted.map((text, i) => (text === null ? null : ours.decode(ids, { skipSpecialTokens: i === 1 })));
  for (const [i, text] of texts.entries()) {
    const wanted = expected.texts[i];
    if (!wanted) continue; // without ids there: an error here too, or left out
    const { ids, row, decoded: texts } = wanted;
    await same(`ids of ${JSON.stringify(text)}`, () => Array.from(ours.idsOf(text)), ids);
    if (json['post_processor'] !== null || ours instanceof Tokenizer) {
      await same(
        `ids with special tokens of ${JSON.stringify(text)}`,
        () => Array.from(ours.idsOf(text, { addSpecialTokens: true })),
        row.ids,
      );
      await same(`row of ${JSON.stringify(text)}`, () => told(json, rowOf(ours, [text])), told(json, row));
    }
    if (ids.length > 0) await same(`text of ${ids.join(' ')}`, () => decoded(ids, texts), texts);
  }
  for (const [i, pair] of pairs.entries())
    if (expected.pairs[i] && (json['post_processor'] !== null || ours instanceof Tokenizer))
      await same(`row of ${JSON.stringify(pair)}`, () => told(json, rowOf(ours, pair)), told(json, expected.pairs[i]));
  for (const [i, list] of lists.entries())
    await same(`text of ${list.join(' ')}`, () => decoded(list, expected.lists[i]!), expected.lists[i]);
  return fate;
}

/**
 * The part of a row in which Rust can be followed: it counts the bytes of a prefix and a suffix among those
 * of the text, and of several processors the last but one forgets which tokens are special.
 */
function told({ model, post_processor: processor }: JsonObject, row: RustRow): Partial<RustRow> {
  const { byte_fallback: bytes, continuing_subword_prefix: prefix, end_of_word_suffix: suffix } = model as JsonObject;
  const { offsets, sequences, ...rest } = row;
  return {
    ...rest,
    ...(bytes === true && (prefix ?? suffix ?? null) !== null ? {} : { offsets }),
    ...((processor as JsonObject | null)?.['type'] === 'Sequence' ? {} : { sequences }),
  };
}

/** A text or a pair as the row that Rust has of it, with places counted in characters. */
export function rowOf(tokenizer: AnyTokenizer, texts: readonly [string, string?]): RustRow {
  const [first, second] = texts;
  const batch = second === undefined ? [first] : ([[first, second]] as const);
  const row = tokenizer.encodeToArrays(batch, {
    returnOffsets: true,
    returnSpecialTokensMask: true,
    returnWordIds: true,
    returnSequenceIds: true,
  });
  const sequences = Array.from(row.sequenceIds!);
  const count = (text: number, unit: number): number => Array.from((texts[text] ?? '').slice(0, unit)).length;
  return {
    ids: Array.from(row.inputIds),
    offsets: sequences.map((text, i) => [count(text, row.offsets![2 * i]!), count(text, row.offsets![2 * i + 1]!)]),
    words: Array.from(row.wordIds!),
    types: Array.from(row.tokenTypeIds),
    special: Array.from(row.specialTokensMask!),
    sequences,
  };
}

/** Compares what an expression cuts random texts into. */
async function compareExpression(
  expression: string,
  random: Random,
  rust: RustTokenizers,
  tally: Tally,
): Promise<void> {
  const texts = Array.from({ length: 5 }, () => wellFormed(randomText(random)));
  const ours = attempt(() => expressionPattern(expression));
  if (ours instanceof Error) {
    await tally.try(expression, () => {
      if (ours.message.includes('\n') || !ours.message.startsWith('it ')) throw ours;
    });
    return;
  }
  const split = { type: 'Split', pattern: { Regex: expression }, behavior: 'Isolated', invert: false };
  const model = { type: 'BPE', vocab: { a: 0 }, merges: [] };
  const expected = await rust.ask({ json: { added_tokens: [], pre_tokenizer: split, model }, texts, lists: [] });
  if (expected === null || expected === 'aborted') return;
  for (const [i, text] of texts.entries())
    await tally.try(`${expression} on ${JSON.stringify(text)}`, () => {
      const pieces: string[] = [];
      let done = 0;
      for (const [start, end] of [...ours.matches(text), [text.length, text.length] as const]) {
        pieces.push(text.slice(done, start), text.slice(start, end));
        done = end;
      }
      const found = JSON.stringify(pieces.filter((piece) => piece !== ''));
      const wanted = JSON.stringify(expected.pieces[i]);
      if (found !== wanted) throw new Error(`${found}, in Rust ${wanted}`);
    });
}

/** Finds all matches; an expression that would take too long may say so. */
function search(expression: string, text: string): void {
  const found = attempt(() => Array.from(expressionPattern(expression).matches(text)));
  if (found instanceof Error && !/^(it |an expression )[^\n]*$/.test(found.message)) throw found;
}

function attempt<T>(make: () => T): T | Error {
  try {
    return make();
  } catch (error) {
    return error as Error;
  }
}
