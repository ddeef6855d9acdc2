import { progress } from '../../../common/progress.ts';
import type { PrepareProgress } from './watch.ts';

/** Milliseconds between two updates: a bar needs no more, and documents are many. */
const INTERVAL = 100;

/** A bar over the bytes read, with MB/s and tokens/s, for `prepareCorpus`. Call `stop` in a `finally`. */
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
