/** What one optimizer step did; a line of the run's log. */
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
  readonly onStep?: (record: StepRecord) => void | Promise<void>;
  readonly onEvaluation?: (record: EvaluationRecord) => void | Promise<void>;
  /** A checkpoint was written. */
  readonly onSave?: (folder: string) => void | Promise<void>;
  /** The run is over, whether or not it reached its end. */
  readonly onEnd?: () => void | Promise<void>;
}

export const isStep = (record: LogRecord): record is StepRecord => 'loss' in record;
export const isEvaluation = (record: LogRecord): record is EvaluationRecord => !isStep(record);
