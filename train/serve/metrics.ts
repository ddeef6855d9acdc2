import { memory } from '../../autograd/index.ts';

type Labels = Readonly<Record<string, string>>;

/** Upper bounds of seconds. */
const seconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
/** Of texts of a batch. */
const sizes = [1, 2, 4, 8, 16, 32, 64];

interface Kind {
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly bounds?: readonly number[];
}

/** All that is measured, by name. */
const kinds = {
  tapeform_requests_total: { help: 'Requests that were answered.', type: 'counter' },
  tapeform_request_seconds: { help: 'From a request to the end of its answer.', type: 'histogram', bounds: seconds },
  tapeform_first_token_seconds: { help: 'From a request to its first token.', type: 'histogram', bounds: seconds },
  tapeform_prompt_tokens_total: { help: 'Tokens that were read.', type: 'counter' },
  tapeform_completion_tokens_total: { help: 'Tokens that were written.', type: 'counter' },
  tapeform_batch_texts: { help: 'Texts that ran together.', type: 'histogram', bounds: sizes },
  tapeform_guard_total: { help: 'What rules of the guard found.', type: 'counter' },
  tapeform_waiting_texts: { help: 'Texts that wait for the device.', type: 'gauge' },
  tapeform_running_requests: { help: 'Requests that are not answered to their end yet.', type: 'gauge' },
  tapeform_device_bytes: { help: 'Memory held on the device.', type: 'gauge' },
  process_resident_memory_bytes: { help: 'Memory of the process.', type: 'gauge' },
} as const satisfies Readonly<Record<string, Kind>>;

type Name = keyof typeof kinds;
type NamesOf<T extends Kind['type']> = { [N in Name]: (typeof kinds)[N]['type'] extends T ? N : never }[Name];

const escaped = (value: string): string => value.replace(/[\\"\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`));

const labelText = (labels: Labels): string => {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length > 0 ? `{${pairs.join(',')}}` : '';
};

interface Distribution {
  readonly labels: Labels;
  /** How many were at most each bound. */
  readonly counts: number[];
  sum: number;
  count: number;
}

/**
 * Counts and times of a server, as Prometheus reads them. Labels are of few values: routes, models, statuses.
 *
 * @example
 * const metrics = new Metrics();
 * metrics.count('tapeform_requests_total', { route: '/health', status: '200' });
 * metrics.toString().includes('tapeform_requests_total{route="/health",status="200"} 1'); // true
 */
export class Metrics {
  readonly #counts = new Map<string, number>();
  readonly #distributions = new Map<string, Distribution>();

  count(name: NamesOf<'counter'>, labels: Labels = {}, by = 1): void {
    const key = `${name}${labelText(labels)}`;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + by);
  }

  set(name: NamesOf<'gauge'>, value: number): void {
    this.#counts.set(name, value);
  }

  observe(name: NamesOf<'histogram'>, value: number, labels: Labels = {}): void {
    const { bounds } = kinds[name];
    const key = `${name}${labelText(labels)}`;
    let known = this.#distributions.get(key);
    if (!known) this.#distributions.set(key, (known = { labels, counts: bounds.map(() => 0), sum: 0, count: 0 }));
    bounds.forEach((bound, i) => {
      if (value <= bound) known.counts[i]!++;
    });
    known.sum += value;
    known.count++;
  }

  /** Prometheus' text format, 0.0.4. */
  toString(): string {
    this.set('process_resident_memory_bytes', process.memoryUsage.rss());
    this.set('tapeform_device_bytes', memory().live);
    const lines: string[] = [];
    for (const [name, kind] of Object.entries<Kind>(kinds)) {
      lines.push(`# HELP ${name} ${kind.help}`, `# TYPE ${name} ${kind.type}`);
      for (const [key, value] of this.#counts) if (key.split('{')[0] === name) lines.push(`${key} ${value}`);
      for (const [key, { labels, counts, sum, count }] of this.#distributions) {
        if (key.split('{')[0] !== name) continue;
        kind.bounds!.forEach((bound, i) =>
          lines.push(`${name}_bucket${labelText({ ...labels, le: String(bound) })} ${counts[i]!}`),
        );
        lines.push(`${name}_bucket${labelText({ ...labels, le: '+Inf' })} ${count}`);
        lines.push(`${name}_sum${labelText(labels)} ${sum}`, `${name}_count${labelText(labels)} ${count}`);
      }
    }
    return `${lines.join('\n')}\n`;
  }
}
