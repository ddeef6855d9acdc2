/**
 * `npm run test:page [-- FOLDER]`: pages in Chromium. A page of each kind that scripts write; then that of
 * examples/browser: trains on the sample, stops, opens the page anew, resumes, asks, looks at attention,
 * downloads the model and loads it in Node. Checks three widths, dark and light, for what runs over, and by
 * axe-core where it can be installed. With a FOLDER pictures are kept there. Minutes; needs Chromium.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { buildPage } from '../examples/browser/build.ts';
import { bundleForBrowser } from '../examples/browser/bundle.ts';
import { read } from '../examples/browser/fine-tune.ts';
import { sample } from '../examples/browser/sample.ts';
import { BertForSequenceClassification, BertTokenizer, memoryFolder } from '../models/index.ts';
import type { FileData } from '../models/index.ts';
import { findChromium, withPage } from './support/chromium.ts';
import type { Page } from './support/chromium.ts';
import { axe, look } from './support/look.ts';
import { serving } from './support/static-server.ts';
import { lookAtWrittenPages } from './support/written-pages.ts';

const pictures = process.argv[2];
const click = (page: Page, id: string): Promise<unknown> => page.evaluate(`document.getElementById('${id}').click()`);
const textOf = (page: Page, id: string): Promise<string> =>
  page.evaluate(`document.getElementById('${id}').textContent`);
const steps = "Number(/Step (\\d+)/.exec(document.getElementById('state').textContent)?.[1] ?? 0)";

async function use(page: Page, address: string, checker: string | undefined): Promise<void> {
  await page.goto(`${address}/index.html`);
  await page.waitFor("document.getElementById('device').textContent.startsWith('WebGPU:')");
  await look(page, 'empty', { checker, pictures });
  await page.evaluate(
    "document.getElementById('texts').value = 'text,label\\na,b\\nc,b'; " +
      "document.getElementById('texts').dispatchEvent(new Event('input'))",
  );
  assert.is(await textOf(page, 'summary'), 'all rows have the label "b"; a classifier needs two');
  await click(page, 'sample');
  assert.is(await textOf(page, 'summary'), '48 texts, 3 labels: money 16, sea 16, state 16');
  await page.evaluate("document.getElementById('epochs').value = 6");
  await click(page, 'start');
  await page.waitFor(`${steps} >= 5`);
  await look(page, 'training', { pictures });
  await click(page, 'stop');
  await page.waitFor("document.getElementById('state').textContent.endsWith('stopped, and saved')");
  const before = await page.evaluate<number>(steps);

  await page.goto(`${address}/index.html?again`);
  await page.waitFor("document.getElementById('state').textContent.includes('kept from the last visit')");
  assert.is(await page.evaluate<number>(steps), before);
  assert.is(await page.evaluate<string>("document.getElementById('texts').value"), sample);
  await click(page, 'resume');
  await page.waitFor("document.getElementById('state').textContent.endsWith('done, and saved')");
  assert.is(await page.evaluate<number>(steps), 30);
  console.log(`stopped at step ${before}, resumed, done: ${await textOf(page, 'state')}`);

  await page.waitFor("document.querySelectorAll('#answers li').length === 3");
  await page.evaluate("document.querySelectorAll('#tokens button')[2].click()");
  assert.match(await textOf(page, 'attended'), /^\S+ attends to \S+ \d+%, /);
  await look(page, 'done', { checker, pictures });
  await checkDownload(page);
  assert.equal(page.errors, []);
}

/** The page's own storage: what a save replaces, what it leaves, and errors. */
async function useStorage(page: Page, address: string): Promise<void> {
  await page.goto(`${address}/storage.html`);
  await page.waitFor('window.found');
  assert.equal(await page.evaluate('window.found'), {
    shards: ['config.json', 'model.safetensors.index.json', 'notes.txt', 'shards'],
    whole: ['config.json', 'generation_config.json', 'model.safetensors', 'notes.txt'],
    failed: 'no more',
    afterFailure: ['config.json', 'generation_config.json', 'model.safetensors', 'notes.txt'],
    kinds: ['folder', 'file', 'none', 'none'],
    missing: 'runs/none.json does not exist: check the path',
    isSame: true,
  });
}

const storageScript = `
import { GPT2LMHeadModel, loadModel, saveFiles, tensor, writeGenerationConfig } from './index.browser.ts';
import { pathKind, readJsonFile } from './common/json-file.ts';
const names = async () => {
  const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('runs').then((runs) =>
    runs.getDirectoryHandle('model'));
  const found = [];
  for await (const name of folder.keys()) found.push(name);
  return [...new Set(found.map((name) => (/-of-/.test(name) ? 'shards' : name)))].sort();
};
const small = { vocabSize: 20, nPositions: 8, nEmbd: 8, nLayer: 1, nHead: 2 };
const model = GPT2LMHeadModel.fromConfig(small).eval();
const inputIds = tensor([[1, 2, 3]], { dtype: 'i32' });
const logits = async (of) => String(await of.forward({ inputIds }).logits.data());
await saveFiles([{ path: 'runs/model/notes.txt', data: 'kept' }]);
await GPT2LMHeadModel.fromConfig(small).savePretrained('runs/model', { maxShardBytes: 1000 });
const shards = await names();
await model.savePretrained('./runs//model');
await writeGenerationConfig('runs/model', { maxNewTokens: 3 });
const whole = await names();
const bad = () => { throw new Error('no more'); };
const files = [{ path: 'runs/model/notes.txt', data: 'new' }, { path: 'runs/model/bad', data: bad }];
const failed = await saveFiles(files).catch(({ message }) => message);
window.found = {
  shards, whole, failed, afterFailure: await names(),
  kinds: await Promise.all(['runs/model', 'runs/model/config.json', 'runs/none', 'none/at/all'].map(pathKind)),
  missing: await readJsonFile('runs/none.json').catch(({ message }) => message),
  isSame: (await logits(await loadModel('runs/model'))) === (await logits(model)),
};`;

/** Without WebGPU the page says so, and nothing can be started. */
async function useWithout(page: Page, address: string): Promise<void> {
  const source = "Object.defineProperty(navigator, 'gpu', { value: undefined })";
  await page.send('Page.addScriptToEvaluateOnNewDocument', { source });
  await page.goto(`${address}/index.html`);
  await page.waitFor("document.getElementById('problem').textContent.startsWith('no WebGPU')");
  assert.is(await textOf(page, 'device'), 'This page cannot train here.');
  await click(page, 'sample');
  assert.is(await page.evaluate<boolean>("document.getElementById('start').disabled"), true);
}

/** Loads in Node what the page downloads; both must read a text alike. */
async function checkDownload(page: Page): Promise<void> {
  const text = await page.evaluate<string>("document.getElementById('ask').value");
  const shown = await page.evaluate<string[]>(
    "[...document.querySelectorAll('#answers li')].map(" +
      "({ children }) => children[0].textContent + ' ' + children[2].textContent)",
  );
  await page.evaluate(`{
    const make = URL.createObjectURL;
    URL.createObjectURL = (blob) => { window.saved = blob; return make(blob); };
    document.getElementById('download').click();
  }`);
  await page.waitFor('window.saved');
  const base64 = await page.evaluate<string>(`new Promise((done) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.split(',')[1]);
    reader.readAsDataURL(window.saved);
  })`);
  const bytes = Buffer.from(base64, 'base64');
  if (pictures !== undefined) await writeFile(join(pictures, 'my-model.zip'), bytes);
  const folder = `${memoryFolder(filesOfArchive(bytes))}/my-model`;
  const model = await BertForSequenceClassification.fromPretrained(folder);
  const { probabilities } = await read({ model, tokenizer: await BertTokenizer.fromPretrained(folder) }, text);
  for (const [i, label] of model.config.labels.entries()) {
    const percent = Number(
      shown
        .find((line) => line.startsWith(`${label} `))!
        .split(' ')
        .at(-1)!
        .replace('%', ''),
    );
    assert.ok(Math.abs(percent - 100 * probabilities[i]!) < 0.2, `${shown.join()}; in Node ${probabilities.join()}`);
  }
  console.log(`my-model.zip, ${bytes.length} bytes, reads "${text}" in Node as in the page: ${shown.join(', ')}`);
}

/** The files of an archive without compression. */
function filesOfArchive(bytes: Buffer): Map<string, FileData> {
  const files = new Map<string, FileData>();
  for (let at = 0; bytes.readUInt32LE(at) === 0x04034b50;) {
    const [size, length] = [bytes.readUInt32LE(at + 18), bytes.readUInt16LE(at + 26)];
    const data = at + 30 + length;
    files.set(bytes.toString('utf8', at + 30, data), Uint8Array.from(bytes.subarray(data, data + size)));
    at = data + size;
  }
  return files;
}

if (findChromium() === undefined) console.log('not run: there is no Chromium here (Debian: apt-get install chromium)');
else {
  if (pictures !== undefined) await mkdir(pictures, { recursive: true });
  const folder = await mkdtemp(join(tmpdir(), 'tapeform-page-'));
  const checker = await axe();
  try {
    await lookAtWrittenPages(await mkdtemp(join(folder, 'written-')), { checker, pictures });
    console.log(`the page's script has ${((await buildPage(folder)) / 1000).toFixed(0)} KB`);
    await serving(folder, (address) => withPage((page) => use(page, address, checker)));
    await serving(folder, (address) => withPage((page) => useWithout(page, address)));
    await writeFile(join(folder, 'storage.html'), '<!doctype html><script type="module" src="./storage.js"></script>');
    await writeFile(join(folder, 'storage.js'), (await bundleForBrowser(storageScript)).code);
    await serving(folder, (address) => withPage((page) => useStorage(page, address)));
    console.log('the page works');
  } finally {
    await rm(folder, { recursive: true });
  }
}
