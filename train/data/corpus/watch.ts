import { progress } from '../../../common/progress.ts';

/** How far a preparation is. */
export interface PrepareProgress {
  readonly stage: string;
  /** Bytes of input read in this stage, of `total`. */
  readonly bytes: number;
  readonly total: number;
  /** Tokens written. */
  readonly tokens: number;
}

export interface WatchOptions {
  /** Called often: after each document. */
  readonly onProgress?: (progress: PrepareProgress) => void;
  /** Stops between two documents with the signal's reason; nothing half-written is left. */
  readonly signal?: AbortSignal;
}

/** Follows a preparation through its stages: tells how far it is, and stops it when it is told to. */
export class Watch {
  private readonly options: WatchOptions;
  private stage = '';
  private bytes = 0;
  private total = 0;
  private tokens = 0;

  constructor(options: WatchOptions) {
    this.options = options;
  }

  /** For the readers. */
  readonly onBytes = (count: number): void => {
    this.bytes += count;
  };

  begin(stage: string, total: number): void {
    Object.assign(this, { stage, total, bytes: 0 });
  }

  /** A document is done, and `tokens` are written. Throws the signal's reason where it was told to stop. */
  step(tokens = this.tokens): void {
    this.tokens = tokens;
    const { stage, bytes, total } = this;
    this.options.signal?.throwIfAborted();
    this.options.onProgress?.({ stage, bytes, total, tokens });
  }
}

/** Milliseconds between two updates: a bar needs no more, and documents are many. */
const INTERVAL = 100;

/**
 * A bar over the bytes read, with MB/s and tokens/s, for `prepareCorpus`. Call `stop` in a `finally`.
 *
 * @example
 * const bar = corpusProgressBar();
 * bar.stop();
 */
export function corpusProgressBar(): { onProgress(progress: PrepareProgress): void; stop(): void } {
  const bar = progress({ total: 1, unit: 'byte' });
  let shown = { at: -Infinity, stage: '', tokens: 0 };
  return {
    onProgress({ stage, bytes, total, tokens }) {
      const at = performance.now();
      if (stage === shown.stage && at - shown.at < INTERVAL && bytes < total) return;
      bar.update(Math.min(bytes, total), { label: stage, total, tokens: tokens - shown.tokens });
      shown = { at, stage, tokens };
    },
    stop: () => bar.stop(),
  };
}
