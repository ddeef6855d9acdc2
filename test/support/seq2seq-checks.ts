// What the suites of encoder-decoders compare with Transformers alike; test/golden/model_case.py writes the
// files.
import type { Test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Tensor } from '../../autograd/index.ts';
import { generate, readGenerationConfig } from '../../models/index.ts';
import type { GenerationOptions, LoadOptions, Seq2SeqInputs, Seq2SeqLM } from '../../models/index.ts';
import { camelCase } from '../../models/names.ts';
import { goldenFile } from './golden.ts';
import { checkTwoWays } from './model-checks.ts';
import { checkForwardBackward, checkTraining, i32, readModelGolden, report } from './model-golden.ts';
import type { GradientOptions, ModelGolden } from './model-golden.ts';

interface Seq2SeqGolden extends ModelGolden {
  generated?: { options: Record<string, unknown>; texts: number[][]; scores?: number[] }[];
}

interface Loadable {
  fromPretrained(id: string, overrides: object, options: LoadOptions): Promise<Seq2SeqLM>;
}

/** A bias of the keys adds the same to all scores of a query. */
const ofKeys = /k_proj\.bias$/;

/**
 * Tests a model's outputs, gradients, training and, where there are any, texts against NAME.json and the
 * folder tiny-NAME.
 */
export async function checkSeq2Seq(
  test: Test,
  name: string,
  kind: Loadable,
  { vanishing = ofKeys }: GradientOptions = {},
): Promise<void> {
  const { golden, values } = await readModelGolden<Seq2SeqGolden>(name);
  const folder = goldenFile(`tiny-${name}`);
  const inputs = (): Seq2SeqInputs => ({
    inputIds: i32(golden.inputs['input_ids']!),
    attentionMask: i32(golden.inputs['attention_mask']!),
  });
  /** In training mode: dropout is 0. */
  const load = async (): Promise<Seq2SeqLM> =>
    (await kind.fromPretrained(folder, {}, { log: assert.unreachable })).train();

  test(`${name}: logits, layers, attention weights, loss and gradients are those of Transformers`, async () => {
    const model = await load();
    const all = { ...inputs(), labels: i32(golden.labels), outputHiddenStates: true, outputAttentions: true };
    const output = model.forward(all);
    const found = await checkForwardBackward(model, output, { golden, values }, { vanishing });
    assert.is(output.encoderHiddenStates!.at(-1), output.encoderLastHiddenState);
    console.log(report(name, found));
  });

  test(`${name}: the way without attention weights, and the one without logits, compute the same`, async () => {
    const model = await load();
    const ways = {
      plain: (labels: Tensor) => model.forward({ ...inputs(), labels }),
      lean: (labels: Tensor) => model.forward({ ...inputs(), labels, outputLogits: false }),
    };
    await checkTwoWays(model, ways, { golden, values }, { others: ['encoderLastHiddenState'], vanishing });
  });

  test(`${name}: ten AdamW steps have the losses of PyTorch`, async () => {
    const model = await load();
    const labels = i32(golden.labels);
    const off = await checkTraining(model, () => model.forward({ ...inputs(), labels }), golden.training);
    console.log(report(name, { 'losses of AdamW': off }));
  });

  const { generated } = golden;
  if (!generated) return;
  test(`${name}: greedy and beam searches write the texts of Transformers`, async () => {
    const model = await load();
    const sources = golden.inputs['input_ids']!.map((row, i) =>
      row.filter((_, at) => golden.inputs['attention_mask']![i]![at] === 1),
    );
    const recommended = await readGenerationConfig(folder);
    for (const { options: given, texts, scores } of generated) {
      const options = Object.fromEntries(
        Object.entries(given).map(([key, value]) => [camelCase(key), value]),
      ) as GenerationOptions;
      const results = await generate(model, sources, { ...recommended, doSample: false, ...options });
      assert.equal(
        results.map(({ tokens }) => tokens),
        texts,
        JSON.stringify(given),
      );
      scores?.forEach((score, i) => {
        assert.ok(Math.abs(results[i]!.score! - score) <= 1e-4, `score ${results[i]!.score}, expected ${score}`);
      });
    }
  });
}
