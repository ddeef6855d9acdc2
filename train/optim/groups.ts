import type { Tensor } from '../../autograd/index.ts';

/** Parameters that share options; what a group leaves out is taken from the optimizer's defaults. */
export type ParameterGroup<Options> = Partial<Options> & {
  readonly params: Iterable<Tensor>;
  /** Learning rate that schedules multiply; default `lr`. */
  readonly initialLr?: number;
};

/**
 * One of an optimizer's groups. Every option can be changed at any time, outside of compiled functions, and
 * holds from the next step on, in replayed steps too: `optimizer.paramGroups[1].weightDecay = 0`.
 */
export type ParamGroup<Options> = { -readonly [K in keyof Options]: Options[K] } & {
  readonly params: readonly Tensor[];
  /** Learning rate that schedules multiply. Setting `lr` changes it in proportion. */
  initialLr: number;
};

/** Values that an option may have: from `min` on, below `below`. */
export interface Range {
  readonly min?: number;
  readonly below?: number;
}

const decay: Range = { below: 1 };
/** Options that are not just numbers from 0 on, in every optimizer that has them. */
const ranges: Readonly<Record<string, Range>> = { betas: decay, ema: decay };

/** Throws RangeError, with the option's name, for one that is out of its range. */
export function checkOptions(
  name: string,
  options: Readonly<Record<string, unknown>>,
  own: Readonly<Record<string, Range>> = {},
): void {
  for (const [key, value] of Object.entries(options)) {
    if (typeof value === 'boolean' || value === undefined) continue;
    const { min = 0, below = Infinity } = own[key] ?? ranges[key] ?? {};
    const range = below === Infinity ? `a finite number from ${min} on` : `from ${min} to below ${below}`;
    for (const [i, number] of (Array.isArray(value) ? value : [value]).entries()) {
      if (typeof number === 'number' && number >= min && number < below) continue;
      const place = Array.isArray(value) ? `${key}[${i}]` : key;
      throw new RangeError(`${name}: ${place} must be ${range}, got ${String(number)}`);
    }
  }
}

/** A list of parameters, or of groups, as groups. */
export function asGroups<Options>(
  name: string,
  params: Iterable<Tensor> | readonly ParameterGroup<Options>[],
): readonly ParameterGroup<Options>[] {
  const list = [...(params as Iterable<Tensor | ParameterGroup<Options>>)];
  if (list.some((x) => !('params' in x) && 'parameters' in x))
    throw new Error(`${name}: a group's parameters are named params, as in PyTorch: { params: [...], lr: 0.1 }`);
  const isGroup = (x: Tensor | ParameterGroup<Options>): x is ParameterGroup<Options> => 'params' in x;
  if (list.length > 0 && list.every(isGroup)) return list;
  return [{ params: list as Tensor[] } as unknown as ParameterGroup<Options>];
}

/**
 * The group that users see of its `options`: what is set is checked first, and `changed` is called after.
 * A list, such as betas, is frozen: it is replaced as a whole.
 */
export function groupOf<Options extends { lr: number }>(
  params: readonly Tensor[],
  options: Options & { initialLr: number },
  check: (options: Options) => void,
  changed: () => void,
): ParamGroup<Options> {
  const group = { params: Object.freeze([...params]) };
  for (const key of Object.keys(options) as (keyof typeof options & string)[]) {
    Object.defineProperty(group, key, {
      enumerable: true,
      get: () => options[key],
      set: (value: (typeof options)[typeof key]) => {
        const next = { ...options, [key]: Array.isArray(value) ? Object.freeze([...(value as unknown[])]) : value };
        if (key === 'lr') next.initialLr = options.lr > 0 ? options.initialLr * (next.lr / options.lr) : next.lr;
        check(next);
        Object.assign(options, next);
        changed();
      },
    });
  }
  return Object.preventExtensions(group) as ParamGroup<Options>;
}

/**
 * Parameters in two groups: with weight decay, and (biases, and the weights of norms, told by having one
 * axis) without, the usual practice for BERT.
 */
export function decayGroups(
  parameters: Iterable<readonly [name: string, parameter: Tensor]>,
  weightDecay: number,
): { params: Tensor[]; weightDecay: number }[] {
  const trained = [...parameters].filter(([, x]) => x.requiresGrad);
  const decays = ([name, x]: readonly [string, Tensor]): boolean => x.ndim > 1 && !/bias$|LayerNorm/.test(name);
  const groups = [
    { params: trained.filter(decays).map(([, x]) => x), weightDecay },
    { params: trained.filter((entry) => !decays(entry)).map(([, x]) => x), weightDecay: 0 },
  ];
  return groups.filter((group) => group.params.length > 0);
}
