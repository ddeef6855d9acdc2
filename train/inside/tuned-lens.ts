// The tuned lens: what each layer would say, once its state is put into the last layer's words.
import { add, compile, grad, klDiv, logSoftmax, noGrad, reshape, scope, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import { evalMode, Linear, Module, ModuleList, zerosInit } from '../../models/index.ts';
import { chunks } from '../../models/pipelines/rows.ts';
import { AdamW, LinearLR } from '../optim/index.ts';
import { logitsOfState, residualsOf } from './lens.ts';
import type { LanguageModel, Translator } from './lens.ts';
import { readModule } from './module-file.ts';

/**
 * An affine map for the embeddings and for each layer but the last: h + W h + b, at first h itself, as in the
 * paper's library.
 *
 * @example
 * new TunedLens(4, 8).translate(0, ones(1, 8)); // [[1, 1, 1, 1, 1, 1, 1, 1]]
 */
export class TunedLens extends Module implements Translator {
  readonly layers: ModuleList<Linear>;

  constructor(layers: number, width: number) {
    super();
    const options = { weightInit: zerosInit, biasInit: zerosInit };
    this.layers = new ModuleList(Array.from({ length: layers }, () => new Linear(width, width, options)));
  }

  /** The state (B, T, D) of `embeddings`, 0, of `layer 0`, 1, and so on, for the last norm and head. */
  translate(layer: number, state: Tensor): Tensor {
    return add(state, this.layers.at(layer).forward(state));
  }

  /** One for a model, with nothing learnt yet: the logit lens. */
  static for(model: LanguageModel): TunedLens {
    using _ = scope();
    const { states } = residualsOf(model, { inputIds: tensor(Int32Array.of(0), { shape: [1, 1] }) });
    return new TunedLens(states.length - 1, states[0]!.shape[2]!);
  }

  /** Reads what `saveModule` wrote. Error, one line: a file for another model. */
  static async load(path: string, model: LanguageModel): Promise<TunedLens> {
    const lens = TunedLens.for(model);
    await readModule(path, lens);
    return lens;
  }
}

export interface TunedLensOptions {
  /** Default 400. */
  readonly steps?: number;
  /** Rows of a step; default 8. */
  readonly batchSize?: number;
  /** Of AdamW, falling linearly to 0. Default 2e-3. */
  readonly lr?: number;
  /** Of the order of rows; default 0. */
  readonly seed?: number;
  /** Told the mean divergence of all layers, in nats a token. */
  readonly onProgress?: (step: number, steps: number, divergence: number) => void;
}

const rowsTensor = (rows: readonly Int32Array[]): Tensor =>
  tensor(Int32Array.from(rows.flatMap((row) => [...row])), { shape: [rows.length, rows[0]!.length] });

/**
 * KL(model || what a layer says) of each layer but the last, a mean over the tokens, in nats: `each` gets
 * them one by one, for their graphs need not be there together.
 */
function divergences(
  model: LanguageModel,
  lens: TunedLens,
  inputIds: Tensor,
  each: (divergence: Tensor, layer: number) => void,
): Tensor[] {
  const inputs = { inputIds };
  const { names, states, logits } = residualsOf(model, inputs);
  const flat = (x: Tensor): Tensor => reshape(logSoftmax(x), [-1, x.shape.at(-1)!]); // (B T, V)
  const said = noGrad(() => flat(logits));
  return states.slice(0, -1).map((state, layer) => {
    const own = flat(logitsOfState(model, inputs, names.at(-1)!, lens.translate(layer, state)));
    const divergence = klDiv(own, said, { logTarget: true, reduction: 'batchMean' });
    each(divergence, layer);
    return divergence.detach();
  });
}

/**
 * Trains a lens to say at each layer what the model says in the end, by the divergence from it (Belrose et
 * al. 2023). Rows are of one length, tokens of texts like those to be looked at; the model is not changed.
 * Errors, each one line: no rows; a model without logits for each token.
 *
 * @example
 * const model = GPT2LMHeadModel.fromConfig({ vocabSize: 50, nEmbd: 8, nLayer: 2, nHead: 2 });
 * const lens = await trainTunedLens(model, [Int32Array.of(2, 7, 3)], { steps: 2 });
 */
export async function trainTunedLens(
  model: LanguageModel,
  rows: readonly Int32Array[],
  { steps = 400, batchSize = 8, lr = 2e-3, seed = 0, onProgress }: TunedLensOptions = {},
): Promise<TunedLens> {
  if (rows.length === 0) throw new Error('trainTunedLens: there are no rows to learn from; give texts');
  using _mode = evalMode(model);
  const lens = TunedLens.for(model);
  const optimizer = new AdamW(lens.parameters(), { lr, weightDecay: 0 });
  const scheduler = new LinearLR(optimizer, { startFactor: 1, endFactor: 0.01, totalIters: steps });
  const step = compile(
    (inputIds: Tensor) => {
      const losses = divergences(model, lens, inputIds, (divergence, layer) => {
        // Of the lens alone: the model's own weights get no gradients.
        const own = lens.layers.at(layer).parameters();
        grad(divergence, own).forEach((gradient, i) => (own[i]!.grad = gradient));
      });
      optimizer.step();
      optimizer.zeroGrad();
      return losses.reduce((a, b) => add(a, b)).div(losses.length);
    },
    { name: 'tuned lens', log: () => undefined },
  );
  const random = new Random(seed);
  for (let i = 0; i < steps; i++) {
    using _ = scope();
    const batch = Array.from({ length: batchSize }, () => rows[random.int(rows.length)]!);
    const loss = step(rowsTensor(batch));
    scheduler.step();
    if (onProgress && (i % 20 === 19 || i === steps - 1)) onProgress(i + 1, steps, await loss.item());
  }
  return lens;
}

/**
 * How far each layer's words are from the model's: KL in nats a token, by layer; 0 of the last one.
 *
 * @example
 * const model = GPT2LMHeadModel.fromConfig({ vocabSize: 50, nEmbd: 8, nLayer: 2, nHead: 2 });
 * const divergences = await lensDivergences(model, [Int32Array.of(2, 7, 3)]);
 */
export async function lensDivergences(
  model: LanguageModel,
  rows: readonly Int32Array[],
  lens: TunedLens = TunedLens.for(model),
  batchSize = 8,
): Promise<number[]> {
  if (rows.length === 0) throw new Error('lensDivergences: there are no rows to test on; give texts');
  using _mode = evalMode(model);
  const read = compile((inputIds: Tensor) => noGrad(() => divergences(model, lens, inputIds, () => undefined)), {
    name: 'lens divergences',
    log: () => undefined,
  });
  const sums = new Float64Array(lens.layers.length);
  for (const batch of chunks(rows, batchSize)) {
    using _ = scope();
    for (const [layer, divergence] of read(rowsTensor(batch)).entries())
      sums[layer]! += ((await divergence.item()) * batch.length) / rows.length;
  }
  return [...sums, 0];
}
