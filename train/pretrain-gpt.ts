/**
 * Pretrains a GPT-2 or a Llama on text, from nothing: tokenizer, corpus, model.
 *
 *   nanoGPT's recipe for a processor, and for a GPU; then byte-level BPE, speeches and Moby Dick:
 *
 *   node --import tsx train/pretrain-gpt.ts --preset shakespeare-minutes --data input.txt
 *   node --import tsx train/pretrain-gpt.ts --preset shakespeare-gpu --data input.txt
 *   node --import tsx train/pretrain-gpt.ts --preset minutes
 */
import { manualSeed } from '../autograd/index.ts';
import { GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Tokenizer } from '../models/index.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import { blockWindows, causalLM, randomWindows, withSeparators } from './objectives/index.ts';
import type { TokenCorpus } from './data/token-corpus.ts';
import { corpusFlags, corpusFolder, corpusOfFlags } from './pretraining/corpus.ts';
import { pretrain } from './pretraining/pretrain.ts';
import { trainByteLevelBpe } from './tokenizer-training/train-byte-level.ts';
import { trainCharacters } from './tokenizer-training/train-characters.ts';
import { trainerFlags } from './trainer/settings.ts';
import { claimRun, resumeOf } from './trainer/run-state.ts';

const command = {
  name: 'pretrain-gpt',
  summary: 'Pretrains a GPT-2 or Llama on text, with a vocabulary of its own.',
  usage: 'node --import tsx train/pretrain-gpt.ts',
  options: {
    ...corpusFlags,
    tokenizer: {
      type: 'string',
      default: 'bpe',
      help: "bpe: byte-level BPE trained on the data; char: its characters; gpt2: GPT-2's own; or a folder",
    },
    architecture: { type: 'choice', choices: ['gpt2', 'llama'], default: 'gpt2', help: 'model family' },
    layers: { type: 'int', default: 4, min: 1, help: 'blocks' },
    hidden: { type: 'int', default: 128, min: 8, help: 'width' },
    heads: { type: 'int', default: 4, min: 1, help: 'attention heads' },
    keyValueHeads: { type: 'int', min: 1, help: 'llama: heads of keys and values; default as many as heads' },
    context: { type: 'int', default: 64, min: 2, help: 'tokens a row' },
    dropout: { type: 'number', default: 0, min: 0, max: 1, help: 'gpt2: probability of dropping' },
    windows: {
      type: 'choice',
      choices: ['random', 'blocks'],
      default: 'random',
      help: 'random: rows begin anywhere, as in nanoGPT; blocks: every token once a pass',
    },
    batchSize: { type: 'int', default: 12, min: 1, help: 'rows a batch' },
    steps: { type: 'int', default: 2000, min: 1, help: 'optimizer steps' },
    learningRate: { type: 'number', default: 1e-3, min: 0, help: 'highest learning rate' },
    ...trainerFlags,
    evaluationBatches: { type: 'int', default: 0, min: 0, help: 'batches an evaluation looks at; 0 for all' },
    output: { type: 'path', default: 'runs/gpt', help: 'folder for model, corpus, log, curves and checkpoints' },
  },
  presets: {
    'shakespeare-minutes': {
      tokenizer: 'char',
      layers: 4,
      hidden: 128,
      heads: 4,
      context: 64,
      batchSize: 12,
      steps: 2000,
    },
    'shakespeare-gpu': {
      tokenizer: 'char',
      layers: 6,
      hidden: 384,
      heads: 6,
      context: 256,
      batchSize: 64,
      steps: 5000,
      dropout: 0.2,
      precision: 'mixed',
    },
    minutes: { vocabSize: 4096, layers: 4, hidden: 128, heads: 4, context: 128, batchSize: 8, steps: 2000 },
    gpu: {
      tokenizer: 'gpt2',
      layers: 12,
      hidden: 768,
      heads: 12,
      context: 1024,
      batchSize: 8,
      accumulate: 8,
      learningRate: 6e-4,
      beta2: 0.95,
      steps: 20000,
      warmupSteps: 700,
      precision: 'mixed',
      windows: 'blocks',
    },
  },
} as const;

type Values = ReturnType<typeof parseOptions<typeof command.options>>['values'];

main(async () => {
  const { values } = parseOptions(command);
  const { output, seed, batchSize, context } = values;
  if (values.hidden % values.heads !== 0)
    throw new UsageError(`${command.name}: --hidden ${values.hidden} must be a multiple of --heads ${values.heads}`);
  await claimRun(command.name, output, resumeOf(values));
  const corpus = await corpusOfFlags(values, corpusFolder(output), tokenizerOf(values));
  const { vocabSize, eosTokenId } = corpus.tokenizer;
  manualSeed(seed);
  const model = newModel(values, vocabSize, eosTokenId ?? null);

  // Several documents follow one another with an end-of-text token between them, if there is one.
  const joined = (part: TokenCorpus): TokenCorpus =>
    eosTokenId === undefined || part.offsets.length === 2 ? part : withSeparators(part, eosTokenId);
  const windows = values.windows === 'random' ? randomWindows : blockWindows;
  const task = causalLM({ model, rows: windows(joined(corpus.train), { length: context, seed }), batchSize });
  const heldOut =
    corpus.validation &&
    causalLM({ model, rows: blockWindows(joined(corpus.validation), { length: context, overlap: 1 }), batchSize });
  await pretrain(values, {
    model,
    corpus,
    task,
    heldOut,
    shape: `${values.layers} layers, ${values.hidden} wide`,
    identity: { windows: values.windows },
    usage: command.usage,
  });
});

function tokenizerOf({ tokenizer, vocabSize, context }: Values): Parameters<typeof corpusOfFlags>[2] {
  if (tokenizer === 'char') return (texts) => trainCharacters(texts, { modelMaxLength: context });
  if (tokenizer === 'bpe') return (texts) => trainByteLevelBpe(texts, { vocabSize, modelMaxLength: context });
  return tokenizer === 'gpt2' ? () => Promise.resolve(Tokenizer.gpt2()) : tokenizer;
}

function newModel(values: Values, vocabSize: number, eosTokenId: number | null): GPT2LMHeadModel | LlamaForCausalLM {
  const { architecture, layers, hidden, heads, context, dropout } = values;
  const ends = { bosTokenId: eosTokenId, eosTokenId };
  if (architecture === 'llama') {
    const config = LlamaConfig.create({
      vocabSize,
      hiddenSize: hidden,
      intermediateSize: 8 * Math.ceil(hidden / 3),
      numHiddenLayers: layers,
      numAttentionHeads: heads,
      numKeyValueHeads: values.keyValueHeads ?? heads,
      maxPositionEmbeddings: context,
      tieWordEmbeddings: true,
      ...ends,
    });
    return new LlamaForCausalLM(config);
  }
  const config = GPT2Config.create({
    vocabSize,
    nPositions: context,
    nEmbd: hidden,
    nLayer: layers,
    nHead: heads,
    embdPdrop: dropout,
    residPdrop: dropout,
    attnPdrop: dropout,
    ...ends,
  });
  return new GPT2LMHeadModel(config);
}
