import { isJsonObject } from '../../common/json-file.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { optionsOfJson } from '../generation/config-file.ts';
import type { Generative } from '../generation/decoder.ts';
import { generate } from '../generation/generate.ts';
import type { TextGenerator } from '../generation/load.ts';
import type { GenerationOptions } from '../generation/options.ts';
import { targetOptions, textTemplate, withTemplate } from '../generation/source-text.ts';

export interface Languages {
  /** The code of the sources' language, as the tokenizer knows it: en_XX. Default: the tokenizer's. */
  readonly srcLang?: string;
  /** That of the language to write. */
  readonly tgtLang?: string;
}

export interface Text2TextOptions extends GenerationOptions, Languages {
  /**
   * Put before each source: `summarize: ` for a T5. Default: as config.json has it for the task, see
   * `taskOf`.
   */
  readonly prefix?: string;
  /** Sources that are read side by side; default 16. */
  readonly batchSize?: number;
  /**
   * Cut sources that are longer than the model reads, at their end; else they are an error. Default false.
   */
  readonly truncation?: boolean;
  /** Ends the work before the next batch with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Told how many texts are done, of all. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * The settings that a model's config.json has for a task, as Transformers' pipelines take them: those of
 * `task_specific_params`, over its `prefix`. A translation is `translation_en_to_de` there where languages
 * are given; they then stand in the prefix ("translate English to German: "), not in the tokenizer.
 *
 * @example
 * const { model } = await loadTextGenerator('models/pretrained/translation-en-fr-small');
 * taskOf(model, 'translation'); // {}
 */
export function taskOf(
  { config }: Pick<Generative, 'config'>,
  task: string,
  { srcLang, tgtLang }: Languages = {},
): Text2TextOptions {
  const { extra = {} } = config as { readonly extra?: JsonObject };
  const { task_specific_params: tasks, prefix } = extra;
  const named = `translation_${srcLang}_to_${tgtLang}`;
  const found = [...(task === 'translation' ? [named] : []), task].find(
    (name) => isJsonObject(tasks) && isJsonObject(tasks[name]),
  );
  const { prefix: own = prefix, ...settings } = found === undefined ? {} : ((tasks as JsonObject)[found] as JsonObject);
  return {
    ...optionsOfJson(`task_specific_params.${found} of config.json`, settings),
    ...(typeof own === 'string' ? { prefix: own } : {}),
    ...(found === named ? {} : { srcLang, tgtLang }),
  };
}

/** Tasks of encoder-decoders, and what their results have their text under. */
export const textKeys = {
  translation: 'translation_text',
  summarization: 'summary_text',
  'text2text-generation': 'generated_text',
} as const;
export type WritingTask = keyof typeof textKeys;

/** A task's result for each source, by the options given and else by what the model has for the task. */
export async function writeForTask<Task extends WritingTask>(
  generator: TextGenerator,
  task: Task,
  sources: readonly string[],
  { srcLang, tgtLang, ...given }: Text2TextOptions = {},
): Promise<Record<(typeof textKeys)[Task], string>[]> {
  const settled = { ...taskOf(generator.model, task, { srcLang, tgtLang }), ...given };
  const texts = await generateFromSources(generator, sources, settled);
  return texts.map((text) => ({ [textKeys[task]]: text }) as Record<(typeof textKeys)[Task], string>);
}

/**
 * Writes a text for each source with an encoder-decoder: translates, summarises. Sources of like length are
 * read together; the results are in the order of the sources. Where neither options nor the model's
 * generation_config.json say how long a text may be, it may have twice the tokens of the batch's longest
 * source and ten more.
 *
 * Errors, each one line: a source that is empty, or, without `truncation`, longer than the model's positions;
 * a language that the tokenizer does not know, or none where it needs one; a model that only has a decoder;
 * those of `generate`.
 *
 * @example
 * const translator = await loadTextGenerator('models/pretrained/translation-en-fr-small');
 * await generateFromSources(translator, ['Open the file.']); // ['Ouvrez le fichier.']
 */
export async function generateFromSources(
  { model, tokenizer, options: recommended }: TextGenerator,
  sources: readonly string[],
  options: Text2TextOptions = {},
): Promise<string[]> {
  const { batchSize = 16, truncation = false, prefix = '', srcLang, tgtLang, signal, onProgress, ...given } = options;
  const { source, positions } = model.decoder();
  if (!source)
    throw new Error('generateFromSources: the model has no encoder; continue texts with generateText instead');
  if (!Number.isInteger(batchSize) || batchSize < 1)
    throw new Error(`generateFromSources: batchSize must be a positive integer, got ${batchSize}`);
  const merged = { ...recommended, ...given };
  const settled = { ...merged, ...targetOptions(model, tokenizer, merged, tgtLang) };
  const template = textTemplate(model, tokenizer, srcLang);
  const prompts = sources.map((text, i) => {
    if (text.trim() === '') throw new Error(`generateFromSources: source ${i} is empty; leave it out`);
    const ids = tokenizer.idsOf(prefix + text);
    const { length } = withTemplate(template, ids);
    if (length > source.positions && !truncation)
      throw new Error(
        `generateFromSources: source ${i} has ${length} tokens, more than the model's ${source.positions} ` +
          'positions; cut it in pieces, or give truncation: true',
      );
    return withTemplate(template, ids, source.positions);
  });
  const order = prompts.map((_, i) => i).sort((a, b) => prompts[b]!.length - prompts[a]!.length);
  const texts = new Array<string>(sources.length);
  for (let from = 0; from < order.length; from += batchSize) {
    signal?.throwIfAborted();
    const members = order.slice(from, from + batchSize);
    const longest = prompts[members[0]!]!.length;
    const isLimited = (settled.maxNewTokens ?? settled.maxLength) !== undefined;
    const limit = isLimited ? {} : { maxNewTokens: Math.min(2 * longest + 10, positions - 1) };
    const results = await generate(
      model,
      members.map((i) => prompts[i]!),
      { ...settled, ...limit },
    );
    // With several texts for each source, the first one is the best.
    const perSource = results.length / members.length;
    members.forEach((i, k) => {
      texts[i] = tokenizer.decode(results[k * perSource]!.tokens, { skipSpecialTokens: true });
    });
    onProgress?.(Math.min(from + batchSize, order.length), order.length);
  }
  return texts;
}
