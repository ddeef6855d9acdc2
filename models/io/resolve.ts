import { filesAt } from '../../common/file-access.ts';
import { homedir, join } from '../../common/platform.ts';
import { isGguf } from './model-files.ts';
import { isWeightsFile } from './safetensors-writer.ts';
import { INDEX_FILE, WEIGHTS_FILE, shardNames } from './saved-weights.ts';
import { sentencePieceFiles } from '../tokenizer/sentencepiece.ts';
import { isTokenizerFile } from '../tokenizer/tokenizer-folder.ts';
import { fetchFolder, isAddress } from './fetch-folder.ts';
import { findOnHub } from './hub.ts';
import type { DownloadProgress } from './hub-download.ts';
import { pathKind, readJsonFile } from '../../common/json-file.ts';

export interface ResolveOptions {
  /** What the folder must hold: config.json and weights ("model", the default), or a tokenizer. */
  need?: 'model' | 'tokenizer';
  /** Branch, tag or commit on the hub; default "main". */
  revision?: string;
  /** Called as bytes arrive. */
  onProgress?: (progress: DownloadProgress) => void;
  /** Default: HF_ENDPOINT, else https://huggingface.co. */
  hubUrl?: string;
}

const TOKENIZER_FILES = [
  ...['tokenizer.json', 'tokenizer_config.json', 'vocab.txt', 'special_tokens_map.json', 'chat_template.jinja'],
];
const CONFIG_FILES = ['config.json', 'generation_config.json'];
/** How a model reads pictures. */
export const PREPROCESSOR_FILE = 'preprocessor_config.json';
/** Where processors of several kinds of input are together, as Transformers 5 writes them. */
export const PROCESSOR_FILE = 'processor_config.json';
const PROCESSOR_FILES = [PREPROCESSOR_FILE, PROCESSOR_FILE];
export const ADAPTER_CONFIG = 'adapter_config.json';
export const ADAPTER_WEIGHTS = 'adapter_model.safetensors';
/** What sentence-transformers writes beside a transformer: its settings, and a folder for each module. */
const SENTENCE_FILE =
  /^(modules|sentence_bert_config|config_sentence_transformers)\.json$|^\d+_\w+\/(config\.json|model\.safetensors)$/;
const SHARD = /^model-\d+-of-\d+\.safetensors$/;
const PICKLES = ['pytorch_model.bin', 'pytorch_model.bin.index.json'];

const CONVERT =
  `a Python pickle, where ${WEIGHTS_FILE} is needed: convert it with Transformers, ` +
  `AutoModelForPreTraining.from_pretrained(model).save_pretrained(folder)`;

const exists = async (folder: string, name: string): Promise<boolean> =>
  (await pathKind(join(folder, name))) === 'file';

/**
 * Returns the files that `folder` lacks, as the rest of a sentence with its mend; null where it has all that
 * is needed.
 */
async function whatIsMissing(folder: string, need: 'model' | 'tokenizer'): Promise<string | null> {
  if (need === 'tokenizer') {
    for (const name of ['tokenizer.json', 'vocab.txt', ...sentencePieceFiles])
      if (await exists(folder, name)) return null;
    return 'has neither tokenizer.json nor vocab.txt: copy the files of the tokenizer it was trained with into it';
  }
  if (await isAdapterFolder(folder)) return null;
  if (!(await exists(folder, 'config.json'))) return 'has no config.json: pass the folder that savePretrained wrote';
  if (await exists(folder, WEIGHTS_FILE)) return null;
  if (await exists(folder, INDEX_FILE)) {
    for (const shard of await shardNames(join(folder, INDEX_FILE))) {
      if (!(await exists(folder, shard)))
        return `has no ${shard}, which ${INDEX_FILE} names: copy the missing shards into it`;
    }
    return null;
  }
  for (const pickle of PICKLES) {
    if (await exists(folder, pickle)) {
      return `has only ${pickle}, ${CONVERT}`;
    }
  }
  return `has no ${WEIGHTS_FILE}: pass a folder with config.json and ${WEIGHTS_FILE}`;
}

/** Tells the files that a model, its adapter and its tokenizer are read from. */
export function isModelFile(name: string): boolean {
  const others = [...CONFIG_FILES, ...PROCESSOR_FILES, ADAPTER_CONFIG, ADAPTER_WEIGHTS];
  return isWeightsFile(name) || isTokenizerFile(name) || others.includes(name);
}

/**
 * Whether a folder holds an adapter, as PEFT writes it.
 *
 * @example
 * await isAdapterFolder('models/pretrained/bert-small'); // false
 */
export const isAdapterFolder = (folder: string): Promise<boolean> => exists(folder, ADAPTER_CONFIG);

/** Where the parts of a model are read from. */
export interface ModelParts {
  /** The folder, or GGUF file, with the weights. */
  readonly base: string;
  /** The folder whose config.json counts: an adapter's has the labels that it was trained for. */
  readonly config: string;
  /** The folder of the adapter that goes on top. */
  readonly adapter: string | undefined;
}

/**
 * The parts of a resolved model: of a folder that holds only an adapter, the base that it names. With
 * `adapter` that folder's goes on top. Error, one line: the base is not to be found.
 */
export async function modelParts(
  folder: string,
  { adapter: given, ...options }: ResolveOptions & { readonly adapter?: string } = {},
): Promise<ModelParts> {
  const own = !isGguf(folder) && (await isAdapterFolder(folder)) ? folder : undefined;
  if (given !== undefined && !(await isAdapterFolder(given)))
    throw new Error(`${given} has no ${ADAPTER_CONFIG}: pass the folder that PEFT or savePretrained wrote`);
  const adapter = given ?? own;
  if (adapter === undefined) return { base: folder, config: folder, adapter };
  const hasWeights = isGguf(folder) || (await exists(folder, WEIGHTS_FILE)) || (await exists(folder, INDEX_FILE));
  const base = own === undefined || hasWeights ? folder : await adapterBase(folder, options);
  return { base, config: (await exists(adapter, 'config.json')) ? adapter : base, adapter };
}

/** The base that an adapter names. */
async function adapterBase(folder: string, options: ResolveOptions): Promise<string> {
  const file = join(folder, ADAPTER_CONFIG);
  const { base_model_name_or_path: name } = await readJsonFile(file);
  const mend = `give the base as the model and ${folder} as its adapter`;
  if (typeof name !== 'string' || name === '') throw new Error(`${file} names no base model; ${mend}`);
  try {
    return await resolveModelFolder(name, options);
  } catch (error) {
    throw new Error(`${file}: its base model is missing (${(error as Error).message}); ${mend}`, { cause: error });
  }
}

/**
 * Reads a model, its tokenizer, or both, from a folder as one: none of it from before a save of another
 * process and the rest from after it. `read` runs again where such a save comes between; `discard` gives back
 * what the run before had opened.
 *
 *   const folder = await resolveModelFolder(id);
 *   const [model, tokenizer] = await readModelFolder(folder, async () => [
 *     await loadModel(folder),
 *     await loadTokenizer(folder),
 *   ]);
 *
 * @example
 * const folder = await resolveModelFolder('models/pretrained/gpt-small');
 * const model = await readModelFolder(folder, () => loadModel(folder));
 */
export function readModelFolder<T>(
  folder: string,
  read: () => Promise<T>,
  discard?: (result: T) => unknown,
): Promise<T> {
  return isGguf(folder) ? read() : filesAt(folder).readTogether(folder, read, { files: isModelFile, discard });
}

/**
 * The folder for a model: `id` is a folder; or a GGUF file, which stands for one and is returned as it is; or
 * the address of a folder or GGUF file, `https://...`, whose files are fetched into memory and stay there for
 * later calls, until `dropMemoryFolder` of what this returns; or a model in the local Hugging Face cache
 * (HF_HUB_CACHE, HF_HOME); or a name on the hub, downloaded into that cache (not with HF_HUB_OFFLINE=1), in a
 * browser into memory. Old names such as `bert-base-uncased` stand for `google-bert/bert-base-uncased`.
 *
 * Errors, each one line with its mend: a folder that lacks config.json or safetensors (a pickle is
 * recognised), no such folder, an unknown or private model, no network.
 *
 * @example
 * await resolveModelFolder('models/pretrained/bert-small'); // 'models/pretrained/bert-small'
 */
export async function resolveModelFolder(id: string, options: ResolveOptions = {}): Promise<string> {
  if (typeof id !== 'string' || id === '') {
    throw new Error(`a model is given by its folder or its name on the hub, got ${JSON.stringify(id) ?? 'undefined'}`);
  }
  const { need = 'model' } = options;
  const fetched = (address: string): Promise<string> =>
    fetchFolder(address, (folder, fetch) => fetchParts(folder, need, fetch), options.onProgress);
  if (isAddress(id)) {
    const folder = await fetched(id);
    if (isGguf(folder) && (await pathKind(folder)) === 'none')
      throw new Error(`${id} does not exist: check the address`);
    const missing = isGguf(folder) ? null : await whatIsMissing(folder, need);
    if (missing) throw new Error(`${id} ${missing}`);
    return folder;
  }
  const path = /^~(?=[\\/]|$)/.test(id) ? join(homedir(), id.slice(1)) : id;
  const kind = await pathKind(path);
  if (kind === 'file' && isGguf(path)) return path;
  if (kind === 'file') throw new Error(`${id} is a file: pass the folder that holds it`);
  if (kind === 'folder') {
    const missing = await readModelFolder(path, () => whatIsMissing(path, need));
    if (missing && need === 'tokenizer' && (await isAdapterFolder(path))) return adapterBase(path, options);
    if (missing) throw new Error(`${id} ${missing}`);
    return path;
  }
  const files = need === 'model' ? 'config.json and model.safetensors' : 'tokenizer.json or vocab.txt';
  return findOnHub(id, options, {
    advice: `pass a folder with ${files}`,
    whatIsMissing: (folder) => whatIsMissing(folder, need),
    select: (listing) => filesToDownload(listing, need, id),
    fetched,
  });
}

/** Fetches the files that a model at an address may have, those first that tell of others. */
async function fetchParts(
  folder: string,
  need: 'model' | 'tokenizer',
  fetch: (names: readonly string[]) => Promise<unknown>,
): Promise<void> {
  await fetch([...TOKENIZER_FILES, 'config.json']);
  if (!(await exists(folder, 'tokenizer.json')) && !(await exists(folder, 'vocab.txt')))
    await fetch([...sentencePieceFiles, 'vocab.json']);
  if (need === 'tokenizer') return;
  await fetch([...CONFIG_FILES, ADAPTER_CONFIG, 'modules.json', WEIGHTS_FILE]);
  if (await exists(folder, ADAPTER_CONFIG)) await fetch([ADAPTER_WEIGHTS]);
  if (await readsPictures(folder)) await fetch(PROCESSOR_FILES);
  if (await exists(folder, 'modules.json'))
    await fetch(['sentence_bert_config.json', 'config_sentence_transformers.json', ...(await moduleFiles(folder))]);
  if (await exists(folder, WEIGHTS_FILE)) return;
  await fetch([INDEX_FILE]);
  if (await exists(folder, INDEX_FILE)) await fetch(await shardNames(join(folder, INDEX_FILE)));
}

/** Whether the settings of a folder's model have the size of a picture among them. */
async function readsPictures(folder: string): Promise<boolean> {
  const file = join(folder, 'config.json');
  return (await exists(folder, 'config.json')) && /"image_size"/.test(await filesAt(file).readText(file));
}

/** The files of the modules that follow the transformer, as sentence-transformers lists them. */
async function moduleFiles(folder: string): Promise<string[]> {
  const modules = JSON.parse(await filesAt(folder).readText(join(folder, 'modules.json'))) as unknown;
  const files = (Array.isArray(modules) ? modules : []).flatMap(({ path }: { path?: unknown }) => [
    `${String(path)}/config.json`,
    `${String(path)}/model.safetensors`,
  ]);
  return files.filter((name) => SENTENCE_FILE.test(name));
}

/**
 * The files of a listing to fetch: the whole weights or the shards, never both. Error: the model has no
 * safetensors.
 */
function filesToDownload(listing: readonly string[], need: 'model' | 'tokenizer', id: string): string[] {
  const small =
    need === 'model' ? [...TOKENIZER_FILES, ...CONFIG_FILES, ...PROCESSOR_FILES] : [...TOKENIZER_FILES, 'config.json'];
  const pieces = listing.includes('tokenizer.json') ? [] : [...sentencePieceFiles, 'vocab.json'];
  const files = listing.filter(
    (file) => small.includes(file) || pieces.includes(file) || (need === 'model' && SENTENCE_FILE.test(file)),
  );
  if (need === 'tokenizer') return files;
  if (listing.includes(WEIGHTS_FILE)) return [...files, WEIGHTS_FILE];
  if (listing.includes(INDEX_FILE)) return [...files, INDEX_FILE, ...listing.filter((file) => SHARD.test(file))];
  const pickle = PICKLES.find((file) => listing.includes(file));
  throw new Error(
    `${id} on the hub has ${pickle ? `only ${pickle}, ${CONVERT}` : `no ${WEIGHTS_FILE}: choose another model`}`,
  );
}
