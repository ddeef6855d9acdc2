import { join } from '../../common/platform.ts';
import { generativeLoaders } from '../auto.ts';
import { readModelJson } from '../io/model-files.ts';
import { modelParts, readModelFolder, resolveModelFolder } from '../io/resolve.ts';
import { showValue } from '../names.ts';
import type { LoadOptions } from '../pretrained.ts';
import { loadTokenizer } from '../tokenizer/load.ts';
import type { AnyTokenizer } from '../tokenizer/any-tokenizer.ts';
import { readGenerationConfig } from './config-file.ts';
import type { Generative } from './decoder.ts';
import type { GenerationOptions } from './options.ts';

/** All that it takes to continue texts. */
export interface TextGenerator {
  readonly model: Generative;
  readonly tokenizer: AnyTokenizer;
  /** Recommended by the folder's generation_config.json. */
  readonly options: GenerationOptions;
}

/**
 * A model that generates, with its tokenizer and the options it comes with, from a folder, the Hugging Face
 * cache or the hub (see `resolveModelFolder`): `generateText(model, tokenizer, prompts, options)`. Throws in
 * one line where the model is of a kind that does not generate.
 *
 * @example
 * const { model, tokenizer, options } = await loadTextGenerator('models/pretrained/gpt-small');
 * const prompt = 'The state of the';
 * const [{ text }] = await generateText(model, tokenizer, prompt, { ...options, maxNewTokens: 3 });
 * text; // ' United States,'
 */
export async function loadTextGenerator(id: string, options: LoadOptions = {}): Promise<TextGenerator> {
  const folder = await resolveModelFolder(id, options);
  return readModelFolder(folder, () => read(folder, options));
}

async function read(folder: string, options: LoadOptions): Promise<TextGenerator> {
  const { base, config } = await modelParts(folder, options);
  const path = join(config, 'config.json');
  const type = (await readModelJson(config, 'config.json'))['model_type'];
  if (typeof type !== 'string' || !Object.hasOwn(generativeLoaders, type))
    throw new Error(
      `${path}: model_type is ${showValue(type)}, which generates no text here; use one of ` +
        `${Object.keys(generativeLoaders).join(', ')}`,
    );
  const tokenizer = await loadTokenizer(folder);
  const recommended = await readGenerationConfig(base, options);
  const model = await generativeLoaders[type]!(folder, options);
  return { model, tokenizer, options: recommended };
}
