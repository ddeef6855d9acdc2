import { Writable } from 'node:stream';
import cliProgress from 'cli-progress';
import type { GenericFormatter, Options } from 'cli-progress';
import { changesNothing } from './file-system.ts';

/** The part of process.stdout and process.stderr that is needed here. */
export type OutputStream = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };

export interface ProgressOptions {
  /** Steps of the whole run. */
  readonly total: number;
  /** Unit of a step, default "step"; bytes are shown as MB, with MB/s. */
  readonly unit?: 'step' | 'byte';
  /** Steps done before, of a resumed run. */
  readonly initial?: number;
  /** Where the bar is drawn; default stderr, so that stdout stays clean for results. */
  readonly stream?: OutputStream;
  /**
   * Other streams that share the terminal; what is written to them is printed above the bar. Default stdout.
   */
  readonly others?: readonly OutputStream[];
  /** Seconds between lines where `stream` is no terminal. Default 5. */
  readonly interval?: number;
  /** Milliseconds, for tests. */
  readonly now?: () => number;
}

export interface ProgressUpdate {
  /** The stage that is running: "epoch 1/3". */
  readonly label?: string;
  /** Of a new stage of the work, which begins at step 0: rates are taken anew. */
  readonly total?: number;
  readonly loss?: number;
  /** Learning rate. */
  readonly lr?: number;
  /** Tokens of this step, padding left out. */
  readonly tokens?: number;
}

export interface Progress {
  /** `step` steps are done. Values not given stay as they were. */
  update(step: number, values?: ProgressUpdate): void;
  /**
   * Draws the last state and gives the streams back. Call it in a `finally`: until then the bar's timer keeps
   * the process alive.
   */
  stop(): void;
}

interface Mark {
  readonly time: number;
  readonly step: number;
  readonly tokens: number;
}

/**
 * Rates are taken over the last this many steps, so that they follow the run and forget the compilation of
 * its first step.
 */
const WINDOW = 50;

/**
 * Progress of a training run: a bar with loss, learning rate, tokens per second and time left on a terminal,
 * a plain line every few seconds elsewhere (CI logs, files). While the bar stands, console.log and other
 * writes appear above it.
 *
 * @example
 * const bar = progress({ total: 100 });
 */
export function progress(options: ProgressOptions): Progress {
  const {
    total,
    initial = 0,
    unit = 'step',
    // A process beside the one that shows what happens prints to stdout, which leads nowhere there.
    stream = changesNothing() ? process.stdout : process.stderr,
    others = [process.stdout],
    interval = 5,
    now = Date.now,
  } = options;
  const marks: Mark[] = [];
  let current = { step: initial, total, label: '', loss: NaN, lr: NaN, tokens: 0 };

  const advance = (step: number, values: ProgressUpdate): void => {
    if (values.total !== undefined && (values.total !== current.total || values.label !== current.label))
      marks.length = 0;
    const given = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
    current = { ...current, ...given, step, tokens: current.tokens + (values.tokens ?? 0) };
    marks.push({ time: now(), step, tokens: current.tokens });
    if (marks.length > WINDOW) marks.shift();
  };
  const facts = (): string => describe(current, unit, marks);
  return stream.isTTY
    ? bar(stream, others, total, current.step, advance, facts, () => current.total)
    : lines(stream, interval, now, advance, facts);
}

type Advance = (step: number, values: ProgressUpdate) => void;

/** One line every `interval` seconds, and the last state. */
function lines(
  stream: OutputStream,
  interval: number,
  now: () => number,
  advance: Advance,
  facts: () => string,
): Progress {
  let printedAt = -Infinity;
  let pending = false;
  const print = (): void => {
    stream.write(`${facts()}\n`);
    printedAt = now();
    pending = false;
  };
  return {
    update(step, values = {}) {
      advance(step, values);
      pending = true;
      if (now() - printedAt >= interval * 1000) print();
    },
    stop() {
      if (pending) print();
    },
  };
}

function bar(
  stream: OutputStream,
  others: readonly OutputStream[],
  total: number,
  initial: number,
  advance: Advance,
  facts: () => string,
  totalNow: () => number,
): Progress {
  const write = stream.write.bind(stream);
  // The bar writes past the interception of its own stream.
  const direct = new Writable({
    decodeStrings: false,
    write(chunk: string, _encoding, done) {
      write(chunk);
      done();
    },
  });
  const terminal = Object.defineProperties(direct, {
    isTTY: { value: true },
    columns: { get: () => stream.columns },
  });
  const format: GenericFormatter = (barOptions: Options, { progress: share, maxWidth }) => {
    const text = ` ${facts()}`;
    const width = Math.min(barOptions.barsize ?? 40, maxWidth - text.length - 3);
    const drawn = width < 5 ? '' : `[${cliProgress.Format.BarFormat(share, { ...barOptions, barsize: width })}]`;
    return `${drawn}${text}`.slice(0, maxWidth - 1);
  };
  const bars = new cliProgress.MultiBar({
    format,
    stream: terminal,
    barsize: 30,
    // Lines are cut to the width here; the terminal's own wrapping stays as it is, also when the process is
    // killed.
    linewrap: true,
    hideCursor: null,
    // Lines printed above replace that of the bar, hence it is drawn anew even where it did not change.
    forceRedraw: true,
    fps: 5,
  });
  const single = bars.create(total, initial);
  let held = '';
  const above = (text: string): void => {
    held += text;
    const end = held.lastIndexOf('\n') + 1;
    if (end === 0) return;
    bars.log(held.slice(0, end));
    held = held.slice(end);
    bars.update();
  };
  const restore = [stream, ...others.filter((other) => other.isTTY)].map((other) => intercept(other, above));
  let stopped = false;
  return {
    update(step, values = {}) {
      advance(step, values);
      if (values.total !== undefined) single.setTotal(totalNow());
      single.update(step);
    },
    stop() {
      if (stopped) return;
      stopped = true;
      if (held) above('\n');
      bars.stop();
      for (const giveBack of restore) giveBack();
    },
  };
}

/** Sends what is written to the stream to `take` instead; returns the function that undoes it. */
function intercept(stream: OutputStream, take: (text: string) => void): () => void {
  const original = stream.write;
  const decoder = new TextDecoder();
  type Done = (error?: Error | null) => void;
  stream.write = (chunk: string | Uint8Array, encoding?: BufferEncoding | Done, done?: Done): boolean => {
    take(typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true }));
    (typeof encoding === 'function' ? encoding : done)?.();
    return true;
  };
  return () => {
    stream.write = original;
  };
}

interface Current {
  readonly step: number;
  readonly total: number;
  readonly label: string;
  readonly loss: number;
  readonly lr: number;
}

function describe(current: Current, unit: 'step' | 'byte', marks: readonly Mark[]): string {
  const { step, total, label, loss, lr } = current;
  const first = marks[0];
  const last = marks.at(-1);
  const seconds = first && last ? (last.time - first.time) / 1000 : 0;
  const bytes = unit === 'byte';
  const place = bytes ? `${(step / 1e6).toFixed(1)}/${(total / 1e6).toFixed(1)} MB` : `step ${step}/${total}`;
  const parts = [`${label ? `${label} ` : ''}${place} ${Math.floor((100 * step) / Math.max(1, total))}%`];
  if (!Number.isNaN(loss)) parts.push(`loss ${loss.toFixed(4)}`);
  if (!Number.isNaN(lr)) parts.push(`lr ${lr === 0 ? 0 : lr.toExponential(1)}`);
  if (first && last && seconds > 0) {
    if (bytes && last.step > first.step) parts.push(`${((last.step - first.step) / seconds / 1e6).toFixed(1)} MB/s`);
    if (last.tokens > first.tokens) parts.push(`${short((last.tokens - first.tokens) / seconds)} tokens/s`);
    if (last.step > first.step && step < total) {
      parts.push(`${duration(((total - step) * seconds) / (last.step - first.step))} left`);
    }
  }
  return parts.join('  ');
}

function short(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)}M`;
  return value >= 1e4 ? `${(value / 1e3).toFixed(1)}k` : value.toFixed(0);
}

/** Seconds as 45s, 3m 05s or 2h 10m. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  const two = (value: number): string => String(value).padStart(2, '0');
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`;
  return `${Math.floor(whole / 3600)}h ${two(Math.floor((whole % 3600) / 60))}m`;
}
