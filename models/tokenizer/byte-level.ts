// GPT-2's writing of bytes as characters (encoder.py, bytes_to_unicode): every byte is one printable
// character, so that vocabularies of bytes can be kept as text. Bytes that print are written as themselves,
// the others by the characters from U+0100 on.

const prints = (byte: number): boolean =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);

/** The character of each byte. */
export const BYTE_CHARS: readonly string[] = (() => {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(prints(byte) ? byte : next++));
})();

const CHAR_BYTES: ReadonlyMap<string, number> = new Map(BYTE_CHARS.map((char, byte) => [char, byte]));

/** Text as the characters of its UTF-8 bytes: " é" -> "ĠÃ©". */
export function writeBytes(text: string): string {
  let written = '';
  for (const byte of Buffer.from(text, 'utf8')) written += BYTE_CHARS[byte]!;
  return written;
}

/**
 * The bytes of a token; of a token with other characters in it (an added token with a space, say) its UTF-8,
 * as in Rust `tokenizers` (decoders of byte_level.rs).
 */
export function readBytes(token: string): Uint8Array {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = CHAR_BYTES.get(token[i]!);
    if (byte === undefined) return new TextEncoder().encode(token);
    bytes[i] = byte;
  }
  return bytes;
}
