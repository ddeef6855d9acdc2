/**
 * A smaller classifier learns from a trained one (Hinton et al. 2015, Sanh et al. 2019): it begins with some
 * of its layers, learns its answers besides the labels, and is compared with it.
 *
 *   npm start                            trains a classifier, in runs/spam-assassin
 *   node --import tsx train/distill.ts --teacher runs/spam-assassin --layers 1
 *   node --import tsx train/distill.ts --teacher runs/spam-assassin --embedding-size 16    # an ALBERT
 *   node --import tsx train/distill.ts --teacher FOLDER --student FOLDER --data reviews.csv
 */
import { loadTextEncoder } from '../models/index.ts';
import type { SequenceClassificationModel, TextEncoder } from '../models/index.ts';
import { fineTune } from './classifier/fine-tune.ts';
import { kindOf } from './classifier/kinds.ts';
import { describeModel, fineTuneFlags, fineTuneOptions, trainingFlags } from './cli/fine-tune.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import { albertFrom } from './compress/albert.ts';
import { comparison, measure } from './compress/compare.ts';
import { distillation, teacherLogits, usual } from './compress/distillation.ts';
import { evenly, keepLayers, keepUnits, layersOf, unitsOf } from './compress/smaller.ts';
import { loadTrained, outputOf, trainedFlags } from './compress/trained.ts';
import type { Trained } from './compress/trained.ts';
import { reportResult } from './report/run-result.ts';
import { claimRun, resumeCommand, resumeOf } from './trainer/run-state.ts';

const command = {
  name: 'distill',
  summary: 'Teaches a smaller classifier what a trained one knows.',
  usage: 'node --import tsx train/distill.ts',
  options: {
    teacher: { type: 'string', help: 'folder or name of the trained classifier' },
    student: { type: 'string', help: "a smaller pretrained model with the teacher's tokenizer, instead of its layers" },
    layers: {
      type: 'int',
      min: 1,
      help: "of the teacher's layers the student begins with so many, evenly spaced; default half",
    },
    keepLayers: { type: 'string', help: 'or with these, from 0 up, with commas between' },
    units: { type: 'int', min: 1, help: 'units of the feed-forward part that the student keeps, the first ones' },
    embeddingSize: {
      type: 'int',
      min: 3,
      help:
        "or an ALBERT: tables of embeddings so wide, and the teacher's first layer again and again, as often as " +
        '--layers says; default as many as the teacher has',
    },
    temperature: {
      type: 'number',
      default: usual.temperature,
      min: 0.01,
      help: "above 1 the teacher's doubts count more",
    },
    alpha: {
      type: 'number',
      default: usual.alpha,
      min: 0,
      max: 1,
      help: "share of the teacher's answers in the loss; 0: labels alone",
    },
    hiddenWeight: {
      type: 'number',
      default: usual.hiddenWeight,
      min: 0,
      help: 'weight of the distance between hidden states',
    },
    attentionWeight: {
      type: 'number',
      default: usual.attentionWeight,
      min: 0,
      help: 'weight of the distance between attention weights',
    },
    ...trainedFlags,
    dropout: fineTuneFlags.dropout,
    ...trainingFlags,
  },
} as const;

type Values = ReturnType<typeof parseOptions<typeof command.options>>['values'];

main(async () => {
  const { values } = parseOptions(command);
  const { teacher: folder, batchSize, learningRate = 1e-3 } = values;
  if (folder === undefined)
    throw new UsageError(`${command.name}: needs a trained classifier: --teacher FOLDER; npm start trains one`);
  const output = outputOf(values.output, command.name, values.data);
  const resume = resumeOf(values);
  await claimRun(command.name, output, resume);
  const trained = await loadTrained(folder, values);
  const { classifier: teacher, data, train, validation, test } = trained;
  const student = await studentOf(trained, values);
  console.log(`student  ${describeModel(student.model)}`);
  const logits = await teacherLogits(teacher, train, batchSize);
  const { temperature, alpha, hiddenWeight, attentionWeight } = values;
  await fineTune({
    ...student,
    ...{ train, validation, output, resume },
    options: fineTuneOptions({ ...values, learningRate }),
    objective: distillation(
      { student: student.model, teacher: teacher.model, logits },
      { temperature, alpha, hiddenWeight, attentionWeight },
    ),
    identity: { maxLength: values.maxLength, keep: values.keep },
    resumeCommand: resumeCommand(command.usage),
  });
  const models = [
    await measure('teacher', teacher, data, test, batchSize),
    await measure('student', student, data, test, batchSize),
  ];
  const { lines, scores } = await comparison(models);
  const report = `\n${lines}\n\nsaved  ${output} (loads in Transformers too)`;
  await reportResult(output, { from: folder, about: `teacher  ${describeModel(teacher.model)}`, test: report, scores });
});

/** The model that is to learn. Errors, each one line: another tokenizer; more layers than there are. */
async function studentOf(
  { classifier: { model, tokenizer } }: Trained,
  { student: name, layers, keepLayers: list, units, embeddingSize, dropout: probability }: Values,
): Promise<TextEncoder<SequenceClassificationModel>> {
  if (embeddingSize !== undefined) {
    if (name !== undefined || list !== undefined || units !== undefined)
      throw new UsageError(
        `${command.name}: --embedding-size makes a student of the teacher's embeddings and first layer; ` +
          'leave --student, --keep-layers and --units away',
      );
    return { model: await albertFrom(model, { embeddingSize, layers }), tokenizer };
  }
  if (name !== undefined) {
    const { labels } = model.config;
    const settings = { labels, problemType: kindOf(model.config).problemType, dropout: probability };
    const student = await loadTextEncoder(name, 'ForSequenceClassification', { settings, newHead: true });
    if (student.tokenizer.vocabSize !== tokenizer.vocabSize || !sameTokens(student.tokenizer, tokenizer))
      throw new Error(
        `${name} has another vocabulary than the teacher, whose answers are of its own tokens; give a student with ` +
          "the teacher's tokenizer",
      );
    return student;
  }
  const count = layersOf(model);
  if (layers !== undefined && layers > count)
    throw new UsageError(`${command.name}: --layers ${layers}, and the teacher has ${count}`);
  const kept = list?.split(',').map(Number) ?? evenly(layers ?? Math.max(1, Math.floor(count / 2)), count);
  const some = keepLayers(model, kept);
  if (units === undefined) return { model: some, tokenizer };
  const all = unitsOf(some);
  if (units > all) throw new UsageError(`${command.name}: --units ${units}, and the teacher has ${all}`);
  const first = Array.from({ length: units }, (_, i) => i);
  return {
    model: keepUnits(
      some,
      kept.map(() => first),
    ),
    tokenizer,
  };
}

/** Whether two tokenizers read a text alike. */
function sameTokens(a: Trained['classifier']['tokenizer'], b: Trained['classifier']['tokenizer']): boolean {
  const text = 'The quick brown fox, naïve as ever, paid $12.50 & left—unaffordable!';
  return Array.from(a.idsOf(text)).join() === Array.from(b.idsOf(text)).join();
}
