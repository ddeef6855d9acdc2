/**
 * Looks into a model: the attention of its heads as pictures.
 *
 *   npx tsx train/inspect.ts attention "The state of the Union"        writes attention.html
 *   npx tsx train/inspect.ts attention --model runs/bert --text-pair "Who ran?" "The fox ran home."
 *   npx tsx train/inspect.ts attention --model models/pretrained/translation-en-fr-small "The file is open."
 */
import { basename } from 'node:path';
import { writeFileAtomic } from '../common/atomic-files.ts';
import { loadModel, loadTokenizer, readModelFolder, resolveModelFolder } from '../models/index.ts';
import type { AnyTokenizer, Module } from '../models/index.ts';
import { shippedModel } from '../models/io/shipped.ts';
import { endWithReader, main, parseOptions, UsageError } from './cli/cli.ts';
import type { ExplainedText } from './explain/read-text.ts';
import { attentionPage } from './inside/attention-page.ts';
import type { ShownAttention } from './inside/attention-page.ts';
import { attentionPatterns } from './inside/patterns.ts';

const views = ['attention'] as const;

const command = {
  name: 'inspect',
  usage: 'npx tsx train/inspect.ts VIEW',
  summary: `Looks into a model. Views: ${views.join(', ')}.`,
  positionals: { name: 'text', help: 'the view, then the texts to look at', min: 2 },
  options: {
    model: {
      type: 'string',
      help: 'folder, Hugging Face cache or hub; default the small GPT that comes with the project',
    },
    textPair: {
      type: 'list',
      help: 'the second text of a pair, of an encoder-decoder what it writes; once for each text, in their order',
    },
    truncation: { type: 'boolean', help: 'cut texts that are longer than the model reads' },
    out: { type: 'path', help: 'the page, one HTML file that needs no other; default VIEW.html' },
  },
} as const;

main(async () => {
  endWithReader();
  const { values, positionals } = parseOptions(command);
  const [view, ...texts] = positionals;
  const { model: name = shippedModel('gpt-small'), textPair, truncation, out = `${view}.html` } = values;
  if (!(views as readonly string[]).includes(view!))
    throw new UsageError(`${command.name}: there is no view "${view}"; use ${views.join(', ')}`);
  if (textPair.length > 0 && textPair.length !== texts.length)
    throw new UsageError(
      `${command.name}: ${texts.length} texts but ${textPair.length} of --text-pair; give one for each text`,
    );
  const folder = await resolveModelFolder(name, {});
  const { model, tokenizer } = await readModelFolder(folder, async () => ({
    model: await loadModel(folder),
    tokenizer: await loadTokenizer(folder),
  }));
  const given = texts.map((text, i): ExplainedText => (textPair.length > 0 ? [text, textPair[i]!] : text));
  await writeFileAtomic(out, await attention(model, tokenizer, given, truncation, basename(folder)));
  console.log(`page   ${out}`);
});

async function attention(
  model: Module,
  tokenizer: AnyTokenizer,
  texts: readonly ExplainedText[],
  truncation: boolean | undefined,
  name: string,
): Promise<string> {
  const shown: ShownAttention[] = [];
  for (const text of texts) {
    const stacks = await attentionPatterns(model, tokenizer, text, { truncation });
    shown.push({ text: [text].flat().join(' | '), stacks });
    for (const { name: stack, layers, from, to } of stacks)
      console.log(`${stack}: ${layers.length} layers, ${from.length} tokens attend to ${to.length}`);
  }
  return attentionPage(shown, `Attention of ${name}`);
}
