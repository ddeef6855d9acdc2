import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';

/** Whole lines of a file, with their line ends. */
export interface TextBlock {
  readonly text: string;
  /** Number of the first of these lines; the first line of a file is 1. */
  readonly line: number;
}

/**
 * The encoding of a file: UTF-8, anything else refused; UTF-8 with U+FFFD for what is not; or one character a
 * byte, as old Western European files have it.
 */
export const encodings = ['utf8', 'replace', 'latin1'] as const;
export type TextEncodingName = (typeof encodings)[number];

export interface TextFileOptions {
  /** Default "utf8". */
  readonly encoding?: TextEncodingName;
  /** Called with the number of bytes read, as they are read. */
  readonly onBytes?: (bytes: number) => void;
}

/** A longer line is no line but a file without line ends; it would be held in memory as a whole. */
const LONGEST_LINE = 1 << 28;

/**
 * Reads a text file of any size in blocks of whole lines, without its byte-order mark. Throws one line naming
 * the file where it is missing, and file and line where it is no UTF-8 (decoders would put U+FFFD there and
 * go on) or a line is longer than 256 MB.
 */
export async function* utf8Blocks(path: string, options: TextFileOptions = {}): AsyncGenerator<TextBlock> {
  const { encoding = 'utf8', onBytes } = options;
  let line = 1;
  let rest: Buffer[] = [];
  let held = 0;
  const decode = (bytes: Buffer): TextBlock => {
    if (encoding === 'utf8' && !isUtf8(bytes)) {
      const mend = options.encoding ? ', or read it with the encoding "replace" or "latin1"' : '';
      throw new Error(`${path}:${line + linesBeforeBadByte(bytes)}: not UTF-8; convert the file first (iconv)${mend}`);
    }
    const text = encoding === 'latin1' ? decodeWindows1252(bytes) : bytes.toString('utf8');
    const block = { text: line === 1 ? text.replace(/^\uFEFF/, '') : text, line };
    line += count(bytes);
    return block;
  };
  const chunks: AsyncIterable<Buffer> = createReadStream(path, { highWaterMark: 1 << 18 });
  try {
    for await (const chunk of chunks) {
      onBytes?.(chunk.length);
      const end = chunk.lastIndexOf(0x0a) + 1;
      if (end === 0) {
        rest.push(chunk);
        held += chunk.length;
        if (held > LONGEST_LINE)
          throw new Error(`${path}:${line}: a line of more than 256 MB; break it into lines first`);
        continue;
      }
      yield decode(Buffer.concat([...rest, chunk.subarray(0, end)]));
      rest = [chunk.subarray(end)];
      held = chunk.length - end;
    }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : '';
    if (code === 'ENOENT') throw new Error(`${path}: no such file`, { cause: error });
    if (code === 'EISDIR') throw new Error(`${path}: a folder, where a file is needed`, { cause: error });
    throw error;
  }
  const last = Buffer.concat(rest);
  if (last.length > 0) yield decode(last);
}

function count(bytes: Buffer): number {
  let lines = 0;
  for (let at = bytes.indexOf(0x0a); at >= 0; at = bytes.indexOf(0x0a, at + 1)) lines++;
  return lines;
}

function linesBeforeBadByte(bytes: Buffer): number {
  let lines = 0;
  let start = 0;
  for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, start)) {
    if (!isUtf8(bytes.subarray(start, end))) break;
    start = end + 1;
    lines++;
  }
  return lines;
}

/** Windows-1252 where ISO 8859-1 has controls (0x80 to 0x9f); five places are free in both. */
const HIGH =
  '\u20ac\x81\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\x8d\u017d\x8f' +
  '\x90\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\x9d\u017e\u0178';

/**
 * Decodes latin1 as the web means it: as Windows-1252. (Some versions of Node read it as plain ISO 8859-1.)
 */
function decodeWindows1252(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/[\x80-\x9f]/g, (char) => HIGH[char.charCodeAt(0) - 0x80]!);
}

/** The byte of a character, undefined where it has none. */
export function windows1252Byte(char: string): number | undefined {
  const code = char.charCodeAt(0);
  const high = HIGH.indexOf(char);
  if (high >= 0) return 0x80 + high;
  return code < 0x100 ? code : undefined;
}

/** A text that is read as a whole is held in memory several times over. */
const LARGEST_WHOLE = 1 << 28;

/** All of a text file. Throws as utf8Blocks does, and where it is larger than 256 MB. */
export async function wholeText(path: string, options: TextFileOptions = {}): Promise<string> {
  const parts: string[] = [];
  let size = 0;
  for await (const { text } of utf8Blocks(path, options)) {
    parts.push(text);
    size += text.length;
    if (size > LARGEST_WHOLE)
      throw new Error(`${path}: too large for one document (over 256 MB); read its lines or paragraphs as documents`);
  }
  return parts.join('');
}
