import { progress } from '../../common/progress.ts';
import type { Progress } from '../../common/progress.ts';
import type { TrainingTask } from '../objectives/task.ts';

/** One optimizer step; a line of the run's log. */
export interface StepRecord {
  /** Steps done, this one included. */
  readonly step: number;
  /** The sum of all parts, each a mean over its labels. */
  readonly loss: number;
  /** Each part, where there are several. */
  readonly losses?: Readonly<Record<string, number>>;
  /** Learning rate. */
  readonly lr: number;
  /** Norm of all gradients before clipping. */
  readonly gradNorm: number;
  /** 1 where a gradient was infinite or NaN and the step changed nothing, as happens in mixed precision. */
  readonly skipped?: 1;
  /** Loss scale of mixed precision. */
  readonly scale?: number;
  /** Tokens of this step, padding left out. */
  readonly tokens: number;
  /**
   * What its batches say of themselves, and parts that are not trained on; see `HostBatch` and
   * `TrainingTask`.
   */
  readonly measures?: Readonly<Record<string, number>>;
  /** Seconds of training so far, pauses between a stop and its resumption left out. */
  readonly seconds: number;
  /** Milliseconds since 1970; never before an earlier record's, whatever the clock does. */
  readonly time: number;
}

/** One evaluation; a line of the run's log. */
export interface EvaluationRecord {
  readonly step: number;
  /** Has `loss`, where not another number is asked to tell which model is best. */
  readonly evaluation: Readonly<Record<string, number>>;
  readonly seconds: number;
  readonly time: number;
}

export type LogRecord = StepRecord | EvaluationRecord;

/** Looks on while a run trains. All are optional; a promise is waited for. */
export interface Callback {
  readonly onStart?: (step: number) => void | Promise<void>;
  /** After each step and before the next one, for which the device waits then. */
  readonly onStep?: (record: StepRecord) => void | Promise<void>;
  readonly onEvaluation?: (record: EvaluationRecord) => void | Promise<void>;
  /** A checkpoint was written. */
  readonly onSave?: (folder: string) => void | Promise<void>;
  /** The run is over, whether or not it reached its end. */
  readonly onEnd?: () => void | Promise<void>;
}

export const isStep = (record: LogRecord): record is StepRecord => 'loss' in record;
export const isEvaluation = (record: LogRecord): record is EvaluationRecord => !isStep(record);

/** Shows a run's progress on the terminal; evaluations stay above the bar, a line each. */
export function progressBar({ batchesPerEpoch }: TrainingTask, total: number, accumulate: number): Callback {
  const epochs = Math.ceil((total * accumulate) / batchesPerEpoch);
  let bar: Progress | undefined;
  return {
    onStart: (initial) => {
      bar = progress({ total, initial });
    },
    onStep: ({ step, loss, lr, tokens }) => {
      const epoch = Math.floor(((step - 1) * accumulate) / batchesPerEpoch) + 1;
      bar?.update(step, { label: epochs > 1 ? `epoch ${epoch}/${epochs}` : '', loss, lr, tokens });
    },
    onEvaluation: ({ step, evaluation }) => {
      const values = Object.entries(evaluation).map(([name, value]) => `${name} ${value.toFixed(4)}`);
      console.log(`step ${String(step).padStart(String(total).length)}  validation ${values.join('  ')}`);
    },
    onEnd: () => bar?.stop(),
  };
}
