import { add } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { activations } from './activation.ts';
import type { ActivationName } from './activation.ts';
import { additiveMask } from './attend.ts';
import { MultiheadAttention } from './attention.ts';
import { Dropout } from './dropout.ts';
import { Linear } from './linear.ts';
import { LayerNorm } from './norm.ts';

export interface TransformerEncoderOptions {
  readonly dim: number;
  readonly numHeads: number;
  /** Units of the feed-forward layers; default 4 x dim. */
  readonly feedForwardDim?: number;
  readonly activation?: ActivationName;
  readonly dropout?: number;
  /** Normalise before each part (pre-LN) instead of after it (post-LN, the default). */
  readonly normFirst?: boolean;
  readonly eps?: number;
}

/**
 * Self-attention and a feed-forward layer, each with a residual: keys and arithmetic of PyTorch's
 * nn.TransformerEncoderLayer.
 *
 * @example
 * new TransformerEncoderLayer({ dim: 16, numHeads: 2 }).forward(randn(1, 5, 16)).shape; // [1, 5, 16]
 */
export class TransformerEncoderLayer extends Module {
  readonly selfAttn: MultiheadAttention;
  readonly linear1: Linear;
  readonly linear2: Linear;
  readonly norm1: LayerNorm;
  readonly norm2: LayerNorm;
  readonly dropout: Dropout;
  readonly activation: ActivationName;
  readonly normFirst: boolean;

  constructor(options: TransformerEncoderOptions) {
    super();
    const {
      dim,
      numHeads,
      feedForwardDim = 4 * dim,
      activation = 'relu',
      dropout = 0.1,
      normFirst = false,
      eps = 1e-5,
    } = options;
    this.selfAttn = new MultiheadAttention(dim, numHeads, { dropout });
    this.linear1 = new Linear(dim, feedForwardDim);
    this.linear2 = new Linear(feedForwardDim, dim);
    this.norm1 = new LayerNorm(dim, { eps });
    this.norm2 = new LayerNorm(dim, { eps });
    this.dropout = new Dropout(dropout);
    this.activation = activation;
    this.normFirst = normFirst;
  }

  /** x (B, T, D) -> (B, T, D); the mask broadcasts to [B, H, T, T]. */
  override forward(x: Tensor, { mask, causal }: { readonly mask?: Tensor; readonly causal?: boolean } = {}): Tensor {
    const attend = (y: Tensor): Tensor => this.dropout.forward(this.selfAttn.forward(y, { mask, causal })); // (B, T, D)
    if (this.normFirst) {
      const y = add(x, attend(this.norm1.forward(x)));
      return add(y, this.#feedForward(this.norm2.forward(y)));
    }
    const y = this.norm1.forward(add(x, attend(x)));
    return this.norm2.forward(add(y, this.#feedForward(y)));
  }

  #feedForward(x: Tensor): Tensor {
    const hidden = this.dropout.forward(activations[this.activation](this.linear1.forward(x))); // (B, T, F)
    return this.dropout.forward(this.linear2.forward(hidden)); // (B, T, D)
  }
}

/**
 * A stack of encoder layers (Vaswani et al. 2017): keys of PyTorch's nn.TransformerEncoder. Pre-LN stacks end
 * in a normalisation.
 *
 * @example
 * const encoder = new TransformerEncoder({ numLayers: 2, dim: 16, numHeads: 2 });
 * encoder.forward(randn(1, 5, 16), { causal: true }).shape; // [1, 5, 16]
 */
export class TransformerEncoder extends Module {
  readonly layers: readonly TransformerEncoderLayer[];
  readonly norm: LayerNorm | undefined;

  constructor(options: TransformerEncoderOptions & { readonly numLayers: number }) {
    super();
    this.layers = Array.from({ length: options.numLayers }, () => new TransformerEncoderLayer(options));
    this.norm = options.normFirst ? new LayerNorm(options.dim, { eps: options.eps }) : undefined;
  }

  /** x (B, T, D) -> (B, T, D); attentionMask [B, T] or [B, T, T], true or nonzero: attend. */
  override forward(
    x: Tensor,
    { attentionMask, causal }: { readonly attentionMask?: Tensor; readonly causal?: boolean } = {},
  ): Tensor {
    const mask = attentionMask && additiveMask(attentionMask, x.dtype); // (B, 1, T or 1, T)
    for (const layer of this.layers) x = layer.forward(x, { mask, causal });
    return this.norm ? this.norm.forward(x) : x;
  }
}
