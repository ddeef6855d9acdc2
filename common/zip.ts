// Zip archives without compression (APPNOTE.TXT of PKWARE, 4.3): weights hardly compress.
import { concatBytes, utf8 } from './bytes.ts';
import { crc32 } from './checksum.ts';
import type { FileMap } from './files.ts';

/** Numbers of two and of four bytes, one behind the other. */
function record(...fields: readonly (readonly [bytes: 2 | 4, value: number])[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [bytes]) => sum + bytes, 0)));
  let at = 0;
  for (const [bytes, value] of fields) {
    if (bytes === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += bytes;
  }
  return new Uint8Array(view.buffer);
}

/**
 * Files as one zip archive: `zip(filesInMemory(folder))`. Equal files give equal bytes: their time is left
 * out. Error: more than 4 GiB, or than 65,535 files.
 *
 * @example
 * const bytes = await zip({ 'notes.txt': 'hello' });
 * String.fromCharCode(bytes[0], bytes[1]); // 'PK'
 */
export async function zip(files: FileMap): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let position = 0;
  const add = (part: Uint8Array): void => {
    parts.push(part);
    position += part.length;
  };
  const entries = files instanceof Map ? [...files] : Object.entries(files);
  for (const [path, data] of entries as [string, string | Uint8Array | Blob][]) {
    const name = utf8(path);
    const bytes =
      data instanceof Blob ? new Uint8Array(await data.arrayBuffer()) : typeof data === 'string' ? utf8(data) : data;
    if (position + bytes.length > 0xffff_0000 || entries.length > 0xffff)
      throw new Error('zip: an archive holds at most 4 GiB and 65,535 files; save the files one by one');
    const utf8Names = 0x800;
    const january1980 = 0x21;
    const facts = record(
      ...([
        [2, 20],
        [2, utf8Names],
        [2, 0],
        [2, 0],
        [2, january1980],
      ] as const),
      ...([
        [4, crc32(bytes)],
        [4, bytes.length],
        [4, bytes.length],
        [2, name.length],
        [2, 0],
      ] as const),
    );
    directory.push(
      record([4, 0x02014b50], [2, 20]),
      facts,
      record([2, 0], [2, 0], [2, 0], [4, 0], [4, position]),
      name,
    );
    for (const part of [record([4, 0x04034b50]), facts, name, bytes]) add(part);
  }
  const end = concatBytes(directory);
  const count = entries.length;
  const last = record([4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, end.length], [4, position], [2, 0]);
  return concatBytes([...parts, end, last]);
}
