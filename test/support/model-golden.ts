// What the suites that compare a language model with Transformers share; test/golden/model_case.py writes the
// files.
import { readFile } from 'node:fs/promises';
import * as assert from 'uvu/assert';
import { assign, noGrad, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { Module } from '../../models/index.ts';
import { camelCase } from '../../models/names.ts';
import { AdamW, decayGroups } from '../../train/optim/index.ts';
import { goldenFile, gradientsByKey, largestDifference, norm, readGolden } from './golden.ts';

/** What Transformers computed, by name. */
export type Values = ReadonlyMap<string, Float32Array>;

/**
 * Losses of ten AdamW steps on one batch, before each step and after the last, and the norm of the last
 * logits.
 */
export interface TrainingGolden {
  losses: number[];
  logitsNorm: number;
}

export interface ModelGolden {
  inputs: Record<string, number[][]>;
  labels: number[][];
  loss: number;
  training: TrainingGolden;
}

/** NAME.json and NAME.safetensors. */
export async function readModelGolden<G extends ModelGolden>(name: string): Promise<{ golden: G; values: Values }> {
  const golden = JSON.parse(await readFile(goldenFile(`${name}.json`), 'utf8')) as G;
  return { golden, values: await readGolden(`${name}.safetensors`) };
}

export const i32 = (rows: readonly (readonly number[])[]): Tensor => tensor(rows, { dtype: 'i32' });

/** The largest difference of x and the golden's tensor, checked. */
export async function checkClose(x: Tensor, values: Values, name: string, tolerance = 1e-5): Promise<number> {
  const expected = values.get(name);
  assert.ok(expected, `the golden file has ${name}`);
  const difference = largestDifference(await x.data(), expected);
  assert.ok(difference <= tolerance, `${name} differs by ${difference}`);
  return difference;
}

export interface OutputOptions {
  readonly tolerance?: number;
  /** Our names, where they are not Transformers' in camelCase. */
  readonly names?: Readonly<Record<string, string>>;
}

/** Every `output.` of the golden, those of single layers as `output.NAME.INDEX`; the largest difference. */
export async function checkOutputs(
  output: object,
  values: Values,
  { tolerance, names = {} }: OutputOptions = {},
): Promise<number> {
  const found = output as Readonly<Record<string, Tensor | readonly Tensor[] | undefined>>;
  const keys = [...values.keys()].filter((key) => key.startsWith('output.'));
  assert.ok(keys.length > 0, 'the golden file has outputs');
  let worst = 0;
  for (const key of keys) {
    const [name, index] = key.slice('output.'.length).split('.') as [string, string?];
    const part = found[names[name] ?? camelCase(name)];
    const x = index === undefined ? (part as Tensor) : (part as readonly Tensor[])[Number(index)]!;
    worst = Math.max(worst, await checkClose(x, values, key, tolerance));
  }
  return worst;
}

/** What was found, for a suite to print. */
export const report = (name: string, found: Readonly<Record<string, number>>): string =>
  `  ${name}: ${Object.entries(found)
    .map(([what, off]) => `${what} ${off.toExponential(1)}`)
    .join(', ')}`;

export async function checkLoss(loss: Tensor, expected: number, tolerance = 1e-5): Promise<number> {
  const difference = Math.abs((await loss.item()) - expected);
  assert.ok(difference <= tolerance, `loss differs by ${difference} from ${expected}`);
  return difference;
}

export interface GradientOptions {
  /** Largest error of a gradient, relative to its norm. */
  readonly tolerance?: number;
  /**
   * Parameters whose gradient is 0 but for rounding, on both sides, and must be as small here as it is there:
   * a bias of the keys adds the same to all scores of a query, and one before an answer's logits the same to
   * all positions, which softmax ignores.
   */
  readonly vanishing?: RegExp;
  /** Parameters without a gradient. */
  readonly without?: readonly string[];
}

/** The largest error of a gradient after backward, relative to its norm; every parameter's is compared. */
export async function checkGradients(
  model: Module,
  values: Values,
  { tolerance = 1e-5, vanishing = /^$/, without = [] }: GradientOptions = {},
): Promise<number> {
  const expectedNames = [...values.keys()].filter((key) => key.startsWith('grad.'));
  const negligible = 1e-6 * Math.max(...expectedNames.map((key) => norm(values.get(key)!)));
  let worst = 0;
  let compared = 0;
  for (const [name, actual] of await gradientsByKey(model)) {
    const expected = values.get(`grad.${name}`);
    assert.is(actual === undefined, without.includes(name), `whether ${name} has a gradient`);
    if (!expected || !actual) continue;
    compared++;
    if (norm(expected) < negligible) {
      assert.match(name, vanishing);
      assert.ok(norm(actual) < negligible, `gradient of ${name} should vanish, its norm is ${norm(actual)}`);
      continue;
    }
    const error = norm(Array.from(actual, (value, i) => value - expected[i]!)) / norm(expected);
    assert.ok(error <= tolerance, `gradient of ${name} is off by ${error} of its norm`);
    worst = Math.max(worst, error);
  }
  assert.is(compared, expectedNames.length, 'gradients compared');
  return worst;
}

/** Checks outputs and loss, takes the loss backward and checks all gradients; how far each is off. */
export async function checkForwardBackward(
  model: Module,
  output: { readonly loss?: Tensor },
  { golden, values }: { readonly golden: Pick<ModelGolden, 'loss'>; readonly values: Values },
  options: GradientOptions = {},
): Promise<Record<'outputs' | 'loss' | 'gradients', number>> {
  const loss = output.loss!;
  loss.backward();
  return {
    outputs: await checkOutputs(output, values),
    loss: await checkLoss(loss, golden.loss),
    gradients: await checkGradients(model, values, options),
  };
}

/** Ten AdamW steps as test/golden/model_case.py takes them; the largest difference of a loss. */
export async function checkTraining(
  model: Module,
  forward: () => { readonly loss?: Tensor; readonly logits: Tensor },
  { losses, logitsNorm }: TrainingGolden,
  tolerance = 1e-4,
): Promise<number> {
  const optimizer = new AdamW(decayGroups(model.namedParameters(), 0.1), { lr: 1e-3, betas: [0.9, 0.95] });
  let worst = 0;
  for (const expected of losses.slice(0, 10)) {
    const { loss } = forward();
    loss!.backward();
    optimizer.step();
    optimizer.zeroGrad();
    worst = Math.max(worst, await checkLoss(loss!, expected, tolerance));
  }
  const { loss, logits } = noGrad(forward);
  await checkLoss(loss!, losses[10]!, tolerance);
  assert.ok(Math.abs(norm(await logits.data()) / logitsNorm - 1) <= tolerance, 'norm of the last logits');
  return worst;
}

/** Gives a decoder's classifier the head of test/golden/golden_rewards.py. */
export function setScore(model: Module): void {
  const { weight } = (model as Module & { readonly score: { readonly weight: Tensor } }).score;
  const values = Float32Array.from({ length: weight.size }, (_, i) => Math.cos(i));
  noGrad(() => assign(weight, tensor(values, { shape: [...weight.shape] })));
}
