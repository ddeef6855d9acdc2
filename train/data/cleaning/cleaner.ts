import { maskPersonalData as masked } from '../../guard/personal-data.ts';
import type { TextDocument } from '../readers/document.ts';
import {
  composed,
  withoutBoilerplate,
  withoutControls,
  withoutHtml,
  withoutMojibake,
  withPlainSpace,
} from './changes.ts';
import { qualityRules, replacementCharacters } from './quality.ts';
import type { CleaningOptions, CleaningRule, RuleContext } from './rule.ts';
import { TextFacts } from './text-facts.ts';

/** All rules in their order: what damages is repaired first, then what is left is judged. */
export const cleaningRules: readonly CleaningRule[] = [
  replacementCharacters,
  { name: 'html', about: 'HTML made text', change: withoutHtml },
  { name: 'mojibake', about: 'UTF-8 that was read as Windows-1252 read as UTF-8', change: withoutMojibake },
  { name: 'controls', about: 'characters that show nothing left out', change: withoutControls },
  { name: 'nfc', about: "Unicode's canonical composition", change: composed },
  {
    name: 'personal-data',
    about: 'personal data masked',
    change: (text, { maskPersonalData: kinds }) => masked(text, kinds),
  },
  {
    name: 'boilerplate',
    about: 'lines of many documents, of navigation, copyright and consent left out',
    change: (text, { isRepeated }) => withoutBoilerplate(text, isRepeated),
  },
  { name: 'white-space', about: 'one space between words, at most one blank line', change: withPlainSpace },
  ...qualityRules,
];

/** How many documents a rule changed or dropped, with an example. */
export interface RuleReport {
  readonly name: string;
  readonly about: string;
  readonly kind: 'change' | 'drop';
  /** Documents that it changed or dropped. */
  documents: number;
  /** The first of them: where it is, and what was done or found. */
  example?: { readonly source: string; readonly what: string };
}

/** Counts of a cleaned corpus, as a whole and rule by rule. */
export interface CleaningReport {
  readonly documents: number;
  readonly kept: number;
  readonly charactersBefore: number;
  readonly charactersAfter: number;
  readonly rules: readonly RuleReport[];
}

/** Cleans documents one by one, and counts what was changed and dropped, and why. */
export class Cleaner {
  private readonly rules: readonly CleaningRule[];
  private readonly context: RuleContext;
  private readonly reports: RuleReport[];
  private documents = 0;
  private kept = 0;
  private before = 0;
  private after = 0;

  /**
   * `countLine`: in how many documents a line occurs, as a LineCounter has it. Error: a rule to skip that
   * there is not.
   */
  constructor(options: CleaningOptions = {}, countLine: (line: string) => number = () => 0) {
    const { skip = [], minWords = 5, maxWords = Infinity, languages = [], repeatedLines = 10 } = options;
    const { maskPersonalData = [] } = options;
    const unknown = skip.find((name) => !cleaningRules.some((rule) => rule.name === name));
    if (unknown !== undefined)
      throw new Error(
        `cleaning: there is no rule "${unknown}" to skip; ` +
          `the rules are ${cleaningRules.map(({ name }) => name).join(', ')}`,
      );
    this.rules = cleaningRules.filter(({ name }) => !skip.includes(name));
    const isRepeated = (line: string): boolean => repeatedLines > 0 && countLine(line) >= repeatedLines;
    this.context = { minWords, maxWords, languages, maskPersonalData, isRepeated };
    this.reports = this.rules.map((rule) => ({
      name: rule.name,
      about: rule.about,
      kind: 'change' in rule ? 'change' : 'drop',
      documents: 0,
    }));
  }

  /** The cleaned text, or null if the document is dropped. */
  clean({ text, source }: TextDocument): string | null {
    this.documents++;
    this.before += text.length;
    let facts = new TextFacts(text);
    for (const [i, rule] of this.rules.entries()) {
      const report = this.reports[i]!;
      if ('change' in rule) {
        const changed = rule.change(facts.text, this.context);
        if (changed === facts.text) continue;
        report.documents++;
        report.example ??= { source, what: difference(this.shown(facts.text), this.shown(changed)) };
        facts = new TextFacts(changed);
        continue;
      }
      const problem = rule.problem(facts, this.context);
      if (problem === undefined) continue;
      report.documents++;
      report.example ??= { source, what: `${problem}: ${excerpt(this.shown(facts.text), 0)}` };
      return null;
    }
    this.kept++;
    this.after += facts.text.length;
    return facts.text;
  }

  /** A text as examples show it: a report keeps nothing of what the data is to lose. */
  private shown(text: string): string {
    return masked(text, this.context.maskPersonalData);
  }

  report(): CleaningReport {
    const { documents, kept, before, after, reports } = this;
    return {
      documents,
      kept,
      charactersBefore: before,
      charactersAfter: after,
      rules: reports.map((rule) => ({ ...rule })),
    };
  }
}

/** Where two texts begin to differ, in both. */
function difference(before: string, after: string): string {
  let at = 0;
  while (at < before.length && before[at] === after[at]) at++;
  return `${excerpt(before, at - 12)} -> ${excerpt(after, at - 12)}`;
}

/** A few characters of a text in quotes, all of them visible. */
function excerpt(text: string, from: number): string {
  const start = Math.max(0, from);
  return JSON.stringify(text.slice(start, start + 48)).replace(
    /(?![\u0020-\u007e])[\p{Cc}\p{Cf}\p{Cs}\u00a0]/gu,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
