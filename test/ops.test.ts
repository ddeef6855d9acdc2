import { suite } from 'uvu';
import { acquire } from '../gpu/index.ts';
import { ops } from '../autograd/op.ts';
import { mapFunctions, mapOp } from '../autograd/ops/map-op.ts';
import { filesBelow } from './support/files.ts';
import { Applied, runCase, titleOf } from './support/op-driver.ts';
import type { ErrorCase, OpCases } from './support/op-case.ts';

/**
 * Every op against its reference: the cases are in test/ops/, a file for each family. `npm test --
 * ops/matmul` runs one family; the check that every op has cases needs them all.
 */
const gpu = await acquire();
// TAPEFORM_BINDING_LIMIT=1024 runs the cases as if a binding held so few bytes: those with larger tensors in
// blocks, see test/autograd/blocks.test.ts.
if (process.env.TAPEFORM_BINDING_LIMIT) gpu.limitBindings(Number(process.env.TAPEFORM_BINDING_LIMIT));
const { target } = gpu;
const filters = (process.env.TEST_FILTER ?? '').split('\n').filter((filter) => filter !== '');
const all = filesBelow('test/ops', '.ts');
const chosen = all.filter((file) => filters.some((filter) => file.includes(filter)));
const files = chosen.length > 0 ? chosen : all;

/** Names of cases, and of ops that those list, by what they applied. */
const covered = new Set<unknown>();

for (const file of files) {
  const { cases, errors = [] } = (await import(`../${file}`)) as OpCases;
  const test = suite(file);
  for (const c of cases) {
    // SwiftShader has no f16.
    if (!target.f16 && c.inputs.some(({ dtype }) => dtype === 'f16')) continue;
    test(titleOf(c), async () => {
      const applied = new Applied();
      await runCase(c, applied);
      const own = new Set([c.op, ...(c.covers ?? [])]);
      for (const name of c.covers ?? [])
        if (!applied.names.has(name)) throw new Error(`the case says that it covers ${name}, but does not apply it`);
      for (const [record, name] of applied.records) if (own.has(name)) covered.add(record);
      for (const name of own) if (applied.names.has(name)) covered.add(name);
    });
  }
  for (const { op, run, says } of errors) test(`${op} refuses: ${String(says)}`, () => refuses(op, run, says));
  test.run();
}

function refuses(op: string, run: ErrorCase['run'], says: RegExp): void {
  let message: string | undefined;
  try {
    run();
  } catch (error) {
    message = error instanceof Error ? error.message : String(error);
  }
  if (message === undefined) throw new Error(`${op} accepted a bad argument`);
  if (!message.startsWith(`${op}:`)) throw new Error(`the message does not begin with "${op}:": ${message}`);
  if (message.includes('\n')) throw new Error(`the message has several lines: ${message}`);
  if (!says.test(message)) throw new Error(`the message does not say ${String(says)}: ${message}`);
}

if (files.length === all.length) {
  const registry = suite('every op has cases');
  registry('records', () => {
    const missing = ops().filter(
      (op) =>
        !(
          covered.has(op) ||
          (typeof op.name === 'string' && 'view' in op && covered.has(op.name)) ||
          op === (mapOp as unknown)
        ),
    );
    if (missing.length > 0)
      throw new Error(`no case in test/ops covers: ${missing.map(({ name }) => String(name)).join(', ')}`);
  });
  registry('elementwise functions', () => {
    const missing = mapFunctions().filter((fn) => !covered.has(fn));
    const described = missing.map(({ name, kinds, expr }) => `${name}(${kinds.length} inputs, ${expr.kind})`);
    if (missing.length > 0) throw new Error(`no case in test/ops covers: ${described.join(', ')}`);
  });
  registry.run();
}
