import { filesAt } from '../../common/file-access.ts';
import { isAbsolute, join } from '../../common/platform.ts';
import { isJsonObject, pathKind, readJsonFile } from '../../common/json-file.ts';
import { printable } from '../../common/printable.ts';
import { showText, showValue } from '../names.ts';
import type { TensorEntry } from './safetensors-format.ts';
import { SafetensorsFile } from './safetensors-reader.ts';
import { isWeightsFile } from './safetensors-writer.ts';
import type { LoadedTensor } from './tensor-data.ts';
import type { WeightsSource } from './weights-source.ts';

export const WEIGHTS_FILE = 'model.safetensors';
export const INDEX_FILE = 'model.safetensors.index.json';

/**
 * The weights of a model folder, in one file or in shards, read one tensor at a time. Close it when done.
 *
 * @example
 * const weights = await SavedWeights.open('models/pretrained/bert-small');
 * weights.names().length; // 42
 * await weights.close();
 */
export class SavedWeights implements WeightsSource {
  /** The file or folder it was opened from. */
  readonly path: string;
  private readonly places: ReadonlyMap<string, SafetensorsFile>;
  private readonly files: readonly SafetensorsFile[];

  private constructor(path: string, files: readonly SafetensorsFile[], places: ReadonlyMap<string, SafetensorsFile>) {
    this.path = path;
    this.files = files;
    this.places = places;
  }

  /**
   * Opens a .safetensors file, an index (.json), or a folder holding `model.safetensors` or
   * `model.safetensors.index.json` (the first wins, as in Transformers). Every shard is opened and checked at
   * once.
   *
   * Errors, each one line: nothing to open, a damaged file, an index that names a missing shard or tensor.
   */
  static async open(path: string): Promise<SavedWeights> {
    if ((await pathKind(path)) !== 'folder') return SavedWeights.openFile(path, path);
    const open = async (): Promise<SavedWeights> => {
      let file = join(path, WEIGHTS_FILE);
      if ((await pathKind(file)) === 'none') file = join(path, INDEX_FILE);
      if ((await pathKind(file)) === 'none') {
        throw new Error(`${path} has neither ${WEIGHTS_FILE} nor ${INDEX_FILE}: pass a folder saved with safetensors`);
      }
      return SavedWeights.openFile(path, file);
    };
    return filesAt(path).readTogether(path, open, { files: isWeightsFile, discard: (weights) => weights.close() });
  }

  private static async openFile(path: string, file: string): Promise<SavedWeights> {
    if (file.endsWith('.json')) return SavedWeights.openShards(path, file);
    const single = await SafetensorsFile.open(file);
    return new SavedWeights(path, [single], new Map([...single.entries.keys()].map((name) => [name, single])));
  }

  private static async openShards(path: string, indexPath: string): Promise<SavedWeights> {
    const shards = new Map<string, SafetensorsFile>();
    const places = new Map<string, SafetensorsFile>();
    try {
      for (const [name, shard] of await readWeightMap(indexPath)) {
        let file = shards.get(shard);
        if (!file) {
          file = await SafetensorsFile.open(join(indexPath, '..', shard));
          shards.set(shard, file);
        }
        if (!file.entries.has(name)) {
          throw new Error(
            `${indexPath} says tensor "${showText(name)}" is in ${shard}, but it is not: download the folder again`,
          );
        }
        places.set(name, file);
      }
    } catch (error) {
      for (const file of shards.values()) await file.close();
      throw error;
    }
    return new SavedWeights(path, [...shards.values()], places);
  }

  /** The names of all tensors. */
  names(): string[] {
    return [...this.places.keys()];
  }

  has(name: string): boolean {
    return this.places.has(name);
  }

  /** dtype and shape of a tensor, without reading it. */
  entry(name: string): TensorEntry {
    return this.file(name).entries.get(name)!;
  }

  /** Reads one tensor from the disk. Error: no tensor of that name. */
  async read(name: string): Promise<LoadedTensor> {
    return this.file(name).read(name);
  }

  async close(): Promise<void> {
    for (const file of this.files) await file.close();
  }

  private file(name: string): SafetensorsFile {
    const file = this.places.get(name);
    if (!file) throw new Error(`${this.path} has no tensor "${name}"`);
    return file;
  }
}

/** tensor name -> shard file name of an index, each name checked to stay inside the folder. */
async function readWeightMap(indexPath: string): Promise<[string, string][]> {
  const { weight_map: map } = await readJsonFile(indexPath);
  if (!isJsonObject(map)) throw new Error(`${indexPath} has no weight_map: download the folder again`);
  return Object.entries(map).map(([name, shard]) => {
    if (!isInside(shard))
      throw new Error(
        `${indexPath} places tensor "${showText(name)}" in ${showValue(shard)}, which is no name of a file in it: ` +
          'download the folder again',
      );
    return [name, shard];
  });
}

/** Whether a name is that of a file in a folder or below it. */
function isInside(name: unknown): name is string {
  if (typeof name !== 'string' || name === '' || name.length > 255 || printable(name) !== name) return false;
  return !isAbsolute(name) && !/^[a-z]:/i.test(name) && !name.split(/[\\/]/).includes('..');
}

/** The shard files an index names, each once. */
export async function shardNames(indexPath: string): Promise<string[]> {
  return [...new Set((await readWeightMap(indexPath)).map(([, shard]) => shard))];
}
