import * as z from 'zod';
import { brief } from '../../common/printable.ts';
import { chunks } from '../../models/pipelines/rows.ts';
import { optionTexts } from '../trainer/run-info.ts';
import type { NamedRun } from './run-groups.ts';
import { endOf, keyOf, numbersOf } from './run-history.ts';
import type { RunHistory } from './run-history.ts';

export interface MlflowServer {
  /** Its address, such as http://127.0.0.1:5000. */
  readonly address: string;
  /** What `Authorization: Bearer` carries, where the server asks for it. */
  readonly token?: string;
}

/** What a request may carry at most, see MLflow's `runs/log-batch`. */
const limits = { metrics: 1000, params: 100, value: 6000, tag: 5000 } as const;
const startedTag = 'tapeform.started';
const stepsTag = 'tapeform.steps';

interface Metric {
  readonly key: string;
  readonly value: number;
  readonly timestamp: number;
  readonly step: number;
}

const experimentSchema = z.object({ experiment: z.object({ experiment_id: z.string() }) });
const createdSchema = z.object({ experiment_id: z.string() });
const runSchema = z.object({ run: z.object({ info: z.object({ run_id: z.string() }) }) });
const tagsSchema = z.array(z.object({ key: z.string(), value: z.string() }));
const foundSchema = z.object({ info: z.object({ run_id: z.string() }), data: z.object({ tags: tagsSchema }) });
const searchSchema = z.object({ runs: z.array(foundSchema).optional() });
const refusalSchema = z.object({ error_code: z.string(), message: z.string().optional() });

/** A refusal of the server, by MLflow's code. */
class Refusal extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * Sends runs to an MLflow server by its HTTP interface (MLflow REST API 2.0): options as parameters, all of
 * the log as metrics, the test's scores, and what made each run as tags. A run that the experiment has is not
 * sent again, unless it has gone on since: then it takes the place of what was sent before. Errors, each one
 * line: no server there, or it refuses.
 */
export async function sendToMlflow(
  runs: readonly NamedRun[],
  server: MlflowServer,
  experiment: string,
  said: (line: string) => void,
): Promise<void> {
  const id = await experimentOf(server, experiment);
  for (const { name, history } of runs) {
    const filter = `tags."${startedTag}" = '${keyOf(history)}'`;
    const answer = await post(server, 'runs/search', { experiment_ids: [id], filter });
    const { runs: found = [] } = searchSchema.parse(answer);
    const isSame = ({ data }: (typeof found)[number]): boolean =>
      data.tags.some(({ key, value }) => key === stepsTag && value === String(history.steps.length));
    if (found.some(isSame)) {
      said(`there   ${name}`);
      continue;
    }
    said(`sent    ${name}, ${await sendRun(server, id, name, history)} numbers`);
    for (const { info } of found) await post(server, 'runs/delete', { run_id: info.run_id });
  }
}

async function experimentOf(server: MlflowServer, name: string): Promise<string> {
  const path = `experiments/get-by-name?experiment_name=${encodeURIComponent(name)}`;
  try {
    return experimentSchema.parse(await ask(server, path)).experiment.experiment_id;
  } catch (error) {
    if (!(error instanceof Refusal && error.code === 'RESOURCE_DOES_NOT_EXIST')) throw error;
    return createdSchema.parse(await post(server, 'experiments/create', { name })).experiment_id;
  }
}

async function sendRun(server: MlflowServer, experiment: string, name: string, history: RunHistory): Promise<number> {
  const { info } = history;
  const tags = Object.entries({
    [startedTag]: keyOf(history),
    [stepsTag]: String(history.steps.length),
    'mlflow.source.name': info.command,
    ...(info.commit === undefined ? {} : { 'mlflow.source.git.commit': info.commit.replace('+', '') }),
    task: info.name,
    adapter: info.adapter,
    driver: info.driver,
    ...info.versions,
  }).map(([key, value]) => ({ key, value: value.slice(0, limits.tag) }));
  const created = { experiment_id: experiment, run_name: name, start_time: Date.parse(info.started), tags };
  const { run_id } = runSchema.parse(await post(server, 'runs/create', created)).run.info;
  const params = [...optionTexts(info), ['parameters', String(info.parameters)] as const].map(([key, value]) => ({
    key: nameOf(key),
    value: value.slice(0, limits.value),
  }));
  for (const part of chunks(params, limits.params)) await post(server, 'runs/log-batch', { run_id, params: part });
  const metrics = metricsOf(history);
  for (const part of chunks(metrics, limits.metrics)) await post(server, 'runs/log-batch', { run_id, metrics: part });
  await post(server, 'runs/update', { run_id, status: 'FINISHED', end_time: endOf(history) });
  return metrics.length;
}

const metricsOf = (history: RunHistory): Metric[] =>
  numbersOf(history).flatMap(({ step, time: timestamp, values }) =>
    Object.entries(values).map(([key, value]) => ({ key: nameOf(key), value, timestamp, step })),
  );

/** What MLflow takes as a name: letters, digits and a few signs. */
const nameOf = (key: string): string => key.replace(/[^\w\-./ :]/g, '_').slice(0, 250);

const post = (server: MlflowServer, path: string, body: unknown): Promise<unknown> =>
  ask(server, path, { method: 'POST', body: JSON.stringify(body) });

async function ask({ address, token }: MlflowServer, path: string, init: RequestInit = {}): Promise<unknown> {
  const headers = { 'content-type': 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) };
  let response: Response;
  try {
    response = await fetch(`${address.replace(/\/+$/, '')}/api/2.0/mlflow/${path}`, { ...init, headers });
  } catch (error) {
    const cause = (error as { cause?: { code?: string } }).cause?.code ?? (error as Error).message;
    throw new Error(`mlflow: no server answers at ${brief(address)} (${cause}); start one: mlflow server`, {
      cause: error,
    });
  }
  const text = await response.text();
  const answer = jsonOf(text);
  if (response.ok && answer !== undefined) return answer;
  const { data } = refusalSchema.safeParse(answer);
  if (data) throw new Refusal(data.error_code, `mlflow: ${data.error_code}: ${brief(data.message ?? '')}`);
  throw new Error(`mlflow: ${brief(address)} is no MLflow server: it answered ${response.status} ${brief(text)}`);
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
