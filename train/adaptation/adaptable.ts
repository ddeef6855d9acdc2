import { join } from 'node:path';
import {
  BertForMaskedLM,
  BertTokenizer,
  CausalLM,
  causalLoaders,
  isGguf,
  loadTextGenerator,
  resolveModelFolder,
} from '../../models/index.ts';
import type { ModelConfig, PreTrainedModel, Quantization, Tokenizer } from '../../models/index.ts';
import { readJsonFile } from '../../common/json-file.ts';
import { adaptVocabulary } from './index.ts';
import type { TokenCorpus } from '../data/token-corpus.ts';
import { blockWindows, causalLM, maskedLM, withSeparators } from '../objectives/index.ts';
import type { Rows } from '../objectives/index.ts';
import type { TrainingTask } from '../objectives/task.ts';
import { bertRows, masking } from '../pretraining/bert-objectives.ts';

type AnyTokenizer = BertTokenizer | Tokenizer;
type AnyConfig = ModelConfig & { readonly vocabSize: number };

export interface RowOptions {
  readonly length: number;
  /** Rows in random order, without end; without it one pass in order, for evaluation. */
  readonly seed?: number;
}

/** A pretrained model whose pretraining can go on. */
export interface Adaptable {
  readonly model: PreTrainedModel<AnyConfig>;
  readonly tokenizer: AnyTokenizer;
  /** Longest row that the model takes. */
  readonly positions: number;
  /** Part of the loss that says how well it predicts tokens. */
  readonly part: string;
  rows(corpus: TokenCorpus, options: RowOptions): Rows;
  task(rows: Rows, options: { readonly batchSize: number; readonly seed: number }): TrainingTask;
}

/**
 * Loads a model with its tokenizer, extended by tokens for `words`: BERT goes on with masked tokens, decoders
 * of GGUF files too, with the next token. With `quantize` weights stay in 4 or 8 bits, for an adapter to be
 * trained on them. Error: a family that is neither; a BERT that is to be quantized.
 */
export async function loadAdaptable(
  id: string,
  tokenizer: AnyTokenizer,
  words: readonly string[],
  quantize?: Quantization,
): Promise<Adaptable> {
  const folder = await resolveModelFolder(id);
  if (isGguf(folder) || quantize !== undefined) {
    const { model } = await loadTextGenerator(folder, { quantize });
    if (model instanceof CausalLM && quantize !== undefined) return adaptableDecoder(model, tokenizer);
    if (model instanceof CausalLM) return causal(model, tokenizer, words);
    throw new Error(`${folder} reads a source and writes another text; a model that continues texts can be adapted`);
  }
  const type = String((await readJsonFile(join(folder, 'config.json')))['model_type']);
  if (type === 'bert') {
    if (tokenizer instanceof BertTokenizer) return masked(folder, tokenizer, words);
    throw new Error(`${folder} is a BERT, and its tokenizer is not WordPiece of BERT's kind; give both of one model`);
  }
  if (!Object.hasOwn(causalLoaders, type)) {
    const known = ['bert', ...Object.keys(causalLoaders)].join(', ');
    throw new Error(`${folder} is a model of type "${type}"; one of ${known} can be adapted`);
  }
  return causal(await causalLoaders[type]!(folder), tokenizer, words);
}

async function masked(folder: string, old: BertTokenizer, words: readonly string[]): Promise<Adaptable> {
  const { model, tokenizer } = await adaptVocabulary(await BertForMaskedLM.fromPretrained(folder), old, words);
  return {
    model,
    tokenizer,
    positions: model.config.maxPositionEmbeddings,
    part: 'mlm',
    rows: (corpus, { length, seed }) =>
      bertRows({ corpus, tokenizer, length, seed: seed ?? 0, ordered: seed === undefined, pack: true }),
    task: (rows, { batchSize, seed }) =>
      maskedLM({
        model,
        rows,
        batchSize,
        seed,
        padTokenId: tokenizer.padTokenId,
        ...masking({ tokenizer, wholeWords: false, maskProbability: 0.15 }),
      }),
  };
}

async function causal(original: CausalLM, old: AnyTokenizer, words: readonly string[]): Promise<Adaptable> {
  const { model, tokenizer } = await adaptVocabulary<AnyConfig, CausalLM, AnyTokenizer>(original, old, words);
  return adaptableDecoder(model, tokenizer);
}

function adaptableDecoder(model: CausalLM, tokenizer: AnyTokenizer): Adaptable {
  const { eosTokenId } = tokenizer;
  return {
    model,
    tokenizer,
    positions: model.decoder().positions,
    part: 'lm',
    rows: (corpus, { length, seed }) => {
      const several = eosTokenId !== undefined && corpus.offsets.length > 2;
      return blockWindows(several ? withSeparators(corpus, eosTokenId) : corpus, { length, seed, overlap: 1 });
    },
    task: (rows, { batchSize }) => causalLM({ model, rows, batchSize }),
  };
}
