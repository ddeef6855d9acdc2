import {
  add,
  chunk,
  concat,
  dropout,
  linear,
  mul,
  select,
  sigmoid,
  stack,
  sub,
  tanh,
  transpose,
  unbind,
  zeros,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import type { Member } from '../module.ts';
import { showShape } from '../names.ts';
import { parameter, uniformInit } from '../parameter.ts';
import type { Parameter } from '../parameter.ts';

export interface RecurrentOptions {
  readonly numLayers?: number;
  readonly bias?: boolean;
  /** Sequences are (N, L, D) in the place of (L, N, D), PyTorch's default and this one's. */
  readonly batchFirst?: boolean;
  /** Probability of dropping an output between layers. */
  readonly dropout?: number;
  /** Also read sequences from their end; outputs lie side by side. */
  readonly bidirectional?: boolean;
}

const defaults: Required<RecurrentOptions> = {
  numLayers: 1,
  bias: true,
  batchFirst: false,
  dropout: 0,
  bidirectional: false,
};

/**
 * Layers that read sequences step by step. Keys, shapes and initialisation are PyTorch's: weight_ih_l0 [G H,
 * D], weight_hh_l0 [G H, H] and two biases [G H], G gates one behind the other; the next layer's are _l1, of
 * the way back _l0_reverse.
 */
abstract class Recurrent extends Module {
  // One entry for each layer and direction: layer 0 forwards, layer 0 backwards, layer 1 forwards, ...
  weightIh: Parameter[];
  weightHh: Parameter[];
  biasIh: Parameter[];
  biasHh: Parameter[];
  readonly hiddenSize: number;
  readonly options: Required<RecurrentOptions>;

  constructor(gates: number, inputSize: number, hiddenSize: number, options: RecurrentOptions) {
    super();
    this.hiddenSize = hiddenSize;
    this.options = { ...defaults, ...options };
    const { numLayers, bias, bidirectional } = this.options;
    const ways = bidirectional ? 2 : 1;
    const runs = Array.from({ length: numLayers * ways }, (_, i) => i);
    const even = uniformInit(1 / Math.sqrt(hiddenSize));
    const make = (...columns: number[]): Parameter => parameter([gates * hiddenSize, ...columns], even);
    this.weightIh = runs.map((i) => make(i < ways ? inputSize : ways * hiddenSize));
    this.weightHh = runs.map(() => make(hiddenSize));
    this.biasIh = bias ? runs.map(() => make()) : [];
    this.biasHh = bias ? runs.map(() => make()) : [];
  }

  protected override members(): [string, Member][] {
    const ways = this.options.bidirectional ? 2 : 1;
    return this.weightIh.flatMap((weight, i) => {
      const suffix = `l${Math.floor(i / ways)}${i % ways === 1 ? '_reverse' : ''}`;
      const all = { weight_ih: weight, weight_hh: this.weightHh[i], bias_ih: this.biasIh[i], bias_hh: this.biasHh[i] };
      return Object.entries(all).flatMap(([key, x]): [string, Member][] => (x ? [[`${key}_${suffix}`, x]] : []));
    });
  }

  /** The next state of a run, the output first; `input` is the step's product with weightIh, (N, G H). */
  protected abstract step(input: Tensor, state: readonly Tensor[], run: number): Tensor[];

  /** x (L, N, D), states (layers * ways, N, H), default zeros -> (L, N, ways * H) and the last states. */
  protected read(x: Tensor, given: readonly (Tensor | undefined)[]): { output: Tensor; state: Tensor[] } {
    const { numLayers, batchFirst, dropout: p, bidirectional } = this.options;
    const name = this.constructor.name;
    if (x.ndim !== 3 || x.shape[2] !== this.weightIh[0]!.shape[1]) {
      const form = `[${batchFirst ? 'batch, steps' : 'steps, batch'}, ${this.weightIh[0]!.shape[1]}]`;
      throw new Error(`${name}: needs ${form}, got ${showShape(x.shape)}`);
    }
    let y = batchFirst ? transpose(x, 0, 1) : x;
    if (y.shape[0] === 0) throw new Error(`${name}: needs at least one step, got ${showShape(x.shape)}`);
    const shape = [this.weightIh.length, y.shape[1]!, this.hiddenSize];
    const first = given.map((own) => own ?? zeros(shape));
    for (const own of first) {
      if (own.shape.join() !== shape.join())
        throw new Error(`${name}: a state must be ${showShape(shape)}, got ${showShape(own.shape)}`);
    }
    const last: Tensor[][] = [];
    for (let layer = 0; layer < numLayers; layer++) {
      const outputs = (bidirectional ? [false, true] : [false]).map((back) => {
        const run = last.length;
        // One product for all steps; only the product with the state has to wait for the step before.
        const inputs = unbind(linear(y, this.weightIh[run]!, this.biasIh[run])); // (L, N, G H)
        let state = first.map((own) => select(own, 0, run));
        const steps = (back ? inputs.reverse() : inputs).map((input) => (state = this.step(input, state, run))[0]!);
        last.push(state);
        return stack(back ? steps.reverse() : steps); // (L, N, H)
      });
      y = concat(outputs, 2);
      if (layer + 1 < numLayers) y = dropout(y, p, { training: this.training });
    }
    const state = first.map((_, k) => stack(last.map((own) => own[k]!))); // (layers * ways, N, H)
    return { output: batchFirst ? transpose(y, 0, 1) : y, state };
  }

  override extraRepr(): string {
    const changed = Object.entries(this.options).filter(
      ([name, value]) => value !== defaults[name as keyof RecurrentOptions],
    );
    const sizes = [this.weightIh[0]!.shape[1], this.hiddenSize];
    return [...sizes, ...changed.map(([name, value]) => `${name}: ${value}`)].join(', ');
  }
}

/**
 * Long short-term memory (Hochreiter and Schmidhuber 1997, with forget gates), as PyTorch's nn.LSTM: gates
 * i, f, g, o; c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c').
 *
 * @example
 * const [output, [h, c]] = new LSTM(4, 8).forward(zeros(2, 5, 4));
 * output.shape; // [2, 5, 8]
 */
export class LSTM extends Recurrent {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super(4, inputSize, hiddenSize, options);
  }

  /** x (L, N, D), state (layers * ways, N, H) each, default zeros -> (L, N, ways * H) and the last state. */
  override forward(
    x: Tensor,
    [h, c]: readonly [h?: Tensor, c?: Tensor] = [],
  ): [output: Tensor, [h: Tensor, c: Tensor]] {
    const { output, state } = this.read(x, [h, c]);
    return [output, state as [Tensor, Tensor]];
  }

  protected override step(input: Tensor, [h, c]: readonly [Tensor, Tensor], run: number): Tensor[] {
    const gates = add(input, linear(h, this.weightHh[run]!, this.biasHh[run])); // (N, 4 H)
    const [i, f, g, o] = chunk(gates, 4, 1) as [Tensor, Tensor, Tensor, Tensor];
    const cell = add(mul(sigmoid(f), c), mul(sigmoid(i), tanh(g)));
    return [mul(sigmoid(o), tanh(cell)), cell];
  }
}

/**
 * Gated recurrent units (Cho et al. 2014), as PyTorch's nn.GRU: gates r, z, n;
 * n = tanh(n_x + sigmoid(r) n_h), h' = (1 - sigmoid(z)) n + sigmoid(z) h.
 *
 * @example
 * const [output, h] = new GRU(4, 8).forward(zeros(2, 5, 4));
 * output.shape; // [2, 5, 8]
 */
export class GRU extends Recurrent {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super(3, inputSize, hiddenSize, options);
  }

  /** x (L, N, D), h (layers * ways, N, H), default zeros -> (L, N, ways * H) and the last h. */
  override forward(x: Tensor, h?: Tensor): [output: Tensor, h: Tensor] {
    const { output, state } = this.read(x, [h]);
    return [output, state[0]!];
  }

  protected override step(input: Tensor, [h]: readonly [Tensor], run: number): Tensor[] {
    const own = linear(h, this.weightHh[run]!, this.biasHh[run]); // (N, 3 H)
    const [rx, zx, nx] = chunk(input, 3, 1) as [Tensor, Tensor, Tensor];
    const [rh, zh, nh] = chunk(own, 3, 1) as [Tensor, Tensor, Tensor];
    const z = sigmoid(add(zx, zh));
    const n = tanh(add(nx, mul(sigmoid(add(rx, rh)), nh)));
    return [add(n, mul(z, sub(h, n)))];
  }
}
