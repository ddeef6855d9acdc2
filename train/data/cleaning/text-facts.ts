import { wordNumbers } from './repetition.ts';
import type { WordNumbers } from './repetition.ts';

/** Scripts written without spaces between words. */
const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/gu;

/** Where those lie, and little else: a quick first look. */
const MAY_BE_UNSPACED = /[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u9fff\ua9e0-\uaa7f\uf900-\ufaff\ud800-\udbff]/;

/** What the rules ask of a text, each computed once and only when asked for. */
export class TextFacts {
  readonly text: string;
  private knownLines?: readonly string[];
  private knownWords?: readonly string[];
  private knownNumbers?: WordNumbers;
  private knownUnspaced?: number;

  constructor(text: string) {
    this.text = text;
  }

  /** Lines that are not blank, trimmed. */
  get lines(): readonly string[] {
    return (this.knownLines ??= this.text
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== ''));
  }

  /** Runs between white space. */
  get words(): readonly string[] {
    return (this.knownWords ??= this.text.match(/\S+/g) ?? []);
  }

  /** The words as numbers, for repetitions. */
  get numbers(): WordNumbers {
    return (this.knownNumbers ??= wordNumbers(this.words));
  }

  /** Letters of scripts written without spaces. */
  get unspacedLetters(): number {
    return (this.knownUnspaced ??= MAY_BE_UNSPACED.test(this.text) ? (this.text.match(UNSPACED)?.length ?? 0) : 0);
  }

  /** Whether words are what stands between spaces: rules about words mean nothing elsewhere. */
  get hasSpacedWords(): boolean {
    return this.unspacedLetters * 5 < this.text.length;
  }

  /** Words, with each letter of a script without spaces as one. */
  get wordCount(): number {
    return this.words.length + this.unspacedLetters;
  }
}
