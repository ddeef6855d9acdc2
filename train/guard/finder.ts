import type { GuardRule } from './config.ts';
import { apart, findPersonalData, maskOf, openPersonalData } from './personal-data.ts';
import type { Span } from './personal-data.ts';

/** What a rule found in a text. */
export interface Finding extends Span {
  readonly rule: string;
  readonly action: GuardRule['action'];
  /** What stands in its place where it is masked. */
  readonly mask: string;
}

/** Finds what a rule names. */
export interface Finder {
  find(text: string): Finding[];
  /** From where on a text may be the beginning of something that is not whole yet; its length, if nowhere. */
  open(text: string): number;
}

const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');

/** A rule by its words, a pattern, or the forms of personal data; undefined for a classifier. */
export function finderOf(rule: GuardRule): Finder | undefined {
  const { name, action } = rule;
  if ('personalData' in rule)
    return {
      find: (text) =>
        findPersonalData(text, rule.personalData).map(({ kind, start, end }) => ({
          rule: name,
          action,
          start,
          end,
          mask: maskOf(kind),
        })),
      open: openPersonalData,
    };
  if ('classifier' in rule) return undefined;
  const mask = rule.replacement ?? `[${name.toUpperCase()}]`;
  const [pattern, most] = 'words' in rule ? wordPattern(rule.words) : [new RegExp(rule.pattern, 'gu'), rule.maxLength];
  return {
    find: (text) =>
      Array.from(text.matchAll(pattern))
        .filter(([found]) => found !== '' && found.length <= most)
        .map(({ 0: found, index: start }) => ({ rule: name, action, start, end: start + found.length, mask })),
    // One character more tells whether a word ends there.
    open: (text) => Math.max(0, text.length - most - 1),
  };
}

/** Whole words, in whatever case and with whatever space between them; how long they are at most. */
function wordPattern(words: readonly string[]): readonly [RegExp, number] {
  const ways = [...words]
    .sort((a, b) => b.length - a.length)
    .map((word) => word.split(/\s+/).map(escaped).join('\\s{1,8}'));
  const longest = Math.max(...words.map((word) => word.length + 8 * (word.split(/\s+/).length - 1)));
  // Letters in another case may be longer: ß is SS.
  return [new RegExp(`(?<![\\p{L}\\p{N}_])(?:${ways.join('|')})(?![\\p{L}\\p{N}_])`, 'giu'), 2 * longest];
}

/** What all rules find from a place on, none overlapping but where a rule only counts. */
export function findingsOf(finders: readonly Finder[], text: string, from = 0): Finding[] {
  const all = finders.flatMap((finder) => finder.find(text)).filter(({ start }) => start >= from);
  const changing = apart(all.filter(({ action }) => action !== 'flag'));
  return [...changing, ...all.filter(({ action }) => action === 'flag')].sort((a, b) => a.start - b.start);
}
