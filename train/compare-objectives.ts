/**
 * Compares pretraining objectives on equal text, equal models and an equal number of steps: held-out losses
 * beside those of guessing by frequency alone, and how well the encoders then learn to tell spam from ham.
 *
 *   masked LM against rotary fill with three seeds; every objective against its baseline:
 *
 *   node --import tsx train/compare-objectives.ts
 *   node --import tsx train/compare-objectives.ts --objectives all --probe-steps 0
 */
import { join } from 'node:path';
import { manualSeed } from '../autograd/index.ts';
import { alignTable, meanAndDeviation } from '../common/text-table.ts';
import { BertTokenizer } from '../models/index.ts';
import { writeFileAtomic } from '../common/atomic-files.ts';
import { claimFolder } from '../common/lock.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import { bertConfig, contenders } from './comparison/contenders.ts';
import type { Setting } from './comparison/contenders.ts';
import { pretrain } from './comparison/train-contender.ts';
import type { Outcome } from './comparison/train-contender.ts';
import { probe, probeData } from './comparison/probe.ts';
import { corpusFlags, corpusFolder, corpusOfFlags } from './pretraining/corpus.ts';
import { progress } from '../common/progress.ts';
import { trainWordPiece } from './tokenizer-training/train-word-piece.ts';

const names = Object.keys(contenders);

const command = {
  name: 'compare-objectives',
  summary: 'Pretrains small models with several objectives and compares them.',
  usage: 'node --import tsx train/compare-objectives.ts',
  options: {
    ...corpusFlags,
    vocabSize: { type: 'int', default: 2000, min: 100, help: 'tokens of the vocabulary' },
    objectives: {
      type: 'string',
      default: 'mlm,rotary-fill',
      help: `all, or some of ${names.join(', ')}, with commas between`,
    },
    seeds: { type: 'int', default: 3, min: 1, help: 'runs of each, with seeds from 0 up' },
    layers: { type: 'int', default: 2, min: 1, help: 'layers; of encoder and decoder each where there are both' },
    hidden: { type: 'int', default: 128, min: 8, help: 'width' },
    heads: { type: 'int', default: 2, min: 1, help: 'attention heads' },
    context: { type: 'int', default: 64, min: 16, max: 500, help: 'tokens a row' },
    batchSize: { type: 'int', default: 16, min: 1, help: 'rows a batch' },
    steps: { type: 'int', default: 1000, min: 1, help: 'optimizer steps of pretraining' },
    learningRate: { type: 'number', default: 1e-3, min: 0, help: 'highest learning rate' },
    evaluationBatches: { type: 'int', default: 200, min: 1, help: 'held-out batches at most' },
    probeSteps: { type: 'int', default: 200, min: 0, help: 'steps of fine-tuning on spam; 0 leaves it out' },
    probeRate: { type: 'number', default: 1e-3, min: 0, help: 'learning rate of fine-tuning' },
    output: { type: 'path', default: 'runs/objectives', help: 'folder for corpus and results.json' },
  },
} as const;

interface Run extends Outcome {
  readonly objective: string;
  readonly seed: number;
  readonly f1?: number;
}

const fromScratch = 'no pretraining';

main(async () => {
  const { values } = parseOptions(command);
  const { output, layers, hidden, heads, context, batchSize, steps, learningRate } = values;
  const chosen = values.objectives === 'all' ? names : values.objectives.split(',').map((name) => name.trim());
  const unknown = chosen.find((name) => !names.includes(name));
  if (unknown !== undefined)
    throw new UsageError(`${command.name}: there is no objective "${unknown}"; choose among ${names.join(', ')}`);
  if (hidden % heads !== 0)
    throw new UsageError(`${command.name}: --hidden ${hidden} must be a multiple of --heads ${heads}`);

  await claimFolder(output);
  const trainTokenizer = (texts: AsyncIterable<string>): Promise<BertTokenizer> =>
    trainWordPiece(texts, { vocabSize: values.vocabSize, modelMaxLength: context });
  const corpus = await corpusOfFlags(
    { ...values, resume: false, resumeAnyway: false },
    corpusFolder(output),
    trainTokenizer,
  );
  const { tokenizer, train, validation: heldOut } = corpus;
  if (!heldOut) throw new Error(`${command.name}: the text is too short to hold some out; give more`);
  if (!(tokenizer instanceof BertTokenizer)) throw new Error('the vocabulary is no WordPiece');
  const common = { tokenizer, train, heldOut, layers, hidden, heads, context, batchSize };
  const mails = values.probeSteps > 0 ? await probeData(tokenizer, context) : undefined;

  const runs: Run[] = [];
  const total = values.seeds * chosen.length * steps;
  const bar = progress({ total });
  let done = 0;
  try {
    for (let seed = 0; seed < values.seeds; seed++) {
      const setting: Setting = { ...common, seed };
      const score = async (model?: Parameters<typeof probe>[1]): Promise<{ f1?: number }> => {
        if (!mails || (model && !model.stateDict().has('bert.embeddings.word_embeddings.weight'))) return {};
        const options = { steps: values.probeSteps, batchSize, learningRate: values.probeRate, seed };
        return { f1: await probe(bertConfig(setting), model, mails, options) };
      };
      for (const objective of chosen) {
        manualSeed(seed);
        const contender = contenders[objective]!(setting);
        const settings = { steps, learningRate, warmupSteps: Math.floor(steps / 10), seed };
        const outcome = await pretrain(contender, settings, values.evaluationBatches, (loss, tokens) =>
          bar.update(++done, { label: `${objective}, seed ${seed}`, loss, tokens }),
        );
        runs.push({ objective, seed, ...outcome, ...(await score(contender.model)) });
      }
      if (mails) runs.push({ objective: fromScratch, seed, losses: {}, baselines: {}, tokens: 0, ...(await score()) });
    }
  } finally {
    bar.stop();
    corpus.close();
  }
  await writeFileAtomic(join(output, 'results.json'), `${JSON.stringify({ options: values, runs }, null, 2)}\n`);
  console.log(`\n${table(runs)}\nsaved  ${join(output, 'results.json')}`);
});

/** A row for each part of each objective's loss: means over the seeds and their deviations. */
function table(runs: readonly Run[]): string {
  const objectives = [...new Set(runs.map(({ objective }) => objective))];
  const rows = objectives.flatMap((objective) => {
    const own = runs.filter((run) => run.objective === objective);
    const f1 = own.flatMap((run) => (run.f1 === undefined ? [] : [run.f1]));
    const score = f1.length > 0 ? meanAndDeviation(f1) : '';
    const tokens = own[0]!.tokens > 0 ? `${(own[0]!.tokens / 1e6).toFixed(2)} M` : '';
    const parts = Object.keys(own[0]!.losses);
    if (parts.length === 0) return [[objective, tokens, '', '', '', score]];
    return parts.map((part, i) => {
      const of = (kind: 'losses' | 'baselines'): number[] => own.map((run) => run[kind][part]!);
      const losses = meanAndDeviation(of('losses'));
      const first = i === 0 ? [objective, tokens] : ['', ''];
      return [...first, part, losses, meanAndDeviation(of('baselines')), i === 0 ? score : ''];
    });
  });
  const header = ['objective', 'tokens', 'part', 'held-out loss', 'by frequency alone', 'spam F1 after'];
  return alignTable(header, rows, new Set([1, 3, 4, 5]));
}
