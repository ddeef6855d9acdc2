/**
 * Models with layers, heads or units of the feed-forward part taken out: really smaller, in memory, file and
 * time.
 */
import { indexSelect, noGrad, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Conv1D } from '../../models/nn/conv1d.ts';
import { Linear } from '../../models/nn/linear.ts';
import { changedLayers, modelOf } from '../../models/index.ts';
import type { ModelConfig, Module, PreTrainedModel } from '../../models/index.ts';

/** Any model with one stack of layers. */
export type Shrinkable = PreTrainedModel<ModelConfig>;

/** Where the parameters of a layer lie: `bert.encoder.layer.3.output.dense.weight`. */
const layerKey = /^((?:.*\.)?(?:layer|layers|h))\.(\d+)\.(.*)$/;

/** The names of settings in the families' configs. */
const layerSettings = ['numHiddenLayers', 'nLayer', 'nLayers'] as const;
const unitSettings = ['intermediateSize', 'hiddenDim', 'ffnDim', 'nInner'] as const;

/** The linear layers into and out of the units of a feed-forward part, by family. */
const feedForwards: readonly {
  readonly into: readonly string[];
  readonly from: string;
  readonly isTransposed?: true;
}[] = [
  { into: ['intermediate.dense'], from: 'output.dense' },
  { into: ['ffn.lin1'], from: 'ffn.lin2' },
  { into: ['mlp.gate_proj', 'mlp.up_proj'], from: 'mlp.down_proj' },
  { into: ['mlp.dense_h_to_4h'], from: 'mlp.dense_4h_to_h' },
  { into: ['fc1'], from: 'fc2' },
  { into: ['mlp.c_fc'], from: 'mlp.c_proj', isTransposed: true },
];

interface Stack {
  /** What stands before the number of a layer. */
  readonly prefix: string;
  readonly layers: number;
  /** The names of parameters within a layer. */
  readonly names: ReadonlySet<string>;
}

/** Error: the model has no stack of layers, or several. */
function stackOf(op: string, model: Shrinkable): Stack {
  const rows = [...model.stateDict().keys()].flatMap((key) => {
    const [, prefix, number, name] = layerKey.exec(key) ?? [];
    return prefix === undefined ? [] : [{ prefix, layer: Number(number), name: name! }];
  });
  const prefixes = [...new Set(rows.map(({ prefix }) => prefix))];
  const [prefix] = prefixes;
  if (prefix === undefined || prefixes.length > 1)
    throw new Error(
      `${op}: ${model.constructor.name} has ${prefixes.length} stacks of layers (${prefixes.join(', ')}), where one ` +
        'is needed; give an encoder or a decoder whose layers are not shared',
    );
  const layers = Math.max(...rows.map(({ layer }) => layer)) + 1;
  return { prefix, layers, names: new Set(rows.map(({ name }) => name)) };
}

/** So many of `count` numbers from 0 up, evenly spaced: of 6 and 3 0, 2, 4. */
export const evenly = (some: number, count: number): number[] =>
  Array.from({ length: some }, (_, i) => Math.floor((i * count) / some));

/**
 * How many layers a model has.
 *
 * @example
 * layersOf(await BertForMaskedLM.fromPretrained('models/pretrained/bert-small')); // 2
 */
export const layersOf = (model: Shrinkable): number => stackOf('layersOf', model).layers;

/** Error: layers of a model are of another make, and the config names them by their numbers. */
export function checkWhole(op: string, { config }: Shrinkable): void {
  for (const key of ['low_rank', 'grouped', 'masked', 'fake_quantized'] as const)
    if (Object.keys(changedLayers(config, key)).length > 0)
      throw new Error(`${op}: layers of the model are changed already (${key}); take parts out before`);
  if ('early_exit_entropy' in config.extra)
    throw new Error(`${op}: the model has off-ramps behind its layers; take parts out before`);
  if ('token_retention' in config.extra)
    throw new Error(`${op}: tokens leave the model between its layers; take parts out before`);
}

/** Error: a number that is no layer, twice the same, or none at all. */
function checkChoice(op: string, what: string, chosen: readonly number[], count: number): void {
  const odd = chosen.find((one, i) => !(Number.isInteger(one) && one >= 0 && one < count && chosen.indexOf(one) === i));
  if (odd !== undefined) throw new Error(`${op}: ${what} ${odd} is there twice or is none of 0 to ${count - 1}`);
  if (chosen.length === 0) throw new Error(`${op}: no ${what} is left; keep at least one of ${count}`);
}

/** The config with other settings; `name` is the first of `names` that it has. */
function withSetting(config: ModelConfig, names: readonly string[], value: number): ModelConfig {
  const name = names.find((each) => each in config);
  if (name === undefined) throw new Error(`${config.modelType}: none of ${names.join(', ')} is among its settings`);
  return { ...config, [name]: value };
}

/** A model of another config, with a state by key. */
export function rebuilt<M extends Shrinkable>(model: M, config: ModelConfig, state: ReadonlyMap<string, Tensor>): M {
  const made = modelOf(model.constructor as new (config: ModelConfig) => M, Object.freeze(config));
  made.loadStateDict(state);
  return made.train(model.training);
}

/**
 * A model of some of another's layers, in the order given: of 12 layers `[0, 2, 4, 6, 8, 10]`, as DistilBERT
 * begins (Sanh et al. 2019). Embeddings and heads are copies of the whole. Loads in Transformers.
 *
 * Errors: no such layer; no stack of layers, or several; layers that are shared.
 *
 * @example
 * const model = BertForMaskedLM.fromConfig({ hiddenSize: 8, numHiddenLayers: 4, numAttentionHeads: 2 });
 * layersOf(keepLayers(model, [0, 2])); // 2
 */
export function keepLayers<M extends Shrinkable>(model: M, kept: readonly number[]): M {
  checkWhole('keepLayers', model);
  const { prefix, layers } = stackOf('keepLayers', model);
  checkChoice('keepLayers', 'layer', kept, layers);
  const state = new Map<string, Tensor>();
  for (const [key, value] of model.stateDict()) {
    const [, , number, name] = layerKey.exec(key) ?? [];
    if (number === undefined) state.set(key, value);
    else if (kept.includes(Number(number))) state.set(`${prefix}.${kept.indexOf(Number(number))}.${name}`, value);
  }
  // What the config says of each layer is kept with it.
  const lists = Object.entries(model.config).filter(([, value]) => Array.isArray(value) && value.length === layers);
  const perLayer = Object.fromEntries(
    lists.flatMap(([name, value]) => (name === 'labels' ? [] : [[name, kept.map((i) => (value as unknown[])[i])]])),
  );
  const { prunedHeads } = model.config as Prunable;
  const heads = prunedHeads && {
    prunedHeads: Object.fromEntries(kept.flatMap((i, at) => (prunedHeads[i] ? [[at, prunedHeads[i]]] : []))),
  };
  return rebuilt(model, { ...withSetting(model.config, layerSettings, kept.length), ...perLayer, ...heads }, state);
}

interface Prunable {
  readonly prunedHeads?: Readonly<Record<string, readonly number[]>>;
  readonly numAttentionHeads?: number;
  readonly nHeads?: number;
  readonly nHead?: number;
  readonly hiddenSize?: number;
}

/** Names of the linear layers of the feed-forward part. Error: they are not known. */
function feedForwardOf(op: string, model: Shrinkable, names: ReadonlySet<string>) {
  const found = feedForwards.find(({ into, from }) => [...into, from].every((name) => names.has(`${name}.weight`)));
  if (found) return found;
  throw new Error(`${op}: the feed-forward part of ${model.constructor.name} is not one that is known here`);
}

/** The linear layers into and out of the units of each layer, by name. Error: the family's are not known. */
export function feedForwardNames(op: string, model: Shrinkable) {
  const { prefix, layers, names } = stackOf(op, model);
  const { into, from, isTransposed } = feedForwardOf(op, model, names);
  if (isTransposed)
    throw new Error(`${op}: ${model.constructor.name} holds its weights the other way round; give another model`);
  return Array.from({ length: layers }, (_, i) => ({
    into: into.map((name) => `${prefix}.${i}.${name}`),
    from: `${prefix}.${i}.${from}`,
  }));
}

/** The linear layers that read what heads and units give. */
interface Readers {
  readonly attention: readonly Module[];
  readonly feedForward: readonly Module[];
  readonly units: number;
}

const attentionReaders = [
  'attention.output.dense',
  'attention.out_lin',
  'self_attn.o_proj',
  'self_attn.out_proj',
  'attn.c_proj',
  'attention.dense',
];

/** Of each layer, the linear layers that read its heads and its units. Error: the family's are not known. */
export function readersOf(op: string, model: Shrinkable): Readers {
  const { prefix, layers, names } = stackOf(op, model);
  const { from } = feedForwardOf(op, model, names);
  const heads = attentionReaders.find((name) => names.has(`${name}.weight`));
  if (heads === undefined)
    throw new Error(`${op}: the attention of ${model.constructor.name} is not one that is known here`);
  const modules = new Map(model.namedModules());
  const all = (name: string): Module[] =>
    Array.from({ length: layers }, (_, i) => modules.get(`${prefix}.${i}.${name}`)!);
  return { attention: all(heads), feedForward: all(from), units: unitsOf(model) };
}

/** The modules within a model's stack of layers, by name. */
export function layerModules(op: string, model: Shrinkable): [name: string, module: Module][] {
  const { prefix } = stackOf(op, model);
  return model.namedModules().filter(([name]) => name.startsWith(`${prefix}.`));
}

/** The linear layers, GPT-2's among them, within a model's stack of layers, by name. */
export function modulesWithWeights(op: string, model: Shrinkable): [name: string, layer: Linear | Conv1D][] {
  const found = layerModules(op, model).filter(
    (pair): pair is [string, Linear | Conv1D] => pair[1] instanceof Linear || pair[1] instanceof Conv1D,
  );
  if (found.length > 0) return found;
  throw new Error(`${op}: ${model.constructor.name} has no linear layer in its stack of layers`);
}

/**
 * Units of the feed-forward part of each layer.
 *
 * @example
 * unitsOf(await BertForMaskedLM.fromPretrained('models/pretrained/bert-small')); // 512
 */
export function unitsOf(model: Shrinkable): number {
  const { prefix, names } = stackOf('unitsOf', model);
  const { from, isTransposed } = feedForwardOf('unitsOf', model, names);
  return model.stateDict().get(`${prefix}.0.${from}.weight`)!.shape[isTransposed ? 0 : 1]!;
}

/**
 * A model whose feed-forward parts have some of another's units: `kept[layer]` are their numbers, as many in
 * each layer. Loads in Transformers.
 *
 * Errors: no such unit; another number of them in some layer; a family whose feed-forward part is not known.
 *
 * @example
 * const shape = { hiddenSize: 8, intermediateSize: 4, numHiddenLayers: 1, numAttentionHeads: 2 };
 * unitsOf(keepUnits(BertForMaskedLM.fromConfig(shape), [[0, 3]])); // 2
 */
export function keepUnits<M extends Shrinkable>(model: M, kept: readonly (readonly number[])[]): M {
  checkWhole('keepUnits', model);
  const { prefix, layers, names } = stackOf('keepUnits', model);
  const { into, from, isTransposed } = feedForwardOf('keepUnits', model, names);
  if (kept.length !== layers) throw new Error(`keepUnits: a list for each of ${layers} layers, got ${kept.length}`);
  const units = unitsOf(model);
  for (const [layer, list] of kept.entries()) {
    checkChoice(`keepUnits, layer ${layer}`, 'unit', list, units);
    if (list.length !== kept[0]!.length)
      throw new Error(`keepUnits: layer ${layer} keeps ${list.length} units, layer 0 ${kept[0]!.length}; keep as many`);
  }
  const state = model.stateDict();
  noGrad(() => {
    for (const [layer, list] of kept.entries()) {
      const index = tensor(list, { dtype: 'i32' });
      const change = (name: string, dim: number): void => {
        const key = `${prefix}.${layer}.${name}`;
        const value = state.get(key);
        if (value) state.set(key, indexSelect(value, dim, index));
      };
      for (const name of into) {
        change(`${name}.weight`, isTransposed ? 1 : 0);
        change(`${name}.bias`, 0);
      }
      change(`${from}.weight`, isTransposed ? 0 : 1);
    }
  });
  return rebuilt(model, withSetting(model.config, unitSettings, kept[0]!.length), state);
}

/**
 * The heads that each layer has: numbers of the model as it was before any were pruned.
 *
 * @example
 * headsOf(await BertForMaskedLM.fromPretrained('models/pretrained/bert-small')); // [[0, 1], [0, 1]]
 */
export function headsOf(model: Shrinkable): number[][] {
  const { layers } = stackOf('headsOf', model);
  const { prunedHeads = {}, numAttentionHeads, nHeads, nHead } = model.config as Prunable;
  const heads = numAttentionHeads ?? nHeads ?? nHead ?? 0;
  return Array.from({ length: layers }, (_, layer) =>
    Array.from({ length: heads }, (_, head) => head).filter((head) => !prunedHeads[layer]?.includes(head)),
  );
}

/**
 * A BERT, RoBERTa or ELECTRA without some heads (Michel et al. 2019): `gone[layer]` are their numbers, those
 * of the model before any were pruned. config.json says so as `pruned_heads`, which Transformers 4 reads.
 *
 * Errors: another family; no such head, or one that is gone already; none left in a layer.
 *
 * @example
 * const model = BertForMaskedLM.fromConfig({ hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 2 });
 * headsOf(pruneHeads(model, [[0]])); // [[1]]
 */
export function pruneHeads<M extends Shrinkable>(model: M, gone: readonly (readonly number[])[]): M {
  checkWhole('pruneHeads', model);
  const { prefix, layers } = stackOf('pruneHeads', model);
  if (!hasBertEncoder(model))
    throw new Error(
      `pruneHeads: ${model.constructor.name} cannot say so in its config.json; give BERT, RoBERTa or ELECTRA`,
    );
  if (gone.length !== layers) throw new Error(`pruneHeads: a list for each of ${layers} layers, got ${gone.length}`);
  const before = headsOf(model);
  const { prunedHeads = {}, hiddenSize = 0, numAttentionHeads = 1 } = model.config as Prunable;
  const headDim = hiddenSize / numAttentionHeads;
  const state = model.stateDict();
  const pruned: Record<string, readonly number[]> = { ...prunedHeads };
  noGrad(() => {
    for (const [layer, list] of gone.entries()) {
      if (list.length === 0) continue;
      const there = before[layer]!;
      const odd = list.find((head) => !there.includes(head));
      if (odd !== undefined) throw new Error(`pruneHeads: layer ${layer} has no head ${odd}, only ${there.join(', ')}`);
      const left = there.flatMap((head, at) => (list.includes(head) ? [] : [at]));
      if (left.length === 0)
        throw new Error(`pruneHeads: layer ${layer} would have no head; leave one of ${there.length}`);
      const rows = left.flatMap((at) => Array.from({ length: headDim }, (_, i) => at * headDim + i));
      const index = tensor(rows, { dtype: 'i32' });
      const change = (name: string, dim: number): void => {
        const key = `${prefix}.${layer}.attention.${name}`;
        state.set(key, indexSelect(state.get(key)!, dim, index));
      };
      for (const name of ['query', 'key', 'value']) {
        change(`self.${name}.weight`, 0);
        change(`self.${name}.bias`, 0);
      }
      change('output.dense.weight', 1);
      pruned[layer] = [...(prunedHeads[layer] ?? []), ...list].sort((a, b) => a - b);
    }
  });
  return rebuilt(model, { ...model.config, prunedHeads: pruned } as ModelConfig, state);
}

/** Families of BERT's encoder, whose config may say how its layers differ: by pruned heads, say. */
export const hasBertEncoder = ({ config }: { readonly config: ModelConfig }): boolean =>
  ['bert', 'roberta', 'electra'].includes(config.modelType);
