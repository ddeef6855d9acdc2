import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { emit, rehearse } from './shared.ts';

/**
 * The tests that compute, the most telling first. Left out are those that only read, write and parse, and
 * those that start many processes.
 */
const order = [
  /^test\/kernels\//,
  /^test\/ops\//,
  /^test\/gpu\/bindings/,
  /^test\/models\/.*-forward/,
  /^test\/autograd\//,
  /^test\/models\/(gpt2|bert|llama|marian|generation|nn|rotary|masked|module|pretrained|auto)/,
  /^test\/train\/(optim|mixed-precision|objectives-learn|fine-tune|trainer)/,
];
const rank = (file: string): number => order.findIndex((part) => part.test(file));

/** Seconds for one file. */
const limit = rehearse ? 240 : 75;
const until = Number(process.env.GPU_DAY_UNTIL ?? Infinity);

interface Failure {
  readonly name: string;
  readonly message: string;
}

const groups = new Set<ChildProcess>();
function endGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL'); // the runner and its workers
  } catch {
    // They have ended by themselves.
  }
}

/**
 * Runs the project's tests, `tests JOBS [PART OF A NAME ...]`: each file, and each family of ops, by a
 * test/run.ts of its own under a time limit of its own, many at a time. Writes a result for each, with the
 * name and first message of every failure, and prints all that failing files printed.
 */
export async function run([jobs = '4', ...only]: readonly string[]): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => {
      groups.forEach(endGroup);
      process.exit(1);
    });
  const queue = readdirSync('test', { recursive: true, encoding: 'utf8' })
    .map((file) => `test/${file}`)
    .filter((file) => file.endsWith('.test.ts') || /^test\/ops\/.*\.ts$/.test(file))
    .filter((file) => rank(file) >= 0 && (only.length === 0 || only.some((part) => file.includes(part))))
    .sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
  const totals = { runs: 0, passed: 0, failed: 0 };
  const unfinished: string[] = [];
  const begun = Date.now();
  const lane = async (): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      if (Date.now() / 1000 > until - 4) {
        unfinished.push(file);
        continue;
      }
      const { passed, failed, late } = await runFile(file);
      totals.runs++;
      totals.passed += passed;
      totals.failed += failed;
      if (late) unfinished.push(file);
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, Number(jobs)) }, lane));
  const ok = totals.failed === 0 && unfinished.length === 0;
  emit({ key: 'tests', ok, ...totals, unfinished, seconds: Math.round((Date.now() - begun) / 1000) });
}

function runFile(file: string): Promise<{ readonly passed: number; readonly failed: number; readonly late: boolean }> {
  const begun = Date.now();
  const args = ['--import', 'tsx', 'test/run.ts', file];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  groups.add(child);
  let text = '';
  const take = (chunk: Buffer): void => {
    if (text.length < 400_000) text += chunk.toString();
  };
  child.stdout.on('data', take);
  child.stderr.on('data', take);
  let late = false;
  const stop = (): void => {
    late = true;
    endGroup(child);
  };
  const timer = setTimeout(stop, Math.max(1, Math.min(1000 * limit, 1000 * until - Date.now() - 1500)));
  return new Promise((resolve) => {
    child.on('error', (error) => (text += error.message));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      groups.delete(child);
      const seconds = Math.round((Date.now() - begun) / 100) / 10;
      const counts = /(\d+) passed, (\d+) failed\s*$/.exec(text.trim());
      const failures = failuresIn(text);
      if (late) failures.push({ name: 'the file', message: `ended after ${seconds} s, unfinished` });
      else if (!counts) {
        const last = text.trim().split('\n').at(-1)?.slice(0, 200) ?? '';
        failures.push({ name: 'the file', message: `no result; code ${code}, signal ${signal}; ${last}` });
      }
      const [passed, failed] = counts ? [Number(counts[1]), Number(counts[2])] : [0, 1];
      const ok = failed === 0 && !late;
      const why = failures.length > 0 ? { failures: failures.slice(0, 40) } : {};
      emit({ key: `test ${file}`, ok, passed, failed, seconds, ...why });
      if (!ok) console.log(text.slice(0, 60_000));
      resolve({ passed, failed, late });
    });
  });
}

/** Name and first message of each failure in what the runner printed. */
export function failuresIn(text: string): Failure[] {
  const lines = text.replace(/\x1b\[\d*m/g, '').split('\n');
  return lines.flatMap((line, i): Failure[] => {
    const name = /^\s+FAIL\s+(.+)$/.exec(line)?.[1];
    if (name) {
      const said = lines.slice(i + 1).find((next) => next.trim() !== '') ?? '';
      return [{ name: name.replace(/\s+/g, ' ').slice(0, 200), message: said.trim().slice(0, 300) }];
    }
    const outside = /^\s*(outside of its tests: .*|the process running it .*)$/.exec(line)?.[1];
    return outside ? [{ name: 'the file', message: outside.slice(0, 300) }] : [];
  });
}
