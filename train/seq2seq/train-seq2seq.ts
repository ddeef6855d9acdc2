import { join } from 'node:path';
import { writeFileAtomic } from '../../common/atomic-files.ts';
import { progress } from '../../common/progress.ts';
import { generateFromSources, generationConfigFile } from '../../models/index.ts';
import type { GenerationOptions, Text2TextOptions } from '../../models/index.ts';
import { flagOf, UsageError } from '../cli/cli.ts';
import type { Option, Parsed } from '../cli/cli.ts';
import { reportResult } from '../report/run-result.ts';
import { testResult } from '../report/test-result.ts';
import { evaluator } from '../trainer/evaluate.ts';
import { resumeCommand, resumeOf } from '../trainer/run-state.ts';
import { trainerFlags, trainerSettings } from '../trainer/settings.ts';
import { train } from '../trainer/trainer.ts';
import { layersOf, loadSeq2Seq, newSeq2Seq, seq2seqTokenizer, tokenisePairs } from './model.ts';
import type { Seq2Seq } from './model.ts';
import { hashOfPairs } from './pairs.ts';
import type { PairData, TextPair } from './pairs.ts';
import { seq2seqTask } from './task.ts';

/** Flags for the sizes of a new encoder-decoder. */
export const seq2seqSizes = {
  layers: { type: 'int', default: 3, min: 1, help: 'layers of a new encoder' },
  decoderLayers: { type: 'int', default: 2, min: 1, help: 'layers of a new decoder' },
  hidden: { type: 'int', default: 192, min: 8, help: 'width of a new model' },
  heads: { type: 'int', default: 6, min: 1, help: 'attention heads of a new model' },
  feedForward: { type: 'int', min: 8, help: 'width of its feed-forward parts; default four times as wide as it' },
  dropout: { type: 'number', default: 0.1, min: 0, max: 1, help: 'probability of dropping' },
} as const satisfies Record<string, Option>;

/** Flags of every script that trains an encoder-decoder on pairs of texts. */
export const seq2seqFlags = {
  testData: { type: 'string', help: 'data to test on; without it a part of the data is held out' },
  sourceColumn: { type: 'string', default: 'source', help: 'column of the texts that are read' },
  targetColumn: { type: 'string', default: 'target', help: 'column of the texts to write' },
  groupColumn: { type: 'string', help: 'column of what belongs together, such as a page, and is held out as a whole' },
  model: {
    type: 'string',
    help: 'BART, T5, Pegasus, mBART or Marian to go on with: folder or name; default a new one',
  },
  sourcePrefix: { type: 'string', help: 'put before each text, such as "summarize: "; default as the model has it' },
  srcLang: { type: 'string', help: "code of the texts' language, of a model that knows several, such as en_XX" },
  tgtLang: { type: 'string', help: 'code of the language to write' },
  vocabSize: { type: 'int', default: 6000, min: 300, help: 'tokens of a new vocabulary' },
  ...seq2seqSizes,
  maxLength: { type: 'int', default: 128, min: 8, help: 'tokens of a text; pairs with longer ones are left out' },
  maxTokens: { type: 'int', default: 1024, min: 16, help: 'tokens of a batch on either side' },
  labelSmoothing: { type: 'number', default: 0.1, min: 0, max: 1, help: 'share of each label given to all others' },
  steps: { type: 'int', default: 20000, min: 1, help: 'optimizer steps' },
  learningRate: { type: 'number', default: 1e-3, min: 0, help: 'highest learning rate' },
  ...trainerFlags,
  schedule: { ...trainerFlags.schedule, default: 'inverseSquareRoot' },
  minRate: { ...trainerFlags.minRate, default: 0 },
  weightDecay: { ...trainerFlags.weightDecay, default: 0.01 },
  beta2: { ...trainerFlags.beta2, default: 0.98 },
  warmupSteps: { ...trainerFlags.warmupSteps, default: 800 },
  ema: {
    ...trainerFlags.ema,
    default: 0.999,
    help: 'decay of averaged weights, a mean of late checkpoints; 0 for none',
  },
  evaluateEvery: { ...trainerFlags.evaluateEvery, default: 1000 },
  evaluationPairs: { type: 'int', default: 200, min: 0, help: 'held-out pairs an evaluation writes; 0 for loss only' },
  beams: { type: 'int', default: 4, min: 1, help: 'texts searched side by side in the test' },
  lengthPenalty: { type: 'number', default: 1, help: 'of the beam search: above 1 favours longer texts' },
} as const satisfies Record<string, Option>;

type Values = Parsed<typeof seq2seqFlags>['values'] & { readonly output: string };

/** How texts are judged. */
export interface TextMetric {
  /** The numbers by name, of texts and the ones that were wanted. */
  score(texts: readonly string[], references: readonly string[]): Readonly<Record<string, number>>;
  /** The number that tells the best checkpoint; higher is better. */
  readonly best: string;
  /** What a table shows: decimals of its numbers, and a line on how they were computed. */
  readonly digits: number;
  readonly note: string;
}

export interface Seq2SeqRun {
  readonly task: 'translation' | 'summarization';
  readonly data: PairData;
  readonly metric: TextMetric;
  /** Texts for the test part that need no model, by name. */
  readonly baselines: readonly (readonly [name: string, texts: readonly string[]])[];
  /** How the script is started. */
  readonly usage: string;
  /** Further settings of generation, saved with the model. */
  readonly generation?: GenerationOptions;
  /** Cut sources that are too long, instead of leaving their pairs out. */
  readonly cutSources?: boolean;
}

/**
 * The part that scripts on pairs of texts share: makes or loads the model, trains it, and writes the test
 * part's texts, judged beside the baselines, to test.jsonl.
 */
export async function trainSeq2Seq(values: Values, run: Seq2SeqRun): Promise<void> {
  const { data, metric, usage, cutSources = false } = run;
  const { output, seed, maxTokens, maxLength, labelSmoothing, evaluationPairs, beams, lengthPenalty } = values;
  const seq2seq = await modelOf(values, run);
  const { model, tokenizer, options, prefix, srcLang, tgtLang } = seq2seq;
  const generation = { ...options, numBeams: beams, lengthPenalty, earlyStopping: beams > 1, ...run.generation };
  model.generationConfig = generationConfigFile(output, generation).data as string;
  const trained = tokenisePairs(seq2seq, data.train, maxLength, cutSources);
  const heldOut = tokenisePairs(seq2seq, data.validation, maxLength, cutSources);
  const about = describe(data, seq2seq, trained.tooLong);
  console.log(about);

  const common = { model, maxTokens, padTokenId: model.config.padTokenId, seed };
  const task = seq2seqTask({ ...common, pairs: trained.pairs, labelSmoothing });
  const validation = seq2seqTask({ ...common, pairs: heldOut.pairs });
  const measureLoss = evaluator(model, validation, validation.batchesPerEpoch);
  const shown = data.validation.slice(0, evaluationPairs);
  const evaluate = async (): Promise<Record<string, number>> => ({
    ...(await measureLoss()),
    ...(shown.length > 0 ? metric.score(await write(seq2seq, shown), targetsOf(shown)) : {}),
  });
  await train({
    model,
    tokenizer,
    task,
    options: trainerSettings(values),
    evaluate,
    ...(shown.length > 0 ? { best: { name: metric.best, mode: 'max' } } : {}),
    identity: {
      data: hashOfPairs(data.train),
      validation: hashOfPairs(data.validation),
      ...{ maxTokens, maxLength, labelSmoothing, evaluationPairs, cutSources },
      ...{ prefix: prefix || undefined, srcLang, tgtLang },
    },
    output,
    resume: resumeOf(values),
    resumeCommand: resumeCommand(usage),
  });
  await model.loadWeights(output); // averaged, where there are averages

  const bar = progress({ total: data.test.length });
  const onProgress = (done: number): void => bar.update(done, { label: 'test' });
  const texts = await write(seq2seq, data.test, { ...generation, onProgress }).finally(() => bar.stop());
  await reportResult(output, { from: values.model, about, ...report(run, texts) });
  const rows = data.test.map((pair, i) => JSON.stringify({ ...pair, written: texts[i] }));
  await writeFileAtomic(join(output, 'test.jsonl'), `${rows.join('\n')}\n`);
  console.log(`saved  ${output} (loads in Transformers too), the test's texts in ${join(output, 'test.jsonl')}`);
}

async function modelOf(values: Values, { data, task }: Seq2SeqRun): Promise<Seq2Seq> {
  const { model: id, vocabSize, maxLength, hidden, feedForward = 4 * hidden } = values;
  if (id === undefined) {
    const unfit = (['sourcePrefix', 'srcLang', 'tgtLang'] as const).find((name) => values[name] !== undefined);
    if (unfit) throw new UsageError(`--${flagOf(unfit)} is for a model to go on with; leave it out, or give --model`);
    const texts = data.train.flatMap(({ source, target }) => [source, target]);
    const tokenizer = await seq2seqTokenizer(texts, vocabSize, maxLength);
    return { model: newSeq2Seq(tokenizer, { ...values, feedForward }), tokenizer };
  }
  const seq2seq = await loadSeq2Seq(id, { ...values, task });
  const { positions } = seq2seq.model.decoder();
  if (maxLength > positions)
    throw new UsageError(`--max-length ${maxLength} is more than the ${positions} positions of the model; lower it`);
  return seq2seq;
}

const targetsOf = (pairs: readonly TextPair[]): string[] => pairs.map(({ target }) => target);

function write(
  { model, tokenizer, options: own = {}, prefix, srcLang, tgtLang }: Seq2Seq,
  pairs: readonly TextPair[],
  options: Text2TextOptions = {},
): Promise<string[]> {
  const sources = pairs.map(({ source }) => source);
  const texts = { prefix, srcLang, tgtLang, truncation: true, batchSize: 32 };
  return generateFromSources({ model, tokenizer, options: own }, sources, { ...texts, ...options });
}

function describe({ train, validation, test, origin }: PairData, { model }: Seq2Seq, tooLong: number): string {
  const { dModel, vocabSize } = model.config;
  const [encoderLayers, decoderLayers] = layersOf(model);
  return [
    `data   ${origin}`,
    `       ${train.length} pairs to train (${tooLong} too long and left out), ${validation.length} to validate, ` +
      `${test.length} to test`,
    `model  ${model.constructor.name}, ${encoderLayers} + ${decoderLayers} layers, ${dModel} wide, vocabulary of ` +
      `${vocabSize}, ${(model.numParameters() / 1e6).toFixed(1)} M parameters`,
  ].join('\n');
}

/** The test part's texts beside those that need no model, and a few of them. */
function report({ data, metric, baselines }: Seq2SeqRun, texts: readonly string[]): ReturnType<typeof testResult> {
  const references = targetsOf(data.test);
  return testResult({
    of: `${references.length} pairs`,
    rows: [...baselines, ['this model', texts] as const].map(([name, written]) => ({
      name,
      scores: metric.score(written, references),
    })),
    digits: metric.digits,
    note: metric.note,
    written: data.test.map(({ source, target }, i) => ({ text: source, written: texts[i]!, wanted: target })),
  });
}
