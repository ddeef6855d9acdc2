/** Linear layers whose weight is a product of two thin ones, of models whose config says so. */
import type { Tensor } from '../../autograd/index.ts';
import { brief, showText } from '../../common/printable.ts';
import type { ModelConfig } from '../config.ts';
import { Module } from '../module.ts';
import { Linear } from './linear.ts';

/** Where config.json has the ranks: `{ "encoder.layer.0.output.dense": 24 }`. */
const key = 'low_rank';

/**
 * (..., in) -> (..., out) by way of `rank` numbers: x @ down^T @ up^T + bias, with down.weight [rank, in],
 * up.weight [out, rank] and up.bias [out].
 */
export class LowRankLinear extends Module {
  readonly down: Linear;
  readonly up: Linear;

  constructor(inFeatures: number, outFeatures: number, rank: number, { bias = true } = {}) {
    super();
    this.down = new Linear(inFeatures, rank, { bias: false });
    this.up = new Linear(rank, outFeatures, { bias });
  }

  override forward(x: Tensor): Tensor {
    return this.up.forward(this.down.forward(x)); // (..., out)
  }
}

/** The ranks of layers by their names in the base model; empty where all are whole. */
export function ranksOf({ extra }: ModelConfig): Readonly<Record<string, number>> {
  return (extra[key] as Record<string, number> | undefined) ?? {};
}

/** The same config with other ranks. */
export function withRanks<C extends ModelConfig>(config: C, ranks: Readonly<Record<string, number>>): C {
  return Object.freeze({ ...config, extra: Object.freeze({ ...config.extra, [key]: ranks }) });
}

/**
 * A model of a class, with layers of low rank where its config asks for them: what makes models whose config
 * comes from a file or another model. Errors, each one line: a rank that is none, a name of no linear layer.
 */
export function modelOf<C extends ModelConfig, M extends Module>(kind: new (config: C) => M, config: C): M {
  const model = new kind(config);
  for (const [name, rank] of Object.entries(ranksOf(config))) replaceLayer(model, name, rank);
  return model;
}

function replaceLayer(model: Module, name: string, rank: number): void {
  const fail = (what: string): Error => new Error(`${key} of the config: ${showText(name)} ${what}`);
  // A head's model has its base's names behind a prefix.
  const found = model.namedModules().find(([path]) => path === name || path.endsWith(`.${name}`));
  if (!found) throw fail(`is no module of a ${model.constructor.name}`);
  const [, layer] = found;
  if (!(layer instanceof Linear)) throw fail(`is a ${layer.constructor.name}; only linear layers can have a rank`);
  const [out, into] = layer.weight.shape as [number, number];
  if (!Number.isInteger(rank) || rank < 1 || rank > Math.min(out, into))
    throw fail(`has rank ${brief(rank)}; of [${out}, ${into}] it is 1 to ${Math.min(out, into)}`);
  const thin = new LowRankLinear(into, out, rank, { bias: layer.bias !== undefined });
  for (const owner of model.modules())
    for (const [field, value] of Object.entries(owner))
      if (value === layer) (owner as unknown as Record<string, unknown>)[field] = thin;
}
