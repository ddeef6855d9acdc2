import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Runner } from './adapters/index.ts';
import { RunnerProcess } from './process.ts';
import type { Header } from './header.ts';
import { rows, titleOf } from './rows/index.ts';
import { aligned, digits } from './table.ts';

interface Start {
  readonly seconds: number;
  readonly pipelines: number;
}

/** From before the process starts to the end of its first step, its loss read back. */
async function start(runner: Runner, environment: NodeJS.ProcessEnv): Promise<Start | string> {
  const process = new RunnerProcess(runner, environment);
  const began = performance.now();
  try {
    await process.prepare(titleOf(rows.find(({ name }) => name === 'GPT training step')!));
    const { pipelines } = await process.check(1);
    return { seconds: (performance.now() - began) / 1000, pipelines };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    process.stop();
  }
}

/**
 * Prints, for every library that trains, how long a fresh process takes to its first GPT training step: with
 * the driver's cache of compiled shaders off, and on and filled by a run before (Mesa's drivers; others keep
 * theirs as they do). The folder of that cache is a new one.
 */
export async function coldStart({ adapter, driver, commit, date }: Header, runners: readonly Runner[]): Promise<void> {
  console.log(
    `${adapter}, ${driver}, commit ${commit}, ${date}\nprocess start to the end of the first GPT training step\n`,
  );
  const folder = await mkdtemp(join(tmpdir(), 'bench-shaders-'));
  const lines: string[][] = [];
  try {
    for (const runner of runners) {
      const off = await start(runner, { MESA_SHADER_CACHE_DISABLE: 'true' });
      const cache = { MESA_SHADER_CACHE_DISABLE: 'false', MESA_SHADER_CACHE_DIR: folder };
      await start(runner, cache); // fills it
      const on = await start(runner, cache);
      const cell = (one: Start | string): string => (typeof one === 'string' ? '-' : digits(one.seconds));
      lines.push([runner.name, cell(off), cell(on), typeof off === 'string' ? off : `${off.pipelines}`]);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  console.log(aligned({ head: ['library', 'cache off, s', 'cache on, s', 'pipelines'], rows: lines, text: 1 }));
}
