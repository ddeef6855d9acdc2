/**
 * Lets the processor go while it computes for the device. Dawn's Node bindings poll in a busy loop for as long as a promise of theirs is pending; on a software
 * driver that loop takes a core from the very work it waits for. So before a promise is asked for, most of the time that the last such wait took is slept away.
 */
export class Pace {
  private readonly software: boolean;
  private started = 0;
  /** Milliseconds that reads have taken of late. */
  private usual = 0;

  constructor(software: boolean) {
    this.software = software;
  }

  async rest(): Promise<void> {
    this.started = performance.now();
    const pause = Math.floor(0.8 * this.usual);
    if (this.software && pause >= 4) await new Promise((resolve) => setTimeout(resolve, pause));
  }

  done(): void {
    const took = performance.now() - this.started;
    // Down at once, up slowly: oversleeping costs more than polling.
    this.usual = took < this.usual ? took : this.usual + 0.25 * (took - this.usual);
  }
}
