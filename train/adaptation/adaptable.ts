import { BertForMaskedLM, BertTokenizer, causalLoaders, resolveModelFolder } from '../../models/index.ts';
import type { CausalLM, ModelConfig, PreTrainedModel, Quantization, Tokenizer } from '../../models/index.ts';
import { readModelJson } from '../../models/io/model-files.ts';
import { modelParts } from '../../models/io/resolve.ts';
import { groupKeyValueHeads } from '../compress/kv-heads.ts';
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
 * trained on them; `kvHeads` leaves a decoder fewer heads of keys and values, see `groupKeyValueHeads`.
 * Error: a family that is neither; a BERT that is to be quantized; an adapter.
 */
export async function loadAdaptable(
  id: string,
  tokenizer: AnyTokenizer,
  words: readonly string[],
  { quantize, kvHeads }: { readonly quantize?: Quantization | undefined; readonly kvHeads?: number | undefined } = {},
): Promise<Adaptable> {
  const folder = await resolveModelFolder(id);
  if ((await modelParts(folder)).adapter !== undefined)
    throw new Error(`${folder} is an adapter of a model; merge it first: train/export.ts --model ${folder}`);
  const type = String((await readModelJson(folder, 'config.json'))['model_type']);
  const isMasked = type === 'bert' && quantize === undefined && kvHeads === undefined;
  if (isMasked && tokenizer instanceof BertTokenizer) return masked(folder, tokenizer, words);
  if (isMasked)
    throw new Error(`${folder} is a BERT, and its tokenizer is not WordPiece of BERT's kind; give both of one model`);
  if (!Object.hasOwn(causalLoaders, type)) {
    const known = [
      ...(quantize === undefined && kvHeads === undefined ? ['bert'] : []),
      ...Object.keys(causalLoaders),
    ].join(', ');
    throw new Error(`${folder} is a model of type "${type}"; one of ${known} can be adapted`);
  }
  const model = await causalLoaders[type]!(folder, { quantize });
  return causal(kvHeads === undefined ? model : groupKeyValueHeads(model as never, kvHeads), tokenizer, words);
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
