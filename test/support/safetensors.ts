import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { SavedWeights, writeSafetensors } from '../../models/io/safetensors.ts';
import type { Dtype, TensorData, TensorToWrite } from '../../models/io/safetensors.ts';

/** A tensor to write whose data is there already. */
export const toWrite = (name: string, dtype: Dtype, shape: number[], data: TensorData): TensorToWrite => ({
  name,
  dtype,
  shape,
  data: () => data,
});

type Tensors = Map<string, Awaited<ReturnType<SavedWeights['read']>>>;

/** What a test does to the tensors of a folder, by their names. */
export type Change = (tensors: Tensors) => unknown;

/** Copies a model's folder to `place`, its tensors as `change` leaves them. Returns the place. */
export async function changedFolder(folder: string, place: string, change: Change): Promise<string> {
  cpSync(folder, place, { recursive: true });
  const file = await SavedWeights.open(place);
  const tensors: Tensors = new Map();
  for (const name of file.names()) tensors.set(name, await file.read(name));
  await file.close();
  change(tensors);
  const list = [...tensors].map(([name, { dtype, shape, data }]) => ({ name, dtype, shape, data: () => data }));
  await writeSafetensors(join(place, 'model.safetensors'), list);
  return place;
}
