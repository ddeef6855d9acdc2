import { appendFile, cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compilerOptions, typeErrors } from './support/examples.ts';
import { root, sources } from './support/files.ts';
import { blocksOf, documents, readDocument } from './support/markdown.ts';
import type { Block } from './support/markdown.ts';
import { runScript } from './support/script.ts';

/**
 * Runs the code of the documents in a copy of the repository, as a reader would type it:
 * - a ts block that begins with `// some/file.ts` is that file, one that begins with
 *   `// some/file.ts, at its end` is added to a file that is there, and one without such a line goes on where
 *   the block before it ended;
 * - files at the root are run; a text block after one, and comments `// prints ...` in it, say its output;
 * - `npm test -- name` in an sh block is run where the document has made that test.
 */
const test = suite('code in documents');

interface File {
  readonly path: string;
  code: string;
  readonly isAddition: boolean;
  /** Lines that the file prints, in order, perhaps with others between them. */
  readonly printed: string[];
}

let copy = '';
test.before(async () => {
  copy = await mkdtemp(join(tmpdir(), 'tapeform-docs-'));
  const linked = ['node_modules', 'models/pretrained', 'test/golden', 'docs'];
  const skipped = new Set(linked.map((path) => join(root, path)));
  for (const entry of sources)
    await cp(join(root, entry), join(copy, entry), { recursive: true, filter: (path) => !skipped.has(path) });
  for (const path of linked) await symlink(join(root, path), join(copy, path));
});
test.after(() => rm(copy, { recursive: true, force: true }));

/** The files that a document's blocks make. */
function filesOf(document: string, blocks: readonly Block[]): File[] {
  const files: File[] = [];
  for (const { language, text, line } of blocks) {
    if (language === 'text') files.at(-1)?.printed.push(...text.split('\n'));
    if (language !== 'ts') continue;
    const [, path, more = ''] = /^\/\/ ([\w./-]+\.ts)\b(.*)/.exec(text) ?? [];
    if (path) files.push({ path, code: '', isAddition: more.startsWith(', at its end'), printed: [] });
    const file = files.at(-1);
    if (!file) throw new Error(`${document}:${line}: the first block must say its file, as in // hello.ts`);
    file.code += `${text}\n`;
    file.printed.push(...[...text.matchAll(/\/\/ prints (.*)$/gm)].map(([, printed]) => printed!));
  }
  return files;
}

/** Fails unless the lines are among those of a text, in this order. */
function assertPrints(text: string, lines: readonly string[], where: string): void {
  const printed = text.split('\n').map((line) => line.trimEnd());
  let from = 0;
  for (const line of lines) {
    const at = printed.indexOf(line.trimEnd(), from);
    assert.ok(at >= 0, `${where} does not print "${line}"${from > 0 ? ` after "${printed[from - 1]}"` : ''}:\n${text}`);
    from = at + 1;
  }
}

const written: string[] = [];
for (const document of documents()) {
  const blocks = blocksOf(readDocument(document));
  const files = filesOf(document, blocks);
  if (files.length === 0) continue;
  test(`${document}: its files run and print what it says`, async () => {
    for (const { path, code, isAddition } of files) {
      await mkdir(dirname(join(copy, path)), { recursive: true });
      await (isAddition ? appendFile : writeFile)(join(copy, path), code);
      written.push(path);
    }
    const run = async ({ path, printed }: File): Promise<void> => {
      const { code, stdout, stderr } = await runScript([path], { cwd: copy });
      assert.is(code, 0, `${document}: ${path} ends with ${code}:\n${stderr}`);
      assert.not.match(stderr, /captured again/, `${document}: ${path} captures again:\n${stderr}`);
      assertPrints(stdout, printed, `${document}: ${path}`);
    };
    const scripts = files.filter(({ path }) => !path.includes('/'));
    await Promise.all(scripts.map(run));
  });
  for (const { text } of blocks.filter(({ language }) => language === 'sh')) {
    for (const [, filter] of text.matchAll(/^npm test -- (\S+)/gm)) {
      if (!files.some(({ path }) => path.includes(filter!))) continue;
      test(`${document}: npm test -- ${filter}`, async () => {
        const { code, stdout } = await runScript(['test/run.ts', filter!], { cwd: copy });
        assert.is(code, 0, stdout);
      });
    }
  }
}

test('the type checker accepts them', () => {
  const paths = [...new Set(written)].map((path) => join(copy, path));
  assert.equal(typeErrors(ts.createProgram(paths, compilerOptions()), paths), []);
});

test.run();
