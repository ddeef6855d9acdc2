// Ids to text while they are generated.

/**
 * Text of ids as they come. The parts joined are the text of all ids decoded at once, except that decoders
 * other than byte-level ones (WordPiece, SentencePiece) may change what lies before a later token, see
 * `decodeWindow`.
 */
export interface DecodeStream {
  /** The text that is certain once `id` has come: '' while a character or a joined piece is not complete. */
  push(id: number): string;
  /** The rest: bytes that make no whole character become U+FFFD. The stream can be used anew after it. */
  end(): string;
}

/**
 * The stream of a byte-level decoder: each id stands for bytes, whole UTF-8 characters are passed on.
 * `bytesOf` null: no text.
 */
export function decodeBytes(bytesOf: (id: number) => Uint8Array | null): DecodeStream {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  return {
    push(id) {
      const bytes = bytesOf(id);
      return bytes ? decoder.decode(bytes, { stream: true }) : '';
    },
    end: () => decoder.decode(),
  };
}

/** A decoder that cannot decode ids one by one is asked for at most about this many at once. */
const WINDOW = 64;

/**
 * The stream of any other decoder, as Rust `tokenizers` has it (tokenizer/mod.rs, step_decode_stream): a
 * window of the last ids is decoded with and without the newest, and what it adds is passed on unless it ends
 * within a character. What was passed on is not taken back where the newest id changes it ("do n" ->
 * "don't").
 */
export function decodeWindow(decode: (ids: readonly number[]) => string): DecodeStream {
  let ids: number[] = [];
  let given = ''; // of decode(ids)
  const advance = (isLast: boolean): string => {
    const text = decode(ids);
    if (text.length <= given.length || (!isLast && text.endsWith('\uFFFD'))) return '';
    const fresh = text.slice(given.length);
    given = text;
    if (ids.length >= WINDOW) {
      // The later half stands for the context of what follows.
      ids = ids.slice(WINDOW / 2);
      given = decode(ids);
    }
    return fresh;
  };
  return {
    push(id) {
      ids.push(id);
      return advance(false);
    },
    end() {
      const rest = ids.length > 0 ? advance(true) : '';
      ids = [];
      given = '';
      return rest;
    },
  };
}
