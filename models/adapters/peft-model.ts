import { saveFiles } from '../../common/file-access.ts';
import { join } from '../../common/platform.ts';
import { assign, isCapturing, noGrad } from '../../autograd/index.ts';
import type { FileToWrite } from '../../common/atomic-files.ts';
import { Module } from '../module.ts';
import type { Member } from '../module.ts';
import { listNames, showText, showValue } from '../names.ts';
import { postponeInit } from '../parameter.ts';
import type { Parameter } from '../parameter.ts';
import { ActiveAdapters, refuseCapture } from './active.ts';
import type { Scope } from './active.ts';
import { Adapter } from './adapter.ts';
import { Attached } from './attached.ts';
import { AdapterRows, noAdapter } from './by-row.ts';
import { isLowRank } from './lora.ts';
import { mergeInto } from './merged.ts';
import { beginPissa } from './pissa.ts';
import type { PromptTokenizer } from './virtual-tokens.ts';
import { checkCombination, combined } from './weighted.ts';
import type { CombinationOptions, WeightedPart } from './weighted.ts';
import { adapterConfigText, isPissa, loraConfig } from './config.ts';
import type { AdapterConfig, LoraSettings } from './config.ts';
import { adapterFiles, readAdapter, readAdapterConfig } from './files.ts';
import { isWeightsFile } from '../io/safetensors-writer.ts';
import type { BaseModel } from './targets.ts';

/** A model that is saved and loaded, as `PreTrainedModel` is. */
export type SavableModel = BaseModel & {
  config: BaseModel['config'];
  readonly nameOrPath?: string;
  configText(): string;
};

export interface SaveAdapterOptions {
  /** Which adapter; default the active one. */
  readonly adapter?: string;
  /** Its files are saved with the adapter's, all or none. */
  readonly tokenizer?: { filesToSave(folder: string): FileToWrite[] };
  readonly files?: readonly FileToWrite[];
  /** Further names of files that an older save may have left, to remove where they are not written anew. */
  readonly replaces?: readonly string[];
}

export interface LoadAdapterOptions {
  /** Default: 'default'. */
  readonly name?: string;
  /** Whether it is to be trained on; default false. */
  readonly trainable?: boolean;
  /** Turns the text that prompt tuning begins with, `promptTuningInitText`, into tokens. */
  readonly tokenizer?: PromptTokenizer | undefined;
}

/** Numbers of elements. */
export interface TrainableParameters {
  readonly trainable: number;
  readonly all: number;
  toString(): string;
}

const models = new WeakMap<object, PeftModel<SavableModel>>();

/**
 * The adapters on a model, where it has any.
 *
 * @example
 * const model = GPT2LMHeadModel.fromConfig({ vocabSize: 50, nEmbd: 8, nLayer: 1, nHead: 2 });
 * adaptersOf(model); // undefined
 * addLora(model) === adaptersOf(model); // true
 */
export function adaptersOf<M extends object>(model: M): PeftModel<M & SavableModel> | undefined {
  return models.get(model) as PeftModel<M & SavableModel> | undefined;
}

/**
 * A model with adapters on it. The model itself computes with those that are active, whoever calls it, and
 * keeps its weights, their keys and its files as they were; its weights are frozen. Without adapters it costs
 * nothing; with them, layers whose products were computed together are computed apart.
 *
 *   const peft = addLora(model, { r: 8, targetModules: 'all-linear' });
 *   const optimizer = new AdamW(decayGroups(peft.namedParameters(), 0.01), { lr: 2e-4 });
 *   await peft.savePretrained('adapter');
 *
 * @example
 * const model = GPT2LMHeadModel.fromConfig({ vocabSize: 50, nEmbd: 8, nLayer: 1, nHead: 2 });
 * const peft = addLora(model);
 * await peft.savePretrained(memoryFolder());
 * peft.merge();
 */
export class PeftModel<M extends SavableModel = SavableModel> extends Module {
  readonly base: M;
  readonly adapters = new Map<string, Adapter>();
  readonly #active = new ActiveAdapters();
  readonly #attached: Attached;
  /** Parameters that were trained before the first adapter came, which `unload` unfreezes. */
  #trained: readonly Parameter[] = [];
  /** Puts back what `merge` changed. */
  #unmerge: (() => void) | undefined;
  /** Rows of batches, by their number. */
  readonly #rows = new Map<number, AdapterRows>();
  /** Whether merging broke a tie of the base's. */
  #untied = false;

  /** The adapters on `base`: those that it has, or none yet. */
  static of<M extends SavableModel>(base: M): PeftModel<M> {
    return adaptersOf(base) ?? new PeftModel(base);
  }

  private constructor(base: M) {
    super();
    this.base = base;
    this.#attached = new Attached(base, this.adapters, this.#active);
  }

  /**
   * Adds an adapter, and makes it the active one. Errors, each one line: those of its settings; its name is
   * taken; it begins with the base's weights (PiSSA), which `init` reads.
   */
  add(config: AdapterConfig, options: LoadAdapterOptions = {}): Adapter {
    if (isPissa(config))
      throw new Error(
        `adapter: initLoraWeights ${showValue(config.initLoraWeights)} begins with the base's weights, which are ` +
          'read first; write await initAdapter(model, config)',
      );
    const adapter = this.#make(config, options);
    this.#put(adapter);
    return adapter;
  }

  /**
   * As `add`, for every kind of first values: PiSSA's take about a second for a weight of 576 x 1536, or with
   * 'pissa_niter_4' a fifth of that.
   */
  async init(config: AdapterConfig, options: LoadAdapterOptions = {}): Promise<Adapter> {
    const adapter = this.#make(config, options);
    if (isPissa(config)) await beginPissa(adapter);
    this.#put(adapter);
    return adapter;
  }

  #make(config: AdapterConfig, { name = 'default', trainable = true, tokenizer }: LoadAdapterOptions): Adapter {
    refuseCapture('add');
    if (!/^[\w-]+$/.test(name))
      throw new Error(`adapter: "${showText(name)}" is no name of an adapter; use letters, digits, - and _`);
    if (this.adapters.has(name))
      throw new Error(`adapter: there is one called "${name}" already; remove it first or give another name`);
    this.#refuseMerged('add');
    return new Adapter(name, this.base, config, { trainable, tokenizer });
  }

  #put(adapter: Adapter): void {
    const { name } = adapter;
    if (this.adapters.size === 0) {
      this.#trained = this.base.parameters().filter((x) => x.requiresGrad);
      this.base.requiresGrad(false);
      models.set(this.base, this as unknown as PeftModel<SavableModel>);
    }
    this.adapters.set(name, adapter);
    this.setAdapters(name);
    this.#attached.attach();
  }

  /**
   * Adds the adapter of a folder that PEFT or `savePretrained` wrote. Errors, each one line: those of its
   * files.
   */
  async load(folder: string, { name = 'default', trainable = false }: LoadAdapterOptions = {}): Promise<Adapter> {
    const config = await readAdapterConfig(folder);
    const before = this.#active.set;
    if (isPissa(config) && config.initLoraWeights !== 'pissa')
      throw new Error(
        `${folder}: init_lora_weights is ${config.initLoraWeights}, whose base was changed by random numbers that ` +
          'no file has; save it in PEFT with path_initial_model_for_weight_conversion',
      );
    const { module: adapter } = postponeInit(() => this.#make(config, { name, trainable }));
    if (isPissa(config)) await beginPissa(adapter);
    this.#put(adapter);
    try {
      await readAdapter(adapter, this.base, folder);
    } catch (error) {
      this.remove(name);
      if (this.adapters.size > 0) this.setAdapters(before);
      throw error;
    }
    return adapter;
  }

  /**
   * Adds an adapter that is others by weights, and makes it the active one, as PEFT's add_weighted_adapter
   * does; `CombinationOptions` says how. Errors, each one line: they are not low-rank alone; ranks that
   * differ where they must not; options of another type.
   */
  async addWeighted(
    names: readonly string[],
    weights: readonly number[],
    { name, ...options }: CombinationOptions & { readonly name: string },
  ): Promise<Adapter> {
    refuseCapture('addWeighted');
    if (names.length === 0 || names.length !== weights.length)
      throw new Error(`addWeighted: ${names.length} adapters and ${weights.length} weights; give one weight for each`);
    checkCombination(options);
    const parts = new Map<string, WeightedPart[]>();
    for (const [i, each] of names.entries()) {
      const { layers, wholes, virtual } = this.#find(each);
      if (virtual || wholes.length > 0 || !layers.every(isLowRank))
        throw new Error(
          `addWeighted: "${each}" has other parts than low-rank matrices (IA3, useDora, bias, modulesToSave, ` +
            'virtual tokens)',
        );
      for (const layer of layers.filter(isLowRank))
        parts.set(layer.path, [...(parts.get(layer.path) ?? []), { layer, weight: weights[i]! }]);
    }
    const { config, matrices } = await combined(parts, options);
    const adapter = this.add(loraConfig({ taskType: this.#find(names[0]!).config.taskType, ...config }), {
      name,
      trainable: false,
    });
    noGrad(() => {
      for (const { path, a, b } of adapter.layers.filter(isLowRank)) {
        assign(a, matrices.get(path)!.a);
        assign(b, matrices.get(path)!.b);
      }
    });
    return adapter;
  }

  /** Takes an adapter off; the last one as `unload` does. */
  remove(name: string): void {
    refuseCapture('remove');
    this.#refuseMerged('remove');
    this.#find(name);
    if (this.adapters.size === 1) return void this.unload();
    this.#attached.detach();
    this.adapters.delete(name);
    this.setAdapters(this.#active.set.filter((other) => other !== name));
    this.#attached.attach();
  }

  /** The names of the active adapters. */
  get active(): readonly string[] {
    return this.#active.names;
  }

  /**
   * Makes one or several adapters the active ones; their changes add up. Those that are trainable are trained
   * from now on, the others are frozen. Errors: a name that is none's; two that train the same module whole.
   */
  setAdapters(names: string | readonly string[]): void {
    refuseCapture('setAdapters');
    const list = [names].flat();
    this.#check(list);
    this.#active.set = list;
    for (const [name, adapter] of this.adapters) adapter.requiresGrad(adapter.trainable && list.includes(name));
  }

  /**
   * Runs fn with other adapters active, `[]` for none, whatever they were before. A promise is waited for,
   * and nothing else may use the model meanwhile. Inside of a compiled function it is a part of that.
   */
  withAdapters<T>(names: string | readonly string[], fn: () => T): T {
    const list = [names].flat();
    this.#check(list);
    return this.#within({ names: list, captured: isCapturing() }, fn);
  }

  /**
   * Runs fn on batches whose row i has the adapter names[i], '__base__' for none, each row as if it were
   * alone: a server's requests for several adapters in one batch. They must be low-rank adapters without
   * `bias` and `useDora`. Otherwise as `withAdapters`, but not inside of a compiled function: `setRows`
   * before it and `withRows` inside do the same there.
   */
  withAdapterNames<T>(names: readonly string[], fn: () => T): T {
    const rows = this.#rows.get(names.length) ?? new AdapterRows(names.length);
    this.#rows.set(names.length, rows);
    this.setRows(rows, names);
    return this.withRows(rows, fn);
  }

  /** Gives rows their adapters; see `withAdapterNames`. */
  setRows(rows: AdapterRows, names: readonly string[]): void {
    refuseCapture('setRows');
    for (const name of new Set(names.filter((name) => name !== noAdapter))) {
      const { config, layers } = this.#find(name);
      const isPlain = config.peftType === 'LORA' && !config.useDora && config.bias === 'none';
      if (!isPlain || !layers.every(isLowRank))
        throw new Error(
          `adapters by row: "${name}" has other parts than low-rank matrices (IA3, useDora, bias, virtual ` +
            'tokens); activate it alone',
        );
    }
    rows.set(names, [...this.adapters.keys()]);
  }

  /** Runs fn with the adapters that `setRows` gave; a compiled function replays with those given since. */
  withRows<T>(rows: AdapterRows, fn: () => T): T {
    this.#attached.dropOldStacks();
    return this.#within({ names: [], rows, captured: isCapturing() }, fn);
  }

  #within<T>(scope: Scope, fn: () => T): T {
    this.#refuseMerged('withAdapters');
    return this.#active.within(scope, fn);
  }

  /** Runs fn with the base alone, as the reference of preference tuning is; see `withAdapters`. */
  disableAdapters<T>(fn: () => T): T {
    return this.withAdapters([], fn);
  }

  override forward(...args: Parameters<M['forward']>): ReturnType<M['forward']> {
    return (this.base.forward as (...args: unknown[]) => unknown)(...args) as ReturnType<M['forward']>;
  }

  /** Another number whenever what the adapters compute may have changed. */
  get version(): number {
    return this.#attached.written + this.#active.switched * 2 ** 24;
  }

  /** Whether the base's weight of this key is in a module that an active adapter has a copy of. */
  trainsWhole(key: string): boolean {
    const wholes = this.#active.names.flatMap((name) => this.#find(name).wholes);
    return wholes.some(({ path }) => key.startsWith(`${path}.`));
  }

  /** How much is trained; as text, the line of PEFT's print_trainable_parameters. */
  trainableParameters(): TrainableParameters {
    const copied = [...this.adapters.values()].flatMap(({ biases }) => biases.flatMap(({ parameters }) => parameters));
    const trainable = this.numParameters({ trainable: true });
    const all = this.numParameters() - copied.reduce((sum, [, { size }]) => sum + size, 0);
    const count = (n: number): string => n.toLocaleString('en-US');
    const toString = (): string =>
      `trainable params: ${count(trainable)} || all params: ${count(all)} || ` +
      `trainable%: ${((100 * trainable) / all).toFixed(4)}`;
    return { trainable, all, toString };
  }

  // Files

  /** The settings of the base and of the active adapters, as JSON. */
  configText(): string {
    const adapters = this.#active.set.map((name) => JSON.parse(adapterConfigText(this.#find(name).config)) as object);
    return `${JSON.stringify({ ...(JSON.parse(this.base.configText()) as object), adapters }, null, 2)}\n`;
  }

  /**
   * Writes adapter_config.json and adapter_model.safetensors, which PEFT loads onto the same base. Whenever
   * the process may end, the folder is the old one or the new one.
   */
  async savePretrained(folder: string, options: SaveAdapterOptions = {}): Promise<void> {
    const { adapter = this.#only(), tokenizer, files = [], replaces = [] } = options;
    const written = [
      ...adapterFiles(this.#find(adapter), this.base, folder, this.base.nameOrPath),
      { path: join(folder, 'config.json'), data: this.base.configText() },
      ...(tokenizer?.filesToSave(folder) ?? []),
      ...files,
    ];
    const isOld = (name: string): boolean => isWeightsFile(name, 'adapter_model') || replaces.includes(name);
    await saveFiles(written, { replaces: isOld });
  }

  /**
   * Takes the weights of the active adapter from a folder that it, or one of the same settings, was saved to.
   */
  async loadWeights(folder: string): Promise<void> {
    await readAdapter(this.#find(this.#only()), this.base, folder);
  }

  // Merging

  /**
   * Adds what the active adapters change to the base's weights, so that they cost nothing; `unmerge` gives
   * the weights back bit for bit, of which a copy is kept. A tied weight is untied: its other layer stays as
   * it was.
   */
  merge(): void {
    this.#merge(true);
  }

  /** Undoes `merge`. */
  unmerge(): void {
    refuseCapture('unmerge');
    if (!this.#unmerge) throw new Error('unmerge: the adapters are not merged');
    this.#unmerge();
    this.#unmerge = undefined;
    this.#untied = false;
    this.#attached.attach();
  }

  /**
   * Adds what the active adapters change to the base's weights, and takes all adapters off. The base is then
   * a model like any other.
   */
  mergeAndUnload(): M {
    if (!this.#unmerge) this.#merge(false);
    this.#unmerge = undefined;
    const { config } = this.base;
    if (this.#untied && 'tieWordEmbeddings' in config)
      this.base.config = Object.freeze({ ...config, tieWordEmbeddings: false });
    return this.unload();
  }

  /** Takes all adapters off; the base is as it was before the first. */
  unload(): M {
    refuseCapture('unload');
    if (this.#unmerge) this.unmerge();
    this.#attached.detach();
    this.adapters.clear();
    this.#active.set = [];
    models.delete(this.base);
    for (const x of this.#trained) x.requiresGrad = true;
    return this.base;
  }

  #merge(keep: boolean): void {
    refuseCapture('merge');
    this.#refuseMerged('merge');
    const names = this.#active.names;
    const virtual = names.find((name) => this.#find(name).virtual);
    if (virtual !== undefined)
      throw new Error(
        `merge: "${virtual}" is read before every text, and is no part of any weight; leave it an adapter`,
      );
    const wholes = names.flatMap((name) => this.#find(name).wholes);
    const { undo, untied } = mergeInto(this.base, this.#attached.layersOf(names), wholes, keep);
    this.#untied ||= untied;
    this.#attached.detach();
    this.#unmerge = undo;
  }

  // Checks

  #find(name: string): Adapter {
    const found = this.adapters.get(name);
    if (found) return found;
    throw new Error(
      `adapter: there is none called "${showText(name)}"; there ` +
        (this.adapters.size > 0 ? `are ${listNames([...this.adapters.keys()])}` : 'are none at all'),
    );
  }

  #check(names: readonly string[]): void {
    const wholes = names.flatMap((name) => this.#find(name).wholes);
    const twice = wholes.find(({ original }, i) => wholes.findIndex((other) => other.original === original) < i);
    if (twice)
      throw new Error(
        `adapter: ${names.join(' and ')} both have ${twice.path} whole, of which one can run; activate one of them`,
      );
    const virtual = names.filter((name) => this.#find(name).virtual);
    if (virtual.length > 1)
      throw new Error(`adapter: ${virtual.join(' and ')} both have virtual tokens; activate one of them`);
  }

  /** The name of the one active adapter. */
  #only(): string {
    const { set } = this.#active;
    if (set.length === 1) return set[0]!;
    throw new Error(`adapter: ${set.length} adapters are active; name the one to save, { adapter: name }`);
  }

  #refuseMerged(what: string): void {
    if (this.#unmerge) throw new Error(`${what}: the adapters are merged into the weights; call unmerge first`);
  }

  protected override members(): [string, Member][] {
    return [
      ['base_model.model', this.base],
      ...[...this.adapters].map(([name, adapter]): [string, Member] => [`adapters.${name}`, adapter]),
    ];
  }
}

/**
 * Puts a new adapter on a model and makes it the active one: `getPeftModel(model, ia3Config())`.
 *
 * @example
 * const model = GPT2LMHeadModel.fromConfig({ vocabSize: 50, nEmbd: 8, nLayer: 1, nHead: 2 });
 * [...getPeftModel(model, ia3Config()).parameters()].filter((p) => p.requiresGrad).length; // 2
 */
export function getPeftModel<M extends SavableModel>(
  model: M,
  config: AdapterConfig,
  options: LoadAdapterOptions = {},
): PeftModel<M> {
  const peft = PeftModel.of(model);
  peft.add(config, options);
  return peft;
}

/**
 * The same for every kind of first values: `initLoraWeights: 'pissa'` reads the model's weights before it
 * puts the adapter on.
 *
 * @example
 * const model = GPT2LMHeadModel.fromConfig({ vocabSize: 50, nEmbd: 8, nLayer: 1, nHead: 2 });
 * await initAdapter(model, loraConfig({ r: 4, initLoraWeights: 'pissa' }));
 */
export async function initAdapter<M extends SavableModel>(
  model: M,
  config: AdapterConfig,
  options: LoadAdapterOptions = {},
): Promise<PeftModel<M>> {
  const peft = PeftModel.of(model);
  await peft.init(config, options);
  return peft;
}

/**
 * A new low-rank adapter on a model, as `getPeftModel` puts it. Settings and defaults are PEFT's.
 *
 * @example
 * const model = GPT2LMHeadModel.fromConfig({ vocabSize: 50, nEmbd: 8, nLayer: 1, nHead: 2 });
 * const peft = addLora(model, { r: 4 });
 * [...peft.parameters()].filter((p) => p.requiresGrad).length; // 2
 */
export const addLora = <M extends SavableModel>(
  model: M,
  settings: LoraSettings = {},
  options: LoadAdapterOptions = {},
): PeftModel<M> => getPeftModel(model, loraConfig(settings), options);

/**
 * Puts the adapter of a folder on a model and makes it the active one.
 *
 * @example
 * const shape = { vocabSize: 50, nEmbd: 8, nLayer: 1, nHead: 2 };
 * const folder = memoryFolder();
 * await addLora(GPT2LMHeadModel.fromConfig(shape)).savePretrained(folder);
 * const peft = await loadAdapter(GPT2LMHeadModel.fromConfig(shape), folder);
 */
export async function loadAdapter<M extends SavableModel>(
  model: M,
  folder: string,
  options: LoadAdapterOptions = {},
): Promise<PeftModel<M>> {
  const peft = PeftModel.of(model);
  await peft.load(folder, options);
  return peft;
}
