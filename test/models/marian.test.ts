// Marian against Transformers: the golden files are made by test/golden/golden_marian.py.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { noGrad } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { MarianMTModel } from '../../models/index.ts';
import type { Seq2SeqInputs } from '../../models/index.ts';
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

interface MarianGolden extends ModelGolden {
  decoder: Record<'input_ids' | 'attention_mask', number[][]>;
  smoothedLoss: number;
}

const test = suite('marian');
/** A bias of the keys adds the same to all scores of a query. */
const vanishing = /k_proj\.bias$/;

for (const name of ['marian', 'marian-apart']) {
  const { golden, values } = await readModelGolden<MarianGolden>(name);
  const inputs = (): Seq2SeqInputs => ({
    inputIds: i32(golden.inputs['input_ids']!),
    attentionMask: i32(golden.inputs['attention_mask']!),
  });
  /** In training mode: dropout is 0. */
  const load = async (): Promise<MarianMTModel> =>
    (await MarianMTModel.fromPretrained(goldenFile(`tiny-${name}`), {}, { log: assert.unreachable })).train();

  test(`${name}: logits, layers, attention weights, loss and gradients are those of Transformers`, async () => {
    const model = await load();
    const all = { ...inputs(), labels: i32(golden.labels), outputHiddenStates: true, outputAttentions: true };
    const output = model.forward(all);
    output.loss.backward();
    const off = await checkOutputs(output, values);
    const { layers } = model.model.encoder;
    assert.is(output.encoderHiddenStates!.length, layers.length + 1);
    assert.is(output.encoderHiddenStates!.at(-1), output.encoderLastHiddenState);
    const lossOff = await checkLoss(output.loss, golden.loss);
    const gradientsOff = await checkGradients(model, values, { vanishing });
    console.log(report(name, { outputs: off, loss: lossOff, gradients: gradientsOff }));
  });

  test(`${name}: the way without attention weights, and the one without logits, compute the same`, async () => {
    const model = await load();
    const ways = {
      plain: (labels: Tensor) => model.forward({ ...inputs(), labels }),
      lean: (labels: Tensor) => model.forward({ ...inputs(), labels, outputLogits: false }),
    };
    await checkTwoWays(model, ways, { golden, values }, { others: ['encoderLastHiddenState'], vanishing });
  });

  test(`${name}: smoothed labels, with and without logits`, async () => {
    const model = await load();
    const smoothed = { ...inputs(), labels: i32(golden.labels), labelSmoothing: 0.1 };
    await checkLoss(noGrad(() => model.forward(smoothed)).loss, golden.smoothedLoss);
    await checkLoss(noGrad(() => model.forward({ ...smoothed, outputLogits: false })).loss, golden.smoothedLoss);
  });

  test(`${name}: given inputs and a mask of the decoder, and an encoder that ran before`, async () => {
    const model = await load();
    const target = {
      decoderInputIds: i32(golden.decoder.input_ids),
      decoderAttentionMask: i32(golden.decoder.attention_mask),
    };
    const { logits, encoderLastHiddenState } = noGrad(() => model.forward({ ...inputs(), ...target }));
    await checkClose(logits, values, 'masked.logits');
    const encoderOutputs = { lastHiddenState: encoderLastHiddenState };
    const { attentionMask } = inputs();
    const again = noGrad(() => model.forward({ encoderOutputs, attentionMask, ...target }));
    await checkClose(again.logits, values, 'masked.logits');
  });

  test(`${name}: ten AdamW steps have the losses of PyTorch`, async () => {
    const model = await load();
    const labels = i32(golden.labels);
    const off = await checkTraining(model, () => model.forward({ ...inputs(), labels }), golden.training);
    console.log(report(name, { 'losses of AdamW': off }));
  });
}

test.run();
