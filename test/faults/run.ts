import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { alignTable } from '../../common/text-table.ts';
import { ensureVulkanDriver } from '../../gpu/driver.ts';
import { faultSections, loadSection, outcomesOf, showProgress } from '../support/faults.ts';
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';

/**
 * `npm run test:faults [-- part of a name ...] [--seed 1] [--short]`: tries what may go wrong outside of the
 * project, a section of test/faults/ after the other, each in a process of its own, and ends with a table
 * `what | tried | survived`. Without --short it prints on the way each failure and, every few seconds, what
 * it tries. The exit code is 1 if anything did not survive.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seed: { type: 'string', default: '1' }, short: { type: 'boolean', default: false } },
});
const options: FaultOptions = { seed: Number(values.seed), short: values.short };
const timeLimit = 60 * 60_000; // for one section
const shown = 20; // failures of one line of the table

type Outcome = Required<FaultOutcome>;

await ensureVulkanDriver();
if (process.send) {
  // The process of one section, which its parent named.
  const section = await loadSection(positionals[0]!);
  if (!options.short) showProgress();
  process.send(await outcomesOf(section, options), () => process.exit());
} else {
  if (!Number.isSafeInteger(options.seed)) throw new Error(`--seed must be an integer, got ${values.seed}`);
  const matches = (file: string): boolean =>
    positionals.length === 0 || positionals.some((part) => file.slice('test/faults/'.length).includes(part));
  const files = faultSections().filter(matches);
  if (files.length === 0) console.log(`no section matches ${positionals.join(' or ')}`);
  const outcomes: Outcome[] = [];
  for (const file of files) {
    const started = performance.now();
    const found = await runSection(file);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(`${file}, seed ${options.seed}, ${seconds} s`);
    for (const { what, failures } of found) {
      for (const line of failures.slice(0, shown)) console.log(`  ${what}: ${line}`);
      if (failures.length > shown) console.log(`  ${what}: and ${failures.length - shown} more`);
    }
    outcomes.push(...found);
  }
  const rows = outcomes.map(({ what, tried, survived }) => [what, String(tried), String(survived)]);
  console.log(`\n${alignTable(['what', 'tried', 'survived'], rows, new Set([1, 2]))}`);
  const survived = outcomes.every((outcome) => outcome.tried > 0 && outcome.survived === outcome.tried);
  process.exitCode = files.length > 0 && survived ? 0 : 1;
}

/** The outcomes of a section in a process of its own; one that ends without any has failed. */
function runSection(file: string): Promise<Outcome[]> {
  return new Promise((done) => {
    const flags = ['--seed', String(options.seed), ...(options.short ? ['--short'] : [])];
    const child = fork(fileURLToPath(import.meta.url), [file, ...flags]);
    const timer = setTimeout(() => child.kill('SIGKILL'), timeLimit);
    let outcomes: Outcome[] | undefined;
    child.on('message', (message: Outcome[]) => (outcomes = message));
    child.on('exit', (code, signal) => {
      clearTimeout(timer);
      const how = signal ? `was ended by ${signal}` : `exited with code ${code}`;
      done(outcomes ?? [{ what: file, tried: 1, survived: 0, failures: [`the process ${how} without a result`] }]);
    });
  });
}
