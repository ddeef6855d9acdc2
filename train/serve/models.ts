import { basename } from 'node:path';
import type { SavableModel } from '../../models/adapters/peft-model.ts';
import { adaptersOf, loadAdapter, loadTextGenerator, pipeline } from '../../models/index.ts';
import type { LoadOptions, PipelineTask, Quantization, TextGenerator } from '../../models/index.ts';
import { isGguf, readModelJson } from '../../models/io/model-files.ts';
import { generativeLoaders } from '../../models/auto.ts';
import type { Head } from '../../models/auto.ts';
import { modelParts, resolveModelFolder } from '../../models/io/resolve.ts';
import { textKeys, writeForTask } from '../../models/pipelines/text2text-generation.ts';
import type { WritingTask } from '../../models/pipelines/text2text-generation.ts';
import { filesAt } from '../../common/file-access.ts';
import { join } from '../../common/platform.ts';
import { showText } from '../../common/printable.ts';
import { GenerationLane } from './generation-lane.ts';
import { TextLane } from './text-lane.ts';
import type { RunBatch } from './text-lane.ts';
import type { Turns } from './turns.ts';

/** A model to serve: its name in requests, and where it lies. */
export interface ModelSource {
  readonly name: string;
  /** A folder, a GGUF file, a name of the Hugging Face cache or of the hub. */
  readonly source: string;
}

export interface ServedModelOptions {
  /** Texts that run together at most. */
  readonly batchSize: number;
  /** Batches of texts that grow, side by side. */
  readonly batches: number;
  /** Adapters (LoRA) of the model that generates: each is served as a model of its own. */
  readonly adapters?: readonly ModelSource[];
  readonly quantize?: Quantization | undefined;
  readonly cacheDtype?: 'int8' | undefined;
  readonly onBatch?: (kind: string, texts: number) => void;
}

/** Tasks of models that read a text, by the ending of their class's name. */
const tasksByHead = {
  ForSequenceClassification: 'text-classification',
  ForTokenClassification: 'token-classification',
  ForQuestionAnswering: 'question-answering',
  ForMaskedLM: 'fill-mask',
} as const satisfies Partial<Readonly<Record<Head, PipelineTask>>>;

/** Tasks that an encoder-decoder may be asked for. */
const writingTasks = Object.keys(textKeys) as WritingTask[];
export const isWritingTask = (task: ServedTask): task is WritingTask => Object.hasOwn(textKeys, task);
export type ReadingTask = (typeof tasksByHead)[keyof typeof tasksByHead];

/** The tasks of /v1/tasks. */
export const servedTasks = [...Object.values(tasksByHead), ...writingTasks] as const;
export type ServedTask = (typeof servedTasks)[number];
export const isServedTask = (name: string): name is ServedTask => (servedTasks as readonly string[]).includes(name);

/** Options of a task's pipeline, whatever the task. */
export type TaskOptions = Readonly<Record<string, unknown>>;

/** What a request asks a task with. */
type Asked = { readonly task: ServedTask } & TaskOptions;
type RunTask = RunBatch<unknown, Asked, unknown>;

interface Named {
  /** What requests call it. */
  readonly name: string;
  /** When it was loaded, in seconds of Unix. */
  readonly created: number;
}

/** Unix time in seconds. */
export const unixTime = (): number => Math.floor(Date.now() / 1000);

/** Continues texts. */
export interface GenerativeModel extends Named {
  readonly kind: 'generation';
  readonly generator: TextGenerator;
  readonly lane: GenerationLane;
  /** The adapter of its texts, '__base__' for none; undefined where the model has no adapters. */
  readonly adapter: string | undefined;
}

/** Makes vectors of texts. */
export interface EmbeddingModel extends Named {
  readonly kind: 'embedding';
  readonly tokens: (text: string) => number;
  readonly lane: TextLane<string, object, Float32Array>;
}

/** Does other tasks. */
export interface TaskModel extends Named {
  readonly kind: 'task';
  readonly tasks: readonly ServedTask[];
  readonly lane: TextLane<unknown, Asked, unknown>;
}

export type ServedModel = GenerativeModel | EmbeddingModel | TaskModel;

/**
 * `name=folder`, or a folder alone, whose last part is the name then.
 *
 * @example
 * modelSource('spam=runs/spam-assassin').name; // 'spam'
 * modelSource('models/SmolLM2.gguf').name; // 'SmolLM2'
 */
export function modelSource(text: string): ModelSource {
  const [, name, source] = /^([\w.:-]+)=(.+)$/s.exec(text) ?? [undefined, undefined, text];
  const found = name ?? basename(source!).replace(/\.gguf$/i, '');
  if (!/^[\w.:-]{1,100}$/.test(found))
    throw new Error(`serve: "${showText(found)}" cannot be a model's name; give it one: NAME=${showText(source!)}`);
  return { name: found, source: source! };
}

/** Which of a folder's models is meant, by its files. */
async function kindOf(folder: string, options: LoadOptions): Promise<ServedTask | 'generation' | 'embedding'> {
  if (isGguf(folder)) return 'generation';
  if ((await filesAt(folder).kind(join(folder, 'modules.json'))) === 'file') return 'embedding';
  const { config } = await modelParts(folder, options);
  const { architectures, model_type: type } = await readModelJson(config, 'config.json');
  const name = Array.isArray(architectures) ? String(architectures[0]) : '';
  const head = (Object.keys(tasksByHead) as (keyof typeof tasksByHead)[]).find((ending) => name.endsWith(ending));
  if (head) return tasksByHead[head];
  return typeof type === 'string' && Object.hasOwn(generativeLoaders, type) ? 'generation' : 'embedding';
}

/**
 * Loads a model with its lane on the device: by what its files say, one that continues texts, that makes
 * vectors of them, or that does another task. Adapters of one that continues texts are models beside it.
 */
export async function loadServedModels(
  { name, source }: ModelSource,
  turns: Turns,
  options: ServedModelOptions,
): Promise<ServedModel[]> {
  const { batchSize, batches, adapters = [], quantize, cacheDtype, onBatch = () => undefined } = options;
  const loading: LoadOptions = quantize === undefined ? {} : { quantize };
  const folder = await resolveModelFolder(source);
  const kind = await kindOf(folder, loading);
  const own = { name, created: unixTime() };
  const laneOptions = { batchSize, onBatch: (texts: number) => onBatch(kind, texts) };
  const generator = kind === 'generation' ? await loadTextGenerator(folder, loading) : undefined;
  if (generator && !generator.model.decoder().source) {
    const { model, tokenizer } = generator;
    for (const adapter of adapters)
      await loadAdapter(model as unknown as SavableModel, adapter.source, { name: adapter.name, tokenizer });
    const lane = new GenerationLane(turns, generator, { ...laneOptions, batches, cacheDtype });
    const hasAdapters = adaptersOf(model) !== undefined;
    const made = (of: string, adapter: string): GenerativeModel => ({
      ...own,
      name: of,
      kind: 'generation',
      generator,
      lane,
      adapter: hasAdapters ? adapter : undefined,
    });
    return [made(name, '__base__'), ...adapters.map((adapter) => made(adapter.name, adapter.name))];
  }
  if (adapters.length > 0)
    throw new Error(`serve: ${showText(source)} continues no texts, so it takes no --adapter; leave it out`);
  if (generator) {
    // An encoder-decoder may be asked for any of the tasks that it writes a text in.
    const write: RunTask = (inputs, { task, ...given }) =>
      writeForTask(generator, task as WritingTask, inputs as readonly string[], given);
    return [{ ...own, kind: 'task', tasks: writingTasks, lane: new TextLane(turns, write, laneOptions) }];
  }
  if (kind === 'embedding') {
    const extract = await pipeline('feature-extraction', folder, loading);
    const lane = new TextLane<string, object, Float32Array>(
      turns,
      (texts) => extract(texts, { pooling: 'own', normalize: true }),
      laneOptions,
    );
    const tokens = (text: string): number => extract.tokenizer.idsOf(text, { addSpecialTokens: true }).length;
    return [{ ...own, kind, tokens, lane }];
  }
  const task = kind as ReadingTask;
  const read = (await pipeline(task, folder, loading)) as RunBatch<unknown, TaskOptions, unknown>;
  const run: RunTask = (inputs, { task: _, ...given }) => read(inputs, given);
  return [{ ...own, kind: 'task', tasks: [task], lane: new TextLane(turns, run, laneOptions) }];
}
