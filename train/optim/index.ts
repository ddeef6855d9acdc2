export { AdamW } from './adamw.ts';
export type { AdamWOptions } from './adamw.ts';
export { clipCoefficient, gradNorm } from './clip.ts';
export { decayGroups } from './groups.ts';
export { Optimizer } from './optimizer.ts';
export type { OptimizerSnapshot, ParameterGroup } from './optimizer.ts';
export { SGD } from './sgd.ts';
export type { SgdOptions } from './sgd.ts';
