import { join } from 'node:path';
import { writeFilesAtomic } from '../../common/atomic-files.ts';
import type { FileToWrite } from '../../common/atomic-files.ts';
import { pathKind, readJsonFile } from '../../common/json-file.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { camelCase, snakeCase } from '../names.ts';
import { checkOptions, settingNames } from './options.ts';
import type { GenerationOptions } from './options.ts';

const fileName = 'generation_config.json';

/**
 * The options that a model folder recommends, in its generation_config.json; none where it has no such file.
 * Pass them on, with those that should differ: `{ ...recommended, topP: 0.9 }`. Keys that are no option of
 * ours are kept in `extra` and written back.
 */
export async function readGenerationConfig(folder: string): Promise<GenerationOptions> {
  const path = join(folder, fileName);
  if ((await pathKind(path)) === 'none') return {};
  const options: JsonObject = {};
  const extra: JsonObject = {};
  for (const [key, value] of Object.entries(await readJsonFile(path))) {
    const name = camelCase(key);
    if (settingNames.includes(name) && snakeCase(name) === key) options[name] = value;
    else extra[key] = value;
  }
  return checkOptions(path, Object.keys(extra).length > 0 ? { ...options, extra } : options);
}

/**
 * The file that `readGenerationConfig` and Transformers read, to save with a model's other files. Options
 * that are no settings, such as the seed, stay out.
 */
export function generationConfigFile(folder: string, options: GenerationOptions): FileToWrite {
  const { extra = {}, ...given } = checkOptions('generation config', options);
  const settings = Object.entries(given)
    .filter(([name]) => settingNames.includes(name))
    .map(([name, value]): [string, unknown] => [snakeCase(name), value]);
  const sorted = Object.entries({ ...extra, ...Object.fromEntries(settings) }).sort(([a], [b]) => (a < b ? -1 : 1));
  return { path: join(folder, fileName), data: `${JSON.stringify(Object.fromEntries(sorted), null, 2)}\n` };
}

/** Writes generation_config.json whole or not at all. */
export async function writeGenerationConfig(folder: string, options: GenerationOptions): Promise<void> {
  await writeFilesAtomic([generationConfigFile(folder, options)]);
}
