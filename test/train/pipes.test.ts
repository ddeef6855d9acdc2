import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { lockFolder } from '../../common/lock.ts';
import { latestCheckpoint } from '../../train/trainer/run-state.ts';
import { train } from '../../train/trainer/trainer.ts';
import { chainRun } from '../support/chain-task.ts';
import { failure } from '../support/failure.ts';
import { root } from '../support/files.ts';
import { reviews, smallClassifier } from '../support/reviews.ts';
import { lossesIn, underNpm } from '../support/script.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('pipes and signals');
let folder = '';
temporaryFolder(test, (path) => (folder = path));

/** A fine-tuning in `folder`/out. `node`: Node as the system has it, which restarts itself. */
function start(more: readonly string[] = [], node = process.execPath, env = process.env): ChildProcess {
  return launch(node, command(more), env);
}

/** Node's arguments for it. */
function command(more: readonly string[]): string[] {
  const data = join(folder, 'data.csv');
  writeFileSync(data, reviews);
  const script = ['train/finetune-classifier.ts', '--data', data, '--output', join(folder, 'out')];
  return ['--import', 'tsx', ...script, ...smallClassifier, ...more];
}

function launch(program: string, args: readonly string[], env: NodeJS.ProcessEnv): ChildProcess {
  return spawn(program, args, {
    cwd: root,
    env: { ...env, TAPEFORM_QUIET: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Waits until a stream has said something like this; resolves with all it has said. */
function says(stream: NodeJS.ReadableStream, pattern: RegExp): Promise<string> {
  return new Promise((done, fail) => {
    let text = '';
    stream.on('data', (part: Buffer) => {
      text += part.toString();
      if (pattern.test(text)) done(text);
    });
    stream.on('end', () => fail(new Error(`ended without ${pattern}: ${text}`)));
  });
}

for (const broken of ['stdout', 'stderr'] as const)
  test(`a ${broken} that nobody reads any more: the training goes on to its end`, async () => {
    const child = start();
    await says(child[broken]!, broken === 'stdout' ? /./ : /step \d/);
    child[broken]!.destroy();
    child[broken === 'stdout' ? 'stderr' : 'stdout']!.resume();
    const [code] = (await once(child, 'exit')) as [number | null];
    assert.is(code, 0);
    assert.is(lossesIn(join(folder, 'out')).length, 18);
    assert.is(await latestCheckpoint(join(folder, 'out')), undefined);
  });

for (const signal of ['SIGHUP', 'SIGTERM'] as const)
  test(`${signal} saves a checkpoint`, async () => {
    const child = start(['--epochs', '400']);
    child.stdout!.resume();
    await says(child.stderr!, /step \d/);
    child.kill(signal);
    const [code] = (await once(child, 'exit')) as [number | null];
    assert.is(code, signal === 'SIGHUP' ? 129 : 143);
    assert.ok(await latestCheckpoint(join(folder, 'out')));
  });

test('a signal that comes after the last step: the model is saved, then the run ends', async () => {
  const run = chainRun(join(folder, 'chain'), { steps: 4, learningRate: 0.01 });
  const onEnd = (): void => void process.kill(process.pid, 'SIGTERM');
  const message = await failure(train({ ...run, callbacks: [{ onEnd }] }));
  assert.match(message, /stopped at step 4 of 4, saved in .*chain;/);
  assert.is((await train({ ...run, resume: true })).steps.length, 4);
});

// Node that was started on the driver's libraries has no parent of ours; the system's Node stays as one.
const { TAPEFORM_NODE: system, VK_DRIVER_FILES: _, TAPEFORM_WHY: __, ...env } = process.env;
const npm = (): ChildProcess => {
  const { words, env: more } = underNpm([process.execPath, ...command(['--epochs', '4000'])]);
  return launch(words[0]!, words.slice(1), { ...process.env, ...more });
};
const visible: readonly (readonly [name: string, launch: () => ChildProcess])[] = [
  ...(existsSync('/proc/self/stat') ? [['npm', npm] as const] : []),
  ...(system === undefined ? [] : [['its restarted self', () => start(['--epochs', '4000'], system, env)] as const]),
];
for (const [name, launchIt] of visible)
  test(`a run under ${name}, which is killed, saves a checkpoint and ends`, async () => {
    const child = launchIt();
    child.stdout!.resume();
    await says(child.stderr!, /step \d/);
    const stopped = says(child.stderr!, /stopped at step \d+ of \d+, saved in/);
    child.kill('SIGKILL');
    await stopped;
    await once(child.stderr!, 'close');
    assert.ok(await latestCheckpoint(join(folder, 'out')));
    (await lockFolder(join(folder, 'out'))).release();
  });

test.run();
