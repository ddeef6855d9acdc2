import { scope, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { FileToWrite } from '../../common/atomic-files.ts';
import { join } from '../../common/platform.ts';
import { SafetensorsFile, toFloat32, weightFiles } from '../../models/io/safetensors.ts';
import type { GradScaler } from './grad-scaler.ts';
import type { GroupedOptimizer } from './groups.ts';

export type AnyOptimizer = GroupedOptimizer<{ lr: number }>;

const baseName = 'optimizer';

/** The tensors of a state by name: numbers of updates and moments of each group, and a scaler's state. */
function stateTensors(optimizer: AnyOptimizer, scaler: GradScaler | undefined): Map<string, Tensor> {
  const named = new Map<string, Tensor>();
  optimizer.snapshot().groups.forEach(({ steps, tensors }, i) => {
    named.set(`group.${i}.steps`, steps);
    tensors.forEach((x, k) => named.set(`group.${i}.${k}`, x));
  });
  if (scaler) named.set('scaler', scaler.state);
  return named;
}

/**
 * optimizer.safetensors, what an optimizer remembers, to save with a model's files:
 * `model.savePretrained(folder, { files: optimizerFiles(folder, optimizer) })`.
 *
 * @example
 * const layer = new Linear(4, 2);
 * await saveFiles(optimizerFiles(memoryFolder(), new AdamW(layer.parameters())));
 */
export function optimizerFiles(folder: string, optimizer: AnyOptimizer, scaler?: GradScaler): FileToWrite[] {
  const tensors = [...stateTensors(optimizer, scaler)].map(([name, x]) => ({
    name,
    dtype: 'F32' as const,
    shape: x.shape,
    data: async () => (await x.data()) as Float32Array,
  }));
  return weightFiles(folder, tensors, { baseName, maxShardBytes: Infinity });
}

/**
 * Puts an optimizer, and a scaler, to where `optimizerFiles` of the folder was written. Error, one line: the
 * state is that of other parameters.
 *
 * @example
 * const folder = memoryFolder();
 * const optimizer = new AdamW(new Linear(4, 2).parameters());
 * await saveFiles(optimizerFiles(folder, optimizer));
 * await restoreOptimizer(folder, optimizer);
 */
export async function restoreOptimizer(folder: string, optimizer: AnyOptimizer, scaler?: GradScaler): Promise<void> {
  using _ = scope();
  const file = await SafetensorsFile.open(join(folder, `${baseName}.safetensors`));
  try {
    const own = stateTensors(optimizer, scaler);
    const shapes = (entries: Iterable<readonly [string, { readonly shape: readonly number[] }]>): string =>
      [...entries]
        .map(([name, { shape }]) => `${name}[${shape.join()}]`)
        .sort()
        .join();
    if (shapes(own) !== shapes(file.entries))
      throw new Error(
        `${folder}: the saved optimizer state belongs to other parameters; ` +
          'resume with the model and options it was saved with',
      );
    for (const [name, x] of own) {
      const loaded = await file.read(name);
      x.assign(tensor(toFloat32(loaded), { shape: loaded.shape }));
    }
  } finally {
    await file.close();
  }
}
