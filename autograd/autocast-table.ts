/**
 * Which op does what under `autocast`, by its name on the tape; PyTorch's lists for CUDA ("Autocast Op
 * Reference") with two differences: norms store f16 (they compute in f32 and feed products), and softmax
 * keeps the type it is given (its kernel computes in f32; attention weights go into a product). Ops that
 * stand nowhere take their inputs as they are and give the wider type, with f32 arithmetic in any case.
 */

/**
 * Products: so many of the first inputs are converted to f16, and the result is f16 (a loss f32). Further
 * ones, such as a bias, stay as they are.
 */
export const inHalf: Readonly<Record<string, number>> = {
  decodeAttention: 3,
  flashAttention: 3,
  linearCrossEntropy: 2,
  matmul: 2,
  packedAttention: 1,
};

/** Sums, losses, and functions that leave f16's range or lose too much in it: inputs are converted to f32. */
export const inSingle: ReadonlySet<string> = new Set([
  'bceWithLogits',
  'cumsum',
  'exp',
  'expm1',
  'focal',
  'huber',
  'l1',
  'log',
  'log1p',
  'logSigmoid',
  'logSoftmax',
  'mse',
  'pow',
  'reciprocal',
  'rsqrt',
  'smoothL1',
  'softplus',
  'square',
  'cube',
  'sum',
]);
