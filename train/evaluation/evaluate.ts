import { progress } from '../../common/progress.ts';
import { applyChatTemplate, CausalLM } from '../../models/index.ts';
import type { AnyTokenizer, ChatMessage, TextGenerator } from '../../models/index.ts';
import type { AnswerCache } from './answer-cache.ts';
import { TaskData } from './data.ts';
import { aggregate, aggregateGroup, higherIsBetter } from './metrics.ts';
import type { Item, MetricName, Part } from './metrics.ts';
import { unfiltered } from './filters.ts';
import { answerRequests, requestKey } from './requests.ts';
import type { Answer, Asked, Request } from './requests.ts';
import { makeTask } from './task.ts';
import type { EvaluationTask, Sample, TaskOptions } from './task.ts';
import { readTasks } from './task-file.ts';
import type { GroupFile } from './task-file.ts';

export interface EvaluateOptions extends Pick<TaskOptions, 'systemInstruction'> {
  /** Of the draws of examples; default 1234. */
  readonly seed?: number;
  /** Examples before each question, instead of the task's own number; a task that says 0 keeps it. */
  readonly numFewshot?: number | undefined;
  /** Rows of each task at most; below 1 a share of them. */
  readonly limit?: number | undefined;
  /** Tokens that the model reads at most; default as many as it has positions for. */
  readonly maxLength?: number | undefined;
  /** Writes prompts as dialogues, by the tokenizer's chat template, or by the one of this name. */
  readonly applyChatTemplate?: boolean | string | undefined;
  /**
   * In a dialogue each example is a question and a reply; default true. false: all of them in one question.
   */
  readonly fewshotAsMultiturn?: boolean | undefined;
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
    /** Dialogues that lost the system's turn, for which the chat template has no place. */
    readonly withoutSystem: number;
  };
}

/**
 * Measures a model on tasks as lm-evaluation-harness does: makes their questions, asks those that the cache
 * does not know, and scores the answers. `names`: see `readTasks`.
 *
 * Errors, each one line: a model that is no decoder; a maxLength above what it reads; dialogues without a
 * chat template; those of the tasks' files, templates and rows, with their place.
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
  const { numFewshot, limit, systemInstruction, fewshotAsMultiturn = true } = options;
  const dialogues = dialoguesOf(tokenizer, options.applyChatTemplate);
  const style = { chat: dialogues?.write, fewshotAsMultiturn, systemInstruction };
  const tasks: EvaluationTask[] = [];
  for (const file of files.tasks) tasks.push(await makeTask(file, data, { numFewshot, limit, seed, ...style }));
  const { answers, counts } = await answersOf({ model, tokenizer, maxLength, batchSize }, tasks, cache);
  const scored = tasks.map((task) => scoreTask(task, maxLength, answers, bootstraps));
  const withoutSystem = dialogues?.withoutSystem() ?? 0;
  return { ...gather(tasks, scored, files.groups), maxLength, counts: { ...counts, withoutSystem } };
}

/** Writes dialogues by the tokenizer's template; one that has no place for the system's turn gets none. */
function dialoguesOf(tokenizer: AnyTokenizer, asked: boolean | string | undefined) {
  if (asked === undefined || asked === false) return undefined;
  let withoutSystem = 0;
  const write = (messages: readonly ChatMessage[], isOpen: boolean): string => {
    const chosen = typeof asked === 'string' ? { chatTemplate: asked } : {};
    const options = { addGenerationPrompt: !isOpen, continueFinalMessage: isOpen, ...chosen };
    try {
      return applyChatTemplate(tokenizer, messages, options);
    } catch (error) {
      if (messages[0]!.role !== 'system') throw error;
      const text = applyChatTemplate(tokenizer, messages.slice(1), options);
      withoutSystem++;
      return text;
    }
  };
  return { write, withoutSystem: () => withoutSystem };
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
  /** By metric and filter, "acc,none". */
  readonly parts: ReadonlyMap<string, Part>;
  readonly records: readonly SampleRecord[];
}

function scoreTask(
  task: EvaluationTask,
  maxLength: number,
  answers: ReadonlyMap<string, Answer>,
  bootstraps: number,
): Scored {
  const parts = new Map<string, Part>();
  const given = task.samples.map(({ requests }) =>
    requests.map((request) => answers.get(requestKey(request, maxLength))!),
  );
  const records = task.filters.flatMap((filter) => {
    const items = new Map<MetricName, Item[]>(task.metrics.map((metric) => [metric, []]));
    const own = task.samples.map((sample, i): SampleRecord => {
      const filtered = sample.filter(given[i]!, filter);
      const scores = sample.score(filtered);
      for (const [metric, item] of scores) items.get(metric)!.push(item);
      return recordOf(sample, given[i]!, filtered, filter.name, scores);
    });
    for (const [metric, list] of items)
      parts.set(`${metric},${filter.name}`, { ...aggregate(metric, list, bootstraps), size: list.length });
    return own;
  });
  const figures = { name: task.name, alias: task.alias, sample_len: task.samples.length, ...figuresOf(parts) };
  return { figures, parts, records };
}

function figuresOf(parts: ReadonlyMap<string, Pick<Part, 'value' | 'stderr'>>): Record<string, number | string> {
  const pairs = [...parts].flatMap(([key, { value, stderr }]) => {
    const [metric, filter] = key.split(',');
    return [
      [key, value],
      [`${metric}_stderr,${filter}`, stderr],
    ];
  });
  return Object.fromEntries(pairs) as Record<string, number | string>;
}

function recordOf(
  { id, row, requests, target }: Sample,
  answers: readonly Answer[],
  filtered: readonly Answer[],
  filter: string,
  scores: ReadonlyMap<MetricName, Item>,
): SampleRecord {
  return {
    doc_id: id,
    doc: row.cells,
    target,
    arguments: requests.map(argumentsOf),
    resps: answers.map((answer) => [answer]),
    filtered_resps: filtered,
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

/** The filters that a metric was had by, by name. */
function filtersOf(tasks: readonly Pick<Scored, 'parts'>[], metric: string): readonly string[] {
  const keys = tasks.flatMap(({ parts }) => [...parts.keys()].map((key) => key.split(',')));
  const names = keys.flatMap(([of, filter]) => (of === metric ? [filter!] : []));
  return names.length === 0 ? [unfiltered.name] : [...new Set(names)].sort();
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
    const figures = list.flatMap(({ metric, weight_by_size: weightBySize, filter_list: filters }) =>
      (filters ?? filtersOf(own, metric)).map((filter) => {
        const key = `${metric},${filter}`;
        const parts = own.flatMap(({ parts }) => parts.get(key) ?? []);
        if (parts.length === 0) throw new Error(`${path}: none of the group's tasks has ${key}; take it out`);
        return [key, aggregateGroup(parts, weightBySize)] as const;
      }),
    );
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
