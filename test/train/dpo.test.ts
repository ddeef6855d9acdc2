// train/dpo.ts as a user runs it: on answers to its own lessons, whole and with an adapter.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readLog } from '../../train/trainer/run-log.ts';
import { isStep } from '../../train/trainer/callback.ts';
import { loadPreferences } from '../../train/preferences/data.ts';
import type { Conversation } from '../../train/sft/conversations.ts';
import { refused, resumesAs, runScript } from '../support/script.ts';
import type { Finished, ScriptOptions } from '../support/script.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { pairsFile, smallGpt } from '../support/lessons.ts';

const test = suite('dpo');
let folder = '';
temporaryFolder(test, (made) => (folder = made));

const run = (args: readonly string[], options?: ScriptOptions): Promise<Finished> =>
  runScript(['train/dpo.ts', ...args], options);

/** Held-out values of a model by the name of their column. */
function held(stdout: string, name: string): Readonly<Record<string, number>> {
  const [head, row] = ['test, \\d+ pairs', name].map((begin) => new RegExp(`^${begin} +(.*)$`, 'm').exec(stdout)![1]!);
  const values = row!.trim().split(/ +/).map(Number);
  return Object.fromEntries(
    head!
      .trim()
      .split(/ +/)
      .map((each, i) => [each, values[i]!]),
  );
}

test('lessons are right against wrong answers, of the same kind where that has another', async () => {
  const { train, test: held, origin } = await loadPreferences('lessons', { seed: 1 });
  assert.match(origin, /, 600 pairs; /);
  assert.ok(train.length > 450 && held.length > 40);
  const said = (conversation: Conversation): string => {
    assert.ok('messages' in conversation);
    assert.is(conversation.messages.length, 2);
    return String(conversation.messages[1]!.content);
  };
  for (const { where, chosen, rejected } of [...train, ...held]) {
    assert.is.not(said(chosen), said(rejected), where);
    if (where.endsWith('JSON')) assert.match(said(rejected), /^\{"name"/);
  }
});

for (const [name, args] of Object.entries({ whole: [], adapter: ['--lora', '4', '--loss', 'kto'] }))
  test(`margins rise on held-out pairs; killed and resumed it is the same, bit for bit: ${name}`, async () => {
    const [whole, killed] = [join(folder, 'whole'), join(folder, 'killed')];
    const common = [
      ...['--data', pairsFile(folder), '--model', await smallGpt(folder), '--learning-rate', '0.01', '--epochs', '2'],
      ...['--batch-size', '8', '--save-every', '4', ...args],
    ];
    const [done] = await Promise.all([
      run([...common, '--output', whole]),
      run([...common, '--output', killed], { killAt: join(killed, 'checkpoint-4') }),
    ]);
    assert.is(done.code, 0, done.stderr);
    const [before, after] = [held(done.stdout, 'the model it began as'), held(done.stdout, 'this model')];
    assert.is(before['margin'], 0);
    assert.ok(after['margin']! > 0 && after['accuracy']! > 0.6, done.stdout);
    const steps = readLog(join(whole, 'log.jsonl')).filter(isStep);
    assert.ok(steps.every(({ measures }) => Number.isFinite(measures!['margin'])));
    assert.ok(steps.at(-1)!.measures!['margin']! > 0);
    assert.is(existsSync(join(whole, 'model.safetensors')), name === 'whole');
    await resumesAs(whole, killed, () => run([...common, '--output', killed, '--resume']));
  });

test('losses without a reference, and what is refused', async () => {
  const [data, model] = [pairsFile(folder), await smallGpt(folder)];
  for (const loss of ['simpo', 'orpo']) {
    const output = join(folder, loss);
    const done = await run([
      '--data',
      data,
      '--model',
      model,
      '--loss',
      loss,
      '--output',
      output,
      '--batch-size',
      '64',
    ]);
    assert.is(done.code, 0, done.stderr);
  }
  refused(await run(['--data', data, '--loss', 'ppo']), 2, /--loss must be one of dpo, cdpo, ipo, simpo, orpo, kto/);
});

test.run();
