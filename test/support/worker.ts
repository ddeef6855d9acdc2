import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureVulkanDriver } from '../../gpu/driver.ts';
import { root } from './files.ts';

/**
 * Runs test files one after the other in one process, so that the device is opened and shaders are compiled
 * once for many of them. Takes file names from its parent by message, answers with a report on each.
 */

/** What one test file did. */
export interface FileReport {
  readonly passed: number;
  readonly failed: number;
  /** What uvu says of the failures, and all that the tests printed. */
  readonly output: string;
  /** The process has used up half of what Linux lets it have, and the next file needs another one. */
  readonly isWornOut: boolean;
}

/**
 * Of the 65,530 mappings of memory that Linux allows a process: the software driver makes one for each bind
 * group, and aborts where it gets none.
 */
const mostMappings = 32_000;

function isWornOut(): boolean {
  if (process.platform !== 'linux') return false;
  return readFileSync('/proc/self/maps', 'latin1').split('\n').length > mostMappings;
}

/**
 * What a suite gives back when run: its errors (or true), how many passed, were skipped, and were there in
 * all.
 */
type SuiteRun = () => Promise<readonly [errors: string | true, passed: number, skipped: number, total: number]>;

// Tests that start processes need process.execPath to be a program, which it is not until this has looked at
// the driver.
await ensureVulkanDriver();

// uvu queues suites for its own command-line runner where these are set before it is imported.
const uvu = globalThis as unknown as { UVU_DEFER: number; UVU_INDEX: number; UVU_QUEUE: (SuiteRun | string)[][] };
uvu.UVU_DEFER = 1;
uvu.UVU_QUEUE = [];

async function runFile(file: string): Promise<FileReport> {
  const suites: SuiteRun[] = [];
  uvu.UVU_INDEX = uvu.UVU_QUEUE.push(suites as (SuiteRun | string)[]) - 1;
  const restore = capture();
  let [passed, failed] = [0, 0];
  let errors = '';
  try {
    await import(pathToFileURL(join(root, file)).href);
    for (const run of suites) {
      const [problems, good, , total] = await run();
      passed += good;
      failed += total - good;
      if (problems !== true) errors += withoutRunner(problems);
    }
  } catch (error) {
    failed++;
    errors += `  outside of its tests: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`;
  }
  return { passed, failed, output: restore() + errors, isWornOut: isWornOut() };
}

/** Drops the lines of stack traces that lie in the runner. */
function withoutRunner(errors: string): string {
  return errors
    .split('\n')
    .filter((line) => !/^\W*(\[\d+m)?\s*at .*(node_modules\/uvu|support\/worker\.ts)/.test(line))
    .join('\n');
}

/** Keeps what is printed, until the returned function gives it back. */
function capture(): () => string {
  const { stdout } = process;
  const write = stdout.write.bind(stdout);
  let text = '';
  stdout.write = ((chunk: string | Uint8Array) => {
    text += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString();
    return true;
  }) as typeof stdout.write;
  return () => {
    stdout.write = write;
    return text;
  };
}

process.on('message', (file: string) => {
  void runFile(file).then((report) => process.send!(report));
});
process.on('disconnect', () => process.exit());
process.send!('ready');
