import { SavedWeights } from './saved-weights.ts';
import type { TensorEntry } from './safetensors-format.ts';
import type { LoadedTensor } from './tensor-data.ts';
import type { WeightsSource } from './weights-source.ts';

/** How a format keeps a weight in several tensors. */
export interface PartsLayout<P> {
  /** The weight that a tensor tells of: `x.weight` for `x.weight_packed`; undefined for others. */
  readonly weightOf: (name: string, file: SavedWeights) => string | undefined;
  /** Names of the tensors that stand for a weight, its own left out. */
  readonly partsOf: (weight: string) => readonly string[];
  /** What the file says of a weight. Errors, each one line: parts are missing or do not fit each other. */
  readonly check: (file: SavedWeights, weight: string) => P | Promise<P>;
}

interface Opened<P> {
  readonly file: SavedWeights;
  readonly inParts: ReadonlyMap<string, P>;
  readonly names: readonly string[];
}

/** Opens a folder of such weights. Errors, each one line: those of the files, and of `check`. */
export async function openParts<P>(folder: string, { weightOf, partsOf, check }: PartsLayout<P>): Promise<Opened<P>> {
  const file = await SavedWeights.open(folder);
  try {
    const inParts = new Map<string, P>();
    const names = new Set(file.names());
    for (const name of file.names()) {
      const weight = weightOf(name, file);
      if (weight === undefined) continue;
      inParts.set(weight, await check(file, weight));
      names.add(weight);
      for (const part of partsOf(weight)) names.delete(part);
    }
    return { file, inParts, names: [...names] };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The weights of such a folder under their usual names, in f32; whole ones as they are. */
export abstract class WeightsInParts<
  P extends { readonly shape: readonly [out: number, into: number] },
> implements WeightsSource {
  readonly path: string;
  protected readonly file: SavedWeights;
  protected readonly inParts: ReadonlyMap<string, P>;
  private readonly allNames: readonly string[];

  constructor({ file, inParts, names }: Opened<P>) {
    this.path = file.path;
    this.file = file;
    this.inParts = inParts;
    this.allNames = names;
  }

  names(): string[] {
    return [...this.allNames];
  }

  entry(name: string): Pick<TensorEntry, 'dtype' | 'shape'> {
    const parts = this.inParts.get(name);
    return parts ? { dtype: 'F32', shape: parts.shape } : this.file.entry(name);
  }

  async read(name: string): Promise<LoadedTensor> {
    const parts = this.inParts.get(name);
    return parts ? this.join(name, parts) : this.file.read(name);
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  /** A weight of its parts. */
  protected abstract join(name: string, parts: P): Promise<LoadedTensor>;
}
