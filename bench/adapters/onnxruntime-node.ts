import { loadPeer } from './adapter.ts';
import type { Adapter, Library, Prepared } from './adapter.ts';
import { onnxModel } from './onnx-model.ts';

/** Declares the used part of onnxruntime-node, which is not installed with the project. */
interface Tensor {
  readonly data: Float32Array;
}
interface Session {
  run(feeds: Record<string, Tensor>): Promise<Record<string, Tensor>>;
}
interface Runtime {
  Tensor: new (type: string, data: Float32Array | Int32Array, dims: readonly number[]) => Tensor;
  InferenceSession: { create(model: Uint8Array, options: object): Promise<Session> };
}

/**
 * ONNX Runtime's native library: its own Dawn ("webgpu"), or the processor ("cpu"). Uploads and reads back on
 * every call.
 */
export function onnxruntimeOn(provider: 'webgpu' | 'cpu'): Adapter {
  return {
    async open(): Promise<Library> {
      const ort = await loadPeer<Runtime>('onnxruntime-node');
      return {
        async prepare(row): Promise<Prepared> {
          const { bytes, output } = await onnxModel(row);
          // Ops that the provider lacks would run on the processor unseen.
          const extra = provider === 'webgpu' ? { session: { disable_cpu_ep_fallback: '1' } } : {};
          const options = { executionProviders: [provider], graphOptimizationLevel: 'all', logSeverityLevel: 3, extra };
          const session = await ort.InferenceSession.create(bytes, options);
          const feeds = Object.fromEntries(
            Object.entries(row.inputs()).map(([name, { data, shape }]) => [
              name,
              new ort.Tensor(data instanceof Int32Array ? 'int32' : 'float32', data, shape),
            ]),
          );
          let result: Tensor | undefined;
          return {
            run: async () => void (result = (await session.run(feeds))[output]),
            read: () => Promise.resolve(result!.data),
          };
        },
      };
    },
  };
}

export const adapter = onnxruntimeOn('webgpu');
export const cpu = onnxruntimeOn('cpu');
