// GPT-2 against Transformers: the golden files are made by test/golden/golden_gpt2.py.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { noGrad } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { GPT2LMHeadModel } from '../../models/index.ts';
import type { GPT2Settings, TokenInputs } from '../../models/index.ts';
import { goldenFile } from '../support/golden.ts';
import {
  checkForwardBackward,
  checkClose,
  checkTraining,
  i32,
  readModelGolden,
  report,
} from '../support/model-golden.ts';
import { checkTwoWays } from '../support/model-checks.ts';
import type { ModelGolden } from '../support/model-golden.ts';

const { golden, values } = await readModelGolden<ModelGolden & { positions: number[][] }>('gpt2');
const test = suite('gpt2');

const inputs = (): TokenInputs => ({
  inputIds: i32(golden.inputs['input_ids']!),
  attentionMask: i32(golden.inputs['attention_mask']!),
});
/** In training mode: dropout is 0. */
const load = async (settings?: GPT2Settings): Promise<GPT2LMHeadModel> =>
  (await GPT2LMHeadModel.fromPretrained(goldenFile('tiny-gpt2'), settings)).train();

test('logits, layers, attention weights, loss and gradients are those of Transformers', async () => {
  const model = await load();
  const all = { ...inputs(), labels: i32(golden.labels), outputHiddenStates: true, outputAttentions: true };
  const output = model.forward(all);
  const found = await checkForwardBackward(model, output, { golden, values });
  assert.is(output.hiddenStates!.length, 3);
  assert.is(output.attentions!.length, 2);
  console.log(report('gpt2', found));
});

test('the way without attention weights, and the one without logits, compute the same', async () => {
  const model = await load();
  const ways = {
    plain: (labels: Tensor) => model.forward({ ...inputs(), labels }),
    lean: (labels: Tensor) => model.forward({ ...inputs(), labels, outputLogits: false }),
  };
  await checkTwoWays(model, ways, { golden, values });
});

test('other positions and other scales of the scores', async () => {
  const positionIds = i32(golden.positions);
  const [moved, scaled] = [await load(), await load({ scaleAttnByInverseLayerIdx: true })];
  const logits = noGrad(() => [moved.forward({ ...inputs(), positionIds }).logits, scaled.forward(inputs()).logits]);
  await checkClose(logits[0]!, values, 'positions.logits');
  await checkClose(logits[1]!, values, 'scaled.logits');
});

test('ten AdamW steps have the losses of PyTorch', async () => {
  const model = await load();
  const labels = i32(golden.labels);
  const off = await checkTraining(model, () => model.forward({ ...inputs(), labels }), golden.training);
  console.log(report('gpt2', { 'losses of AdamW': off }));
});

test.run();
