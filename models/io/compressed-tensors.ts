/**
 * Folders with weights of 4 or 8 bits, as the library compressed-tensors and with it Transformers and vLLM
 * keep them ("pack-quantized"). In the place of `x.weight` [out, in] such a file has
 *
 *   x.weight_packed  i32 [out, in * bits / 32], the first weight in the lowest bits; a weight is its number
 *                    less 2^(bits - 1), times the scale
 *   x.weight_scale   [out, in / group], by which a group of neighbours is multiplied
 *   x.weight_shape   i64 [out, in]
 *
 * and config.json a `quantization_config` that says so.
 */
import type { QuantizedTensor } from '../../autograd/index.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { isJsonObject } from '../../common/json-file.ts';
import { toHalf } from '../../common/half.ts';
import { brief, printable } from '../../common/printable.ts';
import { blockType } from '../gguf/blocks.ts';
import type { Blocks } from '../gguf/file.ts';
import { blocksOfWords, packedNumber } from '../gguf/pack.ts';
import { showShape, showText } from '../names.ts';
import type { TensorToWrite } from './safetensors-writer.ts';
import { int8Format, isInt8Group } from './int8.ts';
import { nf4Method } from './nf4.ts';
import type { SavedWeights } from './saved-weights.ts';
import { sparseFormat, sparseFormats } from './sparse-bitmask.ts';
import { halfTable, toFloat32, toInt32 } from './tensor-data.ts';
import type { LoadedTensor } from './tensor-data.ts';
import { openParts, WeightsInParts } from './weights-in-parts.ts';
import type { PartsLayout } from './weights-in-parts.ts';

const key = 'quantization_config';
export const packedMethod = 'compressed-tensors';
export const packedFormat = 'pack-quantized';

/**
 * How a config.json says that its weights are packed. Errors, one line each: they are quantised in another
 * way; activations are, too.
 */
export function saysPacked(
  json: JsonObject,
  path: string,
): typeof packedMethod | typeof nf4Method | typeof sparseFormat | typeof int8Format | false {
  const { [key]: quantization = null } = json;
  if (quantization === null) return false;
  const fail = (what: string): Error =>
    new Error(
      `${printable(path)}: ${key} ${what}, which is not read here; use a folder of whole weights, of ` +
        `${packedMethod} with format ${packedFormat}, of ${nf4Method} with NF4, or a GGUF file`,
    );
  if (!isJsonObject(quantization)) throw fail('is no object');
  const { quant_method: by, format: kind, config_groups: groups } = quantization;
  if (by === nf4Method) {
    if (quantization['load_in_4bit'] === true && quantization['bnb_4bit_quant_type'] === 'nf4') return nf4Method;
    throw fail(`has weights of ${nf4Method} that are not NF4`);
  }
  const { sparsity_config: sparsity } = quantization;
  if (by === packedMethod && isJsonObject(sparsity) && sparsity['format'] !== 'dense') {
    if (!sparseFormats.includes(sparsity['format']) || groups)
      throw fail(`has zeros stored as ${brief(sparsity['format'])}`);
    return sparseFormat;
  }
  if (by !== packedMethod) throw fail(`has weights quantised by ${brief(by)}`);
  const all = Object.values(isJsonObject(groups) ? groups : {});
  if (kind === int8Format && all.length > 0 && all.every(isInt8Group)) return int8Format;
  if (kind !== packedFormat) throw fail(`has the format ${brief(kind)}`);
  for (const group of all)
    if (isJsonObject(group) && group['input_activations']) throw fail('quantises what layers read, too');
  return packedMethod;
}

interface Packed {
  readonly shape: readonly [out: number, into: number];
  readonly bits: 4 | 8;
  readonly group: number;
}

const layout: PartsLayout<Packed> = {
  weightOf: (name) => (name.endsWith('.weight_packed') ? name.slice(0, -'_packed'.length) : undefined),
  partsOf: (weight) => ['_packed', '_scale', '_shape'].map((part) => weight + part),
  check: readPacked,
};

export class CompressedWeights extends WeightsInParts<Packed> {
  static async open(folder: string): Promise<CompressedWeights> {
    return new CompressedWeights(await openParts(folder, layout));
  }

  protected override async join(name: string, { shape, bits, group }: Packed): Promise<LoadedTensor> {
    const { words, scales } = await this.parts(name);
    const zero = 2 ** (bits - 1);
    const data = Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => {
      return (packedNumber(words, bits, i) - zero) * scales[Math.floor(i / group)]!;
    });
    return { dtype: 'F32', shape, data };
  }

  /** GGUF's name of the same blocks, where they are those of GGUF. */
  blockType(name: string): string | undefined {
    const packed = this.inParts.get(name);
    if (packed?.group !== 32) return undefined;
    return packed.bits === 8 ? 'Q8_0' : 'Q4_0';
  }

  /** Error: scales that f16 cannot hold, as those blocks have them. */
  async readBlocks(name: string): Promise<Blocks> {
    const type = blockType(this.blockType(name)!)!;
    const { words, scales } = await this.parts(name);
    const halves = Uint16Array.from(scales, toHalf);
    if (!halves.every((half, i) => halfTable()[half] === scales[i]))
      throw new Error(
        `${this.path}: the scales of ${showText(name)} are no numbers of 16 bits, so it cannot stay packed; load it ` +
          "without quantize: 'keep'",
      );
    return { type, data: blocksOfWords(type, words, halves) };
  }

  private async parts(name: string): Promise<{ readonly words: Int32Array; readonly scales: Float32Array }> {
    const words = toInt32(await this.file.read(`${name}_packed`), `${name}_packed`);
    return { words, scales: toFloat32(await this.file.read(`${name}_scale`)) };
  }
}

/** How a weight is packed, by the shapes of its parts. */
async function readPacked(file: SavedWeights, weight: string): Promise<Packed> {
  const fail = (what: string): Error => new Error(`${file.path}: ${showText(weight)} ${what}`);
  for (const part of ['_scale', '_shape'])
    if (!file.has(weight + part)) throw fail(`is packed, and ${part.slice(1)} of it is missing; save the folder again`);
  for (const part of ['_zero_point', '_g_idx'])
    if (file.has(weight + part))
      throw fail(`has a ${part.slice(1)}, which is not read here; quantise it symmetrically`);
  const [out, into, ...more] = toInt32(await file.read(`${weight}_shape`), `${weight}_shape`);
  const [words, scales] = ['_packed', '_scale'].map((part) => file.entry(weight + part).shape);
  const bits = (32 * words![1]!) / into!;
  const group = into! / scales![1]!;
  const fits =
    more.length === 0 && words!.length === 2 && scales!.length === 2 && words![0] === out && scales![0] === out;
  if (!fits || (bits !== 4 && bits !== 8) || !Number.isInteger(group))
    throw fail(
      `of shape ${showShape([out!, into!])} has words ${showShape(words!)} and scales ${showShape(scales!)}, ` +
        'which are no rows of 4 or 8 bits in equal groups',
    );
  return { shape: [out!, into!], bits, group };
}

/** The parts of a packed weight, as they are on the device; `dtype` f16 for the scales, which it can hold. */
export function packedTensors(
  name: string,
  { shape, packed, scales }: QuantizedTensor,
  dtype?: 'f16',
): TensorToWrite[] {
  const words = async (): Promise<Int32Array> => {
    const data = (await packed.data()) as Uint32Array;
    return new Int32Array(data.buffer, data.byteOffset, data.length);
  };
  const shapes = BigInt64Array.from(shape, BigInt);
  return [
    { name: `${name}_packed`, dtype: 'I32', shape: packed.shape, data: words },
    { name: `${name}_scale`, dtype: dtype === 'f16' ? 'F16' : 'F32', shape: scales.shape, data: () => scales.data() },
    { name: `${name}_shape`, dtype: 'I64', shape: [2], data: () => shapes },
  ];
}
