import { manualSeed } from '../../autograd/index.ts';
import { BertForQuestionAnswering, BertTokenizer } from '../../models/index.ts';
import type { QuestionAnswerer } from '../../models/index.ts';
import { headLog, shippedBert } from '../cli/fine-tune.ts';
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

/** The model to fine-tune, by folder or name; its head is new unless it answers questions already. */
export async function makeAnswerer({
  model: name = shippedBert,
  dropout,
  seed,
}: {
  readonly model?: string;
  readonly dropout: number;
  readonly seed: number;
}): Promise<QuestionAnswerer> {
  const tokenizer = await BertTokenizer.fromPretrained(name);
  const settings = { numLabels: 2, hiddenDropoutProb: dropout, attentionProbsDropoutProb: dropout };
  manualSeed(seed);
  return { model: await BertForQuestionAnswering.fromPretrained(name, settings, { log: headLog }), tokenizer };
}

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
    task: questionAnswering(model, train, rest.options, tokenizer.padTokenId),
    ...(validation.length > 0 ? { evaluate, best: { name: 'f1', mode: 'max' as const } } : {}),
    identity: {
      ...identity,
      ...evaluation,
      data: hashOfRows(train, ({ from, to }) => `${from} ${to}`),
      validation: hashOfJson(validation),
    },
  });
}
