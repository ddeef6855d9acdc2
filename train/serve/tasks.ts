// /v1/embeddings, and /v1/tasks/... for what OpenAI's API has no place for.
import { camelCase } from '../../models/names.ts';
import { isServedTask, isWritingTask, servedTasks } from './models.ts';
import type { EmbeddingModel, ServedModel, TaskModel } from './models.ts';
import { badField, checked, RequestError } from './request-error.ts';
import { checkQueue, countFindings, guarded, modelOf } from './service.ts';
import type { Call, Service } from './service.ts';

const isEmbedding = (model: ServedModel): model is EmbeddingModel => model.kind === 'embedding';

/** Little-endian floats, as OpenAI's clients ask for them unless told otherwise. */
const base64 = (vector: Float32Array): string =>
  Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString('base64');

/** The first features of a vector, of length 1 again. */
function shortened(vector: Float32Array, dimensions: number | null | undefined): Float32Array {
  if (dimensions === null || dimensions === undefined) return vector;
  if (dimensions > vector.length)
    throw badField('dimensions', `dimensions: the model's vectors have ${vector.length} features, not ${dimensions}`);
  const kept = vector.slice(0, dimensions);
  const length = Math.hypot(...kept);
  return length > 0 ? kept.map((x) => x / length) : kept;
}

export async function embeddings(service: Service, call: Call): Promise<Response> {
  const body = checked(service.bodies.embedding, call.body);
  const model = modelOf(service, body.model, 'makes vectors of texts', isEmbedding);
  const texts = await guarded(service, 'input', [body.input].flat());
  checkQueue(service, texts.length);
  const vectors = await model.lane.submit(texts, {}, call.signal);
  const tokens = texts.reduce((sum, text) => sum + model.tokens(text), 0);
  service.metrics.count('tapeform_prompt_tokens_total', { model: model.name }, tokens);
  const data = vectors.map((vector, index) => {
    const kept = shortened(vector, body.dimensions);
    return {
      object: 'embedding',
      index,
      embedding: body.encoding_format === 'base64' ? base64(kept) : Array.from(kept),
    };
  });
  return Response.json({
    object: 'list',
    data,
    model: model.name,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  });
}

/** Inputs have Hugging Face's names, pipelines the same in camelCase. */
const asPipelineTakes = (input: unknown): unknown =>
  typeof input === 'object' && input !== null
    ? Object.fromEntries(Object.entries(input).map(([key, value]) => [camelCase(key), value as unknown]))
    : input;

/** A task's results, one for each input; of a single input the result alone. */
export async function runTask(service: Service, call: Call, task: string): Promise<Response> {
  if (!isServedTask(task))
    throw new RequestError(`there is no task ${task.slice(0, 100)}; the tasks are ${servedTasks.join(', ')}`, {
      status: 404,
      code: 'task_not_found',
    });
  const body = checked(service.bodies.tasks.get(task)!, call.body) as {
    readonly model?: string | null;
    readonly inputs: unknown;
    readonly parameters?: Readonly<Record<string, unknown>> | null;
  };
  const does = (model: ServedModel): model is TaskModel => model.kind === 'task' && model.tasks.includes(task);
  const model = modelOf(service, body.model, `does ${task}`, does);
  const given = Array.isArray(body.inputs) ? (body.inputs as readonly unknown[]) : [body.inputs];
  const inputs = await guarded(service, 'inputs', given);
  checkQueue(service, inputs.length);
  const options = asPipelineTakes(body.parameters ?? {}) as object;
  const results = await model.lane.submit(inputs.map(asPipelineTakes), { task, ...options }, call.signal);
  const shown = isWritingTask(task)
    ? await Promise.all(results.map((result) => guardedResult(service, result)))
    : results;
  return Response.json(Array.isArray(body.inputs) ? shown : shown[0]);
}

/** What a model wrote, after the guard; refused, it has no text. */
async function guardedResult(service: Service, result: unknown): Promise<unknown> {
  const { guard } = service;
  if (!guard?.has('output')) return result;
  const entries = Object.entries(result as Readonly<Record<string, string>>).map(async ([key, written]) => {
    const { text, findings, refused } = await guard.check(written, 'output');
    countFindings(service, findings, 'output');
    return [[key, text], ...(refused === undefined ? [] : [['finish_reason', 'content_filter']])];
  });
  return Object.fromEntries((await Promise.all(entries)).flat() as [string, string][]);
}
