// A tiny GPT-2 learns a sequence by heart.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile, manualSeed, noGrad, scope, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { GPT2LMHeadModel } from '../../models/index.ts';
import type { GPT2Settings } from '../../models/index.ts';
import { AdamW, decayGroups, SGD } from '../../train/optim/index.ts';

const test = suite('gpt2 training');

/**
 * The next token follows from the last two tokens, not from the last alone: 1 is followed by 2 after a 5, by
 * 3 after a 4.
 */
const period = [1, 2, 4, 1, 3, 5];
const length = 24;
const batch = period.slice(0, 4).map((_, shift) => Array.from({ length }, (_, i) => period[(i + shift) % 6]!));

const settings: GPT2Settings = { vocabSize: 8, nPositions: length, nEmbd: 32, nLayer: 2, nHead: 4 };

/** Losses of some training steps, and the model. */
async function train(seed: number, steps: number): Promise<{ losses: number[]; model: GPT2LMHeadModel }> {
  manualSeed(seed);
  const model = GPT2LMHeadModel.fromConfig(settings);
  const optimizer = new AdamW(decayGroups(model.namedParameters(), 0.1), { lr: 1e-2, betas: [0.9, 0.95] });
  const inputIds = tensor(batch, { dtype: 'i32' });
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    using _ = scope();
    const { loss } = model.forward({ inputIds, labels: inputIds, outputLogits: false });
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    losses.push(await loss.item());
  }
  return { losses, model: model.eval() };
}

test('the loss falls from that of guessing to almost nothing, dropout and all', async () => {
  const { losses, model } = await train(7, 60);
  assert.ok(Math.abs(losses[0]! - Math.log(8)) < 0.3, `the first loss is ${losses[0]}`);
  assert.ok(losses.at(-1)! < 0.1, `the last loss is ${losses.at(-1)}`);
  const inputIds = tensor([batch[0]!], { dtype: 'i32' });
  const { logits, loss } = noGrad(() => model.forward({ inputIds, labels: inputIds }));
  assert.ok((await loss.item()) < 0.1);
  const next = (await logits.argmax(-1).tolist()) as number[][];
  assert.equal(next[0]!.slice(1, -1), batch[0]!.slice(2), 'what it says comes next');
});

test('the same seed gives the same losses, bit by bit, another one others', async () => {
  const [a, b, c] = [await train(3, 4), await train(3, 4), await train(4, 4)];
  assert.equal(a.losses, b.losses);
  assert.not.equal(a.losses, c.losses);
});

test('compiled, a step has the losses of immediate mode, dropout and all', async () => {
  const losses = async (
    wrap: (step: (inputIds: Tensor) => Tensor) => (inputIds: Tensor) => Tensor,
  ): Promise<number[]> => {
    manualSeed(3);
    const model = GPT2LMHeadModel.fromConfig(settings);
    const optimizer = new SGD(model.parameters(), { lr: 0.1 });
    const inputIds = tensor(batch, { dtype: 'i32' });
    const step = wrap((ids) => {
      const { loss } = model.forward({ inputIds: ids, labels: ids, outputLogits: false });
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
      return loss.detach();
    });
    const list: number[] = [];
    for (let i = 0; i < 6; i++) {
      using _ = scope();
      list.push(await step(inputIds).item());
    }
    return list;
  };
  const [immediate, compiled] = [await losses((step) => step), await losses((step) => compile(step))];
  assert.ok(immediate.at(-1)! < immediate[0]! - 0.3);
  compiled.forEach((loss, i) =>
    assert.ok(Math.abs(loss - immediate[i]!) <= 1e-5, `step ${i}: ${loss}, ${immediate[i]}`),
  );
});

test.run();
