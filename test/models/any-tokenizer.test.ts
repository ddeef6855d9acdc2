// Tokenizer and loadTokenizer: files, special tokens, streams, SentencePiece, damaged files.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Rust from 'tokenizers';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { AnyTokenizer } from '../../models/index.ts';
import { BertTokenizer, Tokenizer, loadTokenizer } from '../../models/index.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { specialToken } from '../../models/tokenizer/byte-level.ts';

const test = suite('any tokenizer');
let folder = '';
test.before.each(async () => {
  folder = await mkdtemp(join(tmpdir(), 'any-tokenizer-'));
});
test.after.each(async () => {
  await rm(folder, { recursive: true });
});

const write = (name: string, value: unknown): Promise<void> =>
  writeFile(join(folder, name), typeof value === 'string' ? value : JSON.stringify(value));
const refused = async (made: Promise<unknown>, ...parts: string[]): Promise<void> => {
  try {
    await made;
  } catch (error) {
    const { message } = error as Error;
    for (const part of parts) assert.ok(message.includes(part), `${message} lacks ${part}`);
    assert.not.match(message, '\n');
    return;
  }
  assert.unreachable(`"${parts[0]}" was expected`);
};

test("GPT-2's tokenizer is that of the hub", () => {
  const tokenizer = Tokenizer.gpt2();
  assert.is(tokenizer.vocabSize, 50257);
  assert.equal(Array.from(tokenizer.idsOf('Hello world')), [15496, 995]);
  assert.equal(Array.from(tokenizer.idsOf(' Hello<|endoftext|>')), [18435, 50256]);
  const { bosTokenId, eosTokenId, unkTokenId, padTokenId, clsTokenId, maskTokenId } = tokenizer;
  assert.equal([bosTokenId, eosTokenId, unkTokenId], [50256, 50256, 50256]);
  assert.equal([padTokenId, clsTokenId, maskTokenId], [undefined, undefined, undefined]);
  assert.equal([...tokenizer.specialTokenIds], [50256]);
  assert.equal([tokenizer.tokenToId('Ġthe'), tokenizer.idToToken(262)], [262, 'Ġthe']);
  assert.equal([tokenizer.tokenToId('no such token'), tokenizer.idToToken(50257)], [undefined, undefined]);
  assert.is(tokenizer.decode([15496, 50256, 995], { skipSpecialTokens: true }), 'Hello world');
  assert.is(tokenizer.decode(Int32Array.of()), '');
  for (const id of [50257, -1, 0.5]) {
    assert.throws(() => tokenizer.decode([id]), `token id ${id} is not in the vocabulary: ids go from 0 to 50256`);
    assert.throws(() => tokenizer.decodeStream().push(id), `token id ${id} is not in the vocabulary`);
  }
});

test('save and loadTokenizer give the same tokenizer; the class is that of the file', async () => {
  await Tokenizer.gpt2().save(folder);
  const loaded = await loadTokenizer(folder);
  assert.instance(loaded, Tokenizer);
  assert.equal(loaded.idsOf("it's naïve"), Tokenizer.gpt2().idsOf("it's naïve"));
  assert.is(loaded.eosTokenId, 50256);
  const config = JSON.parse(await readFile(join(folder, 'tokenizer_config.json'), 'utf8')) as JsonObject;
  assert.equal([config['tokenizer_class'], config['eos_token']], ['GPT2Tokenizer', '<|endoftext|>']);
  const map = JSON.parse(await readFile(join(folder, 'special_tokens_map.json'), 'utf8')) as JsonObject;
  assert.is(map['bos_token'], '<|endoftext|>');
  await BertTokenizer.default().save(folder);
  assert.instance(await loadTokenizer(folder), BertTokenizer);
  await rm(join(folder, 'tokenizer.json'));
  assert.instance(await loadTokenizer(folder), BertTokenizer);
});

test("BERT's tokenizer fits the interface", () => {
  const tokenizer: AnyTokenizer = BertTokenizer.default();
  assert.equal(
    [...tokenizer.specialTokenIds].sort((a, b) => a - b),
    [0, 100, 101, 102, 103],
  );
  assert.equal([tokenizer.bosTokenId, tokenizer.maskTokenId], [undefined, 103]);
  assert.equal([tokenizer.tokenToId('[MASK]'), tokenizer.tokenToId('no such token')], [103, undefined]);
  assert.equal([tokenizer.idToToken(103), tokenizer.idToToken(30522)], ['[MASK]', undefined]);
  const ids = tokenizer.idsOf('Embeddings, [MASK] of words');
  const stream = tokenizer.decodeStream({ skipSpecialTokens: true });
  const parts = Array.from(ids, (id) => stream.push(id));
  assert.is(parts.join('') + stream.end(), 'embeddings, of words');
  assert.is(parts[0], 'em');
});

test('ids alone are those with places, whatever stands between words', async () => {
  const text =
    'A\u00a0b\u0085c\u3000d  \r\n\te[MASK]f [MASK] cafe\u0301 \u0301x 日本\u200bx ' + 'y'.repeat(150) + " don't";
  const tokenizer = BertTokenizer.default();
  assert.equal(Array.from(tokenizer.idsOf(text)), tokenizer.encodeText(text).ids);
  assert.equal(Array.from(tokenizer.idsOf(text)), tokenizer.encodeText(text).ids, 'from the cache');
  assert.is(tokenizer.idsOf('').length, 0);
  // Added tokens that reach over white space: texts may not be cut there.
  await tokenizer.save(folder);
  const path = join(folder, 'tokenizer.json');
  const json = JSON.parse(await readFile(path, 'utf8')) as { added_tokens: JsonObject[] };
  const token = { ...specialToken('new york', 30522), normalized: true };
  await writeFile(path, JSON.stringify({ ...json, added_tokens: [...json.added_tokens, token] }));
  const reaching = await BertTokenizer.fromPretrained(folder);
  assert.equal(Array.from(reaching.idsOf('in New York')), [1999, 30522]);
});

test('the special tokens of the template are added where asked for', () => {
  const vocab = Object.fromEntries([...'<>abc'].map((token, id) => [token, id]));
  const template = {
    type: 'TemplateProcessing',
    single: [
      { SpecialToken: { id: '<', type_id: 0 } },
      { Sequence: { id: 'A', type_id: 0 } },
      { SpecialToken: { id: '>', type_id: 0 } },
    ],
    pair: [],
    special_tokens: { '<': { id: '<', ids: [0], tokens: ['<'] }, '>': { id: '>', ids: [1], tokens: ['>'] } },
  };
  const json = {
    added_tokens: [specialToken('<', 0), specialToken('>', 1)],
    model: { type: 'BPE', vocab, merges: [] },
    post_processor: template,
    decoder: { type: 'Fuse' },
  };
  const tokenizer = Tokenizer.fromJson(json);
  assert.equal(Array.from(tokenizer.idsOf('cab')), [4, 2, 3]);
  assert.equal(Array.from(tokenizer.idsOf('cab', { addSpecialTokens: true })), [0, 4, 2, 3, 1]);
  assert.equal(Array.from(Tokenizer.gpt2().idsOf('a', { addSpecialTokens: true })), [64]);
});

// Llama 2: SentencePiece's BPE, bytes where a character has no token.
const sentencePiece = {
  version: '1.0',
  added_tokens: [specialToken('<unk>', 0), specialToken('<s>', 1)],
  normalizer: {
    type: 'Sequence',
    normalizers: [
      { type: 'Prepend', prepend: '▁' },
      { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
    ],
  },
  pre_tokenizer: null,
  post_processor: null,
  decoder: {
    type: 'Sequence',
    decoders: [
      { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
      { type: 'ByteFallback' },
      { type: 'Fuse' },
      { type: 'Strip', content: ' ', start: 1, stop: 0 },
    ],
  },
  model: {
    type: 'BPE',
    dropout: null,
    unk_token: '<unk>',
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: true,
    byte_fallback: true,
    vocab: Object.fromEntries(
      [
        ...['<unk>', '<s>'],
        ...Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`),
        ...['▁', 'a', 'b', 'c', '▁a', 'bc', '▁abc'],
      ].map((token, id) => [token, id]),
    ),
    merges: [['▁', 'a'], ['b', 'c'], ['▁a', 'bc']], // prettier-ignore
  },
};

test('other kinds give what Rust gives', async () => {
  const tokenizer = Tokenizer.fromJson(sentencePiece);
  const rust = Rust.Tokenizer.fromString(JSON.stringify(sentencePiece));
  for (const text of ['abc', 'abc abc a', 'a 日 b', '🐋', 'x<s>abc', ' a  b']) {
    const ids = (await rust.encode(text, null, { addSpecialTokens: false })).getIds();
    assert.equal(Array.from(tokenizer.idsOf(text)), ids, text);
    assert.is(tokenizer.decode(ids), await rust.decode(ids, false), text);
    const stream = tokenizer.decodeStream();
    assert.is(ids.map((id) => stream.push(id)).join('') + stream.end(), tokenizer.decode(ids), text);
  }
  const long = Array.from({ length: 300 }, (_, i) => tokenizer.tokenToId(['▁abc', '▁a', 'bc'][i % 3]!)!);
  const stream = tokenizer.decodeStream();
  assert.is(long.map((id) => stream.push(id)).join('') + stream.end(), tokenizer.decode(long));
});

test('a text that has no ids is told, where there is no token for unknown ones', () => {
  const json = {
    model: { type: 'WordLevel', vocab: { a: 0, b: 1 }, unk_token: '<unk>' },
    pre_tokenizer: { type: 'WhitespaceSplit' },
  };
  const tokenizer = Tokenizer.fromJson(json, {}, 'words');
  assert.equal(Array.from(tokenizer.idsOf('a b a')), [0, 1, 0]);
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false };
  const words = Tokenizer.fromJson({
    ...json,
    model: { ...json.model, vocab: { ab: 0, Ġb: 1 } },
    pre_tokenizer: byteLevel,
  });
  assert.equal(Array.from(words.idsOf('ab b')), [0, 1], 'words are not taken for bytes');
  assert.throws(() => tokenizer.idsOf('a z'), /words: .*is not in the vocabulary/);
});

test('damaged files are refused in one line that names them', async () => {
  const bpe = (model: JsonObject, more: JsonObject = {}): JsonObject => ({ model: { type: 'BPE', ...model }, ...more });
  const vocab = { a: 0, b: 1, ab: 2 };
  const cases: [json: unknown, message: string][] = [
    ['{"model": ', 'is not valid JSON'],
    [[], 'where a JSON object is needed'],
    [{}, 'has no model'],
    [bpe({ merges: [] }), 'has no vocabulary'],
    [bpe({ vocab: { a: 0, b: 'one' }, merges: [] }), 'has no vocabulary'],
    [bpe({ vocab: { a: 0, b: -1 }, merges: [] }), 'has no vocabulary'],
    [bpe({ vocab: {}, merges: [] }), 'has no vocabulary'],
    [bpe({ vocab: { a: 0, b: 0 }, merges: [] }), 'gives id 0 to "a" and to "b"'],
    [bpe({ vocab }), 'has no list of merges'],
    [bpe({ vocab, merges: ['a b c'] }), 'has "a b c" as merge 0'],
    [bpe({ vocab, merges: [['a', 1]] }), 'as merge 0'],
    [
      bpe({
        vocab,
        merges: [
          ['a', 'b'],
          ['b', 'a'],
        ],
      }),
      'merge 1 ("b" and "a") needs "ba"',
    ],
    [bpe({ vocab, merges: ['a z'] }), 'merge 0 ("a" and "z") needs "z"'],
    [bpe({ vocab, merges: [] }, { added_tokens: [{ id: 9 }] }), 'added_tokens'],
    [
      bpe({ vocab, merges: [] }, { added_tokens: [specialToken('<x>', 1)] }),
      'gives id 1 to "b" and to the added token',
    ],
    [bpe({ vocab, merges: [] }, { added_tokens: [specialToken('a', 7)] }), 'gives "a" the ids 0 and 7'],
    [{ model: { type: 'NoSuchModel', vocab } }, 'has a model of type "NoSuchModel"'],
    [{ model: { type: 'x'.repeat(5000), vocab } }, `has a model of type "${'x'.repeat(59)}..., where one of`],
    [bpe({ vocab, merges: [] }, { normalizer: { type: 'NoSuchThing' } }), 'cannot be used'],
  ];
  for (const [json, message] of cases) {
    await write('tokenizer.json', json);
    await refused(loadTokenizer(folder), message, folder);
  }
  await write('tokenizer.json', bpe({ vocab, merges: ['a b'] }));
  await write('tokenizer_config.json', { eos_token: '<eos>' });
  await refused(loadTokenizer(folder), 'has no "<eos>", which tokenizer_config.json names as eos_token');
  await rm(join(folder, 'tokenizer.json'));
  await refused(loadTokenizer(folder), 'has neither tokenizer.json nor vocab.txt');
  await refused(Tokenizer.fromPretrained(join(folder, 'none')), 'does not exist');
  await write('vocab.txt', '');
  await refused(loadTokenizer(folder), 'is empty');
  await refused(Tokenizer.fromPretrained(folder), 'tokenizer.json does not exist');
});

test.run();
