import type { HostArray } from '../rows/data.ts';
import { loadPeer } from './adapter.ts';
import type { Adapter, Library, Prepared } from './adapter.ts';
import { onnxModel } from './onnx-model.ts';

/** Declares the used part of onnxruntime-web, which is not installed with the project. */
interface Tensor {
  getData(): Promise<Float32Array>;
  dispose(): void;
}
interface Session {
  run(feeds: Record<string, Tensor>): Promise<Record<string, Tensor>>;
  release(): Promise<void>;
}
interface Runtime {
  env: { wasm: { numThreads: number }; webgpu: { device: Promise<GPUDevice> }; logLevel: string };
  Tensor: { fromGpuBuffer(buffer: GPUBuffer, options: { dataType: string; dims: readonly number[] }): Tensor };
  InferenceSession: { create(model: Uint8Array, options: object): Promise<Session> };
}

/**
 * ONNX Runtime compiled to WebAssembly, computing on the host's WebGPU. Inputs and results stay on the
 * device. Needs `node --liftoff-only`.
 */
export const adapter: Adapter = {
  async open(): Promise<Library> {
    const ort = await loadPeer<Runtime>('onnxruntime-web/webgpu');
    ort.env.wasm.numThreads = 1;
    ort.env.logLevel = 'error';
    const upload = async ({ data, shape }: HostArray): Promise<Tensor> => {
      const device = await ort.env.webgpu.device; // there once the first session is
      const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
      const buffer = device.createBuffer({ size: Math.max(16, data.byteLength), usage });
      device.queue.writeBuffer(buffer, 0, data as Float32Array<ArrayBuffer>);
      const dataType = data instanceof Int32Array ? 'int32' : 'float32';
      return ort.Tensor.fromGpuBuffer(buffer, { dataType, dims: shape });
    };
    return {
      async prepare(row): Promise<Prepared> {
        const { bytes, output } = await onnxModel(row);
        const session = await ort.InferenceSession.create(bytes, {
          executionProviders: ['webgpu'],
          preferredOutputLocation: 'gpu-buffer',
          graphOptimizationLevel: 'all',
          extra: { session: { disable_cpu_ep_fallback: '1' } },
        });
        const feeds: Record<string, Tensor> = {};
        for (const [name, x] of Object.entries(row.inputs())) feeds[name] = await upload(x);
        let result: Tensor | undefined;
        return {
          run: async () => {
            result?.dispose();
            result = (await session.run(feeds))[output];
          },
          read: () => result!.getData(),
          dispose: () => void session.release(),
        };
      },
    };
  },
};
