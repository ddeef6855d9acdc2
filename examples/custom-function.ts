/**
 * A function with a derivative of your own, as torch.autograd.Function: weights of one bit. The sign of a
 * weight has the gradient 0, so nothing learns; a straight-through estimator (Bengio et al. 2013) passes the
 * gradient on as if there were no sign, and a network whose weights are all +-1 tells two spirals apart.
 *
 *   npx tsx examples/custom-function.ts [steps]      default 100
 */
import { crossEntropy, defineFunction, linear, manualSeed, tensor, where } from '../autograd/index.ts';
import type { Tensor } from '../autograd/index.ts';
import { Linear, Module } from '../models/index.ts';
import { AdamW } from '../train/optim/index.ts';

const steps = Number(process.argv[2] ?? 100);

const sign = (x: Tensor): Tensor => x.ge(0).float().mul(2).sub(1);

/** +-1; the gradient passes where the weight lies within [-1, 1]. */
const binarise = defineFunction({
  name: 'binarise',
  forward: sign,
  vjp: ({ g, inputs: [x] }) => [where(x.abs().le(1), g, 0)],
  saves: ['inputs'],
});

class BinaryNet extends Module {
  readonly layers = [new Linear(6, 32), new Linear(32, 32), new Linear(32, 2)];
  readonly binary: (x: Tensor) => Tensor;

  constructor(binary: (x: Tensor) => Tensor) {
    super();
    this.binary = binary;
  }

  override forward(x: Tensor): Tensor {
    return this.layers.reduce((h, { weight, bias }, i) => {
      const y = linear(i === 0 ? h : h.tanh(), this.binary(weight)); // weights are +-1
      return y.div(Math.sqrt(weight.shape[1]!)).add(bias!);
    }, x);
  }
}

/** Two spirals, three quarters of a turn each; features are x, y and their products. */
const points = Array.from({ length: 200 }, (_, i) => {
  const [angle, label] = [(1.5 * Math.PI * (i >> 1)) / 100 + 0.5, i % 2];
  const [px, py] = [Math.cos(angle + label * Math.PI), Math.sin(angle + label * Math.PI)].map((v) => (v * angle) / 3);
  return { features: [px!, py!, px! * py!, px! ** 2, py! ** 2, 1], label };
});
const x = tensor(points.map(({ features }) => features));
const y = tensor(Int32Array.from(points, ({ label }) => label));

for (const [name, binary] of [
  ['sign alone', sign],
  ['straight through', binarise],
] as const) {
  manualSeed(0);
  const net = new BinaryNet(binary);
  const optimizer = new AdamW(net.parameters(), { lr: 0.01, weightDecay: 0 });
  const losses: Tensor[] = [];
  for (let step = 0; step < steps; step++) {
    const loss = crossEntropy(net.forward(x), y);
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    losses.push(loss.detach());
  }
  const [first, last] = [await losses[0]!.item(), await losses.at(-1)!.item()];
  const right = await net.forward(x).argmax(1).eq(y).float().mean().item();
  console.log(`${name.padEnd(16)}  loss ${first.toFixed(2)} -> ${last.toFixed(2)}, ${(100 * right).toFixed(0)}% right`);
}
