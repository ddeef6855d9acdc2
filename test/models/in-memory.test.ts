// Models and tokenizers in memory: from files by name, from addresses, and saved back.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed, tensor } from '../../autograd/index.ts';
import {
  BertForSequenceClassification,
  dropMemoryFolder,
  filesInMemory,
  GPT2LMHeadModel,
  loadModel,
  loadTokenizer,
  memoryFolder,
  ggufFile,
  readGenerationConfig,
  resolveModelFolder,
  saveFiles,
  SentenceTransformer,
  Tokenizer,
  writeGenerationConfig,
  zip,
} from '../../models/index.ts';
import type { FileData } from '../../models/index.ts';
import { shippedModel } from '../../models/io/shipped.ts';
import { findOnHub } from '../../models/io/hub.browser.ts';
import { trainByteLevelBpe, trainCharacters } from '../../train/index.ts';
import { failure, rejects } from '../support/failure.ts';

const test = suite('models in memory');
const config = { vocabSize: 20, nPositions: 8, nEmbd: 8, nLayer: 1, nHead: 2 };
const inputIds = tensor([[1, 2, 3]], { dtype: 'i32' });

const letters = (): Promise<Tokenizer> => trainCharacters(['abc']);

function smallGpt(seed = 1): GPT2LMHeadModel {
  manualSeed(seed);
  return GPT2LMHeadModel.fromConfig(config).eval();
}
const logitsOf = async (model: object): Promise<number[]> =>
  Array.from(await (model as GPT2LMHeadModel).forward({ inputIds }).logits.data(), Number);

test('a model and its tokenizer are saved to memory and loaded from it', async () => {
  const model = smallGpt();
  const tokenizer = await letters();
  const folder = memoryFolder();
  assert.match(folder, /^memory:\d+$/);
  await model.savePretrained(folder, { tokenizer });
  const names = [...filesInMemory(folder).keys()].sort();
  assert.equal(names.slice(0, 2), ['config.json', 'model.safetensors']);
  assert.ok(names.includes('tokenizer.json'));
  // From a map of files, of which one is a Blob, as a dropped file is.
  const files = new Map<string, FileData>(filesInMemory(folder));
  files.set('model.safetensors', new Blob([files.get('model.safetensors') as Uint8Array<ArrayBuffer>]));
  const copy = memoryFolder(files);
  dropMemoryFolder(folder);
  assert.equal(await logitsOf(await loadModel(copy)), await logitsOf(model));
  const loaded = await loadTokenizer(copy);
  assert.equal(loaded.idsOf('cab'), tokenizer.idsOf('cab'));
  assert.match(await failure(loadModel(folder)), /^memory:\d+ does not exist: pass a folder/);
});

test('a save to memory copies what it is given, Buffers too', async () => {
  const folder = memoryFolder();
  const bytes = Buffer.from('first');
  const write = async (file: { write(bytes: Uint8Array): Promise<void> }): Promise<void> => {
    await file.write(bytes);
    bytes.write('other');
    await file.write(bytes);
  };
  await saveFiles([
    { path: `${folder}/a`, data: bytes },
    { path: `${folder}/b`, data: write },
  ]);
  const [a, b] = [...filesInMemory(folder).values()].map((data) => new TextDecoder().decode(data as Uint8Array));
  assert.equal([a, b], ['first', 'firstother']);
});

test('a save replaces what an older one left, and no more', async () => {
  const folder = memoryFolder({ 'notes.txt': 'kept', 'below/model.safetensors': 'kept' });
  await smallGpt().savePretrained(folder, { maxShardBytes: 1000 });
  assert.ok([...filesInMemory(folder).keys()].some((name) => /^model-00001-of-/.test(name)));
  const model = smallGpt(2);
  await model.savePretrained(folder);
  await writeGenerationConfig(folder, { maxNewTokens: 3 });
  assert.equal([...filesInMemory(folder).keys()].sort(), [
    ...['below/model.safetensors', 'config.json', 'generation_config.json', 'model.safetensors', 'notes.txt'],
  ]);
  assert.equal(await logitsOf(await loadModel(folder)), await logitsOf(model));
  assert.is((await readGenerationConfig(folder)).maxNewTokens, 3);
});

test('errors name the file in memory', async () => {
  const path = memoryFolder({ 'config.json': '{}', 'model.safetensors': 'no weights' });
  const text = (message: string): string => message.replaceAll(path, 'M');
  assert.match(
    text(await failure(BertForSequenceClassification.fromPretrained(path))),
    /^M\/model\.safetensors is no safetensors file/,
  );
  const broken = memoryFolder({ 'tokenizer.json': '{' });
  const message = await failure(Tokenizer.fromPretrained(broken));
  assert.match(message, /^memory:\d+\/tokenizer\.json is not valid JSON/);
});

/** Serves files; all others are answered with `missing`. */
async function serve(
  files: ReadonlyMap<string, FileData>,
  missing: 'not found' | 'page',
  use: (address: string, asked: readonly string[]) => Promise<void>,
): Promise<void> {
  const asked: string[] = [];
  const server: Server = createServer((request, response) => {
    const name = request.url!.replace(/^\/model\//, '');
    const data = files.get(name);
    asked.push(name);
    if (data !== undefined) return void response.end(data);
    if (name === 'refused/config.json') response.statusCode = 500;
    else if (missing === 'not found') response.statusCode = 404;
    else response.setHeader('content-type', 'text/html; charset=utf-8');
    response.end('<!doctype html>');
  });
  await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}/model`, asked);
  } finally {
    server.close();
  }
}

for (const missing of ['not found', 'page'] as const)
  test(`a model is loaded from its address, where a missing file is answered: ${missing}`, async () => {
    const model = smallGpt();
    const folder = memoryFolder();
    await model.savePretrained(folder, { tokenizer: await letters(), maxShardBytes: 1000 });
    await serve(filesInMemory(folder), missing, async (address, asked) => {
      const tokenizer = await loadTokenizer(address);
      assert.is(tokenizer.idsOf('cab').length, 3);
      assert.is(asked.includes('model.safetensors'), false);
      const progress: string[] = [];
      const loaded = await loadModel(`${address}/`, { onProgress: ({ file }) => progress.push(file) });
      assert.equal(await logitsOf(loaded), await logitsOf(model));
      assert.ok(progress.some((file) => file.startsWith('model-00002-of-')));
      // What was fetched once is there.
      const count = asked.length;
      const place = await resolveModelFolder(address);
      assert.is(asked.length, count);
      dropMemoryFolder(place);
      assert.is.not(await resolveModelFolder(address), place);
    });
  });

test('an address that has no model, or no server, says so in a line', async () => {
  await serve(new Map([['config.json', '{}']]), 'not found', async (address) => {
    const message = await failure(loadModel(address));
    assert.is(
      message.replace(address, 'A'),
      'A has no model.safetensors: pass a folder with config.json and model.safetensors',
    );
  });
  await serve(new Map(), 'not found', (address) =>
    rejects(loadModel(`${address}/refused`), /refused\/config\.json cannot be fetched \(HTTP 500\): check the address/),
  );
  const message = await failure(loadModel('http://127.0.0.1:9/model'));
  assert.match(message, /^http:\/\/127\.0\.0\.1:9\/model\/\S+ cannot be fetched \(.*\): check the address/);
});

test('a GGUF file is saved to memory, and loaded from there and from its address', async () => {
  const tokenizer = await trainByteLevelBpe(['abc abd'], { vocabSize: 259, minFrequency: 1 });
  const gpt = GPT2LMHeadModel.fromConfig({ ...config, vocabSize: tokenizer.vocabSize, nEmbd: 32 }).eval();
  const path = `${memoryFolder()}/small.gguf`;
  await saveFiles([ggufFile(path, gpt, tokenizer, 'f32')]);
  const expected = await logitsOf(gpt);
  assert.equal(await logitsOf(await loadModel(path)), expected);
  await serve(filesInMemory(path), 'not found', async (address, asked) => {
    assert.equal(await logitsOf(await loadModel(`${address}/small.gguf`)), expected);
    assert.equal((await loadTokenizer(`${address}/small.gguf`)).idsOf('abd'), tokenizer.idsOf('abd'));
    assert.equal(asked, ['small.gguf']);
    await rejects(loadModel(`${address}/none.gguf`), /\/none\.gguf does not exist: check the address$/);
  });
});

test('a sentence model, whose modules have folders, is loaded from its address', async () => {
  const base = shippedModel('help-search-small');
  const names = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json', 'modules.json'];
  const more = ['sentence_bert_config.json', 'config_sentence_transformers.json', '1_Pooling/config.json'];
  const files = new Map<string, FileData>();
  for (const name of [...names, ...more]) files.set(name, await readFile(join(base, name)));
  const encode = async (from: string): Promise<Float32Array> =>
    (await (await SentenceTransformer.fromPretrained(from)).encode(['How do I print?']))[0]!;
  const expected = await encode(base);
  await serve(files, 'not found', async (address) => assert.equal(await encode(address), expected));
});

test('in a page, a name on the hub is an address', async () => {
  const model = smallGpt();
  const folder = memoryFolder();
  await model.savePretrained(folder);
  await serve(filesInMemory(folder), 'not found', async (address) => {
    const fetched: string[] = [];
    const needs = {
      advice: 'pass a folder',
      whatIsMissing: () => Promise.resolve(null),
      select: () => [],
      fetched: (from: string) => Promise.resolve(fetched.push(from) > 0 ? folder : ''),
    };
    const found = await findOnHub('gpt2', { hubUrl: `${address}/`, revision: 'v1.0' }, needs);
    assert.is(found, folder);
    assert.equal(fetched, [`${address}/openai-community/gpt2/resolve/v1.0`]);
    await rejects(findOnHub('a/b/c', {}, needs), /^a\/b\/c is not in this page's storage: pass a folder, an address/);
    const missing = { ...needs, whatIsMissing: () => Promise.resolve('has no config.json: choose another') };
    await rejects(findOnHub('gpt2', {}, missing), /^gpt2 on the hub has no config\.json: choose another$/);
  });
});

test('an archive holds the files as they are', async () => {
  const bytes = await zip({ 'config.json': '{}', 'é/w.bin': Uint8Array.of(1, 2, 3) });
  const view = new DataView(bytes.buffer);
  const end = bytes.length - 22;
  assert.is(view.getUint32(end, true), 0x06054b50);
  assert.is(view.getUint16(end + 10, true), 2);
  const found: [string, number[], number][] = [];
  for (let at = view.getUint32(end + 16, true); at < end;) {
    const [crc, size, length] = [
      view.getUint32(at + 16, true),
      view.getUint32(at + 24, true),
      view.getUint16(at + 28, true),
    ];
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + length));
    const data = view.getUint32(at + 42, true) + 30 + length;
    found.push([name, [...bytes.subarray(data, data + size)], crc]);
    at += 46 + length;
  }
  assert.equal(found, [
    ['config.json', [123, 125], 0xa3a6bf43],
    ['é/w.bin', [1, 2, 3], 0x55bc801d],
  ]);
});

test.run();
