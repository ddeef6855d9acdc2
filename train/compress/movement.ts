/** Weights set to zero by whether training moves them towards it: movement pruning (Sanh et al. 2020). */
import { assign, mul, noGrad, ones, sigmoid, sum, tensor, zeros } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Linear, MaskedLinear, nameInBase, withChangedLayers } from '../../models/index.ts';
import type { SequenceClassificationModel } from '../../models/index.ts';
import type { Objective } from '../classifier/fine-tune.ts';
import type { Callback } from '../trainer/callback.ts';
import { modulesWithWeights, rebuilt } from './smaller.ts';
import type { Shrinkable } from './smaller.ts';
import { checkChoice, masksByScore, sparsityAt } from './weights.ts';
import type { MaskChoice, Rows } from './weights.ts';

/** A score of 2.2 below 0 falls in some hundred steps of the rates at which small classifiers train. */
const scoreRate = 100;

/**
 * A copy of a model whose linear layers, embeddings and heads left out, learn which of their weights count:
 * see `MaskedLinear`. All of them count at first.
 *
 * Errors, each one line: GPT-2's layers, packed weights, layers that learn otherwise.
 *
 * @example
 * const config = { vocabSize: 50, hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = masked(BertForSequenceClassification.fromConfig(config));
 */
export function masked<M extends Shrinkable>(model: M): M {
  const state: Map<string, Tensor> = model.stateDict();
  const rates: Record<string, number> = {};
  for (const [name, layer] of modulesWithWeights('masked', model)) {
    if (layer.weight.quantized) throw new Error(`masked: ${name} is quantised; prune first, then quantise`);
    if (layer.constructor !== Linear)
      throw new Error(`masked: ${name} is a ${layer.constructor.name}; only plain linear layers learn which count`);
    const { shape, size } = layer.weight;
    state.set(`${name}.scores`, zeros([size]));
    state.set(`${name}.mask`, ones([...shape]));
    rates[nameInBase(model, name)] = scoreRate;
  }
  return noGrad(() => rebuilt(model, withChangedLayers(model.config, 'masked', rates), state));
}

/**
 * A copy with plain layers, whose weights are zero where the mask is.
 *
 * @example
 * const config = { vocabSize: 50, hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = withoutMasks(masked(BertForSequenceClassification.fromConfig(config)));
 */
export function withoutMasks<M extends Shrinkable>(model: M): M {
  const state: Map<string, Tensor> = model.stateDict();
  return noGrad(() => {
    for (const [name, layer] of maskedLayers(model)) {
      state.set(`${name}.weight`, mul(layer.weight, layer.mask));
      for (const part of ['scores', 'mask']) state.delete(`${name}.${part}`);
    }
    return rebuilt(model, withChangedLayers(model.config, 'masked', undefined), state);
  });
}

function maskedLayers(model: Shrinkable): [name: string, layer: MaskedLinear][] {
  const found = model.namedModules().filter((pair): pair is [string, MaskedLinear] => pair[1] instanceof MaskedLinear);
  if (found.length > 0) return found;
  throw new Error(
    `movementPruning: ${model.constructor.name} has no layer that learns which weights count; see masked`,
  );
}

export interface MovementSchedule extends MaskChoice {
  /**
   * Instead of a sparsity: weights go whose score falls below one limit for all, and this much of the mean
   * sigmoid of all scores is added to the loss. More of it takes out more weights.
   */
  readonly penalty?: number | undefined;
  /** Steps of the whole run. */
  readonly steps: number;
  /** Step after which weights no longer come and go; default three quarters of the steps. */
  readonly end?: number;
  /** Steps between two choices of weights; default 10. */
  readonly every?: number;
}

/** What the sigmoid of a score has to be above in the end, with a penalty; it is 0.5 at first. */
const finalLimit = 0.1;

export interface MovementPruning {
  readonly callback: Callback;
  /** The labels' loss and the penalty; undefined where there is none. */
  readonly objective: Objective | undefined;
}

/**
 * Prunes a model of `masked` while it trains. Hard: the share of the weights with the lowest scores goes, by
 * the cubic schedule of `gradualPruning`. Soft, with a penalty: those go whose sigmoid is at most a limit,
 * which rises to 0.1 as the penalty rises to its own, by the same schedule.
 *
 * @example
 * const config = { vocabSize: 50, hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = masked(BertForSequenceClassification.fromConfig(config));
 * const { callback } = movementPruning(model, { sparsity: 0.5, scope: 'layer', steps: 100 });
 */
export function movementPruning(model: SequenceClassificationModel, schedule: MovementSchedule): MovementPruning {
  const { steps, sparsity, penalty, every = 10 } = schedule;
  const layers = maskedLayers(model);
  if (penalty === undefined)
    checkChoice(
      schedule,
      layers.map(([name, layer]) => [name, layer.weight.shape[1]!] as const),
    );
  else if (!(penalty > 0 && Number.isFinite(penalty)))
    throw new Error(`movementPruning: a penalty of ${penalty} is asked for; give a number above 0`);
  const end = Math.max(1, schedule.end ?? Math.floor((3 * steps) / 4));
  const weight = tensor(0).keep();

  const choose = async (step: number): Promise<void> => {
    const scores = new Map<string, Rows>();
    for (const [name, { scores: own, weight, rate }] of layers) {
      const values = Float32Array.from(await own.data(), (s) => rate * Number(s));
      scores.set(name, { values, width: weight.shape[1]! });
    }
    const share = sparsityAt(step, 1, end);
    const masks =
      penalty === undefined
        ? masksByScore(scores, { ...schedule, sparsity: sparsityAt(step, sparsity, end) })
        : new Map([...scores].map(([name, { values }]) => [name, softMask(values, finalLimit * share)] as const));
    noGrad(() => {
      for (const [name, { mask }] of layers) assign(mask, tensor(masks.get(name)!, { shape: [...mask.shape] }));
      if (penalty !== undefined) assign(weight, tensor(penalty * share));
    });
  };
  return {
    callback: {
      // The penalty of a run that goes on is where it was; its masks were saved.
      onStart: (step) => {
        if (penalty === undefined || step === 0) return;
        const last = Math.min(step === end ? end : step - (step % every), end);
        noGrad(() => assign(weight, tensor(penalty * sparsityAt(last, 1, end))));
      },
      onStep: ({ step }) => (step <= end && (step % every === 0 || step === end) ? choose(step) : undefined),
    },
    objective: penalty === undefined ? undefined : penalised(model, layers, weight),
  };
}

const softMask = (scores: Float32Array, limit: number): Float32Array =>
  scores.map((score) => Number(1 / (1 + Math.exp(-score)) > limit));

/** The labels' loss, and `weight` times the mean sigmoid of all scores. */
function penalised(
  model: SequenceClassificationModel,
  layers: readonly (readonly [string, MaskedLinear])[],
  weight: Tensor,
): Objective {
  const size = layers.reduce((all, [, { scores }]) => all + scores.size, 0);
  return {
    parts: ['labels', 'penalty'],
    lossLabel: 'loss with the penalty of scores',
    arrays: () => ({}),
    losses(inputs, labels) {
      const sums = layers.map(([, layer]) => sum(sigmoid(layer.multipliedScores())));
      const total = sums.reduce((a, b) => a.add(b));
      return { labels: model.forward({ ...inputs, labels }).loss!, penalty: total.mul(weight).div(size) };
    },
    identity: { objective: 'movement' },
  };
}
