// What views of `train/inspect.ts` share.
import { Random } from '../../common/random.ts';
import { CausalLM } from '../../models/index.ts';
import type { AnyTokenizer, Module } from '../../models/index.ts';
import { embeddedCorpus } from '../classifier/data.ts';
import { windowsOf } from '../compress/windows.ts';
import { readTable } from '../data/read-table.ts';
import { loadSpamAssassin } from '../data/spam-assassin.ts';
import { limitsOf } from '../explain/read-text.ts';

/** What a view is given to look at. */
export interface Look<Options = unknown> {
  readonly model: Module;
  readonly tokenizer: AnyTokenizer;
  /** The model's, for titles. */
  readonly name: string;
  readonly texts: readonly string[];
  readonly options: Options;
}

export interface LabelledTexts {
  readonly texts: readonly string[];
  /** Of each text a number into `names`. */
  readonly labels: readonly number[];
  readonly names: readonly string[];
}

/** At most `rows` texts with labels, drawn at random, of a file as of `readTable` or of spam and ham. */
export async function labelledTexts(data: string, rows: number, seed: number): Promise<LabelledTexts> {
  const { examples, names } =
    data === embeddedCorpus
      ? await loadSpamAssassin().then(({ train, labels }) => ({ examples: train, names: labels }))
      : await readTable(data).then(({ examples: all, labels }) => ({ examples: all, names: labels }));
  const chosen = new Random(seed).shuffle([...examples]).slice(0, rows);
  return { texts: chosen.map(({ text }) => text), labels: chosen.map(({ label }) => label), names };
}

/** Rows of tokens to learn from, and rows of other texts to test on. */
export interface Windows {
  readonly learnt: readonly Int32Array[];
  readonly tested: readonly Int32Array[];
}

/**
 * Rows of `width` tokens of texts, drawn at random: `rows` and, to test on, an eighth as many. An encoder's
 * begin and end as its texts do.
 */
export async function windowsFor(
  { model, tokenizer }: Pick<Look, 'model' | 'tokenizer'>,
  data: string,
  { rows, width = 64, seed }: { readonly rows: number; readonly width?: number; readonly seed: number },
): Promise<Windows> {
  const size = Math.min(width, limitsOf(model).positions);
  const counts = { calibration: rows, test: Math.ceil(rows / 8) };
  const { calibration, test } = await windowsOf(data, tokenizer, { width: size, ...counts, seed });
  const { clsTokenId: first, sepTokenId: last } = tokenizer;
  if (!(model instanceof CausalLM) && first !== undefined && last !== undefined)
    for (const row of [...calibration, ...test]) [row[0], row[size - 1]] = [first, last];
  return { learnt: calibration, tested: test };
}
