/**
 * Run as a process of its own: creates a device, computes on it, and prints the adapter's description; fails
 * otherwise. Argument: the folder of a driver to load into this process first.
 */
import { webgpu } from '../webgpu.ts';
import { loadDriver } from './in-process.ts';

if (process.argv[2] !== undefined) await loadDriver(process.argv[2]);
const adapter = await (await webgpu()).requestAdapter();
if (!adapter) throw new Error('WebGPU offers no adapter');
const device = await adapter.requestDevice();
const size = 256;
const code = `@group(0) @binding(0) var<storage, read_write> a: array<u32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { a[id.x] = id.x * id.x; }`;
const buffer = device.createBuffer({ size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
const result = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
const pipeline = device.createComputePipeline({
  layout: 'auto',
  compute: { module: device.createShaderModule({ code }) },
});
const encoder = device.createCommandEncoder();
const pass = encoder.beginComputePass();
pass.setPipeline(pipeline);
pass.setBindGroup(
  0,
  device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: [{ binding: 0, resource: { buffer } }] }),
);
pass.dispatchWorkgroups(1);
pass.end();
encoder.copyBufferToBuffer(buffer, 0, result, 0, size);
device.queue.submit([encoder.finish()]);
await result.mapAsync(GPUMapMode.READ);
const values = new Uint32Array(result.getMappedRange());
if (!values.every((value, i) => value === i * i)) throw new Error(`${adapter.info.description} computes wrong results`);
process.stdout.write(`${adapter.info.description}\n`, () => process.exit(0));
