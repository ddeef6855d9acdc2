/**
 * Folders with NF4 weights as the library bitsandbytes, and with it Transformers and PEFT, keeps them (QLoRA,
 * Dettmers et al. 2023). In the place of `x.weight` [out, in] such a file has
 *
 *   x.weight                                u8 [out * in / 2, 1], two numbers of the codebook to a byte, the
 *                                           first in the upper half
 *   x.weight.absmax                         by which 64 neighbours are multiplied: f32, or u8, see below
 *   x.weight.quant_map                      f32 [16], the codebook
 *   x.weight.quant_state.bitsandbytes__nf4  bytes of a JSON text: shape, block size, offset
 *
 * Quantised doubly, those factors are nested_quant_map[absmax] * nested_absmax of 256 neighbours + offset,
 * which takes 4.127 bits a weight in all.
 */
import { tensor } from '../../autograd/index.ts';
import type { DoublyQuantized, QuantizedTensor } from '../../autograd/index.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { isJsonObject } from '../../common/json-file.ts';
import { brief } from '../../common/printable.ts';
import { nf4 } from '../../kernels/quant/weights.ts';
import { showText } from '../names.ts';
import type { TensorToWrite } from './safetensors-writer.ts';
import type { SavedWeights } from './saved-weights.ts';
import { toFloat32 } from './tensor-data.ts';
import type { LoadedTensor } from './tensor-data.ts';
import { openParts, WeightsInParts } from './weights-in-parts.ts';
import type { PartsLayout } from './weights-in-parts.ts';
import type { Nf4 } from './weights-source.ts';

export const nf4Method = 'bitsandbytes';

/** Weights of a block, and scales of a block of those. */
const [block, nestedBlock] = [64, 256];
const round = Math.fround;

/** (t[i] + t[i + 1]) / 2: what lies above the first `i` of them is nearer to t[i]. */
const middles = (table: Float32Array): Float32Array =>
  table.subarray(1).map((above, i) => round(round(table[i]! + above) / 2));
const nf4Middles = middles(nf4);

/** How many of ascending numbers lie below a value. */
function countBelow(limits: Float32Array, value: number): number {
  let [low, high] = [0, limits.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (limits[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The 256 numbers that scales are rounded to, from -1 to 1: seven decades, the finer the larger (Dettmers
 * 2016), as `create_dynamic_map` of bitsandbytes makes them.
 */
function dynamicMap(): Float32Array {
  const positive = Array.from({ length: 7 }, (_, decade) => {
    const count = 2 ** decade;
    const first = round(0.1);
    const step = round(round(1 - first) / count);
    // As torch.linspace counts, from both ends and with one rounding.
    const bound = (i: number): number => round(i < (count + 1) >> 1 ? first + step * i : 1 - step * (count - i));
    return Array.from({ length: count }, (_, i) => {
      const middle = round(round(bound(i) + bound(i + 1)) / 2);
      return round(round(10 ** (decade - 6)) * middle);
    });
  }).flat();
  return Float32Array.from([...positive.map((x) => -x), ...positive, 0, 1]).sort();
}
const nestedMap = dynamicMap();
const nestedMiddles = middles(nestedMap);

/** Scales in 8 bits, blocks of 256 by their largest, around their mean. */
function doublyQuantized(scales: Float32Array): DoublyQuantized {
  const offset = round(scales.reduce((sum, scale) => sum + scale, 0) / scales.length);
  const around = scales.map((scale) => scale - offset);
  const steps = new Float32Array(Math.ceil(scales.length / nestedBlock));
  around.forEach(
    (x, i) => (steps[Math.floor(i / nestedBlock)] = Math.max(steps[Math.floor(i / nestedBlock)]!, Math.abs(x))),
  );
  const codes = Uint8Array.from(around, (x, i) => {
    const step = steps[Math.floor(i / nestedBlock)]!;
    return countBelow(nestedMiddles, step === 0 ? 0 : round(x * round(1 / step)));
  });
  return { codes, steps, offset };
}

const scalesOf = ({ codes, steps, offset }: DoublyQuantized, map = nestedMap, size = nestedBlock): Float32Array =>
  Float32Array.from(codes, (code, i) => round(map[code]! * steps[Math.floor(i / size)]!) + offset);

/**
 * Weights [out, in] rounded to the nearest of NF4's numbers times the largest of 64 neighbours, which is then
 * quantised itself. Errors: rows that are no whole blocks; weights that are not finite.
 */
export function quantizeNf4(values: Float32Array, shape: readonly [out: number, into: number]): Nf4 {
  if (shape[1] % block !== 0)
    throw new Error(`rows of ${shape[1]} weights are no whole blocks of ${block}, as NF4 needs`);
  if (!values.every(Number.isFinite)) throw new Error('weights that are not finite cannot be written as NF4');
  const largest = new Float32Array(values.length / block);
  const codes = new Uint8Array(values.length / 2);
  for (let at = 0; at < largest.length; at++) {
    const own = values.subarray(at * block, (at + 1) * block);
    largest[at] = own.reduce((most, w) => Math.max(most, Math.abs(w)), 0);
    const inverse = round(1 / Math.max(largest[at]!, 1e-38));
    own.forEach((w, i) => {
      const code = countBelow(nf4Middles, round(w * inverse));
      codes[(at * block + i) >> 1]! |= i % 2 === 0 ? code << 4 : code;
    });
  }
  const doubly = doublyQuantized(largest);
  return { shape, codes, group: block, scales: scalesOf(doubly), doubly };
}

/** The weights that it stands for. */
export const nf4Values = ({ codes, group, scales }: Nf4): Float32Array =>
  Float32Array.from({ length: 2 * codes.length }, (_, i) => {
    const code = i % 2 === 0 ? codes[i >> 1]! >> 4 : codes[i >> 1]! & 15;
    return nf4[code]! * scales[Math.floor(i / group)]!;
  });

/** For the device, where the first number of a word lies in its lowest bits. */
export function packNf4({ shape, codes, group, scales, doubly }: Nf4): QuantizedTensor {
  const [out, into] = shape;
  const packed = new Uint32Array(codes.length / 4);
  codes.forEach((byte, i) => (packed[i >> 2]! |= ((byte >> 4) | ((byte & 15) << 4)) << (8 * (i % 4))));
  return {
    shape: [out, into],
    bits: 4,
    group,
    packed: tensor(packed, { shape: [out, into / 8], dtype: 'u32' }),
    scales: tensor(scales, { shape: [out, into / group] }),
    codebook: 'nf4',
    doubly,
  };
}

/** The parts of a weight, as it is on the device. */
export function nf4Tensors(name: string, { shape, group, packed, scales, doubly }: QuantizedTensor): TensorToWrite[] {
  const codes = async (): Promise<Uint8Array> => {
    const { buffer, byteOffset, byteLength } = (await packed.data()) as Uint32Array;
    return new Uint8Array(buffer, byteOffset, byteLength).map((byte) => (byte >> 4) | ((byte & 15) << 4));
  };
  const nested = doubly && { nested_blocksize: nestedBlock, nested_dtype: 'float32', nested_offset: doubly.offset };
  const state = { quant_type: 'nf4', blocksize: group, dtype: 'float32', shape, ...nested };
  const text = new TextEncoder().encode(JSON.stringify(state));
  const f32 = (part: string, data: Float32Array): TensorToWrite => {
    return { name: `${name}.${part}`, dtype: 'F32', shape: [data.length], data: () => data };
  };
  return [
    { name, dtype: 'U8', shape: [(shape[0] * shape[1]) / 2, 1], data: codes },
    doubly
      ? { name: `${name}.absmax`, dtype: 'U8', shape: [doubly.codes.length], data: () => doubly.codes }
      : { name: `${name}.absmax`, dtype: 'F32', shape: [scales.numel()], data: () => scales.data() },
    f32('quant_map', nf4),
    ...(doubly ? [f32('nested_absmax', doubly.steps), f32('nested_quant_map', nestedMap)] : []),
    { name: `${name}.quant_state.bitsandbytes__nf4`, dtype: 'U8', shape: [text.length], data: () => text },
  ];
}

/** What config.json says of such weights; `whole` are the linear layers that have none. */
export const nf4Config = (whole: readonly string[]): JsonObject => ({
  quant_method: nf4Method,
  load_in_4bit: true,
  load_in_8bit: false,
  bnb_4bit_quant_type: 'nf4',
  bnb_4bit_use_double_quant: true,
  bnb_4bit_compute_dtype: 'float32',
  bnb_4bit_quant_storage: 'uint8',
  llm_int8_skip_modules: [...whole],
});

const stateKey = '.quant_state.bitsandbytes__nf4';

interface State {
  readonly shape: readonly [out: number, into: number];
  readonly group: number;
  readonly nested: { readonly size: number; readonly offset: number } | undefined;
}

const layout: PartsLayout<State> = {
  weightOf: (name) => (name.endsWith(stateKey) ? name.slice(0, -stateKey.length) : undefined),
  partsOf: (weight) =>
    [...['.absmax', '.quant_map', '.nested_absmax', '.nested_quant_map'], stateKey].map((part) => weight + part),
  check: readState,
};

export class Nf4Weights extends WeightsInParts<State> {
  static async open(folder: string): Promise<Nf4Weights> {
    return new Nf4Weights(await openParts(folder, layout));
  }

  protected override async join(name: string, { shape }: State): Promise<LoadedTensor> {
    return { dtype: 'F32', shape, data: nf4Values(await this.readNf4(name)) };
  }

  blockType(name: string): string | undefined {
    const state = this.inParts.get(name);
    // Kernels know blocks within rows; others are dequantised.
    return state && state.shape[1] % state.group === 0 ? 'NF4' : undefined;
  }

  async readNf4(name: string): Promise<Nf4> {
    const { shape, group, nested } = this.inParts.get(name)!;
    const part = (end: string): Promise<LoadedTensor> => this.file.read(`${name}${end}`);
    const bytes = async (end: string): Promise<Uint8Array> => (await part(end)).data as Uint8Array;
    const codes = await bytes('');
    if (!nested) return { shape, codes, group, scales: toFloat32(await part('.absmax')) };
    const steps = toFloat32(await part('.nested_absmax'));
    const doubly = { codes: await bytes('.absmax'), steps, offset: round(nested.offset) };
    const map = toFloat32(await part('.nested_quant_map'));
    const isUsual = nested.size === nestedBlock && map.every((x, i) => x === nestedMap[i]);
    return { shape, codes, group, scales: scalesOf(doubly, map, nested.size), ...(isUsual && { doubly }) };
  }
}

/** What a file says of a weight. */
async function readState(file: SavedWeights, weight: string): Promise<State> {
  const fail = (what: string): Error => new Error(`${file.path}: ${showText(weight)} ${what}`);
  const { data } = await file.read(weight + stateKey);
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(data as Uint8Array));
  } catch {
    throw fail('has a quant_state that is no JSON; save the folder again');
  }
  if (!isJsonObject(json)) throw fail('has a quant_state that is no object');
  const { shape, blocksize: group, quant_type: type, nested_offset: offset, nested_blocksize: size } = json;
  const [out, into, ...more] = Array.isArray(shape) ? (shape as unknown[]) : [];
  const isCount = (x: unknown): x is number => Number.isInteger(x) && (x as number) > 0;
  if (type !== 'nf4' || more.length > 0 || !isCount(out) || !isCount(into) || !isCount(group) || group % 8 !== 0)
    throw fail(`is ${brief(type)} of shape ${brief(shape)} in blocks of ${brief(group)}; nf4 of two axes is read`);
  const isNested = offset !== undefined;
  const parts = ['.absmax', '.quant_map', ...(isNested ? ['.nested_absmax', '.nested_quant_map'] : [])];
  for (const part of parts)
    if (!file.has(weight + part)) throw fail(`is packed, and ${part.slice(1)} of it is missing; save the folder again`);
  const sizes = ['', '.absmax'].map((part) => file.entry(weight + part));
  const count = ({ shape: lengths }: { readonly shape: readonly number[] }): number =>
    lengths.reduce((a, b) => a * b, 1);
  const scaleType = isNested ? 'U8' : 'F32';
  if (sizes[0]!.dtype !== 'U8' || sizes[1]!.dtype !== scaleType)
    throw fail(`has ${sizes.map(({ dtype }) => dtype).join(' and ')} in the place of U8 and ${scaleType}`);
  if (count(sizes[0]!) !== (out * into) / 2 || count(sizes[1]!) !== Math.ceil((out * into) / group))
    throw fail(`of ${out} x ${into} has ${sizes.map(count).join(' and ')} numbers and scales, which do not fit`);
  const table = toFloat32(await file.read(`${weight}.quant_map`));
  if (table.length !== 16 || !table.every((x, i) => Math.abs(x - nf4[i]!) < 1e-6))
    throw fail('has another quant_map than NF4');
  if (!isNested) return { shape: [out, into], group, nested: undefined };
  if (typeof offset !== 'number' || !isCount(size)) throw fail('has no nested_offset and nested_blocksize');
  return { shape: [out, into], group, nested: { size, offset } };
}
