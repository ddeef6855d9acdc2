import type { OpenFile } from '../../common/files.ts';
import { printable } from '../../common/printable.ts';
import { openFile, readExactly, readInto } from './read-exactly.ts';
import type { SafetensorsHeader, TensorEntry } from './safetensors-format.ts';
import { MAX_HEADER_BYTES, parseHeader } from './safetensors-format.ts';
import type { LoadedTensor } from './tensor-data.ts';
import { viewOf } from './tensor-data.ts';

/**
 * A safetensors file opened for reading, one tensor at a time: only the header is held in memory. Close it
 * when done.
 *
 * @example
 * const file = await SafetensorsFile.open('models/pretrained/bert-small/model.safetensors');
 * const { shape } = await file.read('cls.predictions.bias');
 * shape; // [8000]
 * await file.close();
 */
export class SafetensorsFile {
  readonly path: string;
  /** Every tensor by name, in the order of the header. */
  readonly entries: ReadonlyMap<string, TensorEntry>;
  /** The `__metadata__` strings; {} where there are none. */
  readonly metadata: Readonly<Record<string, string>>;
  private readonly handle: OpenFile;
  private readonly dataStart: number;

  private constructor(path: string, header: SafetensorsHeader, handle: OpenFile, dataStart: number) {
    this.path = path;
    this.entries = header.entries;
    this.metadata = header.metadata;
    this.handle = handle;
    this.dataStart = dataStart;
  }

  /**
   * Opens a file and checks its header against the file's real size, before any memory is taken for what it
   * claims.
   *
   * Errors, each one line naming the file and the mend: it is missing, no safetensors file (a PyTorch pickle,
   * a Git LFS pointer and a web page are recognised), truncated, or its header contradicts itself or the
   * file's size.
   */
  static async open(path: string): Promise<SafetensorsFile> {
    return openFile(path, async (handle) => {
      const { size } = await handle.stat();
      const start = await readExactly(handle, 0, Math.min(size, 64), path);
      const headerBytes = headerLength(start, size, path);
      const json = await readExactly(handle, 8, headerBytes, path);
      const header = parseHeader(json, size - 8 - headerBytes, path);
      return new SafetensorsFile(path, header, handle, 8 + headerBytes);
    });
  }

  /** Reads one tensor from the disk. Error: no tensor of that name. */
  async read(name: string): Promise<LoadedTensor> {
    const entry = this.entries.get(name);
    if (!entry) throw new Error(`${this.path} has no tensor "${printable(name)}": it holds ${listNames(this.entries)}`);
    const bytes = new Uint8Array(entry.end - entry.begin);
    await readInto(this.handle, this.dataStart + entry.begin, bytes, this.path);
    return { dtype: entry.dtype, shape: entry.shape, data: viewOf(entry.dtype, bytes.buffer) };
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}

function headerLength(start: Uint8Array, size: number, path: string): number {
  const other = recogniseOther(start);
  if (other) throw new Error(`${path} is no safetensors file: ${other}`);
  if (size < 8)
    throw new Error(`${path} is no safetensors file: it is only ${size} bytes long; download or save it again`);
  const length = new DataView(start.buffer).getBigUint64(start.byteOffset, true);
  // '{' (0x7b) opens the header of every safetensors file, so this tells a cut file from a foreign one.
  const plausible = length >= 2n && length <= MAX_HEADER_BYTES && (size === 8 || start[8] === 0x7b);
  if (!plausible) throw new Error(`${path} is no safetensors file: pass a file saved by safetensors or savePretrained`);
  if (length > BigInt(size - 8)) {
    throw new Error(
      `${path} is truncated: its header takes ${length} bytes but only ${size - 8} follow; download or save it again`,
    );
  }
  return Number(length);
}

/** Files often found under this name that are something else, each with its mend. */
function recogniseOther(start: Uint8Array): string | null {
  const text = String.fromCharCode(...start);
  // A header of 0x280 bytes, say, begins as a pickle does; what opens it does not.
  const pickle = start[0] === 0x80 && start.length > 1 && start[1]! <= 5 && start[8] !== 0x7b;
  if (text.startsWith('PK\u0003\u0004') || pickle) {
    return 'it is a PyTorch pickle; load it in Transformers and save_pretrained it, which writes safetensors';
  }
  if (text.startsWith('version https://git-lfs')) return 'it is a Git LFS pointer; run `git lfs pull` in its folder';
  if (/^\s*<(!doctype|html)/i.test(text)) return 'it is a web page; the download failed, repeat it';
  if (text.startsWith('GGUF')) return 'it is a GGUF file; use the safetensors version of the model';
  return null;
}

function listNames(entries: ReadonlyMap<string, TensorEntry>): string {
  const names = [...entries.keys()].map(printable);
  const shown = names.slice(0, 5).join(', ');
  return names.length > 5 ? `${shown} and ${names.length - 5} more` : shown || 'none';
}
