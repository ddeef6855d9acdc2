import { saveFiles } from '../../common/file-access.ts';
import { join } from '../../common/platform.ts';
import type { FileToWrite } from '../../common/atomic-files.ts';
import type { FileSink } from '../../common/staged-file.ts';
import type { Dtype, TensorEntry } from './safetensors-format.ts';
import { DTYPE_BYTES, elementCount, encodeHeader } from './safetensors-format.ts';
import type { TensorData } from './tensor-data.ts';
import { toBytes } from './tensor-data.ts';

/** A tensor to save; `data` is asked for only when its turn comes, one tensor at a time. */
export interface TensorToWrite {
  name: string;
  dtype: Dtype;
  shape: readonly number[];
  data: () => TensorData | Promise<TensorData>;
}

export interface ShardOptions {
  /** The largest shard, in bytes of tensor data; default 5e9. A larger tensor gets a shard of its own. */
  maxShardBytes?: number;
  /** File name without its ending; default "model". */
  baseName?: string;
}

// PyTorch's loaders look at `format`; every Hugging Face checkpoint carries it.
const METADATA = { format: 'pt' };

function checkTensors(tensors: readonly TensorToWrite[], path: string): void {
  const seen = new Set<string>();
  for (const { name, dtype, shape } of tensors) {
    if (name === '__metadata__') throw new Error(`cannot write ${path}: "__metadata__" is no name for a tensor`);
    if (seen.has(name)) throw new Error(`cannot write ${path}: two tensors are named "${name}"`);
    if (!Object.hasOwn(DTYPE_BYTES, dtype)) throw new Error(`cannot write ${path}: "${name}" has dtype ${dtype}`);
    if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0)) {
      throw new Error(`cannot write ${path}: "${name}" has shape [${shape.join(', ')}]`);
    }
    seen.add(name);
  }
}

const byteLength = ({ dtype, shape }: TensorToWrite) => elementCount(shape) * DTYPE_BYTES[dtype];

/**
 * The file for `tensors`: wide elements first, so that every tensor starts at a multiple of its element size.
 */
function safetensorsFile(path: string, tensors: readonly TensorToWrite[]): FileToWrite {
  const inOrder = [...tensors].sort((a, b) => DTYPE_BYTES[b.dtype] - DTYPE_BYTES[a.dtype]);
  const entries: TensorEntry[] = [];
  let position = 0;
  for (const tensor of inOrder) {
    const { name, dtype, shape } = tensor;
    const end = position + byteLength(tensor);
    entries.push({ name, dtype, shape, begin: position, end });
    position = end;
  }
  const write = async (file: FileSink): Promise<void> => {
    await file.write(encodeHeader(entries, METADATA));
    for (const { name, dtype, shape, data } of inOrder) await file.write(toBytes(name, dtype, shape, await data()));
  };
  return { path, data: write };
}

/**
 * Writes one safetensors file, whole or not at all. Tensors are fetched and written one at a time, so the
 * memory needed is that of the largest.
 *
 * Errors: two tensors of one name, data that does not fit dtype and shape, a failed write (the old file is
 * unchanged).
 *
 * @example
 * const data = () => Float32Array.of(1, 2);
 * await writeSafetensors('two.safetensors', [{ name: 'x', dtype: 'F32', shape: [2], data }]);
 */
export async function writeSafetensors(path: string, tensors: Iterable<TensorToWrite>): Promise<void> {
  const list = [...tensors];
  checkTensors(list, path);
  await saveFiles([safetensorsFile(path, list)]);
}

/** Splits tensors, in order, into shards of at most `maxBytes` (a larger tensor is alone in its shard). */
function splitIntoShards(tensors: readonly TensorToWrite[], maxBytes: number): TensorToWrite[][] {
  const shards: TensorToWrite[][] = [[]];
  let used = 0;
  for (const tensor of tensors) {
    const bytes = byteLength(tensor);
    if (used + bytes > maxBytes && shards.at(-1)!.length > 0) {
      shards.push([]);
      used = 0;
    }
    shards.at(-1)!.push(tensor);
    used += bytes;
  }
  return shards;
}

/**
 * The files of a checkpoint in the Hugging Face layout, to hand to `writeFilesAtomic` together with the
 * config and the tokenizer: `model.safetensors`, or above `maxShardBytes` `model-00001-of-0000N.safetensors`
 * ... and `model.safetensors.index.json` (`metadata.total_size`, `weight_map`).
 */
export function weightFiles(
  folder: string,
  tensors: Iterable<TensorToWrite>,
  { maxShardBytes = 5e9, baseName = 'model' }: ShardOptions = {},
): FileToWrite[] {
  const list = [...tensors];
  checkTensors(list, folder);
  if (!(maxShardBytes > 0)) throw new Error(`maxShardBytes must be above 0, got ${maxShardBytes}`);
  const shards = splitIntoShards(list, maxShardBytes);
  if (shards.length === 1) return [safetensorsFile(join(folder, `${baseName}.safetensors`), shards[0]!)];
  const weightMap: Record<string, string> = {};
  const files = shards.map((shard, index) => {
    const number = (value: number) => String(value).padStart(5, '0');
    const name = `${baseName}-${number(index + 1)}-of-${number(shards.length)}.safetensors`;
    for (const tensor of shard) weightMap[tensor.name] = name;
    return safetensorsFile(join(folder, name), shard);
  });
  const totalSize = list.reduce((bytes, tensor) => bytes + byteLength(tensor), 0);
  const index = { metadata: { total_size: totalSize }, weight_map: weightMap };
  files.push({
    path: join(folder, `${baseName}.safetensors.index.json`),
    data: JSON.stringify(index, null, 2) + '\n',
  });
  return files;
}

/**
 * Tells the weight files of a save from all others: those that the new ones do not replace must go, since a
 * stale `model.safetensors` would be read instead of new shards.
 */
export function isWeightsFile(name: string, baseName = 'model'): boolean {
  const rest = name.startsWith(baseName) ? name.slice(baseName.length) : '';
  return /^(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$/.test(rest);
}

/**
 * Saves tensors as the weights of `folder`, sharded above `maxShardBytes`, replacing an older save.
 *
 * @example
 * const folder = memoryFolder();
 * const data = () => Float32Array.of(1, 2);
 * await writeWeights(folder, [{ name: 'x', dtype: 'F32', shape: [2], data }]);
 * [...filesInMemory(folder).keys()]; // ['model.safetensors']
 */
export async function writeWeights(
  folder: string,
  tensors: Iterable<TensorToWrite>,
  options: ShardOptions = {},
): Promise<void> {
  const replaces = (name: string): boolean => isWeightsFile(name, options.baseName);
  await saveFiles(weightFiles(folder, tensors, options), { replaces });
}
