/**
 * A convolutional network reads digits. MNIST is not in any npm package of this project, so the digits are
 * drawn here: a font of 5 x 7 dots, turned, scaled, moved and covered with noise, each drawing another one.
 *
 *   npx tsx examples/cnn-digits.ts [steps]      default 150; half a minute on two CPU cores
 */
import { compile, crossEntropy, manualSeed, noGrad, tensor } from '../autograd/index.ts';
import type { Tensor } from '../autograd/index.ts';
import { BatchNorm2d, Conv2d, Linear, MaxPool2d, Module } from '../models/index.ts';
import { Random } from '../train/index.ts';
import { AdamW } from '../train/optim/index.ts';

const steps = Number(process.argv[2] ?? 150);
const [side, batch] = [20, 64];

/** Digits 0 to 9: seven rows of five dots, each row a number in base 32. */
const font = 'ehjlphe 4c4444e eh1248v v2421he 26aiv22 vgu11he 68guhhe v124888 ehhehhe ehhf12c'.split(' ');

/** Ink of a digit's font at a place, 0 or 1. */
function ink(digit: number, column: number, row: number): number {
  const inside = column >= 0 && column < 5 && row >= 0 && row < 7;
  return inside ? (parseInt(font[digit]![row]!, 32) >> (4 - column)) & 1 : 0;
}

/** One digit, side x side numbers of about 0 to 1. */
function draw(digit: number, random: Random): number[] {
  const between = (low: number, high: number): number => low + (high - low) * random.uniform();
  const [turn, size, dx, dy] = [between(-0.35, 0.35), between(1.7, 2.4), between(-2.5, 2.5), between(-2, 2)];
  return Array.from({ length: side * side }, (_, i) => {
    const [x, y] = [(i % side) - side / 2 - dx, Math.floor(i / side) - side / 2 - dy];
    const column = Math.round((x * Math.cos(turn) + y * Math.sin(turn)) / size + 2);
    const row = Math.round((y * Math.cos(turn) - x * Math.sin(turn)) / size + 3);
    return ink(digit, column, row) + between(-0.3, 0.3);
  });
}

/** `count` drawings (N, 1, side, side) and their labels; every seed draws others. */
function drawings(count: number, seed: number): [x: Tensor, y: Tensor] {
  const random = new Random(seed, 0);
  const labels = Array.from({ length: count }, () => random.int(10));
  const pixels = Float32Array.from(labels.flatMap((digit) => draw(digit, random)));
  return [tensor(pixels, { shape: [count, 1, side, side] }), tensor(labels, { dtype: 'i32' })];
}

class DigitNet extends Module {
  readonly conv1 = new Conv2d(1, 8, 3, { padding: 1, bias: false });
  readonly norm1 = new BatchNorm2d(8);
  readonly conv2 = new Conv2d(8, 16, 3, { padding: 1, bias: false });
  readonly norm2 = new BatchNorm2d(16);
  readonly pool = new MaxPool2d(2);
  readonly head = new Linear(16 * 5 * 5, 10);

  override forward(x: Tensor): Tensor {
    const half = this.pool.forward(this.norm1.forward(this.conv1.forward(x)).relu()); // (N, 8, 10, 10)
    const quarter = this.pool.forward(this.norm2.forward(this.conv2.forward(half)).relu()); // (N, 16, 5, 5)
    return this.head.forward(quarter.flatten(1));
  }
}

manualSeed(0);
const model = new DigitNet();
const optimizer = new AdamW(model.parameters(), { lr: 3e-3 });
const train = compile((x: Tensor, y: Tensor) => {
  const loss = crossEntropy(model.forward(x), y);
  loss.backward();
  optimizer.step();
  optimizer.zeroGrad();
  return loss.detach();
});
for (let step = 0; step <= steps; step++) {
  const loss = train(...drawings(batch, step));
  if (step % Math.ceil(steps / 5) === 0) console.log(`step ${step}  loss ${(await loss.item()).toFixed(3)}`);
}
const [x, y] = drawings(500, 1_000_000); // none of them was seen
const guesses = noGrad(() => model.eval().forward(x)).argmax(1);
const right = await guesses.eq(y).float().mean().item();
console.log(`${(100 * right).toFixed(1)}% of 500 new digits are right`);
