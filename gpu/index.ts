import { ensureVulkanDriver } from './driver.ts';

// At import time, before the program has done anything: it may restart the process on a software driver.
await ensureVulkanDriver();

export { acquire, Gpu } from './device.ts';
export type { SubgroupMatrix, Target } from './device.ts';
export { debugLevel, debugOp } from './debug.ts';
export type { Allocation, Binding, MemoryReport, Window } from './buffers.ts';
export type { Access, Cost, Dispatch } from './dispatch.ts';
export type { Recording, RecordingInput } from './recording.ts';
export { GpuError } from './errors.ts';
export { timeDispatches, totalsByKernel } from './timing.ts';
export type { Timing } from './timing.ts';
