/**
 * One library in a process of its own: `worker.ts <runner>`, started by the harness, answers its requests by
 * message.
 */
import { ensureVulkanDriver } from '../gpu/driver.ts';
import type { Library, Prepared } from './adapters/adapter.ts';
import { runnerNamed } from './adapters/index.ts';
import { Host } from './host.ts';
import { sampleIndices } from './protocol.ts';
import type { Checked, Reply, Request, Sampled } from './protocol.ts';
import { rowNamed } from './rows/index.ts';
import { isOwn } from './rows/row.ts';
import type { AnyRow } from './rows/row.ts';
import { sample } from './sample.ts';
import type { Round } from './sample.ts';

class Worker {
  private readonly host: Host;
  private readonly library: Library;
  private row: AnyRow | undefined;
  private prepared: Prepared | undefined;

  constructor(host: Host, library: Library) {
    this.host = host;
    this.library = library;
  }

  static async open(name: string): Promise<Worker> {
    await ensureVulkanDriver();
    const host = await Host.open();
    const adapter = await runnerNamed(name).load();
    return new Worker(host, await adapter.open());
  }

  async answer(request: Request): Promise<unknown> {
    switch (request.do) {
      case 'prepare':
        this.host.restart();
        this.row = rowNamed(request.row);
        this.prepared = await this.prepare(this.row);
        return undefined;
      case 'check':
        return this.check(request.times);
      case 'measure':
        return this.measure(request.round);
      case 'profile':
        return this.library.profile?.(() => this.run()) ?? '';
      case 'dispose':
        this.prepared?.dispose?.();
        this.prepared = undefined;
        return undefined;
    }
  }

  private prepare(row: AnyRow): Prepared | Promise<Prepared> {
    if (!isOwn(row)) return this.library.prepare(row);
    if (!this.library.prepareOwn) throw new Error('our own kernels only');
    return this.library.prepareOwn(row);
  }

  private async run(): Promise<void> {
    await this.prepared!.run();
    this.library.flush?.();
    await this.host.finish();
  }

  private async measure(round: Round): Promise<Sampled> {
    const before = this.host.dispatches;
    let runs = 0;
    const samples = await sample(() => (runs++, this.run()), round);
    return { samples, dispatches: (this.host.dispatches - before) / runs };
  }

  private async check(times: number): Promise<Checked> {
    const row = this.row!;
    const losses: number[] = [];
    let result: ArrayLike<number> = [];
    let cost: Checked['cost'];
    for (let i = 0; i < times; i++) {
      const run = (): Promise<void> => this.run();
      if (this.library.cost) cost = await this.library.cost(run);
      else await run();
      if (isOwn(row)) continue;
      result = await this.prepared!.read();
      losses.push(result[0]!);
    }
    this.host.check();
    const training = !isOwn(row) && row.training;
    const values = training ? losses : sampleIndices(result.length).map((i) => result[i]!);
    return { values, length: result.length, pipelines: this.host.pipelines, cost };
  }
}

const worker = Worker.open(process.argv[2]!);
worker.catch(() => undefined); // told in the answer to the first request
process.on('message', (request: Request) => {
  const reply = (message: Reply): void => void process.send!(message);
  worker
    .then((opened) => opened.answer(request))
    .then(
      (value) => reply({ value }),
      (error: unknown) => reply({ error: error instanceof Error ? error.message : String(error) }),
    );
});
process.on('disconnect', () => process.exit());
