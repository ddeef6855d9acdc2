import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { ensureVulkanDriver } from '../gpu/driver.ts';
import { filesBelow } from './support/files.ts';
import type { FileReport } from './support/worker.ts';

/**
 * `npm test [-- part of a name ...]`: runs test/**\/*.test.ts in a few processes. Each process takes the next
 * file when it is done with one; a process is replaced in which a test failed, since a failed device stays
 * failed, or that is worn out.
 */
// Here, so that the processes below start on the right driver at once.
await ensureVulkanDriver();

const processes = Math.max(1, Math.min(4, availableParallelism()));
const timeLimit = 10 * 60_000; // for one file
const worker = fileURLToPath(new URL('support/worker.ts', import.meta.url));

function choose(filters: readonly string[]): string[] {
  const matches = (file: string): boolean => filters.length === 0 || filters.some((filter) => file.includes(filter));
  const driver = 'test/ops.test.ts'; // runs the cases in test/ops, and is the longest: first
  const cases = filters.length > 0 && filesBelow('test/ops', '.ts').some(matches);
  const files = filesBelow('test', '.test.ts').filter((file) => matches(file) || (cases && file === driver));
  return files.sort((a, b) => Number(b === driver) - Number(a === driver));
}

let [passed, failed] = [0, 0];

function show(file: string, report: FileReport, seconds: number): void {
  passed += report.passed;
  failed += report.failed;
  const ok = report.failed === 0 && report.passed > 0;
  console.log(
    `${ok ? 'ok  ' : 'FAIL'} ${file}  ${report.passed} passed, ${report.failed} failed, ${seconds.toFixed(1)} s`,
  );
  if (!ok)
    console.log(report.passed + report.failed === 0 ? '  it holds no tests; does it call run()?' : report.output);
}

/** One process at a time, for as long as there are files. */
async function lane(files: string[]): Promise<void> {
  while (files.length > 0) {
    await new Promise<void>((done) => {
      const child = fork(worker, { env: { ...process.env, TEST_FILTER: filters.join('\n') } });
      let file: string | undefined;
      let started = 0;
      let timer: NodeJS.Timeout | undefined;
      const next = (): void => {
        file = files.shift();
        if (file === undefined) return void child.disconnect();
        started = performance.now();
        timer = setTimeout(() => child.kill('SIGKILL'), timeLimit);
        child.send(file);
      };
      const report = (result: FileReport): void => {
        clearTimeout(timer);
        if (file !== undefined) show(file, result, (performance.now() - started) / 1000);
        file = undefined;
      };
      child.on('message', (message: FileReport | 'ready') => {
        if (message !== 'ready') {
          report(message);
          if (message.failed > 0 || message.isWornOut) return void child.disconnect();
        }
        next();
      });
      child.on('exit', (code, signal) => {
        if (file === undefined) return done();
        const how = signal ? `was ended by ${signal}` : `exited with code ${code}`;
        report({ passed: 0, failed: 1, isWornOut: true, output: `  the process running it ${how}\n` });
        done();
      });
    });
  }
}

const filters = process.argv.slice(2);
const files = choose(filters);
const count = files.length;
const begun = performance.now();
await Promise.all(Array.from({ length: Math.min(processes, count) }, () => lane(files)));
if (count === 0) console.log(`no test file matches ${filters.join(' or ')}; give part of a path below test/`);
console.log(`${count} files in ${((performance.now() - begun) / 1000).toFixed(1)} s`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
