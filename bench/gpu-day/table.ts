/**
 * The results as one table: `table.ts RESULTS.jsonl` prints the short one (at most 10,500 characters: what a
 * lent machine's log keeps); `table.ts RESULTS.jsonl --write FOLDER` writes the long one, summary.txt, and
 * gpu-day.json, each whole or not at all. Needs no device.
 */
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { writeFilesAtomic } from '../../common/atomic-files.ts';
import type { Header } from '../header.ts';
import { cell, times } from '../report.ts';

/** One line of results.jsonl. */
export interface Line extends Partial<Header> {
  /** `tapeform`, `tapeform-` and what is different, `torch`, or `run` for run.sh itself. */
  readonly who: string;
  readonly stage?: string;
  readonly key: string;
  readonly type?: string;
  readonly ms?: number;
  readonly tflops?: number;
  readonly gbs?: number;
  readonly tokensPerSecond?: number;
  /** Of run.sh: a fact, a stage's time and exit code. */
  readonly value?: string;
  readonly seconds?: number;
  readonly rc?: number | string;
  /** Of a comparison. */
  readonly ok?: boolean;
  readonly equal?: boolean;
  readonly worst?: number | string;
  readonly where?: string;
  readonly error?: string;
  readonly lossError?: number;
  readonly gradientError?: number;
  /** Of tests. */
  readonly passed?: number;
  readonly failed?: number;
  readonly runs?: number;
  readonly unfinished?: readonly string[];
  readonly failures?: readonly { readonly name: string; readonly message: string }[];
  /** Of the adapter, of PyTorch, of plans. */
  readonly description?: string;
  readonly matrices?: readonly string[];
  readonly f16?: boolean | string;
  readonly f32?: string;
  readonly timestamps?: boolean;
  readonly subgroupSizes?: readonly number[];
  readonly version?: string;
  readonly device?: string;
  /** Of a whole model. */
  readonly idleShare?: number;
  readonly idleShareApart?: number;
  readonly dispatches?: number;
  readonly hostUs?: number;
  readonly secondsToFirst?: number;
  readonly peakMiB?: number;
  readonly kernels?: string | readonly Kernel[];
  /** Of tuning. */
  readonly count?: number;
  readonly best?: string;
  readonly defaultMs?: number;
  readonly gain?: number;
}

interface Kernel {
  readonly name: string;
  readonly calls: number;
  readonly ms: number;
  readonly tflops?: number;
  readonly gbs?: number;
}

export interface Results {
  /** The newest line of each measurement. */
  readonly all: readonly Line[];
  get(who: string, key: string, type?: string): Line | undefined;
}

/** Reads results.jsonl; a line that a crash cut short is left out. */
export function resultsIn(text: string): Results {
  const latest = new Map<string, Line>();
  const name = (who: string, key: string, type = ''): string => [who, key, type].join('|');
  for (const line of text.split('\n')) {
    try {
      const one = JSON.parse(line) as Line;
      latest.set(name(one.who, one.key, one.type), one);
    } catch {
      continue;
    }
  }
  return { all: [...latest.values()], get: (...key) => latest.get(name(...key)) };
}

/** A line of the table; a spare one is left out of a short table that is too long, the last first. */
type Text = string | { readonly spare: string };

const longest = 10_500;

/** The table; `short`: without lesser rows, and at most 10,500 characters. */
export function summary(results: Results, short: boolean): string {
  const sections = [facts, correctness, figures, peaks, models, tuned].map((section) => section(results, short));
  const lines = sections
    .filter((section) => section.length > 0)
    .flatMap((section, i) => (i > 0 ? ['', ...section] : section));
  const text = lines.map((line) => (typeof line === 'string' ? line : line.spare));
  let length = text.join('\n').length;
  for (let i = lines.length - 1; short && length > longest && i >= 0; i--) {
    if (typeof lines[i] === 'string') continue;
    length -= text.splice(i, 1)[0]!.length + 1;
  }
  return text.join('\n');
}

/** Some items, and how many more there are and where. */
const firstOf = (list: readonly string[], most: number, where: string): string[] => [
  ...list.slice(0, most).map((text) => text.slice(0, 200)),
  ...(list.length > most ? [`  and ${list.length - most} more: ${where}`] : []),
];

/** Machine, commit, features, stages. */
function facts({ all, get }: Results): Text[] {
  const fact = (name: string, value: string | undefined): string[] => (value ? [`${name.padEnd(10)}${value}`] : []);
  const ofRun = (start: string): Line[] => all.filter(({ who, key }) => who === 'run' && key.startsWith(start));
  const adapter = get('tapeform', 'adapter');
  const torch = get('torch', 'torch');
  const plans = get('tapeform', 'matmul plans');
  const stages = ofRun('stage ').map(({ key, seconds, rc }) => {
    const trouble = rc === 0 ? '' : typeof rc === 'number' ? ` (rc ${rc})` : ` (${rc})`;
    return `${key.slice(6)} ${seconds}s${trouble}`;
  });
  const cut = ofRun('unfinished ').map(({ key }) => key.slice(11));
  return [
    ...fact('adapter', adapter ? adapterLine(adapter) : 'none'),
    ...fact('torch', torch && `${torch.version ?? torch.error} on ${torch.device ?? '-'}`),
    ...['mode', 'mode all', 'mode no-matrices', 'driver', 'commit', 'gpu'].flatMap((key) =>
      fact(key, get('run', key)?.value),
    ),
    ...fact('plan f32', plans?.f32),
    ...fact('plan f16', typeof plans?.f16 === 'string' ? plans.f16 : undefined),
    ...ofRun('bench/').map(({ key, value }) => ({ spare: `${key}: ${value}` })),
    ...fact('stages', stages.join(', ')),
    ...fact('cut short', cut.join(', ')),
  ];
}

function adapterLine({ description, f16, matrices = [], timestamps, subgroupSizes = [] }: Line): string {
  const usual = matrices.filter((shape) => /^(16|8)/.test(shape)).join(', ') || 'NONE';
  const offers = `f16 ${f16 ? 'yes' : 'NO'}, matrices ${usual}, timestamps ${timestamps ? 'yes' : 'no'}`;
  return `${description}; ${offers}, subgroups ${subgroupSizes.join('..')}`;
}

/** Tests, probes against float64, gradients against PyTorch, errors. */
function correctness({ all, get }: Results): Text[] {
  const tests = get('tapeform', 'tests');
  const unfinished = tests?.unfinished ?? [];
  const failing = all.flatMap(({ key, failed, failures }) => {
    const [first] = (key.startsWith('test ') && failures) || [];
    return first ? [`  FAIL ${key.slice(5)} (${failed}): ${first.name}: ${first.message}`] : [];
  });
  const checking = ['facts', 'correct', 'gradients', 'models'];
  const probes = all.filter(
    ({ who, stage = '', ok, key }) =>
      who === 'tapeform' && ok !== undefined && checking.includes(stage) && !key.startsWith('test'),
  );
  const wrong = probes.filter(({ ok }) => !ok);
  return [
    tests
      ? `tests     ${tests.passed} passed, ${tests.failed} failed in ${tests.runs} runs` +
        (unfinished.length > 0 ? `; ${unfinished.length} unfinished: ${unfinished.slice(0, 6).join(' ')}` : '')
      : 'tests     no total',
    ...firstOf(failing, 14, 'correct.log'),
    `probes    ${probes.length - wrong.length} of ${probes.length} right, and equal to the bit where run twice`,
    ...firstOf(wrong.map(wrongLine), 14, 'results.jsonl'),
    ...firstOf(
      all.flatMap(({ who, key, error }) => (error ? [`  ERROR ${who}: ${key}: ${error}`] : [])),
      10,
      'results.jsonl',
    ),
    ...['f32', 'f16'].flatMap((type) => {
      const [own, torch] = ['tapeform', 'torch'].map((who) => get(who, 'shared weights, compiled', type));
      if (!own) return [];
      const peer = torch ? ` (torch ${small(torch.lossError)}, ${small(torch.gradientError)})` : '';
      const off = `loss off by ${small(own.lossError)}, gradients by ${small(own.gradientError)}`;
      return [`GPT-2 ${type} ${off} of float64${peer}`];
    }),
  ];
}

function wrongLine({ key, type = '', worst, where = '', equal }: Line): string {
  const differs = equal === false ? 'differs from run to run; ' : '';
  const far = worst === undefined ? '' : `${typeof worst === 'number' ? cell(worst) : worst} x what is allowed; `;
  return `  WRONG ${key} ${type}: ${differs}${far}${where}`;
}

const small = (value: number | undefined): string => (value === undefined ? '-' : Number(value).toExponential(1));

/** PyTorch's types that a type of ours is compared with, the same first. */
const peerTypes: Readonly<Record<string, readonly string[]>> = { f16: ['f16', 'bf16'], f32: ['f32', 'tf32'] };
const isGpt2Product = /^gpt2 \w+ (y|dx|dw) /;

/** Who else was measured: the project tuned, or with other toggles. */
const variantsIn = (all: readonly Line[]): string[] =>
  [...new Set(all.map(({ who }) => who))].filter((who) => who.startsWith('tapeform-')).sort();

/** True for rows that only the long table has. */
function isMinor({ key, type }: Line): boolean {
  if (/^copy by|^cast|dropout|4096x64|decode 8/.test(key)) return true;
  const lesser = /^gpt2 (qkv|proj|fc|out|head)|gelu|softmax|layer norm|embedding|cross-entropy|decode|AdamW.*clipping/;
  return type === 'f32' && lesser.test(key);
}

function rateOf({ tflops, gbs, tokensPerSecond }: Line): string {
  if (tflops) return `${cell(tflops)} TF/s`;
  if (gbs) return `${cell(gbs)} GB/s`;
  return tokensPerSecond ? `${cell(tokensPerSecond)} tok/s` : '';
}

/** Milliseconds of ours beside PyTorch's. */
function figures({ all, get }: Results, short: boolean): Text[] {
  const timed = all.filter(
    ({ who, ms, key }) => who === 'tapeform' && ms !== undefined && !/^(tune|smoke|ceiling) ?|on the device$/.test(key),
  );
  if (timed.length === 0) return [];
  const variants = variantsIn(all);
  const width = short ? 46 : 62;
  const numbers = [8, 11, 7, 7]; // columns of ours, its rate, PyTorch's, their ratio
  const row = (name: string, type: string, cells: readonly string[], variants: string, rest: string): string => {
    const padded = cells.map((text, i) => text.padStart(numbers[i]!));
    return [name.slice(0, width).padEnd(width), type.padEnd(5), ...padded, variants, rest].join(' ').trimEnd();
  };
  const columns = (list: readonly string[]): string => list.map((text) => text.padStart(9)).join(' ');
  const names = columns(variants.map((who) => who.slice(9)));
  const head = row('ms', 'type', ['tapeform', '', 'torch', 'x torch'], names, 'other types of torch');
  const body = timed
    .filter((one) => !short || !isMinor(one))
    .map((one): Text => {
      const { key, type = '', ms = NaN } = one;
      const [same, ...wider] = (peerTypes[type] ?? [type]).map((kind) => get('torch', key, kind));
      const compiled = get('torch', key, type === 'f16' ? 'bf16 compiled' : 'f32 compiled');
      const beside = columns(variants.map((who) => (get(who, key, type) ? cell(get(who, key, type)?.ms) : '')));
      const others = [...wider, compiled].flatMap((peer) => (peer?.ms ? [`${peer.type} ${cell(peer.ms)}`] : []));
      const cells = [cell(ms), rateOf(one), same?.ms ? cell(same.ms) : '', same?.ms ? times(same.ms / ms) : ''];
      const text = row(key, type, cells, beside, others.join(', '));
      return isGpt2Product.test(key) ? { spare: text } : text;
    });
  return [head, ...body];
}

/** The best rates reached, and all products of a training step of GPT-2 together. */
function peaks({ all }: Results): Text[] {
  const best = (who: string, type: string, field: 'tflops' | 'gbs', part: RegExp): number =>
    Math.max(...all.flatMap((one) => (one.who === who && one.type === type && part.test(one.key) && one[field]) || []));
  const peak = (name: string, type: string, field: 'tflops' | 'gbs', part: RegExp): Text[] => {
    const own = best('tapeform', type, field, part);
    if (!Number.isFinite(own)) return [];
    const unit = field === 'gbs' ? 'GB/s' : 'TFLOP/s';
    const [same = NaN, ...wider] = (peerTypes[type] ?? []).map((kind) => best('torch', kind, field, part));
    const beside = wider.some(Number.isFinite) ? ` (${peerTypes[type]![1]} ${cell(wider[0])})` : '';
    const both = `tapeform ${cell(own)} ${unit}, torch ${cell(same)}${beside}`;
    return [`peak ${name.padEnd(14)} ${both}: ${cell(own / same)} of torch`];
  };
  const types = ['f16', 'f32'];
  return [
    ...peak('copy', 'f32', 'gbs', /^copy/),
    ...all.flatMap(({ who, key, type, tflops }) =>
      who === 'tapeform' && key.startsWith('ceiling') ? [`peak ${key.slice(11)} ${type}: ${cell(tflops)} TFLOP/s`] : [],
    ),
    ...types.flatMap((type) => peak(`product ${type}`, type, 'tflops', /^matmul /)),
    ...types.flatMap((type) => peak(`GPT-2's ${type}`, type, 'tflops', isGpt2Product)),
    ...types.flatMap((type) => peak(`attention ${type}`, type, 'tflops', /^attention forward/)),
    ...types.flatMap((type) => {
      const peers = [...variantsIn(all).map((who) => [who, type]), ...peerTypes[type]!.map((kind) => ['torch', kind])];
      const sums = [['tapeform', type], ...peers].flatMap(([who, kind]) => {
        const ms = stepProducts(all, who!, kind!);
        return ms === undefined ? [] : [`${who} ${kind} ${cell(ms)} ms`];
      });
      return sums.length > 0 ? [`all products of a GPT-2 step: ${sums.join(', ')}`] : [];
    }),
  ];
}

/**
 * Adds up all products of a training step, ms: those of 12 layers, and of the head on four runs of tokens.
 */
export function stepProducts(all: readonly Line[], who: string, type: string): number | undefined {
  const list = all.filter((one) => one.who === who && one.type === type && isGpt2Product.test(one.key) && one.ms);
  if (list.length !== 15) return undefined;
  return list.reduce((sum, { key, ms = 0 }) => sum + (key.startsWith('gpt2 head') ? 4 : 12) * ms, 0);
}

/** Whole models: time, idle share, host, memory, and GPT-2's dearest kernels. */
function models({ all, get }: Results, short: boolean): Text[] {
  return all.flatMap((one): Text[] => {
    const key = /^(.*), on the device$/.exec(one.key)?.[1];
    const wall = key && get(one.who, key, one.type);
    const gpt2 = one.key.startsWith('gpt2');
    if (!wall || (short && !gpt2)) return [];
    const percent = (share = NaN): string => `${(100 * share).toFixed(0)}%`;
    const flops = wall.tflops ? `, ${cell(wall.tflops)} TFLOP/s` : '';
    const kernels = gpt2 && typeof one.kernels === 'object' ? one.kernels : [];
    return [
      `${one.who}: ${key} ${one.type}: ${cell(wall.ms)} ms, ${cell(wall.tokensPerSecond)} tokens/s${flops}; ` +
        `device ${cell(one.ms)} ms, idle ${percent(one.idleShare)} in a row, ` +
        `${percent(one.idleShareApart)} one by one; ` +
        `${wall.dispatches} dispatches, host ${cell(wall.hostUs)} us each; ` +
        `first ${cell(wall.secondsToFirst)} s; peak ${cell(wall.peakMiB)} MiB`,
      ...kernels.slice(0, one.who === 'tapeform' ? 10 : 0).map((kernel, i): Text => {
        const text = kernelLine(kernel, one.ms ?? NaN);
        return i < 4 ? text : { spare: text };
      }),
    ];
  });
}

function kernelLine({ name, calls, ms, tflops, gbs }: Kernel, total: number): string {
  const share = `${((100 * ms) / total).toFixed(0).padStart(3)}% ${String(calls).padStart(4)} x`;
  const speed = `${cell(tflops).padStart(6)} TF/s ${cell(gbs).padStart(6)} GB/s`;
  return `  ${cell(ms).padStart(8)} ms ${share} ${name.slice(0, 46).padEnd(46)} ${speed}`;
}

/** Products that a tuned plan makes faster. */
function tuned({ all }: Results): Text[] {
  return all
    .filter(({ key, gain }) => key.startsWith('tune ') && gain)
    .slice(0, 14)
    .map(({ key, count = 0, best, ms, defaultMs, gain = NaN }) => {
      const kind = `${key.slice(0, 52).padEnd(52)} x${String(count).padStart(3)}`;
      return { spare: `${kind} ${cell(defaultMs)} -> ${cell(ms)} ms (${times(gain)}) ${best}` };
    });
}

/** All results under a header that says where they were measured, as bench/results/ keeps them. */
export function record({ all, get }: Results): string {
  const { adapter, driver, node, cores, date } = get('tapeform', 'adapter') ?? {};
  const commit = get('run', 'commit')?.value;
  const header = { adapter, driver, gpu: get('run', 'gpu')?.value, node, cores, commit, date };
  const lines = all.map((line) => `    ${JSON.stringify(line)}`).join(',\n');
  return `{\n  "header": ${JSON.stringify(header)},\n  "results": [\n${lines}\n  ]\n}\n`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [path = '', flag, folder] = process.argv.slice(2);
  const results = resultsIn(readFileSync(path, 'utf8'));
  if (flag !== '--write') console.log(summary(results, true));
  else
    await writeFilesAtomic([
      { path: `${folder}/summary.txt`, data: `${summary(results, false)}\n` },
      { path: `${folder}/gpu-day.json`, data: record(results) },
    ]);
}
