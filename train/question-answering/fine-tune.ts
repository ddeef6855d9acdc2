import { paddingOf } from '../../models/index.ts';
import type { QuestionAnswerer } from '../../models/index.ts';
import { hashOfJson } from '../data/text-hash.ts';
import { hashOfRows } from '../data/tokenised.ts';
import { trainEpochs } from '../trainer/epochs.ts';
import type { FineTuneRun } from '../trainer/epochs.ts';
import type { TrainingResult } from '../trainer/trainer.ts';
import type { QuestionExample } from './data.ts';
import { predictAnswers, scoreAnswers } from './evaluate.ts';
import type { EvaluateOptions } from './evaluate.ts';
import { questionAnswering } from './task.ts';
import type { LabelledFeature } from './task.ts';

export interface QuestionTask extends Omit<FineTuneRun, 'model' | 'task' | 'tokenizer' | 'evaluate' | 'best'> {
  readonly answerer: QuestionAnswerer;
  readonly train: readonly LabelledFeature[];
  readonly validation: readonly QuestionExample[];
  readonly evaluation: EvaluateOptions;
}

/**
 * Fine-tunes a model to answer questions, measures exact match and F1 of the validation questions after each
 * epoch (the best model is that of the highest F1), and saves model, tokenizer, log, curves and report to the
 * output folder; see `train` of trainer/.
 */
export async function fineTuneAnswerer(run: QuestionTask): Promise<TrainingResult> {
  const { answerer, train, validation, evaluation, identity, ...rest } = run;
  const { model, tokenizer } = answerer;
  const evaluate = async () => {
    const predictions = await predictAnswers(answerer, validation, evaluation);
    const { exactMatch, f1 } = scoreAnswers(validation, predictions, evaluation);
    return { f1, exactMatch };
  };
  return trainEpochs({
    ...rest,
    model,
    tokenizer,
    task: questionAnswering(model, train, rest.options, paddingOf(answerer)),
    ...(validation.length > 0 ? { evaluate, best: { name: 'f1', mode: 'max' as const } } : {}),
    identity: {
      ...identity,
      ...evaluation,
      data: hashOfRows(train, ({ from, to }) => `${from} ${to}`),
      validation: hashOfJson(validation),
    },
  });
}
