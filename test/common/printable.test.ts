import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { padText, printable, printableLines } from '../../common/printable.ts';
import { alignTable } from '../../common/text-table.ts';

const test = suite('printable text');

const steering: readonly (readonly [name: string, text: string, spelt: string])[] = [
  ['a sequence that clears the screen', '\x1b[2J', '\\x1b[2J'],
  ['one that sets the title', '\x1b]0;x\x07', '\\x1b]0;x\\x07'],
  ['C1, which needs no ESC', '\x9b31m', '\\x9b31m'],
  ['backspace and delete', 'a\b\x7f', 'a\\x08\\x7f'],
  ['a return over the line', 'safe\revil', 'safe\\revil'],
  ['lines', 'a\nb\u2028c\u2029d\x85', 'a\\nb\\u2028c\\u2029d\\x85'],
  ['an override of direction', 'a\u202etxt.exe', 'a\\u202etxt.exe'],
  ['an isolate', '\u2066a\u2069', '\\u2066a\\u2069'],
  ['half a pair', 'a\ud83d b\ude00', 'a\\ud83d b\\ude00'],
  ['a byte order mark', '\ufeffa', '\\ufeffa'],
  ['NUL', '\0', '\\x00'],
];

for (const [name, text, spelt] of steering) test(`spelt out: ${name}`, () => assert.is(printable(text), spelt));

test('letters of any script, emoji and their joiners stay', () => {
  for (const text of ['größe', '日本語', 'עברית', 'हिन्दी', '👩‍👩‍👧', 'é', 'a\u200db', 'C:\\new', '"quoted"'])
    assert.is(printable(text), text);
});

test('lines of a longer text stay lines', () => {
  assert.is(printableLines('a\n\tb\x1b[1m\r\n'), 'a\n\tb\\x1b[1m\\r\n');
});

test('a table with such cells has its rows and columns still', () => {
  const rows = [
    ['\x1b[31mred', '1'],
    ['two\nlines', '2'],
    ['😀😀', '3'],
  ];
  const table = alignTable(['class', 'n'], rows, new Set([1]));
  assert.is(table, 'class        n\n\\x1b[31mred  1\ntwo\\nlines   2\n😀😀           3');
  assert.is(padText('😀', 3), '😀  ');
});

test.run();
