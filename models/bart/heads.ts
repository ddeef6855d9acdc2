import { reshape, zeros } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { Linear } from '../nn/linear.ts';
import { ModuleBuffer } from '../parameter.ts';
import { lmHead } from '../transformer/causal-lm.ts';
import { shiftRight } from '../transformer/inputs.ts';
import type { Seq2SeqInputs } from '../transformer/inputs.ts';
import type { Seq2SeqOutput } from '../transformer/outputs.ts';
import { Seq2SeqLM } from '../transformer/seq2seq.ts';
import type { Seq2SeqSides } from '../transformer/seq2seq.ts';
import { BartConfig, MarianConfig, MBartConfig, PegasusConfig, targetVocabulary } from './config.ts';
import type { BartLikeConfig } from './config.ts';
import { BartModel, MarianModel, MBartModel, PegasusModel } from './model.ts';
import type { BartLikeModel } from './model.ts';

/**
 * A model of BART's kind with the head that it was trained with. The head's weight is the table of the
 * decoder's embeddings, unless `config.tieWordEmbeddings` is false.
 */
abstract class BartLikeLM<C extends BartLikeConfig> extends Seq2SeqLM<C> {
  readonly model: BartLikeModel<C>;
  /** Added to the logits, [1, V]; not learned. */
  readonly finalLogitsBias: ModuleBuffer;
  readonly lmHead: Linear;

  constructor(config: C, model: BartLikeModel<C>) {
    super(config);
    this.model = model;
    this.finalLogitsBias = new ModuleBuffer(zeros([1, targetVocabulary(config)]));
    const { tieWordEmbeddings, initStd: initializerRange } = config;
    this.lmHead = lmHead({ tieWordEmbeddings, initializerRange }, model.decoder.embedTokens);
  }

  protected override get sides(): Seq2SeqSides {
    return this.model;
  }

  protected override get positions(): number {
    return this.config.maxPositionEmbeddings;
  }

  protected override get logitsBias(): Tensor {
    return reshape(this.finalLogitsBias, [-1]); // (V)
  }

  protected override run(inputs: Seq2SeqInputs): Seq2SeqOutput {
    return this.model.forward(inputs);
  }
}

/** BART (Lewis et al. 2020): restores, summarises, or writes what it was fine-tuned for. */
export class BartForConditionalGeneration extends BartLikeLM<BartConfig> {
  static readonly configFormat = BartConfig;
  static readonly keyRules = BartModel.keyRules;

  constructor(config: BartConfig) {
    super(config, new BartModel(config));
  }
}

/**
 * mBART (Liu et al. 2020): translates between languages, whose codes the texts bear. In training the decoder
 * begins with the last of the labels, the language's code, whatever `decoderStartTokenId` is.
 */
export class MBartForConditionalGeneration extends BartLikeLM<MBartConfig> {
  static readonly configFormat = MBartConfig;
  static readonly keyRules = MBartModel.keyRules;

  constructor(config: MBartConfig) {
    super(config, new MBartModel(config));
  }

  protected override decoderInputsOf(labels: Tensor): Tensor {
    return shiftRight(labels, { start: 'last', padding: this.config.padTokenId });
  }
}

/** Pegasus (Zhang et al. 2020): summarises. */
export class PegasusForConditionalGeneration extends BartLikeLM<PegasusConfig> {
  static readonly configFormat = PegasusConfig;
  static readonly keyRules = PegasusModel.keyRules;

  constructor(config: PegasusConfig) {
    super(config, new PegasusModel(config));
  }
}

/** Marian (Junczys-Dowmunt et al. 2018): the Transformer of Vaswani et al. 2017, for translation. */
export class MarianMTModel extends BartLikeLM<MarianConfig> {
  static readonly configFormat = MarianConfig;
  static readonly keyRules = MarianModel.keyRules;

  constructor(config: MarianConfig) {
    super(config, new MarianModel(config));
  }
}
