import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';

/** Whole lines of a file, with their line ends. */
export interface TextBlock {
  readonly text: string;
  /** Number of the first of these lines; the first line of a file is 1. */
  readonly line: number;
}

/**
 * Reads a text file of any size in blocks of whole lines, without its byte-order mark. Throws one line naming the file where it is
 * missing, and file and line where it is no UTF-8 (decoders would put U+FFFD there and go on).
 */
export async function* utf8Blocks(path: string): AsyncGenerator<TextBlock> {
  let line = 1;
  let rest: Buffer[] = [];
  const decode = (bytes: Buffer): TextBlock => {
    if (!isUtf8(bytes))
      throw new Error(`${path}:${line + linesBeforeBadByte(bytes)}: not UTF-8; convert the file first (iconv)`);
    const text = bytes.toString('utf8');
    const block = { text: line === 1 ? text.replace(/^\uFEFF/, '') : text, line };
    line += count(bytes);
    return block;
  };
  const chunks: AsyncIterable<Buffer> = createReadStream(path);
  try {
    for await (const chunk of chunks) {
      const end = chunk.lastIndexOf(0x0a) + 1;
      if (end === 0) {
        rest.push(chunk);
        continue;
      }
      yield decode(Buffer.concat([...rest, chunk.subarray(0, end)]));
      rest = [chunk.subarray(end)];
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
