/**
 * Trains a model on texts with their pictures: two encoders whose vectors of a text and its picture are alike
 * (CLIP), or a classifier that reads both together (early or late fusion), beside what each side gives alone.
 *
 *   node --import tsx train/train-multimodal.ts                           emoji by their names, and back
 *   node --import tsx train/train-multimodal.ts --objective classify --fusion late
 *   node --import tsx train/train-multimodal.ts --data products.csv --image-column file --text-column title
 */
import { join } from 'node:path';
import { manualSeed } from '../autograd/index.ts';
import { CLIPModel, FusionForClassification } from '../models/index.ts';
import type { AnyTokenizer } from '../models/index.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import { fineTuneOptions, trainingFlags } from './cli/fine-tune.ts';
import { hashOfJson } from './data/text-hash.ts';
import { chanceRecall, contrastiveTask, scoreRetrieval } from './multimodal/contrastive.ts';
import { loadMultimodalData, multimodalDataNames } from './multimodal/data.ts';
import type { MultimodalData, PicturedText } from './multimodal/data.ts';
import { fusedTask, modalities, mostFrequent, scoreFused } from './multimodal/fused.ts';
import type { Modalities } from './multimodal/fused.ts';
import { reportResult } from './report/run-result.ts';
import { beforeAndAfter, testResult } from './report/test-result.ts';
import { trainWordPiece } from './tokenizer-training/train-word-piece.ts';
import { trainEpochs } from './trainer/epochs.ts';
import { claimRun, resumeCommand, resumeOf } from './trainer/run-state.ts';

const command = {
  name: 'train-multimodal',
  summary: 'Trains a model on texts with their pictures: to find one by the other, or to classify both together.',
  usage: 'node --import tsx train/train-multimodal.ts',
  options: {
    data: { type: 'string', default: 'emoji', help: `JSONL, CSV or TSV file, or ${multimodalDataNames}` },
    imageColumn: { type: 'string', default: 'image', help: 'column of the paths of pictures, from the file on' },
    textColumn: { type: 'string', default: 'text', help: 'column of the texts' },
    labelColumn: { type: 'string', help: 'column of the classes; for --objective classify' },
    objective: {
      type: 'choice',
      choices: ['contrastive', 'classify'],
      default: 'contrastive',
      help: 'contrastive: a text and its picture get like vectors; classify: both together have a class',
    },
    fusion: {
      type: 'choice',
      choices: ['early', 'late'],
      default: 'early',
      help: 'classify: words and patches in one Transformer (early), or a Transformer each (late)',
    },
    modalities: { type: 'choice', choices: modalities, default: 'both', help: 'classify: what the model is given' },
    modalityDropout: {
      type: 'number',
      default: 0.2,
      min: 0,
      max: 0.5,
      help: 'classify: share of rows that lack their text in training, and as many their picture',
    },
    imageSize: { type: 'int', default: 32, min: 4, help: 'pixels of a side that pictures are resized to' },
    patchSize: { type: 'int', default: 8, min: 1, help: 'pixels of a side of a patch' },
    shift: { type: 'int', default: 2, min: 0, help: 'pixels that pictures are moved by at random in training' },
    maxLength: { type: 'int', default: 32, min: 4, help: 'tokens of a text, longer ones are cut' },
    vocabSize: { type: 'int', default: 2000, min: 100, help: 'word pieces, learnt from the texts' },
    hiddenSize: { type: 'int', default: 64, min: 8, help: 'width of the model' },
    layers: { type: 'int', default: 2, min: 1, help: 'layers of each Transformer' },
    heads: { type: 'int', default: 4, min: 1, help: 'heads of attention' },
    ...trainingFlags,
    output: { type: 'path', default: 'runs/multimodal', help: 'folder for model, log, curves and checkpoints' },
    epochs: { ...trainingFlags.epochs, default: 30 },
    batchSize: { ...trainingFlags.batchSize, default: 64 },
    learningRate: { type: 'number', default: 1e-3, min: 0, help: 'the highest one' },
    weightDecay: { ...trainingFlags.weightDecay, default: 0.1 },
    dropout: { type: 'number', default: 0.1, min: 0, max: 1, help: 'classify: probability of dropping' },
  },
} as const;

type Values = ReturnType<typeof parseOptions<typeof command.options>>['values'];

main(async () => {
  const { values } = parseOptions(command);
  const { output, seed, objective, imageSize, maxLength, batchSize, hiddenSize, heads } = values;
  if (hiddenSize % heads !== 0)
    throw new UsageError(`${command.name}: --hidden-size ${hiddenSize} must be a multiple of --heads ${heads}`);
  if (values.patchSize > imageSize)
    throw new UsageError(`${command.name}: --patch-size ${values.patchSize} is above --image-size ${imageSize}`);
  const resume = resumeOf(values);
  await claimRun(command.name, output, resume);
  const data = await loadMultimodalData(values.data, values);
  if (objective === 'classify' && data.labels.length < 2)
    throw new UsageError(`${command.name}: --objective classify needs --label-column NAME with two classes or more`);
  manualSeed(seed);
  const texts = data.train.map(({ text }) => text);
  const tokenizer = await trainWordPiece(texts, { vocabSize: values.vocabSize, modelMaxLength: maxLength });
  const sizes = { maxLength, imageSize, batchSize };
  const run = objective === 'contrastive' ? contrastive(values, data, tokenizer) : classify(values, data, tokenizer);
  const { model, task, score, baseline } = run;
  const about = [
    `data   ${data.origin}`,
    `model  ${model.constructor.name}, ${(model.numParameters() / 1e6).toFixed(2)} M parameters, ${run.about}`,
    `       pictures of ${imageSize} x ${imageSize}, texts of up to ${maxLength} of ${tokenizer.vocabSize} word pieces`,
  ].join('\n');
  console.log(about);
  const before = await score(data.test);
  const { best } = await trainEpochs({
    model,
    tokenizer: {
      filesToSave: (folder) => [...tokenizer.filesToSave(folder), ...data.processor.filesToSave(folder)],
    },
    task,
    options: fineTuneOptions(values),
    evaluate: () => score(data.validation),
    best: { name: run.best, mode: 'max' },
    identity: {
      data: hashOfRows(data.train),
      validation: hashOfRows(data.validation),
      ...{ objective, fusion: values.fusion, modalities: values.modalities, modalityDropout: values.modalityDropout },
      ...{ shift: values.shift, ...sizes },
    },
    output,
    resume,
    resumeCommand: resumeCommand(command.usage),
  });
  const after = await score(data.test);
  const rows = [baseline, ...(await run.ablations(data.test)), ...beforeAndAfter(before, after)];
  await reportResult(output, { from: undefined, about, ...testResult({ of: run.of, rows, note: run.note }) });
  if (best) console.log(`best ${run.best} of validation ${best.value.toFixed(3)}, at step ${best.step}`);
  console.log(`saved  ${output}, report in ${join(output, 'report.html')}`);
});

/** What a run depends on of its rows. */
const hashOfRows = (rows: readonly PicturedText[]): string =>
  hashOfJson(
    rows.map(({ text, pixels, label }) => [text, label, pixels.reduce((sum, x, i) => sum + x * (1 + (i % 97)), 0)]),
  );

function contrastive(values: Values, data: MultimodalData, tokenizer: AnyTokenizer) {
  const { hiddenSize, layers, heads, imageSize, patchSize, maxLength } = values;
  const tower = {
    ...{ hiddenSize, numHiddenLayers: layers, numAttentionHeads: heads, intermediateSize: 4 * hiddenSize },
    projectionDim: hiddenSize,
  };
  const model = CLIPModel.fromConfig({
    textConfig: {
      ...tower,
      vocabSize: tokenizer.vocabSize,
      maxPositionEmbeddings: maxLength,
      padTokenId: tokenizer.padTokenId,
      bosTokenId: tokenizer.tokenToId('[CLS]'),
      eosTokenId: tokenizer.tokenToId('[SEP]'),
    },
    visionConfig: { ...tower, imageSize, patchSize },
    projectionDim: hiddenSize,
  });
  const score = (rows: readonly PicturedText[]) => scoreRetrieval(model, tokenizer, rows, values);
  const count = data.test.length;
  return {
    model,
    task: contrastiveTask(model, tokenizer, data.train, values),
    score,
    best: 'MRR',
    about: `two towers of ${layers} layers, ${hiddenSize} wide`,
    baseline: { name: 'chance', scores: chanceRecall(count) },
    ablations: () => Promise.resolve([]),
    of: `${count} texts and ${count} pictures, all searched`,
    note: 'pictures R@5: texts whose picture is among the five found first; texts R@5: the other way round',
  };
}

function classify(values: Values, data: MultimodalData, tokenizer: AnyTokenizer) {
  const { hiddenSize, layers, heads, imageSize, patchSize, maxLength, fusion, dropout } = values;
  const given = values.modalities as Modalities;
  const model = FusionForClassification.fromConfig({
    ...{ fusion: fusion as 'early' | 'late', hiddenSize, numHiddenLayers: layers, numAttentionHeads: heads },
    ...{ intermediateSize: 4 * hiddenSize, hiddenDropoutProb: dropout, attentionProbsDropoutProb: dropout },
    ...{ imageSize, patchSize, maxPositionEmbeddings: maxLength, labels: data.labels },
    vocabSize: tokenizer.vocabSize,
    padTokenId: tokenizer.padTokenId,
  });
  const score = (rows: readonly PicturedText[], of = given) => scoreFused(model, tokenizer, rows, of, values);
  return {
    model,
    task: fusedTask(model, tokenizer, data.train, { ...values, modalities: given }),
    score: (rows: readonly PicturedText[]) => score(rows),
    best: 'macro F1',
    about: `${fusion} fusion of ${given === 'both' ? 'texts and pictures' : `${given}s alone`}, ${layers} layers`,
    baseline: { name: 'the most frequent class', scores: mostFrequent(data.train, data.test, data.labels.length) },
    ablations: async (rows: readonly PicturedText[]) =>
      given === 'both'
        ? [
            { name: 'this model, text only', scores: await score(rows, 'text') },
            { name: 'this model, picture only', scores: await score(rows, 'image') },
          ]
        : [],
    of: `${data.test.length} rows of ${data.labels.length} classes`,
    note:
      given === 'both'
        ? 'rows of one side: the other is missing, as it is for a share of the rows in training (--modality-dropout)'
        : `the model was trained on ${given}s alone`,
  };
}
