import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { debianPackage, readDescriptions } from '../../train/data/debian-package.ts';
import { readPage } from '../../train/data/gnome-help.ts';
import { paragraphsOf } from '../../train/data/libreoffice-help.ts';
import { rejects } from '../support/failure.ts';

const test = suite("texts from Debian's packages");
const folder = mkdtempSync(join(tmpdir(), 'tapeform-debian-'));
const { PATH, XDG_CACHE_HOME } = process.env;
test.after(() => {
  process.env['PATH'] = PATH;
  if (XDG_CACHE_HOME === undefined) delete process.env['XDG_CACHE_HOME'];
  else process.env['XDG_CACHE_HOME'] = XDG_CACHE_HOME;
  rmSync(folder, { recursive: true });
});

test("paragraphs of LibreOffice's pages: by id, without those of the page's frame", () => {
  const html =
    '<html><body><p id="par_id0">frame</p><div id="DisplayArea"><h1 id="hd_id1"><a name="x"></a>A  title</h1>' +
    '<p id="par_id2">Choose <span class="emph">File -\n Open</span>.</p><p id="other">x</p><p id="par_id3"> </p>' +
    '<p id="par_id2">again</p></div></body></html>';
  assert.equal(paragraphsOf(html), [
    { id: 'hd_id1', text: 'A title', marks: [] },
    { id: 'par_id2', text: 'Choose File - Open.', marks: [{ start: 7, end: 18, kind: 'emph' }] },
  ]);
});

test("what is marked in LibreOffice's pages: without white space, as one where it touches; usual variants", () => {
  const html =
    '<div id="DisplayArea"><p id="par_id1"> <span class="emph"> Press </span>\n<span class="keycode">' +
    '<span id="swl" class="switchinline"><span class="MAC">Command</span><span id="defaultx">Ctrl</span></span>' +
    '</span><span class="keycode">+A </span>, <span class="avis">or <span class="literal">x</span> y</span></p></div>';
  const marked = (variants: 'all' | 'usual') =>
    paragraphsOf(html, { variants }).map(({ text, marks }) => [
      text,
      ...marks.map(({ start, end, kind }) => `${kind} ${text.slice(start, end)}`),
    ]);
  const rest = ['avis or', 'literal x', 'avis y'];
  assert.equal(marked('usual'), [['Press Ctrl+A , or x y', 'emph Press', 'keycode Ctrl+A', ...rest]]);
  assert.equal(marked('all'), [['Press CommandCtrl+A , or x y', 'emph Press', 'keycode CommandCtrl+A', ...rest]]);
});

test("GNOME's pages: what a page says of itself, and its text without title and notes", () => {
  const xml =
    '<page xmlns="http://projectmallard.org/1.0/" id="x"><info><credit><name>A</name></credit>' +
    '<desc>Set <gui>the</gui>\n clock.</desc></info><title>Clock</title><steps><item><p>Click <gui>Settings</gui>' +
    '.</p></item></steps><section><title>More</title><p>Tom &amp; Anna.</p></section></page>';
  assert.equal(readPage(xml), { summary: 'Set the clock.', text: 'Click Settings.\nMore\nTom & Anna.' });
  assert.is(readPage('<page><info/><p>no summary</p></page>'), undefined);
});

test('descriptions of packages: lines are joined, items and paragraphs stay apart, copies are left out', () => {
  const described = 'Description-en: short one\n It does\n this.\n .\n It has:\n  * speed\n  * size\n\n';
  const text =
    `Package: a\nDescription-md5: 1\n${described}Package: b\nDescription-md5: 1\n${described}` +
    'Package: c\nDescription-md5: 2\nDescription-en: nothing more\n';
  assert.equal(readDescriptions(text), [
    { name: 'a', synopsis: 'short one', description: 'It does this.\nIt has:\n* speed\n* size' },
  ]);
});

/** Stands for apt-get and dpkg-deb: `apt` is a script that gets apt-get's arguments. */
function machineWith(name: string, apt: string): { readonly cache: string; readonly log: string } {
  const bin = join(folder, name, 'bin');
  const log = join(folder, name, 'log');
  mkdirSync(bin, { recursive: true });
  const script = (program: string, text: string): void => {
    writeFileSync(join(bin, program), `#!/bin/sh\n${text}\n`);
    chmodSync(join(bin, program), 0o755);
  };
  script('apt-get', `echo "$@" >> ${log}\n${apt}`);
  const unpack = 'mkdir -p $3/usr; echo text > $3/usr/file; ln -s gone $3/usr/link';
  script('dpkg-deb', `if [ $1 = -f ]; then echo 1.2-3; else ${unpack}; fi`);
  process.env['PATH'] = `${bin}${delimiter}${PATH}`;
  process.env['XDG_CACHE_HOME'] = join(folder, name, 'cache');
  return { cache: join(folder, name, 'cache/tapeform/packages'), log };
}
const lines = (path: string): string[] => readFileSync(path, 'utf8').trim().split('\n');
const download = 'case "$*" in *download*) touch x_1.2-3_all.deb;; esac';

test('a package is fetched once, whole, and read from the cache then', async () => {
  const { cache, log } = machineWith('good', download);
  const said: string[] = [];
  const all = await Promise.all([1, 2, 3].map(() => debianPackage('some-texts', (line) => said.push(line))));
  for (const { version, folder } of all) {
    assert.is(version, '1.2-3');
    assert.is(readFileSync(join(folder, 'usr/file'), 'utf8'), 'text\n');
  }
  assert.is(lines(log).length, 1);
  assert.is(said.filter((line) => line.includes('fetching it from')).length, 1);
  assert.equal(readdirSync(cache), ['some-texts']);
  assert.not.ok(existsSync(join(cache, 'some-texts/.apt')));
});

test('without lists of the mirror they are fetched first, into a folder of our own', async () => {
  const { log } = machineWith(
    'lists',
    `case "$*" in *lists=*) ${download};; *) echo "E: no such" >&2; exit 100;; esac`,
  );
  assert.is((await debianPackage('some-texts', () => undefined)).version, '1.2-3');
  const [first, update, second] = lines(log);
  assert.match(first!, /-qq download some-texts$/);
  assert.match(update!, /Dir::State::lists=.* update$/);
  assert.match(second!, /Dir::State::lists=.* download some-texts$/);
});

test('what cannot be fetched is one line that says what to do, and leaves nothing', async () => {
  const { cache } = machineWith('bad', 'echo "E: Unable to locate package some-texts" >&2; exit 100');
  await rejects(
    debianPackage('some-texts', () => undefined),
    /^some-texts: cannot be fetched here \(.*Unable to locate package some-texts.*\); .* give data of your own/,
  );
  assert.equal(readdirSync(cache), []);
  process.env['PATH'] = '/nowhere';
  await rejects(
    debianPackage('some-texts', () => undefined),
    /cannot be fetched here \(apt-get is not installed\)/,
  );
  await rejects(debianPackage('../x'), /"\.\.\/x" is no name of a Debian package/);
});

test.run();
