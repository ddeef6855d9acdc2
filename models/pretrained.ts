import { filesAt, saveFiles } from '../common/file-access.ts';
import { join } from '../common/platform.ts';
import type { ConfigFormat, ModelConfig } from './config.ts';
import { randomState, setRandomState } from '../autograd/index.ts';
import { tensorRoom } from '../autograd/runtime.ts';
import { showBytes, tooLarge } from '../common/memory.ts';
import { sizeOf } from '../kernels/layout.ts';
import type { FileToWrite } from '../common/atomic-files.ts';
import type { JsonObject } from '../common/json-file.ts';
import { pathKind, readJsonFile } from '../common/json-file.ts';
import { GENERATION_FILE } from './generation/config-file.ts';
import { loadAdapter } from './adapters/peft-model.ts';
import { modelParts, readModelFolder, resolveModelFolder } from './io/resolve.ts';
import type { ResolveOptions } from './io/resolve.ts';
import { isWeightsFile, weightFiles } from './io/safetensors-writer.ts';
import { isGguf, openWeights, readModelJson } from './io/model-files.ts';
import {
  checkLoadsAgain,
  checkMatch,
  describeApart,
  keysApart,
  matchWeights,
  otherHalf,
  readMatches,
  takeTables,
  tensorsToWrite,
} from './io/state-dict.ts';
import type { KeyRules } from './io/state-dict.ts';
import { Module } from './module.ts';
import { listNames, showShape } from './names.ts';
import { countParameters, isCounting, Parameter, postponeInit } from './parameter.ts';
import { modelOf } from './nn/changed-layers.ts';
import { linearNames, packedLayers, packWeights, quantizationConfig } from './nn/quantize.ts';
import { sparseTensors } from './io/sparse-bitmask.ts';
import type { SparseKind } from './io/sparse-bitmask.ts';
import type { Quantization } from './nn/quantize.ts';
import { isTokenizerFile } from './tokenizer/tokenizer-folder.ts';

export interface LoadOptions extends Omit<ResolveOptions, 'need'> {
  /** Folder of an adapter to put on the model, see `loadAdapter`. */
  readonly adapter?: string;
  /** Keep the weights of linear layers and embeddings in 4 or 8 bits on the device, frozen; default f32. */
  readonly quantize?: Quantization;
  /** Start head weights anew whose shape in the file differs, as with another number of labels. */
  readonly ignoreMismatchedSizes?: boolean;
  /** Receives the one-line notes on new and unused weights; default: stderr. */
  readonly log?: (line: string) => void;
}

export interface SaveOptions {
  /** Its files are saved with the model's, all or none. */
  readonly tokenizer?: { filesToSave(folder: string): FileToWrite[] };
  /** f16 halves the files; default the model's own type. */
  readonly dtype?: 'f16';
  /**
   * Leaves out the zeros of linear layers, a bit for each weight in their place, where that is smaller: as
   * compressed-tensors 0.8 to 0.12 reads it; loaded here, the model is the same. '2:4': of layers where two
   * in every four neighbours are zero, in its format for those; throws where a layer is so in part, or none
   * is. Default false.
   */
  readonly sparse?: SparseKind | false;
  /** Further files of the folder, such as a model card, to save with them. */
  readonly files?: readonly FileToWrite[];
  /** Further names of files that an older save may have left, to remove where they are not written anew. */
  readonly replaces?: readonly string[];
  /** The largest weight file, in bytes of tensor data; default 5e9. */
  readonly maxShardBytes?: number;
}

/** A class of models, as its static side: what the family's abstract class fixes once for all its heads. */
export interface PreTrainedClass<C extends ModelConfig, I, M extends PreTrainedModel<C>> {
  new (config: C): M;
  readonly configFormat: ConfigFormat<C, I>;
  readonly keyRules: KeyRules;
}

/**
 * A model with a config, read from and written to folders in the Hugging Face layout. A family extends it
 * once with static `configFormat` and `keyRules`; its classes bear Transformers' names, which config.json
 * lists as `architectures`.
 *
 * @example
 * const model = await BertForMaskedLM.fromPretrained('models/pretrained/bert-small');
 * await model.savePretrained(memoryFolder(), { dtype: 'f16' });
 */
export abstract class PreTrainedModel<C extends ModelConfig> extends Module {
  config: C;
  /** The generation_config.json that the model was loaded with, written back with it as it was. */
  generationConfig: string | undefined;
  /** The folder or name that the model was loaded by; an adapter's file names its base by it. */
  nameOrPath: string | undefined;

  constructor(config: C) {
    super();
    this.config = config;
    checkFits(new.target as unknown as new (config: C) => Module, config);
  }

  /**
   * Whether a file may lack this key, which is then initialised: by default what is outside of the base
   * model.
   */
  protected mayBeNew(key: string): boolean {
    const { keyRules } = this.constructor as unknown as PreTrainedClass<C, unknown, PreTrainedModel<C>>;
    return key.startsWith(`${keyRules.baseModelPrefix}.`)
      ? false
      : this.namedModules().some(([name]) => name === keyRules.baseModelPrefix);
  }

  /**
   * A model with freshly initialised weights; seed them with `manualSeed`. Takes settings (the rest is
   * default) or a whole config.
   */
  static fromConfig<C extends ModelConfig, I, M extends PreTrainedModel<C>>(
    this: PreTrainedClass<C, I, M>,
    config: C | I,
  ): M {
    const whole = isWholeConfig<C>(config) ? config : this.configFormat.create(config as I);
    const { modelType } = this.configFormat;
    if (whole.modelType !== modelType)
      throw new Error(
        `${this.name}: the config is one of "${whole.modelType}"; this class needs one of "${modelType}"`,
      );
    return modelOf(this, whole);
  }

  /**
   * Loads a model from a folder, the Hugging Face cache or the hub (see `resolveModelFolder`), in eval mode
   * and f32, or with weights of 4 or 8 bits (`quantize`). `overrides` replace settings of config.json.
   * Weights of a head that the file lacks are initialised and named in one line on stderr. Weights that the
   * config ties and the file has with different values are kept apart, as in Transformers, and named in
   * another line.
   *
   * Errors, each one line: those of resolving and of the files; a config this class cannot run; a file that
   * lacks weights of the base model or has them in other shapes.
   */
  static async fromPretrained<C extends ModelConfig, I, M extends PreTrainedModel<C>>(
    this: PreTrainedClass<C, I, M>,
    id: string,
    overrides?: I,
    options: LoadOptions = {},
  ): Promise<M> {
    const { ignoreMismatchedSizes = false, quantize, ...rest } = options;
    const { log = (line: string): void => console.error(line), ...resolving } = rest;
    const given = await resolveModelFolder(id, resolving);
    const { base: folder, config: configFolder, adapter } = await modelParts(given, resolving);
    const configFile = join(configFolder, 'config.json');
    const open = async () => {
      const json = await readModelJson(configFolder, 'config.json');
      const config = this.configFormat.fromJson(json, configFile, overrides);
      const generationConfig = await generationConfigOf(folder);
      // An adapter's folder tells what its model is, and the base's how its weights are kept.
      const kept = configFolder === folder ? json : await readModelJson(folder, 'config.json');
      return { json, config, generationConfig, weights: await openWeights(folder, kept) };
    };
    const opened = await readModelFolder(folder, open, ({ weights }) => weights.close());
    const { json, config, generationConfig, weights } = opened;
    try {
      const { module: model, initialise } = named(configFile, () => postponeInit(() => modelOf(this, config)));
      await takeTables(model, weights, this.keyRules);
      const isComputed = (key: string): boolean => this.keyRules.computedKeys?.test(key) ?? false;
      const tied = matchWeights(model, weights, this.keyRules);
      const mayBeNew = (key: string): boolean => isComputed(key) || model.mayBeNew(key);
      // An adapter may bring a head for other labels.
      checkMatch(tied, folder, this.name, mayBeNew, ignoreMismatchedSizes || adapter !== undefined);
      const apart = await keysApart(weights, tied.matches);
      for (const { key } of apart) model.untie(key);
      const match = apart.length > 0 ? matchWeights(model, weights, this.keyRules) : tied;
      const state = model.stateTensors();
      const unread = quantize ? await packWeights(model, match.matches, weights, quantize, log) : match.matches;
      await readMatches(weights, unread);
      const read = new Set(match.matches.map(({ target }) => target));
      const fresh = [...match.missing, ...match.mismatched.map(({ key }) => key)].filter(
        (key) => !read.has(state.get(key)!) && !isComputed(key),
      );
      for (const target of fresh.map((key) => state.get(key))) if (target instanceof Parameter) initialise(target);
      if (apart.length > 0)
        log(
          `kept apart: ${describeApart(apart)} differ in ${folder}, though its config.json ties them (set ` +
            'tie_word_embeddings to false there if all of them should be)',
        );
      const doubt = otherHalf(json['dtype'] ?? json['torch_dtype'], weights);
      if (doubt) log(`${configFile}: ${doubt}`);
      const peft = adapter === undefined ? undefined : await loadAdapter(model, adapter);
      const unknown = fresh.filter((key) => !peft?.trainsWhole(key));
      if (unknown.length > 0) log(`newly initialised: ${listNames(unknown)} (train them before use)`);
      if (match.unused.length > 0) log(`not used by ${this.name}: ${listNames(match.unused, 4)}`);
      model.generationConfig = generationConfig;
      model.nameOrPath = folder === given ? id : folder;
      return model.eval();
    } finally {
      await weights.close();
    }
  }

  /**
   * Takes the weights of a folder that this model, or one of the same class and config, was saved to. Errors:
   * those of `fromPretrained`; a weight is missing; weights that are tied here differ in the folder.
   */
  async loadWeights(folder: string): Promise<void> {
    const { keyRules } = this.constructor as unknown as PreTrainedClass<C, unknown, PreTrainedModel<C>>;
    const weights = await openWeights(folder);
    try {
      const match = matchWeights(this, weights, keyRules);
      checkMatch(match, folder, this.constructor.name, () => false, false);
      const apart = await keysApart(weights, match.matches);
      if (apart.length > 0)
        throw new Error(
          `${folder} does not fit this ${this.constructor.name}, which ties ${describeApart(apart)}: they differ ` +
            'in the folder; load it with fromPretrained, which keeps them apart',
        );
      await readMatches(weights, match.matches);
    } finally {
      await weights.close();
    }
  }

  /**
   * Writes config.json and model.safetensors (or shards and their index), and the generation_config.json that
   * the model came with, so that Transformers loads the folder with the class of this one's name. Files of an
   * older save that would be mixed with them go, so does the generation_config.json of a model of another
   * class; whenever the process may end, the folder is the old one or the new one. Errors are one line, and
   * the old files are then unchanged: a part was replaced by a module with other weights, so that the folder
   * would not load again; a failed write.
   */
  async savePretrained(folder: string, options: SaveOptions = {}): Promise<void> {
    const { tokenizer, dtype, sparse = false, maxShardBytes, files: further = [], replaces = [] } = options;
    const { module: fresh } = postponeInit(() => modelOf(this.constructor as new (config: C) => this, this.config));
    const own = new Map(this.namedBuffers());
    for (const [key, table] of fresh.namedBuffers()) table.persistent = own.get(key)?.persistent ?? table.persistent;
    checkLoadsAgain(this, fresh, (key) => this.mayBeNew(key));
    for (const buffer of fresh.buffers()) buffer.storage.free();
    const packed = packedLayers(this);
    const packedNames = new Set(packed.map(([name]) => `${name}.weight`));
    if (sparse && packed.length > 0)
      throw new Error(`savePretrained: the weight of ${packed[0]![0]} is packed, and has no zeros to leave out`);
    const dense = tensorsToWrite(this, dtype, packedNames);
    const stored = sparse ? await sparseTensors(dense, linearNames(this), sparse) : undefined;
    const kept = stored ? stored.config : quantizationConfig(this, packed);
    const files = [
      ...weightFiles(folder, stored?.tensors ?? dense, { maxShardBytes }),
      { path: join(folder, 'config.json'), data: this.configText(dtype, kept) },
      ...(this.generationConfig === undefined
        ? []
        : [{ path: join(folder, GENERATION_FILE), data: this.generationConfig }]),
      ...(tokenizer?.filesToSave(folder) ?? []),
      ...further,
    ];
    const ofAnother = await holdsAnother(folder, this.constructor.name);
    const isOld = (name: string): boolean =>
      isWeightsFile(name) ||
      (tokenizer !== undefined && isTokenizerFile(name)) ||
      (ofAnother && name === GENERATION_FILE) ||
      replaces.includes(name);
    await saveFiles(files, { replaces: isOld });
  }

  /** The text of config.json; `dtype` as for `savePretrained`, `quantization` of packed weights beside it. */
  configText(dtype?: 'f16', quantization?: JsonObject): string {
    const { configFormat } = this.constructor as unknown as PreTrainedClass<C, unknown, PreTrainedModel<C>>;
    const json = configFormat.toJson(this.config);
    // The element type of the weights in the file; older versions of Transformers call it torch_dtype.
    const half = dtype === 'f16' || this.parameters().every((p) => p.dtype === 'f16');
    const keys = ['dtype', 'torch_dtype'].filter((key) => key in json);
    for (const key of keys.length > 0 || !dtype ? keys : ['dtype']) json[key] = half ? 'float16' : 'float32';
    // What a folder said that the model came from is no longer so where its weights are whole now.
    const { quantization_config: _, ...settings } = json;
    return configFormat.toText({
      architectures: [this.constructor.name],
      ...settings,
      ...(quantization && { quantization_config: quantization }),
    });
  }
}

/** The text of a folder's generation_config.json, where it has one. */
async function generationConfigOf(folder: string): Promise<string | undefined> {
  if (isGguf(folder)) return `${JSON.stringify(await readModelJson(folder, GENERATION_FILE), null, 2)}\n`;
  const file = join(folder, GENERATION_FILE);
  return (await pathKind(file)) === 'file' ? filesAt(file).readText(file) : undefined;
}

/** Whether a folder's config.json is that of a model of another class. */
async function holdsAnother(folder: string, name: string): Promise<boolean> {
  if ((await pathKind(folder)) !== 'folder') return false;
  await filesAt(folder).recover(folder);
  const path = join(folder, 'config.json');
  if ((await pathKind(path)) !== 'file') return false;
  const { architectures } = await readJsonFile(path).catch((): JsonObject => ({})); // it will be overwritten
  return Array.isArray(architectures) && !architectures.includes(name);
}

/** What `build` makes; its error with the name of the file that asks for it. */
function named<T>(file: string, build: () => T): T {
  try {
    return build();
  } catch (error) {
    throw new Error(`${file}: ${(error as Error).message}`, { cause: error });
  }
}

function isWholeConfig<C extends ModelConfig>(config: unknown): config is C {
  return typeof config === 'object' && config !== null && 'extra' in config;
}

/**
 * Parameters that a model may have. Each is a piece of memory, its gradient and what an optimizer keeps are
 * more, and a process holds some 65,000 (vm.max_map_count).
 */
const maxParameters = 20_000;

/** Configs whose model was counted. */
const fitting = new WeakSet<ModelConfig>();

/**
 * Throws, before any memory is taken, where the parameters of a config's model exceed it: counts their shapes
 * up to there.
 */
function checkFits<C extends ModelConfig>(kind: new (config: C) => Module, config: C): void {
  if (isCounting() || fitting.has(config)) return;
  const random = randomState();
  const room = tensorRoom();
  const what = `${kind.name}: the model of this config`;
  const mend = 'use a smaller config';
  let [count, bytes] = [0, 0];
  let problem: string | undefined;
  const visit = (shape: readonly number[]): void => {
    bytes += 4 * sizeOf(shape);
    if (!(bytes <= room.bytes))
      problem = tooLarge(`${what}, up to its parameter ${count + 1} of ${showShape(shape)},`, bytes, room, mend);
    else if (++count > maxParameters)
      problem =
        `${what} has more than ${maxParameters} parameters, the most that a process can train, ` +
        `and needs more than ${showBytes(bytes)}, ${room.name} ${showBytes(room.bytes)}; ${mend}`;
    if (problem) throw new Error(problem);
  };
  try {
    countParameters(() => new kind(config), visit);
  } catch (error) {
    if (error instanceof RangeError) problem ??= `${what} cannot be built (${error.message}); ${mend}`;
    throw problem ? new Error(problem, { cause: error }) : error;
  } finally {
    setRandomState(random);
  }
  fitting.add(config);
}
