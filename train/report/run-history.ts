import { join } from 'node:path';
import { isEvaluation, isStep } from '../trainer/callback.ts';
import type { EvaluationRecord, StepRecord } from '../trainer/callback.ts';
import { scalarsOf } from '../trainer/tensorboard.ts';
import { readRunInfo } from '../trainer/run-info.ts';
import type { RunInfo } from '../trainer/run-info.ts';
import { readLog } from '../trainer/run-log.ts';
import { readResult } from './result-file.ts';
import type { RunResult } from './result-file.ts';

/** What a run recorded, and what its pictures and report are made of. */
export interface RunHistory {
  readonly info: RunInfo;
  readonly steps: readonly StepRecord[];
  readonly evaluations: readonly EvaluationRecord[];
  /** How its test ended, once it has. */
  readonly result?: RunResult;
}

/** The history of the run in a folder, at its end or on its way. Error, one line: the folder is no run's. */
export async function historyOf(folder: string): Promise<RunHistory> {
  const info = await readRunInfo(folder);
  const records = readLog(join(folder, 'log.jsonl'));
  const result = await readResult(folder);
  return {
    info,
    steps: records.filter(isStep),
    evaluations: records.filter(isEvaluation),
    ...(result ? { result } : {}),
  };
}

/** The evaluation by which the model in best/ was chosen: the first of equal ones. */
export function bestOf({
  info,
  evaluations,
}: RunHistory): { readonly step: number; readonly value: number } | undefined {
  const { name, mode } = info.best ?? { name: 'loss', mode: 'min' };
  let best: { readonly step: number; readonly value: number } | undefined;
  for (const { step, evaluation } of evaluations) {
    const value = evaluation[name] ?? NaN;
    if (Number.isNaN(value)) continue;
    if (!best || (mode === 'min' ? value < best.value : value > best.value)) best = { step, value };
  }
  return best;
}

/** Steps of the whole run, as its options say. */
export const stepsOf = ({ info, steps }: RunHistory): number =>
  Number(info.identity['steps'] ?? steps.at(-1)?.step ?? 0);

/** When a run took its last step, or was evaluated last; times never fall within a log. */
export const endOf = ({ info, steps, evaluations }: RunHistory): number =>
  Math.max(Date.parse(info.started), steps.at(-1)?.time ?? 0, evaluations.at(-1)?.time ?? 0);

/** What tells a run from others, for programs that have been sent it: it began at a moment of its own. */
export const keyOf = ({ info }: RunHistory): string => `${info.started} ${String(info.identity['seed'])}`;

/** Numbers of one moment by their names. */
export interface RunNumbers {
  readonly step: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly values: Readonly<Record<string, number>>;
}

/** The log under the names that TensorBoard shows, then the test's scores; numbers that are none left out. */
export function numbersOf(history: RunHistory): RunNumbers[] {
  const { steps, evaluations, result } = history;
  const finite = (values: Readonly<Record<string, number>>): Record<string, number> =>
    Object.fromEntries(Object.entries(values).filter(([, value]) => Number.isFinite(value)));
  const tested = (result?.scores?.tables ?? []).flatMap(({ columns, rows }) =>
    rows.flatMap(({ name, scores }) =>
      scores.map(({ value }, i) => [`test/${[name, columns[i]].filter(Boolean).join('/')}`, value] as const),
    ),
  );
  const log = [...steps, ...evaluations].map((record) => ({
    step: record.step,
    time: record.time,
    values: finite(scalarsOf(record)),
  }));
  const test = { step: steps.at(-1)?.step ?? 0, time: endOf(history), values: finite(Object.fromEntries(tested)) };
  return tested.length > 0 ? [...log, test] : log;
}
