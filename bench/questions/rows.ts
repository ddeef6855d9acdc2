/**
 * Writes what a run of train/finetune-qa.ts trains on, so that bench/questions/torch_qa.py does the same in
 * PyTorch: rows, the batches of all steps in their order, the new head, the questions to test on.
 *
 *   node --import tsx bench/questions/rows.ts --data train.json --test-data test.json --model FOLDER \
 *     --epochs 3 --batch-size 8 --seed 1 > rows.json
 *   VENV/bin/python bench/questions/torch_qa.py rows.json FOLDER --learning-rate 3e-4 --utils-qa utils_qa.py
 *   node --import tsx train/finetune-qa.ts --dropout 0 --learning-rate 3e-4 (the flags of rows.ts)
 */
import { writeSync } from 'node:fs';
import type { Linear } from '../../models/index.ts';
import { rowLengths } from '../../models/pipelines/question-answering/pipeline.ts';
import { main, parseOptions } from '../../train/cli/cli.ts';
import { endlessBatches } from '../../train/data/batches.ts';
import { loadQuestionData } from '../../train/question-answering/data.ts';
import { loadToFineTune } from '../../train/cli/fine-tune.ts';
import { trainingFeatures } from '../../train/question-answering/task.ts';

main(async () => {
  const { values } = parseOptions({
    name: 'rows',
    summary: 'Writes rows, batches and head of a run of finetune-qa as JSON, for PyTorch.',
    options: {
      data: { type: 'path', required: true, help: 'as in finetune-qa' },
      testData: { type: 'path', required: true, help: 'as in finetune-qa' },
      model: { type: 'string', help: 'as in finetune-qa' },
      epochs: { type: 'int', default: 3, help: 'as in finetune-qa' },
      batchSize: { type: 'int', default: 16, help: 'as in finetune-qa' },
      seed: { type: 'int', default: 42, help: 'as in finetune-qa' },
    },
  });
  const { epochs, batchSize, seed } = values;
  const data = await loadQuestionData(values);
  const { model, tokenizer } = await loadToFineTune(values.model, 'ForQuestionAnswering', {
    numLabels: 2,
    dropout: 0,
    seed,
  });
  const lengths = rowLengths({ model, tokenizer }, {});
  const { features } = trainingFeatures(tokenizer, data.train, lengths);
  const { batchesPerEpoch, indices } = endlessBatches(
    features.map(({ inputIds }) => inputIds.length),
    { batchSize, seed },
  );
  const { qaOutputs } = model as unknown as { readonly qaOutputs: Linear };
  const codePoints = (text: string): number => Array.from(text).length;
  const json = JSON.stringify({
    ...lengths,
    rows: features.map(({ inputIds, tokenTypeIds, from, to }) => [[...inputIds], [...tokenTypeIds], from, to]),
    batches: Array.from({ length: epochs * batchesPerEpoch }, (_, i) => indices(i)),
    head: { weight: await qaOutputs.weight.tolist(), bias: await qaOutputs.bias!.tolist() },
    test: data.test.map(({ id, question, context, answers }) => ({
      id,
      question,
      context,
      answers: {
        text: answers.map(({ text }) => text),
        answer_start: answers.map(({ start }) => codePoints(context.slice(0, start))),
      },
    })),
  });
  writeSync(1, json);
});
