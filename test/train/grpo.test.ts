// GRPO: losses and gradients as TRL's, advantages, rewards; the script learns, is killed and goes on.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { mean } from '../../common/statistics.ts';
import { manualSeed, tensor } from '../../autograd/index.ts';
import { GPT2LMHeadModel, Tokenizer } from '../../models/index.ts';
import { checkAnswers, rewards, rewardsOf } from '../../train/grpo/rewards.ts';
import { grpoLosses, groupAdvantages } from '../../train/objectives/grpo.ts';
import type { GrpoOptions, RewardScale } from '../../train/objectives/grpo.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';
import { lossesIn, refused, resumesAs, runScript } from '../support/script.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

interface Golden {
  readonly shape: [number, number];
  readonly maxCompletionLength: number;
  readonly group: number;
  readonly cases: readonly {
    readonly options: Omit<GrpoOptions, 'epsilon' | 'maxCompletionLength'>;
    readonly old: boolean;
    readonly loss: number;
    readonly gradient: number[];
  }[];
  readonly advantages: Readonly<Record<RewardScale, number[]>>;
  readonly logps: number[];
  readonly old: number[];
  readonly reference: number[];
  readonly mask: number[];
  readonly given: number[];
  readonly rewards: number[];
}

const test = suite('grpo');
const golden = JSON.parse(readFileSync(goldenFile('grpo.json'), 'utf8')) as Golden;
let folder = '';
temporaryFolder(test, (made) => (folder = made));

for (const { options, old, loss, gradient } of golden.cases)
  test(`loss and gradient as in TRL: ${JSON.stringify(options)}${old ? '' : ', fresh texts'}`, async () => {
    const { shape, maxCompletionLength } = golden;
    const of = (values: number[]) => tensor(values, { shape });
    const logps = tensor(golden.logps, { shape, requiresGrad: true });
    const batch = {
      logps,
      refLogps: of(golden.reference),
      mask: of(golden.mask),
      advantages: tensor(golden.given),
      ...(old ? { oldLogps: of(golden.old) } : {}),
    };
    const { policy, kl } = grpoLosses(batch, { ...options, epsilon: 0.2, maxCompletionLength });
    const total = kl ? policy.add(kl) : policy;
    total.backward();
    assert.ok(Math.abs((await total.item()) - loss) <= 2e-6);
    const error = largestDifference((await logps.grad!.data()) as Float32Array, gradient);
    assert.ok(error <= 2e-6, `${error}`);
  });

test('advantages as in TRL; in a group of equals nobody is better', () => {
  for (const scale of ['group', 'batch', 'none'] as const) {
    const error = largestDifference(groupAdvantages(golden.rewards, golden.group, scale), golden.advantages[scale]);
    assert.ok(error <= 1e-5, `${scale}: ${error}`);
  }
  assert.equal([...groupAdvantages([2, 2, 2], 3, 'group')], [0, 0, 0]);
});

test('rewards of texts that a model may write', () => {
  const problem = { where: 'here', prompt: 'a', answer: '12' };
  const of = (name: keyof typeof rewards, text: string, ended = true): number =>
    rewards[name]({ problem, text, ended });
  for (const text of ['12', ' 7 + 5 = 12.', 'It is 12', '12.0', '1 2 12']) assert.is(of('arithmetic', text), 1, text);
  for (const text of ['', '112', '-12', '12 13', 'twelve', '1,200']) assert.is(of('arithmetic', text), 0, text);
  assert.is(rewards.arithmetic({ problem: { ...problem, answer: '1200' }, text: 'So 1,200', ended: true }), 1);
  assert.equal([of('exact', ' 12\n'), of('exact', '12.')], [1, 0]);
  assert.equal([of('format', ' -3.5 '), of('format', '12', false), of('format', '12 or so')], [1, 0, 0]);
  assert.equal(
    [...rewardsOf('arithmetic, format:0.5')],
    [
      ['arithmetic', 1],
      ['format', 0.5],
    ],
  );
  assert.throws(() => rewardsOf('style'), /there is no "style"; the rewards are arithmetic, exact, format/);
  assert.throws(() => rewardsOf('format:x'), /the weight of format is "x"/);
  assert.throws(() => checkAnswers([{ where: 'f:1', prompt: 'a' }], rewardsOf('exact')), /f:1: there is no "answer"/);
  assert.throws(
    () => checkAnswers([{ where: 'f:1', prompt: 'a', answer: 'b' }], rewardsOf('arithmetic')),
    /f:1: the answer is no number; use --reward exact/,
  );
});

/** A GPT-2 that writes anything, of digits, a sign and an end. */
async function smallGpt(): Promise<string> {
  const path = join(folder, 'gpt');
  const vocab = Object.fromEntries([...'0123456789=', '</s>'].map((token, id) => [token, id]));
  const eosTokenId = vocab['</s>']!;
  const end = { id: eosTokenId, content: '</s>', special: true, normalized: false };
  const flags = { single_word: false, lstrip: false, rstrip: false };
  const tokenizer = Tokenizer.fromJson(
    {
      added_tokens: [{ ...end, ...flags }],
      model: { type: 'BPE', vocab, merges: [] },
      decoder: { type: 'Fuse' },
    },
    { eos_token: '</s>', tokenizer_class: 'PreTrainedTokenizerFast' },
  );
  manualSeed(1);
  await GPT2LMHeadModel.fromConfig({
    ...{ vocabSize: tokenizer.vocabSize, nPositions: 64, nEmbd: 32, nLayer: 1, nHead: 2, eosTokenId },
    ...{ embdPdrop: 0, attnPdrop: 0, residPdrop: 0 },
  }).savePretrained(path, { tokenizer });
  return path;
}

test('a decoder learns what is rewarded; killed amid two steps of the same texts it goes on, bit for bit', async () => {
  const [whole, killed] = [join(folder, 'whole'), join(folder, 'killed')];
  const problems = join(folder, 'problems.jsonl');
  // A digit and an end, whatever was asked: soon found, and learnt.
  writeFileSync(problems, Array.from({ length: 20 }, (_, i) => JSON.stringify({ prompt: `${i}=` })).join('\n'));
  const args = [
    ...['--data', problems, '--model', await smallGpt(), '--reward', 'format', '--steps', '40', '--learning-rate'],
    ...['0.01', '--batch-size', '4', '--num-generations', '8', '--max-new-tokens', '2', '--num-iterations', '2'],
    ...['--beta', '0.01', '--save-every', '7', '--evaluate-every', '20'],
  ];
  const [done] = await Promise.all([
    runScript(['train/grpo.ts', ...args, '--output', whole]),
    runScript(['train/grpo.ts', ...args, '--output', killed], { killAt: join(killed, 'checkpoint-7') }),
  ]);
  assert.is(done.code, 0, done.stderr);
  const rows = readFileSync(join(whole, 'log.jsonl'), 'utf8').trim().split('\n');
  type Row = { readonly measures?: { readonly reward: number } };
  const all = rows.map((row) => JSON.parse(row) as Row).flatMap(({ measures }) => (measures ? [measures.reward] : []));
  const [early, late] = [mean(all.slice(0, 4)), mean(all.slice(-4))];
  assert.ok(late > 2 * early + 0.2, `${early} to ${late}`);
  assert.is(readdirSync(join(whole, 'rollouts')).length, 20);
  assert.is(lossesIn(whole).length, 40);
  await resumesAs(whole, killed, () => runScript(['train/grpo.ts', ...args, '--output', killed, '--resume']));

  const adapter = join(folder, 'adapter');
  const lora = ['--lora', '4', '--steps', '6', '--evaluate-every', '6', '--beta', '0.1'];
  const adapted = await runScript(['train/grpo.ts', ...args, ...lora, '--output', adapter]);
  assert.is(adapted.code, 0, adapted.stderr);
  assert.ok(existsSync(join(adapter, 'adapter_model.safetensors')));
  type Parts = { readonly losses?: { readonly kl: number } };
  const kl = readFileSync(join(adapter, 'log.jsonl'), 'utf8').trim().split('\n');
  const away = kl.flatMap((row) => (JSON.parse(row) as Parts).losses?.kl ?? []);
  assert.is(away[0], 0); // B is zero at first: the model is the reference
  assert.ok(away.at(-1)! > 0);
});

test('what cannot be rewarded or written is refused in a line', async () => {
  const data = join(folder, 'bad.jsonl');
  const output = ['--output', join(folder, 'none')];
  writeFileSync(data, '{"prompt": "1 + 1 =", "answer": "2"}\n{"prompt": "", "answer": "2"}\n');
  refused(await runScript(['train/grpo.ts', '--data', data, ...output]), 1, /bad\.jsonl:2: "prompt" is empty/);
  writeFileSync(data, '{"prompt": "1 + 1 ="}\n{"prompt": "1 + 2 ="}\n');
  refused(await runScript(['train/grpo.ts', '--data', data, ...output]), 1, /bad\.jsonl:\d: there is no "answer"/);
  refused(
    await runScript(['train/grpo.ts', '--max-new-tokens', '999', ...output]),
    1,
    /sums: .*: \d+ tokens and 999 to write are more than the model's 128; lower --max-new-tokens/,
  );
});

test.run();
