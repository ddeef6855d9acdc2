import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Runner } from './adapters/index.ts';
import type { Checked, Reply, Request, Sampled } from './protocol.ts';
import type { Round } from './sample.ts';

const worker = fileURLToPath(new URL('worker.ts', import.meta.url));

/** For one request; a cold start with all its shaders is the longest. */
const timeLimit = 180_000;

/**
 * A runner's process. It is started with the first request, and anew with the next one after it died or ran
 * out of time.
 */
export class RunnerProcess {
  readonly runner: Runner;
  private readonly environment: NodeJS.ProcessEnv;
  private child: ChildProcess | undefined;
  private complaints = '';

  constructor(runner: Runner, environment: NodeJS.ProcessEnv = {}) {
    this.runner = runner;
    this.environment = environment;
  }

  async prepare(row: string): Promise<void> {
    await this.ask({ do: 'prepare', row });
  }

  async check(times: number): Promise<Checked> {
    return (await this.ask({ do: 'check', times })) as Checked;
  }

  async measure(round: Round): Promise<Sampled> {
    return (await this.ask({ do: 'measure', round })) as Sampled;
  }

  async profile(): Promise<string> {
    return (await this.ask({ do: 'profile' })) as string;
  }

  async dispose(): Promise<void> {
    if (this.child) await this.ask({ do: 'dispose' });
  }

  stop(): void {
    this.child?.kill('SIGKILL');
    this.child = undefined;
  }

  private start(): ChildProcess {
    const child = fork(worker, [this.runner.name], {
      execArgv: [...process.execArgv, ...(this.runner.flags ?? [])],
      env: { ...process.env, TAPEFORM_QUIET: '1', ...this.environment },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      serialization: 'advanced', // JSON has no NaN
    });
    this.complaints = '';
    child.stderr!.on('data', (text: Buffer) => (this.complaints = (this.complaints + text.toString()).slice(-4000)));
    return child;
  }

  /** Rejects with one line: what the worker said, or how it ended. */
  private ask(request: Request): Promise<unknown> {
    const child = (this.child ??= this.start());
    return new Promise((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        child.removeAllListeners('message').removeAllListeners('exit').removeAllListeners('error');
      };
      const fail = (reason: string): void => {
        done();
        this.stop();
        reject(new Error(reason));
      };
      const timer = setTimeout(() => fail(`no answer in ${timeLimit / 1000} s`), timeLimit);
      child.on('error', (error) => fail(error.message));
      child.on('exit', (code, signal) =>
        fail(`its process ended (${signal ?? code}) ${lastLine(this.complaints)}`.trim()),
      );
      child.on('message', (reply: Reply) => {
        done();
        if ('error' in reply) reject(new Error(oneLine(reply.error)));
        else resolve(reply.value);
      });
      child.send(request);
    });
  }
}

const oneLine = (text: string): string => text.trim().replace(/\s+/g, ' ').slice(0, 300);
const lastLine = (text: string): string => oneLine(text.trim().split('\n').at(-1) ?? '');
