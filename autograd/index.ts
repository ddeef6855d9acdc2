import './methods.ts';

export * from './ops/activations.ts';
export * from './ops/aliases.ts';
export * from './ops/arithmetic.ts';
export * from './ops/assign.ts';
export { cast, expand, sum } from './ops/broadcast.ts';
export * from './ops/comparison.ts';
export * from './ops/attention.ts';
export { decodeAttention } from './ops/decode-attention.ts';
export type { DecodeOptions } from './ops/decode-attention.ts';
export * from './ops/concat.ts';
export { concat as cat } from './ops/concat.ts';
export { conv1d, conv2d } from './ops/conv.ts';
export type { ConvOptions } from './ops/conv.ts';
export * from './ops/cross-entropy.ts';
export { linearCrossEntropy } from './ops/linear-cross-entropy.ts';
export type { LinearCrossEntropyOptions } from './ops/linear-cross-entropy.ts';
export { cumsum } from './ops/cumsum.ts';
export { einsum } from './ops/einsum.ts';
export * from './ops/losses.ts';
export {
  bceWithLogits as binaryCrossEntropyWithLogits,
  huber as huberLoss,
  l1 as l1Loss,
  mse as mseLoss,
  smoothL1 as smoothL1Loss,
} from './ops/losses.ts';
export * from './ops/pool.ts';
export { dropout, normal, rand, randint, randn, uniform } from './ops/random.ts';
export type { NormalOptions, UniformOptions } from './ops/random.ts';
export { manualSeed, randomState, setRandomState } from './generator.ts';
export type { RandomState } from './generator.ts';
export { embedding, gather, indexSelect, oneHot, scatterAdd } from './ops/gather.ts';
export { bmm, linear, matmul } from './ops/matmul.ts';
export { quantizedEmbedding, quantizedLinear } from './ops/quantized.ts';
export type { QuantizedLinearOptions } from './ops/quantized.ts';
export { dequantize, quantize } from './ops/quantize.ts';
export type { QuantizedTensor, QuantizeOptions } from './ops/quantize.ts';
export * from './ops/norm.ts';
export * from './ops/softmax.ts';
export * from './ops/movement.ts';
export * from './ops/reduce.ts';
export * from './ops/reshape.ts';
export * from './ops/slice.ts';
export * from './ops/split.ts';
export { tril, triu } from './ops/triangular.ts';
export { unfold } from './ops/unfold.ts';
export { writeCache } from './ops/write-cache.ts';
export { detectAnomaly, setAnomalyLabel } from './inspect/anomaly.ts';
export type { Anomaly } from './inspect/anomaly.ts';
export { autocast, isAutocasting } from './autocast.ts';
export type { AutocastOptions } from './autocast.ts';
export { autotune } from './inspect/autotune.ts';
export { backward, grad } from './backward.ts';
export { checkpoint } from './checkpoint.ts';
export { guarded, isCapturing } from './context.ts';
export { compile } from './compile/compile.ts';
export type { Compiled, CompileOptions } from './compile/compile.ts';
export { statistics } from './compile/explain.ts';
export type { ProgramStatistics } from './compile/explain.ts';
export { arange, eye, full, linspace, ones, tensor, zeros, zeros as empty } from './create.ts';
export type { NestedArray, ShapeThen, TensorOptions, TypedArray } from './create.ts';
export { knownRange } from './ops/known-range.ts';
export { enableGrad, isGradEnabled, noGrad } from './context.ts';
export { defineOp, defineView, ShapeError } from './op.ts';
export { ceilings } from './inspect/ceilings.ts';
export type { Ceilings } from './inspect/ceilings.ts';
export { profile } from './inspect/profile.ts';
export type { Profile } from './inspect/profile.ts';
export { emptyCache, init, memory, ready, resetPeakMemory, synchronize } from './runtime.ts';
export type { InitOptions } from '../gpu/index.ts';
export { scope } from './storage.ts';
export { Tensor } from './tensor.ts';
export type { Dtype } from '../kernels/kernel.ts';
