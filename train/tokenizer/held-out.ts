/** Of so many documents, or of the characters of a long one, one part is held out. */
const PART = 20;
/** Documents from this length on, in characters, give their end instead of every twentieth document. */
const LONG = 200_000;
/** Held-out texts are kept in memory: no more characters than this. */
const LIMIT = 4_000_000;

/** Texts that a tokenizer is not trained on, to measure it by. */
export class HeldOut {
  readonly texts: string[] = [];
  private characters = 0;
  private documents = 0;

  /**
   * Passes on what to train on, and keeps the rest: every twentieth document, of long ones the last
   * twentieth.
   */
  async *training(texts: AsyncIterable<string>): AsyncGenerator<string> {
    for await (const text of texts) {
      if (this.characters >= LIMIT) yield text;
      else if (text.length >= LONG) {
        const end = text.lastIndexOf('\n', text.length - text.length / PART) + 1 || text.length;
        this.keep(text.slice(end));
        yield text.slice(0, end);
      } else if (this.documents++ % PART === PART - 1) this.keep(text);
      else yield text;
    }
  }

  private keep(text: string): void {
    const kept = text.slice(0, LIMIT - this.characters);
    if (kept === '') return;
    this.texts.push(kept);
    this.characters += kept.length;
  }
}
