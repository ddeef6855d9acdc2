/**
 * Compares methods of explanation: do their scores say what the model does? Without a model on tiny ones
 * whose truth is known, since their labels follow from planted words.
 *
 *   npx tsx train/compare-explanations.ts                                    minutes on two CPU cores
 *   npx tsx train/compare-explanations.ts --model models/pretrained/spam-small "A text" "Another"
 */
import { progress } from '../common/progress.ts';
import { loadModel, loadTokenizer, readModelFolder, resolveModelFolder } from '../models/index.ts';
import { endWithReader, main, parseOptions, UsageError } from './cli/cli.ts';
import { compareMethods, comparisonTable } from './explain/compare-methods.ts';
import { plantedNames, plantedTasks, plantedTexts, trainPlanted } from './explain/planted.ts';
import type { PlantedName } from './explain/planted.ts';
import { Random } from '../common/random.ts';

const command = {
  name: 'compare-explanations',
  usage: 'npx tsx train/compare-explanations.ts',
  summary: 'Compares methods of explanation, on a model and texts, or where the truth is known.',
  positionals: { name: 'text', help: 'with --model: texts to explain', min: 0 },
  options: {
    model: { type: 'string', help: 'folder, Hugging Face cache or hub; default tiny models with planted words' },
    task: { type: 'choice', choices: plantedNames, help: 'one planted task; default all' },
    texts: { type: 'int', default: 12, min: 2, help: 'texts of each planted task' },
    steps: { type: 'int', min: 1, help: 'steps of training of each tiny model (default 400, of negated 1000)' },
    target: { type: 'string', help: 'with --model: the label that is explained; default what the model chooses' },
    truncation: { type: 'boolean', help: 'with --model: cut texts that are longer than the model reads' },
    seed: { type: 'int', default: 0, min: 0, help: 'of what is drawn at random' },
  },
} as const;

main(async () => {
  endWithReader();
  const { values, positionals: texts } = parseOptions(command);
  const { model: name, task, target, truncation, seed } = values;
  if (name === undefined && texts.length > 0)
    throw new UsageError(`${command.name}: texts go with --model FOLDER, got "${texts[0]}"`);
  if (name === undefined) {
    for (const each of task === undefined ? plantedNames : [task]) await comparePlanted(each, values);
    return;
  }
  if (texts.length === 0) throw new UsageError(`${command.name}: --model needs texts: --model ${name} "some text"`);
  const folder = await resolveModelFolder(name, {});
  const { model, tokenizer } = await readModelFolder(folder, async () => ({
    model: await loadModel(folder),
    tokenizer: await loadTokenizer(folder),
  }));
  await withBar(async (onProgress) => {
    const compared = await compareMethods(model, tokenizer, texts, { target, truncation, seed, onProgress });
    console.log(comparisonTable(compared));
  });
});

/** Trains a tiny model on a planted task, and prints which methods find the planted words. */
async function comparePlanted(
  task: PlantedName,
  { texts: count, steps, seed }: { readonly texts: number; readonly steps: number | undefined; readonly seed: number },
): Promise<void> {
  const length = 10;
  const { model, tokenizer, accuracy } = await trainPlanted(task, {
    ...(steps === undefined ? {} : { steps }),
    length,
    seed,
  });
  console.log(
    `\n${task}: ${plantedTasks[task].about}; the model is right on ${(100 * accuracy).toFixed(1)}% of new texts`,
  );
  const random = new Random(seed, 1);
  const decided = plantedTexts(task, 8 * count, length, random).filter(({ planted }) => planted.length > 0);
  const texts = decided.slice(0, count);
  await withBar(async (onProgress) => {
    const compared = await compareMethods(
      model,
      tokenizer,
      texts.map(({ words }) => words.join(' ')),
      { planted: texts.map(({ planted }) => planted), evaluations: 400, seed, onProgress },
    );
    console.log(comparisonTable(compared));
  });
}

async function withBar(run: (onProgress: (done: number, total: number) => void) => Promise<void>): Promise<void> {
  if (!process.stderr.isTTY) return run(() => undefined);
  const bar = progress({ total: 1 });
  try {
    await run((done, total) => bar.update(done, { total }));
  } finally {
    bar.stop();
  }
}
