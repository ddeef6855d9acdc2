import type { EncoderOutput, Seq2SeqOutput } from '../outputs.ts';
import { seq2seqInternals } from '../outputs.ts';
import { PreTrainedModel } from '../pretrained.ts';
import type { Embedding } from '../nn/embedding.ts';
import type { Seq2SeqInputs } from '../seq2seq.ts';
import { MarianConfig, targetVocabulary } from './config.ts';
import { tokens } from './layers.ts';
import { MarianDecoder, MarianEncoder } from './stack.ts';

/** What all Marian classes share: the config, and how their files name things. */
export abstract class MarianPreTrainedModel extends PreTrainedModel<MarianConfig> {
  static readonly configFormat = MarianConfig;
  static readonly keyRules = {
    baseModelPrefix: 'model',
    // Computed, not learned.
    ignoredKeys: /(^|\.)(encoder|decoder)\.embed_positions\.weight$/,
  };
}

/**
 * The Transformer (Vaswani et al. 2017): an encoder of the source, and a decoder that attends to what it
 * made.
 */
export class MarianModel extends MarianPreTrainedModel {
  /** The one table of embeddings, if both sides share it. */
  readonly shared: Embedding | undefined;
  readonly encoder: MarianEncoder;
  readonly decoder: MarianDecoder;

  constructor(config: MarianConfig) {
    super(config);
    this.shared = config.shareEncoderDecoderEmbeddings ? tokens(config, config.vocabSize) : undefined;
    this.encoder = new MarianEncoder(config, this.shared ?? tokens(config, config.vocabSize));
    this.decoder = new MarianDecoder(config, this.shared ?? tokens(config, targetVocabulary(config)));
  }

  override forward(inputs: Seq2SeqInputs): Seq2SeqOutput {
    const { attentionMask, decoderInputIds, decoderAttentionMask, decoderPositionIds } = inputs;
    const { outputHiddenStates, outputAttentions } = inputs;
    if (!decoderInputIds)
      throw new Error('the decoder has no input; give decoderInputIds, or labels to a model with a head');
    const encoded = inputs.encoderOutputs ?? this.#encode(inputs);
    const decoded = this.decoder.forward({
      inputIds: decoderInputIds,
      attentionMask: decoderAttentionMask,
      positionIds: decoderPositionIds,
      encoderHiddenStates: encoded.lastHiddenState,
      encoderAttentionMask: attentionMask,
      outputHiddenStates,
      outputAttentions,
    });
    return { lastHiddenState: decoded.lastHiddenState, ...seq2seqInternals(encoded, decoded) };
  }

  #encode({ inputIds, attentionMask, outputHiddenStates, outputAttentions }: Seq2SeqInputs): EncoderOutput {
    if (!inputIds)
      throw new Error('the decoder has nothing to attend to; give inputIds, or encoderOutputs made before');
    return this.encoder.forward({ inputIds, attentionMask, outputHiddenStates, outputAttentions });
  }
}
