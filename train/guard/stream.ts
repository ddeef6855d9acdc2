import { findingsOf } from './finder.ts';
import type { Finder, Finding } from './finder.ts';

/** A piece of a text that comes through a guard. */
export interface GuardedPiece {
  /** What may be shown now. */
  readonly text: string;
  /** What was found in it. */
  readonly findings: readonly Finding[];
  /** The rule that refuses the text: nothing more of it is shown. */
  readonly refused?: string;
}

/** Characters before what is held back that rules look behind at. */
const behind = 256;

/**
 * A text in pieces through the rules. Each piece gives what is certain: an address that is cut in two by the
 * pieces is masked as if it had come at once, since its beginning waits for its end.
 *
 * @example
 * const rules = [{ name: 'rivals', action: 'mask' as const, words: ['Acme'] }];
 * const stream = (await createGuard({ rules })).stream('output');
 * const shown = [stream.push('Buy it from Ac'), stream.push('me!'), await stream.end()];
 * shown.map(({ text }) => text).join(''); // 'Buy it from [RIVALS]!'
 */
export class GuardStream {
  readonly #finders: readonly Finder[];
  readonly #waits: boolean;
  readonly #judge: (text: string) => Promise<readonly Finding[]>;
  /** The text that is not given yet, behind some that is. */
  #text = '';
  /** Where in it what is not given yet begins. */
  #from = 0;
  /** All of it, for classifiers. */
  #whole = '';
  #refused: string | undefined;

  constructor(
    finders: readonly Finder[],
    { waits, judge }: { readonly waits: boolean; readonly judge: (text: string) => Promise<readonly Finding[]> },
  ) {
    this.#finders = finders;
    this.#waits = waits;
    this.#judge = judge;
  }

  get refused(): string | undefined {
    return this.#refused;
  }

  /** What is certain once the piece has come. */
  push(piece: string): GuardedPiece {
    this.#text += piece;
    this.#whole += piece;
    if (this.#waits) return { text: '', findings: [] };
    return this.#give(Math.min(...this.#finders.map((finder) => finder.open(this.#text)), this.#text.length));
  }

  /** The rest, once the text has ended. */
  async end(): Promise<GuardedPiece> {
    if (this.#refused !== undefined) return { text: '', findings: [], refused: this.#refused };
    const judged = await this.#judge(this.#whole);
    const refusal = judged.find(({ action }) => action === 'refuse');
    if (refusal) {
      this.#refused = refusal.rule;
      return { text: '', findings: [...findingsOf(this.#finders, this.#text), ...judged], refused: refusal.rule };
    }
    const piece = this.#give(this.#text.length);
    return { ...piece, findings: [...piece.findings, ...judged] };
  }

  /** What lies before a place, without what begins before it and ends behind it. */
  #give(most: number): GuardedPiece {
    if (this.#refused !== undefined) return { text: '', findings: [], refused: this.#refused };
    const found = findingsOf(this.#finders, this.#text, this.#from);
    const across = found.find(({ start, end }) => start < most && end > most);
    const until = Math.max(this.#from, across ? across.start : most);
    const findings = found.filter(({ end }) => end <= until);
    let text = '';
    for (const { rule, action, start, end, mask } of findings) {
      if (action === 'flag') continue;
      text += this.#text.slice(this.#from, start);
      this.#from = end;
      if (action === 'refuse') {
        this.#refused = rule;
        return { text, findings: findings.filter((other) => other.start <= start), refused: rule };
      }
      text += mask;
    }
    text += this.#text.slice(this.#from, until);
    this.#from = until;
    const cut = Math.max(0, until - behind);
    this.#text = this.#text.slice(cut);
    this.#from -= cut;
    return { text, findings };
  }
}
