// The loss of reward models against TRL's RewardTrainer (test/golden/golden_rewards.py makes the numbers),
// and train/reward.ts as a user runs it.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { slice, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { BertTokenizer, loadModel, loadTextEncoder } from '../../models/index.ts';
import { loadWithHead } from '../../models/auto.ts';
import { rewardLoss, rewardPairs } from '../../train/objectives/reward.ts';
import type { RewardPair } from '../../train/objectives/reward.ts';
import { toDevice } from '../../train/objectives/task.ts';
import { preferenceOf, rewardPairsOf } from '../../train/preferences/data.ts';
import { throwsOneLine } from '../support/failure.ts';
import { goldenFile, largestDifference, norm } from '../support/golden.ts';
import { pairsFile, smallGpt } from '../support/lessons.ts';
import { setScore } from '../support/model-golden.ts';
import { refused, resumesAs, runScript } from '../support/script.ts';
import type { Finished, ScriptOptions } from '../support/script.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { saveBert } from '../support/writers.ts';

interface Case extends Readonly<Record<'loss' | 'margin' | 'accuracy', number>> {
  readonly options: { readonly margins?: readonly number[]; readonly coefficient?: number };
}
interface Golden {
  readonly given: readonly number[];
  readonly byHand: readonly (Case & { readonly gradient: readonly number[] })[];
  readonly ids: readonly number[][];
  readonly byModel: readonly (Case & { readonly norm: number; readonly score: readonly number[] })[];
}

const golden = JSON.parse(readFileSync(goldenFile('rewards.json'), 'utf8')) as Golden;
const test = suite('reward');
let folder = '';
temporaryFolder(test, (made) => (folder = made));

const total = (parts: Readonly<Record<string, Tensor>>): Tensor =>
  parts['centre'] ? parts['preference']!.add(parts['centre']) : parts['preference']!;
const near = (found: number, wanted: number, what: string): void =>
  assert.ok(Math.abs(found - wanted) <= 2e-6 * Math.max(1, Math.abs(wanted)), `${what} ${found}, TRL ${wanted}`);

for (const { options, loss, gradient } of golden.byHand)
  test(`loss and gradient of given rewards are TRL's: ${JSON.stringify(options)}`, async () => {
    const rewards = tensor(golden.given);
    rewards.requiresGrad = true;
    const pair = { chosen: slice(rewards, [0, 2]), rejected: slice(rewards, [2]) };
    const margins = options.margins && tensor(options.margins);
    const found = total(rewardLoss(pair, { margins, centerRewardsCoefficient: options.coefficient }));
    near(await found.item(), loss, 'loss');
    found.backward();
    assert.ok(largestDifference(await rewards.grad!.data(), gradient) <= 2e-6);
  });

for (const { options, loss, margin, accuracy, norm: size, score } of golden.byModel)
  test(`loss, gradients and measures of a decoder are TRL's: ${JSON.stringify(options)}`, async () => {
    const settings = { numLabels: 1, problemType: 'regression' } as const;
    const model = await loadWithHead(goldenFile('tiny-llama'), 'ForSequenceClassification', {
      ...{ settings, newHead: true },
    });
    model.config = Object.freeze({ ...model.config, padTokenId: 0 });
    setScore(model);
    const rows = golden.ids.map((ids) => ({ inputIds: Int32Array.from(ids), tokenTypeIds: new Int32Array(7) }));
    const pairs = [0, 1].map((i): RewardPair => {
      return { chosen: rows[i]!, rejected: rows[i + 2]!, margin: options.margins?.[i] };
    });
    const task = rewardPairs({
      ...{ model, pairs, padTokenId: 0, batchSize: 2, seed: 1, centerRewardsCoefficient: options.coefficient },
    });
    const batch = await task.batch(0);
    // Padding is in the rows already: on either side, as TRL's mask has it.
    const { inputIds, attentionMask } = batch.arrays;
    attentionMask!.data.set(inputIds!.data.map((id) => Number(id !== 0)));
    const parts = task.losses(toDevice(batch));
    const found = total(parts);
    near(await found.item(), loss, 'loss');
    near(await parts['margin']!.item(), margin, 'margin');
    near(await parts['accuracy']!.item(), accuracy, 'accuracy');
    found.backward();
    const all = await Promise.all(model.parameters().map(({ grad }) => grad!.data()));
    near(Math.hypot(...all.map((values) => norm(values as Float32Array))) / size, 1, 'norm of the gradients');
    const head = (model as unknown as { readonly score: { readonly weight: Tensor } }).score.weight;
    const off = largestDifference(await head.grad!.data(), score) / norm(score);
    assert.ok(off <= 1e-5, `the head's gradient is off by ${off}`);
  });

test("rows of an encoder begin and end with its tokens, in dialogues too; a margin is the row's", () => {
  const tokenizer = BertTokenizer.default();
  const messages = (content: string) => [
    { role: 'user', content: 'Is it on?' },
    { role: 'assistant', content },
  ];
  const rows = [
    { prompt: 'Is it on?', chosen: ' Yes.', rejected: ' No.', margin: 2 },
    { chosen: messages('Yes.'), rejected: messages('No.') },
  ];
  const chatTemplate = "{% for m in messages %}{{ m['content'] }} {% endfor %}";
  const pairs = rewardPairsOf(
    tokenizer,
    rows.map((row, i) => preferenceOf(row, `row ${i}`)),
    { maxLength: 32, chatTemplate },
  );
  assert.equal(
    pairs.map(({ margin }) => margin),
    [2, undefined],
  );
  const [texts, dialogues] = pairs;
  assert.equal(tokenizer.decode([...texts!.chosen.inputIds]), '[CLS] is it on? yes. [SEP]');
  assert.equal(dialogues!.rejected.inputIds, texts!.rejected.inputIds);
  const wrong = { prompt: 'a', chosen: 'b', rejected: 'c', margin: 'much' };
  throwsOneLine(() => preferenceOf(wrong, 'pairs.jsonl:3'), /^pairs\.jsonl:3: "margin" is "much"; give a number/);
});

const run = (args: readonly string[], options?: ScriptOptions): Promise<Finished> =>
  runScript(['train/reward.ts', ...args], options);

/** How often the better answer was ahead on held-out pairs. */
function accuracyOf(stdout: string): number {
  const [head, row] = ['test, \\d+ pairs', 'this model'].map(
    (begin) => new RegExp(`^${begin} +(.*)$`, 'm').exec(stdout)![1]!,
  );
  return Number(row!.trim().split(/ +/)[head!.trim().split(/ +/).indexOf('accuracy')]);
}

for (const [name, args] of Object.entries({ whole: [], adapter: ['--lora', '4'] }))
  test(`tells better answers, held out; killed and resumed it is the same, bit for bit: ${name}`, async () => {
    const [whole, killed] = [join(folder, `whole-${name}`), join(folder, `killed-${name}`)];
    const common = [
      ...['--data', pairsFile(folder), '--model', await smallGpt(folder), '--learning-rate', '0.01', '--epochs', '2'],
      ...['--batch-size', '8', '--save-every', '4', '--center-rewards-coefficient', '0.01', ...args],
    ];
    const [done] = await Promise.all([
      run([...common, '--output', whole]),
      run([...common, '--output', killed], { killAt: join(killed, 'checkpoint-4') }),
    ]);
    assert.is(done.code, 0, done.stderr);
    assert.ok(accuracyOf(done.stdout) >= 0.9, done.stdout);
    assert.is(existsSync(join(whole, 'model.safetensors')), name === 'whole');
    await resumesAs(whole, killed, () => run([...common, '--output', killed, '--resume']));
    const { model } = await loadTextEncoder(whole, 'ForSequenceClassification');
    assert.is(model.constructor.name, 'GPT2ForSequenceClassification');
    if (name === 'whole') assert.is((await loadModel(whole)).constructor, model.constructor);
  });

test('a BERT is a reward model, too; what is refused', async () => {
  const bert = join(folder, 'bert');
  await saveBert(bert);
  const path = join(folder, 'few.jsonl');
  const rows = Array.from({ length: 24 }, (_, i) => {
    return { prompt: `question ${i} of ${i * i}?`, chosen: ' good', rejected: ' bad', margin: 0.5 };
  });
  writeFileSync(path, rows.map((row) => JSON.stringify(row)).join('\n'));
  const output = join(folder, 'bert-reward');
  const done = await run(['--data', path, '--test-data', path, '--model', bert, '--output', output]);
  assert.is(done.code, 0, done.stderr);
  const { model } = await loadTextEncoder(output, 'ForSequenceClassification');
  assert.equal([model.config.numLabels, model.config.problemType], [1, 'regression']);
  refused(await run(['--data', path, '--center-rewards-coefficient', '-1']), 2, /--center-rewards-coefficient must be/);
});

test.run();
