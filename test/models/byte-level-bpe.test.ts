// Byte-level BPE against Rust `tokenizers` (its npm binding), with GPT-2's vocabulary and the pre-tokenisers
// of several models.
import Rust from 'tokenizers';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Tokenizer } from '../../models/index.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { gpt2TokenizerJson } from '../../models/tokenizer/byte-level.ts';
import { MergeTable } from '../../models/tokenizer/merge-table.ts';
import { Random } from '../../common/random.ts';

const test = suite('byte-level BPE');
const gpt2 = gpt2TokenizerJson();

const LLAMA3 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|" +
  ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const QWEN = LLAMA3.replace('{1,3}', '');
const byteLevel = (prefix: boolean, pattern: boolean): JsonObject => ({
  type: 'ByteLevel',
  add_prefix_space: prefix,
  trim_offsets: true,
  use_regex: pattern,
});
const split = (Regex: string): JsonObject => ({
  type: 'Split',
  pattern: { Regex },
  behavior: 'Isolated',
  invert: false,
});
const sequence = (...pretokenizers: JsonObject[]): JsonObject => ({ type: 'Sequence', pretokenizers });
const digits = (each: boolean): JsonObject => ({ type: 'Digits', individual_digits: each });
const added = (content: string, id: number, options: JsonObject = {}): JsonObject => ({
  ...{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
  ...options,
});

const variants: Record<string, JsonObject> = {
  'GPT-2': {},
  'GPT-2 with a space before': { pre_tokenizer: byteLevel(true, true) },
  'Llama 3': {
    pre_tokenizer: sequence(split(LLAMA3), byteLevel(false, false)),
    model: { ...(gpt2['model'] as JsonObject), ignore_merges: true },
  },
  'Qwen 2': { pre_tokenizer: sequence(split(QWEN), byteLevel(false, false)), normalizer: { type: 'NFC' } },
  SmolLM: { pre_tokenizer: sequence(digits(true), byteLevel(false, true)) },
  'digits and a space before': { pre_tokenizer: sequence(digits(false), byteLevel(true, false)) },
  'a pattern with gaps': { pre_tokenizer: sequence(split('\\p{Lu}\\p{Ll}+'), byteLevel(false, false)) },
  'added tokens': {
    normalizer: { type: 'NFC' },
    added_tokens: [
      added('<|endoftext|>', 50256),
      added('<mask>', 50257, { lstrip: true }),
      added('café', 50258, { normalized: true, special: false }),
      added('<a b>', 50259, { rstrip: true }),
      added('ingx', 50260, { single_word: true, special: false }),
      added('<é>', 50261),
    ],
  },
};

// Stretches of characters that were assigned long ago: the tables of both sides know them.
// prettier-ignore
const RANGES: readonly (readonly [number, number])[] = [
  [0x20, 0x7e], [0x61, 0x7a], [0x61, 0x7a], [0x41, 0x5a], [0x00, 0x20], [0x7f, 0xa0], [0xa1, 0x24f],
  [0x250, 0x2ff], [0x300, 0x36f], [0x391, 0x3a1],
  [0x3a3, 0x3c9], [0x400, 0x4ff], [0x5d0, 0x5ea], [0x620, 0x655], [0x660, 0x669], [0x904, 0x939], [0x966, 0x96f],
  [0xe01, 0xe3a], [0x1100, 0x1112],
  [0xac00, 0xd7a3], [0x1e00, 0x1eff], [0x2000, 0x2064], [0x2028, 0x2029], [0x20a0, 0x20be], [0x2100, 0x218a],
  [0x2460, 0x24ff], [0x3000, 0x3030],
  [0x3041, 0x3096], [0x30a0, 0x30ff], [0x4e00, 0x9fd5], [0xe000, 0xe010], [0xfb00, 0xfb06], [0xfe00, 0xfe0f],
  [0xfeff, 0xfeff], [0xff01, 0xff60],
  [0xfffc, 0xfffd], [0x1d400, 0x1d454], [0x1f300, 0x1f579], [0x1f600, 0x1f64f], [0x20000, 0x2a6d6],
];
// prettier-ignore
const PARTS = [
  "don't", " I'LL", "we'Ve", "'\u017f", "'\u212a", '  ', ' \n', '\n\n', '\r\n', '\t', '\u00a0', '\u0085', ' 12345',
  '67', '½', '²', ' the', 'ing', 'Hello',
  ' World', 'ingx', ' ingx', '<mask>', ' \u0085<mask>', 'café', 'cafe\u0301', '<a b> ', '<a b>\ufeff', '<é>',
  '<|endoftext|>', '👨‍👩‍👧‍👦', '👍🏽', 'é', 'a\u0301', '...', ' !!',
];

function randomTexts(count: number): string[] {
  const random = new Random(7);
  const pick = <T>(items: readonly T[]): T => items[random.int(items.length)]!;
  const part = (): string => {
    if (random.int(2) === 0) return pick(PARTS);
    const [first, last] = pick(RANGES);
    const codes = Array.from({ length: 1 + random.int(6) }, () => first + random.int(last - first + 1));
    return String.fromCodePoint(...codes);
  };
  return Array.from({ length: count }, () => Array.from({ length: 1 + random.int(12) }, part).join(''));
}
const texts = ['', ' ', 'a', 'a'.repeat(3000), '日'.repeat(500), ' '.repeat(999), ...PARTS, ...randomTexts(400)];

for (const [name, change] of Object.entries(variants)) {
  const json = { ...gpt2, ...change };
  test(`${name}: ids and texts are those of Rust`, async () => {
    const ours = Tokenizer.fromJson(json);
    const rust = Rust.Tokenizer.fromString(JSON.stringify(json));
    for (const text of texts) {
      const label = JSON.stringify(text);
      const ids = (await rust.encode(text, null, { addSpecialTokens: false })).getIds();
      assert.equal(Array.from(ours.idsOf(text)), ids, label);
      assert.equal(Array.from(ours.idsOf(text)), ids, `${label}, from the cache`);
      for (const skipSpecialTokens of [false, true]) {
        const decoded = ours.decode(ids, { skipSpecialTokens });
        assert.is(decoded, ids.length > 0 ? await rust.decode(ids, skipSpecialTokens) : '', label);
        const stream = ours.decodeStream({ skipSpecialTokens });
        const parts = ids.map((id) => stream.push(id));
        assert.is(parts.join('') + stream.end(), decoded, label);
      }
    }
  });
}

test('any ids decode as in Rust, also where they make no whole characters', async () => {
  const ours = Tokenizer.gpt2();
  const rust = Rust.Tokenizer.fromString(JSON.stringify(gpt2));
  const random = new Random(9);
  for (let i = 0; i < 500; i++) {
    // Among the first 256 are the bytes.
    const ids = Array.from({ length: 1 + random.int(8) }, () => random.int(random.int(2) === 0 ? 256 : 50257));
    const decoded = await rust.decode(ids, false);
    assert.is(ours.decode(ids), decoded);
    const stream = ours.decodeStream();
    assert.is(ids.map((id) => stream.push(id)).join('') + stream.end(), decoded);
  }
});

test('text comes back unchanged', () => {
  const ours = Tokenizer.gpt2();
  for (const text of texts) assert.is(ours.decode(ours.idsOf(text)), text);
  // A half of a surrogate pair has no UTF-8.
  assert.is(ours.decode(ours.idsOf('a\ud83d')), 'a\uFFFD');
});

test('a book in one text gives the ids of its parts', () => {
  const tokenizer = Tokenizer.gpt2();
  const part = tokenizer.idsOf(' one more line of a book,\n');
  const ids = tokenizer.idsOf(' one more line of a book,\n'.repeat(200_000));
  assert.is(ids.length, 200_000 * part.length);
  assert.equal(ids.slice(-part.length), part);
});

test('a stream waits for whole characters and goes on after its end', () => {
  const stream = Tokenizer.gpt2().decodeStream();
  const ids = Tokenizer.gpt2().idsOf('a🐋');
  assert.equal(
    Array.from(ids, (id) => stream.push(id)),
    ['a', ...Array.from({ length: ids.length - 2 }, () => ''), '🐋'],
  );
  stream.push(ids[1]!);
  assert.is(stream.end(), '\uFFFD');
  assert.is(stream.push(ids[0]!), 'a');
});

test('merges go by rank, of equal ones the first place comes first', () => {
  // a b c: 0 1 2; "bc" before "ab"; "aa" takes the first two of three.
  const table = new MergeTable(
    [
      [1, 2, 3],
      [0, 1, 4],
      [0, 0, 5],
    ],
    6,
  );
  assert.equal(table.apply([0, 1, 2]), [0, 3]);
  assert.equal(table.apply([0, 1, 0, 1, 2]), [4, 0, 3]);
  assert.equal(table.apply([0, 0, 0]), [5, 0]);
  assert.equal(table.apply([2]), [2]);
  assert.equal(table.apply([]), []);
});

test.run();
