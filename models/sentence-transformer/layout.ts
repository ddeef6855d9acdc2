/**
 * The folder layout of sentence-transformers: modules.json names what follows the transformer, each with a
 * folder of its own; sentence_bert_config.json and config_sentence_transformers.json say how texts are read.
 */
import { filesAt } from '../../common/file-access.ts';
import { join } from '../../common/platform.ts';
import type { FileToWrite } from '../../common/atomic-files.ts';
import { isJsonObject, pathKind, readError, readJsonFile } from '../../common/json-file.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { showValue } from '../names.ts';
import type { ActivationName } from '../nn/activation.ts';
import { poolingModes } from './pooling.ts';
import type { PoolingMode } from './pooling.ts';

export interface PoolingSettings {
  readonly kind: 'Pooling';
  /** One mode, or several whose vectors stand one behind the other. */
  readonly modes: readonly PoolingMode[];
  /** Whether the tokens of a prompt count. */
  readonly includePrompt: boolean;
}

export interface DenseSettings {
  readonly kind: 'Dense';
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly bias: boolean;
  /** undefined leaves the values as they are. */
  readonly activation: ActivationName | undefined;
  /** Adds the input, projected where the widths differ. */
  readonly residual: boolean;
}

/** What follows the transformer, in order. */
export type SentenceModule = PoolingSettings | DenseSettings | { readonly kind: 'Normalize' };

export interface SentenceLayout {
  readonly modules: readonly SentenceModule[];
  /** Tokens of a text, longer ones are cut; undefined: what model and tokenizer take. */
  readonly maxSeqLength: number | undefined;
  readonly doLowerCase: boolean;
  /** What is put before a text, by the name of its use: { query: 'query: ' }. */
  readonly prompts: Readonly<Record<string, string>>;
  readonly defaultPromptName: string | undefined;
  /** The two files as they were read, whose other keys are written back. */
  readonly files: Readonly<Record<'transformer' | 'model', JsonObject>>;
}

const layoutFile = 'modules.json';
const transformerFile = 'sentence_bert_config.json';
const modelFile = 'config_sentence_transformers.json';

/** What a folder without modules.json is taken for, as in sentence-transformers. */
export const plainLayout: SentenceLayout = {
  modules: [{ kind: 'Pooling', modes: ['mean'], includePrompt: true }],
  maxSeqLength: undefined,
  doLowerCase: false,
  prompts: {},
  defaultPromptName: undefined,
  files: { transformer: {}, model: {} },
};

/** The folder of module i, counted from 1 behind the transformer. */
const folderOf = ({ kind }: SentenceModule, i: number): string => `${i + 1}_${kind}`;

export interface ReadLayout extends SentenceLayout {
  /** Where the module of each place has its files. */
  readonly folders: readonly string[];
}

/**
 * The layout of a folder; `plainLayout` where it has no modules.json. Errors, each one line with the file: a
 * module or setting that is not here; a value of the wrong kind.
 */
export async function readLayout(folder: string): Promise<ReadLayout> {
  const path = join(folder, layoutFile);
  if ((await pathKind(path)) !== 'file') return { ...plainLayout, folders: [folder] };
  const optional = async (name: string): Promise<JsonObject> => {
    const file = join(folder, name);
    return (await pathKind(file)) === 'file' ? readJsonFile(file) : {};
  };
  const list = await readList(path);
  const modules: SentenceModule[] = [];
  const folders: string[] = [];
  for (const [i, { type, path: place }] of list.entries()) {
    const kind = /^sentence_transformers\..*?(\w+)$/.exec(String(type))?.[1];
    const own = join(folder, typeof place === 'string' ? place : '');
    if (i === 0) {
      if (kind !== 'Transformer' || own !== join(folder, ''))
        throw new Error(
          `${path}: its first module is ${showValue(type)} in ${showValue(place)}; a Transformer in the folder ` +
            'itself, path "", is what loads here',
        );
      continue;
    }
    const file = join(own, 'config.json');
    if (kind === 'Normalize') modules.push({ kind });
    else if (kind === 'Pooling') modules.push(readPooling(await readJsonFile(file), file));
    else if (kind === 'Dense') modules.push(readDense(await readJsonFile(file), file));
    else throw new Error(`${path}: module ${i} is ${showValue(type)}; Pooling, Dense and Normalize are here`);
    folders.push(own);
  }
  if (modules[0]?.kind !== 'Pooling' || modules.filter(({ kind }) => kind === 'Pooling').length > 1)
    throw new Error(`${path}: one Pooling must follow the Transformer, to make one vector of a text's tokens`);
  const [transformer, model] = [await optional(transformerFile), await optional(modelFile)];
  const read = reading(join(folder, transformerFile), transformer);
  const { prompts = {}, default_prompt_name: defaultName = null } = model;
  if (!isJsonObject(prompts) || !Object.values(prompts).every((prompt) => typeof prompt === 'string'))
    throw new Error(`${join(folder, modelFile)}: prompts is ${showValue(prompts)}, not texts by their names`);
  if (defaultName !== null && !(typeof defaultName === 'string' && Object.hasOwn(prompts, defaultName)))
    throw new Error(
      `${join(folder, modelFile)}: default_prompt_name is ${showValue(defaultName)}, which prompts does not have`,
    );
  return {
    modules,
    folders,
    maxSeqLength: transformer['max_seq_length'] == null ? undefined : read.count('max_seq_length'),
    doLowerCase: read.truth('do_lower_case', false),
    prompts: prompts as Record<string, string>,
    defaultPromptName: (defaultName as string | null) ?? undefined,
    files: { transformer, model },
  };
}

async function readList(path: string): Promise<JsonObject[]> {
  let list: unknown;
  try {
    list = JSON.parse(await filesAt(path).readText(path));
  } catch (error) {
    throw readError(path, error);
  }
  if (!Array.isArray(list) || list.length === 0 || !list.every(isJsonObject))
    throw new Error(`${path}: it is no list of modules, [{"idx": 0, "path": "", "type": ...}, ...]`);
  return list;
}

/** Values of a file by their kind, else an error that names the file. */
function reading(file: string, json: JsonObject) {
  const wrong = (key: string, wanted: string): Error =>
    new Error(`${file}: ${key} is ${showValue(json[key])}, not ${wanted}`);
  return {
    count(key: string): number {
      const value = json[key];
      if (!Number.isInteger(value) || (value as number) < 1) throw wrong(key, 'a whole number of at least 1');
      return value as number;
    },
    truth(key: string, otherwise: boolean): boolean {
      const value = json[key] ?? otherwise;
      if (typeof value !== 'boolean') throw wrong(key, 'true or false');
      return value;
    },
    wrong,
  };
}

/** The switches of older files, in the order in which their vectors stand. */
const switches: readonly (readonly [key: string, mode: PoolingMode])[] = [
  ['pooling_mode_cls_token', 'cls'],
  ['pooling_mode_max_tokens', 'max'],
  ['pooling_mode_mean_tokens', 'mean'],
  ['pooling_mode_mean_sqrt_len_tokens', 'mean_sqrt_len_tokens'],
  ['pooling_mode_weightedmean_tokens', 'weightedmean'],
  ['pooling_mode_lasttoken', 'lasttoken'],
];

function readPooling(json: JsonObject, file: string): PoolingSettings {
  const read = reading(file, json);
  const includePrompt = read.truth('include_prompt', true);
  const switched = switches.filter(([key]) => read.truth(key, false)).map(([, mode]) => mode);
  const given: unknown = json['pooling_mode'] ?? (switched.length > 0 ? switched : 'mean');
  const modes = [given].flat();
  if (modes.length === 0 || !modes.every((mode) => poolingModes.includes(mode as PoolingMode)))
    throw read.wrong('pooling_mode', `of ${poolingModes.join(', ')}`);
  return { kind: 'Pooling', modes: modes as PoolingMode[], includePrompt };
}

/** PyTorch's classes of activations. */
const torchActivations: Readonly<Record<string, ActivationName | undefined>> = {
  'torch.nn.modules.activation.Tanh': 'tanh',
  'torch.nn.modules.activation.ReLU': 'relu',
  'torch.nn.modules.activation.GELU': 'gelu',
  'torch.nn.modules.activation.SiLU': 'silu',
  'torch.nn.modules.activation.Sigmoid': 'sigmoid',
  'torch.nn.modules.linear.Identity': undefined,
};

function readDense(json: JsonObject, file: string): DenseSettings {
  const read = reading(file, json);
  const name = json['activation_function'] ?? 'torch.nn.modules.activation.Tanh';
  if (typeof name !== 'string' || !Object.hasOwn(torchActivations, name))
    throw read.wrong('activation_function', `of ${Object.keys(torchActivations).join(', ')}`);
  for (const key of ['module_input_name', 'module_output_name'])
    if ((json[key] ?? 'sentence_embedding') !== 'sentence_embedding')
      throw read.wrong(key, '"sentence_embedding", the one that is here');
  return {
    kind: 'Dense',
    inFeatures: read.count('in_features'),
    outFeatures: read.count('out_features'),
    bias: read.truth('bias', true),
    activation: torchActivations[name],
    residual: read.truth('use_residual', false),
  };
}

/**
 * The layout's files, by the names that every version of sentence-transformers reads; `width` is that of the
 * tokens' vectors.
 */
export function layoutFiles(folder: string, layout: SentenceLayout, width: number): FileToWrite[] {
  const { modules, maxSeqLength, doLowerCase, prompts, defaultPromptName = null, files } = layout;
  const file = (name: string, value: unknown): FileToWrite => ({
    path: join(folder, name),
    data: `${JSON.stringify(value, null, 2)}\n`,
  });
  const list = [{ kind: 'Transformer' }, ...modules].map(({ kind }, idx) => ({
    idx,
    name: String(idx),
    path: idx === 0 ? '' : folderOf(modules[idx - 1]!, idx - 1),
    type: `sentence_transformers.models.${kind}`,
  }));
  return [
    file(layoutFile, list),
    file(transformerFile, {
      ...files.transformer,
      ...(maxSeqLength === undefined ? {} : { max_seq_length: maxSeqLength }),
      ...(doLowerCase || 'do_lower_case' in files.transformer ? { do_lower_case: doLowerCase } : {}),
    }),
    file(modelFile, { similarity_fn_name: 'cosine', ...files.model, prompts, default_prompt_name: defaultPromptName }),
    ...modules.flatMap((module, i) => {
      const config = moduleConfig(module, width);
      return config ? [file(join(folderOf(module, i), 'config.json'), config)] : [];
    }),
  ];
}

/** Where the weights of module i are written. */
export const moduleFolder = (folder: string, { modules }: SentenceLayout, i: number): string =>
  join(folder, folderOf(modules[i]!, i));

function moduleConfig(module: SentenceModule, width: number): JsonObject | undefined {
  if (module.kind === 'Normalize') return undefined;
  if (module.kind === 'Dense') {
    const { inFeatures, outFeatures, bias, activation, residual } = module;
    const [name] = Object.entries(torchActivations).find(([, each]) => each === activation)!;
    return {
      in_features: inFeatures,
      out_features: outFeatures,
      bias,
      activation_function: name,
      ...(residual ? { use_residual: true } : {}),
    };
  }
  const { modes, includePrompt } = module;
  const inOrder = switches.map(([, mode]) => mode).filter((mode) => modes.includes(mode));
  const prompt = includePrompt ? {} : { include_prompt: false };
  if (inOrder.join() !== modes.join()) return { embedding_dimension: width, pooling_mode: modes, ...prompt };
  return {
    word_embedding_dimension: width,
    ...Object.fromEntries(switches.map(([key, mode]) => [key, modes.includes(mode)])),
    ...prompt,
  };
}
