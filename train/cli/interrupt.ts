/** Raised after a run was stopped by Ctrl-C and has saved itself: the message says how to go on. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  /** 128 + SIGINT, what shells expect. */
  readonly exitCode = 130;
}

/** npm and the terminal may both deliver one Ctrl-C. */
const sameKeyPress = 1000; // ms

/**
 * Turns the first Ctrl-C (or SIGTERM) into a request that the loop sees at its next step; a second one ends
 * the process at once. Call `dispose` when the loop is over.
 */
export class InterruptWatch {
  private since: number | undefined;
  private readonly listener = (): void => {
    const now = Date.now();
    if (this.since !== undefined && now - this.since > sameKeyPress) process.exit(130);
    if (this.since === undefined)
      process.stderr.write('\nstopping after this step; Ctrl-C again quits without saving\n');
    this.since ??= now;
  };

  constructor() {
    process.on('SIGINT', this.listener);
    process.on('SIGTERM', this.listener);
  }

  get requested(): boolean {
    return this.since !== undefined;
  }

  dispose(): void {
    process.off('SIGINT', this.listener);
    process.off('SIGTERM', this.listener);
  }
}
