import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { stages } from '../../bench/gpu-day/day.ts';
import { record, resultsIn, stepProducts, summary } from '../../bench/gpu-day/table.ts';
import type { Line } from '../../bench/gpu-day/table.ts';
import { failuresIn } from '../../bench/gpu-day/tests.ts';
import { runScript } from '../support/script.ts';

/** Tests the scripts for a machine with a GPU as far as they need none: their imports and their table. */
const test = suite('gpu-day');
const folder = mkdtempSync(join(tmpdir(), 'tapeform-gpu-day-'));
test.after(() => rmSync(folder, { recursive: true, force: true }));

const text = (...lines: readonly (Line | string)[]): string =>
  lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n');
const table = (...lines: readonly (Line | string)[]): string => summary(resultsIn(text(...lines)), true);
const own = (key: string, fields: Partial<Line>): Line => ({ who: 'tapeform', key, ...fields });

test('every stage loads', async () => {
  for (const [name, load] of Object.entries(stages)) assert.type((await load()).run, 'function', name);
});

test('run.sh knows every stage that it names', () => {
  const script = readFileSync('bench/gpu-day/run.sh', 'utf8');
  const called = [...script.matchAll(/^stage (\w+) /gm)].map((match) => match[1]!);
  const described = [...script.matchAll(/^# {3}(\w+) {2,}/gm)].map((match) => match[1]!);
  assert.equal(called, [
    'facts',
    'correct',
    'kernels',
    'models',
    'torch',
    'gradients',
    'robust',
    'tune',
    'compile',
    'bench',
  ]);
  for (const name of called) assert.ok(described.includes(name), `${name} is not described`);
  for (const name of Object.keys(stages))
    assert.match(script, new RegExp(`day.ts" ${name}|cases \\S+ \\S+ ${name}|_ ${name}`));
});

test('the table puts our time beside PyTorch in the same type, and the newest line counts', () => {
  const lines = table(
    own('matmul 4096x4096x4096', { type: 'f16', ms: 9 }),
    own('matmul 4096x4096x4096', { type: 'f16', ms: 0.5, tflops: 275 }),
    { who: 'torch', key: 'matmul 4096x4096x4096', type: 'f16', ms: 0.25 },
    { who: 'torch', key: 'matmul 4096x4096x4096', type: 'bf16', ms: 0.2 },
    { who: 'tapeform-tuned', key: 'matmul 4096x4096x4096', type: 'f16', ms: 0.4 },
  ).split('\n');
  const row = lines.find((line) => line.startsWith('matmul'))!;
  assert.match(row, /^matmul 4096x4096x4096 +f16 +0\.500 +275 TF\/s +0\.250 +0\.50x +0\.400 bf16 0\.200$/);
  assert.match(lines.join('\n'), /^ms +type +tapeform .* tuned other types of torch$/m);
});

test('wrong results, failing tests and errors are named; NaN counts as wrong', () => {
  const lines = table(
    own('product 1x2x3 nn', {
      stage: 'correct',
      type: 'f32',
      ok: false,
      equal: false,
      worst: 'infinite',
      where: '(0, 0, 0): NaN, want 1',
    }),
    own('sum of 5', { stage: 'correct', type: 'f32', ok: true, equal: true, worst: 0.1 }),
    own('test test/ops/scan.ts', { failed: 1, failures: [{ name: 'cumsum', message: 'is wrong' }] }),
    own('decode 1x64', { error: 'the device was lost' }),
  );
  assert.match(lines, /^probes +1 of 2 right/m);
  assert.match(
    lines,
    /^ {2}WRONG product 1x2x3 nn f32: differs from run to run; infinite x what is allowed; \(0, 0, 0\): NaN, want 1$/m,
  );
  assert.match(lines, /^ {2}FAIL test\/ops\/scan\.ts \(1\): cumsum: is wrong$/m);
  assert.match(lines, /^ {2}ERROR tapeform: decode 1x64: the device was lost$/m);
  assert.match(lines, /^adapter +none$/m);
});

test('a line that a crash cut short is left out', () => {
  const { all } = resultsIn(text(own('a', { ms: 1 }), '{"who":"tapeform","key":"b","m'));
  assert.equal(
    all.map(({ key }) => key),
    ['a'],
  );
});

test("a step's products: 12 layers, the head four times, and nothing where one is missing", () => {
  const products = ['qkv', 'proj', 'fc', 'out', 'head'].flatMap((layer) =>
    ['y', 'dx', 'dw'].map((way) => own(`gpt2 ${layer} ${way} 1x1x1`, { type: 'f16', ms: 1 })),
  );
  assert.is(stepProducts(products, 'tapeform', 'f16'), 12 * 12 + 3 * 4);
  assert.is(stepProducts(products.slice(1), 'tapeform', 'f16'), undefined);
});

test('a short table stays short, its head and first rows kept', () => {
  const many = ['qkv', 'proj', 'fc', 'out'].flatMap((layer) =>
    Array.from({ length: 60 }, (_, i) => own(`gpt2 ${layer} y ${i}x1x1`, { type: 'f16', ms: 1 })),
  );
  const lines = [...many, own('softmax 1x1', { type: 'f16', ms: 1 })];
  assert.ok(table(...lines).length <= 10_500);
  assert.match(table(...lines), /^softmax 1x1/m);
  assert.ok(summary(resultsIn(text(...lines)), false).length > 10_500);
});

test('the files are written whole, the figures under adapter, driver and commit', async () => {
  const [results, json] = [join(folder, 'results.jsonl'), join(folder, 'gpu-day.json')];
  const lines = text(
    own('adapter', { adapter: 'H100', driver: 'system', node: '22', cores: 16, date: '2026-11-28 08:00', f16: true }),
    { who: 'run', key: 'commit', value: '1a2b3c4d5e6f' },
  );
  writeFileSync(results, lines);
  const { code, stderr } = await runScript(['bench/gpu-day/table.ts', results, '--write', folder]);
  assert.is(code, 0, stderr);
  assert.is(readFileSync(json, 'utf8'), record(resultsIn(lines)));
  const { header, results: kept } = JSON.parse(readFileSync(json, 'utf8')) as { header: object; results: Line[] };
  assert.equal(header, {
    adapter: 'H100',
    driver: 'system',
    node: '22',
    cores: 16,
    commit: '1a2b3c4d5e6f',
    date: '2026-11-28 08:00',
  });
  assert.is(kept.length, 2);
  assert.match(readFileSync(join(folder, 'summary.txt'), 'utf8'), /^commit +1a2b3c4d5e6f$/m);
});

test('failures are read from what the test runner prints', () => {
  const printed =
    '\n   FAIL  ops  "softmax: rows"\n    Expected values to be equal\n\n  outside of its tests: Error: lost\n';
  assert.equal(failuresIn(printed), [
    { name: 'ops "softmax: rows"', message: 'Expected values to be equal' },
    { name: 'the file', message: 'outside of its tests: Error: lost' },
  ]);
});

test('an unknown stage is refused in one line', async () => {
  const { code, stderr } = await runScript(['bench/gpu-day/day.ts', 'krenels']);
  assert.is(code, 2);
  assert.match(stderr.trim(), /^gpu-day: there is no stage "krenels"; there are facts, smoke, /);
});

test.run();
