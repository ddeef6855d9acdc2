// GPT-2 against Transformers: the golden files are made by test/golden/golden_gpt2.py.
import { readFile } from 'node:fs/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { noGrad, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { GPT2LMHeadModel } from '../../models/index.ts';
import type { GPT2Settings, TokenInputs } from '../../models/index.ts';
import { AdamW, decayGroups } from '../../train/optim/index.ts';
import { goldenFile, largestDifference, norm, readGolden } from '../support/golden.ts';

interface Golden {
  inputs: Record<'input_ids' | 'attention_mask', number[][]>;
  labels: number[][];
  positions: number[][];
  loss: number;
  training: { losses: number[]; logitsNorm: number };
}

const golden = JSON.parse(await readFile(goldenFile('gpt2.json'), 'utf8')) as Golden;
const values = await readGolden('gpt2.safetensors');
const test = suite('gpt2');

const i32 = (rows: readonly (readonly number[])[]): Tensor => tensor(rows, { dtype: 'i32' });
const inputs = (): TokenInputs => ({
  inputIds: i32(golden.inputs.input_ids),
  attentionMask: i32(golden.inputs.attention_mask),
});
/** In training mode: dropout is 0. */
const load = async (settings?: GPT2Settings): Promise<GPT2LMHeadModel> =>
  (await GPT2LMHeadModel.fromPretrained(goldenFile('tiny-gpt2'), settings)).train();

async function close(actual: Tensor, name: string, tolerance = 1e-5): Promise<number> {
  const difference = largestDifference(await actual.data(), values.get(name)!);
  assert.ok(difference <= tolerance, `${name} differs by ${difference}`);
  return difference;
}

test('logits, layers, attention weights, loss and gradients are those of Transformers', async () => {
  const model = await load();
  const all = { ...inputs(), labels: i32(golden.labels), outputHiddenStates: true, outputAttentions: true };
  const { logits, loss, hiddenStates, attentions } = model.forward(all);
  loss.backward();
  const off = await close(logits, 'output.logits');
  assert.is(hiddenStates!.length, 3);
  assert.is(attentions!.length, 2);
  for (const [i, x] of hiddenStates!.entries()) await close(x, `output.hidden_states.${i}`);
  for (const [i, x] of attentions!.entries()) await close(x, `output.attentions.${i}`);
  const lossOff = Math.abs((await loss.item()) - golden.loss);
  assert.ok(lossOff <= 1e-5, `loss differs by ${lossOff}`);
  let worst = 0;
  const parameters = model.namedParameters();
  assert.equal(
    parameters.map(([name]) => `grad.${name}`).sort(),
    [...values.keys()].filter((name) => name.startsWith('grad.')).sort(),
  );
  for (const [name, { grad }] of parameters) {
    const expected = values.get(`grad.${name}`)!;
    const actual = await grad!.data();
    const error = norm(Array.from(actual, (value, i) => value - expected[i]!)) / norm(expected);
    assert.ok(error <= 1e-5, `gradient of ${name} is off by ${error} of its norm`);
    worst = Math.max(worst, error);
  }
  console.log(
    `  outputs ${off.toExponential(1)}, loss ${lossOff.toExponential(1)}, gradients ${worst.toExponential(1)} relative`,
  );
});

test('the way without attention weights, and the one without logits, compute the same', async () => {
  const model = await load();
  const labels = i32(golden.labels);
  const plain = noGrad(() => model.forward({ ...inputs(), labels }));
  assert.equal(Object.keys(plain), ['logits', 'loss']);
  await close(plain.logits, 'output.logits');
  const lean = model.forward({ ...inputs(), labels, outputLogits: false });
  assert.equal(Object.keys(lean), ['loss']);
  lean.loss.backward();
  assert.ok(Math.abs((await lean.loss.item()) - golden.loss) <= 1e-5);
  for (const [name, { grad }] of model.namedParameters()) await close(grad!, `grad.${name}`);
});

test('other positions and other scales of the scores', async () => {
  const positionIds = i32(golden.positions);
  const [moved, scaled] = [await load(), await load({ scaleAttnByInverseLayerIdx: true })];
  await close(
    noGrad(() => moved.forward({ ...inputs(), positionIds }).logits),
    'positions.logits',
  );
  await close(
    noGrad(() => scaled.forward(inputs()).logits),
    'scaled.logits',
  );
});

test('ten AdamW steps have the losses of PyTorch', async () => {
  const model = await load();
  const labels = i32(golden.labels);
  const optimizer = new AdamW(decayGroups(model.namedParameters(), 0.1), { lr: 1e-3, betas: [0.9, 0.95] });
  const { losses, logitsNorm } = golden.training;
  let worst = 0;
  for (const expected of losses.slice(0, 10)) {
    const { loss } = model.forward({ ...inputs(), labels });
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    const off = Math.abs((await loss.item()) - expected);
    assert.ok(off <= 1e-4, `loss differs by ${off} from ${expected}`);
    worst = Math.max(worst, off);
  }
  const { loss, logits } = noGrad(() => model.forward({ ...inputs(), labels }));
  assert.ok(Math.abs((await loss.item()) - losses[10]!) <= 1e-4);
  assert.ok(Math.abs(norm(await logits.data()) / logitsNorm - 1) <= 1e-4);
  console.log(`  AdamW: losses ${worst.toExponential(1)}`);
});

test.run();
