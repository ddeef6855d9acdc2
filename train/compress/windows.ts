import { Random } from '../../common/random.ts';
import type { AnyTokenizer } from '../../models/index.ts';
import { expandInputs, readDocuments } from '../data/readers/inputs.ts';

export interface WindowOptions {
  /** Tokens of a row. */
  readonly width: number;
  /** Rows to learn from, and rows of other texts to test on. */
  readonly calibration: number;
  readonly test: number;
  readonly seed: number;
}

/** Rows in a stretch of a text. */
const stretch = 8;

/**
 * Rows of tokens of texts, drawn at random: of every fifth stretch of texts those to test on, of the others
 * those to learn from. Error, one line: the texts have fewer.
 */
export async function windowsOf(
  data: string,
  tokenizer: AnyTokenizer,
  { width, calibration, test, seed }: WindowOptions,
): Promise<{ readonly calibration: Int32Array[]; readonly test: Int32Array[] }> {
  const parts: [learn: Int32Array[], test: Int32Array[]] = [[], []];
  let number = 0;
  for await (const { text } of readDocuments(await expandInputs([data]))) {
    const ids = Int32Array.from(tokenizer.idsOf(text));
    for (let from = 0; from + width <= ids.length; from += width) {
      if (from % (stretch * width) === 0) number++;
      parts[number % 5 === 0 ? 1 : 0].push(ids.slice(from, from + width));
    }
  }
  const random = new Random(seed);
  const draw = (rows: Int32Array[], count: number, what: string): Int32Array[] => {
    if (rows.length < count)
      throw new Error(
        `${data}: ${count} rows of ${width} tokens are asked for to ${what}, and the texts have ${rows.length}; give ` +
          'more, or ask for fewer or shorter ones',
      );
    return random.shuffle(rows).slice(0, count);
  };
  return { calibration: draw(parts[0], calibration, 'learn from'), test: draw(parts[1], test, 'test on') };
}
