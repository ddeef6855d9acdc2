/**
 * Finds stop strings in a text that comes in pieces, wherever the pieces begin and end. What may yet become a
 * stop string is held back, so that nothing of it is ever shown.
 */
export class StopMatcher {
  readonly #stops: readonly string[];
  #held = '';
  #found = false;

  /** None of them empty. */
  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** Whether a stop string has come. */
  get found(): boolean {
    return this.#found;
  }

  /**
   * The text that is certain once `piece` has come: before the first stop string. Nothing comes after one.
   */
  push(piece: string): string {
    if (this.#found) return '';
    const text = this.#held + piece;
    const at = this.#stops.map((stop) => text.indexOf(stop)).filter((place) => place >= 0);
    if (at.length > 0) {
      this.#found = true;
      this.#held = '';
      return text.slice(0, Math.min(...at));
    }
    const held = Math.max(0, ...this.#stops.map((stop) => overlap(text, stop)));
    this.#held = text.slice(text.length - held);
    return text.slice(0, text.length - held);
  }

  /** Returns the text that was held back in vain. */
  end(): string {
    const rest = this.#held;
    this.#held = '';
    return rest;
  }
}

/** The length of the longest end of the text that begins a stop string. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--)
    if (stop.startsWith(text.slice(text.length - length))) return length;
  return 0;
}
