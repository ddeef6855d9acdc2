/**
 * Kernel generators: operands and attributes become WGSL, bindings, grid and cost, as plain data. Nothing
 * here touches a device.
 */
export { philox4x32 } from '../common/random.ts';
export * from './gather.ts';
export { bytesOf, computeType, f32, i32, kernel, read, storedType, u32, write } from './kernel.ts';
export type { Binding, Dtype, KernelSource, Param } from './kernel.ts';
export * from './layout.ts';
export * as expr from './map/expr.ts';
export type { Expr, Kind } from './map/expr.ts';
export { map } from './map/map.ts';
export type { ElementOperand, ElementOutput, Elements } from './map/elements.ts';
export { chooseMatmul, matmulClass, matmulDispatch, matmulPlans, planName, watchMatmul } from './matmul/matmul.ts';
export type { MatmulPlan } from './matmul/matmul.ts';
export type { Product, MatrixOperand } from './matmul/product.ts';
export { norm, normBackward } from './norm.ts';
export { philoxWgsl } from './philox.ts';
export { argReduce, reduce } from './reduce.ts';
export type { ReduceKind } from './reduce.ts';
export { softmax, softmaxBackward } from './softmax.ts';
