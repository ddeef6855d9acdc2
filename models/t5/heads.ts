import { mul } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { Embedding } from '../nn/embedding.ts';
import type { Linear } from '../nn/linear.ts';
import { lmHead } from '../transformer/causal-lm.ts';
import type { Seq2SeqInputs } from '../transformer/inputs.ts';
import type { Seq2SeqOutput } from '../transformer/outputs.ts';
import { runSeq2Seq, Seq2SeqLM } from '../transformer/seq2seq.ts';
import type { Seq2SeqSides } from '../transformer/seq2seq.ts';
import { scalesOutputs, T5Config } from './config.ts';
import { keyRules, t5Parts } from './model.ts';
import type { T5Stack } from './model.ts';

/**
 * T5 as it was trained (Raffel et al. 2020), also v1.1 and Flan-T5: writes a text for a text. The head's
 * weight is the table of embeddings, unless `config.tieWordEmbeddings` is false.
 *
 * @example
 * const config = { vocabSize: 50, dModel: 16, dFf: 32, numLayers: 1 };
 * const model = T5ForConditionalGeneration.fromConfig(config);
 * const inputIds = tensor([[5, 7, 2]], { dtype: 'i32' });
 * const decoderInputIds = tensor([[2, 4]], { dtype: 'i32' });
 * model.forward({ inputIds, decoderInputIds }).logits.shape; // [1, 2, 50]
 */
export class T5ForConditionalGeneration extends Seq2SeqLM<T5Config> {
  static readonly configFormat = T5Config;
  static readonly keyRules = keyRules;
  /** `decoder` is the method that generation asks for. */
  static override readonly keys = { decoderStack: 'decoder' };

  readonly shared: Embedding;
  readonly encoder: T5Stack;
  readonly decoderStack: T5Stack;
  readonly lmHead: Linear;

  constructor(config: T5Config) {
    super(config);
    const { shared, encoder, decoder } = t5Parts(config);
    this.shared = shared;
    this.encoder = encoder;
    this.decoderStack = decoder;
    const { tieWordEmbeddings, initializerFactor: initializerRange } = config;
    this.lmHead = lmHead({ tieWordEmbeddings, initializerRange }, shared);
  }

  protected override get sides(): Seq2SeqSides {
    return { encoder: this.encoder, decoder: this.decoderStack };
  }

  protected override get positions(): number {
    return Infinity;
  }

  protected override run(inputs: Seq2SeqInputs): Seq2SeqOutput {
    return runSeq2Seq(this.sides, inputs);
  }

  protected override beforeHead(hidden: Tensor): Tensor {
    return scalesOutputs(this.config) ? mul(hidden, this.config.dModel ** -0.5) : hidden;
  }
}
