// Llama, Qwen2 and Qwen3 against Transformers: the golden files are made by test/golden/golden_llama.py.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { noGrad } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM } from '../../models/index.ts';
import type { TokenInputs } from '../../models/index.ts';
import { goldenFile } from '../support/golden.ts';
import {
  checkClose,
  checkGradients,
  checkLoss,
  checkOutputs,
  checkTraining,
  i32,
  readModelGolden,
  report,
} from '../support/model-golden.ts';
import { checkTwoWays } from '../support/model-checks.ts';
import type { ModelGolden } from '../support/model-golden.ts';

const test = suite('llama');
const families = { llama: LlamaForCausalLM, qwen2: Qwen2ForCausalLM, qwen3: Qwen3ForCausalLM };

for (const [name, family] of Object.entries(families)) {
  const { golden, values } = await readModelGolden<ModelGolden & { positions: number[][] }>(name);
  const inputs = (): TokenInputs => ({
    inputIds: i32(golden.inputs['input_ids']!),
    attentionMask: i32(golden.inputs['attention_mask']!),
  });
  /** In training mode: dropout is 0. */
  const load = async (): Promise<LlamaForCausalLM> =>
    (await family.fromPretrained(goldenFile(`tiny-${name}`), {}, { log: assert.unreachable })).train();

  test(`${name}: logits, layers, attention weights, loss and gradients are those of Transformers`, async () => {
    const model = await load();
    const all = { ...inputs(), labels: i32(golden.labels), outputHiddenStates: true, outputAttentions: true };
    const output = model.forward(all);
    output.loss.backward();
    const off = await checkOutputs(output, values);
    assert.is(output.hiddenStates!.length, model.model.layers.length + 1);
    assert.is(output.attentions!.length, model.model.layers.length);
    const lossOff = await checkLoss(output.loss, golden.loss);
    const gradientsOff = await checkGradients(model, values);
    console.log(report(name, { outputs: off, loss: lossOff, gradients: gradientsOff }));
  });

  test(`${name}: the way without attention weights, and the one without logits, compute the same`, async () => {
    const model = await load();
    const ways = {
      plain: (labels: Tensor) => model.forward({ ...inputs(), labels }),
      lean: (labels: Tensor) => model.forward({ ...inputs(), labels, outputLogits: false }),
    };
    await checkTwoWays(model, ways, { golden, values });
  });

  test(`${name}: other positions, up to the last`, async () => {
    const model = await load();
    const { logits } = noGrad(() => model.forward({ ...inputs(), positionIds: i32(golden.positions) }));
    await checkClose(logits, values, 'positions.logits', 1e-4); // Transformers' angles are rounded in f32
  });

  test(`${name}: ten AdamW steps have the losses of PyTorch`, async () => {
    const model = await load();
    const labels = i32(golden.labels);
    const off = await checkTraining(model, () => model.forward({ ...inputs(), labels }), golden.training);
    console.log(report(name, { 'losses of AdamW': off }));
  });
}

test.run();
