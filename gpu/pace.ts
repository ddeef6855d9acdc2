/**
 * Lets the processor go while it computes for the device. Dawn's Node bindings poll in a busy loop for as
 * long as a promise of theirs is pending; on a software driver that loop takes a core from the very work it
 * waits for. So before a promise is asked for, most of the time that such waits took of late is slept away.
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
    const asked = performance.now();
    await ask();
    const answered = performance.now();
    // Down at once, up slowly: oversleeping costs more than polling. An answer that was there already may
    // have been so for long: after a prompt of 350 ms, generated tokens of 15 ms slept away 1.5 s before the
    // pause had come down to them.
    if (pause >= 4 && answered - asked < 0.05 * pause) this.usual = 0.4 * pause;
    else {
      const took = answered - started;
      // At most twice as long as before: a process that was stopped for an hour would sleep for minutes after
      // it.
      const longer = Math.min(this.usual + 0.25 * (took - this.usual), 2 * this.usual + 20);
      this.usual = took < this.usual ? took : longer;
    }
  }
}
