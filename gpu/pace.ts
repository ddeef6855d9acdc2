/**
 * Lets the processor go while it computes for the device. Dawn's Node bindings poll in a busy loop for as long as a promise of theirs is pending; on a software
 * driver that loop takes a core from the very work it waits for. So before a promise is asked for, most of the time that such waits took of late is slept away.
 */
export class Pace {
  private readonly software: boolean;
  /** Milliseconds that waits have taken of late. */
  private usual = 0;

  constructor(software: boolean) {
    this.software = software;
  }

  /** Waits for what `ask` promises, asking late. */
  async wait(ask: () => Promise<unknown>): Promise<void> {
    const started = performance.now();
    const pause = Math.floor(0.8 * this.usual);
    if (this.software && pause >= 4) await new Promise((resolve) => setTimeout(resolve, pause));
    await ask();
    const took = performance.now() - started;
    // Down at once, up slowly: oversleeping costs more than polling.
    this.usual = took < this.usual ? took : this.usual + 0.25 * (took - this.usual);
  }
}
