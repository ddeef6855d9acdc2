/**
 * Pretrains a BERT on text, from nothing: WordPiece vocabulary, corpus, model.
 *
 *   node --import tsx train/pretrain-bert.ts --preset minutes --data texts/
 *   node --import tsx train/pretrain-bert.ts --preset gpu --data texts/ --objective mlm+nsp
 */
import { manualSeed } from '../autograd/index.ts';
import { BertConfig, BertTokenizer } from '../models/index.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import { bertObjectiveNames, bertObjectives } from './pretraining/bert-objectives.ts';
import type { BertObjectiveName } from './pretraining/bert-objectives.ts';
import { corpusFlags, corpusFolder, corpusOfFlags } from './pretraining/corpus.ts';
import { pretrain } from './pretraining/pretrain.ts';
import { trainWordPiece } from './tokenizer-training/train-word-piece.ts';
import { trainerFlags } from './trainer/settings.ts';
import { claimRun, resumeOf } from './trainer/run-state.ts';

const command = {
  name: 'pretrain-bert',
  summary: 'Pretrains a BERT on text, with a WordPiece vocabulary of its own.',
  usage: 'node --import tsx train/pretrain-bert.ts',
  options: {
    ...corpusFlags,
    tokenizer: { type: 'string', help: 'folder of a BERT tokenizer; default: a vocabulary trained on the data' },
    objective: {
      type: 'choice',
      choices: bertObjectiveNames,
      default: 'mlm',
      help: 'mlm: masked tokens; nsp: next sentence; mlm+nsp: both, as BERT; rotary-fill: rotated spans',
    },
    wholeWords: { type: 'boolean', help: 'mask whole words' },
    maskProbability: { type: 'number', default: 0.15, min: 0, max: 1, help: 'share of the tokens to predict' },
    pack: { type: 'boolean', default: true, help: 'fill rows with several documents instead of padding them' },
    layers: { type: 'int', default: 4, min: 1, help: 'layers' },
    hidden: { type: 'int', default: 128, min: 8, help: 'width' },
    heads: { type: 'int', default: 2, min: 1, help: 'attention heads' },
    dropout: { type: 'number', default: 0.1, min: 0, max: 1, help: 'probability of dropping' },
    context: { type: 'int', default: 128, min: 8, help: 'tokens a row' },
    positions: { type: 'int', min: 8, help: 'longest row of the model; default as context' },
    batchSize: { type: 'int', default: 16, min: 1, help: 'rows a batch' },
    steps: { type: 'int', default: 2000, min: 1, help: 'optimizer steps' },
    learningRate: { type: 'number', default: 1e-3, min: 0, help: 'highest learning rate' },
    ...trainerFlags,
    evaluationBatches: { type: 'int', default: 50, min: 0, help: 'batches an evaluation looks at; 0 for all' },
    output: { type: 'path', default: 'runs/bert', help: 'folder for model, corpus, log, curves and checkpoints' },
  },
  presets: {
    minutes: { layers: 2, hidden: 128, heads: 2, context: 64, vocabSize: 4000, steps: 1000, dropout: 0 },
    gpu: {
      layers: 12,
      hidden: 768,
      heads: 12,
      context: 512,
      vocabSize: 30522,
      batchSize: 32,
      accumulate: 8,
      steps: 100000,
      warmupSteps: 1000,
      learningRate: 1e-4,
      beta2: 0.999,
      weightDecay: 0.01,
      precision: 'mixed',
    },
  },
} as const;

main(async () => {
  const { values } = parseOptions(command);
  const { output, seed, batchSize, context, layers, hidden, heads, dropout, vocabSize } = values;
  if (hidden % heads !== 0)
    throw new UsageError(`${command.name}: --hidden ${hidden} must be a multiple of --heads ${heads}`);
  const positions = values.positions ?? context;
  if (positions < context)
    throw new UsageError(`${command.name}: --positions ${positions} is less than the --context ${context} to train on`);
  await claimRun(command.name, output, resumeOf(values));
  const corpus = await corpusOfFlags(
    values,
    corpusFolder(output),
    values.tokenizer ?? ((texts) => trainWordPiece(texts, { vocabSize, modelMaxLength: positions })),
  );
  const { tokenizer } = corpus;
  if (!(tokenizer instanceof BertTokenizer))
    throw new UsageError(
      `${command.name}: --tokenizer ${values.tokenizer ?? ''} is no WordPiece tokenizer of BERT's kind`,
    );

  manualSeed(seed);
  const config = BertConfig.create({
    vocabSize: tokenizer.vocabSize,
    hiddenSize: hidden,
    numHiddenLayers: layers,
    numAttentionHeads: heads,
    intermediateSize: 4 * hidden,
    maxPositionEmbeddings: positions,
    hiddenDropoutProb: dropout,
    attentionProbsDropoutProb: dropout,
    padTokenId: tokenizer.padTokenId,
  });
  const objective = bertObjectives[values.objective as BertObjectiveName](config);
  const { wholeWords, maskProbability, pack } = values;
  const common = { tokenizer, length: context, batchSize, wholeWords, maskProbability, pack };
  const task = objective.task({ ...common, corpus: corpus.train, seed });
  const heldOut =
    corpus.validation && objective.task({ ...common, corpus: corpus.validation, seed: seed + 1, ordered: true });
  await pretrain(values, {
    model: objective.model,
    corpus,
    task,
    heldOut,
    shape: `${layers} layers, ${hidden} wide`,
    identity: { wholeWords, maskProbability, pack },
    usage: command.usage,
  });
});
