import * as z from 'zod';
import { readJsonFile } from '../../common/json-file.ts';
import { personalDataKinds } from './personal-data.ts';

const common = {
  /** Names the rule where it is counted. */
  name: z.string().regex(/^[\w.-]{1,64}$/, 'letters, digits, "_", "-" and "." only'),
  /** Texts that it looks at: what clients send, what models write. Default both. */
  on: z
    .array(z.enum(['input', 'output']))
    .min(1)
    .default(['input', 'output']),
};

const maskable = { action: z.enum(['mask', 'refuse', 'flag']) };

/** One way to find something, and what is done then: masked, the text refused, or the finding counted. */
const rule = z.union(
  [
    z.strictObject({ ...common, ...maskable, personalData: z.array(z.enum(personalDataKinds)).min(1) }),
    z.strictObject({
      ...common,
      ...maskable,
      /** Found as whole words, however their letters are: "cat" is not in "category". */
      words: z.array(z.string().trim().min(1).max(200)).min(1),
      replacement: z.string().max(100).optional(),
    }),
    z.strictObject({
      ...common,
      ...maskable,
      /** A JavaScript regular expression, with the flags u and g. */
      pattern: z.string().min(1).max(2000),
      /** Characters that a match has at most; streams hold so many back. */
      maxLength: z.int().min(1).max(10_000),
      replacement: z.string().max(100).optional(),
    }),
    z.strictObject({
      ...common,
      action: z.enum(['refuse', 'flag'], 'a classifier says nothing of a place: refuse or flag'),
      classifier: z.strictObject({
        /** A folder, or what else names a model of text-classification. */
        model: z.string().min(1),
        label: z.string().min(1),
        /** The label's probability from which on the rule holds. */
        threshold: z.number().gt(0).max(1),
      }),
    }),
  ],
  'a rule has one of personalData, words, pattern and classifier, and an action of mask, refuse or flag',
);

const guardConfig = z.strictObject({ rules: z.array(rule).min(1).max(100) });

/** What a guard does, as a configuration file has it. */
export type GuardConfig = z.input<typeof guardConfig>;
export type GuardRule = z.output<typeof rule>;

/**
 * The rules of a configuration. Error, one line: the first that is wrong, by its place.
 *
 * @example
 * const [rule] = guardRules({ rules: [{ name: 'rivals', action: 'flag', words: ['Acme'] }] });
 * rule.on; // ['input', 'output']
 */
export function guardRules(config: unknown, where = 'guard'): readonly GuardRule[] {
  const { data, error } = guardConfig.safeParse(config);
  const [issue] = error?.issues ?? [];
  if (issue) {
    // Of a union, the branch that comes nearest says what is wrong.
    const branches = issue.code === 'invalid_union' ? issue.errors : [];
    const [nearest] = branches
      .flatMap((own) => own)
      .filter(({ path, code }) => path.length > 0 && code !== 'invalid_type');
    const found =
      branches.some((own) => own.some(({ code }) => code === 'unrecognized_keys')) && !nearest
        ? issue
        : (nearest ?? issue);
    const place = [...issue.path, ...(found === issue ? [] : found.path)].map(String).join('.');
    throw new Error(`${where}: ${place === '' ? '' : `${place}: `}${found.message}`);
  }
  const names = data!.rules.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new Error(`${where}: two rules are called ${twice}`);
  for (const each of data!.rules) {
    if (!('pattern' in each)) continue;
    try {
      new RegExp(each.pattern, 'gu');
    } catch {
      throw new Error(`${where}: the pattern of ${each.name} is no regular expression`);
    }
    if (new RegExp(`^(?:${each.pattern})$`, 'u').test(''))
      throw new Error(`${where}: the pattern of ${each.name} matches the empty text; have it match something`);
  }
  return data!.rules;
}

/**
 * The rules of a JSON file.
 *
 * @example
 * const text = '{"rules": [{"name": "a", "action": "flag", "words": ["b"]}]}';
 * const rules = await readGuardRules(`${memoryFolder({ 'guard.json': text })}/guard.json`);
 * rules.length; // 1
 */
export const readGuardRules = async (path: string): Promise<readonly GuardRule[]> =>
  guardRules(await readJsonFile(path), path);
