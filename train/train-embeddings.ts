/**
 * Trains a model whose vectors of texts that belong together are near, tests it by retrieval against the
 * model that it began as and against BM25, and saves a folder that sentence-transformers loads too.
 *
 *   node --import tsx train/train-embeddings.ts                        LibreOffice's help: its pages by title
 *   node --import tsx train/train-embeddings.ts --data a.jsonl --anchor-column title --positive-column body
 *   node --import tsx train/train-embeddings.ts --data sts.tsv --loss cosent --score-column score
 */
import { join } from 'node:path';
import { manualSeed } from '../autograd/index.ts';
import { SentenceTransformer } from '../models/index.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import { fineTuneOptions, shippedBert, trainingFlags } from './cli/fine-tune.ts';
import { hashOfJson } from './data/text-hash.ts';
import { embeddingDataNames, loadEmbeddingData } from './embeddings/data.ts';
import type { EmbeddingPair } from './embeddings/data.ts';
import { bestOf, haveScores, scoreBaseline, scoreModel } from './embeddings/evaluate.ts';
import { mineHardNegatives } from './embeddings/hard-negatives.ts';
import { coSent, matryoshka, multipleNegativesRanking, triplet } from './embeddings/losses.ts';
import type { EmbeddingLoss } from './embeddings/losses.ts';
import { embeddingTask } from './embeddings/task.ts';
import { reportResult } from './report/run-result.ts';
import { beforeAndAfter, testResult } from './report/test-result.ts';
import { trainEpochs } from './trainer/epochs.ts';
import { claimRun, resumeCommand, resumeOf } from './trainer/run-state.ts';

/** The losses by name, and what they need of each row. */
const losses = {
  multipleNegatives: { make: multipleNegativesRanking, scores: false },
  symmetric: { make: () => multipleNegativesRanking({ symmetric: true }), scores: false },
  triplet: { make: triplet, scores: false },
  cosent: { make: coSent, scores: true },
} as const;
type LossName = keyof typeof losses;

const command = {
  name: 'train-embeddings',
  summary: 'Trains a model whose vectors of texts that belong together are near.',
  usage: 'node --import tsx train/train-embeddings.ts',
  options: {
    data: {
      type: 'string',
      default: 'libreoffice-help-en-us',
      help: `JSONL, CSV or TSV file of pairs, or ${embeddingDataNames}`,
    },
    testData: { type: 'string', help: 'data to test on; without it a part of the data is held out' },
    anchorColumn: { type: 'string', default: 'anchor', help: 'column of the texts that are searched with' },
    positiveColumn: { type: 'string', default: 'positive', help: 'column of the texts to find' },
    negativeColumn: { type: 'string', help: 'column of texts that are not to be found' },
    scoreColumn: { type: 'string', help: 'column of how alike the two texts are; for --loss cosent' },
    model: { type: 'string', help: 'model to go on with: folder, Hugging Face cache or hub; default the small BERT' },
    loss: { type: 'choice', choices: Object.keys(losses), default: 'multipleNegatives', help: 'what is learnt from' },
    hardNegatives: {
      type: 'int',
      default: 0,
      min: 0,
      help: 'negatives mined for each pair by the model that it starts with',
    },
    margin: { type: 'number', default: 0, min: 0, help: 'how much less like than the positive a mined one must be' },
    matryoshka: { type: 'string', help: 'numbers of features that vectors may be cut to, "128,64,32"' },
    maxLength: { type: 'int', min: 8, help: 'tokens of a text, longer ones are cut; default what the model takes' },
    ...trainingFlags,
    dropout: { type: 'number', min: 0, max: 1, help: 'probability of dropping; default what the model has' },
    output: { type: 'path', default: 'runs/embeddings', help: 'folder for model, log, curves and checkpoints' },
    epochs: { ...trainingFlags.epochs, default: 10 },
    batchSize: { ...trainingFlags.batchSize, default: 32 },
    learningRate: { ...trainingFlags.learningRate, help: 'default 2e-5 with --model, else 1e-3' },
  },
} as const;

main(async () => {
  const { values } = parseOptions(command);
  const { output, seed, batchSize, hardNegatives, margin, learningRate = values.model ? 2e-5 : 1e-3 } = values;
  const lossName = values.loss as LossName;
  const dims = values.matryoshka?.split(',').map(Number);
  const loss = lossOf(lossName, dims, values.scoreColumn);
  const resume = resumeOf(values);
  await claimRun(command.name, output, resume);
  const data = await loadEmbeddingData(values.data, values);
  manualSeed(seed);
  const model = await startModel(values);
  const about = [
    `data   ${data.origin}`,
    `       ${data.train.length} pairs to train, ${data.validation.length} to validate, ${data.test.length} to test`,
    `model  ${(model.numParameters() / 1e6).toFixed(1)} M parameters, texts of up to ${model.maxSeqLength} tokens`,
  ].join('\n');
  console.log(about);
  // The whole shelf is searched in the test: the pages of all parts.
  const shelf = [...data.train, ...data.validation].map(({ target }) => target);
  const baseline = {
    name: haveScores(data.test) ? 'words in common' : 'BM25',
    scores: await scoreBaseline(data.test, shelf),
  };
  const before = await scoreModel(model, data.test, shelf);
  const mined = hardNegatives > 0 ? await mineHardNegatives(model, data.train, { count: hardNegatives, margin }) : [];
  const columns = columnsOf(data.train, mined, hardNegatives, lossName);
  const { best } = await trainEpochs({
    model,
    tokenizer: model.tokenizer,
    task: embeddingTask(model, columns, loss, { batchSize, seed }),
    options: fineTuneOptions({ ...values, learningRate }),
    ...(data.validation.length > 0
      ? {
          evaluate: () => scoreModel(model, data.validation),
          best: { name: bestOf(data.validation), mode: 'max' as const },
        }
      : {}),
    identity: {
      data: hashOfJson(columns),
      validation: hashOfJson(data.validation),
      ...{ loss: lossName, matryoshka: dims, maxLength: model.maxSeqLength },
    },
    output,
    resume,
    resumeCommand: resumeCommand(command.usage),
  });
  const after = await scoreModel(model, data.test, shelf);
  const tested = testResult({
    of: haveScores(data.test)
      ? `${data.test.length} pairs`
      : `${data.test.length} queries, ${data.test.length + shelf.length} documents`,
    rows: [baseline, ...beforeAndAfter(before, after)],
  });
  await reportResult(output, { from: values.model ?? shippedBert(), about, ...tested });
  if (best) console.log(`best ${bestOf(data.validation)} of validation ${best.value.toFixed(3)}, at step ${best.step}`);
  console.log(`saved  ${output} (loads in sentence-transformers too), report in ${join(output, 'report.html')}`);
});

function lossOf(name: LossName, dims: readonly number[] | undefined, scoreColumn: string | undefined): EmbeddingLoss {
  const { make, scores } = losses[name];
  if (scores !== (scoreColumn !== undefined))
    throw new UsageError(`${command.name}: --loss cosent and --score-column go together; give both or none`);
  if (dims && !dims.every((dim) => Number.isInteger(dim) && dim > 0))
    throw new UsageError(`${command.name}: --matryoshka needs whole numbers, such as 128,64,32`);
  return dims ? matryoshka(make(), dims) : make();
}

async function startModel({
  model: name = shippedBert(),
  dropout,
  maxLength,
}: {
  readonly model?: string;
  readonly dropout?: number;
  readonly maxLength?: number;
}): Promise<SentenceTransformer> {
  const loaded = await SentenceTransformer.fromPretrained(name, { settings: { dropout } });
  if (maxLength === undefined) return loaded;
  const limit = loaded.maxSeqLength;
  if (maxLength > limit)
    throw new UsageError(
      `${command.name}: --max-length ${maxLength} is above ${limit}, the tokens that the model takes`,
    );
  loaded.maxSeqLength = maxLength;
  return loaded;
}

/** Columns of texts for the loss: anchors, positives, and one for each negative. */
function columnsOf(
  pairs: readonly EmbeddingPair[],
  mined: readonly (readonly string[])[],
  count: number,
  loss: LossName,
) {
  const sides = [pairs.map(({ source }) => source), pairs.map(({ target }) => target)];
  if (haveScores(pairs)) return { columns: sides, scores: pairs.map(({ score }) => score!) };
  const given = pairs[0]!.negative === undefined ? [] : [pairs.map(({ negative }) => negative!)];
  // Where margins left too few, those of the next pair that has some serve: wrong for this one as any.
  const enough = mined.filter((list) => list.length === count);
  if (count > 0 && enough.length === 0)
    throw new UsageError(`${command.name}: --margin leaves no pair its negatives; lower it`);
  const filled = mined.map((list, i) => (list.length === count ? list : enough[i % enough.length]!));
  const columns = [...sides, ...given, ...Array.from({ length: count }, (_, n) => filled.map((list) => list[n]!))];
  if (loss === 'triplet' && columns.length !== 3)
    throw new UsageError(
      `${command.name}: --loss triplet needs one negative for each pair: --negative-column NAME or --hard-negatives 1`,
    );
  return { columns };
}
