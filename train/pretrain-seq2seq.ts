/**
 * Pretrains an encoder-decoder on text, from nothing, to restore what was taken out of it: text infilling
 * (BART) or span corruption (T5). Fine-tune it then on pairs: train-summarization.ts, train-translation.ts.
 *
 *   node --import tsx train/pretrain-seq2seq.ts --data texts/ --output runs/seq2seq
 */
import { main, parseOptions } from './cli/cli.ts';
import { blockWindows, lastIds, spanCorruption, textInfilling, withSeparators } from './objectives/index.ts';
import type { TokenCorpus } from './data/token-corpus.ts';
import { corpusFlags, corpusFolder, corpusOfFlags } from './pretraining/corpus.ts';
import { pretrain } from './pretraining/pretrain.ts';
import { newSeq2Seq, seq2seqTokenizer } from './seq2seq/model.ts';
import { seq2seqSizes } from './seq2seq/train-seq2seq.ts';
import { trainerFlags } from './trainer/settings.ts';
import { claimRun, resumeOf } from './trainer/run-state.ts';

/** Sentinels of span corruption: enough for rows of 500 tokens. */
const sentinels = 32;

const command = {
  name: 'pretrain-seq2seq',
  summary: 'Pretrains an encoder-decoder on text, with a vocabulary of its own.',
  usage: 'node --import tsx train/pretrain-seq2seq.ts',
  options: {
    ...corpusFlags,
    objective: {
      type: 'choice',
      choices: ['text-infilling', 'span-corruption'],
      default: 'text-infilling',
      help: 'text-infilling: write the whole text, as BART; span-corruption: what is missing, as T5',
    },
    ...seq2seqSizes,
    context: { type: 'int', default: 128, min: 8, help: 'tokens a row' },
    positions: { type: 'int', min: 8, help: 'longest text of the model; default twice the context' },
    batchSize: { type: 'int', default: 8, min: 1, help: 'rows a batch' },
    steps: { type: 'int', default: 5000, min: 1, help: 'optimizer steps' },
    learningRate: { type: 'number', default: 1e-3, min: 0, help: 'highest learning rate' },
    ...trainerFlags,
    evaluationBatches: { type: 'int', default: 50, min: 0, help: 'batches an evaluation looks at; 0 for all' },
    output: { type: 'path', default: 'runs/seq2seq', help: 'folder for model, corpus, log, curves and checkpoints' },
  },
} as const;

main(async () => {
  const { values } = parseOptions(command);
  const { output, seed, batchSize, context, hidden, vocabSize, objective } = values;
  const positions = Math.max(values.positions ?? 2 * context, context + 2);
  await claimRun(command.name, output, resumeOf(values));
  const corpus = await corpusOfFlags(values, corpusFolder(output), (texts) =>
    seq2seqTokenizer(texts, vocabSize, positions),
  );
  const tokenizer = corpus.tokenizer;
  const { padTokenId, eosTokenId, maskTokenId } = tokenizer;
  const isSpans = objective === 'span-corruption';
  const model = newSeq2Seq(tokenizer, {
    ...values,
    feedForward: values.feedForward ?? 4 * hidden,
    maxLength: positions,
    extraIds: isSpans ? sentinels : 0,
  });
  const taskOn = (part: TokenCorpus, seed?: number): ReturnType<typeof textInfilling> => {
    const rows = blockWindows(withSeparators(part, eosTokenId!), {
      length: context,
      ...(seed === undefined ? {} : { seed }),
    });
    const common = {
      model,
      rows,
      batchSize,
      padTokenId: padTokenId!,
      eosTokenId: eosTokenId!,
      seed: seed ?? values.seed,
    };
    return isSpans
      ? spanCorruption({ ...common, sentinelIds: lastIds(model.config.vocabSize, sentinels) })
      : textInfilling({ ...common, maskTokenId: maskTokenId! });
  };
  await pretrain(values, {
    model,
    corpus,
    task: taskOn(corpus.train, seed),
    heldOut: corpus.validation && taskOn(corpus.validation),
    shape: `${values.layers} + ${values.decoderLayers} layers, ${hidden} wide`,
    identity: { objective },
    usage: command.usage,
  });
});
