/**
 * Folders whose weights are mostly zero, without the zeros, as the library compressed-tensors 0.8 to 0.12 has
 * them ("sparse-bitmask"). In the place of `x.weight` [out, in] such a file has
 *
 *   x.compressed   those that are not zero, row after row
 *   x.bitmask      u8 [out, in / 8, rounded up]: a bit for each weight, the first in the lowest, 1 where it
 *                  is not zero
 *   x.row_offsets  i64 [out], where in `compressed` each row begins
 *   x.shape        i64 [out, in]
 *
 * and config.json a `quantization_config` with a `sparsity_config` that says so. Where 2 of 4 neighbours are
 * zero in all ("sparse-24-bitmask"), `compressed` is [out, in / 2], `shape` [2, 1], and there are no offsets.
 */
import type { JsonObject } from '../../common/json-file.ts';
import { showShape, showText } from '../names.ts';
import type { Dtype, TensorEntry } from './safetensors-format.ts';
import type { TensorToWrite } from './safetensors-writer.ts';
import type { SavedWeights } from './saved-weights.ts';
import { toBytes, toInt32, viewOf } from './tensor-data.ts';
import type { LoadedTensor, TensorData } from './tensor-data.ts';
import { openParts, WeightsInParts } from './weights-in-parts.ts';
import type { PartsLayout } from './weights-in-parts.ts';

export const sparseFormat = 'sparse-bitmask';
export const sparseFormats: readonly unknown[] = [sparseFormat, 'sparse-24-bitmask'];

/** How zeros are left out: anywhere, or of every four neighbours two. */
export type SparseKind = true | '2:4';

/** What config.json says of such weights: the layers that have them, and the share of zeros in these. */
export const sparseConfig = (kind: SparseKind, targets: readonly string[], sparsity: number): JsonObject => ({
  quant_method: 'compressed-tensors',
  sparsity_config: {
    format: sparseFormats[kind === true ? 0 : 1] as string,
    global_sparsity: sparsity,
    sparsity_structure: kind === true ? 'unstructured' : kind,
    targets: [...targets],
  },
});

/** The layer of a weight. */
const layerOf = (weight: string): string => weight.replace(/\.weight$/, '');

/** Bytes of a row of bits. */
const maskBytes = (width: number): number => Math.ceil(width / 8);

/**
 * The places of a row's numbers that are kept of 2 of 4: those that are not zero, and of fours with more
 * zeros the first of these beside them. Undefined where a four has fewer than two zeros.
 */
function twoOfFour(isZero: readonly boolean[]): number[] | undefined {
  const kept: number[] = [];
  for (let from = 0; from < isZero.length; from += 4) {
    const four = [0, 1, 2, 3].map((i) => from + i);
    const numbers = four.filter((i) => !isZero[i]);
    if (numbers.length > 2) return undefined;
    const filling = four.filter((i) => isZero[i]).slice(0, 2 - numbers.length);
    kept.push(...[...numbers, ...filling].sort((a, b) => a - b));
  }
  return kept;
}

/**
 * A matrix without its zeros; undefined where it would not get smaller, of 2:4 where no row has two zeros in
 * every four. Error, one line: only some of its rows have.
 */
async function withoutZeros(
  matrix: TensorToWrite,
  kind: SparseKind,
): Promise<{ readonly parts: TensorToWrite[]; zeros: number } | undefined> {
  const { name, dtype, shape } = matrix;
  const [out, into] = shape as [number, number];
  const bytes = toBytes(name, dtype, shape, await matrix.data());
  const all = viewOf(dtype, bytes.slice().buffer) as Float32Array | Uint16Array;
  const mask = new Uint8Array(out * maskBytes(into));
  const offsets = new BigInt64Array(out);
  const left = all.slice();
  let [count, other] = [0, -1];
  for (let row = 0; row < out; row++) {
    offsets[row] = BigInt(count);
    // Of f16 the bits: 0x8000 is -0.
    const isZero = Array.from(
      all.subarray(row * into, (row + 1) * into),
      (value) => value === 0 || (dtype === 'F16' && value === 0x8000),
    );
    const kept = kind === true ? isZero.flatMap((zero, i) => (zero ? [] : [i])) : twoOfFour(isZero);
    if (!kept) other = row;
    for (const i of kept ?? []) {
      mask[row * maskBytes(into) + (i >> 3)]! |= 1 << (i & 7);
      left[count++] = all[row * into + i]!;
    }
  }
  if (kind !== true && (count === 0 || into % 4 !== 0)) return undefined;
  if (other >= 0)
    throw new Error(
      `savePretrained: row ${other} of ${showText(name)} has 4 neighbours with less than 2 zeros, where other rows ` +
        'have none such; prune it by the pattern 2:4, or save with sparse: true',
    );
  const zeros = all.length - count;
  if (kind === true && zeros * all.BYTES_PER_ELEMENT <= mask.length + 8 * (out + 2)) return undefined;
  const compressed = left.slice(0, count);
  const part = (end: string, type: Dtype, lengths: readonly number[], data: TensorData): TensorToWrite => {
    return { name: `${layerOf(name)}.${end}`, dtype: type, shape: lengths, data: () => data };
  };
  const parts = [
    part('compressed', dtype, kind === true ? [count] : [out, into / 2], compressed),
    part('bitmask', 'U8', [out, maskBytes(into)], mask),
    ...(kind === true ? [part('row_offsets', 'I64', [out], offsets)] : []),
    part('shape', 'I64', kind === true ? [2] : [2, 1], BigInt64Array.of(BigInt(out), BigInt(into))),
  ];
  return { parts, zeros };
}

/**
 * Tensors to write, those of `layers` without their zeros where that is smaller, and what config.json says.
 * Errors, one line each, of 2:4: a layer has that in some rows only, or none has it.
 */
export async function sparseTensors(
  tensors: readonly TensorToWrite[],
  layers: ReadonlySet<string>,
  kind: SparseKind = true,
): Promise<{ readonly tensors: TensorToWrite[]; readonly config: JsonObject | undefined }> {
  const made: TensorToWrite[] = [];
  const targets: string[] = [];
  let [zeros, all] = [0, 0];
  for (const tensor of tensors) {
    const layer = layerOf(tensor.name);
    const found = layers.has(layer) && tensor.name !== layer ? await withoutZeros(tensor, kind) : undefined;
    made.push(...(found?.parts ?? [tensor]));
    if (!found) continue;
    targets.push(layer);
    zeros += found.zeros;
    all += tensor.shape.reduce((a, b) => a * b, 1);
  }
  if (kind !== true && all === 0)
    throw new Error(
      'savePretrained: no layer has 2 zeros in every 4 neighbours; prune it by the pattern 2:4, or save with ' +
        'sparse: true',
    );
  return { tensors: made, config: all === 0 ? undefined : sparseConfig(kind, targets, zeros / all) };
}

const maskKey = '.bitmask';

interface Masked {
  readonly shape: readonly [out: number, into: number];
}

const layout: PartsLayout<Masked> = {
  weightOf: (name) => (name.endsWith(maskKey) ? `${name.slice(0, -maskKey.length)}.weight` : undefined),
  partsOf: (weight) => ['.compressed', maskKey, '.row_offsets', '.shape'].map((part) => layerOf(weight) + part),
  check: readMasked,
};

export class SparseWeights extends WeightsInParts<Masked> {
  static async open(folder: string): Promise<SparseWeights> {
    return new SparseWeights(await openParts(folder, layout));
  }

  override entry(name: string): Pick<TensorEntry, 'dtype' | 'shape'> {
    const masked = this.inParts.get(name);
    if (!masked) return super.entry(name);
    return { dtype: this.file.entry(`${layerOf(name)}.compressed`).dtype, shape: masked.shape };
  }

  /** Error, one line: the mask has another number of bits set than there are values. */
  protected override async join(name: string, { shape }: Masked): Promise<LoadedTensor> {
    const [out, into] = shape;
    const { dtype, data: values } = await this.file.read(`${layerOf(name)}.compressed`);
    const mask = (await this.file.read(`${layerOf(name)}${maskKey}`)).data as Uint8Array;
    const data = viewOf(dtype, new ArrayBuffer(out * into * values.BYTES_PER_ELEMENT)) as Float32Array;
    let count = 0;
    for (let row = 0; row < out; row++)
      for (let i = 0; i < into; i++)
        if ((mask[row * maskBytes(into) + (i >> 3)]! >> (i & 7)) & 1) {
          if (count < values.length) data[row * into + i] = values[count] as number;
          count++;
        }
    if (count !== values.length)
      throw new Error(
        `${this.path}: ${showText(name)} has ${values.length} values and a bitmask of ${count}; save the folder again`,
      );
    return { dtype, shape, data };
  }
}

async function readMasked(file: SavedWeights, weight: string): Promise<Masked> {
  const layer = layerOf(weight);
  const fail = (what: string): Error => new Error(`${file.path}: ${showText(layer)} ${what}`);
  for (const part of ['compressed', 'shape'])
    if (!file.has(`${layer}.${part}`)) throw fail(`has a bitmask, and ${part} of it is missing; save the folder again`);
  const [out, into, ...more] = toInt32(await file.read(`${layer}.shape`), `${layer}.shape`);
  const { dtype, shape: mask } = file.entry(layer + maskKey);
  const { shape: values, dtype: type } = file.entry(`${layer}.compressed`);
  const fits =
    out !== undefined &&
    into !== undefined &&
    out > 0 &&
    into > 0 &&
    more.length === 0 &&
    dtype === 'U8' &&
    mask.length === 2 &&
    mask[0] === out &&
    mask[1] === maskBytes(into) &&
    (values.length === 1 || (values.length === 2 && values[0] === out && 2 * values[1]! === into));
  if (!fits)
    throw fail(
      `of shape ${showShape([out ?? 0, into ?? 0])} has a bitmask ${dtype} ${showShape(mask)} and values ` +
        `${showShape(values)}, which do not fit`,
    );
  if (type !== 'F32' && type !== 'F16' && type !== 'BF16') throw fail(`is of ${type}; F32, F16 and BF16 are read`);
  return { shape: [out, into] };
}
