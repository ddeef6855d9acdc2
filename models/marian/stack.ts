import { add, mul } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { checkShape, checkTokenInputs } from '../inputs.ts';
import type { TokenInputs } from '../inputs.ts';
import { Module } from '../module.ts';
import { additiveMask } from '../nn/attention-mask.ts';
import { Dropout } from '../nn/dropout.ts';
import type { Embedding } from '../nn/embedding.ts';
import type { KeyValueCache } from '../nn/kv-cache.ts';
import { SinusoidalPositions } from '../nn/sinusoidal.ts';
import type { DecoderOutput, EncoderOutput } from '../outputs.ts';
import type { MarianConfig } from './config.ts';
import { MarianDecoderLayer, MarianEncoderLayer } from './layer.ts';
import type { DecoderAttended } from './layer.ts';

/** What encoder and decoder share: embeddings, and a walk through layers. */
abstract class MarianStack extends Module {
  readonly embedTokens: Embedding;
  readonly embedPositions: SinusoidalPositions;
  readonly dropout: Dropout;
  /** What token embeddings are multiplied by. */
  readonly scale: number;

  constructor(config: MarianConfig, embedTokens: Embedding) {
    super();
    this.embedTokens = embedTokens;
    this.embedPositions = new SinusoidalPositions(config.maxPositionEmbeddings, config.dModel);
    this.dropout = new Dropout(config.dropout);
    this.scale = config.scaleEmbedding ? Math.sqrt(config.dModel) : 1;
  }

  /** The sum of the embeddings of token and position, (B, T, D), and the mask added to scores. */
  protected embed(inputs: TokenInputs): { x: Tensor; mask: Tensor | undefined } {
    const { inputIds, positionIds, attentionMask } = inputs;
    const [vocabSize, positions] = [this.embedTokens.weight.shape[0]!, this.embedPositions.table.shape[0]!];
    checkTokenInputs(inputs, { vocabSize, positions });
    const words = this.embedTokens.forward(inputIds); // (B, T, D)
    const places = this.embedPositions.forward(inputIds.shape[1]!, positionIds); // (T, D) or (B, T, D)
    const x = this.dropout.forward(add(this.scale === 1 ? words : mul(words, this.scale), places));
    return { x, mask: attentionMask && additiveMask(attentionMask, x.dtype) };
  }

  /** Applies each layer, keeping what was asked for. */
  protected walk<L>(
    x: Tensor,
    layers: readonly L[],
    { outputHiddenStates = false, outputAttentions = false }: TokenInputs,
    apply: (layer: L, x: Tensor, outputWeights: boolean) => DecoderAttended,
  ): DecoderOutput {
    const states = [x]; // (B, T, D) each
    const made: DecoderAttended[] = [];
    for (const layer of layers) {
      const output = apply(layer, x, outputAttentions);
      x = output.hidden; // (B, T, D)
      if (outputHiddenStates) states.push(x);
      if (outputAttentions) made.push(output);
    }
    const cross = made.flatMap(({ crossWeights }) => crossWeights ?? []);
    return {
      lastHiddenState: x,
      ...(outputHiddenStates ? { hiddenStates: states } : {}),
      ...(outputAttentions ? { attentions: made.map(({ weights }) => weights!) } : {}),
      ...(cross.length > 0 ? { crossAttentions: cross } : {}),
    };
  }
}

/** The source's tokens to one vector for each. */
export class MarianEncoder extends MarianStack {
  readonly layers: readonly MarianEncoderLayer[];

  constructor(config: MarianConfig, embedTokens: Embedding) {
    super(config, embedTokens);
    this.layers = Array.from({ length: config.encoderLayers }, () => new MarianEncoderLayer(config));
  }

  override forward(inputs: TokenInputs): EncoderOutput {
    const { x, mask } = this.embed(inputs);
    return this.walk(x, this.layers, inputs, (layer, y, weights) => layer.forward(y, mask, weights));
  }
}

export interface MarianDecoderInputs extends TokenInputs {
  /** What the encoder made of the source, (B, S, D). */
  readonly encoderHiddenStates: Tensor;
  /** Which of its tokens to attend to, [B, S] or [B, T, S]. Default: all. */
  readonly encoderAttentionMask?: Tensor;
}

/**
 * The target's tokens to one vector for each, which knows of the whole source, that token and those before
 * it.
 */
export class MarianDecoder extends MarianStack {
  readonly layers: readonly MarianDecoderLayer[];

  constructor(config: MarianConfig, embedTokens: Embedding) {
    super(config, embedTokens);
    this.layers = Array.from({ length: config.decoderLayers }, () => new MarianDecoderLayer(config));
  }

  override forward(inputs: MarianDecoderInputs): DecoderOutput {
    const { encoderHiddenStates: source, encoderAttentionMask } = inputs;
    const { x, mask } = this.embed(inputs);
    const [batch, length, dim] = x.shape as [number, number, number];
    checkShape('encoderHiddenStates', source, [[batch, source.shape[1] ?? 0, dim]]);
    const sourceLength = source.shape[1]!;
    checkShape('encoderAttentionMask', encoderAttentionMask, [
      [batch, sourceLength],
      [batch, length, sourceLength],
    ]);
    const sourceMask = encoderAttentionMask && additiveMask(encoderAttentionMask, x.dtype); // (B, 1, 1 or T, S)
    return this.walk(x, this.layers, inputs, (layer, y, outputWeights) =>
      layer.forward(y, source, { mask, sourceMask, outputWeights }),
    );
  }

  /**
   * Keys and values of what the encoder made of the source (B, S, D), for every layer: once for all tokens of
   * the target.
   */
  readSource(source: Tensor, cache: KeyValueCache): void {
    this.layers.forEach(({ encoderAttn }, i) => {
      const { k, v } = encoderAttn.keysAndValues(source);
      cache.source.write(i, k, v);
    });
  }

  /** Tokens (B, T) after those of a cache, which has read the source -> (B, T, D). */
  continueFrom(cache: KeyValueCache, inputIds: Tensor): Tensor {
    const { x } = this.embed({ inputIds, positionIds: cache.positions(inputIds.shape[1]!) });
    return this.layers.reduce((y, layer, i) => layer.continueFrom(cache.layer(i), y), x);
  }
}
