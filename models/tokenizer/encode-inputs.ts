export type TextPair = readonly [first: string, second: string];

/**
 * A text, a list of texts, a list of [text, text] pairs, or with `isSplitIntoWords` a list of lists of words.
 */
export type TextBatch = string | readonly string[] | readonly TextPair[] | readonly (readonly string[])[];

/** One checked input: a text, a pair, or a text as words. */
export type TextInput = { texts: readonly [first: string, second?: string] } | { words: readonly string[] };

function checkString(value: unknown, where: string): string {
  if (typeof value === 'string') return value;
  const what = value === null ? 'null' : Array.isArray(value) ? 'a list' : typeof value;
  throw new Error(`${where} is ${what}: texts to encode must be strings`);
}

/**
 * The inputs of a batch; a single string is a batch of one.
 *
 * Errors, each one line: an empty batch; something that is no string, named by its index.
 */
export function readInputs(batch: TextBatch, isSplitIntoWords: boolean): TextInput[] {
  const inputs: readonly unknown[] = Array.isArray(batch) ? batch : [batch];
  if (inputs.length === 0) throw new Error('there are no texts to encode: pass at least one');
  // Array.from visits holes too, which would otherwise be left out in silence.
  return Array.from(inputs, (input, index) => {
    if (isSplitIntoWords) {
      if (!Array.isArray(input)) throw new Error(`text ${index} is no list of words: leave out isSplitIntoWords`);
      return { words: Array.from(input, (word, position) => checkString(word, `word ${position} of text ${index}`)) };
    }
    if (!Array.isArray(input)) return { texts: [checkString(input, `text ${index}`)] };
    if (input.length !== 2) {
      throw new Error(
        `text ${index} is a list of ${input.length}: pairs have two texts; for lists of words set isSplitIntoWords`,
      );
    }
    const first = checkString(input[0], `text ${index}, the first of its pair,`);
    return { texts: [first, checkString(input[1], `text ${index}, the second of its pair,`)] };
  });
}
