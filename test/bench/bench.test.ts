import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { runScript } from '../support/script.ts';

/** The benchmark as a user starts it, without peers, which are not installed with the project. */
const test = suite('bench');
const folder = mkdtempSync(join(tmpdir(), 'tapeform-bench-'));
test.after(() => rmSync(folder, { recursive: true, force: true }));

const bench = (...args: string[]) => runScript(['bench/run.ts', ...args]);

interface Written {
  readonly header: Record<string, unknown>;
  readonly rows: readonly {
    readonly name: string;
    readonly variant: string;
    readonly ms: number;
    readonly min: number;
    readonly max: number;
    readonly gbps: number;
    readonly ceiling: number;
    readonly control: number | null;
    readonly failures: Record<string, string>;
  }[];
}

test('a short run measures, checks the results and writes both files', async () => {
  const [json, markdown] = [join(folder, 'rows.json'), join(folder, 'table.md')];
  const short = ['--no-peers', '--rounds', '1', '--seconds', '0', '--json', json, '--markdown', markdown];
  const { code, stdout, stderr } = await bench('softmax', '--filter', 'MLP', '--filter', 'GPT', ...short);
  assert.is(code, 0, stderr);
  assert.match(stdout, /softmax +immediate +512x1024 +[\d.]+/);
  const { header, rows } = JSON.parse(readFileSync(json, 'utf8')) as Written;
  assert.equal(Object.keys(header), ['adapter', 'driver', 'node', 'cores', 'commit', 'date']);
  for (const row of rows) {
    assert.equal(row.failures, {}, row.name);
    assert.ok(row.min > 0 && row.min <= row.ms && row.ms <= row.max, `${row.name}: ${row.min} ${row.ms} ${row.max}`);
  }
  const immediate = rows.filter(({ variant }) => variant === 'immediate').map(({ name }) => name);
  assert.equal(immediate, ['softmax', 'MLP training step', 'GPT training step']);
  const named = (name: string) => rows.find((row) => row.name === name)!;
  assert.ok(named('softmax').control! > 0, 'a second process measured the same');
  assert.ok(named('copy').gbps > 0 && named('softmax').ceiling > 0);
  assert.match(readFileSync(markdown, 'utf8'), /^\| row \| shape \| tapeform \| ms \|/m);
});

test('lists rows and libraries', async () => {
  const { code, stdout } = await bench('--list');
  assert.is(code, 0);
  for (const line of ['matmul 512x512x512', 'softmax backward 512x1024', 'jax-js', 'onnxruntime-node'])
    assert.ok(stdout.split('\n').includes(line), line);
});

test('refuses what it does not know in one line', async () => {
  for (const [args, says] of [
    [['--fitler', 'x'], 'bench: unknown flag --fitler; did you mean --filter? (--help lists the options)'],
    [['--filter', 'no such row'], 'bench: no row contains no such row (--list prints them)'],
  ] as const) {
    const { code, stderr } = await bench(...args);
    assert.is(code, 2);
    assert.is(stderr.trim(), says);
  }
  const { stderr } = await bench('--only', 'torch');
  assert.match(stderr, /^bench: no library or mode "torch"; there are immediate, /);
});

test.run();
