// What stands in for files of Node in a page, and that bundles hold it. Run in a browser: test/runtimes.ts.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { sha256 } from '../common/sha256.browser.ts';
import { join as joinInPage } from '../common/platform.browser.ts';
import { Random } from '../common/random.ts';
import { bundleForBrowser } from '../examples/browser/bundle.ts';
import { filesBelow, root } from './support/files.ts';

const test = suite('browser');
const ofNode = /(from|import\(|require\()\s*["']node:/;
const stands = ['common', 'gpu', 'kernels', 'autograd', 'models', 'train']
  .flatMap((room) => filesBelow(room, '.browser.ts'))
  .filter((file) => !file.endsWith('index.browser.ts'));

test('package.json names each file that stands in for another, and exports what a page has', async () => {
  const { browser, exports } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    browser: Record<string, string>;
    exports: Record<string, Record<string, string>>;
  };
  const built = (file: string): string => `./dist/${file.replace(/\.ts$/, '.js')}`;
  assert.equal(browser, Object.fromEntries(stands.map((file) => [built(file.replace('.browser', '')), built(file)])));
  assert.equal(
    ['.', './train'].map((name) => exports[name]!['browser']),
    ['./dist/index.browser.js', './dist/train/index.browser.js'],
  );
});

test('what stands in has every value that is imported from the file it stands in for', async () => {
  assert.ok(stands.length > 4);
  for (const file of stands) {
    const other = file.replace('.browser.ts', '.ts');
    const [there, here] = [await import(join(root, other)), await import(join(root, file))] as [object, object];
    assert.equal(Object.keys(here).sort(), Object.keys(there).sort(), file);
  }
});

test('a page that fine-tunes BERT takes at most 660 KB, and nothing of Node', async () => {
  const { code, bytes, files } = await bundleForBrowser(`
    import { AdamW, BertForSequenceClassification, compile, loadTokenizer, tensor } from './index.browser.ts';
    console.log(AdamW, BertForSequenceClassification, compile, loadTokenizer, tensor);`);
  assert.ok(bytes < 660_000, `${bytes} bytes`);
  assert.not.match(code, ofNode);
  const native = files.filter((file) =>
    /gpu\/driver|hub-download|common\/(lock|atomic|file-system|temporary)/.test(file),
  );
  assert.equal(native, []);
});

test('all that a page may import bundles', async () => {
  const { code } = await bundleForBrowser("export * from './index.browser.ts'; export * as gpu from './gpu/index.ts';");
  assert.not.match(code, ofNode);
});

test('SHA-256 in a page is that of Node', () => {
  const random = new Random(1);
  for (const length of [0, 1, 55, 56, 63, 64, 65, 1000]) {
    const bytes = Uint8Array.from({ length }, () => random.int(256));
    const expected = createHash('sha256').update('é').update(bytes).digest('hex');
    assert.is(Buffer.from(sha256(['é', bytes])).toString('hex'), expected, `${length} bytes`);
  }
});

test('paths in a page are joined as in Node', () => {
  const cases = [['a', 'b'], ['/a/', './b'], ['memory:1', 'c.json'], ['memory:1/a', '..', 'b'], ['a/b', '..'], ['']];
  for (const parts of cases) assert.is(joinInPage(...parts), join(...parts).replace(/\/$/, ''), parts.join());
});

test.run();
