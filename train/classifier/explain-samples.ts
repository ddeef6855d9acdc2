import { join } from 'node:path';
import { writeFileAtomic } from '../../common/atomic-files.ts';
import { firstLine, printable } from '../../common/printable.ts';
import type { Texts } from '../data/read-table.ts';
import { explain } from '../explain/explain.ts';
import type { Explanation } from '../explain/explain.ts';
import { explanationPage } from '../explain/page.ts';
import type { Classifier } from './model.ts';

/** Words of each text that are named. */
const named = 4;

/**
 * Writes explanations.html into a run's folder, some texts with their words on colours for how much they
 * count, and returns the words that count most of each as lines. Costs about as much as two steps of
 * training. What cannot be explained does not end the run: the line says why.
 */
export async function explainSamples(
  { model, tokenizer }: Classifier,
  samples: readonly Texts[],
  { folder, maxLength }: { readonly folder: string; readonly maxLength: number },
): Promise<string> {
  const texts = samples.map(({ text, textPair }) => (textPair === undefined ? text : ([text, textPair] as const)));
  const path = join(folder, 'explanations.html');
  let explanations: Explanation[];
  try {
    // The points of the way and its start are one batch.
    const points = { steps: 16, batchSize: 17 };
    explanations = await explain(model, tokenizer, texts, { ...points, truncation: true, maxLength });
  } catch (error) {
    return `no explanations: ${firstLine(error)}`;
  }
  await writeFileAtomic(path, explanationPage(explanations, 'Which words count'));
  return ['', `which words count, all of them in ${path}`, ...explanations.map(line)].join('\n');
}

/** The words that count most for a text's label: "spam  Click +0.88, FREE +0.70". */
function line({ target, texts, tokens, scores }: Explanation): string {
  const order = [...tokens.keys()]
    .filter((t) => tokens[t]!.text >= 0)
    .sort((a, b) => Math.abs(scores[b]!) - Math.abs(scores[a]!));
  const words = order.slice(0, named).map((t) => {
    const { text, start, end, token } = tokens[t]!;
    const word = printable(texts[text]!.slice(start, end).trim() || token);
    return `${word} ${scores[t]! < 0 ? '' : '+'}${scores[t]!.toFixed(2)}`;
  });
  return `${printable(target.name)}  ${words.join(', ')}`;
}
