import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from './support/files.ts';
import { blocksOf, codeSpans, documents, proseOf, readDocument, tableRows } from './support/markdown.ts';
import { runScript } from './support/script.ts';

/** The documents speak the truth about the repository: files, names in them, links, commands, their flags. */
const test = suite('documents');

const names = documents();
/** Tells what was, so that its files need not be there. */
const history = 'CHANGELOG.md';
const present = names.filter((name) => name !== history);

const folders = ['common', 'gpu', 'kernels', 'autograd', 'models', 'distributed', 'train', 'bench', 'test', 'docs'];
const isPath = (text: string): boolean =>
  /^[\w.-]+(\/[\w.-]+)*\/?$/.test(text) && folders.includes(text.split('/')[0]!) && text.includes('/');

test('the README has at most 200 lines of at most 120 columns; other lines than tables too are that short', () => {
  const readme = readDocument('README.md').trimEnd().split('\n');
  assert.ok(readme.length <= 200, `the README has ${readme.length} lines`);
  for (const name of names) {
    const tooWide = (line: string): boolean => line.length > 120 && (name === 'README.md' || !line.startsWith('|'));
    const wide = readDocument(name)
      .split('\n')
      .flatMap((line, i) => (tooWide(line) ? [`${name}:${i + 1}`] : []));
    assert.equal(wide, []);
  }
});

test('links lead to files and headings that are there', () => {
  const anchorsOf = (name: string): string[] =>
    [...proseOf(readDocument(name)).matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
      heading!
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    );
  const broken: string[] = [];
  for (const name of names) {
    for (const [, target] of proseOf(readDocument(name)).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target!)) continue;
      const [path, anchor] = target!.split('#');
      const file = path === '' ? name : normalize(join(dirname(name), path!));
      if (!existsSync(join(root, file))) broken.push(`${name}: ${target}`);
      else if (anchor && !anchorsOf(file).includes(anchor)) broken.push(`${name}: ${target} has no such heading`);
    }
  }
  assert.equal(broken, []);
});

test('files and folders in code are there', () => {
  const missing = present.flatMap((name) =>
    codeSpans(readDocument(name)).flatMap(({ text, line }) =>
      isPath(text) && !existsSync(join(root, text)) ? [`${name}:${line}: ${text}`] : [],
    ),
  );
  assert.equal(missing, []);
});

/** Whether a file has a name, as `matmul`, `defineOp()` or `Lowering.emit`: each of its words. */
function fileHas(file: string, name: string): boolean {
  const text = readFileSync(join(root, file), 'utf8');
  const words = name.replace(/[(<].*$/, '').split('.');
  return words.every((word) => new RegExp(`(?<![\\w$])${word.replace('$', '\\$')}(?![\\w$])`).test(text));
}

test('a name is in the file that the document gives for it', () => {
  const isName = (text: string): boolean => /^[A-Za-z_][\w.]*(\(.*\))?$/.test(text) && !/\.(ts|json|md)$/.test(text);
  const wrong: string[] = [];
  const check = (where: string, name: string, file: string): void => {
    if (/\.ts$/.test(file) && existsSync(join(root, file)) && !fileHas(file, name))
      wrong.push(`${where}: ${name} is not in ${file}`);
  };
  for (const document of present) {
    const text = readDocument(document);
    // In a sentence: `name` in `some/file.ts`, or `name` and `other` in it.
    const sentence = /((?:`[^`\n]+`(?:,|\s+and)\s+)*`[^`\n]+`)\s+in\s+`([\w./-]+\.ts)`/g;
    for (const [whole, list, file] of proseOf(text).matchAll(sentence)) {
      for (const [, name] of list!.matchAll(/`([^`]+)`/g))
        if (isName(name!)) check(`${document}, ${whole.replaceAll('\n', ' ')}`, name!, file!);
    }
    // In a table: the code in the first cell, and the file alone in the last.
    for (const { cells, line } of tableRows(text)) {
      const file = /^`([\w./-]+\.ts)`$/.exec(cells.at(-1)!)?.[1];
      if (!file) continue;
      for (const [, name] of cells[0]!.matchAll(/`([^`]+)`/g))
        if (isName(name!)) check(`${document}:${line}`, name!, file);
    }
  }
  assert.equal(wrong, []);
});

interface Command {
  readonly document: string;
  readonly script: string;
  readonly args: readonly string[];
}

/** Commands that run a script, in sh blocks and in code within sentences. */
function commands(): Command[] {
  return present.flatMap((document) => {
    const text = readDocument(document);
    const shell = blocksOf(text).filter(({ language }) => language === 'sh');
    const lines = [...shell.flatMap((block) => block.text.split('\n')), ...codeSpans(text).map((span) => span.text)];
    return lines.flatMap((line) => {
      const found = /^(?:(?:npx tsx|node --import tsx) )?((?:train|bench|gpu)\/[\w-]+\.ts)\b([^#]*)/.exec(line);
      return found ? [{ document, script: found[1]!, args: found[2]!.trim().split(/\s+/) }] : [];
    });
  });
}

test('scripts of packages that commands name are there', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: object };
  const wrong = present.flatMap((document) => {
    const text = readDocument(document);
    const code = [...codeSpans(text), ...blocksOf(text)].map((piece) => piece.text).join('\n');
    const named = [...code.matchAll(/\bnpm run ([\w:-]+)/g)].map(([, name]) => name!);
    return named.filter((name) => !(name in scripts)).map((name) => `${document}: npm run ${name}`);
  });
  assert.equal(wrong, []);
});

test('commands name scripts that are there, and flags that their --help lists', async () => {
  const wrong: string[] = [];
  const pages = new Map<string, { flags: Set<string>; document: string }>();
  for (const { document, script, args } of commands()) {
    if (!existsSync(join(root, script))) {
      wrong.push(`${document}: ${script}`);
      continue;
    }
    if (!readFileSync(join(root, script), 'utf8').includes('parseOptions')) continue; // takes no options
    // A word before the flags is a command of the script, as `all` in `train/prepare-data.ts all`.
    const command = /^[a-z]+$/.test(args[0]!) ? ` ${args[0]!}` : '';
    const page = pages.get(script + command) ?? { flags: new Set(['--help']), document };
    for (const arg of args) if (arg.startsWith('--')) page.flags.add(arg);
    pages.set(script + command, page);
  }
  const queue = [...pages];
  const lane = async (): Promise<void> => {
    for (let next = queue.pop(); next; next = queue.pop()) {
      const [script, { flags, document }] = next;
      const { code, stdout, stderr } = await runScript([...script.split(' '), '--help']);
      if (code !== 0) wrong.push(`${document}: ${script} --help ends with ${code}: ${stderr}`);
      for (const flag of flags) {
        if (!stdout.includes(flag)) wrong.push(`${document}: ${script} has no ${flag}`);
      }
    }
  };
  await Promise.all([lane(), lane()]);
  assert.equal(wrong, []);
});

test.run();
