import { Worker } from 'node:worker_threads';
import { filesBelow } from './files.ts';

/** How hard a section tries. */
export interface FaultOptions {
  /** Random choices are functions of it: the same seed tries the same. */
  readonly seed: number;
  /** Of `npm test`: a few seconds in all, the kinds of fault that ever hurt and a sample of the rest. */
  readonly short: boolean;
}

/** A line of the table at the end. */
export interface FaultOutcome {
  /** What was tried; default the section's name. */
  readonly what?: string;
  readonly tried: number;
  readonly survived: number;
  /** A line for each that did not survive: what was done, what was found. */
  readonly failures: readonly string[];
}

/**
 * A file of test/faults/: `export const name = 'full disk'` and `export async function run(options)`. It runs
 * in a process of its own, on the driver that tests use.
 */
export interface FaultSection {
  readonly name: string;
  run(options: FaultOptions): Promise<FaultOutcome | readonly FaultOutcome[]>;
}

/** The files of test/faults/ that are sections, by their paths from the root. */
export function faultSections(): string[] {
  return filesBelow('test/faults', '.ts').filter((file) => file !== 'test/faults/run.ts');
}

/** The section in a file. Error: it exports no `name` and `run`. */
export async function loadSection(file: string): Promise<FaultSection> {
  const section = (await import(new URL(`../../${file}`, import.meta.url).href)) as Partial<FaultSection>;
  const { name, run } = section;
  if (typeof name !== 'string' || typeof run !== 'function')
    throw new Error(`${file} is no section: it must export a string \`name\` and a function \`run\``);
  return { name, run };
}

/** Runs a section; its outcomes as a list, each with its name. */
export async function outcomesOf(section: FaultSection, options: FaultOptions): Promise<Required<FaultOutcome>[]> {
  const found = await section.run(options);
  const list: readonly FaultOutcome[] = 'tried' in found ? [found] : found;
  return list.map((outcome) => ({ what: section.name, ...outcome }));
}

/**
 * Ends the process where one input takes longer than it may, and says which: its own thread could do neither.
 */
export class HangGuard {
  private readonly seconds: number;
  private readonly left = new Int32Array(new SharedArrayBuffer(4));
  private readonly label = new Uint8Array(new SharedArrayBuffer(200));
  private readonly watch: Worker;

  constructor(seconds: number) {
    this.seconds = seconds;
    const { left, label } = this;
    this.watch = new Worker(
      `const { left, label } = require('node:worker_threads').workerData;
      setInterval(() => {
        if (Atomics.load(left, 0) === 0 || Atomics.sub(left, 0, 1) !== 1) return;
        require('node:fs').writeSync(2, Buffer.from(label).toString().replace(/\\0+$/, '') + ': hangs, killed\\n');
        process.kill(process.pid, 'SIGKILL');
      }, 1000);`,
      { eval: true, workerData: { left, label }, execArgv: [] },
    );
    this.watch.unref();
  }

  /** Begins the next input. */
  next(label: string): void {
    this.label.fill(0);
    new TextEncoder().encodeInto(label, this.label);
    Atomics.store(this.left, 0, this.seconds);
  }

  close(): void {
    void this.watch.terminate();
  }
}

const progress = { shown: false, cases: 0, failed: 0, started: 0, last: 0 };
const secondsBetweenLines = 5;

/** Prints from now on each failure when it is found, and every few seconds what is tried at the moment. */
export function showProgress(): void {
  const now = performance.now();
  Object.assign(progress, { shown: true, started: now, last: now });
}

/**
 * Counts a case, such as 'kill before write 3', and prints a line about it if the last one is seconds old.
 */
export function beginCase(what: string): void {
  const { shown, cases, failed, started, last } = progress;
  progress.cases++;
  const now = performance.now();
  if (!shown || now - last < 1000 * secondsBetweenLines) return;
  progress.last = now;
  console.log(`  ${((now - started) / 1000).toFixed(0)} s, ${cases - failed} of ${cases} survived; now ${what}`);
}

/** Collects outcomes one by one: `tally.try('kill before write 3', async () => { ... })`. */
export class Tally {
  private tried = 0;
  private readonly failures: string[] = [];
  private readonly started = performance.now();

  /** Counts as survived unless `check` throws; what it throws becomes the failure's line. */
  async try(what: string, check: () => unknown): Promise<void> {
    this.tried++;
    beginCase(what);
    try {
      await check();
    } catch (error) {
      const failure = `${what}: ${error instanceof Error ? error.message : String(error)}`;
      this.failures.push(failure);
      progress.failed++;
      if (progress.shown) console.log(`  failed: ${failure}`);
    }
  }

  /** Such as `safetensors: 2000 of 2000 survived, 3.1 s`, and the first failures, a line each. */
  progress(what: string): string {
    const seconds = ((performance.now() - this.started) / 1000).toFixed(1);
    const survived = `${what}: ${this.tried - this.failures.length} of ${this.tried} survived, ${seconds} s`;
    return [survived, ...this.failures.slice(0, 20)].join('\n  ');
  }

  outcome(what?: string): FaultOutcome {
    const { tried, failures } = this;
    return { ...(what === undefined ? {} : { what }), tried, survived: tried - failures.length, failures };
  }
}
