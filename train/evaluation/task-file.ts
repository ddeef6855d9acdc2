import { readdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as z from 'zod';
import { pathKind, readJsonFile } from '../../common/json-file.ts';
import { printable } from '../../common/printable.ts';
import { dataPaths } from './data.ts';
import { filterSchema, pattern } from './filters.ts';
import { metricNames } from './metrics.ts';

const text = z.string();
const list = z.union([text, z.array(text)]).transform((value) => [value].flat());
const count = z.int().min(0);
/** A template, the name of a column, a number, or choices themselves. */
const template = z.union([text, z.int()]).transform(String);
const choices = z.union([text, z.array(text), z.record(text, text).transform((named) => Object.values(named))]);

const metricSchema = z.strictObject({
  metric: z.enum(metricNames),
  aggregation: text.optional(),
  higher_is_better: z.boolean().optional(),
  ignore_case: z.boolean().optional(),
  ignore_punctuation: z.boolean().optional(),
  ignore_numbers: z.boolean().optional(),
  regexes_to_ignore: z.array(pattern).optional(),
});
export type MetricChoice = z.infer<typeof metricSchema>;

const outputTypes = ['multiple_choice', 'loglikelihood', 'loglikelihood_rolling', 'generate_until'] as const;
export type OutputType = (typeof outputTypes)[number];

const taskSchema = z.strictObject({
  task: text.min(1),
  task_alias: text.optional(),
  tag: list.optional(),
  dataset_path: z.enum(dataPaths),
  dataset_name: z.null().optional(),
  dataset_kwargs: z.strictObject({ data_files: z.union([list, z.record(text, list)]) }).optional(),
  training_split: text.nullish(),
  validation_split: text.nullish(),
  test_split: text.nullish(),
  fewshot_split: text.nullish(),
  output_type: z.enum(outputTypes),
  doc_to_text: template.default(''),
  doc_to_target: template.optional(),
  doc_to_choice: choices.optional(),
  description: text.default(''),
  gen_prefix: template.optional(),
  target_delimiter: text.default(' '),
  fewshot_delimiter: text.default('\n\n'),
  num_fewshot: count.nullish(),
  fewshot_config: z
    .strictObject({
      sampler: z.enum(['default', 'first_n']).optional(),
      split: text.optional(),
      samples: z.array(z.record(text, z.unknown())).optional(),
      doc_to_text: template.optional(),
      doc_to_target: template.optional(),
      doc_to_choice: choices.optional(),
      gen_prefix: template.optional(),
      target_delimiter: text.optional(),
      fewshot_delimiter: text.optional(),
    })
    .optional(),
  metric_list: z.array(metricSchema).min(1).optional(),
  filter_list: z.array(filterSchema).min(1).optional(),
  generation_kwargs: z
    .strictObject({
      until: list.optional(),
      max_gen_toks: z.int().min(1).optional(),
      do_sample: z.literal(false).optional(),
      temperature: z.literal(0).optional(),
    })
    .optional(),
  repeats: z.literal(1).optional(),
  should_decontaminate: z.literal(false).optional(),
  metadata: z.looseObject({ version: z.union([text, z.number()]).optional() }).optional(),
});

const groupSchema = z.strictObject({
  group: text.min(1),
  group_alias: text.optional(),
  task: list,
  aggregate_metric_list: z.preprocess(
    (value) => [value ?? []].flat(),
    z.array(
      z.strictObject({
        metric: text,
        aggregation: z.literal('mean').default('mean'),
        weight_by_size: z.boolean().default(true),
        filter_list: list.nullish(),
      }),
    ),
  ),
  metadata: z.looseObject({ version: z.union([text, z.number()]).optional() }).optional(),
});

/** The fields of a task, as its file has them, with defaults. */
export type TaskConfig = z.infer<typeof taskSchema>;
export type GroupConfig = z.infer<typeof groupSchema>;

export interface TaskFile {
  readonly path: string;
  readonly config: TaskConfig;
}

export interface GroupFile {
  readonly path: string;
  readonly config: GroupConfig;
}

/** Tasks, each once, and the groups that they are in, from the innermost outwards. */
export interface TaskFiles {
  readonly tasks: readonly TaskFile[];
  readonly groups: readonly GroupFile[];
}

/** Folder of the tasks that come with the project. */
const shippedFolder = fileURLToPath(new URL('tasks', import.meta.url));

/** Names of the tasks that come with the project. */
export async function shippedTasks(): Promise<string[]> {
  return (await readdir(shippedFolder)).filter((name) => name.endsWith('.json')).map((name) => basename(name, '.json'));
}

/**
 * Reads task files: lm-evaluation-harness' YAML written as JSON. `names` are paths, or names of tasks that
 * come with the project; a group's tasks are files beside it. Errors, each one line with file and field: no
 * such task, a field that is unknown or wrong, one name twice.
 */
export async function readTasks(names: readonly string[]): Promise<TaskFiles> {
  const tasks = new Map<string, TaskFile>();
  const groups = new Map<string, GroupFile>();
  const visit = async (name: string, folder: string, above: readonly string[]): Promise<string> => {
    const path = await taskPath(name, folder);
    if (above.includes(path)) throw new Error(`${path}: the group is within itself; take it out of its "task"`);
    const json = await readJsonFile(path);
    const isGroup = 'group' in json;
    const own = isGroup
      ? { path, config: checked(groupSchema, json, path) }
      : { path, config: checked(taskSchema, json, path) };
    const title = 'group' in own.config ? own.config.group : own.config.task;
    const other = (tasks.get(title) ?? groups.get(title))?.path;
    if (other !== undefined && other !== path)
      throw new Error(`${path}: ${other} has the name ${printable(title)} too; rename one of them`);
    if (!/^[\w.-]+$/.test(title))
      throw new Error(`${path}: the name ${printable(title)} is to be a file's; use letters, digits, _, . and -`);
    if (!('group' in own.config)) {
      tasks.set(title, { path, config: own.config });
      return title;
    }
    const members: string[] = [];
    for (const member of own.config.task) members.push(await visit(member, dirname(path), [...above, path]));
    groups.set(title, { path, config: { ...own.config, task: members } });
    return title;
  };
  for (const name of names) await visit(name, process.cwd(), []);
  return { tasks: [...tasks.values()], groups: [...groups.values()] };
}

async function taskPath(name: string, folder: string): Promise<string> {
  const file = name.endsWith('.json') ? name : `${name}.json`;
  for (const path of [resolve(folder, file), join(shippedFolder, file)])
    if ((await pathKind(path)) === 'file') return path;
  const mend = `the project's own are ${(await shippedTasks()).join(', ')}`;
  throw new Error(`${printable(name)}: no such task file; ${mend}`);
}

function checked<T extends z.ZodType>(schema: T, json: unknown, path: string): z.infer<T> {
  const { data, error } = schema.safeParse(json);
  if (!error) return data;
  const [issue] = error.issues;
  const at = issue!.path.map(String).join('.');
  throw new Error(`${path}: ${at === '' ? '' : `${printable(at)}: `}${printable(issue!.message)}`);
}
