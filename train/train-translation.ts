/**
 * Trains an encoder-decoder to translate, from nothing or from a trained one, tests it against copying and
 * against a translator's memory, and saves a folder that Transformers loads too.
 *
 *   node --import tsx train/train-translation.ts                       English to French: LibreOffice's help
 *   node --import tsx train/train-translation.ts --data pairs.jsonl --source-column en --target-column fr
 *   node --import tsx train/generate.ts --model runs/translation "Choose the command in the menu."
 */
import { main, parseOptions } from './cli/cli.ts';
import { corpusBleu } from './metrics/bleu.ts';
import { translationMemory } from './seq2seq/baselines.ts';
import { loadPairs, pairNames } from './seq2seq/pairs.ts';
import { seq2seqFlags, trainSeq2Seq } from './seq2seq/train-seq2seq.ts';
import { claimRun, resumeOf } from './trainer/run-state.ts';

const command = {
  name: 'train-translation',
  summary: 'Trains an encoder-decoder to translate, from nothing or from a trained one.',
  usage: 'node --import tsx train/train-translation.ts',
  options: {
    data: {
      type: 'string',
      default: 'libreoffice-help-fr',
      help: `JSONL, CSV or TSV files of pairs, or ${pairNames}; joined by +`,
    },
    ...seq2seqFlags,
    output: { type: 'path', default: 'runs/translation', help: 'folder for model, log, curves and checkpoints' },
  },
} as const;

main(async () => {
  const { values } = parseOptions(command);
  await claimRun(command.name, values.output, resumeOf(values));
  const data = await loadPairs(values.data, values);
  const recall = translationMemory(data.train);
  const sources = data.test.map(({ source }) => source);
  await trainSeq2Seq(values, {
    task: 'translation',
    data,
    metric: {
      score: (texts, references) => ({ BLEU: corpusBleu(texts, references).score }),
      best: 'BLEU',
      digits: 1,
      note: `BLEU as sacrebleu has it: ${corpusBleu(['a'], ['a']).signature}`,
    },
    baselines: [
      ['the source as it is', sources],
      ["a translator's memory", sources.map(recall)],
    ],
    usage: command.usage,
  });
});
