// Losses of preferences against the code of TRL's trainers: test/golden/golden_preferences.py makes the
// numbers.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { mean, mul, slice, sum, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Gemma2ForCausalLM, GPT2LMHeadModel, loadTokenizer } from '../../models/index.ts';
import { shippedGpt } from '../../train/cli/fine-tune.ts';
import { preferences, referenceLogProbs } from '../../train/objectives/preference.ts';
import type { PreferenceOptions } from '../../train/objectives/preference.ts';
import { divergenceOf, needsReference, preferenceLoss } from '../../train/objectives/preference-losses.ts';
import type { Pair, PreferenceLossName } from '../../train/objectives/preference-losses.ts';
import { toDevice } from '../../train/objectives/task.ts';
import { pairsOf, preferenceOf, readPreferences } from '../../train/preferences/data.ts';
import { rejects, throwsOneLine } from '../support/failure.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

type Options = Readonly<Record<'beta' | 'labelSmoothing' | 'gamma', number>>;

interface Golden {
  readonly given: {
    readonly tokens: readonly number[][];
    readonly mask: readonly number[][];
    readonly reference: readonly number[];
    readonly others: readonly number[];
    readonly otherReference: readonly number[];
    readonly losses: Readonly<
      Record<PreferenceLossName, { readonly options: Options; readonly loss: number; readonly gradient: number[][] }>
    >;
  };
  readonly model: {
    readonly pairs: readonly Readonly<Record<string, string>>[];
    readonly losses: Readonly<
      Record<
        PreferenceLossName,
        Readonly<Record<'loss' | 'norm', number>> &
          Readonly<Record<'gradient' | 'reference' | 'otherReference', readonly number[]>>
      >
    >;
  };
}

const { given, model: golden } = JSON.parse(readFileSync(goldenFile('preferences.json'), 'utf8')) as Golden;
const names = Object.keys(given.losses) as PreferenceLossName[];
const test = suite('preferences');
let folder = '';
temporaryFolder(test, (made) => (folder = made));

for (const loss of names)
  test(`${loss}: loss and gradient of given log-probabilities are TRL's`, async () => {
    const { options, loss: wanted, gradient } = given.losses[loss];
    const half = given.reference.length / 2;
    const pairOf = (x: Tensor): Pair => ({ chosen: slice(x, [0, half]), rejected: slice(x, [half]) });
    const mask = tensor(given.mask);
    const tokens = tensor(given.tokens);
    tokens.requiresGrad = true;
    const found = preferenceLoss(
      {
        policy: pairOf(sum(mul(tokens, mask), 1)),
        ...(needsReference(loss) ? { reference: pairOf(tensor(given.reference)) } : {}),
        lengths: pairOf(sum(mask, 1)),
        divergence: divergenceOf(tensor(given.others), tensor(given.otherReference)),
      },
      { loss, ...options },
    );
    const total = mean(found.losses);
    assert.ok(Math.abs((await total.item()) - wanted) <= 2e-6, `${await total.item()}, TRL ${wanted}`);
    total.backward();
    const off = largestDifference(await tokens.grad!.data(), gradient.flat());
    assert.ok(off <= 2e-6, `the gradient is off by ${off}`);
  });

const tokenizer = await loadTokenizer(shippedGpt());
const pairs = pairsOf(
  tokenizer,
  golden.pairs.map((row, i) => preferenceOf(row, `pair ${i + 1}`)),
  { maxLength: 128 },
);

for (const loss of names)
  test(`${loss}: loss and gradients of a model on a batch are those of PyTorch and TRL`, async () => {
    const { loss: wanted, norm, gradient, reference, otherReference } = golden.losses[loss];
    const model = await GPT2LMHeadModel.fromPretrained(shippedGpt());
    const said = pairs.map((_, i) => ({
      chosen: reference[i]!,
      rejected: reference[i + pairs.length]!,
      other: otherReference[i]!,
    }));
    // One pair has the place of another where a batch is shuffled; the mean is the same.
    const options: PreferenceOptions = {
      ...{ model, pairs, length: 128, loss, batchSize: pairs.length, seed: 1, reference: said },
      ...given.losses[loss].options,
    };
    const task = preferences(options);
    const losses = task.losses(toDevice(await task.batch(0)));
    const total = losses['nll'] ? losses['preference']!.add(losses['nll']) : losses['preference']!;
    const found = await total.item();
    assert.ok(Math.abs(found - wanted) <= 2e-6 * Math.max(1, Math.abs(wanted)), `${found}, TRL ${wanted}`);
    total.backward();
    const all = await Promise.all(model.parameters().map(({ grad }) => grad!.data() as Promise<Float32Array>));
    const size = Math.sqrt(all.reduce((total, x) => total + x.reduce((part, value) => part + value * value, 0), 0));
    assert.ok(Math.abs(size / norm - 1) <= 2e-6, `norm of the gradients ${size}, TRL ${norm}`);
    const own = (await model.transformer.lnF.weight.grad!.data()) as Float32Array;
    const off = largestDifference(own, gradient) / Math.max(...gradient.map(Math.abs));
    assert.ok(off <= 1e-5, `the gradient of the last norm is off by ${off} of its largest element`);
  });

test('log-probabilities of tokens are those of the loss, where logits are capped too', async () => {
  const ids = [[5, 9, 3, 7, 1, 4]];
  for (const model of [
    await GPT2LMHeadModel.fromPretrained(goldenFile('tiny-gpt2')),
    await Gemma2ForCausalLM.fromPretrained(goldenFile('tiny-gemma2')),
  ]) {
    const inputIds = tensor(ids, { dtype: 'i32' });
    const inputs = { inputIds, labels: inputIds };
    const found = await mean(slice(model.nextTokenLogProbs(inputs), null, [0, -1])).item();
    const { loss } = model.forward(inputs);
    assert.ok(Math.abs(found + (await loss.item())) < 1e-5, `${model.constructor.name}: ${found}`);
  }
});

test('what the reference says is what the model says before it is trained', async () => {
  const model = await GPT2LMHeadModel.fromPretrained(shippedGpt());
  const common = { model, pairs, length: 128, loss: 'kto', batchSize: 3, seed: 1 } as const;
  const said = await referenceLogProbs(common, 2);
  for (const reference of [said, <T>(run: () => T): T => run()]) {
    const task = preferences({ ...common, reference });
    const { preference, margin, accuracy } = task.losses(toDevice(await task.batch(0)));
    assert.ok(Math.abs((await preference!.item()) - 0.5) < 1e-5);
    assert.ok(Math.abs(await margin!.item()) < 1e-5);
    assert.ok((await accuracy!.item()) <= 1);
  }
  throwsOneLine(() => preferences({ ...common, loss: 'dpo' }), /dpo compares with the model that training began with/);
});

test('rows of texts and of messages; what is wrong in one is told in a line', async () => {
  const path = join(folder, 'pairs.jsonl');
  const [user, good, bad] = [
    { role: 'user', content: 'a' },
    { role: 'assistant', content: 'b' },
    { role: 'assistant', content: 'c' },
  ];
  const rows = [
    { prompt: 'a', chosen: 'b', rejected: 'c' },
    { prompt: [user], chosen: [good], rejected: [bad] },
    { prompt: 'a', chosen: [user, good], rejected: [user, bad] },
  ];
  writeFileSync(path, rows.map((row) => JSON.stringify(row)).join('\n'));
  const read = await readPreferences(path);
  assert.equal(read[0]!.chosen, { where: `${path}:1`, prompt: 'a', completion: 'b' });
  for (const { rejected } of read.slice(1))
    assert.equal({ ...rejected, where: '' }, { where: '', messages: [user, bad], from: 1 });
  const wrong: [unknown, RegExp][] = [
    [{ prompt: 'a', chosen: 'b' }, /no column "rejected" among/],
    [{ prompt: 'a', chosen: 'b', rejected: 'b' }, /"chosen" and "rejected" are equal/],
    [{ prompt: 'a', chosen: ' ', rejected: 'b' }, /"chosen" is empty/],
    [{ chosen: 'a', rejected: 'b' }, /no column "prompt"/],
    [{ chosen: [user, good], rejected: [bad] }, /begin with no message in common; give "prompt"/],
    [{ chosen: [user, good], rejected: [user, { role: 'user', content: 'd' }] }, /"rejected" has no message of the as/],
  ];
  for (const [row, pattern] of wrong) {
    writeFileSync(path, `${JSON.stringify(rows[0])}\n${JSON.stringify(row)}\n`);
    await rejects(readPreferences(path), new RegExp(`pairs\\.jsonl:2: .*${pattern.source}`));
  }
});

test.run();
