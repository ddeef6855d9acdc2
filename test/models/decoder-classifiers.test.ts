// Decoders as classifiers of texts against Transformers; test/golden/golden_rewards.py makes the numbers.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { noGrad, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { encoderSizes, loadModel, loadTextEncoder } from '../../models/index.ts';
import type { SequenceClassificationModel } from '../../models/index.ts';
import { loadWithHead } from '../../models/auto.ts';
import { classifyTexts } from '../../models/pipelines/text-classification.ts';
import { loadToFineTune, shippedGpt } from '../../train/cli/fine-tune.ts';
import { goldenFile, largestDifference, norm } from '../support/golden.ts';
import { i32, setScore } from '../support/model-golden.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

interface Golden {
  readonly inputs: Readonly<Record<'ids' | 'mask', readonly number[][]>> & { readonly labels: readonly number[] };
  readonly families: Readonly<
    Record<string, Readonly<Record<'logits' | 'score', readonly number[]> & Record<'loss' | 'norm', number>>>
  >;
}

const { inputs, families } = JSON.parse(readFileSync(goldenFile('decoder-classifiers.json'), 'utf8')) as Golden;
const [inputIds, attentionMask] = [i32(inputs.ids), i32(inputs.mask)];
const labels = tensor([...inputs.labels], { dtype: 'i32' });
const test = suite('decoder classifiers');
let folder = '';
temporaryFolder(test, (path) => (folder = path));

const load = async (name: string): Promise<SequenceClassificationModel> => {
  const settings = { numLabels: 3, problemType: 'single_label_classification' } as const;
  const path = goldenFile(`tiny-${name}`);
  const model = await loadWithHead(path, 'ForSequenceClassification', { settings, newHead: true });
  model.config = Object.freeze({ ...model.config, padTokenId: 0 });
  setScore(model);
  return model.train();
};

for (const [name, golden] of Object.entries(families))
  test(`${name}: logits, loss and gradients are those of Transformers, padded on either side`, async () => {
    const model = await load(name);
    const { logits, loss } = model.forward({ inputIds, attentionMask, labels });
    loss!.backward();
    const off = largestDifference(await logits.data(), golden.logits);
    assert.ok(off <= 1e-4, `logits are off by ${off}`);
    assert.ok(Math.abs((await loss!.item()) - golden.loss) <= 1e-5, 'loss');
    const all = await Promise.all(model.parameters().flatMap(({ grad }) => (grad ? [grad.data()] : [])));
    const size = Math.hypot(...all.map((values) => norm(values as Float32Array)));
    assert.ok(Math.abs(size / golden.norm - 1) <= 1e-4, `norm of the gradients ${size}, Transformers' ${golden.norm}`);
    const { score } = model as unknown as { readonly score: { readonly weight: Tensor } };
    const scoreOff = largestDifference(await score.weight.grad!.data(), golden.score);
    assert.ok(scoreOff <= 1e-4, `the head's gradient is off by ${scoreOff}`);
    assert.ok(encoderSizes(model.config).width > 0 && encoderSizes(model.config).layers > 0);

    const path = join(folder, name);
    await model.savePretrained(path);
    const again = (await loadModel(path, { log: assert.unreachable })) as unknown as SequenceClassificationModel;
    assert.is(again.constructor, model.constructor);
    const same = noGrad(() => again.forward({ inputIds, attentionMask }).logits);
    assert.equal(await same.data(), await logits.data());
  });

test('without a token for padding the mask tells where a text ends', async () => {
  const model = await load('llama');
  const byToken = noGrad(() => model.forward({ inputIds, attentionMask }).logits);
  model.config = Object.freeze({ ...model.config, padTokenId: null });
  const byMask = noGrad(() => model.forward({ inputIds, attentionMask }).logits);
  assert.equal(await byMask.data(), await byToken.data());
  const last = noGrad(() => model.forward({ inputIds: i32([inputs.ids[2]!]) }).logits);
  assert.ok(largestDifference(await last.data(), families['llama']!.logits.slice(6)) <= 1e-4);
});

test('a pipeline reads texts of several lengths at once as it reads each alone', async () => {
  const settings = { numLabels: 1, problemType: 'regression', seed: 1 } as const;
  const fresh = await loadToFineTune(shippedGpt(), 'ForSequenceClassification', settings);
  const { padTokenId } = fresh.model.config as unknown as { readonly padTokenId: number };
  assert.is(padTokenId, fresh.tokenizer.padTokenId ?? fresh.tokenizer.eosTokenId);
  const path = join(folder, 'scores');
  await fresh.model.savePretrained(path, { tokenizer: fresh.tokenizer });
  const classifier = await loadTextEncoder(path, 'ForSequenceClassification');
  const texts = ['Call me Ishmael.', 'No!', 'It is a truth universally acknowledged, that'];
  const together = await classifyTexts(classifier, texts);
  for (const [i, text] of texts.entries()) {
    const [alone] = await classifyTexts(classifier, [text]);
    assert.ok(Math.abs(together[i]![0]!.score - alone![0]!.score) <= 1e-5);
  }
});

test.run();
