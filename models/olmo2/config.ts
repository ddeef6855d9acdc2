import { decoderShape, defineDecoderConfig, extraShape, kinds } from '../transformer/decoder-config.ts';

const { size, token, ends, epsilon } = kinds;

/** Settings of OLMo 2, with Transformers' defaults. */
export const Olmo2Config = defineDecoderConfig('olmo2', {
  ...decoderShape,
  attentionBias: extraShape.attentionBias,
  vocabSize: size.default(50304),
  rmsNormEps: epsilon.default(1e-5),
  padTokenId: token.default(1),
  bosTokenId: token.default(null),
  eosTokenId: ends.default(50279),
});

export type Olmo2Config = ReturnType<typeof Olmo2Config.create>;
