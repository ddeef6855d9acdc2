import { add, cast, dropout, embedding, isAutocasting, linear, matmul, mul, transpose } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Conv1D } from '../nn/conv1d.ts';
import { Embedding } from '../nn/embedding.ts';
import { normalInit, parameter, uniformInit, zerosInit } from '../parameter.ts';
import type { Initializer } from '../parameter.ts';
import type { LoraConfig } from './config.ts';
import type { LayerAdapter } from './layer-adapter.ts';
import { byPattern } from './targets.ts';
import type { Target } from './targets.ts';

/** One layer's low-rank matrices: A [r, in], B [out, r]; their product counts `scaling` times. */
export interface LoraLayer extends LayerAdapter {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly scaling: number;
}

/** Low-rank matrices for a layer, see `LoraConfig`. Of a table of embeddings, in is its number of rows. */
export function loraLayer(target: Target, config: LoraConfig): LoraLayer {
  const { path, layer } = target;
  if (config.useDora || config.initLoraWeights === 'pissa')
    throw new Error('adapter: useDora and initLoraWeights: "pissa" are not done here yet; leave them out');
  const r = byPattern(config.rankPattern, path, config.r);
  const alpha = byPattern(config.alphaPattern, path, config.loraAlpha);
  const scaling = alpha / (config.useRslora ? Math.sqrt(r) : r);
  const isTable = layer instanceof Embedding;
  const isTransposed = isTable || layer instanceof Conv1D; // weights [in, out]
  const [out, into] = isTransposed ? [layer.weight.shape[1]!, layer.weight.shape[0]!] : layer.weight.shape;
  const [aInit, bInit] = firstValues(config.initLoraWeights, r, into!, isTable);
  const a = parameter([r, into!], aInit);
  const b = parameter([out!, r], bInit);
  /** scaling * B A, as the layer's weight lies. */
  const delta = (): Tensor => {
    const product = mul(matmul(b, a), scaling);
    return isTransposed ? transpose(product) : product;
  };
  const drop = (x: Tensor): Tensor => dropout(x, config.loraDropout, { training: layer.training });
  const low: LayerAdapter['after'] = isTable
    ? (output, index) => {
        const rows = embedding(transpose(a), index, { paddingIdx: layer.paddingIdx }); // (..., r)
        return add(output, mul(as(output, linear(rows, b)), scaling));
      }
    : (output, x) => add(output, as(output, linear(mul(linear(as(a, drop(x)), a), scaling), b)));
  return {
    path,
    layer,
    a,
    b,
    scaling,
    parameters: isTable
      ? [
          ['lora_embedding_A', a],
          ['lora_embedding_B', b],
        ]
      : [
          ['lora_A.weight', a],
          ['lora_B.weight', b],
        ],
    after: low,
    merged: (name, before) => (name === 'weight' ? add(before, as(before, delta())) : undefined),
  };
}

/** x in the type of another tensor, unless `autocast` sees to types. */
const as = (like: Tensor, x: Tensor): Tensor => (x.dtype === like.dtype || isAutocasting() ? x : cast(x, like.dtype));

/** How A and B begin, as in PEFT. */
function firstValues(
  init: LoraConfig['initLoraWeights'],
  r: number,
  into: number,
  isTable: boolean,
): [a: Initializer, b: Initializer] {
  const even = (count: number): Initializer => uniformInit(1 / Math.sqrt(count));
  if (init === false) return isTable ? [normalInit(1), normalInit(1)] : [even(into), even(r)];
  if (isTable) return [zerosInit, normalInit(1)];
  return [init === 'gaussian' ? normalInit(1 / r) : even(into), zerosInit];
}
