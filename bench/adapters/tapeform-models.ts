import { add, crossEntropy, linear, noGrad, relu, reshape, slice, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { BertConfig, BertModel } from '../../models/families.ts';
import { Module } from '../../models/module.ts';
import { Embedding } from '../../models/nn/embedding.ts';
import { Linear } from '../../models/nn/linear.ts';
import { TransformerEncoder } from '../../models/nn/index.ts';
import { AdamW, SGD } from '../../train/optim/index.ts';
import type { HostArrays } from '../rows/data.ts';
import { bertSizes, gptSizes, mlpSizes } from '../rows/models.ts';
import type { Row, Training } from '../rows/row.ts';

class Mlp extends Module {
  static override readonly keys = { first: '0', second: '2' };
  readonly first: Linear;
  readonly second: Linear;

  constructor([into, hidden, classes]: readonly [number, number, number]) {
    super();
    this.first = new Linear(into, hidden);
    this.second = new Linear(hidden, classes);
  }

  override forward(x: Tensor): Tensor {
    return this.second.forward(relu(this.first.forward(x))); // (B, C)
  }
}

class SmallGpt extends Module {
  readonly token: Embedding;
  readonly position: Embedding;
  readonly encoder: TransformerEncoder;

  constructor({ layers, width, heads, tokens, vocabulary }: typeof gptSizes) {
    super();
    this.token = new Embedding(vocabulary, width);
    this.position = new Embedding(tokens, width);
    this.encoder = new TransformerEncoder({
      dim: width,
      numHeads: heads,
      numLayers: layers,
      activation: 'gelu_new',
      dropout: 0,
      normFirst: true,
    });
  }

  /** ids (B, T) -> logits (B, T, V). */
  override forward(ids: Tensor): Tensor {
    const positions = slice(this.position.weight, [0, ids.shape[1]!]); // (T, D)
    const x = this.encoder.forward(add(this.token.forward(ids), positions), { causal: true }); // (B, T, D)
    return linear(x, this.token.weight);
  }
}

function load<M extends Module>(module: M, weights: HostArrays): M {
  const state = Object.entries(weights).map(([name, { shape, data }]) => [name, tensor(data, { shape })] as const);
  module.loadStateDict(new Map(state));
  return module;
}

/** Loss and update of one batch, as a training loop has it. */
function trainer(
  model: Module & { forward(x: Tensor): Tensor },
  { optimizer: name, lr }: Training,
): (x: Tensor, labels: Tensor) => Tensor {
  const parameters = model.parameters();
  const optimizer = name === 'sgd' ? new SGD(parameters, { lr }) : new AdamW(parameters, { lr, weightDecay: 0 });
  return (x, labels) => {
    const logits = model.forward(x);
    const loss = crossEntropy(reshape(logits, [-1, logits.shape.at(-1)!]), reshape(labels, [-1]));
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    return loss.detach();
  };
}

/** Our own classes for the rows with a model: a training step (x, labels) -> loss, or a forward pass. */
export function modelRun(
  model: NonNullable<Row['model']>,
  weights: HostArrays,
  training: Training | undefined,
): (...inputs: Tensor[]) => Tensor {
  if (model === 'bert') {
    const { layers, width, heads, hidden, tokens, vocabulary, eps } = bertSizes;
    const config = BertConfig.create({
      vocabSize: vocabulary,
      hiddenSize: width,
      numHiddenLayers: layers,
      numAttentionHeads: heads,
      intermediateSize: hidden,
      maxPositionEmbeddings: tokens,
      padTokenId: null,
      layerNormEps: eps,
    });
    const bert = load(new BertModel(config, { addPoolingLayer: false }), weights).eval();
    return (inputIds) => noGrad(() => bert.forward({ inputIds: inputIds! }).lastHiddenState);
  }
  const module = load(model === 'mlp' ? new Mlp(mlpSizes.sizes) : new SmallGpt(gptSizes), weights).train();
  const step = trainer(module, training!);
  return (x, labels) => step(x!, labels!);
}
