import type { Lane, Turns } from './turns.ts';

/** What a lane runs on the device: a result for each input, in their order. */
export type RunBatch<Input, Options, Result> = (
  inputs: readonly Input[],
  options: Options,
) => Promise<readonly Result[]>;

interface Job<Input, Options, Result> {
  readonly inputs: readonly Input[];
  readonly options: Options;
  /** Jobs of equal keys may run together. */
  readonly key: string;
  readonly signal: AbortSignal;
  readonly resolve: (results: readonly Result[]) => void;
  readonly reject: (error: unknown) => void;
}

export interface TextLaneOptions {
  /** Inputs that run together at most. */
  readonly batchSize: number;
  /** Told of each batch that ran. */
  readonly onBatch?: (inputs: number) => void;
}

/**
 * Texts to classify, to embed and so on: those of several requests with the same options run as one batch,
 * those of one request in several where they are many. Where a batch fails, each request runs alone, so that
 * one is not told of the fault of another.
 */
export class TextLane<Input, Options, Result> implements Lane {
  readonly #turns: Turns;
  readonly #run: RunBatch<Input, Options, Result>;
  readonly #options: TextLaneOptions;
  readonly #jobs: Job<Input, Options, Result>[] = [];
  #isRunning = false;

  constructor(turns: Turns, run: RunBatch<Input, Options, Result>, options: TextLaneOptions) {
    this.#turns = turns;
    this.#run = run;
    this.#options = options;
    turns.add(this);
  }

  get waiting(): number {
    return this.#jobs.reduce((sum, { inputs }) => sum + inputs.length, 0);
  }

  /** The results of the inputs. The signal takes them out of the queue with its reason. */
  submit(inputs: readonly Input[], options: Options, signal: AbortSignal): Promise<readonly Result[]> {
    if (inputs.length === 0) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      this.#jobs.push({ inputs, options, key: JSON.stringify(options), signal, resolve, reject });
      this.#turns.wake();
    });
  }

  begin(): AsyncGenerator<void>[] {
    if (this.#isRunning) return [];
    const together = this.#take();
    if (together.length === 0) return [];
    this.#isRunning = true;
    return [this.#work(together)];
  }

  /** The first job that waits, and others that fit in its last batch. */
  #take(): Job<Input, Options, Result>[] {
    const { batchSize } = this.#options;
    const taken: Job<Input, Options, Result>[] = [];
    let inputs = 0;
    for (const job of this.#jobs.splice(0)) {
      if (job.signal.aborted) continue;
      const fits = taken.length === 0 || (job.key === taken[0]!.key && inputs + job.inputs.length <= batchSize);
      if (fits) {
        taken.push(job);
        inputs += job.inputs.length;
      } else this.#jobs.push(job);
    }
    return taken;
  }

  async *#work(jobs: readonly Job<Input, Options, Result>[]): AsyncGenerator<void> {
    try {
      try {
        yield* this.#together(jobs);
      } catch (error) {
        if (jobs.length === 1) jobs[0]!.reject(error);
        else
          for (const job of jobs) {
            try {
              yield* this.#together([job]);
            } catch (own) {
              job.reject(own);
            }
          }
      }
    } finally {
      this.#isRunning = false;
    }
  }

  async *#together(jobs: readonly Job<Input, Options, Result>[]): AsyncGenerator<void> {
    const inputs = jobs.flatMap((job) => job.inputs);
    const { batchSize, onBatch } = this.#options;
    const results: Result[] = [];
    for (let from = 0; from < inputs.length; from += batchSize) {
      if (jobs.every(({ signal }) => signal.aborted)) return;
      const batch = inputs.slice(from, from + batchSize);
      results.push(...(await this.#run(batch, jobs[0]!.options)));
      onBatch?.(batch.length);
      yield;
    }
    let at = 0;
    for (const { inputs: own, resolve } of jobs) resolve(results.slice(at, (at += own.length)));
  }
}
