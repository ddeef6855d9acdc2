import ts from 'typescript';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { circlesOf } from './support/circles.ts';
import { lineFacts, wideLines } from './support/code-lines.ts';

const test = suite('rooms');

test('circles of imports are found whole, the largest first, and files that import themselves', () => {
  const imports = { a: ['b'], b: ['c'], c: ['a', 'd'], d: ['e'], e: ['d', 'f'], f: [], g: ['g'], h: ['a'] };
  assert.equal(circlesOf(new Map(Object.entries(imports))), [['a', 'b', 'c'], ['d', 'e'], ['g']]);
});

test('lines of code are those with a token; comments alone may be 110 columns wide, code 120', () => {
  const wide = (columns: number, begin: string): string => begin.padEnd(columns, 'x');
  const lines = [
    '/**',
    wide(111, ' * '),
    ' */',
    '',
    'const a = 1; // a comment beside code',
    wide(110, '// '),
    wide(111, '// '),
    'const b = `first',
    '',
    '// not a comment ${a}`;',
    wide(120, 'const c = '),
    wide(121, 'const d = '),
  ];
  const source = ts.createSourceFile('a.ts', lines.join('\n'), ts.ScriptTarget.Latest, true);
  assert.equal(lineFacts(source), {
    code: 5,
    tooWide: [
      { line: 2, columns: 111, limit: 110 },
      { line: 7, columns: 111, limit: 110 },
      { line: 12, columns: 121, limit: 120 },
    ],
  });
  assert.equal(wideLines([wide(120, '#'), wide(121, '#')]), [{ line: 2, columns: 121, limit: 120 }]);
});

test.run();
