import { assign, dequantize, noGrad, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { listNames, showShape, showText } from '../names.ts';
import { Parameter } from '../parameter.ts';
import type { ModuleBuffer } from '../parameter.ts';
import { packedTensors } from './compressed-tensors.ts';
import { int8Tensors } from './int8.ts';
import { nf4Tensors } from './nf4.ts';
import type { Dtype as FileDtype } from './safetensors-format.ts';
import type { TensorToWrite } from './safetensors-writer.ts';
import type { WeightsSource } from './weights-source.ts';
import { toFloat32, toInt32 } from './tensor-data.ts';

/** A module, as far as its state is concerned. */
interface StateOwner {
  /** Under all their keys. */
  stateTensors(): ReadonlyMap<string, Tensor>;
  /** Each tensor once. */
  stateDict(): ReadonlyMap<string, Tensor>;
  namedModules(): readonly (readonly [string, object])[];
}

/** Keys that did not fit when a state was loaded. */
export interface LoadReport {
  /** Keys of the module that the state lacks. */
  readonly missing: readonly string[];
  /** Keys of the state that the module lacks. */
  readonly unexpected: readonly string[];
  readonly mismatched: readonly Mismatch[];
}

export interface Mismatch {
  readonly key: string;
  /** Shape in the module. */
  readonly expected: readonly number[];
  /** Shape in the state. */
  readonly found: readonly number[];
}

/** A key of the module, and the key of the state that holds its values. */
interface KeyMatch {
  readonly key: string;
  readonly source: string;
}

/** A tensor of the module, the key it is known by, and the key of the state with its values. */
export interface Match extends KeyMatch {
  readonly target: Tensor;
  /** Other keys of a tied tensor under which the state gives it again. */
  readonly again: readonly KeyMatch[];
}

/** All keys of each tensor: several for a tied one. */
export function keysByTensor(state: ReadonlyMap<string, Tensor>): Map<Tensor, string[]> {
  const keys = new Map<Tensor, string[]>();
  for (const [key, target] of state) keys.set(target, [...(keys.get(target) ?? []), key]);
  return keys;
}

/**
 * Pairs the tensors of a module with those of a state by key. A tied tensor has several keys and may be given
 * under any of them. Its match is its first key, or else the last that is given, as in Transformers: an
 * output layer goes with the decoder, not with the encoder. The others are in `again`.
 */
export function matchState(
  targets: ReadonlyMap<string, Tensor>,
  given: ReadonlyMap<string, { readonly shape: readonly number[] }>,
): { matches: Match[]; report: LoadReport } {
  const matches: Match[] = [];
  const missing: string[] = [];
  const mismatched: Mismatch[] = [];
  for (const [target, keys] of keysByTensor(targets)) {
    const [main, ...others] = keys;
    const found = [main!, ...others.reverse()].filter((key) => given.has(key));
    if (found.length === 0) missing.push(main!);
    const fitting = found.filter((key) => {
      const { shape } = given.get(key)!;
      const fits = shape.join() === target.shape.join();
      if (!fits) mismatched.push({ key, expected: target.shape, found: shape });
      return fits;
    });
    const [first, ...again] = fitting.map((key): KeyMatch => ({ key, source: key }));
    if (first) matches.push({ target, ...first, again });
  }
  const unexpected = [...given.keys()].filter((key) => !targets.has(key));
  return { matches, report: { missing, unexpected, mismatched } };
}

/** One line for each kind of misfit; empty where all fits. */
export function describeReport({ missing, unexpected, mismatched }: LoadReport): string[] {
  const shapes = mismatched.map(
    ({ key, expected, found }) => `${key} (here ${showShape(expected)}, given ${showShape(found)})`,
  );
  return [
    ...(missing.length > 0 ? [`missing keys: ${listNames(missing)}`] : []),
    ...(unexpected.length > 0 ? [`unexpected keys: ${listNames(unexpected)}`] : []),
    ...(shapes.length > 0 ? [`mismatched shapes: ${listNames(shapes, 4)}`] : []),
  ];
}

/** How a model family's files name what the model holds. */
export interface KeyRules {
  /**
   * The attribute that holds the family's base model in its headed classes; files may have or lack it as a
   * prefix.
   */
  readonly baseModelPrefix: string;
  /** Keys that old files carry and no model needs. */
  readonly ignoredKeys?: RegExp;
  /** Keys of tables that are computed: files may lack them, and where they have them, those count. */
  readonly computedKeys?: RegExp;
}

export interface WeightsMatch {
  readonly matches: readonly Match[];
  /** Keys of the model that the file lacks. */
  readonly missing: readonly string[];
  readonly mismatched: readonly Mismatch[];
  /** Keys of the file that the model lacks. */
  readonly unused: readonly string[];
}

/**
 * Pairs a model's tensors with a folder's. Old names (`gamma`, `beta`) are read as `weight` and `bias`; a
 * file of the base model fits a model with a head and the other way round.
 */
export function matchWeights(model: StateOwner, weights: WeightsSource, rules: KeyRules): WeightsMatch {
  const targets = model.stateTensors();
  const fileKeys = new Map<string, string>();
  const given = new Map<string, { shape: readonly number[] }>();
  for (const fileKey of weights.names()) {
    if (rules.ignoredKeys?.test(fileKey)) continue;
    const key = translate(fileKey, targets, rules.baseModelPrefix);
    if (rules.computedKeys?.test(key) && !targets.has(key)) continue;
    const other = fileKeys.get(key);
    if (other !== undefined)
      throw new Error(`${weights.path}: "${other}" and "${fileKey}" both name ${key}; save the model again`);
    fileKeys.set(key, fileKey);
    given.set(key, weights.entry(fileKey));
  }
  const { matches, report } = matchState(targets, given);
  const inFile = <M extends KeyMatch>(match: M): M => ({ ...match, source: fileKeys.get(match.source)! });
  return {
    matches: matches.map((match) => ({ ...inFile(match), again: match.again.map(inFile) })),
    missing: report.missing,
    mismatched: report.mismatched,
    unused: report.unexpected.map((key) => fileKeys.get(key)!),
  };
}

/**
 * Makes tables that a model computes part of its state where a folder has them with other values: training
 * that took them for weights changed them.
 */
export async function takeTables(
  model: StateOwner & { namedBuffers(): [string, ModuleBuffer][] },
  weights: WeightsSource,
  { computedKeys, baseModelPrefix }: KeyRules,
): Promise<void> {
  const tables = new Map(model.namedBuffers().filter(([key]) => computedKeys?.test(key)));
  for (const fileKey of weights.names().filter((name) => computedKeys?.test(name))) {
    const table = tables.get(translate(fileKey, tables, baseModelPrefix));
    if (!table || table.persistent) continue;
    const { shape } = weights.entry(fileKey);
    const [own, given] = [await table.data(), toFloat32(await weights.read(fileKey))];
    const isEqual = own.every((value, i) => Math.abs(Number(value) - given[i]!) <= 1e-6);
    table.persistent = shape.join() !== table.shape.join() || !isEqual;
  }
}

function translate(fileKey: string, targets: ReadonlyMap<string, unknown>, base: string): string {
  const renamed = fileKey.replace(/\.gamma$/, '.weight').replace(/\.beta$/, '.bias');
  const without = renamed.startsWith(`${base}.`) ? renamed.slice(base.length + 1) : renamed;
  const candidates = [fileKey, renamed, `${base}.${renamed}`, without];
  return candidates.find((key) => targets.has(key)) ?? fileKey;
}

/** A tied tensor's key whose values differ from those under `first`, the key that its match has. */
export interface KeyApart {
  readonly key: string;
  readonly first: string;
}

/** The keys of tied tensors under which a folder has other values than under the first of them. */
export async function keysApart(weights: WeightsSource, matches: readonly Match[]): Promise<KeyApart[]> {
  const apart: KeyApart[] = [];
  for (const { key: first, source, again } of matches) {
    if (again.length === 0) continue;
    const values = toFloat32(await weights.read(source));
    for (const other of again) {
      const others = toFloat32(await weights.read(other.source));
      if (!others.every((value, i) => value === values[i])) apart.push({ key: other.key, first });
    }
  }
  return apart;
}

/** `lm_head.weight and transformer.wte.weight`. */
export function describeApart(apart: readonly KeyApart[]): string {
  return listNames(
    apart.map(({ key, first }) => `${key} and ${first}`),
    4,
  );
}

/**
 * Reads the matched tensors one at a time into the model's, in place, converting types. Error, before any is
 * read: whole numbers where the model has others; bits with a wrong label would be weights of 1e9.
 */
export async function readMatches(weights: WeightsSource, matches: readonly Match[]): Promise<void> {
  for (const { target, source } of matches) {
    const { dtype } = weights.entry(source);
    if (isFloat(target) && !/^B?F\d/.test(dtype))
      throw new Error(
        `${weights.path}: ${showText(source)} is ${dtype} in the file, the model's is ${target.dtype}; ` +
          'save it as F32, F16 or BF16',
      );
  }
  for (const { target, source } of matches) {
    const loaded = await weights.read(source);
    const whole = isFloat(target) ? toFloat32(loaded) : toInt32(loaded, source);
    const values = tensor(whole, { shape: loaded.shape });
    noGrad(() => assign(target, values));
    values.storage.free();
  }
}

/**
 * Two bytes do not tell float16 from bfloat16, only the label in the file does. Says so where config.json,
 * which gives the type too, has the other.
 */
export function otherHalf(dtype: unknown, weights: WeightsSource): string | undefined {
  const labels = new Set(weights.names().map((name) => weights.entry(name).dtype));
  const other = dtype === 'float16' ? 'BF16' : dtype === 'bfloat16' ? 'F16' : undefined;
  if (other === undefined || !labels.has(other)) return undefined;
  return `dtype is ${String(dtype)}, but weights are labelled ${other}; a wrong label makes all of them wrong`;
}

const isFloat = ({ dtype }: Tensor): boolean => dtype === 'f32' || dtype === 'f16';

/**
 * Throws where a file cannot be meant for a model: `mayBeNew` tells which missing keys are those of a new
 * head.
 */
export function checkMatch(
  match: WeightsMatch,
  path: string,
  name: string,
  mayBeNew: (key: string) => boolean,
  ignoreMismatched: boolean,
): void {
  const { matches, missing, mismatched } = match;
  const needed = missing.filter((key) => !mayBeNew(key));
  if (matches.length === 0 || needed.length > 0) {
    const lacks = matches.length === 0 ? 'holds no weights of this model' : `lacks ${listNames(needed, 4)}`;
    throw new Error(
      `${path} does not fit ${name} as config.json describes it: it ${lacks}; check that both files are of one model`,
    );
  }
  if (mismatched.length === 0) return;
  const shapes = mismatched.map(
    ({ key, expected, found }) => `${key} is ${showShape(found)} in the file, ${showShape(expected)} in the model`,
  );
  const isHead = mismatched.every(({ key }) => mayBeNew(key));
  if (isHead && ignoreMismatched) return;
  const mend = isHead
    ? 'pass { ignoreMismatchedSizes: true } to start these anew'
    : 'check config.json and the overrides';
  throw new Error(`${path} does not fit ${name}: ${listNames(shapes, 3)}; ${mend}`);
}

/**
 * Throws, before anything is written, where a folder saved from `model` would not load again: where a part
 * was replaced by a module with other weights than `fresh`, a new model of the same class and config, has
 * there. `mayBeNew` tells which keys a file may lack, where the model has no module for them either.
 */
export function checkLoadsAgain(model: StateOwner, fresh: StateOwner, mayBeNew: (key: string) => boolean): void {
  const { missing, unexpected, mismatched } = matchState(fresh.stateTensors(), model.stateTensors()).report;
  const modules = new Map(model.namedModules());
  const isThere = (key: string): boolean => modules.has(key.slice(0, Math.max(0, key.lastIndexOf('.'))));
  const lost = missing.filter((key) => isThere(key) || !mayBeNew(key));
  if (lost.length === 0 && unexpected.length === 0 && mismatched.length === 0) return;
  const name = model.constructor.name;
  const replaced = fresh.namedModules().flatMap(([path, { constructor }]) => {
    const other = modules.get(path)?.constructor;
    return other && other !== constructor ? [`${path} is ${other.name} where ${name} has ${constructor.name}`] : [];
  });
  const misfits = [
    ...(lost.length > 0 ? [`${listNames(lost, 3)} would be missing`] : []),
    ...(unexpected.length > 0 ? [`${listNames(unexpected, 3)} would not be known`] : []),
    ...mismatched
      .slice(0, 3)
      .map(({ key, expected, found }) => `${key} is ${showShape(found)}, by the config it is ${showShape(expected)}`),
  ];
  throw new Error(
    `savePretrained: the folder would not load again as ${name}: ` +
      `${[...replaced.slice(0, 2), ...misfits].join('; ')}; put modules with the original weights back before ` +
      'saving, or write stateDict() with writeSafetensors',
  );
}

const fileDtypes = { f32: 'F32', f16: 'F16', i32: 'I32', u32: 'U32', bool: 'BOOL' } as const satisfies Record<
  Tensor['dtype'],
  FileDtype
>;

/**
 * A model's state as tensors to write, each read back from the device when its turn comes; f32 as f16, if
 * asked. Packed weights of the names `packed` stay so, others are dequantised.
 */
export function tensorsToWrite(
  model: Pick<StateOwner, 'stateDict'>,
  dtype?: 'f16',
  packed: ReadonlySet<string> = new Set(),
): TensorToWrite[] {
  return [...model.stateDict()].flatMap(([name, t]): TensorToWrite[] => {
    const quantized = t instanceof Parameter ? t.quantized : undefined;
    if (quantized && packed.has(name)) {
      if (quantized.codebook) return nf4Tensors(name, quantized);
      return quantized.activations ? int8Tensors(name, quantized) : packedTensors(name, quantized, dtype);
    }
    const type = fileDtypes[t.dtype === 'f32' ? (dtype ?? 'f32') : t.dtype];
    const data = async () => (quantized ? await dequantize(quantized) : t).data();
    return [{ name, dtype: type, shape: t.shape, data }];
  });
}
