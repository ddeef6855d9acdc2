import { acquire } from '../../gpu/index.ts';
import type { Allocation } from '../../gpu/index.ts';
import { plainSink } from '../../kernels/map/elements.ts';
import { matmulPlain } from '../../kernels/matmul/plain.ts';
import type { MatrixOperand } from '../../kernels/matmul/product.ts';
import type { HostArray } from '../rows/data.ts';
import type { Row } from '../rows/row.ts';
import type { Adapter, Prepared } from './adapter.ts';

/**
 * The obviously right kernel, one thread an output: what any WebGPU tutorial ends with. Matrix products only.
 */
export const adapter: Adapter = {
  async open() {
    const gpu = await acquire();
    const upload = ({ data }: HostArray): Allocation => gpu.upload(new Uint8Array(data.buffer), 'bench');
    const operand = ({ shape }: HostArray, transposed: boolean): MatrixOperand => {
      const [rows, cols] = [shape.at(-2)!, shape.at(-1)!];
      const [row, col] = transposed ? [1, cols] : [cols, 1];
      return { dtype: 'f32', offset: 0, row, col, batch: [0, rows * cols] };
    };
    return {
      prepare(row: Row): Prepared {
        const { a, b } = row.inputs();
        const transposed = row.name === 'attention scores';
        const [m, k] = [a!.shape.at(-2)!, a!.shape.at(-1)!];
        const n = b!.shape.at(transposed ? -2 : -1)!;
        const count = a!.shape.slice(0, -2).reduce((product, size) => product * size, 1);
        const output = gpu.allocate(4 * count * m * n, 'bench');
        const dispatch = matmulPlain({
          m,
          n,
          k,
          batch: [1, count],
          a: operand(a!, false),
          b: operand(b!, transposed),
          sink: plainSink([count, m, n], 'f32'),
        });
        const buffers = [upload(a!), upload(b!), output];
        return {
          run: () => gpu.dispatch(dispatch, buffers),
          read: async () => new Float32Array((await gpu.read(output, 0, 4 * count * m * n)).buffer),
          dispose: () => buffers.forEach((buffer) => gpu.release(buffer)),
        };
      },
      flush: () => gpu.encoder.flush(),
    };
  },
};
