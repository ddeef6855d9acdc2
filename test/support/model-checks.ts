// What the suites of language models check alike, each of a model of its own.
import * as assert from 'uvu/assert';
import { noGrad, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { Module, Parameter } from '../../models/index.ts';
import { throwsOneLine } from './failure.ts';
import { checkClose, checkGradients, checkLoss, i32 } from './model-golden.ts';
import type { GradientOptions, ModelGolden, Values } from './model-golden.ts';

/**
 * Each parameter's deviation from 0 is that of its initialiser, to five standard errors; vectors' exactly.
 */
export async function checkInitialWeights(
  model: Module,
  expected: (name: string, parameter: Parameter) => number,
): Promise<void> {
  for (const [name, p] of model.namedParameters()) {
    const list = Array.from(await p.data());
    const std = Math.sqrt(list.reduce((sum, v) => sum + v * v, 0) / list.length);
    const wanted = expected(name, p);
    const slack = p.ndim === 1 ? 0 : (5 * wanted) / Math.sqrt(list.length);
    assert.ok(Math.abs(std - wanted) <= slack, `${name}: deviation ${std}`);
  }
}

/** What a decoder of 20 tokens and 10 positions refuses, each in one line. */
export function checkRefusedInputs<Inputs>(forward: (inputs: Inputs) => unknown): void {
  const inputIds = i32([[1, 2, 3]]);
  const bad: readonly (readonly [inputs: object, message: RegExp])[] = [
    [{ inputIds: tensor([1, 2]) }, /inputIds must be \[batch, tokens\] and not empty, got \[2\]/],
    [{ inputIds: i32([new Array<number>(11).fill(1)]) }, /11 tokens are more than the model's 10 positions/],
    [{ inputIds: i32([[1, 20]]) }, /token id 20 is outside the vocabulary of this model, 0 to 19/],
    [{ inputIds: i32([[1, -1]]) }, /token id -1 is outside/],
    [{ inputIds, positionIds: i32([[0, 1, 10]]) }, /position 10 is outside/],
    [{ inputIds, attentionMask: i32([[1, 1]]) }, /attentionMask is \[1, 2\], to match inputIds it must be/],
    [{ inputIds, labels: i32([[1, 2]]) }, /labels are \[1, 2\]; one for each token is needed, \[1, 3\]/],
    [{ inputIds, labels: i32([[1, 2, 20]]) }, /label 20 is out of range for 20 classes.* \(-100 is ignored\)/],
    [{ inputIds, outputLogits: false }, /without logits there is only a loss, and it needs labels/],
  ];
  for (const [inputs, message] of bad) throwsOneLine(() => forward(inputs as Inputs), message);
}

/** A model's two ways to a loss. */
interface TwoWays {
  plain(labels: Tensor): { readonly logits: Tensor; readonly loss: Tensor };
  lean(labels: Tensor): { readonly loss: Tensor };
}

/**
 * The way without attention weights, and the one without logits, against the golden; both give what `others`
 * names besides.
 */
export async function checkTwoWays(
  model: Module,
  { plain, lean }: TwoWays,
  { golden, values }: { readonly golden: ModelGolden; readonly values: Values },
  { others = [], ...options }: GradientOptions & { readonly others?: readonly string[] } = {},
): Promise<void> {
  const labels = i32(golden.labels);
  const output = noGrad(() => plain(labels));
  assert.equal(Object.keys(output), ['logits', 'loss', ...others]);
  await checkClose(output.logits, values, 'output.logits');
  const withoutLogits = lean(labels);
  assert.equal(Object.keys(withoutLogits), ['loss', ...others]);
  withoutLogits.loss.backward();
  await checkLoss(withoutLogits.loss, golden.loss);
  await checkGradients(model, values, options);
}
