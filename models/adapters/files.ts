import { join } from '../../common/platform.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { FileToWrite } from '../../common/atomic-files.ts';
import { pathKind, readJsonFile } from '../../common/json-file.ts';
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS, isAdapterFolder } from '../io/resolve.ts';
import { SavedWeights } from '../io/saved-weights.ts';
import { weightFiles } from '../io/safetensors-writer.ts';
import { matchState, readMatches, tensorsToWrite } from '../io/state-dict.ts';
import { listNames, showShape, showValue } from '../names.ts';
import type { Adapter } from './adapter.ts';
import { keyPrefix } from './adapter.ts';
import { adapterConfigFromJson, adapterConfigText, isPissa } from './config.ts';
import type { AdapterConfig } from './config.ts';
import { plainConfig, plainTensors, takeApart } from './pissa.ts';
import type { BaseModel } from './targets.ts';

const baseName = 'adapter_model';

/**
 * The settings of the adapter in a folder. Errors, each one line: it is none, or of a kind that is not here.
 */
export async function readAdapterConfig(folder: string): Promise<AdapterConfig> {
  const file = join(folder, ADAPTER_CONFIG);
  if (!(await isAdapterFolder(folder)))
    throw new Error(`${folder} has no ${ADAPTER_CONFIG}: pass the folder that PEFT or savePretrained wrote`);
  return adapterConfigFromJson(await readJsonFile(file), file);
}

/**
 * Reads the weights of an adapter from a folder into it. Errors, each one line: those of the file; weights
 * that are missing, have other shapes, or are for layers that the model has not.
 */
export async function readAdapter(adapter: Adapter, model: BaseModel, folder: string): Promise<void> {
  const file = join(folder, ADAPTER_WEIGHTS);
  if ((await pathKind(file)) !== 'file') {
    const isPickle = (await pathKind(join(folder, `${baseName}.bin`))) === 'file';
    const lacks = isPickle
      ? `only ${baseName}.bin, a Python pickle, where ${ADAPTER_WEIGHTS} is needed: load and save it again in PEFT`
      : `no ${ADAPTER_WEIGHTS}: copy it into the folder`;
    throw new Error(`${folder} has ${lacks}`);
  }
  const weights = await SavedWeights.open(file);
  try {
    const own = adapter.stateTensors();
    // The files of PiSSA that PEFT did not convert have the matrices alone.
    const isPlain = isPissa(adapter.config) && !isPissa(await readAdapterConfig(folder));
    const inFile = isPlain ? plainTensors(adapter, own) : own;
    const targets = new Map([...inFile, ...baseTensors(adapter, model)]);
    // PEFT has read and written the magnitudes of DoRA under both names.
    const keyOf = (name: string): string => name.replace(/(\.lora_magnitude_vector)\.weight$/, '$1');
    // With `bias: 'all'` it writes biases of modules that are trained whole two or three times.
    const isAgain = (name: string): boolean => /\.(original_module|modules_to_save)\./.test(name);
    const read = weights.names().filter((name) => !isAgain(name));
    const names = new Map(read.map((name) => [keyOf(name), name]));
    const given = new Map([...names].map(([key, name]) => [key, weights.entry(name)]));
    const { matches, report } = matchState(targets, given);
    const missing = report.missing.filter((key) => own.has(key));
    const { unexpected, mismatched } = report;
    const problem =
      mismatched.length > 0
        ? listNames(
            mismatched.map(({ key, expected, found }) => `${key} is ${showShape(found)}, here ${showShape(expected)}`),
            2,
          )
        : unexpected.length > 0
          ? `it has ${listNames(unexpected, 2)}, and the model no such layer`
          : missing.length > 0
            ? `it lacks ${listNames(missing, 2)}`
            : undefined;
    if (problem !== undefined)
      throw new Error(
        `${file} does not fit ${model.constructor.name} with the settings of ${ADAPTER_CONFIG}: ${problem}; the ` +
          `adapter is for ${showValue(adapter.config.baseModelNameOrPath ?? 'a model that it does not name')}`,
      );
    await readMatches(
      weights,
      matches.map((match) => ({ ...match, source: names.get(match.source)! })),
    );
    if (isPlain) takeApart(adapter, own, inFile);
  } finally {
    await weights.close();
  }
}

/**
 * Weights of the base that PEFT saves with an adapter: those of tables of tokens that are adapted, since
 * their vocabulary may have grown.
 */
function baseTensors(adapter: Adapter, model: BaseModel): Map<string, Tensor> {
  const tables = adapter.layers.filter(({ path }) => /(^|\.)(embed_tokens|lm_head)$/.test(path));
  const state = model.stateTensors();
  return new Map(
    tables.map(({ path }): [string, Tensor] => [`${keyPrefix}${path}.base_layer.weight`, state.get(`${path}.weight`)!]),
  );
}

/** The files of an adapter as PEFT writes them. */
export function adapterFiles(adapter: Adapter, model: BaseModel, folder: string, base?: string): FileToWrite[] {
  const name = adapter.config.baseModelNameOrPath ?? base ?? null;
  const config = { ...plainConfig(adapter), baseModelNameOrPath: name };
  // PEFT reads no file with a text to begin with that names no tokenizer.
  const tokenizer =
    config.peftType === 'PROMPT_TUNING' && config.promptTuningInit === 'TEXT' && config.tokenizerNameOrPath === null
      ? { tokenizerNameOrPath: name ?? 'tokenizer' }
      : {};
  const tables = baseTensors(adapter, model);
  const state = new Map([...plainTensors(adapter, adapter.stateDict()), ...tables]);
  const tensors = tensorsToWrite({ stateDict: () => state }).sort((a, b) => (a.name < b.name ? -1 : 1));
  return [
    ...weightFiles(folder, tensors, { baseName, maxShardBytes: Infinity }),
    { path: join(folder, ADAPTER_CONFIG), data: adapterConfigText({ ...config, ...tokenizer } as AdapterConfig) },
  ];
}
