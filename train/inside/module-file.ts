// Modules that are no model of their own, such as the translators of a lens, as files.
import type { Module } from '../../models/index.ts';
import { SavedWeights, writeSafetensors } from '../../models/io/safetensors.ts';
import { describeReport, matchWeights, readMatches, tensorsToWrite } from '../../models/io/state-dict.ts';

/**
 * Writes a module's weights as one safetensors file, whole or not at all.
 *
 * @example
 * await saveModule('layer.safetensors', new Linear(4, 2));
 */
export const saveModule = (path: string, module: Module): Promise<void> =>
  writeSafetensors(path, tensorsToWrite(module));

/**
 * Reads them into a module of the same shape. Error, one line: a file of another shape, which it names.
 *
 * @example
 * await saveModule('layer.safetensors', new Linear(4, 2));
 * await readModule('layer.safetensors', new Linear(4, 2));
 */
export async function readModule(path: string, module: Module): Promise<void> {
  const weights = await SavedWeights.open(path);
  try {
    const { matches, unused: unexpected, ...rest } = matchWeights(module, weights, { baseModelPrefix: '' });
    const misfits = describeReport({ unexpected, ...rest });
    if (misfits.length > 0)
      throw new Error(
        `${path} does not fit this ${module.constructor.name}, ${misfits.join('; ')}; name another file, which is ` +
          'made where there is none, or the model that it was made for',
      );
    await readMatches(weights, matches);
  } finally {
    await weights.close();
  }
}
