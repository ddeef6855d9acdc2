import { filesAt, saveFiles } from '../../common/file-access.ts';
import { join } from '../../common/platform.ts';
import type { FileToWrite } from '../../common/atomic-files.ts';
import { pathKind, readJsonFile } from '../../common/json-file.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { hasModelFile, isGguf, readModelJson } from '../io/model-files.ts';
import { camelCase, listNames, snakeCase } from '../names.ts';
import { checkOptions, ofDraws, realSettings, settingNames } from './options.ts';
import type { GenerationOptions } from './options.ts';

export const GENERATION_FILE = 'generation_config.json';

/** Keys that change no text: what is returned, how it is cached, and what only a second model would use. */
export const withoutEffect: ReadonlySet<string> = new Set([
  '_commit_hash',
  '_from_model_config',
  'assistant_confidence_threshold',
  'assistant_ensemble_weight',
  'assistant_lookbehind',
  'cache_config',
  'cache_implementation',
  'compile_config',
  'continuous_batching_config',
  'disable_compile',
  'low_memory',
  'max_cache_len',
  'num_assistant_tokens_schedule',
  'output_attentions',
  'output_hidden_states',
  'output_logits',
  'output_scores',
  'prefill_chunk_size',
  'return_dict_in_generate',
  'target_lookbehind',
  'transformers_version',
  'use_cache',
]);

/** Settings that a model's own config holds too. */
const ofModels: ReadonlySet<string> = new Set(['bosTokenId', 'decoderStartTokenId', 'eosTokenId', 'padTokenId']);

/**
 * The options that a model folder recommends, in its generation_config.json, or without one in its
 * config.json, as older folders have them; none where it has neither. Pass them on, with those that should
 * differ: `{ ...recommended, topP: 0.9 }`. Keys that are no option of ours are kept in `extra` and written
 * back; `log` gets one line on those that nobody knows (default: stderr).
 *
 * @example
 * const folder = memoryFolder({ 'generation_config.json': '{ "temperature": 0.7 }' });
 * (await readGenerationConfig(folder)).temperature; // 0.7
 */
export async function readGenerationConfig(
  folder: string,
  { log = (line: string): void => console.error(line) }: { readonly log?: (line: string) => void } = {},
): Promise<GenerationOptions> {
  if (!isGguf(folder)) await filesAt(folder).recover(folder);
  const path = join(folder, GENERATION_FILE);
  if (!(await hasModelFile(folder, GENERATION_FILE))) return await readModelConfig(join(folder, 'config.json'));
  const { options, extra } = sortKeys(await readModelJson(folder, GENERATION_FILE));
  const unknown = Object.keys(extra).filter((key) => !withoutEffect.has(key) && settingOf(key) === undefined);
  if (unknown.length > 0)
    log(`${path}: ${listNames(unknown)}: no setting of generation, without effect; check the spelling`);
  return asInFile(path, Object.keys(extra).length > 0 ? { ...options, extra } : options);
}

async function readModelConfig(path: string): Promise<GenerationOptions> {
  if ((await pathKind(path)) === 'none') return {};
  const { options } = sortKeys(await readJsonFile(path));
  return asInFile(path, Object.fromEntries(Object.entries(options).filter(([name]) => !ofModels.has(name))));
}

/** The settings of generation among the keys of a JSON file, which `where` names in errors. */
export const optionsOfJson = (where: string, json: JsonObject): GenerationOptions =>
  asInFile(where, sortKeys(json).options);

/** Settings by our names, and the other keys. Null is no setting, but for eos_token_id: no end of a text. */
function sortKeys(json: JsonObject): { options: JsonObject; extra: JsonObject } {
  const options: JsonObject = {};
  const extra: JsonObject = {};
  for (const [key, value] of Object.entries(json)) {
    const name = settingOf(key);
    if (name !== undefined && (value !== null || name === 'eosTokenId')) options[name] = value;
    else extra[key] = value;
  }
  return { options, extra };
}

/** The setting of a key, if it is one. */
function settingOf(key: string): string | undefined {
  const name = camelCase(key);
  return settingNames.includes(name) && snakeCase(name) === key ? name : undefined;
}

/** Options as a file means them: nothing is drawn unless it says so. */
function asInFile(path: string, options: JsonObject): GenerationOptions {
  const mentionsDraws = Object.keys(ofDraws).some((name) => name in options);
  const given = mentionsDraws && options['doSample'] === undefined ? { ...options, doSample: false } : options;
  return checkOptions(path, given, snakeCase);
}

/**
 * The file that `readGenerationConfig` and Transformers read, to save with a model's other files. Options
 * that are no settings, such as the seed, stay out.
 *
 * @example
 * const folder = memoryFolder();
 * await saveFiles([generationConfigFile(folder, { temperature: 0.7 })]);
 */
export function generationConfigFile(folder: string, options: GenerationOptions): FileToWrite {
  const { extra = {}, ...given } = checkOptions('generation config', options);
  const settings = Object.entries(given)
    .filter(([name]) => settingNames.includes(name))
    .map(([name, value]): [string, unknown] => [snakeCase(name), asReal(name, value)]);
  const sorted = Object.entries({ ...extra, ...Object.fromEntries(settings) }).sort(([a], [b]) => (a < b ? -1 : 1));
  const text = JSON.stringify(Object.fromEntries(sorted), null, 2).replace(/"\\u0000(-?\d+)"/g, '$1.0');
  return { path: join(folder, GENERATION_FILE), data: `${text}\n` };
}

/** Marks whole values of real numbers, to be written with a point: Transformers refuses `2` for some. */
function asReal(name: string, value: unknown): unknown {
  if (name === 'sequenceBias')
    return (value as [number[], number][]).map(([run, bias]) => [run, asReal('temperature', bias)]);
  return realSettings.has(name) && Number.isSafeInteger(value) ? `\0${String(value)}` : value;
}

/**
 * Writes generation_config.json whole or not at all.
 *
 * @example
 * const folder = memoryFolder();
 * await writeGenerationConfig(folder, { temperature: 0.7 });
 * (await readGenerationConfig(folder)).temperature; // 0.7
 */
export async function writeGenerationConfig(folder: string, options: GenerationOptions): Promise<void> {
  await saveFiles([generationConfigFile(folder, options)]);
}
