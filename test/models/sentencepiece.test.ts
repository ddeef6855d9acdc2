// Tokenizers of SentencePiece against Transformers' converters: test/golden/golden_sentencepiece.py made the
// files.
import { readFileSync } from 'node:fs';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loadTokenizer, Tokenizer } from '../../models/index.ts';
import { tokenizerOf } from '../../models/gguf/tokenizer.ts';
import { readSentencePiece } from '../../models/tokenizer/sentencepiece-file.ts';
import { Random } from '../../common/random.ts';
import { failure } from '../support/failure.ts';
import { goldenFile } from '../support/golden.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

interface Rows {
  readonly ids: readonly (readonly number[])[];
  readonly decoded: readonly string[];
}

interface Golden {
  readonly texts: readonly string[];
  readonly gguf: Readonly<Record<string, Rows>>;
  readonly settings: Readonly<Record<'llama' | 'gemma', Readonly<Record<string, unknown>>>>;
  readonly models: Readonly<Record<string, Rows & { readonly model: string; readonly pair: readonly number[] }>>;
}

// SENTENCEPIECE_GOLDEN names another file of the same make, with more texts.
const golden = JSON.parse(
  readFileSync(process.env['SENTENCEPIECE_GOLDEN'] ?? goldenFile('sentencepiece.json'), 'utf8'),
) as Golden;
const test = suite('sentencepiece');
let folder = '';
temporaryFolder(test, (made) => (folder = made));

const fileNames: Readonly<Record<string, string>> = {
  XLMRobertaTokenizer: 'sentencepiece.bpe.model',
  MBartTokenizer: 'sentencepiece.bpe.model',
  DebertaV2Tokenizer: 'spm.model',
  LlamaTokenizer: 'tokenizer.model',
  GemmaTokenizer: 'tokenizer.model',
};

/** A folder with a family's .model file and the name of its class. */
async function folderOf(family: string, config: object = { tokenizer_class: family }): Promise<string> {
  const made = join(folder, family);
  await mkdir(made, { recursive: true });
  const { model } = golden.models[family]!;
  await copyFile(goldenFile(`sentencepiece-${model}.model`), join(made, fileNames[family] ?? 'spiece.model'));
  await writeFile(join(made, 'tokenizer_config.json'), JSON.stringify(config));
  return made;
}

function checkRows(tokenizer: Tokenizer, { ids, decoded }: Rows, label: string, special: boolean): void {
  golden.texts.forEach((text, i) => {
    const shown = `${label}: ${JSON.stringify(text)}`;
    const found = [...tokenizer.idsOf(text, { addSpecialTokens: special })];
    assert.equal(found, [...ids[i]!], shown);
    assert.is(tokenizer.decode(found, { skipSpecialTokens: special }), decoded[i], shown);
  });
}

for (const family of Object.keys(golden.models)) {
  test(`${family}: ids and texts of a .model file are those of Transformers`, async () => {
    const tokenizer = (await loadTokenizer(await folderOf(family))) as Tokenizer;
    checkRows(tokenizer, golden.models[family]!, family, true);
    const pair = tokenizer.encode([[golden.texts[5]!, golden.texts[10]!]]);
    assert.equal(Array.from(await pair.inputIds.data()), [...golden.models[family]!.pair]);
    // What is saved is a tokenizer.json, which is read as it is.
    const files = tokenizer.filesToSave('').map((file) => [file.path, String(file.data)] as const);
    const saved = JSON.parse(files.find(([path]) => path.endsWith('tokenizer.json'))![1]) as Record<string, never>;
    assert.equal([...Tokenizer.fromJson(saved).idsOf('a fox')], [...tokenizer.idsOf('a fox')]);
  });
}

for (const architecture of Object.keys(golden.gguf)) {
  test(`GGUF: the tokenizer of the kind llama of a ${architecture} gives Transformers' ids and texts`, () => {
    const { tokenizer, config } = tokenizerOf(metadataOf({}, architecture), 'x.gguf');
    checkRows(Tokenizer.fromJson(tokenizer, config), golden.gguf[architecture]!, architecture, false);
  });
}

function metadataOf(other: object, architecture = 'llama'): Map<string, never> {
  const { tokens, scores, token_type } = golden.settings[architecture === 'gemma2' ? 'gemma' : 'llama'];
  const settings = {
    ...{ model: 'llama', tokens, scores, token_type, bos_token_id: 1 },
    ...other,
  };
  return new Map([
    ['general.architecture', architecture as never],
    ...Object.entries(settings).map(([key, value]): [string, never] => [`tokenizer.ggml.${key}`, value as never]),
  ]);
}

test('GGUF: texts begin with their own token unless the file says no, and have a space before them likewise', () => {
  const read = (other: object): Tokenizer => {
    const { tokenizer, config } = tokenizerOf(metadataOf(other), 'x.gguf');
    return Tokenizer.fromJson(tokenizer, config);
  };
  const [usual, bare] = [read({}), read({ add_bos_token: false, add_space_prefix: false })];
  assert.is(usual.idsOf('fox', { addSpecialTokens: true })[0], 1);
  const ids = [...bare.idsOf('fox', { addSpecialTokens: true })];
  assert.is(bare.decode(ids), 'fox');
  assert.ok(ids[0] !== 1 && ids.join() !== [...usual.idsOf('fox')].join());
  assert.throws(() => read({ scores: [1] }), /has 1 tokenizer.ggml.scores for \d+ tokens; convert the model again/);
});

test('the family comes from config.json where tokenizer_config.json names none', async () => {
  const made = await folderOf('T5Tokenizer', {});
  await writeFile(join(made, 'config.json'), '{"model_type": "t5"}');
  const tokenizer = await loadTokenizer(made);
  assert.equal([...tokenizer.idsOf('a fox', { addSpecialTokens: true })].at(-1), 1);
  await writeFile(join(made, 'config.json'), '{"model_type": "xlnet"}');
  assert.match(await failure(loadTokenizer(made)), /spiece.model is the tokenizer of a .*known are T5Tokenizer, XLM/);
  await writeFile(join(made, 'tokenizer_config.json'), '{"tokenizer_class": "LlamaTokenizer"}');
  assert.match(
    await failure(loadTokenizer(made)),
    /is a Unigram model of SentencePiece, and a LlamaTokenizer needs BPE/,
  );
});

test("Marian's ids are those of its vocab.json", async () => {
  const made = join(folder, 'marian');
  await mkdir(made);
  const { pieces } = readSentencePiece(await readFile(goldenFile('sentencepiece-t5.model')), 'x');
  const texts = pieces.filter(({ kind }) => kind === 'normal').map(({ text }) => text);
  const tokens = ['</s>', '<unk>', ...texts.reverse(), '龍', '>>de<<', '<pad>'];
  await copyFile(goldenFile('sentencepiece-t5.model'), join(made, 'source.spm'));
  await writeFile(join(made, 'vocab.json'), JSON.stringify(Object.fromEntries(tokens.map((token, id) => [token, id]))));
  await writeFile(join(made, 'tokenizer_config.json'), '{"tokenizer_class": "MarianTokenizer"}');
  const marian = await loadTokenizer(made);
  const t5 = (await loadTokenizer(await folderOf('T5Tokenizer'))) as Tokenizer;
  for (const text of golden.texts.filter((each) => !/[<▁]|extra_id/.test(each))) {
    const expected = [...t5.idsOf(text)].map((id) => {
      const token = t5.idToToken(id)!;
      return token === '<unk>' ? 1 : tokens.indexOf(token);
    });
    const found = [...marian.idsOf(text, { addSpecialTokens: true })];
    assert.equal(found, [...expected, 0], text);
  }
  assert.is(marian.idsOf('>>de<<')[0], tokens.indexOf('>>de<<'));
  // A token that the target alone has.
  assert.ok(marian.idsOf('龍').includes(tokens.indexOf('龍')));
  await writeFile(join(made, 'vocab.json'), '{"</s>": 0, "a": 0}');
  assert.match(await failure(loadTokenizer(made)), /vocab.json gives "a" the id 0; it must number its tokens/);
});

test('broken, cut and lying files: one line with the name of the file', async () => {
  const made = await folderOf('T5Tokenizer');
  const path = join(made, 'spiece.model');
  const bytes = await readFile(path);
  const random = new Random(5);
  const damaged: Buffer[] = [Buffer.alloc(0), Buffer.from('no model at all'), Buffer.alloc(300, 255)];
  for (let i = 0; i < 200; i++) damaged.push(bytes.subarray(0, random.int(bytes.length)));
  for (let i = 0; i < 400; i++) {
    const copy = Buffer.from(bytes);
    for (let flips = 0; flips < 3; flips++) copy[random.int(copy.length)]! ^= 1 << random.int(8);
    damaged.push(copy);
  }
  let refused = 0;
  for (const each of damaged) {
    await writeFile(path, each);
    try {
      const tokenizer = await loadTokenizer(made);
      tokenizer.idsOf('The quick brown fox');
    } catch (error) {
      refused++;
      const { message } = error as Error;
      assert.is(message.split('\n').length, 1, message);
      assert.ok(message.includes(made), message);
      assert.not.match((error as Error).constructor.name, /TypeError|RangeError/, message);
    }
  }
  assert.ok(refused > 200, `${refused} of ${damaged.length} refused`);
  await writeFile(path, '');
  assert.match(await failure(loadTokenizer(made)), /is no model of SentencePiece, or damaged: it has no pieces/);
});

test.run();
