// Marian against Transformers: the golden files are made by test/golden/golden_marian.py.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { noGrad } from '../../autograd/index.ts';
import { MarianMTModel } from '../../models/index.ts';
import type { Seq2SeqInputs } from '../../models/index.ts';
import { goldenFile } from '../support/golden.ts';
import { checkClose, checkLoss, i32, readModelGolden } from '../support/model-golden.ts';
import type { ModelGolden } from '../support/model-golden.ts';
import { checkSeq2Seq } from '../support/seq2seq-checks.ts';

interface MarianGolden extends ModelGolden {
  decoder: Record<'input_ids' | 'attention_mask', number[][]>;
  smoothedLoss: number;
}

const test = suite('marian');

for (const name of ['marian', 'marian-apart']) {
  const { golden, values } = await readModelGolden<MarianGolden>(name);
  const inputs = (): Seq2SeqInputs => ({
    inputIds: i32(golden.inputs['input_ids']!),
    attentionMask: i32(golden.inputs['attention_mask']!),
  });
  /** In training mode: dropout is 0. */
  const load = async (): Promise<MarianMTModel> =>
    (await MarianMTModel.fromPretrained(goldenFile(`tiny-${name}`), {}, { log: assert.unreachable })).train();

  await checkSeq2Seq(test, name, MarianMTModel);

  test(`${name}: hidden states of the embeddings and of each layer`, async () => {
    const model = await load();
    const { encoderHiddenStates } = noGrad(() =>
      model.forward({ ...inputs(), labels: i32(golden.labels), outputHiddenStates: true }),
    );
    assert.is(encoderHiddenStates!.length, model.model.encoder.layers.length + 1);
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
}

test.run();
