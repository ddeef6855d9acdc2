// A sparse autoencoder: a layer's activations as sums of few of many directions.
import {
  add,
  any,
  assign,
  compile,
  div,
  ge,
  linear,
  matmul,
  mean,
  mul,
  noGrad,
  relu,
  scope,
  select,
  sqrt,
  sub,
  sum,
  tensor,
  topk,
  where,
  zeros,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import { Module, ModuleBuffer, Parameter } from '../../models/index.ts';
import { SavedWeights } from '../../models/io/safetensors.ts';
import { AdamW, LinearLR } from '../optim/index.ts';
import { readModule } from './module-file.ts';
import { meanOf } from './points.ts';
import type { Points } from './points.ts';

export interface AutoencoderShape {
  /** Numbers of an activation. */
  readonly width: number;
  /** Directions to choose from. */
  readonly features: number;
  /** Of how many at most an activation is the sum. */
  readonly active: number;
}

/**
 * TopK sparse autoencoder (Gao et al. 2024): of an activation x (N, D), moved and scaled, the `active`
 * largest of relu(W_e (x - b) + b_e) are kept, codes (N, F), and the sum of their directions, unit rows of
 * W_d, is the reconstruction (N, D).
 *
 * @example
 * const autoencoder = new SparseAutoencoder({ width: 8, features: 32, active: 4 });
 * autoencoder.forward(randn(10, 8)).shape; // [10, 8]
 */
export class SparseAutoencoder extends Module {
  readonly encoder: Parameter; // (F, D)
  readonly encoderBias: Parameter; // (F)
  readonly decoder: Parameter; // (F, D), rows of length 1
  readonly decoderBias: Parameter; // (D), in scaled units
  /** By what activations are divided after `mean` (D) is taken off: their deviation, one number. */
  readonly mean: ModuleBuffer;
  readonly scale: ModuleBuffer;
  /** How many features are active at most, for files; `shape` has it as a number. */
  readonly mostActive: ModuleBuffer;
  #active: number;

  /** Errors, each one line: fewer features than may be active, or none. */
  constructor({ width, features, active }: AutoencoderShape, seed = 0) {
    super();
    if (!(Number.isInteger(active) && active >= 1 && active <= features))
      throw new Error(
        `SparseAutoencoder: ${active} of ${features} features cannot be active; give 1 to ${features}, say 16 of ` +
          `${8 * width}`,
      );
    const random = new Random(seed, 1);
    const rows = new Float32Array(features * width);
    for (let f = 0; f < features; f++) {
      const row = Float64Array.from({ length: width }, () => random.normal());
      const norm = Math.hypot(...row);
      rows.set(
        row.map((x) => x / norm),
        f * width,
      );
    }
    // The encoder begins as the decoder's transpose, so that few features are dead from the start.
    this.encoder = new Parameter(tensor(rows, { shape: [features, width] }));
    this.decoder = new Parameter(tensor(rows, { shape: [features, width] }));
    this.encoderBias = new Parameter(zeros([features]));
    this.decoderBias = new Parameter(zeros([width]));
    this.mean = new ModuleBuffer(zeros([width]));
    this.scale = new ModuleBuffer(tensor([1]));
    this.mostActive = new ModuleBuffer(tensor([active]));
    this.#active = active;
  }

  /** Reads what `saveModule` wrote. Error, one line: a file of something else. */
  static async load(path: string): Promise<SparseAutoencoder> {
    const weights = await SavedWeights.open(path);
    const has = weights.names().includes('decoder');
    const shape = has ? weights.entry('decoder').shape : [];
    await weights.close();
    if (shape.length !== 2) throw new Error(`${path} holds no sparse autoencoder; name a file of one, or a new one`);
    const made = new SparseAutoencoder({ width: shape[1]!, features: shape[0]!, active: 1 });
    await readModule(path, made);
    made.#active = await made.mostActive.item();
    return made;
  }

  get shape(): AutoencoderShape {
    const [features, width] = this.decoder.shape as [number, number];
    return { width, features, active: this.#active };
  }

  /** x (N, D) as it is encoded: (N, D) of mean 0 and deviation 1 over the texts it was trained on. */
  scaled(x: Tensor): Tensor {
    return div(sub(x, this.mean), this.scale);
  }

  /** Codes before the largest are chosen, of scaled activations (N, D): (N, F). */
  #before(x: Tensor): Tensor {
    return linear(sub(x, this.decoderBias), this.encoder, this.encoderBias);
  }

  /** What the loss is of: codes, reconstruction and codes before the choice, of scaled activations (N, D). */
  run(x: Tensor): { readonly codes: Tensor; readonly made: Tensor; readonly before: Tensor } {
    const before = this.#before(x);
    const codes = largest(before, this.#active);
    return { codes, made: add(matmul(codes, this.decoder), this.decoderBias), before };
  }

  /** Activations (N, D) to codes (N, F), of which at most `active` in a row are above 0. */
  encode(x: Tensor): Tensor {
    return largest(this.#before(this.scaled(x)), this.#active);
  }

  /** Codes (N, F) to activations (N, D). */
  decode(codes: Tensor): Tensor {
    return add(mul(add(matmul(codes, this.decoder), this.decoderBias), this.scale), this.mean);
  }

  /** The reconstruction of activations (..., D). */
  override forward(x: Tensor): Tensor {
    const flat = x.reshape(-1, x.shape.at(-1)!);
    return this.decode(this.encode(flat)).reshape(...x.shape);
  }
}

/** The `k` largest of each row, if above 0; 0 elsewhere. */
function largest(x: Tensor, k: number): Tensor {
  const least = noGrad(() => select(topk(x, k)[0], 1, k - 1).reshape(-1, 1)); // (N, 1)
  return where(ge(x, least), relu(x), 0);
}

export interface AutoencoderOptions {
  /** Default 600. */
  readonly steps?: number;
  /** Activations of a step; default 512. */
  readonly batchSize?: number;
  /** Of AdamW, falling linearly to 0. Default 2e-3. */
  readonly lr?: number;
  /** Idle steps after which a feature is dead, and drawn to what the others miss; default 50. */
  readonly deadAfter?: number;
  readonly seed?: number;
  /** Told the share of the variance that the reconstructions miss. */
  readonly onProgress?: (step: number, steps: number, unexplained: number) => void;
}

/**
 * Trains an autoencoder on activations [count, width]: squared error, and 1/32 of that of what is missed, by
 * the dead features (AuxK); the decoder's rows keep length 1 and get no gradient along themselves (Bricken et
 * al. 2023). Errors, each one line: no activations, numbers that are not finite, all of them alike.
 *
 * @example
 * const values = Float32Array.from({ length: 64 * 8 }, (_, i) => Math.sin(i));
 * const points = { count: 64, width: 8, values };
 * const autoencoder = await trainAutoencoder(points, { features: 16, active: 2 }, { steps: 5 });
 */
export async function trainAutoencoder(
  { count, width, values }: Points,
  { features, active }: Omit<AutoencoderShape, 'width'>,
  { steps = 600, batchSize = 512, lr = 2e-3, deadAfter = 50, seed = 0, onProgress }: AutoencoderOptions = {},
): Promise<SparseAutoencoder> {
  const autoencoder = new SparseAutoencoder({ width, features, active }, seed);
  const { middle, deviation } = momentsOf({ count, width, values });
  assign(autoencoder.mean, tensor(middle));
  assign(autoencoder.scale, tensor([deviation]));
  const optimizer = new AdamW(autoencoder.parameters(), { lr, weightDecay: 0 });
  const scheduler = new LinearLR(optimizer, { startFactor: 1, endFactor: 0.01, totalIters: steps });
  const idle = zeros([features]).keep();
  const auxiliary = Math.min(features, Math.max(1, Math.floor(width / 2)));
  const { decoder } = autoencoder;
  const lengths = (): Tensor => sqrt(sum(mul(decoder, decoder), 1, { keepDims: true })); // (F, 1)
  const step = compile(
    (x: Tensor) => {
      const scaled = noGrad(() => autoencoder.scaled(x));
      const { codes, made, before } = autoencoder.run(scaled);
      const missed = sub(scaled, made); // (N, D)
      const error = mean(mul(missed, missed));
      const isDead = noGrad(() => ge(idle, deadAfter).reshape(1, -1)); // (1, F)
      const others = largest(where(isDead, before, -1e30), auxiliary);
      const rest = sub(matmul(others, decoder), missed.detach());
      const ofDead = div(mean(mul(rest, rest)), add(error.detach(), 1e-12));
      add(error, mul(ofDead, 1 / 32)).backward();
      noGrad(() => {
        const gradient = decoder.grad!;
        const along = sum(mul(gradient, decoder), 1, { keepDims: true }); // (F, 1), rows have length 1
        decoder.grad = sub(gradient, mul(along, decoder));
        optimizer.step();
        optimizer.zeroGrad();
        assign(decoder, div(decoder, lengths()));
        const fired = any(ge(codes, 1e-9), 0); // (F)
        assign(idle, where(fired, 0, add(idle, 1)));
      });
      return error.detach();
    },
    { name: 'sparse autoencoder', log: () => undefined },
  );
  const random = new Random(seed);
  for (let i = 0; i < steps; i++) {
    using _ = scope();
    const batch = new Float32Array(batchSize * width);
    for (let row = 0; row < batchSize; row++) {
      const from = random.int(count) * width;
      for (let d = 0; d < width; d++) batch[row * width + d] = values[from + d]!;
    }
    const error = step(tensor(batch, { shape: [batchSize, width] }));
    scheduler.step();
    if (onProgress && (i % 20 === 19 || i === steps - 1)) onProgress(i + 1, steps, await error.item());
  }
  return autoencoder;
}

/** The mean of activations, and one deviation for all of their numbers. */
function momentsOf(points: Points): { readonly middle: Float32Array; readonly deviation: number } {
  const { count, width, values } = points;
  if (count === 0) throw new Error('trainAutoencoder: there are no activations to learn from; give texts');
  const middle = meanOf(points);
  let square = 0;
  for (let i = 0; i < count * width; i++) square += (values[i]! - middle[i % width]!) ** 2 / (count * width);
  if (!(square > 0 && square < Infinity))
    throw new Error(
      `trainAutoencoder: the activations' variance is ${square}; they are all alike, or not finite numbers`,
    );
  return { middle: Float32Array.from(middle), deviation: Math.sqrt(square) };
}
