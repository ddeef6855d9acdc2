import * as z from 'zod';
import { firstLine } from '../../common/printable.ts';
import { pythonPattern } from './python-pattern.ts';
import type { Row } from './template.ts';

/** A pattern of Python's; it stays a text, as results.json shows it. */
export const pattern = z.string().superRefine((source, context) => {
  try {
    pythonPattern(source);
  } catch (error) {
    context.addIssue(firstLine(error));
  }
});

const extraction = {
  regex_pattern: pattern.default('#### (\\-?[0-9\\.\\,]+)'),
  group_select: z.int().default(0),
  fallback: z.string().default('[invalid]'),
};

/** A step between what a model wrote and what is scored, with the options of lm-evaluation-harness. */
const stepSchema = z.discriminatedUnion('function', [
  z.strictObject({ function: z.literal('take_first') }),
  z.strictObject({ function: z.literal('remove_whitespace') }),
  z.strictObject({ function: z.literal('lowercase') }),
  z.strictObject({ function: z.literal('uppercase') }),
  z.strictObject({
    function: z.literal('map'),
    mapping_dict: z.record(z.string(), z.string()),
    default_value: z.string(),
  }),
  z.strictObject({ function: z.literal('regex'), ...extraction }),
  z.strictObject({
    function: z.literal('multi_choice_regex'),
    ...extraction,
    ignore_case: z.boolean().default(false),
    ignore_punctuation: z.boolean().default(false),
    regexes_to_ignore: z.array(pattern).default([]),
  }),
]);
type Step = z.infer<typeof stepSchema>;

export const filterSchema = z.strictObject({
  name: z.string().regex(/^[^,]+$/, 'a name without a comma'),
  filter: z
    .array(stepSchema)
    .min(1)
    .refine((steps) => steps.findIndex((step) => step.function === 'take_first') === steps.length - 1, {
      error: 'its last step, and no other, is to be { "function": "take_first" }',
    }),
});
export type FilterChoice = z.infer<typeof filterSchema>;

/** The filter of a task that names none: texts are scored as they are. */
export const unfiltered: FilterChoice = { name: 'none', filter: [{ function: 'take_first' }] };

/**
 * What is scored of a text that a model wrote. Error, one line: the row lacks the choices that a step reads.
 */
export function filterText({ filter }: FilterChoice, text: string, row: Row): string {
  return filter.reduce((rest, step) => applyStep(step, rest, row), text);
}

function applyStep(step: Step, text: string, row: Row): string {
  switch (step.function) {
    case 'take_first':
      return text;
    case 'remove_whitespace':
      return text.trim();
    case 'lowercase':
      return text.toLowerCase();
    case 'uppercase':
      return text.toUpperCase();
    case 'map':
      return Object.hasOwn(step.mapping_dict, text) ? step.mapping_dict[text]! : step.default_value;
    case 'regex':
      return foundIn(text, pythonPattern(step.regex_pattern), step.group_select) ?? step.fallback;
    case 'multi_choice_regex':
      return choiceIn(text, step, row);
  }
}

/**
 * The match number `index` (from the end where it is negative): its first group with a text where the pattern
 * has groups, else all of it; without the spaces around it.
 */
function foundIn(text: string, regex: RegExp, index: number): string | undefined {
  const match = [...text.matchAll(regex)].at(index);
  const [whole, ...groups] = match ?? [];
  // A pattern with one group gives that group, even an empty one.
  return (groups.length === 0 ? whole : groups.length === 1 ? (groups[0] ?? '') : groups.find(Boolean))?.trim();
}

/** The letter of a choice, "(B)": by the pattern, by the choice's own text, or by ": B". */
function choiceIn(text: string, step: Extract<Step, { function: 'multi_choice_regex' }>, row: Row): string {
  const { group_select: index, fallback, ignore_case, ignore_punctuation, regexes_to_ignore: ignored } = step;
  const choices = row.cells['choices'];
  if (!Array.isArray(choices) || !choices.every((choice) => typeof choice === 'string'))
    throw new Error(`${row.where}: the filter multi_choice_regex needs a column "choices" with a list of texts`);
  const plain = (given: string): string => {
    let left = ignored.reduce((rest, each) => rest.replace(pythonPattern(each), ''), given);
    if (ignore_case) left = left.toLowerCase();
    return ignore_punctuation ? left.replace(/\p{P}/gu, '') : left;
  };
  const letters = choices.map((_, i) => String.fromCharCode(65 + i));
  const texts = choices.map((choice) => plain(choice.trim()));
  const literal = [...texts]
    .sort((a, b) => b.length - a.length)
    .map((each) => each.replace(/[^\p{L}\p{N}]/gu, escaped));
  const own = foundIn(text, pythonPattern(step.regex_pattern), index);
  if (own) return own;
  const byText = foundIn(plain(text), new RegExp(literal.join('|'), 'gu'), index);
  if (byText) {
    const at = texts.lastIndexOf(byText);
    return at === -1 ? byText : `(${letters[at]!})`;
  }
  const byLetter = foundIn(text, new RegExp(`:\\s*(${letters.join('|')})`, 'gu'), index);
  return byLetter ? `(${byLetter})` : fallback;
}

/** A character as itself in a pattern. */
const escaped = (character: string): string => `\\u{${character.codePointAt(0)!.toString(16)}}`;
