import { noGrad, scope } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { Module } from '../../models/index.ts';
import { baseOf } from './output.ts';
import type { LabelledBatch } from './output.ts';

/** The attention weights of one row. */
export interface AttentionWeights {
  readonly layers: number;
  readonly heads: number;
  readonly tokens: number;
  /** [layers][heads][tokens][tokens], row-major: how much each token (third) attends to each (last). */
  readonly weights: Float32Array;
}

/** Sizes of a model's attention; error, one line: it has none, or layers with different numbers of heads. */
function sizesOf(
  model: Module,
  attentions: readonly Tensor[] | undefined,
): { readonly layers: number; readonly heads: number } {
  const heads = new Set((attentions ?? []).map(({ shape }) => shape[1]!));
  if (heads.size === 0)
    throw new Error(
      `explain: a ${baseOf(model).constructor.name} gives no attention weights, which this method is made of; use ` +
        'integrated-gradients, occlusion or one of the shap methods',
    );
  if (heads.size > 1)
    throw new Error(
      `explain: the layers have ${[...heads].join(', ')} heads; attention is shown where all have the same number`,
    );
  return { layers: attentions!.length, heads: [...heads][0]! };
}

/** The attention weights of a batch of one, its padding left out. */
export async function attentionOf(model: Module, batch: LabelledBatch, tokens: number): Promise<AttentionWeights> {
  using _ = scope();
  const { place: _place, label: _label, foil: _foil, ...inputs } = batch;
  const output = noGrad(() => baseOf(model).forward({ ...inputs, outputAttentions: true } as never)) as {
    readonly attentions?: readonly Tensor[];
  };
  const { layers, heads } = sizesOf(model, output.attentions);
  const weights = new Float32Array(layers * heads * tokens * tokens);
  for (const [layer, attention] of output.attentions!.entries()) {
    const width = attention.shape[3]!;
    const data = await attention.data();
    for (let head = 0; head < heads; head++)
      for (let from = 0; from < tokens; from++)
        for (let to = 0; to < tokens; to++)
          weights[((layer * heads + head) * tokens + from) * tokens + to] = data[(head * width + from) * width + to]!;
  }
  const layerOf = (index: number): number => Math.floor(index / (heads * tokens * tokens));
  const bad = weights.findIndex((x) => !Number.isFinite(x));
  if (bad >= 0)
    throw new Error(`explain: attention weights of layer ${layerOf(bad)} are not finite; look at the model's weights`);
  return { layers, heads, tokens, weights };
}
