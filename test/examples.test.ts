// Each script of examples/ at a small size, as a reader runs it: what it prints says whether it worked.
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from './support/files.ts';
import { runScript } from './support/script.ts';

const test = suite('examples');

/** The numbers behind a word, in the order they are printed. */
const after = (text: string, word: string): number[] =>
  [...text.matchAll(new RegExp(`${word} +(-?[\\d.]+(?:e[-+]\\d+)?)`, 'g'))].map(([, value]) => Number(value));

/** Arguments for a small size, and what must be true of the output. */
const scripts: Readonly<Record<string, readonly [args: readonly string[], check: (text: string) => void]>> = {
  'attention-map.ts': [
    ['the whale is white', '1', '1'],
    (text) => {
      const words = text.split('\n').flatMap((line) => /^(\S+) +looks at (\S+)/.exec(line)?.slice(1, 2) ?? []);
      assert.equal(words, ['[CLS]', 'the', 'whale', 'is', 'white', '[SEP]']);
      const file = join(root, 'runs/attention-map.svg');
      assert.match(readFileSync(file, 'utf8'), /^<svg .*layer 1, head 1.*whale.*<\/svg>$/s);
    },
  ],
  'char-gpt.ts': [
    ['20'],
    (text) => {
      const losses = after(text, 'loss');
      assert.ok(losses[0]! > 4 && losses.at(-1)! < 3.2, `losses ${losses}`); // guessing by frequency: about 3.1
      assert.match(text, /^The whale .{54}$/m);
    },
  ],
  'cnn-digits.ts': [
    ['20'],
    (text) => {
      const losses = after(text, 'loss');
      assert.ok(losses.at(-1)! < losses[0]! - 0.8, `losses ${losses}`);
      const right = Number(/([\d.]+)% of 500 new digits are right/.exec(text)?.[1]);
      assert.ok(right > 40, `${right}% right`); // chance: 10%
    },
  ],
  'custom-function.ts': [
    ['60'],
    (text) => {
      const [, , alone, through] = [...after(text, 'loss'), ...after(text, '->')];
      assert.ok(through! < 0.5 * alone!, `loss ${through} of straight-through, ${alone} of sign alone`);
    },
  ],
  'custom-op.ts': [
    ['16'],
    (text) => {
      assert.ok(after(text, 'within')[0]! < 1e-5, text);
      assert.ok(Math.abs(after(text, 'compiled')[0]! - after(text, 'without')[0]!) < 1e-2, text);
    },
  ],
  'hessian-vector-product.ts': [
    ['4'],
    (text) => {
      assert.ok(after(text, 'relative error')[0]! < 1e-2, text);
      const values = after(text, 'eigenvalue');
      assert.equal(
        [...values].sort((a, b) => a - b),
        values,
        "Rayleigh's quotient rises",
      );
    },
  ],
  'linear-probe.ts': [
    ['60'],
    (text) => {
      const [authors, coins] = [after(text, 'author'), after(text, 'coin')];
      assert.is(authors.length, 3);
      for (const i of [0, 1, 2]) assert.ok(authors[i]! > 0.7 && authors[i]! > coins[i]!, text);
    },
  ],
  'lora-by-hand.ts': [
    ['6'],
    (text) => {
      const [before, adapted, merged] = after(text, 'loss') as [number, number, number];
      assert.ok(adapted < before - 0.3, text);
      assert.ok(Math.abs(merged - adapted) <= 2e-3, text);
    },
  ],
  'mixed-precision.ts': [
    ['2', '2'],
    (text) => {
      const [full, checkpointed, half, both] = after(text, 'memory') as [number, number, number?, number?];
      assert.ok(checkpointed < full, text);
      if (half !== undefined) assert.ok(half < full && both! < checkpointed, text); // SwiftShader has no f16
      for (const [i, last] of after(text, '->').entries()) assert.ok(last < after(text, 'loss')[i]!, text);
    },
  ],
  'parameter-groups.ts': [
    ['10'],
    (text) => {
      const [embeddings, body, head] = after(text, 'moved by at most') as [number, number, number];
      assert.is(embeddings, 0);
      assert.ok(body > 0 && head > 10 * body, text);
      const losses = after(text, 'loss');
      assert.ok(losses.at(-1)! < losses[0]!, text);
    },
  ],
};

for (const [name, [args, check]] of Object.entries(scripts))
  test(name, async () => {
    const { code, stdout, stderr } = await runScript([`examples/${name}`, ...args]);
    assert.is(code, 0, stderr);
    check(stdout);
  });

test('every script is run here, is short, and has its row in the table', () => {
  const names = readdirSync(join(root, 'examples')).filter((name) => name.endsWith('.ts'));
  assert.equal(names.sort(), Object.keys(scripts).sort());
  const table = readFileSync(join(root, 'examples/README.md'), 'utf8');
  for (const name of names) {
    assert.ok(table.includes(`[${name}](${name})`), `${name} in examples/README.md`);
    const lines = readFileSync(join(root, 'examples', name), 'utf8').split('\n').length;
    assert.ok(lines <= 80, `${name} has ${lines} lines`);
  }
});

test.after(() => {
  const file = join(root, 'runs/attention-map.svg');
  if (existsSync(file)) rmSync(file);
});
test.run();
