import * as z from 'zod';
import { isJsonObject } from '../common/json-file.ts';
import type { JsonObject } from '../common/json-file.ts';
import { camelCase, listNames, showValue, snakeCase } from './names.ts';

/**
 * Settings of every model. Keys are those of config.json in camelCase, but for the labels, which it
 * lists as id2label.
 */
export interface ModelConfig {
  /** The family, as config.json names it. */
  readonly modelType: string;
  /** Names of the classes, in their order. */
  readonly labels: readonly string[];
  readonly numLabels: number;
  /** Keys of config.json that the model does not use, as they were: they are written back. */
  readonly extra: Readonly<JsonObject>;
}

/** How one model family's config is checked, read and written. */
export interface ConfigFormat<C extends ModelConfig, I> {
  readonly modelType: string;
  /** A config from settings in camelCase; the rest is default. Throws in one line naming the setting. */
  create(settings?: I): C;
  /**
   * A config from the contents of config.json, some settings overridden. Throws in one line naming file and
   * key.
   */
  fromJson(json: JsonObject, file: string, overrides?: I): C;
  /** The contents of config.json, keys sorted. */
  toJson(config: C): JsonObject;
  /** The same as text. Transformers refuses whole numbers for some settings, so these are written as 1.0. */
  toText(json: JsonObject): string;
}

/** The most labels: more are a mistake, such as a column of texts taken for that of the labels. */
export const maxLabels = 100_000;
const labelShape = {
  labels: z.array(z.string()).min(1).max(maxLabels, `at most ${maxLabels} labels are possible`).optional(),
  numLabels: z.int().min(1).max(maxLabels).optional(),
};

/** Settings of the labels that every family takes; give either. */
export interface LabelSettings {
  /** Names of the classes, in their order. */
  readonly labels?: readonly string[];
  /** How many classes there are, default 2: they are named LABEL_0 and so on. */
  readonly numLabels?: number;
}

export interface ConfigRules<V> {
  /** Returns the fault of the settings as a whole, if there is one. */
  readonly check: (values: V) => string | undefined;
  /** The same for config.json as it is: keys that ask for what the model cannot do. */
  readonly checkJson?: (json: JsonObject) => string | undefined;
  /** Settings that are real numbers, those inside of other settings too. */
  readonly floats: readonly string[];
}

/** Defines a family's config: `shape` gives each setting in camelCase its zod type and default. */
export function defineConfig<S extends z.ZodRawShape>(
  modelType: string,
  shape: S,
  { check, checkJson = () => undefined, floats }: ConfigRules<Readonly<z.output<z.ZodObject<S>>>>,
): ConfigFormat<Readonly<z.output<z.ZodObject<S>>> & ModelConfig, Partial<z.input<z.ZodObject<S>>> & LabelSettings> {
  type Config = Readonly<z.output<z.ZodObject<S>>> & ModelConfig;
  const own = z.strictObject(shape);
  const known = [...Object.keys(shape), ...Object.keys(labelShape)];

  const build = (settings: JsonObject, extra: JsonObject, where: string, spell: (key: string) => string): Config => {
    const given = Object.entries(settings).filter(([, value]) => value !== undefined);
    const parsed = own.safeParse(Object.fromEntries(given.filter(([key]) => !(key in labelShape))));
    const labels = z.object(labelShape).safeParse(Object.fromEntries(given.filter(([key]) => key in labelShape)));
    const issue = parsed.error?.issues[0] ?? labels.error?.issues[0];
    if (issue) throw new Error(`${where}: ${describe(issue, settings, spell)}`);
    const values = parsed.data!;
    const wrong = check(values);
    if (wrong) throw new Error(`${where}: ${wrong}`);
    return Object.freeze({ ...values, ...settleLabels(labels.data!, where), modelType, extra }) as Config;
  };

  return {
    modelType,
    create: (settings) => build({ ...settings }, {}, `${modelType} config`, (key) => key),
    fromJson(json, file, overrides) {
      const {
        model_type: type = modelType,
        architectures: _,
        id2label,
        label2id: _inverse,
        num_labels: numLabels,
        ...rest
      } = json;
      const wrong =
        type === modelType
          ? checkJson(json)
          : `model_type is ${showValue(type)}, this class loads "${modelType}"; use the class for it`;
      if (wrong) throw new Error(`${file}: ${wrong}`);
      const labels = labelsFromJson(id2label, file);
      const settings: JsonObject = labels ? { labels } : { numLabels: numLabels ?? undefined };
      const extra: JsonObject = {};
      for (const [key, value] of Object.entries(rest)) {
        const setting = camelCase(key);
        if (setting in shape && snakeCase(setting) === key) settings[setting] = value;
        else extra[key] = value;
      }
      const odd = Object.keys(overrides ?? {}).find((key) => !known.includes(key));
      if (odd !== undefined)
        throw new Error(`${modelType} config: there is no setting ${odd}; the settings are ${known.join(', ')}`);
      return build(
        override(settings, { ...overrides }),
        extra,
        overrides ? `${file} with its overrides` : file,
        snakeCase,
      );
    },
    toJson(config) {
      const settings = Object.keys(shape).map((key): [string, unknown] => [
        snakeCase(key),
        (config as JsonObject)[key],
      ]);
      const id2label = Object.fromEntries(config.labels.entries());
      const label2id = Object.fromEntries(config.labels.map((label, id) => [label, id]));
      const json = { ...config.extra, ...Object.fromEntries(settings), id2label, label2id, model_type: modelType };
      return Object.fromEntries(Object.entries(json).sort(([a], [b]) => (a < b ? -1 : 1)));
    },
    toText(json) {
      const whole = new RegExp(`^( +"(?:${floats.map(snakeCase).join('|')})": -?\\d+)(,?)$`, 'gm');
      return `${JSON.stringify(json, null, 2).replace(whole, '$1.0$2')}\n`;
    },
  };
}

function describe(issue: z.core.$ZodIssue, settings: JsonObject, spell: (key: string) => string): string {
  if (issue.code === 'unrecognized_keys') return `there is no setting ${listNames(issue.keys)}`;
  const key = String(issue.path[0]);
  const path = issue.path.map((part) => (typeof part === 'string' ? spell(part) : String(part)));
  return `${path.join('.')} is ${showValue(settings[key])}: ${issue.message}`;
}

/** Overrides over what the file says; its names of labels give way to another number of them. */
function override(settings: JsonObject, overrides: JsonObject): JsonObject {
  const given = Object.fromEntries(Object.entries(overrides).filter(([, value]) => value !== undefined));
  const merged = { ...settings, ...given };
  const { labels, numLabels } = given;
  if (labels !== undefined && numLabels === undefined) delete merged['numLabels'];
  if (
    labels === undefined &&
    numLabels !== undefined &&
    (settings['labels'] as unknown[] | undefined)?.length !== numLabels
  )
    delete merged['labels'];
  return merged;
}

/** The names of id2label, whose keys are numbers as strings, in their order. */
function labelsFromJson(id2label: unknown, where: string): string[] | undefined {
  if (id2label === undefined || id2label === null) return undefined;
  const names = isJsonObject(id2label) ? id2label : {};
  const labels = Object.keys(names).map((_, id) => names[String(id)]);
  if (labels.length === 0 || !labels.every((name) => typeof name === 'string')) {
    throw new Error(`${where}: id2label must map the numbers from 0 on, without gaps, to names`);
  }
  return labels as string[];
}

function settleLabels({ labels, numLabels }: LabelSettings, where: string): Pick<ModelConfig, 'labels' | 'numLabels'> {
  const names = labels ?? Array.from({ length: numLabels ?? 2 }, (_, id) => `LABEL_${id}`);
  if (numLabels !== undefined && numLabels !== names.length) {
    throw new Error(
      `${where}: there are names for ${names.length} labels, but numLabels is ${numLabels}; give one of the two`,
    );
  }
  return { labels: names, numLabels: names.length };
}

export interface HeadSizes {
  readonly hiddenSize: number;
  readonly numAttentionHeads: number;
}

/** What is wrong where heads have no whole share of a layer's width. */
export function checkHeads({ hiddenSize, numAttentionHeads: heads }: HeadSizes): string | undefined {
  return hiddenSize % heads === 0
    ? undefined
    : `hidden_size ${hiddenSize} must be a multiple of num_attention_heads ${heads}`;
}

/** What is wrong where one of these settings, by its key in config.json, is no token of the vocabulary. */
export function outsideVocabulary(size: number, ids: Readonly<Record<string, number | null>>): string | undefined {
  const wrong = Object.entries(ids).find(([, id]) => id !== null && id >= size);
  return wrong && `${wrong[0]} ${wrong[1]} is outside the vocabulary of ${size}; give one of it`;
}
