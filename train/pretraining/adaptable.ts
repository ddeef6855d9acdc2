import { join } from 'node:path';
import {
  BertForMaskedLM,
  BertTokenizer,
  GPT2LMHeadModel,
  LlamaForCausalLM,
  resolveModelFolder,
} from '../../models/index.ts';
import type { ModelConfig, PreTrainedModel, Tokenizer } from '../../models/index.ts';
import { readJsonFile } from '../../models/io/json-file.ts';
import { adaptVocabulary } from '../adaptation/index.ts';
import type { TokenCorpus } from '../data/token-corpus.ts';
import { blockWindows, causalLM, maskedLM, withSeparators } from '../objectives/index.ts';
import type { CausalLMModel, Rows } from '../objectives/index.ts';
import type { TrainingTask } from '../task.ts';
import { bertRows, masking } from './bert-objectives.ts';

type AnyTokenizer = BertTokenizer | Tokenizer;
type AnyModel = PreTrainedModel<ModelConfig & { readonly vocabSize: number }>;

export interface RowOptions {
  readonly length: number;
  /** Rows in random order, without end; without it one pass in order, for evaluation. */
  readonly seed?: number;
}

/** A pretrained model whose pretraining can go on. */
export interface Adaptable {
  readonly model: AnyModel;
  readonly tokenizer: AnyTokenizer;
  /** Longest row that the model takes. */
  readonly positions: number;
  /** Part of the loss that says how well it predicts tokens. */
  readonly part: string;
  rows(corpus: TokenCorpus, options: RowOptions): Rows;
  task(rows: Rows, options: { readonly batchSize: number; readonly seed: number }): TrainingTask;
}

/** Loads a model with its tokenizer, extended by tokens for `words`: BERT goes on with masked tokens, GPT-2, Llama and Qwen with the next token. Error: a family that none of these is. */
export async function loadAdaptable(id: string, tokenizer: AnyTokenizer, words: readonly string[]): Promise<Adaptable> {
  const folder = await resolveModelFolder(id);
  const type = String((await readJsonFile(join(folder, 'config.json')))['model_type']);
  switch (type) {
    case 'bert':
      if (tokenizer instanceof BertTokenizer) return masked(folder, tokenizer, words);
      throw new Error(`${folder} is a BERT, and its tokenizer is not WordPiece of BERT's kind; give both of one model`);
    case 'gpt2': {
      const adapted = await adaptVocabulary(await GPT2LMHeadModel.fromPretrained(folder), tokenizer, words);
      return { ...causal(adapted.model, adapted.tokenizer), ...adapted, positions: adapted.model.config.nPositions };
    }
    case 'llama':
    case 'qwen2':
    case 'qwen3': {
      const adapted = await adaptVocabulary(await LlamaForCausalLM.fromPretrained(folder), tokenizer, words);
      const positions = adapted.model.config.maxPositionEmbeddings;
      return { ...causal(adapted.model, adapted.tokenizer), ...adapted, positions };
    }
    default:
      throw new Error(`${folder} is a model of type "${type}"; bert, gpt2, llama and qwen can be adapted`);
  }
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

function causal(model: CausalLMModel, { eosTokenId }: AnyTokenizer): Pick<Adaptable, 'part' | 'rows' | 'task'> {
  return {
    part: 'lm',
    rows: (corpus, { length, seed }) => {
      const several = eosTokenId !== undefined && corpus.offsets.length > 2;
      return blockWindows(several ? withSeparators(corpus, eosTokenId) : corpus, { length, seed, overlap: 1 });
    },
    task: (rows, { batchSize }) => causalLM({ model, rows, batchSize }),
  };
}
