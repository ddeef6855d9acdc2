/**
 * Folders whose layers compute with whole numbers of 8 bits, weights and what they read ("W8A8"), as the
 * library compressed-tensors and with it Transformers and vLLM keep them ("int-quantized"). In the place of
 * `x.weight` [out, in] such a file has
 *
 *   x.weight        i8 [out, in]
 *   x.weight_scale  [out, 1], by which a row is multiplied
 *
 * and config.json says that each token that a layer reads is rounded to 8 bits by its own largest number.
 */
import { quantize, tensor } from '../../autograd/index.ts';
import type { QuantizedTensor } from '../../autograd/index.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { isJsonObject } from '../../common/json-file.ts';
import { showShape, showText } from '../names.ts';
import type { TensorToWrite } from './safetensors-writer.ts';
import type { SavedWeights } from './saved-weights.ts';
import { toFloat32 } from './tensor-data.ts';
import type { LoadedTensor } from './tensor-data.ts';
import { openParts, WeightsInParts } from './weights-in-parts.ts';
import type { PartsLayout } from './weights-in-parts.ts';
import type { Int8 } from './weights-source.ts';

export const int8Format = 'int-quantized';

const eightBits = { num_bits: 8, type: 'int', symmetric: true } as const;

/** What config.json says of such layers, by their names; `whole` are the linear ones that have none. */
export const int8Config = (targets: readonly string[], whole: readonly string[]): JsonObject => ({
  quant_method: 'compressed-tensors',
  format: int8Format,
  quantization_status: 'compressed',
  config_groups: {
    group_0: {
      targets: [...targets],
      weights: { ...eightBits, strategy: 'channel' },
      input_activations: { ...eightBits, strategy: 'token', dynamic: true },
    },
  },
  ignore: [...whole],
});

/** Whether a group of config.json is one whose weights and tokens are rounded so. */
export function isInt8Group(group: unknown): boolean {
  if (!isJsonObject(group)) return false;
  const { weights, input_activations: read } = group;
  const rounds = (args: unknown, strategy: string): args is JsonObject =>
    isJsonObject(args) &&
    args['strategy'] === strategy &&
    args['num_bits'] === 8 &&
    args['type'] === 'int' &&
    args['symmetric'] === true;
  return rounds(weights, 'channel') && rounds(read, 'token') && read['dynamic'] === true;
}

/**
 * Weights [out, in] rounded to whole numbers times the largest of their row / 127, for the device, whose
 * products round what they are multiplied with, too.
 */
export async function roundInt8(values: Float32Array, shape: readonly [number, number]): Promise<QuantizedTensor> {
  if (!values.every(Number.isFinite)) throw new Error('weights that are not finite cannot be written in 8 bits');
  return { ...(await quantize(tensor(values, { shape }), { scales: 'f32' })), activations: 'int8' };
}

/** The same of what a file has. */
export function packInt8({ shape, codes, scales }: Int8): QuantizedTensor {
  const [out, into] = shape;
  const packed = new Uint32Array(codes.length / 4);
  codes.forEach((code, i) => (packed[i >> 2]! |= (code + 128) << (8 * (i % 4))));
  return {
    shape: [out, into],
    bits: 8,
    group: into,
    packed: tensor(packed, { shape: [out, into / 4], dtype: 'u32' }),
    scales: tensor(scales, { shape: [out, 1] }),
    activations: 'int8',
  };
}

/** The parts of a weight, as it is on the device. */
export function int8Tensors(name: string, { shape, packed, scales }: QuantizedTensor): TensorToWrite[] {
  const codes = async (): Promise<Int8Array> => {
    const { buffer, byteOffset, byteLength } = (await packed.data()) as Uint32Array;
    return Int8Array.from(new Uint8Array(buffer, byteOffset, byteLength), (byte) => byte - 128);
  };
  return [
    { name, dtype: 'I8', shape, data: codes },
    { name: `${name}_scale`, dtype: 'F32', shape: scales.shape, data: () => scales.data() },
  ];
}

const layout: PartsLayout<Rounded> = {
  weightOf: (name, file) => (file.entry(name).dtype === 'I8' ? name : undefined),
  partsOf: (weight) => [`${weight}_scale`],
  check: readRounded,
};

export class Int8Weights extends WeightsInParts<Rounded> {
  static async open(folder: string): Promise<Int8Weights> {
    return new Int8Weights(await openParts(folder, layout));
  }

  protected override async join(name: string): Promise<LoadedTensor> {
    const { shape, codes, scales } = await this.readInt8(name);
    const data = Float32Array.from(codes, (code, i) => code * scales[Math.floor(i / shape[1])]!);
    return { dtype: 'F32', shape, data };
  }

  /** Kernels read four numbers of a row at once. */
  blockType(name: string): string | undefined {
    const rounded = this.inParts.get(name);
    return rounded && rounded.shape[1] % 4 === 0 ? 'INT8' : undefined;
  }

  async readInt8(name: string): Promise<Int8> {
    const [{ shape, data }, scale] = [await this.file.read(name), await this.file.read(`${name}_scale`)];
    return { shape: shape as [number, number], codes: data as Int8Array, scales: toFloat32(scale) };
  }
}

interface Rounded {
  readonly shape: readonly [out: number, into: number];
}

function readRounded(file: SavedWeights, weight: string): Rounded {
  const fail = (what: string): Error => new Error(`${file.path}: ${showText(weight)} ${what}`);
  if (!file.has(`${weight}_scale`)) throw fail('has 8 bits, and weight_scale of it is missing; save the folder again');
  if (file.has(`${weight}_zero_point`))
    throw fail('has a zero_point, which is not read here; quantise it symmetrically');
  const [{ shape }, { shape: scales }] = [file.entry(weight), file.entry(`${weight}_scale`)];
  const count = scales.reduce((a, b) => a * b, 1);
  const [out, into, ...more] = shape;
  if (out === undefined || into === undefined || more.length > 0 || count !== out)
    throw fail(`of shape ${showShape(shape)} has scales ${showShape(scales)}; one for each row is read`);
  return { shape: [out, into] };
}
