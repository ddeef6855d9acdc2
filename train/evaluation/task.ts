import { dirname } from 'node:path';
import { brief } from '../../common/printable.ts';
import { argmaxOf } from '../../models/generation/sample.ts';
import { softmax } from '../../models/generation/processors.ts';
import { splitAtSpaces } from '../metrics/text.ts';
import type { DataSource, TaskData } from './data.ts';
import { filterText, unfiltered } from './filters.ts';
import type { FilterChoice } from './filters.ts';
import { aggregationOf, exactMatch, metricsOf } from './metrics.ts';
import type { Item, MetricName } from './metrics.ts';
import { delimited, endsWithSpace, turnsOf, writePrompt } from './prompts.ts';
import type { PromptStyle, Turn } from './prompts.ts';
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
  /** Answers as a filter of the task leaves them. */
  filter(answers: readonly Answer[], by: FilterChoice): readonly Answer[];
  /** What is asked for of each metric, once the model has answered. */
  score(filtered: readonly Answer[]): ReadonlyMap<MetricName, Item>;
}

export interface EvaluationTask {
  readonly name: string;
  readonly alias: string;
  readonly version: string | number;
  readonly outputType: OutputType;
  readonly numFewshot: number;
  readonly metrics: readonly MetricName[];
  /** Each gives figures of its own. */
  readonly filters: readonly FilterChoice[];
  readonly samples: readonly Sample[];
  /** Rows of the data, of which `samples` may be the first. */
  readonly rows: number;
  /** The task's file, with the number of shots that is used. */
  readonly config: Readonly<Record<string, unknown>>;
}

export interface TaskOptions extends PromptStyle {
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
  /** What answers begin with. */
  readonly prefix?: Field;
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
    const system = delimited(options.systemInstruction ?? '', describe(file, row), config.fewshot_delimiter);
    const before: readonly Turn[] = [
      ...(system === '' ? [] : [{ role: 'system', content: system, after: '' } as const]),
      ...(shots?.(row, numFewshot) ?? []),
    ];
    return sampleOf(file, { id, row, before, prompt, metrics, style: options });
  });
  const { task: name, task_alias: alias = name, output_type: outputType, metadata } = config;
  return {
    ...{ name, alias, version: metadata?.version ?? 'Yaml', outputType, numFewshot, samples, rows: rows.length },
    metrics: metrics.map(({ metric }) => metric),
    filters: filtersFor(file),
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

function filtersFor({ config, path }: TaskFile): readonly FilterChoice[] {
  const { filter_list: filters = [unfiltered], output_type: kind } = config;
  if (kind !== 'generate_until' && filters.some(({ filter }) => filter.length > 1))
    throw new Error(`${path}: filter_list changes texts that a model writes, and ${kind} asks for none; take it out`);
  const names = filters.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice === undefined) return filters;
  throw new Error(`${path}: two filters have the name ${brief(twice)}; rename one of them`);
}

function promptOf({ config, path }: TaskFile, own: PromptFields, rows: readonly Row[]): Prompt {
  const columns = new Set(rows.flatMap(({ cells }) => Object.keys(cells)));
  const field = (source: string, name: string): Field => fieldOf(source, name, path, columns);
  const { doc_to_text: text = config.doc_to_text, doc_to_target: target = config.doc_to_target } = own;
  const { doc_to_choice: choice = config.doc_to_choice, gen_prefix: prefix = config.gen_prefix } = own;
  if (choice === undefined && config.output_type === 'multiple_choice')
    throw new Error(`${path}: a task of multiple_choice needs doc_to_choice, the choices of a row`);
  if (target === undefined)
    throw new Error(`${path}: it needs doc_to_target: the right choice, or the text that is asked for`);
  return {
    text: field(text, 'doc_to_text'),
    target: field(target, 'doc_to_target'),
    choice: typeof choice === 'string' ? field(choice, 'doc_to_choice') : choice,
    // A word that is no column is itself, as of a description.
    ...(prefix === undefined || prefix === ''
      ? {}
      : { prefix: isPlain(prefix, columns) ? itself(prefix) : field(prefix, 'gen_prefix') }),
  };
}

/** Whether a field is a text itself, not a template or a column's name. */
const isPlain = (source: string, columns: ReadonlySet<string>): boolean => !/[{]/.test(source) && !columns.has(source);
const itself = (text: string): Field => ({ value: () => text, text: () => text });

interface PromptFields {
  readonly doc_to_text?: string | undefined;
  readonly doc_to_target?: string | undefined;
  readonly doc_to_choice?: string | readonly string[] | undefined;
  readonly gen_prefix?: string | undefined;
}

function describe({ config, path }: TaskFile, row: Row): string {
  const { description } = config;
  if (description === '') return '';
  const columns = new Set(Object.keys(row.cells));
  // A description is a text most often: one word is no name of a column that is missing.
  if (isPlain(description, columns)) return description;
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
): Promise<(row: Row, count: number) => Turn[]> {
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
    drawn(row, count).flatMap((shot) => {
      const text = textOf(prompt, shot);
      const question = typeof text === 'number' ? choicesOf(prompt.choice!, shot)[text] : text;
      if (question === undefined)
        throw new Error(`${shot.where}: doc_to_text is ${text}, the number of a choice that is not there`);
      return turnsOf(question, { answer: answerOf(prompt, shot), prefix: prefixOf(prompt, shot), between, after });
    });
}

/** What a row's answer begins with. */
const prefixOf = ({ prefix }: Prompt, row: Row): string => (prefix === undefined ? '' : String(prefix.text(row)));

interface Asked {
  readonly id: number;
  readonly row: Row;
  /** What goes before the question: description and examples. */
  readonly before: readonly Turn[];
  readonly prompt: Prompt;
  readonly metrics: readonly MetricChoice[];
  readonly style: PromptStyle;
}

/** The text that a question is asked with. */
function contextOf({ row, before, prompt, style }: Asked, question: string, between: string): string {
  const turns = turnsOf(question, { prefix: prefixOf(prompt, row), between, after: '' });
  return writePrompt([...before, ...turns], style);
}

function sampleOf(file: TaskFile, asked: Asked): Sample {
  const make = {
    multiple_choice: choiceSample,
    loglikelihood: textSample,
    loglikelihood_rolling: wholeSample,
    generate_until: writtenSample,
  }[file.config.output_type];
  const { id, row } = asked;
  const filter = (answers: readonly Answer[], by: FilterChoice): readonly Answer[] =>
    answers.map((answer) => (typeof answer === 'string' ? filterText(by, answer, row) : answer));
  return { id, row, filter, ...make(file, asked) };
}

type Made = Pick<Sample, 'requests' | 'target' | 'score'>;

/** The items of the metrics that are asked for. */
function only(metrics: readonly MetricChoice[], items: Partial<Record<MetricName, Item>>): Map<MetricName, Item> {
  return new Map(metrics.flatMap(({ metric }) => (items[metric] === undefined ? [] : [[metric, items[metric]]])));
}

const bytesOf = (text: string): number => Buffer.byteLength(text);
const codePoints = (text: string): number => [...text].length;

function choiceSample({ config }: TaskFile, asked: Asked): Made {
  const { row, prompt, metrics, style } = asked;
  const choices = choicesOf(prompt.choice!, row);
  const text = textOf(prompt, row);
  const target = targetOf(prompt, row);
  const { target_delimiter: delimiter, gen_prefix: prefix = '' } = config;
  // A reply begins without a space, unless it goes on with what it is to begin with.
  const between = style.chat === undefined || (prefix !== '' && !endsWithSpace(prefix)) ? delimiter : '';
  // The text may be the number of a choice: then the choices are contexts, and the target follows each.
  const isInput = typeof text === 'number';
  const ask = (context: string, continuation: string): Request => ({ kind: 'loglikelihood', context, continuation });
  const context = isInput ? '' : contextOf(asked, text, delimiter);
  const requests = choices.map((choice) =>
    isInput ? ask(contextOf(asked, choice, ''), `${between}${String(target)}`) : ask(context, `${between}${choice}`),
  );
  const withoutContext = metrics.some(({ metric }) => metric === 'acc_mutual_info')
    ? choices.map((choice) => ask('', `${between}${choice}`))
    : [];
  const gold = goldOf(isInput ? text : target, choices, row);
  const pairs = metrics.find(({ metric }) => metric === 'f1' || metric === 'mcc')?.metric;
  if (pairs !== undefined && typeof gold !== 'number')
    throw new Error(`${row.where}: ${pairs} needs one right choice, and doc_to_target gives ${brief(gold)}`);
  if (pairs === 'f1' && choices.length !== 2)
    throw new Error(`${row.where}: f1 is of the second of two choices, and there are ${choices.length}; use mcc`);
  const isGold = (choice: number): boolean => [gold].flat().includes(choice);
  return {
    requests: [...requests, ...withoutContext],
    target: isInput ? target : gold,
    score(answers) {
      const given = answers as readonly (readonly [number, boolean])[];
      const logs = choices.map((_, i) => given[i]![0]);
      const right = (by: (log: number, i: number) => number): number => Number(isGold(argmaxOf(logs.map(by))));
      const probabilities = softmax(logs);
      const pair = [gold as number, argmaxOf(logs)] as const;
      return only(metrics, {
        acc: right((log) => log),
        acc_norm: right((log, i) => log / codePoints(choices[i]!)),
        acc_bytes: right((log, i) => log / bytesOf(choices[i]!)),
        exact_match: Number([gold].flat().some((i) => given[i]![1])),
        brier_score: probabilities.reduce((sum, p, i) => sum + (p - Number(isGold(i))) ** 2, 0),
        f1: pair,
        mcc: pair,
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

function textSample({ config }: TaskFile, asked: Asked): Made {
  const { row, prompt, metrics } = asked;
  const target = targetText(prompt, row);
  if (target === '') throw new Error(`${row.where}: doc_to_target is empty; give a text, or leave the row out`);
  return {
    requests: [{ kind: 'loglikelihood', context: questionOf(asked, config.target_delimiter), continuation: target }],
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

/** The context of a row whose doc_to_text is a text. */
const questionOf = (asked: Asked, between: string): string =>
  contextOf(asked, String(textOf(asked.prompt, asked.row)), between);

function writtenSample({ config }: TaskFile, asked: Asked): Made {
  const { row, prompt, metrics } = asked;
  const { until = [config.fewshot_delimiter], max_gen_toks: maxTokens = 256 } = config.generation_kwargs ?? {};
  const target = targetOf(prompt, row);
  const wanted = Array.isArray(target) ? target.map(String) : [answerOf(prompt, row)];
  const corpus = metrics.find(({ metric }) => metric !== 'exact_match')?.metric;
  if (corpus !== undefined && wanted.length !== 1)
    throw new Error(`${row.where}: ${corpus} needs one text to compare with, and doc_to_target gives ${wanted.length}`);
  return {
    requests: [{ kind: 'generate_until', context: questionOf(asked, config.target_delimiter), until, maxTokens }],
    target: wanted.length === 1 ? wanted[0] : wanted,
    score: ([answer]) => {
      const text = String(answer);
      const items = metrics.map((choice): [MetricName, Item] => [
        choice.metric,
        choice.metric === 'exact_match'
          ? Number(wanted.some((reference) => exactMatch(text, reference, choice)))
          : [wanted[0]!, text],
      ]);
      return new Map(items);
    },
  };
}
