// The decoders of tokenizer.json, as Rust `tokenizers` has them (decoders/*.rs).
import { concatBytes } from '../../common/bytes.ts';
import { readBytes } from './byte-level.ts';
import { Part } from './part.ts';
import { replaceMatches } from './pattern.ts';

/** Tokens to the parts of a text, which are joined in the end. */
export type Decoder = (tokens: readonly string[]) => readonly string[];

/**
 * The decoder of a tokenizer.json; null gives one that puts spaces between tokens. Error, one line: a type or
 * an option that is not known, named.
 */
export function readDecoder(json: unknown, where: string): Decoder {
  if (json === null || json === undefined) return (tokens) => [tokens.join(' ')];
  return new Part(json, where).make(DECODERS);
}

/** Undoes what cutting off punctuation did, as Transformers does: "do n't ." becomes "don't.". */
export function cleanUp(text: string): string {
  return CLEAN_UP.reduce((result, [from, to]) => result.replaceAll(from, to), text);
}

/** As Rust `tokenizers` does, for one token of words. */
const cleanUpToken = (token: string): string => cleanUp(token).replaceAll(' do not', " don't");

const CLEAN_UP = [
  [' .', '.'],
  [' ?', '?'],
  [' !', '!'],
  [' ,', ','],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
] as const;

const textOf = (bytes: Uint8Array): string => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);

const DECODERS: ReadonlyMap<string, (part: Part) => Decoder> = new Map<string, (part: Part) => Decoder>([
  ['Sequence', sequence],
  ['BPEDecoder', bpe],
  ['ByteFallback', () => byteFallback],
  ['ByteLevel', () => (tokens) => [textOf(concatBytes(tokens.map(readBytes)))]],
  ['CTC', ctc],
  ['Fuse', () => (tokens) => [tokens.join('')]],
  ['Metaspace', metaspace],
  ['Replace', replace],
  ['Strip', strip],
  ['WordPiece', wordPiece],
]);

function sequence(part: Part): Decoder {
  const steps = part.list('decoders').map((one) => one.make(DECODERS));
  return (tokens) => steps.reduce((result, step) => step(result), tokens);
}

function bpe(part: Part): Decoder {
  const suffix = part.someText('suffix');
  return (tokens) => tokens.map((token, i) => token.replaceAll(suffix, i === tokens.length - 1 ? '' : ' '));
}

/** Stands for one byte where the model is no byte-level one. */
export const BYTE_TOKEN = /^<0x(\+[0-9A-Fa-f]|[0-9A-Fa-f]{2})>$/;

/** Tokens such as <0xE6> that stand in a row are one text, or one U+FFFD each where they are none. */
function byteFallback(tokens: readonly string[]): readonly string[] {
  const result: string[] = [];
  let bytes: number[] = [];
  const flush = (): void => {
    try {
      if (bytes.length > 0)
        result.push(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes)));
    } catch {
      for (let i = 0; i < bytes.length; i++) result.push('\ufffd');
    }
    bytes = [];
  };
  for (const token of tokens) {
    const byte = BYTE_TOKEN.exec(token)?.[1];
    if (byte !== undefined) bytes.push(parseInt(byte, 16));
    else {
      flush();
      result.push(token);
    }
  }
  flush();
  return result;
}

function ctc(part: Part): Decoder {
  const pad = part.someText('pad_token');
  const delimiter = part.someText('word_delimiter_token');
  const cleans = part.flag('cleanup');
  return (tokens) =>
    tokens
      .filter((token, i) => token !== tokens[i - 1])
      .map((token) => token.replaceAll(pad, ''))
      .map((token) => (cleans ? cleanUpToken(token).replaceAll(delimiter, ' ') : token))
      .filter((token) => token !== '');
}

function metaspace(part: Part): Decoder {
  const replacement = part.character('replacement');
  const scheme = part.oneOf('prepend_scheme', ['always', 'first', 'never'], 'always');
  if (!part.flag('add_prefix_space', true) && scheme !== 'never')
    throw part.refuse('its add_prefix_space is false, where its prepend_scheme is not "never"');
  return (tokens) => tokens.map((token, i) => token.replaceAll(replacement, i === 0 && scheme !== 'never' ? '' : ' '));
}

function replace(part: Part): Decoder {
  const pattern = part.pattern();
  const content = part.text('content');
  return (tokens) => tokens.map((token) => replaceMatches(token, pattern, content));
}

/** Takes up to `start` times the character off the beginning of each token, and up to `stop` off its end. */
function strip(part: Part): Decoder {
  const content = part.character('content');
  const [start, stop] = [part.whole('start'), part.whole('stop')];
  return (tokens) =>
    tokens.map((token) => {
      const chars = Array.from(token);
      let from = 0;
      while (from < start && chars[from] === content) from++;
      let to = chars.length;
      while (chars.length - to < stop && chars[to - 1] === content) to--;
      return chars.slice(from, to).join('');
    });
}

function wordPiece(part: Part): Decoder {
  const prefix = part.text('prefix');
  const cleans = part.flag('cleanup');
  return (tokens) =>
    tokens.map((token, i) => {
      const joined = i === 0 ? token : token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
      return cleans ? cleanUpToken(joined) : joined;
    });
}
