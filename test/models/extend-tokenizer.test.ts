// New words in WordPiece and byte-level BPE, held against Rust `tokenizers` reading the extended files.
import { join } from 'node:path';
import { Tokenizer as Rust } from 'tokenizers';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BertTokenizer, extendTokenizer, loadTokenizer, Tokenizer } from '../../models/index.ts';
import { refuses } from '../support/objectives.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('extending a tokenizer');

let folder = '';
temporaryFolder(test, (path) => (folder = path));

const text =
  'The autograd tape of a tokenizer: backpropagation through tokenizers, autograding, and WGSL shaders; ' +
  'backprop, 語 and an Autograd.';

async function checkAgainstRust(tokenizer: BertTokenizer | Tokenizer): Promise<void> {
  await tokenizer.save(folder);
  const rust = Rust.fromFile(join(folder, 'tokenizer.json'));
  const ids = (await rust.encode(text, null, { addSpecialTokens: false })).getIds();
  assert.equal(Array.from(tokenizer.idsOf(text)), ids);
  const loaded = await loadTokenizer(folder);
  assert.is(loaded.constructor, tokenizer.constructor);
  assert.equal(Array.from(loaded.idsOf(text)), ids);
  assert.is(loaded.vocabSize, tokenizer.vocabSize);
}

test('WordPiece: a word is one token behind the others, all else as it was', async () => {
  const old = BertTokenizer.default();
  const before = old.idsOf(text);
  const words = ['autograd', 'tokenizer', 'the', 'WGSL', 'autograd', 'backpropagation'];
  const { tokenizer, pieces } = extendTokenizer(old, words);
  assert.instance(tokenizer, BertTokenizer);
  assert.is(tokenizer.vocabSize, 30522 + 4);
  const added = ['autograd', 'tokenizer', 'wgsl', 'backpropagation'];
  added.forEach((word, i) => {
    assert.equal(Array.from(tokenizer.idsOf(word)), [30522 + i]);
    assert.equal(pieces[i], Array.from(old.idsOf(word)));
    assert.is(tokenizer.decode(tokenizer.idsOf(`a ${word} here`)), `a ${word} here`);
  });
  const after = Array.from(tokenizer.idsOf(text)).flatMap((id) => (id < 30522 ? [id] : pieces[id - 30522]!));
  assert.equal(after.slice(0, 3), Array.from(before.slice(0, 3)));
  assert.equal(Array.from(old.idsOf(text)), Array.from(before), 'the old tokenizer is as it was');
  await checkAgainstRust(tokenizer);
});

test('byte-level BPE: words with their spaces, joined left to right, by merges that tear no other', async () => {
  const old = Tokenizer.gpt2();
  const words = [' autograd', ' tokenizer', ' the', ' backpropagation', ' backprop', ' WGSL', ' tokenizers', ' 語'];
  const { tokenizer, pieces } = extendTokenizer(old, words);
  assert.is(tokenizer.vocabSize, old.vocabSize + pieces.length);
  for (const word of words) {
    const ids = tokenizer.idsOf(word);
    assert.is(ids.length, 1, word);
    const was = Array.from(old.idsOf(word));
    assert.equal(ids[0]! < old.vocabSize ? [ids[0]] : pieces[ids[0]! - old.vocabSize], was);
  }
  pieces.forEach((of, i) => assert.is(old.decode(of), tokenizer.decode([old.vocabSize + i]), 'pieces spell the token'));
  assert.is(tokenizer.decode(tokenizer.idsOf(text)), text);
  await checkAgainstRust(tokenizer);
});

test('nothing new changes nothing', () => {
  const { tokenizer, pieces } = extendTokenizer(BertTokenizer.default(), ['the', 'cat']);
  assert.is(pieces.length, 0);
  assert.is(tokenizer.vocabSize, 30522);
});

test('words that cannot be one token are refused in one line', () => {
  const bert = BertTokenizer.default();
  refuses(() => extendTokenizer(bert, ['two words']), /"two words" cannot be one token/);
  refuses(() => extendTokenizer(bert, ['semi-colon']), /"semi-colon" cannot be one token/);
  refuses(() => extendTokenizer(bert, ['a\u{1F600}']), /characters that the vocabulary lacks/);
  refuses(() => extendTokenizer(bert, ['']), /""/);
  refuses(() => extendTokenizer(Tokenizer.gpt2(), [' two words']), /" two words" cannot be one token/);
});

test.run();
