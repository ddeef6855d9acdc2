/** A list that grows while one reader reads it: what is pushed is given in order, until `end` or `fail`. */
export class Pieces<T> implements AsyncIterable<T> {
  readonly #waiting: T[] = [];
  #ended = false;
  #unread = false;
  #failure: { readonly error: unknown } | undefined;
  #wake: () => void = () => undefined;

  /** Whether its reader wants no more. */
  get unread(): boolean {
    return this.#unread;
  }

  push(piece: T): void {
    this.#waiting.push(piece);
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  /** What was pushed before and not read yet is dropped. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    try {
      for (;;) {
        if (this.#failure) throw this.#failure.error;
        if (this.#waiting.length > 0) yield this.#waiting.shift()!;
        else if (this.#ended) return;
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      this.#unread = true;
    }
  }
}
