import { join } from 'node:path';
import { isEvaluation, isStep } from '../trainer/callback.ts';
import type { EvaluationRecord, StepRecord } from '../trainer/callback.ts';
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
