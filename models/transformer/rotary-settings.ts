// Rotary positions in config.json, as older and newer versions of Transformers write them.
import * as z from 'zod';
import { isJsonObject } from '../../common/json-file.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { camelCase, showValue, snakeCase } from '../names.ts';
import type { RotaryScaling } from '../nn/rotary.ts';

const size = z.int().min(1);
const factor = z.number().positive();
const originalMaxPositionEmbeddings = size.optional();
const factors = z.array(factor).min(1);

const ropeScaling = z.discriminatedUnion(
  'ropeType',
  [
    z.strictObject({ ropeType: z.literal('default') }),
    z.strictObject({ ropeType: z.literal('linear'), factor }),
    z.strictObject({ ropeType: z.literal('dynamic'), factor: z.number().min(1) }),
    z.strictObject({
      ropeType: z.literal('yarn'),
      factor: factor.optional(),
      originalMaxPositionEmbeddings,
      attentionFactor: factor.optional(),
      betaFast: factor.optional(),
      betaSlow: factor.optional(),
      mscale: z.number().min(0).optional(),
      mscaleAllDim: z.number().min(0).optional(),
      truncate: z.boolean().optional(),
    }),
    z.strictObject({
      ropeType: z.literal('longrope'),
      shortFactor: factors,
      longFactor: factors,
      factor: factor.optional(),
      originalMaxPositionEmbeddings,
      attentionFactor: factor.optional(),
    }),
    z.strictObject({
      ropeType: z.literal('llama3'),
      factor,
      lowFreqFactor: factor,
      highFreqFactor: factor,
      originalMaxPositionEmbeddings,
    }),
  ],
  { error: 'it must be default, linear, dynamic, yarn, longrope or llama3; use a checkpoint with one of these' },
);

/** Settings of rotary positions: the base of the frequencies, and how they are scaled. */
export const rotaryShape = {
  ropeTheta: z.number().positive().default(10000),
  ropeScaling: ropeScaling.nullable().default(null),
};

export const rotaryFloats = [
  'ropeTheta',
  'factor',
  'attentionFactor',
  'betaFast',
  'betaSlow',
  'lowFreqFactor',
  'highFreqFactor',
  'partialRotaryFactor',
];

/** The keys of config.json that older versions of Transformers have beside rope_scaling. */
export interface RotaryKeys {
  readonly theta: string;
  /** undefined: the family turns whole heads. */
  readonly partial?: string;
}

const usual: RotaryKeys = { theta: 'rope_theta' };

/** One rope_parameters or rope_scaling in camelCase, without what is 'default'; null for none. */
export function scalingOf(rope: unknown): JsonObject | null {
  if (!isJsonObject(rope)) return null;
  const { rope_theta: _, partial_rotary_factor: _partial, type, rope_type: kind = type, ...numbers } = rope;
  if (kind === undefined || kind === 'default') return null;
  const given = Object.entries(numbers).filter(([, value]) => value !== null && value !== undefined);
  // Phi-3's files of 2024 call it so.
  const ropeType = kind === 'su' ? 'longrope' : kind;
  return { ropeType, ...Object.fromEntries(given.map(([key, value]) => [camelCase(key), value])) };
}

/**
 * config.json with the rotary settings under `rope_theta`, `rope_scaling` and `partial_rotary_factor`,
 * whichever form it has: rope_scaling with `type` or `rope_type`, or rope_parameters, for all layers alike.
 */
export function readRotary(json: JsonObject, { theta: thetaKey, partial: partialKey }: RotaryKeys = usual): JsonObject {
  const { rope_parameters: parameters, rope_scaling: scaling, ...rest } = json;
  const rope = isJsonObject(parameters) ? parameters : scaling;
  if (rope !== undefined && rope !== null && !isJsonObject(rope)) return { ...rest, rope_scaling: rope };
  const given = isJsonObject(rope) ? rope : {};
  const theta = given['rope_theta'] ?? rest[thetaKey];
  const partial = given['partial_rotary_factor'] ?? rest[partialKey ?? 'partial_rotary_factor'];
  const other = Object.fromEntries(
    Object.entries(rest).filter(([key]) => ![thetaKey, partialKey, 'partial_rotary_factor'].includes(key)),
  );
  return {
    ...other,
    ...(theta === undefined ? {} : { rope_theta: theta }),
    ...(partial === undefined ? {} : { partial_rotary_factor: partial }),
    ...(rope === undefined ? {} : { rope_scaling: scalingOf(rope) }),
  };
}

interface Settings {
  readonly ropeTheta: number;
  readonly ropeScaling: RotaryScaling | null;
  readonly partialRotaryFactor?: number;
}

/** The keys of a scaling as config.json has them. */
export function scalingJson(scaling: RotaryScaling | null): JsonObject | null {
  if (!scaling) return null;
  const given = Object.entries(scaling).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given.map(([key, value]) => [snakeCase(key), value]));
}

/** What rope_parameters holds for all layers, or for those of one kind. */
export const parametersJson = (theta: number, scaling: RotaryScaling | null): JsonObject => ({
  rope_type: 'default',
  ...scalingJson(scaling),
  rope_theta: theta,
});

/**
 * The rotary settings as both forms of config.json: rope_parameters, which Transformers 5 writes, and the
 * keys that version 4 and llama.cpp read.
 */
export function writeRotary(settings: Settings, { theta, partial }: RotaryKeys = usual): JsonObject {
  const { ropeTheta, ropeScaling: scaling, partialRotaryFactor } = settings;
  const part = partialRotaryFactor === undefined ? {} : { partial_rotary_factor: partialRotaryFactor };
  return {
    [theta]: ropeTheta,
    ...(partial ? { [partial]: partialRotaryFactor } : {}),
    rope_scaling: scalingJson(scaling),
    rope_parameters: { ...parametersJson(ropeTheta, scaling), ...part },
  };
}

/** What is wrong with the rotary settings of heads of which `width` numbers turn; undefined for nothing. */
export function checkRotary(
  { ropeScaling: scaling }: Pick<Settings, 'ropeScaling'>,
  width: number,
): string | undefined {
  if (!Number.isInteger(width) || width % 2 !== 0)
    return `the size of a head, ${width}, must be even: rotary embedding turns pairs`;
  if (scaling?.ropeType === 'llama3' && !(scaling.highFreqFactor > scaling.lowFreqFactor))
    return `high_freq_factor ${scaling.highFreqFactor} must be above low_freq_factor ${scaling.lowFreqFactor}`;
  if (scaling?.ropeType === 'dynamic' && width < 4)
    return `rope_scaling dynamic needs heads of 4 numbers at least, these turn ${width}`;
  if (scaling?.ropeType === 'longrope')
    for (const key of ['shortFactor', 'longFactor'] as const)
      if (scaling[key].length !== width / 2)
        return (
          `rope_scaling.${snakeCase(key)} has ${scaling[key].length} factors; there must be one for each of ` +
          `the ${width / 2} pairs that turn, as in ${showValue(scaling[key])}`
        );
  return undefined;
}
