import { add, assign, div, matmul, maximum, mul, norm, sub } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { Parameters } from './groups.ts';
import { TensorOptimizer } from './tensor-optimizer.ts';

export interface MuonOptions {
  readonly lr: number;
  readonly weightDecay: number;
  readonly momentum: number;
  readonly nesterov: boolean;
  /** Coefficients a, b, c of a x + b x^3 + c x^5, which moves singular values towards 1. */
  readonly nsCoefficients: readonly [number, number, number];
  /** Least norm that an update is divided by. */
  readonly eps: number;
  /** Iterations of Newton-Schulz, below 100. */
  readonly nsSteps: number;
  /**
   * Factor of the learning rate of a matrix [rows, columns]: `original` sqrt(max(1, rows / columns)),
   * `match_rms_adamw` 0.2 sqrt(max(rows, columns)), so that rates and weight decay found for AdamW fit,
   * `spectral_unclamped` sqrt(rows / columns).
   */
  readonly adjustLrFn: keyof typeof adjustments;
}

type Hyper = 'lr' | 'weightDecay' | 'momentum' | 'eps';
type Choice = 'nesterov' | 'nsCoefficients' | 'nsSteps' | 'adjustLrFn';

const adjustments = {
  original: (rows: number, columns: number): number => Math.sqrt(Math.max(1, rows / columns)),
  match_rms_adamw: (rows: number, columns: number): number => 0.2 * Math.sqrt(Math.max(rows, columns)),
  spectral_unclamped: (rows: number, columns: number): number => Math.sqrt(rows / columns),
} as const;

/**
 * Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon), PyTorch's defaults and order: the
 * momentum of a matrix with all its singular values brought near 1. For the matrices of hidden layers only;
 * embeddings, heads, biases and norms take an AdamW of their own. PyTorch iterates in bfloat16, here it is
 * f32.
 *
 * @example
 * const layer = new Linear(4, 2, { bias: false });
 * const optimizer = new Muon([layer.weight], { lr: 0.02 });
 * layer.forward(ones(1, 4)).sum().backward();
 * optimizer.step();
 */
export class Muon extends TensorOptimizer<MuonOptions, Hyper, 'momentumBuffer', Choice> {
  constructor(params: Parameters<MuonOptions>, options: Partial<MuonOptions> = {}) {
    super(params, options, {
      name: 'Muon',
      defaults: {
        lr: 1e-3,
        weightDecay: 0.1,
        momentum: 0.95,
        nesterov: true,
        nsCoefficients: [3.4445, -4.775, 2.0315],
        eps: 1e-7,
        nsSteps: 5,
        adjustLrFn: 'original',
      },
      ranges: {
        nsCoefficients: { min: -Infinity },
        nsSteps: { min: 0, below: 100, whole: true },
        adjustLrFn: Object.keys(adjustments),
      },
      choices: ['nesterov', 'nsCoefficients', 'nsSteps', 'adjustLrFn'],
      accept({ shape }) {
        return shape.length === 2 ? undefined : 'only matrices are updated; give it to an AdamW of its own';
      },
      hyper: ({ lr, weightDecay, momentum, eps }) => ({ lr, weightDecay, momentum, eps }),
      state: (shape) => ({ momentumBuffer: shape }),
      update({ param, grad, hyper, state }, { nesterov, nsCoefficients, nsSteps, adjustLrFn }) {
        const { lr, momentum, weightDecay, eps } = hyper;
        const average = assign(state.momentumBuffer!, lerp(grad, state.momentumBuffer!, momentum));
        const change = orthogonal(nesterov ? lerp(grad, average, momentum) : average, nsCoefficients, nsSteps, eps);
        const rate = mul(lr, adjustments[adjustLrFn](param.shape[0]!, param.shape[1]!));
        return sub(mul(param, sub(1, mul(lr, weightDecay))), mul(change, rate));
      },
    });
  }
}

/** a + share (b - a). */
const lerp = (a: Tensor, b: Tensor, share: Tensor): Tensor => add(a, mul(share, sub(b, a)));

/** The quintic Newton-Schulz iteration: of x = U S V^T it leaves about U V^T. */
function orthogonal(x: Tensor, [a, b, c]: MuonOptions['nsCoefficients'], steps: number, eps: Tensor): Tensor {
  const tall = x.shape[0]! > x.shape[1]!;
  let y = div(tall ? x.t() : x, maximum(norm(x), eps));
  for (let i = 0; i < steps; i++) {
    const gram = matmul(y, y.t());
    y = add(mul(y, a), matmul(add(mul(gram, b), mul(matmul(gram, gram), c)), y));
  }
  return tall ? y.t() : y;
}
