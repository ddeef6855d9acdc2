import { join } from 'node:path';
import { BertForMaskedLM, BertTokenizer, causalLoaders, resolveModelFolder } from '../../models/index.ts';
import type { CausalLM, ModelConfig, PreTrainedModel, Tokenizer } from '../../models/index.ts';
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
 * with the next token. Error: a family that is neither.
 */
export async function loadAdaptable(id: string, tokenizer: AnyTokenizer, words: readonly string[]): Promise<Adaptable> {
  const folder = await resolveModelFolder(id);
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
