/**
 * Linear layers that are of another make than their model's class says, because its config does: config.json
 * has `low_rank`, `{ "encoder.layer.0.output.dense": 24 }`, `grouped`, `{ ...: 4 }`, `masked`, `{ ...:
 * 100 }`, and `fake_quantized`, `{ ...: 4 }`.
 */
import { brief, showText } from '../../common/printable.ts';
import type { ModelConfig } from '../config.ts';
import type { Module } from '../module.ts';
import { FakeQuantizedLinear } from './fake-quantized.ts';
import { GroupedLinear } from './grouped-linear.ts';
import { Linear } from './linear.ts';
import { LowRankLinear } from './low-rank.ts';
import { MaskedLinear } from './masked.ts';

/** A way to change a layer [out, in], by a number; undefined where none of `numbers` is given. */
interface Change {
  readonly make: (layer: Linear, out: number, into: number, number: number) => Module | undefined;
  readonly numbers: (out: number, into: number) => string;
}

/** By the key of config.json; those of a later one may name parts of layers of an earlier one. */
const changes = {
  low_rank: {
    make: ({ bias }, out, into, rank) =>
      Number.isInteger(rank) && rank >= 1 && rank <= Math.min(out, into)
        ? new LowRankLinear(into, out, rank, { bias: bias !== undefined })
        : undefined,
    numbers: (out, into) => `1 to ${Math.min(out, into)}`,
  },
  grouped: {
    make: ({ bias }, out, into, groups) =>
      Number.isInteger(groups) && groups >= 2 && out % groups === 0 && into % groups === 0
        ? new GroupedLinear(into, out, groups, { bias: bias !== undefined })
        : undefined,
    numbers: () => 'a whole number from 2 up that divides both',
  },
  masked: {
    make: ({ bias }, out, into, rate) =>
      rate > 0 && Number.isFinite(rate) ? new MaskedLinear(into, out, rate, { bias: bias !== undefined }) : undefined,
    numbers: () => 'a number above 0',
  },
  fake_quantized: {
    make: ({ bias }, out, into, bits) =>
      bits === 4 || bits === 8 ? new FakeQuantizedLinear(into, out, bits, { bias: bias !== undefined }) : undefined,
    numbers: () => '4 or 8',
  },
} as const satisfies Readonly<Record<string, Change>>;
export type ChangeKey = keyof typeof changes;

/** The numbers of changed layers by their names in the base model; empty where there are none. */
export function changedLayers({ extra }: ModelConfig, key: ChangeKey): Readonly<Record<string, number>> {
  return (extra[key] as Record<string, number> | undefined) ?? {};
}

/** The same config with other changed layers; undefined: none. */
export function withChangedLayers<C extends ModelConfig>(
  config: C,
  key: ChangeKey,
  numbers: Readonly<Record<string, number>> | undefined,
): C {
  const { [key]: _, ...others } = config.extra;
  return Object.freeze({ ...config, extra: Object.freeze(numbers ? { ...others, [key]: numbers } : others) });
}

/** The name of a module of a model as its base model has it. */
export function nameInBase(model: Module, name: string): string {
  const { keyRules } = model.constructor as unknown as { readonly keyRules?: { readonly baseModelPrefix: string } };
  const prefix = `${keyRules?.baseModelPrefix}.`;
  return name.startsWith(prefix) ? name.slice(prefix.length) : name;
}

/**
 * A model of a class, with the layers that its config asks for: what makes models whose config comes from a
 * file or another model. Errors, each one line: a number that makes no sense, a name of no linear layer.
 */
export function modelOf<C extends ModelConfig, M extends Module>(kind: new (config: C) => M, config: C): M {
  const model = new kind(config);
  for (const key of Object.keys(changes) as ChangeKey[])
    for (const [name, number] of Object.entries(changedLayers(config, key))) changeLayer(model, key, name, number);
  return model;
}

function changeLayer(model: Module, key: ChangeKey, name: string, number: number): void {
  const fail = (what: string): Error => new Error(`${key} of the config: ${showText(name)} ${what}`);
  // A head's model has its base's names behind a prefix.
  const found = model.namedModules().find(([path]) => path === name || path.endsWith(`.${name}`));
  if (!found) throw fail(`is no module of a ${model.constructor.name}`);
  const [, layer] = found;
  if (!(layer instanceof Linear)) throw fail(`is a ${layer.constructor.name}; only linear layers can be changed so`);
  const [out, into] = layer.weight.shape as [number, number];
  const change: Change = changes[key];
  const made = change.make(layer, out, into, number);
  if (!made) throw fail(`has ${brief(number)}; of [${out}, ${into}] it is ${change.numbers(out, into)}`);
  for (const owner of model.modules())
    for (const [field, value] of Object.entries(owner))
      if (value === layer) (owner as unknown as Record<string, unknown>)[field] = made;
}
