/**
 * How sharp is the minimum? Products of the Hessian with vectors, without the Hessian (Pearlmutter 1994), and
 * its largest eigenvalue by power iteration.
 *
 *   npx tsx examples/hessian-vector-product.ts [rounds]      default 20
 */
import { assign, crossEntropy, grad, manualSeed, noGrad, randint, randLike, randn } from '../autograd/index.ts';
import type { Tensor } from '../autograd/index.ts';
import { Activation, Linear, Sequential } from '../models/index.ts';

const rounds = Number(process.argv[2] ?? 20);
manualSeed(0);
const model = new Sequential(new Linear(8, 16), new Activation('tanh'), new Linear(16, 3));
const parameters = model.parameters();
const [x, y] = [randn(64, 8), randint(0, 3, [64])];
const loss = (): Tensor => crossEntropy(model.forward(x), y);

type Vector = readonly Tensor[]; // one tensor for each parameter
const dot = (a: Vector, b: Vector): Tensor => a.map((part, i) => part.mul(b[i]!).sum()).reduce((p, q) => p.add(q));

/** H v is the gradient of g . v, where g, the gradient of the loss, stays a function of the parameters. */
function hessianTimes(v: Vector): Vector {
  const g = grad(loss(), parameters, { createGraph: true });
  return grad(dot(g, v), parameters);
}

/** The same by a difference of gradients, at two points along v. */
function differenceOfGradients(v: Vector, h: number): Vector {
  const here = parameters.map((p) => noGrad(() => p.clone()));
  const gradientAt = (t: number): Vector => {
    noGrad(() => parameters.forEach((p, i) => assign(p, here[i]!.add(v[i]!.mul(t)))));
    return grad(loss(), parameters);
  };
  const [after, before] = [gradientAt(h), gradientAt(-h)];
  noGrad(() => parameters.forEach((p, i) => assign(p, here[i]!)));
  return after.map((part, i) => part.sub(before[i]!).div(2 * h));
}

let v: Vector = parameters.map((p) => randLike(p).sub(0.5));
const [exact, differences] = [hessianTimes(v), differenceOfGradients(v, 1e-2)];
const gap = exact.map((part, i) => part.sub(differences[i]!));
const error = Math.sqrt((await dot(gap, gap).item()) / (await dot(exact, exact).item()));
console.log(`H v against differences of gradients: relative error ${error.toExponential(1)}`);

let eigenvalue = 0;
for (let round = 1; round <= rounds; round++) {
  const length = dot(v, v).sqrt();
  v = v.map((part) => part.div(length));
  const product = hessianTimes(v);
  eigenvalue = await dot(v, product).item(); // Rayleigh's quotient
  v = product;
  if (round % Math.ceil(rounds / 4) === 0) console.log(`round ${round}  largest eigenvalue ${eigenvalue.toFixed(4)}`);
}
console.log(
  `gradient descent is stable up to a learning rate of 2 / ${eigenvalue.toFixed(2)} = ${(2 / eigenvalue).toFixed(2)}`,
);
