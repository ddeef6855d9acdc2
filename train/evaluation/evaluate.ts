import { progress } from '../../common/progress.ts';
import { CausalLM } from '../../models/index.ts';
import type { TextGenerator } from '../../models/index.ts';
import type { AnswerCache } from './answer-cache.ts';
import { TaskData } from './data.ts';
import { aggregate, aggregateGroup, higherIsBetter } from './metrics.ts';
import type { Item, MetricName, Part } from './metrics.ts';
import { answerRequests, requestKey } from './requests.ts';
import type { Answer, Asked, Request } from './requests.ts';
import { makeTask } from './task.ts';
import type { EvaluationTask, Sample, TaskOptions } from './task.ts';
import { readTasks } from './task-file.ts';
import type { GroupFile } from './task-file.ts';

export interface EvaluateOptions extends Partial<Omit<TaskOptions, 'limit' | 'numFewshot'>> {
  /** Examples before each question, instead of the task's own number; a task that says 0 keeps it. */
  readonly numFewshot?: number | undefined;
  /** Rows of each task at most; below 1 a share of them. */
  readonly limit?: number | undefined;
  /** Tokens that the model reads at most; default as many as it has positions for. */
  readonly maxLength?: number | undefined;
  /** Requests at once; default 16. */
  readonly batchSize?: number;
  /** Resamplings for the standard error of a perplexity; default 100,000; 0: no standard errors. */
  readonly bootstraps?: number;
  /** Answers that are known, to which new ones are added. */
  readonly cache?: AnswerCache | undefined;
}

/** The figures of a task or a group, by the names of lm-evaluation-harness: "acc,none", "acc_stderr,none". */
export type Figures = Readonly<Record<string, number | string>>;

/** What lm-evaluation-harness writes as results.json, but for what it says of itself. */
export interface EvaluationResults {
  readonly results: Readonly<Record<string, Figures>>;
  readonly groups?: Readonly<Record<string, Figures>>;
  readonly group_subtasks: Readonly<Record<string, readonly string[]>>;
  readonly configs: Readonly<Record<string, unknown>>;
  readonly versions: Readonly<Record<string, string | number>>;
  readonly 'n-shot': Readonly<Record<string, number>>;
  readonly higher_is_better: Readonly<Record<string, Readonly<Record<string, boolean>>>>;
  readonly 'n-samples': Readonly<Record<string, { readonly original: number; readonly effective: number }>>;
}

/** A row with its answers and scores, as lm-evaluation-harness logs it. */
export type SampleRecord = Readonly<Record<string, unknown>>;

export interface TaskEvaluation {
  readonly results: EvaluationResults;
  readonly samples: Readonly<Record<string, readonly SampleRecord[]>>;
  /** Tokens that the model could read. */
  readonly maxLength: number;
  readonly counts: {
    /** Different requests. */
    readonly requests: number;
    /** Of these, answered before. */
    readonly cached: number;
    /** Of the others, those whose context was longer than the model reads. */
    readonly cut: number;
  };
}

/**
 * Measures a model on tasks as lm-evaluation-harness does: makes their questions, asks those that the cache
 * does not know, and scores the answers. `names`: see `readTasks`.
 *
 * Errors, each one line: a model that is no decoder; a maxLength above what it reads; those of the tasks'
 * files, templates and rows, with their place.
 */
export async function evaluateTasks(
  { model, tokenizer }: Pick<TextGenerator, 'model' | 'tokenizer'>,
  names: readonly string[],
  options: EvaluateOptions = {},
): Promise<TaskEvaluation> {
  const { batchSize = 16, seed = 1234, bootstraps = 100_000, cache } = options;
  const files = await readTasks(names);
  if (!(model instanceof CausalLM))
    throw new Error(
      'evaluateTasks: the model is an encoder-decoder, and tasks ask for what follows a text; give a decoder',
    );
  const { positions } = model.decoder();
  const { maxLength = positions } = options;
  if (maxLength > positions)
    throw new Error(
      `evaluateTasks: a maxLength of ${maxLength} is above ${positions}, the tokens that the model reads`,
    );
  const data = new TaskData();
  const tasks: EvaluationTask[] = [];
  for (const file of files.tasks) tasks.push(await makeTask(file, data, { ...options, seed }));
  const { answers, counts } = await answersOf({ model, tokenizer, maxLength, batchSize }, tasks, cache);
  const scored = tasks.map((task) => scoreTask(task, maxLength, answers, bootstraps));
  return { ...gather(tasks, scored, files.groups), maxLength, counts };
}

async function answersOf(asked: Asked, tasks: readonly EvaluationTask[], cache: AnswerCache | undefined) {
  const all = new Map<string, Request>();
  for (const { samples } of tasks)
    for (const { requests } of samples)
      for (const request of requests) all.set(requestKey(request, asked.maxLength), request);
  const answers = new Map<string, Answer>();
  const open: (readonly [key: string, request: Request])[] = [];
  for (const [key, request] of all) {
    const known = cache?.get(key);
    if (known === undefined) open.push([key, request]);
    else answers.set(key, known);
  }
  const counts = { requests: all.size, cached: answers.size, cut: 0 };
  const bar = open.length > 0 ? progress({ total: open.length }) : undefined;
  let done = 0;
  const take = (index: number, answer: Answer): void => {
    const [key] = open[index]!;
    answers.set(key, answer);
    cache?.set(key, answer);
    bar?.update(++done, { label: 'requests' });
  };
  try {
    const requests = open.map(([, request]) => request);
    counts.cut = await answerRequests(asked, requests, take);
  } finally {
    bar?.stop();
  }
  return { answers, counts };
}

interface Scored {
  readonly figures: Figures;
  readonly parts: ReadonlyMap<MetricName, Part>;
  readonly records: readonly SampleRecord[];
}

function scoreTask(
  task: EvaluationTask,
  maxLength: number,
  answers: ReadonlyMap<string, Answer>,
  bootstraps: number,
): Scored {
  const items = new Map<MetricName, Item[]>(task.metrics.map((metric) => [metric, []]));
  const records = task.samples.map((sample): SampleRecord => {
    const given = sample.requests.map((request) => answers.get(requestKey(request, maxLength))!);
    const scores = sample.score(given);
    for (const [metric, item] of scores) items.get(metric)!.push(item);
    return recordOf(sample, given, scores);
  });
  const parts = new Map(
    [...items].map(([metric, list]) => [metric, { ...aggregate(metric, list, bootstraps), size: list.length }]),
  );
  const figures = { name: task.name, alias: task.alias, sample_len: task.samples.length, ...figuresOf(parts) };
  return { figures, parts, records };
}

/** The one filter that there is: answers are taken as they are. */
const filter = 'none';

function figuresOf(parts: ReadonlyMap<MetricName, Pick<Part, 'value' | 'stderr'>>): Record<string, number | string> {
  const pairs = [...parts].flatMap(([metric, { value, stderr }]) => [
    [`${metric},${filter}`, value],
    [`${metric}_stderr,${filter}`, stderr],
  ]);
  return Object.fromEntries(pairs) as Record<string, number | string>;
}

function recordOf(
  { id, row, requests, target }: Sample,
  answers: readonly Answer[],
  scores: ReadonlyMap<MetricName, Item>,
): SampleRecord {
  return {
    doc_id: id,
    doc: row.cells,
    target,
    arguments: requests.map(argumentsOf),
    resps: answers.map((answer) => [answer]),
    filtered_resps: answers,
    filter,
    metrics: [...scores.keys()],
    ...Object.fromEntries(scores),
  };
}

function argumentsOf(request: Request): readonly unknown[] {
  if (request.kind === 'loglikelihood') return [request.context, request.continuation];
  if (request.kind === 'loglikelihood_rolling') return [request.text];
  return [request.context, { until: request.until, max_gen_toks: request.maxTokens, do_sample: false }];
}

/** The tasks' figures and their groups', under the names of lm-evaluation-harness. */
function gather(tasks: readonly EvaluationTask[], scored: readonly Scored[], groups: readonly GroupFile[]) {
  const byName = new Map(tasks.map((task, i) => [task.name, { task, ...scored[i]! }]));
  const members = new Map(groups.map(({ config }) => [config.group, config.task]));
  const leaves = (name: string): string[] => members.get(name)?.flatMap(leaves) ?? [name];
  const shots: Record<string, number> = Object.fromEntries(tasks.map(({ name, numFewshot }) => [name, numFewshot]));
  const better: Record<string, Record<string, boolean>> = Object.fromEntries(
    tasks.map(({ name, metrics }) => [name, Object.fromEntries(metrics.map((each) => [each, higherIsBetter(each)]))]),
  );
  const results: Record<string, Figures> = Object.fromEntries(
    [...byName].map(([name, { figures }]) => [name, figures]),
  );
  const versions: Record<string, string | number> = Object.fromEntries(
    tasks.map(({ name, version }) => [name, version]),
  );
  const withFigures: Record<string, Figures> = {};
  for (const { config, path } of groups) {
    const { group: name, group_alias: alias = name, aggregate_metric_list: list, metadata } = config;
    const own = [...new Set(leaves(name))].map((leaf) => byName.get(leaf)!);
    const figures = list.map(({ metric, weight_by_size: weightBySize }) => {
      const parts = own.flatMap(({ parts }) => parts.get(metric as MetricName) ?? []);
      if (parts.length === 0) throw new Error(`${path}: none of the group's tasks has ${metric}; take it out`);
      return [metric as MetricName, aggregateGroup(parts, weightBySize)] as const;
    });
    const size = own.reduce((sum, { task }) => sum + task.samples.length, 0);
    results[name] = { name, alias, ...(list.length > 0 ? { sample_len: size } : {}), ...figuresOf(new Map(figures)) };
    if (list.length > 0) withFigures[name] = results[name];
    versions[name] = metadata?.version ?? 'N/A';
    const counts = new Set(own.map(({ task }) => task.numFewshot));
    if (counts.size === 1) shots[name] = [...counts][0]!;
    better[name] = Object.assign({}, ...own.map(({ task }) => better[task.name]));
  }
  return {
    results: {
      results,
      ...(Object.keys(withFigures).length > 0 ? { groups: withFigures } : {}),
      group_subtasks: Object.fromEntries(members),
      configs: Object.fromEntries(tasks.map(({ name, config }) => [name, config])),
      versions,
      'n-shot': shots,
      higher_is_better: better,
      'n-samples': Object.fromEntries(
        tasks.map(({ name, rows, samples }) => [name, { original: rows, effective: samples.length }]),
      ),
    } satisfies EvaluationResults,
    samples: Object.fromEntries([...byName].map(([name, { records }]) => [name, records])),
  };
}
