// Tokenizer against goldens of Rust `tokenizers` for kinds and options that are easily got wrong, and what is
// refused: expressions that would not end, options that are not known.
import { readFile } from 'node:fs/promises';
import Rust from 'tokenizers';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BertTokenizer, Tokenizer } from '../../models/index.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { GPT2_PATTERN, expressionPattern } from '../../models/tokenizer/pattern.ts';
import { hangingExpressions } from '../support/tokenizers.ts';

// Made by test/golden/golden_tokenizer_kinds.py.
interface Golden {
  name: string;
  json: JsonObject;
  texts: [text: string, ids: number[], whole: number[], decoded: string, plain: string][];
}

const golden = JSON.parse(
  await readFile(new URL('../golden/tokenizer-kinds.json', import.meta.url), 'utf8'),
) as Golden[];
const test = suite('tokenizer kinds');

for (const { name, json, texts } of golden)
  test(`${name}, as in Rust`, () => {
    const tokenizer = Tokenizer.fromJson(json);
    for (const [text, ids, whole, decoded, plain] of texts) {
      const label = JSON.stringify(text);
      assert.equal(Array.from(tokenizer.idsOf(text)), ids, `ids of ${label}`);
      assert.equal(Array.from(tokenizer.idsOf(text, { addSpecialTokens: true })), whole, `all ids of ${label}`);
      assert.is(tokenizer.decode(ids), decoded, `text of ${label}`);
      assert.is(tokenizer.decode(ids, { skipSpecialTokens: true }), plain, `plain text of ${label}`);
    }
  });

const letters: JsonObject = { type: 'BPE', vocab: { '▁': 0, a: 1, b: 2 }, merges: [], unk_token: 'a' };
const split = (Regex: string, behavior = 'Isolated'): JsonObject => ({
  type: 'Split',
  pattern: { Regex },
  behavior,
  invert: false,
});

test('expressions that try for ever end, and find what Oniguruma finds', () => {
  for (const expression of hangingExpressions) {
    const forty = 'a'.repeat(40);
    const found = Array.from(expressionPattern(expression).matches(forty));
    assert.ok(
      found.every(([start, end]) => start === end || end === 40),
      expression,
    );
    const parts: JsonObject[] = [
      { pre_tokenizer: split(expression) },
      {
        pre_tokenizer: {
          type: 'Sequence',
          pretokenizers: [split(expression), { type: 'ByteLevel', add_prefix_space: false }],
        },
      },
      { decoder: { type: 'Replace', pattern: { Regex: expression }, content: '' } },
    ];
    for (const part of parts) {
      const tokenizer = Tokenizer.fromJson({ model: letters, ...part });
      assert.is(tokenizer.idsOf(forty).length, 40, expression);
      assert.type(tokenizer.decode(tokenizer.idsOf(forty)), 'string');
    }
  }
  const cut = Tokenizer.fromJson({ model: letters, pre_tokenizer: split('(?:a+)+b', 'Removed') });
  assert.equal(Array.from(cut.idsOf(`${'a'.repeat(40)}ba`)), [1]);
});

test('well-known patterns run on the engine of JavaScript, and find the same', () => {
  const llama3 =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" +
    '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
  const [upper, lower] = ['[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]', '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]'];
  const [before, after] = ['[^\\r\\n\\p{L}\\p{N}]?', "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"];
  const o200k =
    `${before}${upper}*${lower}+${after}|${before}${upper}+${lower}*${after}|` +
    '\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
  const deepSeek =
    '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|' +
    ' ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
  const clip = "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";
  const texts = ["It's  ΣΑ\u0301b\n\n  x'LL 1234,\r\n\t$x ", '   ', 'ABCdef\u200d漢字!!\n', '\u0085 \ufeffa', ''];
  for (const pattern of [GPT2_PATTERN, llama3, llama3.replace('{1,3}', ''), o200k, deepSeek, clip, '[0-9]{3}', ' ']) {
    const json = { added_tokens: [], model: letters, pre_tokenizer: split(pattern) };
    const rust = Rust.Tokenizer.fromString(JSON.stringify({ version: '1.0', ...json })).getPreTokenizer()!;
    const made = expressionPattern(pattern);
    assert.ok(made.native, pattern);
    for (const text of texts) {
      const pieces: string[] = [];
      let done = 0;
      for (const [start, end] of [...made.matches(text), [text.length, text.length] as const]) {
        pieces.push(text.slice(done, start), text.slice(start, end));
        done = end;
      }
      const expected = rust.preTokenizeString(text).map(([piece]) => piece);
      assert.equal(
        pieces.filter((piece) => piece !== ''),
        expected,
        `${pattern} on ${JSON.stringify(text)}`,
      );
    }
  }
  for (const slow of ['(a+)+$', 'a*b', '\\s*[\\r\\n]+', `${'a?'.repeat(30)}a{30}`, 'a+a+b', '[ab]*a', '\\s+(?!\\S)'])
    assert.is(expressionPattern(slow).native, null, slow);
});

test('a long text does not overflow the stack', () => {
  const unigram = {
    type: 'Unigram',
    unk_id: 0,
    vocab: [
      ['<unk>', 0],
      ['▁', -2],
      ['a', -1],
      ['aa', -1.5],
    ],
  };
  const tokenizer = Tokenizer.fromJson({
    model: unigram,
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always' },
  });
  assert.is(tokenizer.idsOf('a'.repeat(600_000)).length, 300_001);
  assert.is(tokenizer.idsOf('é'.repeat(600_000)).length, 2);
});

const bpe = (model: JsonObject, more: JsonObject = {}): JsonObject => ({ model: { ...letters, ...model }, ...more });
const refusals: [name: string, json: JsonObject, message: RegExp][] = [
  ['dropout', bpe({ dropout: 0.1 }), /its model BPE cannot be used: its dropout/],
  ['an option of another type', bpe({ fuse_unk: 'yes' }), /its fuse_unk is "yes", where true or false is needed/],
  ...['toString', 'constructor', '__proto__', 'hasOwnProperty'].map((type): [string, JsonObject, RegExp] => [
    `a decoder ${type}`,
    bpe({}, { decoder: { type } }),
    /its decoder .* cannot be used/,
  ]),
  ['a normalizer without a type', bpe({}, { normalizer: {} }), /its normalizer cannot be used: it is \{\}/],
  [
    'a pre-tokenizer of scripts',
    bpe({}, { pre_tokenizer: { type: 'UnicodeScripts' } }),
    /UnicodeScripts cannot be used/,
  ],
  ['a processor toString', bpe({}, { post_processor: { type: 'toString' } }), /its post_processor toString/],
  ['a back reference', bpe({}, { pre_tokenizer: split('(a)\\1') }), /"\(a\)\\\\1" is not supported: it has \\1/],
  [
    'a repeated part that may be empty',
    bpe({}, { pre_tokenizer: split('(?:a*a*)*b') }),
    /repeated part that may be empty/,
  ],
  ['a look-behind of open length', bpe({}, { pre_tokenizer: split('(?<=a+)b') }), /a look-behind of open length/],
  ['a behavior in small letters', bpe({}, { pre_tokenizer: split('a', 'isolated') }), /its behavior is "isolated"/],
  [
    'Metaspace whose scheme and flag differ',
    bpe({}, { pre_tokenizer: { type: 'Metaspace', replacement: '▁', add_prefix_space: false } }),
    /its add_prefix_space is false/,
  ],
  [
    'a charsmap that is cut',
    bpe({}, { normalizer: { type: 'Precompiled', precompiled_charsmap: 'AAQAAA==' } }),
    /precompiled_charsmap is damaged/,
  ],
  [
    'a template without the text',
    bpe({}, { post_processor: { type: 'TemplateProcessing', single: [], special_tokens: {} } }),
    /its single has the text 0 times/,
  ],
  ['another version', bpe({}, { version: '2.0' }), /version "2.0"/],
  ['half of a surrogate pair', bpe({ vocab: { a: 0, '\ud800': 1 } }), /half of a surrogate pair/],
  [
    'an added token that Transformers would number otherwise',
    bpe({}, { added_tokens: [{ id: 7, content: '<x>' }] }),
    /gives the added token "<x>" the id 7, where Transformers would use 3/,
  ],
  [
    'an added token of which nothing is left',
    bpe(
      {},
      {
        normalizer: { type: 'Strip', strip_left: true, strip_right: true },
        added_tokens: [{ id: 3, content: ' ', normalized: true }],
      },
    ),
    /its added token " " is nothing once normalised/,
  ],
];
for (const [name, json, message] of refusals)
  test(`refuses ${name} in one line that names the file`, () => {
    try {
      Tokenizer.fromJson(json, {}, 'folder/tokenizer.json');
    } catch (error) {
      assert.match((error as Error).message, message);
      assert.ok(/^folder\/tokenizer\.json[^\n]*$/.test((error as Error).message), (error as Error).message);
      return;
    }
    assert.unreachable('it was accepted');
  });

test("BERT's decoder is that of its file", () => {
  const vocab = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a', '##b'];
  const files = (decoder: JsonObject): JsonObject => ({
    model: {
      ...{ type: 'WordPiece', unk_token: '[UNK]', continuing_subword_prefix: '##', max_input_chars_per_word: 100 },
      vocab: Object.fromEntries(vocab.map((token, id) => [token, id])),
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    normalizer: { type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, lowercase: true },
    added_tokens: [{ id: 7, content: 'New', normalized: true }],
    decoder,
  });
  const tokenizer = BertTokenizer.fromJson(files({ type: 'WordPiece', prefix: '##', cleanup: true }));
  assert.is(tokenizer.decode([5, 6, 5, 7]), 'ab a new', 'an added token decodes to its normalised form');
  assert.equal(Array.from(tokenizer.idsOf('NEW ab')), [7, 5, 6]);
  // A part of a text is not looked through for added tokens: "_" goes on with the word.
  // Half of a surrogate pair is U+FFFD, as in Rust.
  const special = { normalized: false, special: true };
  const single = BertTokenizer.fromJson({
    ...files({ type: 'Fuse' }),
    normalizer: null,
    added_tokens: [
      { id: 7, content: 'ab', single_word: true, ...special },
      { id: 8, content: 'a\ufffd', ...special },
    ],
  });
  for (const [text, ids] of [
    ['ab_', [5, 6, 1]],
    ['ab.', [7, 1]],
    ['a\ud800', [8]],
  ] as const) {
    assert.equal(Array.from(single.idsOf(text)), ids, text);
    assert.equal(single.encodeText(text).ids, ids, text);
  }
  assert.throws(() => BertTokenizer.fromJson(files({ type: 'toString' })), /its decoder toString cannot be used/);
});

test.run();
