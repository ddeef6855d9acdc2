/**
 * Trains an encoder-decoder to say in a line what a text is about, from nothing or from a pretrained one,
 * tests it against the text's first sentence, and saves a folder that Transformers loads too.
 *
 *   node --import tsx train/train-summarization.ts                     descriptions of Debian's packages
 *   node --import tsx train/pretrain-seq2seq.ts --data texts/ --output runs/seq2seq
 *   node --import tsx train/train-summarization.ts --model runs/seq2seq --data articles.jsonl \\
 *     --source-column article --target-column highlights
 */
import { main, parseOptions } from './cli/cli.ts';
import { corpusRouge } from './metrics/rouge.ts';
import { firstSentence } from './seq2seq/baselines.ts';
import { loadPairs, pairNames } from './seq2seq/pairs.ts';
import { seq2seqFlags, trainSeq2Seq } from './seq2seq/train-seq2seq.ts';
import { claimRun, resumeOf } from './trainer/run-state.ts';

const command = {
  name: 'train-summarization',
  summary: 'Trains an encoder-decoder to summarise, from nothing or from a pretrained one.',
  usage: 'node --import tsx train/train-summarization.ts',
  options: {
    data: {
      type: 'string',
      default: 'debian-descriptions',
      help: `JSONL, CSV or TSV files of texts and summaries, or ${pairNames}; joined by +`,
    },
    ...seq2seqFlags,
    maxLength: { ...seq2seqFlags.maxLength, default: 192, help: 'tokens of a text; what is longer is cut' },
    noRepeatNgramSize: { type: 'int', default: 3, min: 0, help: 'no run of so many tokens twice in a summary; 0: any' },
    maxSummary: { type: 'int', default: 64, min: 4, help: 'tokens of a summary at most' },
    output: { type: 'path', default: 'runs/summarization', help: 'folder for model, log, curves and checkpoints' },
  },
} as const;

main(async () => {
  const { values } = parseOptions(command);
  const { noRepeatNgramSize, maxSummary } = values;
  await claimRun(command.name, values.output, resumeOf(values));
  const data = await loadPairs(values.data, values);
  await trainSeq2Seq(values, {
    task: 'summarization',
    data,
    cutSources: true,
    generation: { noRepeatNgramSize, maxNewTokens: maxSummary },
    metric: {
      score: (texts, references) => {
        const { rouge1, rouge2, rougeL } = corpusRouge(texts, references, { stem: true });
        return { 'ROUGE-1': 100 * rouge1.fMeasure, 'ROUGE-2': 100 * rouge2.fMeasure, 'ROUGE-L': 100 * rougeL.fMeasure };
      },
      best: 'ROUGE-1',
      digits: 1,
      note: 'F of ROUGE as rouge-score has it, with stemming',
    },
    baselines: [['the first sentence', data.test.map(({ source }) => firstSentence(source))]],
    usage: command.usage,
  });
});
