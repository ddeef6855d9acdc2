import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { excerpt, indent } from '../../gpu/wgsl.ts';
import type { Dtype } from '../../kernels/kernel.ts';
import { contiguousLayout } from '../../kernels/layout.ts';
import { lossInPlace } from '../../kernels/cross-entropy.ts';
import { plainSink, plainSource } from '../../kernels/map/elements.ts';
import { matmulInt8 } from '../../kernels/quant/int8.ts';
import { matmulTiled } from '../../kernels/matmul/tiled.ts';
import type { RowTarget } from '../../kernels/rows.ts';
import { softmax } from '../../kernels/softmax.ts';
import { root } from '../support/files.ts';
import { runScript } from '../support/script.ts';
import type { Finished } from '../support/script.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('debug output');

let folder = '';
temporaryFolder(test, (path) => (folder = path));

const matrix = (row: number) => ({ dtype: 'f32' as const, offset: 0, row, col: 1, batch: [0, 0] as const });
const product = {
  m: 33,
  n: 35,
  k: 20,
  batch: [1, 1] as const,
  a: matrix(20),
  b: matrix(35),
  sink: plainSink([33, 35], 'f32'),
};
const processor: RowTarget = { software: true, subgroupSizes: [8, 8] };
const plain = (shape: readonly number[], dtype: Dtype, row: number) => ({
  shape,
  strides: [row, 1],
  offset: 0,
  dtype,
});
const rows = plainSource({ dtype: 'f32', layout: contiguousLayout([5, 1028]) });
const kernels = [
  softmax({ x: rows, y: plainSink([5, 1028], 'f32') }, { log: true }, { ...processor, share: 64 }),
  lossInPlace(
    { x: plain([3, 70], 'f16', 72), labels: plain([3], 'i32', 1), losses: plain([3, 2], 'f32', 2) },
    { ignoreIndex: 0, smoothing: 0.1, firstRow: 0, gradient: true },
    { ...processor, share: 8 },
  ),
  matmulTiled(product, { m: 32, n: 32, k: 8, threadM: 4, threadN: 4 }),
  matmulInt8(product),
];

test('indented WGSL has the same tokens, two blanks a brace, and lines that fit', () => {
  for (const { name, wgsl } of kernels) {
    const lines = indent(wgsl).split('\n');
    assert.is(lines.join('').replace(/\s/g, ''), wgsl.replace(/\s/g, ''), name);
    let [depth, parentheses] = [0, 0];
    for (const line of lines) {
      const text = line.trim();
      const blanks = line.length - line.trimStart().length;
      // Within parentheses a line goes on, four blanks further.
      const going = parentheses > 0 || /,$/.test(lines[lines.indexOf(line) - 1] ?? '');
      const own = depth - Number(text.startsWith('}'));
      assert.ok(blanks === 2 * own || (going && blanks === 2 * own + 4), `${name}: ${depth} deep: ${line}`);
      for (const c of text.replace(/\/\/.*/, '')) {
        depth += c === '{' ? 1 : c === '}' ? -1 : 0;
        parentheses += c === '(' ? 1 : c === ')' ? -1 : 0;
      }
      assert.ok(line.length <= 110, `${name}: ${line.length} columns: ${line}`);
    }
    assert.is(depth, 0, name);
  }
});

test('lines are split at statements, but for the head of a loop, and else stays with its brace', () => {
  const long = 'x'.repeat(100);
  assert.is(
    indent(`fn f() {\nif (a) { b(); } else if (c) { for (var i = 0u; i < 3u; i++) { ${long}(); } } // why\nreturn; }`),
    [
      'fn f() {',
      '  if (a) {',
      '    b();',
      '  } else if (c) {',
      '    for (var i = 0u; i < 3u; i++) {',
      `      ${long}();`,
    ]
      .concat(['    }', '  }', '  // why', '  return;', '}'])
      .join('\n'),
  );
  assert.is(indent('if (a) { b(); }\n\n  let c = 1; // {'), 'if (a) { b(); }\nlet c = 1; // {');
  assert.is(excerpt('a\nb\nc\nd', 2, 1), '    1 a\n>   2 b\n    3 c');
});

/** Runs a script with TAPEFORM_DEBUG set. */
async function run(level: string, lines: readonly string[]): Promise<Finished> {
  const script = join(folder, 'script.mts');
  const head = ['autograd', 'gpu'].map((room) => `import * as ${room} from '${join(root, room, 'index.ts')}';`);
  await writeFile(script, [...head, ...lines].join('\n'));
  return runScript([script], { env: { TAPEFORM_DEBUG: level } });
}

const program = [
  'const x = autograd.ones(4, 8);',
  'const f = autograd.compile((y) => y.t().softmax().sum());',
  'await x.softmax().data();',
  'await f(x).item();',
  'await f(x).item();',
];
const kinds = ({ stderr }: Finished): string[] =>
  [
    ...new Set([...stderr.matchAll(/^(op|view|capture|replay|kernel|wgsl|take|give) +\S/gm)].map(([, kind]) => kind!)),
  ].sort();

test('level 0 prints nothing, 1 ops with shapes and callers, in both modes', async () => {
  assert.is((await run('', program)).stderr, '');
  const got = await run('1', program);
  assert.equal(kinds(got), ['capture', 'op', 'replay', 'view'], got.stderr);
  assert.match(got.stderr, /^op {6}full nothing -> f32\[4, 8\] {2}.*script\.mts:3:\d+/m);
  assert.match(got.stderr, /^op {6}softmax f32\[4, 8\] -> f32\[4, 8\] {2}.*script\.mts:5:\d+/m);
  assert.match(got.stderr, /^view {4}permute f32\[4, 8\] -> f32\[8, 4\] {2}.*script\.mts:4:\d+/m);
  assert.match(got.stderr, /^capture softmax f32\[8, 4\] -> f32\[8, 4\] {2}.*script\.mts:4:\d+/m);
  assert.is([...got.stderr.matchAll(/^replay {2}\d+ kernels$/gm)].length, 2);
});

test('level 2 adds kernels, 3 their WGSL, 4 memory', async () => {
  const second = await run('2', program);
  assert.equal(kinds(second), ['capture', 'kernel', 'op', 'replay', 'view'], second.stderr);
  assert.match(second.stderr, /^kernel {2}softmax\.\w+ {2}\d+ workgroups, \d+ operations, 0\.3 KiB$/m);
  const replays = [...second.stderr.matchAll(/^replay {2}(\d+) kernels\n((?:kernel .*\n)+)/gm)];
  const printed = replays.map(([, , list]) => list!.trim().split('\n').length);
  const counted = replays.map(([, count]) => Number(count));
  assert.equal(printed, counted);
  const third = await run('3', program);
  assert.match(third.stderr, /^wgsl {4}softmax\.\w+\n@group\(0\) @binding\(0\)[^]*?\n {2}let group = wid\.y/m);
  assert.is(kinds(third).includes('take'), false);
  const fourth = await run('4', program);
  assert.match(fourth.stderr, /^take {4}0\.1 KiB full; live [\d.]+ KiB, peak [\d.]+ KiB$/m);
});

test('a level that does not exist is told', async () => {
  assert.match((await run('yes', program)).stderr, /TAPEFORM_DEBUG=yes: give 1 \(ops\), .*, or unset it/);
});

test('a shader that does not compile names its kernel and shows the line', async () => {
  const { code, stderr } = await run('', [
    'const device = await gpu.acquire();',
    "const wgsl = '@compute @workgroup_size(1)\\nfn main() {\\nlet x = 1; let y: u32 = 1.5;\\n}';",
    "const broken = { name: 'broken', wgsl, access: [], params: new Uint8Array(), draws: [], grid: [1, 1, 1],",
    '  cost: { flops: 0, bytes: 0 } };',
    'device.dispatch(broken, []);',
    'await device.synchronize();',
  ]);
  assert.is(code, 1);
  assert.match(stderr, /GpuError: broken: Error while parsing WGSL: :3:\d+ error/);
  assert.match(stderr, /2 fn main\(\) \{.*\n.*> {3}3 {3}let x = 1; let y: u32 = 1\.5;/);
});

test.run();
