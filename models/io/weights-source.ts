import type { DoublyQuantized } from '../../autograd/index.ts';
import type { Blocks } from '../gguf/file.ts';
import type { Dtype } from './safetensors-format.ts';
import type { LoadedTensor } from './tensor-data.ts';

/** A weight [out, in] in NF4, as the library bitsandbytes keeps it. */
export interface Nf4 {
  readonly shape: readonly [out: number, into: number];
  /** Two to a byte, the first in the upper half. */
  readonly codes: Uint8Array;
  /** Neighbours that share a scale. */
  readonly group: number;
  readonly scales: Float32Array;
  readonly doubly?: DoublyQuantized | undefined;
}

/** A weight [out, in] of 8 bits with a scale for each row. */
export interface Int8 {
  readonly shape: readonly [out: number, into: number];
  readonly codes: Int8Array;
  readonly scales: Float32Array;
}

/** Named tensors on a disk, read one at a time. */
export interface WeightsSource {
  /** The file or folder they lie in. */
  readonly path: string;
  names(): string[];
  /** dtype and shape of a tensor, without reading it. Error: no tensor of that name. */
  entry(name: string): { readonly dtype: Dtype; readonly shape: readonly number[] };
  read(name: string): Promise<LoadedTensor>;
  /** The quantisation of a tensor, of files that have any: `Q4_1`. */
  blockType?(name: string): string | undefined;
  /** Its blocks as [out, in], also where `read` gives [in, out]. */
  readBlocks?(name: string): Promise<Blocks>;
  /** The same of type NF4. */
  readNf4?(name: string): Promise<Nf4>;
  /** The same of type INT8. */
  readInt8?(name: string): Promise<Int8>;
  close(): Promise<void>;
}
