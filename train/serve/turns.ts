import { setTimeout as sleep } from 'node:timers/promises';

/** What waits for the device, of one model. */
export interface Lane {
  /** Texts that wait. */
  readonly waiting: number;
  /**
   * Begins what may begin now: each step of such work is a turn on the device. It hands its failures to those
   * who wait for it, and throws none.
   */
  begin(): AsyncGenerator<void>[];
}

/** Milliseconds that the first text waits for others, where the device has nothing to do. */
const gathering = 3;

/**
 * The device, which does one thing at a time: all that runs has a turn, one after another, so that a short
 * text is not behind a long one. A step of a batch of texts is a turn, a batch of texts to classify another.
 */
export class Turns {
  readonly #lanes: Lane[] = [];
  #loop: Promise<void> | undefined;

  add(lane: Lane): void {
    this.#lanes.push(lane);
  }

  /** Texts that wait for their first turn. */
  get waiting(): number {
    return this.#lanes.reduce((sum, { waiting }) => sum + waiting, 0);
  }

  /** Tells that something waits. */
  wake(): void {
    this.#loop ??= this.#run().finally(() => {
      this.#loop = undefined;
      if (this.waiting > 0) this.wake(); // it came while the last turn ended
    });
  }

  async #run(): Promise<void> {
    await sleep(gathering);
    const running: AsyncGenerator<void>[] = [];
    for (;;) {
      for (const lane of this.#lanes) running.push(...lane.begin());
      if (running.length === 0) return;
      for (const work of [...running]) {
        const { done } = await work.next();
        if (done) running.splice(running.indexOf(work), 1);
      }
      await new Promise(setImmediate); // requests are read between rounds
    }
  }
}
