import { add, knownRange, slice } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { normalInit } from '../init.ts';
import { Module } from '../module.ts';
import { Dropout } from '../nn/dropout.ts';
import { Embedding } from '../nn/embedding.ts';
import type { LayerNorm } from '../nn/norm.ts';
import type { BertConfig } from './config.ts';
import type { BertInputs } from './inputs.ts';
import { checkInputs } from './inputs.ts';
import { norm } from './layers.ts';

/** The sum of the embeddings of token, position and token type, normalised. */
export class BertEmbeddings extends Module {
  readonly wordEmbeddings: Embedding;
  readonly positionEmbeddings: Embedding;
  readonly tokenTypeEmbeddings: Embedding;
  readonly LayerNorm: LayerNorm;
  readonly dropout: Dropout;
  readonly #config: BertConfig;

  constructor(config: BertConfig) {
    super();
    const weightInit = normalInit(config.initializerRange);
    this.#config = config;
    this.wordEmbeddings = new Embedding(config.vocabSize, config.hiddenSize, {
      weightInit,
      paddingIdx: config.padTokenId ?? undefined,
    });
    this.positionEmbeddings = new Embedding(config.maxPositionEmbeddings, config.hiddenSize, { weightInit });
    this.tokenTypeEmbeddings = new Embedding(config.typeVocabSize, config.hiddenSize, { weightInit });
    this.LayerNorm = norm(config);
    this.dropout = new Dropout(config.hiddenDropoutProb);
  }

  /** inputIds (B, T) -> (B, T, D). */
  override forward(inputs: BertInputs): Tensor {
    checkInputs(inputs, this.#config);
    const { inputIds, tokenTypeIds, positionIds } = inputs;
    const length = inputIds.shape[1]!;
    // Known to be all of type 0: one row for every token, without a gather and its scatter in backward.
    const range = tokenTypeIds && knownRange(tokenTypeIds);
    const plain = !tokenTypeIds || (range && range[0] === 0 && range[1] === 0);
    const words = this.wordEmbeddings.forward(inputIds); // (B, T, D)
    // (D) or (B, T, D)
    const types = plain ? slice(this.tokenTypeEmbeddings.weight, 0) : this.tokenTypeEmbeddings.forward(tokenTypeIds!);
    const positions = positionIds
      ? this.positionEmbeddings.forward(positionIds)
      : slice(this.positionEmbeddings.weight, [0, length]); // (T, D)
    const sum = add(add(words, types), positions); // (B, T, D)
    return this.dropout.forward(this.LayerNorm.forward(sum));
  }
}
