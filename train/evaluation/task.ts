import { dirname } from 'node:path';
import { brief } from '../../common/printable.ts';
import { argmaxOf } from '../../models/generation/sample.ts';
import { softmax } from '../../models/generation/processors.ts';
import { splitAtSpaces } from '../metrics/text.ts';
import type { DataSource, TaskData } from './data.ts';
import { aggregationOf, exactMatch, metricsOf } from './metrics.ts';
import type { Item, MetricName } from './metrics.ts';
import { PythonRandom } from './python-random.ts';
import type { Answer, Request } from './requests.ts';
import type { MetricChoice, OutputType, TaskFile } from './task-file.ts';
import { fieldOf, sameRow } from './template.ts';
import type { Field, Row } from './template.ts';

/** A row as questions to the model. */
export interface Sample {
  /** Number of the row in its data. */
  readonly id: number;
  readonly row: Row;
  readonly requests: readonly Request[];
  /** What the row asks for: the number of the right choice, several of them, or a text. */
  readonly target: unknown;
  /** What is asked for of each metric, once the model has answered. */
  score(answers: readonly Answer[]): ReadonlyMap<MetricName, Item>;
}

export interface EvaluationTask {
  readonly name: string;
  readonly alias: string;
  readonly version: string | number;
  readonly outputType: OutputType;
  readonly numFewshot: number;
  readonly metrics: readonly MetricName[];
  readonly samples: readonly Sample[];
  /** Rows of the data, of which `samples` may be the first. */
  readonly rows: number;
  /** The task's file, with the number of shots that is used. */
  readonly config: Readonly<Record<string, unknown>>;
}

export interface TaskOptions {
  /** Examples before each question, instead of the task's own number; a task that says 0 keeps it. */
  readonly numFewshot?: number | undefined;
  /** Rows at most; below 1 a share of them. */
  readonly limit?: number | undefined;
  /** Of the draws of examples. */
  readonly seed: number;
}

/** The fields of a task that say what is asked of a row. */
interface Prompt {
  readonly text: Field;
  readonly target?: Field;
  readonly choice?: Field | readonly string[];
}

/**
 * Reads a task's rows and makes its questions. Errors, each one line, with file and row where one is at
 * fault.
 */
export async function makeTask(file: TaskFile, data: TaskData, options: TaskOptions): Promise<EvaluationTask> {
  const { config, path } = file;
  const source: DataSource = { path: config.dataset_path, files: filesOf(file) };
  const read = (part: string): Promise<readonly Row[]> => data.rows(source, part, dirname(path));
  const part = config.test_split ?? config.validation_split;
  if (part == null)
    throw new Error(`${path}: it has neither test_split nor validation_split; name the part to ask about`);
  const rows = await read(part);
  if (rows.length === 0)
    throw new Error(`${path}: its part "${part}" has no files; give them in dataset_kwargs.data_files`);
  const isWhole = config.output_type === 'loglikelihood_rolling'; // nothing goes before a whole text
  const numFewshot = isWhole || config.num_fewshot === 0 ? 0 : (options.numFewshot ?? config.num_fewshot ?? 0);
  const metrics = metricsFor(file);
  const prompt = promptOf(file, config, rows);
  const shots = numFewshot === 0 ? undefined : await shotsOf(file, read, options.seed);
  const { limit = Infinity } = options;
  const most = limit < 1 ? Math.ceil(rows.length * limit) : limit;
  const samples = rows.slice(0, most).map((row, id): Sample => {
    const before = describe(file, row) + (shots?.(row, numFewshot) ?? '');
    return sampleOf(file, { id, row, before, prompt, metrics });
  });
  const { task: name, task_alias: alias = name, output_type: outputType, metadata } = config;
  return {
    ...{ name, alias, version: metadata?.version ?? 'Yaml', outputType, numFewshot, samples, rows: rows.length },
    metrics: metrics.map(({ metric }) => metric),
    config: { ...config, num_fewshot: numFewshot },
  };
}

function filesOf({ config, path }: TaskFile): Readonly<Record<string, readonly string[]>> {
  const files = config.dataset_kwargs?.data_files;
  const isFile = ['json', 'csv', 'tsv', 'parquet'].includes(config.dataset_path);
  if (isFile && files === undefined)
    throw new Error(`${path}: dataset_path "${config.dataset_path}" needs dataset_kwargs.data_files: { "test": FILE }`);
  // As the datasets library has it, files without a part are those of "train".
  return Array.isArray(files) ? { train: files } : (files ?? {});
}

function metricsFor({ config, path }: TaskFile): MetricChoice[] {
  const known = metricsOf[config.output_type];
  const list: readonly MetricChoice[] = config.metric_list ?? known.default.map((metric) => ({ metric }));
  const names: readonly MetricName[] = [...known.default, ...known.more];
  for (const { metric, aggregation = aggregationOf(metric) } of list) {
    if (!names.includes(metric))
      throw new Error(`${path}: ${metric} is no metric of ${config.output_type}; it has ${names.join(', ')}`);
    if (aggregation !== aggregationOf(metric))
      throw new Error(
        `${path}: ${metric} is aggregated by ${aggregationOf(metric)} here, not by ${brief(aggregation)}`,
      );
  }
  return [...list];
}

function promptOf({ config, path }: TaskFile, own: PromptFields, rows: readonly Row[]): Prompt {
  const columns = new Set(rows.flatMap(({ cells }) => Object.keys(cells)));
  const field = (source: string, name: string): Field => fieldOf(source, name, path, columns);
  const { doc_to_text: text = config.doc_to_text, doc_to_target: target = config.doc_to_target } = own;
  const { doc_to_choice: choice = config.doc_to_choice } = own;
  if (choice === undefined && config.output_type === 'multiple_choice')
    throw new Error(`${path}: a task of multiple_choice needs doc_to_choice, the choices of a row`);
  if (target === undefined)
    throw new Error(`${path}: it needs doc_to_target: the right choice, or the text that is asked for`);
  return {
    text: field(text, 'doc_to_text'),
    target: field(target, 'doc_to_target'),
    choice: typeof choice === 'string' ? field(choice, 'doc_to_choice') : choice,
  };
}

interface PromptFields {
  readonly doc_to_text?: string | undefined;
  readonly doc_to_target?: string | undefined;
  readonly doc_to_choice?: string | readonly string[] | undefined;
}

function describe({ config, path }: TaskFile, row: Row): string {
  const { description } = config;
  if (description === '') return '';
  const columns = new Set(Object.keys(row.cells));
  // A description is a text most often: one word is no name of a column that is missing.
  if (!description.includes('{') && !columns.has(description)) return description;
  return String(fieldOf(description, 'description', path, columns).text(row));
}

/** What a row is made into: a text, or the number of the choice that is one. */
const digits = /^\d+$/;

function textOf(prompt: Prompt, row: Row): string | number {
  const text = prompt.text.text(row);
  if (typeof text === 'number') return text;
  if (typeof text !== 'string') throw new Error(`${row.where}: doc_to_text is ${brief(text)}, not a text`);
  return prompt.choice !== undefined && digits.test(text) ? Number(text) : text;
}

function targetOf({ target, choice }: Prompt, row: Row): unknown {
  const value = target!.value(row);
  if (choice !== undefined && typeof value === 'string' && digits.test(value)) {
    const index = choicesOf(choice, row).indexOf(value);
    return index === -1 ? Number(value) : index;
  }
  return value;
}

function choicesOf(choice: Field | readonly string[], row: Row): readonly string[] {
  const value: unknown = 'value' in choice ? choice.value(row) : choice;
  const parsed = typeof value === 'string' ? listOf(value) : value;
  const list = Array.isArray(parsed)
    ? parsed.map((item: unknown) => (typeof item === 'number' ? String(item) : item))
    : [];
  if (list.length < 2 || !list.every((item) => typeof item === 'string'))
    throw new Error(`${row.where}: doc_to_choice is ${brief(value)}; a list of at least two texts is needed`);
  return list as string[];
}

/** A list that a template wrote as JSON. */
function listOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The number of a choice, or those of several; error: there is none such. */
function goldOf(target: unknown, choices: readonly string[], row: Row): number | readonly number[] {
  if (Array.isArray(target)) return target.map((one: unknown) => goldOf(one, choices, row) as number);
  const gold =
    typeof target === 'string' ? choices.indexOf(target) : typeof target === 'boolean' ? Number(target) : target;
  if (typeof gold === 'number' && Number.isInteger(gold) && gold >= 0 && gold < choices.length) return gold;
  throw new Error(
    `${row.where}: doc_to_target is ${brief(target)}, which is none of the ${choices.length} choices ` +
      `(${brief(choices)}); give one of them, or its number from 0`,
  );
}

/** The text of an example's answer. */
function answerOf(prompt: Prompt, row: Row): string {
  const target = targetOf(prompt, row);
  const first: unknown = Array.isArray(target) ? target[0] : target;
  if (typeof first !== 'number' || prompt.choice === undefined) return String(first);
  const choices = choicesOf(prompt.choice, row);
  return choices[goldOf(first, choices, row) as number]!;
}

/** Writes the examples before a row's question. */
async function shotsOf(
  file: TaskFile,
  read: (part: string) => Promise<readonly Row[]>,
  seed: number,
): Promise<(row: Row, count: number) => string> {
  const { config, path } = file;
  const own = config.fewshot_config ?? {};
  const part = own.split ?? config.fewshot_split ?? undefined;
  const fallback = config.training_split ?? config.validation_split ?? config.test_split;
  const samples = part === undefined ? own.samples : undefined;
  const pool = samples
    ? samples.map((cells, i): Row => ({ cells, where: `${path}: fewshot_config.samples.${i}` }))
    : await read(part ?? fallback!);
  const prompt = promptOf(file, own, pool);
  const isOwn = part !== undefined && part === config.test_split;
  const { target_delimiter: between = config.target_delimiter, fewshot_delimiter: after = config.fewshot_delimiter } =
    own;
  const random = new PythonRandom(seed);
  const drawn = (row: Row, count: number): readonly Row[] => {
    const others = (list: readonly Row[]): Row[] => (isOwn ? list.filter((other) => !sameRow(other, row)) : [...list]);
    const few = (available: number): Error =>
      new Error(`${path}: ${count} examples are asked for, and there are ${available}; ask for fewer`);
    if (own.sampler === 'first_n') {
      const list = others(pool);
      if (list.length < count) throw few(list.length);
      return list.slice(0, count);
    }
    const wanted = isOwn ? count + 1 : count;
    if (pool.length < wanted) throw few(isOwn ? pool.length - 1 : pool.length);
    const found = others(random.sample(pool.length, wanted).map((at) => pool[at]!)).slice(0, count);
    if (found.length === count) return found;
    // The row is there several times.
    const left = others(pool);
    if (left.length < count) throw few(left.length);
    return random.sample(left.length, count).map((at) => left[at]!);
  };
  return (row, count) =>
    drawn(row, count)
      .map((shot) => {
        const text = textOf(prompt, shot);
        const question = typeof text === 'number' ? choicesOf(prompt.choice!, shot)[text] : text;
        if (question === undefined)
          throw new Error(`${shot.where}: doc_to_text is ${text}, the number of a choice that is not there`);
        const answer = answerOf(prompt, shot);
        return answer === '' ? question : `${question}${between}${answer}${after}`;
      })
      .join('');
}

interface Asked {
  readonly id: number;
  readonly row: Row;
  /** What goes before the question: description and examples. */
  readonly before: string;
  readonly prompt: Prompt;
  readonly metrics: readonly MetricChoice[];
}

function sampleOf(file: TaskFile, asked: Asked): Sample {
  const make = {
    multiple_choice: choiceSample,
    loglikelihood: textSample,
    loglikelihood_rolling: wholeSample,
    generate_until: writtenSample,
  }[file.config.output_type];
  return { id: asked.id, row: asked.row, ...make(file, asked) };
}

type Made = Pick<Sample, 'requests' | 'target' | 'score'>;

/** The items of the metrics that are asked for. */
function only(metrics: readonly MetricChoice[], items: Partial<Record<MetricName, Item>>): Map<MetricName, Item> {
  return new Map(metrics.flatMap(({ metric }) => (items[metric] === undefined ? [] : [[metric, items[metric]]])));
}

const bytesOf = (text: string): number => Buffer.byteLength(text);
const codePoints = (text: string): number => [...text].length;

function choiceSample({ config }: TaskFile, { row, before, prompt, metrics }: Asked): Made {
  const choices = choicesOf(prompt.choice!, row);
  const text = textOf(prompt, row);
  const target = targetOf(prompt, row);
  const { target_delimiter: between } = config;
  // The text may be the number of a choice: then the choices are contexts, and the target follows each.
  const isInput = typeof text === 'number';
  const ask = (context: string, continuation: string): Request => ({ kind: 'loglikelihood', context, continuation });
  const requests = choices.map((choice) =>
    isInput ? ask(`${before}${choice}`, `${between}${String(target)}`) : ask(`${before}${text}`, `${between}${choice}`),
  );
  const withoutContext = metrics.some(({ metric }) => metric === 'acc_mutual_info')
    ? choices.map((choice) => ask('', `${between}${choice}`))
    : [];
  const gold = goldOf(isInput ? text : target, choices, row);
  const isGold = (choice: number): boolean => [gold].flat().includes(choice);
  return {
    requests: [...requests, ...withoutContext],
    target: isInput ? target : gold,
    score(answers) {
      const given = answers as readonly (readonly [number, boolean])[];
      const logs = choices.map((_, i) => given[i]![0]);
      const right = (by: (log: number, i: number) => number): number => Number(isGold(argmaxOf(logs.map(by))));
      const probabilities = softmax(logs);
      return only(metrics, {
        acc: right((log) => log),
        acc_norm: right((log, i) => log / codePoints(choices[i]!)),
        acc_bytes: right((log, i) => log / bytesOf(choices[i]!)),
        exact_match: Number([gold].flat().some((i) => given[i]![1])),
        brier_score: probabilities.reduce((sum, p, i) => sum + (p - Number(isGold(i))) ** 2, 0),
        ...(withoutContext.length > 0
          ? { acc_mutual_info: right((log, i) => log - given[choices.length + i]![0]) }
          : {}),
      });
    },
  };
}

/** The text of the target; numbers are written out. */
function targetText(prompt: Prompt, row: Row): string {
  const target = prompt.target!.text(row);
  if (typeof target === 'string' || typeof target === 'number') return String(target);
  throw new Error(`${row.where}: doc_to_target is ${brief(target)}, not a text`);
}

function textSample(_: TaskFile, { row, before, prompt, metrics }: Asked): Made {
  const target = targetText(prompt, row);
  if (target === '') throw new Error(`${row.where}: doc_to_target is empty; give a text, or leave the row out`);
  return {
    requests: [{ kind: 'loglikelihood', context: `${before}${textOf(prompt, row)}`, continuation: target }],
    target,
    score([answer]) {
      const [log, isGreedy] = answer as readonly [number, boolean];
      return only(metrics, { perplexity: log, acc: Number(isGreedy) });
    },
  };
}

function wholeSample(_: TaskFile, { row, prompt, metrics }: Asked): Made {
  const target = targetText(prompt, row);
  if (target === '') throw new Error(`${row.where}: doc_to_target is empty; give a text, or leave the row out`);
  return {
    requests: [{ kind: 'loglikelihood_rolling', text: target }],
    target,
    score([answer]) {
      const log = answer as number;
      return only(metrics, {
        word_perplexity: [log, splitAtSpaces(target).length],
        byte_perplexity: [log, bytesOf(target)],
        bits_per_byte: [log, bytesOf(target)],
      });
    },
  };
}

function writtenSample({ config }: TaskFile, { row, before, prompt, metrics }: Asked): Made {
  const { until = [config.fewshot_delimiter], max_gen_toks: maxTokens = 256 } = config.generation_kwargs ?? {};
  const target = targetOf(prompt, row);
  const wanted = Array.isArray(target) ? target.map(String) : [answerOf(prompt, row)];
  return {
    requests: [{ kind: 'generate_until', context: `${before}${textOf(prompt, row)}`, until, maxTokens }],
    target: wanted.length === 1 ? wanted[0] : wanted,
    score: ([answer]) => {
      const items = metrics.map((choice): [MetricName, Item] => [
        choice.metric,
        Number(wanted.some((reference) => exactMatch(String(answer), reference, choice))),
      ]);
      return new Map(items);
    },
  };
}
