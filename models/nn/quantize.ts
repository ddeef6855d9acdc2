import { ready } from '../../autograd/index.ts';
import type { QuantizedTensor, Tensor } from '../../autograd/index.ts';
import { blockType, quantize } from '../gguf/blocks.ts';
import type { BlockType } from '../gguf/blocks.ts';
import { isPacked, packBlocks, packedTypes } from '../gguf/pack.ts';
import type { JsonObject } from '../../common/json-file.ts';
import type { ModelConfig } from '../config.ts';
import { packedFormat, packedMethod } from '../io/compressed-tensors.ts';
import { int8Config, packInt8, roundInt8 } from '../io/int8.ts';
import { nf4Config, packNf4, quantizeNf4 } from '../io/nf4.ts';
import type { Match } from '../io/state-dict.ts';
import { toFloat32 } from '../io/tensor-data.ts';
import type { WeightsSource } from '../io/weights-source.ts';
import type { Module } from '../module.ts';
import { listNames } from '../names.ts';
import { Conv1D } from './conv1d.ts';
import { Embedding } from './embedding.ts';
import { Linear } from './linear.ts';
import { Parameter } from '../parameter.ts';
import { PackedParameter } from './packed-parameter.ts';

/**
 * What weights are kept as on the device, in blocks of 32 along their rows as GGUF files have them: `q4_0`
 * (4.5 bits a weight), `q4_1` (5 bits) and `q8_0` (8.5 bits) round to nearest; `nf4` does in blocks of 64, as
 * QLoRA has them (4.5 bits, in folders 4.1); with `int8` (8 bits) layers round what they read, too, and
 * multiply whole numbers; `keep` takes a file's own blocks of these types as they are.
 */
export const quantizations = ['keep', 'q4_0', 'q4_1', 'q8_0', 'nf4', 'int8'] as const;
export type Quantization = (typeof quantizations)[number];

type Layer = Linear | Conv1D | Embedding;

/**
 * Puts packed weights in the place of a model's parameters of linear layers and embeddings of tokens, tied
 * ones once, and returns the matches that are still to be read. Tables of embeddings have 8 bits where the
 * rest has 4, as in llama.cpp: they are the head, too, where these are tied. All of the model is frozen then.
 * Error, one line: none of them can be kept.
 */
export async function packWeights(
  model: Module & { readonly config: ModelConfig },
  matches: readonly Match[],
  weights: WeightsSource,
  wanted: Quantization,
  log: (line: string) => void,
): Promise<Match[]> {
  const { vocabSize } = model.config as ModelConfig & { readonly vocabSize?: number };
  const layers = layersByWeight(model, vocabSize);
  const { target } = await ready();
  const counts = new Map<string, number>();
  const count = (kind: string): unknown => counts.set(kind, (counts.get(kind) ?? 0) + 1);
  const rest: Match[] = [];
  for (const match of matches) {
    const users = layers.get(match.target);
    const found = weights.blockType?.(match.source) ?? weights.entry(match.source).dtype;
    const type = users && typeFor(match.target, users, found, wanted);
    if (!users || !type) {
      rest.push(match);
      if (match.target.ndim > 1) count(found);
      continue;
    }
    const isTransposed = users[0] instanceof Conv1D;
    const [rows, columns] = match.target.shape as [number, number];
    const shape = isTransposed ? ([columns, rows] as const) : ([rows, columns] as const);
    const isThere = found === (typeof type === 'string' ? type : type.name);
    const whole = (): Promise<Float32Array> => rowsOf(weights, match.source, isTransposed);
    const blocks = async (): Promise<QuantizedTensor> => {
      if (type === 'NF4')
        return packNf4(isThere ? await weights.readNf4!(match.source) : quantizeNf4(await whole(), shape));
      if (type === 'INT8')
        return isThere ? packInt8(await weights.readInt8!(match.source)) : roundInt8(await whole(), shape);
      const { data } = isThere ? await weights.readBlocks!(match.source) : { data: quantize(type, await whole()) };
      return packBlocks(type, data, shape, target.f16 ? 'f16' : 'f32');
    };
    const packed = new PackedParameter(await blocks(), isTransposed);
    for (const layer of users) layer.weight = packed;
  }
  if (rest.length === matches.length)
    throw new Error(
      wanted === 'keep'
        ? `${weights.path} has no weights of ${[...packedTypes, 'NF4', 'INT8'].join(', ')} to keep; quantize them: ` +
            quantizations.slice(1).join(', ')
        : `${weights.path}: no rows of weights are whole blocks of ${wanted === 'nf4' ? 64 : 32}, so none can be ` +
            'quantized',
    );
  model.requiresGrad(false);
  const others = [...counts].map(([kind, number]) => `${number} of ${kind}`);
  if (others.length > 0) log(`not packed, and computed with in f32: matrices, ${listNames(others)}`);
  return rest;
}

/** The linear layers and embeddings of tokens that compute with a parameter, where nothing else does. */
export function layersByWeight(model: Module, vocabSize: number | undefined): Map<unknown, Layer[]> {
  const users = [...usersOf(model)].map(([weight, all]) => [weight, all.map(([, module]) => module)] as const);
  const isLayer = (module: Module): module is Layer =>
    [Linear, Conv1D].some((kind) => module.constructor === kind) ||
    (module.constructor === Embedding && (module as Embedding).weight.shape[0] === vocabSize);
  return new Map(users.filter((entry): entry is [Parameter, Layer[]] => entry[1].every(isLayer)));
}

/** The modules that have each parameter, with their names. */
export function usersOf(model: Module): Map<Parameter, (readonly [name: string, module: Module])[]> {
  const users = new Map<Parameter, (readonly [string, Module])[]>();
  for (const [name, module] of model.namedModules())
    for (const value of Object.values(module).flat() as unknown[])
      if (value instanceof Parameter) users.set(value, [...(users.get(value) ?? []), [name, module]]);
  return users;
}

/** The type that a weight is packed as; undefined where it is not. */
export function typeFor(
  weight: Tensor,
  layers: readonly Layer[],
  found: string,
  wanted: Quantization,
): BlockType | 'NF4' | 'INT8' | undefined {
  if (layers.some((layer) => layer.weight !== weight)) return undefined; // a bias
  const [rows, columns] = weight.shape as [number, number];
  const [width, outputs] = layers[0] instanceof Conv1D ? [rows, columns] : [columns, rows];
  if (found === 'INT8' && wanted === 'keep') return found;
  if (width % 32 !== 0) return undefined;
  const isTable = layers.some((layer) => layer instanceof Embedding);
  const name = wanted === 'keep' ? found : isTable ? 'Q8_0' : wanted.toUpperCase();
  // What is rounded has 64 weights in a block; bitsandbytes' kernels for CPUs take 32 outputs at a time.
  if (name === 'NF4') return found === name || (width % 64 === 0 && outputs % 32 === 0) ? name : undefined;
  if (name === 'INT8') return name;
  const type = blockType(name);
  return type && isPacked(type) ? type : undefined;
}

/** The rows of a matrix as [out, in], in f32. */
async function rowsOf(weights: WeightsSource, name: string, isTransposed: boolean): Promise<Float32Array> {
  const loaded = await weights.read(name);
  const values = toFloat32(loaded);
  if (!isTransposed) return values;
  const [into, out] = loaded.shape as [number, number];
  return Float32Array.from(values, (_, i) => values[(i % into) * out + Math.floor(i / into)]!);
}

/**
 * The linear layers whose weights a folder keeps packed: not those that share one with an embedding, which
 * Transformers wants whole. Error, one line: weights that the folder has no word for.
 */
export function packedLayers(model: Module): [name: string, weight: QuantizedTensor][] {
  const users = [...usersOf(model)].filter(([{ quantized }]) => quantized);
  const all = users.flatMap(([{ quantized }, layers]) => layers.map((layer) => [...layer, quantized!] as const));
  for (const [name, module, { zeros, minimums }] of all) {
    const [what, mend] =
      module instanceof Conv1D
        ? ['is [in, out]', '']
        : (zeros ?? minimums)
          ? ['is not symmetric', 'quantize with q4_0 or q8_0, or ']
          : [];
    if (what !== undefined)
      throw new Error(
        `savePretrained: the packed weight of ${name} ${what}, which ${packedMethod} has no word for; ` +
          `${mend}write a GGUF file`,
      );
  }
  return users.flatMap(([{ quantized }, layers]) => {
    const [[name, module]] = layers as [[string, Module]];
    return layers.length === 1 && module instanceof Linear ? [[name, quantized!] as [string, QuantizedTensor]] : [];
  });
}

/** The linear layers whose weights are theirs alone, by name. */
export const linearNames = (model: Module): ReadonlySet<string> =>
  new Set(
    [...usersOf(model).values()].flatMap((users) => {
      const [[name, module]] = users as [[string, Module]];
      return users.length === 1 && module instanceof Linear ? [name] : [];
    }),
  );

/** What config.json says of packed layers; undefined where there are none. */
export function quantizationConfig(
  model: Module,
  packed: readonly (readonly [name: string, weight: QuantizedTensor])[],
): JsonObject | undefined {
  if (packed.length === 0) return undefined;
  const names = new Set(packed.map(([name]) => name));
  const linears = model.namedModules().filter(([name, module]) => module instanceof Linear && !names.has(name));
  const ignore = linears.map(([name]) => name);
  const [first, { codebook, activations }] = packed[0]!;
  const [odd] = packed.find(([, own]) => own.codebook !== codebook || own.activations !== activations) ?? [];
  if (odd !== undefined)
    throw new Error(`savePretrained: ${odd} is packed in another way than ${first}, and a folder has one way`);
  if (codebook) return nf4Config(ignore);
  if (activations) return int8Config([...names], ignore);
  const groups = ([4, 8] as const).flatMap((bits) => {
    const targets = packed.filter(([, weight]) => weight.bits === bits).map(([name]) => name);
    const weights = { num_bits: bits, type: 'int', symmetric: true, strategy: 'group', group_size: 32 };
    return targets.length > 0 ? [{ targets, weights }] : [];
  });
  return {
    quant_method: packedMethod,
    format: packedFormat,
    quantization_status: 'compressed',
    config_groups: Object.fromEntries(groups.map((group, i) => [`group_${i}`, group])),
    ignore,
  };
}
