import type { OpenFile } from '../../common/files.ts';
import { printable } from '../../common/printable.ts';
import { openFile, readExactly } from '../io/read-exactly.ts';
import { showText } from '../names.ts';
import { blockTypes, dequantize } from './blocks.ts';
import type { BlockType } from './blocks.ts';
import { maxHeaderBytes, NeedsMore, parseGguf } from './header.ts';
import type { GgufHeader, GgufTensor, GgufValue } from './header.ts';

/** Whole blocks of one type. */
export interface Blocks {
  readonly type: BlockType;
  readonly data: Uint8Array;
}

/**
 * A GGUF file opened for reading, one tensor at a time. Close it when done.
 *
 * @example
 * const model = await GPT2LMHeadModel.fromPretrained('models/pretrained/gpt-small');
 * const tokenizer = await loadTokenizer('models/pretrained/gpt-small');
 * await saveFiles([ggufFile('small.gguf', model, tokenizer, 'q8_0')]);
 * const file = await GgufFile.open('small.gguf');
 * file.metadata.get('general.architecture'); // 'gpt2'
 * await file.close();
 */
export class GgufFile {
  readonly path: string;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** Every tensor by name, in the order of the file. */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  private readonly handle: OpenFile;

  private constructor(path: string, { metadata, tensors }: GgufHeader, handle: OpenFile) {
    this.path = path;
    this.metadata = metadata;
    this.tensors = tensors;
    this.handle = handle;
  }

  /** Opens a file and checks its head. Errors, each one line: it cannot be read; those of `parseGguf`. */
  static async open(path: string): Promise<GgufFile> {
    return openFile(path, async (handle) => new GgufFile(path, await readHeader(handle, path), handle));
  }

  /** A tensor's weights as f32, dequantised. Errors: no such tensor; a type that is not known here. */
  async read(name: string): Promise<Float32Array> {
    const { type, data } = await this.readBlocks(name);
    return dequantize(type, data);
  }

  /** A tensor's bytes as they are in the file, and their type. Errors: those of `read`. */
  async readBlocks(name: string): Promise<Blocks> {
    const tensor = this.tensors.get(name);
    if (!tensor) throw new Error(`${printable(this.path)} has no tensor "${showText(name)}"`);
    const { type, typeId, begin, bytes } = tensor;
    if (!type) {
      const known = [...blockTypes.values()].map(({ name }) => name).join(', ');
      throw new Error(
        `${printable(this.path)}: tensor "${showText(name)}" has the quantisation number ${typeId}, which cannot be ` +
          `read here; use a file with ${known}`,
      );
    }
    return { type, data: await readExactly(this.handle, begin, bytes, this.path) };
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}

/** Reads more of the file until the head is whole. */
async function readHeader(handle: OpenFile, path: string): Promise<GgufHeader> {
  const { size } = await handle.stat();
  for (let length = 2 ** 20; ; length *= 4) {
    const bytes = await readExactly(handle, 0, Math.min(size, length), path);
    try {
      return parseGguf(bytes, size, path);
    } catch (error) {
      if (!(error instanceof NeedsMore)) throw error;
      if (length >= maxHeaderBytes)
        throw new Error(`${printable(path)} is damaged: its head is longer than ${maxHeaderBytes} bytes`, {
          cause: error,
        });
    }
  }
}
