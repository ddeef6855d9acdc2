/** Several processes that train together: a group of them, and what they exchange. */
export { GroupError } from './errors.ts';
export { currentGroup, destroyProcessGroup, initProcessGroup } from './environment.ts';
export type { GroupOptions } from './environment.ts';
export { Pipeline } from './pipeline.ts';
export type { MicroBatch, PipelineOptions } from './pipeline.ts';
export { ProcessGroup } from './process-group.ts';
export type { Exchanged, ReduceOp, WaitOptions } from './process-group.ts';
