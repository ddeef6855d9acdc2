// The head at the masked places only has the losses and gradients of the head at all places.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile, manualSeed, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { BertForMaskedLM, BertForPreTraining } from '../../models/index.ts';
import { throwsOneLine } from '../support/failure.ts';
import { largestDifference } from '../support/golden.ts';
import { i32, inputs, settings, values } from '../support/small-bert.ts';

const test = suite('masked positions');

const labels = i32([
  [-100, 4, 5],
  [6, -100, -100],
]);
const maskedPositions = i32([
  [2, 1],
  [0, 0],
]);
const placeLabels = i32([
  [5, 4],
  [6, -100],
]);
const nextSentenceLabel = tensor([0, 1], { dtype: 'i32' });

function model(): BertForMaskedLM {
  manualSeed(5);
  return BertForMaskedLM.fromConfig({ ...settings, hiddenDropoutProb: 0, attentionProbsDropoutProb: 0 });
}

async function gradients(of: BertForMaskedLM): Promise<Map<string, number[]>> {
  const found = new Map<string, number[]>();
  for (const [key, p] of of.namedParameters()) if (p.grad) found.set(key, await values(p.grad));
  return found;
}

for (const outputLogits of [true, false]) {
  test(`loss and gradients are those of all places, ${outputLogits ? 'with' : 'without'} logits`, async () => {
    const [whole, at] = [model(), model()];
    const { loss } = whole.forward({ ...inputs, labels });
    loss!.backward();
    const some = { ...inputs, labels: placeLabels, maskedPositions };
    const other = outputLogits ? at.forward(some).loss! : at.forward({ ...some, outputLogits: false }).loss;
    other.backward();
    const off = Math.abs((await loss!.item()) - (await other.item()));
    assert.ok(off <= 2e-7 * Math.abs(await loss!.item()), `losses differ by ${off}`);
    const [expected, found] = [await gradients(whole), await gradients(at)];
    assert.equal([...found.keys()], [...expected.keys()]);
    for (const [key, gradient] of expected) {
      const error = largestDifference(found.get(key)!, gradient);
      assert.ok(error <= 1e-6, `gradient of ${key} differs by ${error}`);
    }
  });
}

test('logits are the rows of all logits', async () => {
  const of = model().eval();
  const all = await of.forward(inputs).logits.tolist();
  const { logits } = of.forward({ ...inputs, maskedPositions });
  assert.equal(logits.shape, [2, 2, 20]);
  const rows = all as number[][][];
  const expected = [rows[0]![2]!, rows[0]![1]!, rows[1]![0]!, rows[1]![0]!].flat();
  assert.ok(largestDifference(await values(logits), expected) <= 1e-6);
});

test('pre-training: both losses, their sum, and the same compiled without logits', async () => {
  manualSeed(5);
  const of = BertForPreTraining.fromConfig(settings).eval();
  const whole = of.forward({ ...inputs, labels, nextSentenceLabel });
  const [total, mlm, nsp] = [whole.loss!, whole.maskedLMLoss!, whole.nextSentenceLoss!];
  assert.ok(Math.abs((await total.item()) - (await mlm.item()) - (await nsp.item())) <= 1e-6);
  const step = compile((batch: Record<'inputIds' | 'maskedPositions' | 'labels' | 'nextSentenceLabel', Tensor>) => {
    const { maskedLMLoss, nextSentenceLoss } = of.forward({
      ...batch,
      attentionMask: inputs.attentionMask,
      outputLogits: false,
    });
    return [maskedLMLoss, nextSentenceLoss] as const;
  });
  const [a, b] = step({ inputIds: inputs.inputIds, maskedPositions, labels: placeLabels, nextSentenceLabel });
  assert.ok(Math.abs((await a.item()) - (await mlm.item())) <= 1e-6);
  assert.ok(Math.abs((await b.item()) - (await nsp.item())) <= 1e-6);
});

test('bad places and labels are refused in one line', () => {
  const of = model();
  const refuses = (run: () => unknown, says: RegExp): void => {
    throwsOneLine(run, says);
  };
  refuses(
    () => of.forward({ ...inputs, maskedPositions: i32([[0], [3]]) }),
    /masked position 3 is outside the row of this model, 0 to 2/,
  );
  refuses(() => of.forward({ ...inputs, maskedPositions: i32([[0]]) }), /maskedPositions is \[1, 1\].*\[2, K\]/);
  refuses(() => of.forward({ ...inputs, maskedPositions, labels }), /labels are \[2, 3\].*\[2, 2\]/);
  refuses(
    () => of.forward({ ...inputs, maskedPositions, labels, outputLogits: false }),
    /labels are \[2, 3\].*\[2, 2\]/,
  );
  refuses(() => of.forward({ ...inputs, outputLogits: false } as never), /needs labels/);
});

test.run();
