import type { PersonalDataKind } from '../../guard/personal-data.ts';
import type { TextFacts } from './text-facts.ts';

/** Options of cleaning. */
export interface CleaningOptions {
  /** Rules to leave out, by name. */
  readonly skip?: readonly string[];
  /** Texts of fewer words are dropped. Default 5; Gopher, whose documents are whole pages, has 50. */
  readonly minWords?: number;
  /** Texts of more words are dropped. Default no limit; Gopher has 100,000. */
  readonly maxWords?: number;
  /**
   * Languages to keep (ISO 639-3: "eng", "deu", "cmn"), judged where a text has 200 letters or more. Default
   * all.
   */
  readonly languages?: readonly string[];
  /**
   * A line is boilerplate if at least this many documents have it; default 10, 0 for never. Costs a reading
   * of all documents before the first is cleaned.
   */
  readonly repeatedLines?: number;
  /** Kinds of personal data that are masked, `[EMAIL]`; default none. */
  readonly maskPersonalData?: readonly PersonalDataKind[];
}

/** The options and facts of the corpus that rules see. */
export interface RuleContext {
  readonly minWords: number;
  readonly maxWords: number;
  readonly languages: readonly string[];
  readonly maskPersonalData: readonly PersonalDataKind[];
  /** Whether a line (trimmed) occurs in many documents. */
  isRepeated(line: string): boolean;
}

interface Named {
  readonly name: string;
  /** Describes the rule in the report: "HTML made text". */
  readonly about: string;
}

/** Makes another text of a text. */
export interface ChangeRule extends Named {
  change(text: string, context: RuleContext): string;
}

/** Says why a text is dropped, or nothing. */
export interface DropRule extends Named {
  problem(facts: TextFacts, context: RuleContext): string | undefined;
}

export type CleaningRule = ChangeRule | DropRule;
