/**
 * The families of decoders in GGUF files: how their settings and tensors are named there, and in
 * Transformers' folders (llama.cpp, convert_hf_to_gguf.py and gguf-py's tensor_mapping.py).
 */
import type { JsonObject } from '../../common/json-file.ts';
import { printable } from '../../common/printable.ts';
import { listNames, showValue } from '../names.ts';
import type { GgufValue } from './header.ts';

type Names = readonly (readonly [gguf: string, transformers: string])[];

/**
 * How a tensor lies in the file: rows of a head's pairs one beside the other; queries, keys and values of all
 * heads one behind the other; columns first; or with 1 added.
 */
export type Order = 'pairs' | 'parts' | 'transposed' | 'plus one' | undefined;

/** A whole number, a real one, a text, or a truth, as files tell them apart. */
export type Written =
  { readonly u32: number } | { readonly f32: number } | { readonly text: string } | { readonly truth: boolean };

export interface Architecture {
  /** general.architecture. */
  readonly name: string;
  /** The class of Transformers, and its model_type. */
  readonly className: string;
  readonly modelType: string;
  /** Settings of a file, without the architecture's name, and keys of config.json. */
  readonly settings: Names;
  /** Tensors; N stands for the number of a layer, and an ending .weight or .bias is left out. */
  readonly tensors: Names;
  readonly order: (tensor: string) => Order;
  /** Further keys of config.json. */
  readonly read: (settings: Settings, has: (tensor: string) => boolean) => JsonObject;
  /** Further settings of a file, from config.json. */
  readonly write: (config: JsonObject) => readonly (readonly [setting: string, value: Written])[];
}

/** The settings of one file, with errors that name it. */
export class Settings {
  readonly path: string;
  private readonly metadata: ReadonlyMap<string, GgufValue>;
  private readonly architecture: string;

  constructor(path: string, metadata: ReadonlyMap<string, GgufValue>, architecture: string) {
    this.path = path;
    this.metadata = metadata;
    this.architecture = architecture;
  }

  /** A number of this architecture, such as `context_length`; undefined where the file has none. */
  number(key: string): number | undefined {
    const name = `${this.architecture}.${key}`;
    const value = this.metadata.get(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !Number.isFinite(value))
      throw new Error(`${printable(this.path)}: ${name} is ${showValue(value)}, where one number is needed`);
    return shortest(value);
  }

  text(key: string): string | undefined {
    const value = this.metadata.get(`${this.architecture}.${key}`);
    return typeof value === 'string' ? value : undefined;
  }

  truth(key: string): boolean | undefined {
    const value = this.metadata.get(`${this.architecture}.${key}`);
    return typeof value === 'boolean' ? value : undefined;
  }

  needed(key: string): number {
    const value = this.number(key);
    if (value === undefined)
      throw new Error(`${printable(this.path)} has no ${this.architecture}.${key}; convert the model again`);
    return value;
  }

  refuse(what: string): Error {
    return new Error(`${printable(this.path)}: ${what}`);
  }
}

/** The shortest decimal number with this f32: 1e-5 and not 0.000009999999747378752. */
function shortest(value: number): number {
  if (Number.isInteger(value) || Math.fround(value) !== value) return value;
  for (let digits = 1; digits < 10; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

const llamaSettings: Names = [
  ['context_length', 'max_position_embeddings'],
  ['block_count', 'num_hidden_layers'],
  ['embedding_length', 'hidden_size'],
  ['feed_forward_length', 'intermediate_size'],
  ['attention.head_count', 'num_attention_heads'],
  ['attention.layer_norm_rms_epsilon', 'rms_norm_eps'],
];

const llamaTensors: Names = [
  ['token_embd', 'model.embed_tokens'],
  ['output_norm', 'model.norm'],
  ['output', 'lm_head'],
  ['blk.N.attn_norm', 'model.layers.N.input_layernorm'],
  ['blk.N.attn_q', 'model.layers.N.self_attn.q_proj'],
  ['blk.N.attn_k', 'model.layers.N.self_attn.k_proj'],
  ['blk.N.attn_v', 'model.layers.N.self_attn.v_proj'],
  ['blk.N.attn_output', 'model.layers.N.self_attn.o_proj'],
  ['blk.N.attn_q_norm', 'model.layers.N.self_attn.q_norm'],
  ['blk.N.attn_k_norm', 'model.layers.N.self_attn.k_norm'],
  ['blk.N.ffn_norm', 'model.layers.N.post_attention_layernorm'],
  ['blk.N.ffn_gate', 'model.layers.N.mlp.gate_proj'],
  ['blk.N.ffn_up', 'model.layers.N.mlp.up_proj'],
  ['blk.N.ffn_down', 'model.layers.N.mlp.down_proj'],
];

/** Numbers of a head, and how many of them turn. */
function headOf(settings: Settings): { readonly size: number; readonly turned: number } {
  const size =
    settings.number('attention.key_length') ??
    settings.needed('embedding_length') / settings.needed('attention.head_count');
  return { size, turned: settings.number('rope.dimension_count') ?? size };
}

/** What decoders with rotary positions have in common: heads and positions; refuses what they lack. */
function readHeads(settings: Settings, { longrope = false } = {}): JsonObject {
  const heads = settings.needed('attention.head_count');
  const { size } = headOf(settings);
  const values = settings.number('attention.value_length') ?? size;
  if (values !== size) throw settings.refuse(`heads of ${size} whose values have ${values} are not known here`);
  const experts = settings.number('expert_count') ?? 0;
  if (experts > 0) throw settings.refuse(`a mixture of ${experts} experts is not known here; use a dense model`);
  const kind = settings.text('rope.scaling.type') ?? 'none';
  const factor = settings.number('rope.scaling.factor') ?? settings.number('rope.scale_linear') ?? 1;
  const yarn = kind === 'yarn' && (settings.number('rope.scaling.attn_factor') ?? 1) === 1;
  if (kind !== 'none' && kind !== 'linear' && !yarn && !(longrope && kind === 'longrope'))
    throw settings.refuse(`rotary positions scaled by "${printable(kind)}" are not known here; use a file without`);
  return {
    num_key_value_heads: settings.number('attention.head_count_kv') ?? heads,
    head_dim: size,
    rope_theta: settings.number('rope.freq_base') ?? 10000,
    ...(yarn
      ? {
          rope_scaling: {
            rope_type: 'yarn',
            factor,
            original_max_position_embeddings: settings.needed('rope.scaling.original_context_length'),
          },
        }
      : factor === 1 || kind === 'longrope'
        ? {}
        : { rope_scaling: { rope_type: 'linear', factor } }),
  };
}

/** The same, where heads turn whole. */
function readWhole(settings: Settings): JsonObject {
  const { size, turned } = headOf(settings);
  if (turned !== size) throw settings.refuse(`heads of ${size} that turn ${turned} are not known here`);
  return readHeads(settings);
}

/** The same, where heads see all earlier tokens, too. */
function readRotary(settings: Settings): JsonObject {
  const window = settings.number('attention.sliding_window') ?? 0;
  if (window > 0 && window < settings.needed('context_length'))
    throw settings.refuse(`attention within a window of ${window} is not known here`);
  return readWhole(settings);
}

/** Throws where config.json says what a file has no setting for. */
function checkSame(config: JsonObject, expected: JsonObject): void {
  for (const [key, value] of Object.entries(expected))
    if (JSON.stringify(config[key]) !== JSON.stringify(value))
      throw new Error(
        `a model whose ${key} is ${showValue(config[key])} cannot be written as GGUF: it is ${showValue(value)} there`,
      );
}

/** Each of the layers, by its number from 1. */
const eachLayer = <T>(config: JsonObject, of: (number: number) => T): T[] =>
  Array.from({ length: Number(config['num_hidden_layers']) }, (_, layer) => of(layer + 1));

/** The kinds of layers of which each `step`-th sees all tokens; with step 1 all do. */
const layerTypes = (config: JsonObject, step: number): string[] =>
  eachLayer(config, (number) => (number % step === 0 ? 'full_attention' : 'sliding_attention'));

interface WrittenScaling {
  readonly rope_type: string;
  readonly factor: number;
  readonly original_max_position_embeddings?: number;
}

function writeRotary(config: JsonObject): (readonly [string, Written])[] {
  if (config['layer_types'] !== undefined) checkSame(config, { layer_types: layerTypes(config, 1) });
  return writeHeads(config);
}

function writeHeads(config: JsonObject): (readonly [string, Written])[] {
  const scaling = config['rope_scaling'] as WrittenScaling | null;
  const size = { u32: headSize(config) };
  const plain = ['rope_type', 'factor', 'original_max_position_embeddings'];
  if (
    scaling &&
    (!['linear', 'yarn'].includes(scaling.rope_type) || Object.keys(scaling).some((key) => !plain.includes(key)))
  )
    throw new Error(`rotary positions scaled as "${scaling.rope_type}" cannot be written as GGUF here`);
  return [
    ['attention.head_count_kv', { u32: Number(config['num_key_value_heads']) }],
    ['attention.key_length', size],
    ['attention.value_length', size],
    ['rope.dimension_count', size],
    ['rope.freq_base', { f32: Number(config['rope_theta']) }],
    ['vocab_size', { u32: Number(config['vocab_size']) }],
    ...(scaling
      ? [
          ['rope.scaling.type', { text: scaling.rope_type }] as const,
          ['rope.scaling.factor', { f32: scaling.factor }] as const,
        ]
      : []),
    ...(scaling?.original_max_position_embeddings === undefined
      ? []
      : [['rope.scaling.original_context_length', { u32: scaling.original_max_position_embeddings }] as const]),
  ];
}

const llama: Architecture = {
  name: 'llama',
  className: 'LlamaForCausalLM',
  modelType: 'llama',
  settings: llamaSettings,
  tensors: llamaTensors,
  order: (tensor) => (/\.attn_[qk]$/.test(tensor) ? 'pairs' : undefined),
  read: (settings, has) => ({
    ...readRotary(settings),
    attention_bias: has('blk.0.attn_q.bias'),
    mlp_bias: has('blk.0.ffn_up.bias'),
  }),
  write: writeRotary,
};

/** Written as llama with a window, which says which of the two it is; llama.cpp passes the window over. */
const mistral: Architecture = {
  ...{ ...llama, className: 'MistralForCausalLM', modelType: 'mistral' },
  read: (settings) => ({ ...readWhole(settings), sliding_window: settings.needed('attention.sliding_window') }),
  write: (config) => {
    const window = config['sliding_window'];
    return [...writeHeads(config), ...(window ? [['attention.sliding_window', { u32: Number(window) }] as const] : [])];
  },
};

const qwen2: Architecture = {
  ...{ ...llama, name: 'qwen2', className: 'Qwen2ForCausalLM', modelType: 'qwen2' },
  order: () => undefined,
  read: readRotary,
};

/** Llama whose every fourth layer has no rotary positions; files say nothing of it. */
const smollm3: Architecture = {
  ...{ ...llama, name: 'smollm3', className: 'SmolLM3ForCausalLM', modelType: 'smollm3' },
  write: (config) => {
    checkSame(config, { no_rope_layers: eachLayer(config, (number) => Number(number % 4 !== 0)) });
    return writeRotary(config);
  },
};

/** The names of norms that stand before each part give way to those behind. */
const normsBehind: Names = [
  ['blk.N.post_attention_norm', 'model.layers.N.post_attention_layernorm'],
  ['blk.N.post_ffw_norm', 'model.layers.N.post_feedforward_layernorm'],
];

const olmo2: Architecture = {
  ...{ ...qwen2, name: 'olmo2', className: 'Olmo2ForCausalLM', modelType: 'olmo2' },
  tensors: [...llamaTensors.filter(([name]) => !/N\.(attn|ffn)_norm$/.test(name)), ...normsBehind],
};

/** Which layers have a window, and by what scores are divided, follow from the number of layers. */
const gemma = (name: string, className: string, modelType: string, step: number, largest: number): Architecture => {
  const scalar = (config: JsonObject): number =>
    config['num_hidden_layers'] === largest
      ? Number(config['hidden_size']) / Number(config['num_attention_heads'])
      : Number(config['head_dim']);
  return {
    ...{ name, className, modelType, settings: llamaSettings },
    tensors: [
      ...llamaTensors.filter(([tensor]) => tensor !== 'blk.N.ffn_norm'),
      ['blk.N.ffn_norm', 'model.layers.N.pre_feedforward_layernorm'],
      ...normsBehind,
    ],
    order: (tensor) => (/norm$/.test(tensor) ? 'plus one' : undefined),
    read(settings) {
      const window = settings.number('attention.sliding_window') ?? 0;
      const config: JsonObject = {
        ...readHeads(settings),
        num_hidden_layers: settings.needed('block_count'),
        hidden_size: settings.needed('embedding_length'),
        num_attention_heads: settings.needed('attention.head_count'),
        sliding_window: window > 0 ? window : null,
        final_logit_softcapping: settings.number('final_logit_softcapping') ?? null,
        ...(modelType === 'gemma2'
          ? { attn_logit_softcapping: settings.number('attn_logit_softcapping') ?? null }
          : { rope_local_base_freq: settings.number('rope.freq_base_swa') ?? 10000, sliding_window_pattern: step }),
      };
      return {
        ...config,
        query_pre_attn_scalar: scalar(config),
        ...(window > 0 ? {} : { layer_types: layerTypes(config, 1) }),
      };
    },
    write(config) {
      const own = modelType === 'gemma2' ? {} : { rope_local_base_freq: 10000 };
      const common = {
        query_pre_attn_scalar: scalar(config),
        hidden_activation: 'gelu_pytorch_tanh',
        attention_bias: false,
      };
      checkSame(config, { layer_types: layerTypes(config, step), ...common, ...own });
      const caps = ['attn_logit_softcapping', 'final_logit_softcapping'] as const;
      return [
        ...writeHeads(config),
        ['attention.sliding_window', { u32: Number(config['sliding_window']) }],
        ...caps.flatMap((key) => (typeof config[key] === 'number' ? [[key, { f32: config[key] }] as const] : [])),
      ];
    },
  };
};

/** Share of a head's numbers that turn. */
function turningShare(settings: Settings): number {
  const { size, turned } = headOf(settings);
  return turned / size;
}

const phi3: Architecture = {
  ...{ ...llama, name: 'phi3', className: 'Phi3ForCausalLM', modelType: 'phi3' },
  tensors: [
    ...llamaTensors.filter(([name]) => !/attn_[qkv]$|attn_._norm$|ffn_(gate|up)$/.test(name)),
    ['blk.N.attn_qkv', 'model.layers.N.self_attn.qkv_proj'],
    ['blk.N.ffn_up', 'model.layers.N.mlp.gate_up_proj'],
  ],
  order: () => undefined,
  read(settings) {
    const { head_dim: _, ...heads } = readHeads(settings, { longrope: true });
    const window = settings.number('attention.sliding_window') ?? 0;
    const context = settings.needed('context_length');
    return {
      ...heads,
      partial_rotary_factor: turningShare(settings),
      original_max_position_embeddings: settings.number('rope.scaling.original_context_length') ?? context,
      sliding_window: window > 0 ? window : null,
    };
  },
  write: (config) => [
    ...writeHeads(config).filter(([setting]) => setting !== 'rope.dimension_count'),
    ['rope.dimension_count', { u32: Math.floor(headSize(config) * Number(config['partial_rotary_factor'])) }],
    ['rope.scaling.original_context_length', { u32: Number(config['original_max_position_embeddings']) }],
    ['attention.sliding_window', { u32: Number(config['sliding_window'] ?? 0) }],
  ],
};

const headSize = (config: JsonObject): number =>
  Number(config['head_dim'] ?? Number(config['hidden_size']) / Number(config['num_attention_heads']));

const neox: Architecture = {
  name: 'gptneox',
  className: 'GPTNeoXForCausalLM',
  modelType: 'gpt_neox',
  settings: [
    ...llamaSettings.filter(([name]) => !name.endsWith('epsilon')),
    ['attention.layer_norm_epsilon', 'layer_norm_eps'],
  ],
  tensors: [
    ['token_embd', 'gpt_neox.embed_in'],
    ['output_norm', 'gpt_neox.final_layer_norm'],
    ['output', 'embed_out'],
    ['blk.N.attn_norm', 'gpt_neox.layers.N.input_layernorm'],
    ['blk.N.attn_qkv', 'gpt_neox.layers.N.attention.query_key_value'],
    ['blk.N.attn_output', 'gpt_neox.layers.N.attention.dense'],
    ['blk.N.ffn_norm', 'gpt_neox.layers.N.post_attention_layernorm'],
    ['blk.N.ffn_up', 'gpt_neox.layers.N.mlp.dense_h_to_4h'],
    ['blk.N.ffn_down', 'gpt_neox.layers.N.mlp.dense_4h_to_h'],
  ],
  order: (tensor) => (tensor.endsWith('attn_qkv') ? 'parts' : undefined),
  read: (settings, has) => ({
    rotary_pct: turningShare(settings),
    rotary_emb_base: settings.number('rope.freq_base') ?? 10000,
    use_parallel_residual: settings.truth('use_parallel_residual') ?? true,
    attention_bias: has('blk.0.attn_qkv.bias'),
  }),
  write(config) {
    checkSame(config, { hidden_act: 'gelu', rope_scaling: null });
    return [
      ['rope.dimension_count', { u32: Math.floor(headSize(config) * Number(config['rotary_pct'])) }],
      ['rope.freq_base', { f32: Number(config['rotary_emb_base']) }],
      ['use_parallel_residual', { truth: config['use_parallel_residual'] === true }],
      ['vocab_size', { u32: Number(config['vocab_size']) }],
    ];
  },
};

const gpt2: Architecture = {
  name: 'gpt2',
  className: 'GPT2LMHeadModel',
  modelType: 'gpt2',
  settings: [
    ['context_length', 'n_positions'],
    ['block_count', 'n_layer'],
    ['embedding_length', 'n_embd'],
    ['attention.head_count', 'n_head'],
    ['attention.layer_norm_epsilon', 'layer_norm_epsilon'],
  ],
  tensors: [
    ['token_embd', 'transformer.wte'],
    ['position_embd', 'transformer.wpe'],
    ['output_norm', 'transformer.ln_f'],
    ['output', 'lm_head'],
    ['blk.N.attn_norm', 'transformer.h.N.ln_1'],
    ['blk.N.attn_qkv', 'transformer.h.N.attn.c_attn'],
    ['blk.N.attn_output', 'transformer.h.N.attn.c_proj'],
    ['blk.N.ffn_norm', 'transformer.h.N.ln_2'],
    ['blk.N.ffn_up', 'transformer.h.N.mlp.c_fc'],
    ['blk.N.ffn_down', 'transformer.h.N.mlp.c_proj'],
  ],
  order: (tensor) => (/\.(attn_qkv|attn_output|ffn_up|ffn_down)$/.test(tensor) ? 'transposed' : undefined),
  read: (settings) => ({ n_inner: settings.needed('feed_forward_length') }),
  write: (config) => [['feed_forward_length', { u32: Number(config['n_inner'] ?? 4 * Number(config['n_embd'])) }]],
};

export const architectures: readonly Architecture[] = [
  llama,
  mistral,
  qwen2,
  { ...qwen2, name: 'qwen3', className: 'Qwen3ForCausalLM', modelType: 'qwen3' },
  smollm3,
  olmo2,
  gemma('gemma2', 'Gemma2ForCausalLM', 'gemma2', 2, 46),
  gemma('gemma3', 'Gemma3ForCausalLM', 'gemma3_text', 6, 62),
  phi3,
  neox,
  gpt2,
];

/** The architecture of a file. Error: one that is not known here. */
export function architectureOf(metadata: ReadonlyMap<string, GgufValue>, path: string): Architecture {
  const name = metadata.get('general.architecture');
  const window = metadata.get('llama.attention.sliding_window');
  const isMistral = name === 'llama' && typeof window === 'number' && window > 0;
  const found = isMistral ? mistral : architectures.find((each) => each.name === name);
  if (!found)
    throw new Error(
      `${printable(path)} holds a model of the architecture ${showValue(name)}; known here are ` +
        listNames([...new Set(architectures.map(({ name }) => name))]),
    );
  return found;
}

/** What becomes a setting (`ropeFactors`), and what is computed from the settings. */
const ignored = /^(rope_freqs|rope_factors_(long|short)|blk\.\d+\.(attn_rot_embd|attn_rot_freqs))(\.weight)?$/;

/** The name of a tensor of Transformers in files, and its order. Error: one that these have no name for. */
export function ggufName(
  { tensors, order }: Architecture,
  key: string,
): { readonly name: string; readonly order: Order } {
  const found = renamed(tensors, key, 1);
  if (!found) throw new Error(`GGUF files have no name for the weights ${key}`);
  return { name: found.other, order: order(found.otherStem) };
}

/** A tensor's name on one side of the table, without its ending too, and on the other. */
function renamed(tensors: Names, name: string, side: 0 | 1) {
  const [, stem = name, end = ''] = /^(.*)(\.(?:weight|bias))$/.exec(name) ?? [];
  const layer = /\.(\d+)\./.exec(stem)?.[1];
  const pattern = layer === undefined ? stem : stem.replace(`.${layer}.`, '.N.');
  const found = tensors.find((names) => names[side] === pattern);
  if (!found) return undefined;
  const otherStem = found[side === 0 ? 1 : 0].replace('.N.', `.${layer}.`);
  return { stem, otherStem, other: otherStem + end };
}

/** The tensors with longrope's factors. */
export const longFactors = { short: 'rope_factors_short.weight', long: 'rope_factors_long.weight' };

/** The tensor by which rotary frequencies are divided. */
export const ropeFactors = 'rope_freqs.weight';

/**
 * Llama 3's scaling of rotary positions for the factors that a file has instead of its settings: those of
 * Llama 3.1 and 3.2 differ in `factor` alone. Error: other factors.
 */
export function ropeScalingOf(factors: Float32Array, base: number, path: string): JsonObject | null {
  const factor = factors.reduce((most, each) => Math.max(most, each), 1);
  if (factor === 1) return null;
  const [low, high, original] = [1, 4, 8192];
  const fits = factors.every((given, i) => {
    const turns = original / (2 * Math.PI * base ** (i / factors.length)); // within the original context
    const smooth = Math.min(1, Math.max(0, (turns - low) / (high - low)));
    return Math.abs(given * ((1 - smooth) / factor + smooth) - 1) < 1e-4;
  });
  if (!fits) throw new Error(`${printable(path)}: the factors of ${ropeFactors} are not those of Llama 3`);
  return {
    rope_type: 'llama3',
    factor,
    low_freq_factor: low,
    high_freq_factor: high,
    original_max_position_embeddings: original,
  };
}

/**
 * The name that Transformers gives a tensor of a file, and its order; undefined for one that is not needed.
 * A name that is not known stays, so that the model says that it does not use it.
 */
export function translateName(
  { tensors, order }: Architecture,
  name: string,
): { readonly name: string; readonly order: Order } | undefined {
  if (ignored.test(name)) return undefined;
  const found = renamed(tensors, name, 0);
  return found ? { name: found.other, order: order(found.stem) } : { name, order: undefined };
}
