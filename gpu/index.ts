export { acquire, allLimits, Gpu } from './device.ts';
export type { Target } from './device.ts';
export type { Allocation, MemoryReport } from './buffers.ts';
export type { Access, Cost, Dispatch } from './dispatch.ts';
export { GpuError } from './errors.ts';
