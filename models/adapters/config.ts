import * as z from 'zod';
import type { JsonObject } from '../../common/json-file.ts';
import { listNames, showValue, snakeCase } from '../names.ts';

/** What a model is for, as PEFT names it in adapter_config.json. */
export const taskTypes = [
  'SEQ_CLS',
  'SEQ_2_SEQ_LM',
  'CAUSAL_LM',
  'TOKEN_CLS',
  'QUESTION_ANS',
  'FEATURE_EXTRACTION',
] as const;
export type TaskType = (typeof taskTypes)[number];

const names = z.array(z.string().min(1)).min(1);
const namesOrPattern = z.union([z.string().min(1), names]);

/** Settings as they are given: what is left out has its default. */
type SettingsOf<Shape extends z.ZodRawShape> = Partial<z.input<z.ZodObject<Shape>>>;

/** Settings with their defaults, and what a file says beside them. */
type ConfigOf<Shape extends z.ZodRawShape, Kind extends string> = Readonly<z.output<z.ZodObject<Shape>>> & {
  readonly peftType: Kind;
  /** Keys of the file that nothing here uses, as they were. */
  readonly extra: Readonly<JsonObject>;
};

/** Settings of every kind of adapter. */
const common = {
  taskType: z.enum(taskTypes).nullable().default(null),
  /** The model that the adapter was trained on: its folder or its name on the hub. */
  baseModelNameOrPath: z.string().nullable().default(null),
  revision: z.string().nullable().default(null),
  /** Modules to train whole, by the ends of their names: they are copied and saved with the adapter. */
  modulesToSave: names.nullable().default(null),
};

/**
 * Low-rank adapters (Hu et al. 2022): y = W x + loraAlpha / r * B A x, A [r, in], B [out, r]. Names and
 * defaults are those of PEFT's LoraConfig.
 */
const loraShape = {
  ...common,
  r: z.int().min(1).default(8),
  /**
   * Layers to adapt: names or ends of names, `['query', 'value']`; a regular expression that a whole name
   * matches; or 'all-linear', all linear layers but the head that gives the output. Default, null: what PEFT
   * takes for the family.
   */
  targetModules: namesOrPattern.nullable().default(null),
  /** Layers to leave out, by names, ends of names, or a regular expression. */
  excludeModules: namesOrPattern.nullable().default(null),
  loraAlpha: z.number().positive().default(8),
  /** Probability of dropping elements of what A reads, while training. */
  loraDropout: z.number().min(0).max(1).default(0),
  /** Weights are stored [in, out], as in GPT-2. Set by the model; kept for the file. */
  fanInFanOut: z.boolean().default(false),
  /** Biases of the base to train too: none, all, or those of the layers adapted. */
  bias: z.enum(['none', 'all', 'lora_only']).default('none'),
  /** Scales by loraAlpha / sqrt(r) (Kalajdzievski 2023). */
  useRslora: z.boolean().default(false),
  /**
   * First values: true, A even in +-1/sqrt(in) and B 0; 'gaussian', A normal with deviation 1/r and B 0;
   * false, both random, which is for tests; 'pissa', the r largest singular values and vectors of the
   * weight, which is left with the rest (Meng et al. 2024); 'pissa_niter_4', the same nearly, by 4 rounds of
   * products, for large weights. PiSSA reads the weights first: `await initAdapter(model, config)`.
   */
  initLoraWeights: z
    .union([z.boolean(), z.enum(['gaussian', 'pissa']), z.templateLiteral(['pissa_niter_', z.int().min(1)])])
    .default(true),
  /** Numbers of the layers of the stack to adapt; default all. */
  layersToTransform: z
    .union([z.int().min(0), z.array(z.int().min(0)).min(1)])
    .nullable()
    .default(null),
  /** The name of the stack, where a model has several: 'layers'. */
  layersPattern: namesOrPattern.nullable().default(null),
  /** Ranks by name, end of a name or regular expression, where they are others than r. */
  rankPattern: z.record(z.string(), z.int().min(1)).default({}),
  /** The same for loraAlpha. */
  alphaPattern: z.record(z.string(), z.number().positive()).default({}),
  /** Trains lengths and directions of W's rows apart (Liu et al. 2024). */
  useDora: z.boolean().default(false),
};

export type LoraSettings = SettingsOf<typeof loraShape>;
export type LoraConfig = ConfigOf<typeof loraShape, 'LORA'>;

/**
 * Learnt factors (Liu et al. 2022, "IA3"): what a layer gives, or of feed-forward layers what it reads, times
 * a vector. Names and defaults are those of PEFT's IA3Config.
 */
const ia3Shape = {
  ...common,
  /** As of LoRA. Default, null: what PEFT takes for the family. */
  targetModules: namesOrPattern.nullable().default(null),
  excludeModules: namesOrPattern.nullable().default(null),
  /** Those of the layers whose input is multiplied: ends of names, or a pattern. Default: the family's. */
  feedforwardModules: z
    .union([z.string().min(1), z.array(z.string().min(1))])
    .nullable()
    .default(null),
  /** Weights are stored [in, out], as in GPT-2. Set by the model; kept for the file. */
  fanInFanOut: z.boolean().default(false),
  /** Kept for the file: the factors begin as 1. */
  initIa3Weights: z.literal(true).default(true),
};
export type IA3Settings = SettingsOf<typeof ia3Shape>;
export type IA3Config = ConfigOf<typeof ia3Shape, 'IA3'>;

/** Settings of virtual tokens, which are read before the tokens of every text. */
const virtualTokens = {
  ...common,
  numVirtualTokens: z.int().min(1).default(20),
  /** Numbers of a virtual token, of a prefix those of its keys in one layer. Set by the model. */
  tokenDim: z.int().min(1).nullable().default(null),
  /** Kept for the file: encoder-decoders would have 2. */
  numTransformerSubmodules: z.literal(1).nullable().default(null),
  /** Of a prefix those of keys and values. Set by the model. */
  numAttentionHeads: z.int().min(1).nullable().default(null),
  /** Set by the model. */
  numLayers: z.int().min(1).nullable().default(null),
};

/**
 * Learnt vectors before those of every text's tokens (Lester et al. 2021, "prompt tuning"). Names and
 * defaults are those of PEFT's PromptTuningConfig; there numVirtualTokens has no default.
 */
const promptTuningShape = {
  ...virtualTokens,
  /** First values: RANDOM, normal; SAMPLE_VOCAB, vectors of tokens drawn; TEXT, those of a text's tokens. */
  promptTuningInit: z.enum(['RANDOM', 'SAMPLE_VOCAB', 'TEXT']).default('RANDOM'),
  /** Of TEXT: repeated or cut to numVirtualTokens. */
  promptTuningInitText: z.string().min(1).nullable().default(null),
  /** Kept for the file: the tokenizer is given with the model. */
  tokenizerNameOrPath: z.string().nullable().default(null),
  tokenizerKwargs: z.record(z.string(), z.unknown()).nullable().default(null),
};
export type PromptTuningSettings = SettingsOf<typeof promptTuningShape>;
export type PromptTuningConfig = ConfigOf<typeof promptTuningShape, 'PROMPT_TUNING'>;

/**
 * Learnt keys and values in every layer, before those of every text's tokens (Li and Liang 2021, "prefix
 * tuning"). Names and defaults are those of PEFT's PrefixTuningConfig; there numVirtualTokens has no default.
 */
const prefixTuningShape = {
  ...virtualTokens,
  /** First values: null, normal; 'zero'. */
  initWeights: z.literal('zero').nullable().default(null),
  /** Kept for the file. Set by the model. */
  encoderHiddenSize: z.int().min(1).nullable().default(null),
  /** Made by a network, whose results the file holds: such files are read, and none is trained anew. */
  prefixProjection: z.boolean().default(false),
};
export type PrefixTuningSettings = SettingsOf<typeof prefixTuningShape>;
export type PrefixTuningConfig = ConfigOf<typeof prefixTuningShape, 'PREFIX_TUNING'>;

/** Adapters that change layers, and those that are read before the text. */
export type LayerConfig = LoraConfig | IA3Config;
export type VirtualTokensConfig = PromptTuningConfig | PrefixTuningConfig;
export type AdapterConfig = LayerConfig | VirtualTokensConfig;

/** Whether an adapter begins with singular values and vectors of the base's weights. */
export const isPissa = (config: AdapterConfig): config is LoraConfig =>
  config.peftType === 'LORA' && String(config.initLoraWeights).startsWith('pissa');

export const hasVirtualTokens = (config: AdapterConfig): config is VirtualTokensConfig => 'numVirtualTokens' in config;

/** Version of PEFT whose files are written. */
const peftVersion = '0.21.2';

/** How one kind of adapter is described. */
interface Kind {
  readonly shape: z.ZodRawShape;
  /**
   * Keys that PEFT writes besides, for what is not done here; each with its value where it is not asked for.
   */
  readonly idle: Readonly<JsonObject>;
  /** Settings that are real numbers. */
  readonly floats: readonly string[];
}

const idle = { auto_mapping: null };
const kinds: Readonly<Record<string, Kind>> = {
  IA3: { shape: ia3Shape, floats: [], idle },
  PREFIX_TUNING: { shape: prefixTuningShape, floats: [], idle },
  PROMPT_TUNING: { shape: promptTuningShape, floats: [], idle },
  LORA: {
    shape: loraShape,
    floats: ['loraDropout'],
    idle: {
      ...idle,
      alora_invocation_tokens: null,
      arrow_config: null,
      corda_config: null,
      ensure_weight_tying: false,
      eva_config: null,
      kasa_config: null,
      layer_replication: null,
      loftq_config: {},
      lora_bias: false,
      lora_ga_config: null,
      megatron_config: null,
      megatron_core: 'megatron.core',
      monteclora_config: null,
      qalora_group_size: 16,
      target_parameters: null,
      trainable_token_indices: null,
      use_bdlora: null,
      use_qalora: false,
      velora_config: null,
    },
  },
};

/**
 * Settings of learnt factors with their defaults. Throws one line that names the one that is wrong.
 *
 * @example
 * ia3Config({ targetModules: ['key', 'value'], feedforwardModules: [] }).peftType; // 'IA3'
 */
export function ia3Config(settings: IA3Settings = {}): IA3Config {
  return build('IA3', { ...settings }, {}, 'IA3 settings', (key) => key) as IA3Config;
}

/**
 * Settings of prompt tuning with their defaults. Throws one line that names the one that is wrong.
 *
 * @example
 * promptTuningConfig({ numVirtualTokens: 10 }).peftType; // 'PROMPT_TUNING'
 */
export function promptTuningConfig(settings: PromptTuningSettings = {}): PromptTuningConfig {
  const where = 'prompt tuning settings';
  const config = build('PROMPT_TUNING', { ...settings }, {}, where, (key) => key) as PromptTuningConfig;
  if (config.promptTuningInit === 'TEXT' && config.promptTuningInitText === null)
    throw new Error(`${where}: promptTuningInit 'TEXT' takes the vectors of a text; give promptTuningInitText`);
  return config;
}

/**
 * Settings of prefix tuning with their defaults. Throws one line that names the one that is wrong.
 *
 * @example
 * prefixTuningConfig({ numVirtualTokens: 10 }).peftType; // 'PREFIX_TUNING'
 */
export function prefixTuningConfig(settings: PrefixTuningSettings = {}): PrefixTuningConfig {
  return build('PREFIX_TUNING', { ...settings }, {}, 'prefix tuning settings', (key) => key) as PrefixTuningConfig;
}

/**
 * Settings of a low-rank adapter with their defaults. Throws one line that names the one that is wrong.
 *
 * @example
 * const { r, loraAlpha } = loraConfig({ r: 16 });
 * [r, loraAlpha]; // [16, 8]
 */
export function loraConfig(settings: LoraSettings = {}): LoraConfig {
  return build('LORA', { ...settings }, {}, 'LoRA settings', (key) => key) as LoraConfig;
}

/**
 * The settings in an adapter_config.json. Throws one line with file and key: another kind of adapter, a value
 * that is wrong, or one that asks for what is not done here.
 *
 * @example
 * const config = adapterConfigFromJson({ peft_type: 'LORA', r: 4, lora_alpha: 8 }, 'adapter_config.json');
 * config.peftType; // 'LORA'
 */
export function adapterConfigFromJson(json: JsonObject, file: string): AdapterConfig {
  const { peft_type: type, inference_mode: _mode, peft_version: _version, ...rest } = json;
  if (typeof type !== 'string' || !Object.hasOwn(kinds, type))
    throw new Error(
      `${file}: peft_type is ${showValue(type)}; adapters here are of the types ${Object.keys(kinds).join(', ')}`,
    );
  const { shape, idle: unused } = kinds[type]!;
  const settings: JsonObject = {};
  const extra: JsonObject = {};
  const byKey = new Map(Object.keys(shape).map((setting) => [snakeCase(setting), setting]));
  for (const [key, value] of Object.entries(rest)) {
    const setting = byKey.get(key);
    if (setting !== undefined) settings[setting] = value;
    else if (isIdle(value) || same(value, unused[key])) extra[key] = value;
    else
      throw new Error(
        `${file}: ${key} is ${showValue(value)}, which changes what the adapter computes and is not done here; ` +
          'use an adapter without it, or merge it in PEFT (merge_and_unload) and load the model',
      );
  }
  return build(type, settings, extra, file, snakeCase);
}

const isIdle = (value: unknown): boolean =>
  value === null || value === false || (typeof value === 'object' && Object.keys(value).length === 0);

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

function build(
  peftType: string,
  settings: JsonObject,
  extra: JsonObject,
  where: string,
  spell: (key: string) => string,
): AdapterConfig {
  const parsed = z.strictObject(kinds[peftType]!.shape).safeParse(settings);
  const issue = parsed.error?.issues[0];
  if (issue?.code === 'unrecognized_keys')
    throw new Error(
      `${where}: there is no setting ${listNames(issue.keys)}; the settings are ` +
        Object.keys(kinds[peftType]!.shape).join(', '),
    );
  if (issue) {
    const key = String(issue.path[0]);
    throw new Error(
      `${where}: ${issue.path.map(String).map(spell).join('.')} is ${showValue(settings[key])}: ${issue.message}`,
    );
  }
  return Object.freeze({ ...parsed.data!, peftType, extra }) as unknown as AdapterConfig;
}

/** The text of adapter_config.json, as PEFT writes it. */
export function adapterConfigText(config: AdapterConfig): string {
  const { shape, idle: unused, floats } = kinds[config.peftType]!;
  const settings = Object.keys(shape).map((key): [string, unknown] => [snakeCase(key), (config as JsonObject)[key]]);
  const json: JsonObject = {
    ...unused,
    ...config.extra,
    ...Object.fromEntries(settings),
    inference_mode: true,
    peft_type: config.peftType,
    peft_version: peftVersion,
  };
  const sorted = Object.fromEntries(Object.entries(json).sort(([a], [b]) => (a < b ? -1 : 1)));
  const whole = new RegExp(`^( +"(?:${floats.map(snakeCase).join('|')})": -?\\d+)(,?)$`, 'gm');
  return JSON.stringify(sorted, null, 2).replace(whole, '$1.0$2');
}
