/** Tokens before the rate is taken: the first costs the prompt, the second the compiling of the step. */
const slow = 2;

/** Counts tokens and time. */
export class Speed {
  #tokens = 0;
  #warm: number | undefined;
  readonly #start: number;
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#start = now();
  }

  /** One token of the one text that is written. */
  addToken(): void {
    this.addTexts(1);
    if (this.#tokens === slow) this.#warm = this.#now();
  }

  /** `count` tokens of texts that came as a whole. */
  addTexts(count: number): void {
    this.#tokens += count;
  }

  /**
   * `120 tokens in 2.0 s: the first 2 in 0.50 s (prompt and compiling), then 79.0 tokens/s`, or the rate of
   * all.
   */
  toString(): string {
    const end = this.#now();
    const seconds = (from: number, to: number): number => (to - from) / 1000;
    const begin = `${this.#tokens} tokens in ${seconds(this.#start, end).toFixed(1)} s`;
    if (this.#warm === undefined || this.#tokens <= slow)
      return `${begin}: ${(this.#tokens / seconds(this.#start, end)).toFixed(1)} tokens/s`;
    const rate = (this.#tokens - slow) / seconds(this.#warm, end);
    return `${begin}: the first ${slow} in ${seconds(this.#start, this.#warm).toFixed(2)} s (prompt and compiling), then ${rate.toFixed(1)} tokens/s`;
  }
}
