/**
 * Reward models: teaches a decoder or an encoder to give better answers higher numbers, from pairs of a
 * better and a worse one, and tests it on other pairs.
 *
 *   node --import tsx train/reward.ts
 *   node --import tsx train/reward.ts --data pairs.jsonl --model SmolLM2-135M-Instruct.Q4_1.gguf --lora 8
 *   node --import tsx train/reward.ts --data pairs.jsonl --model FOLDER-OF-A-BERT
 */
import { paddingOf } from '../models/index.ts';
import { main, parseOptions } from './cli/cli.ts';
import { decoderFlags, loadRewardModel, teachingOptions } from './cli/decoder.ts';
import { checkAdapterFlags, describeModel, shippedGpt } from './cli/fine-tune.ts';
import { hashOfRows } from './data/tokenised.ts';
import { rewardPairs } from './objectives/reward.ts';
import type { RewardPair } from './objectives/reward.ts';
import { loadPreferences, rewardPairsOf } from './preferences/data.ts';
import { reportResult } from './report/run-result.ts';
import { beforeAndAfter, testResult } from './report/test-result.ts';
import { trainEpochs } from './trainer/epochs.ts';
import { evaluator } from './trainer/evaluate.ts';
import { claimRun, resumeCommand, resumeOf } from './trainer/run-state.ts';

const command = {
  name: 'reward',
  summary: 'Teaches a model to give better answers higher rewards.',
  usage: 'node --import tsx train/reward.ts',
  options: {
    data: {
      type: 'string',
      default: 'lessons',
      help: 'JSONL of {"prompt", "chosen", "rejected"}, texts or messages, perhaps "margin"; or lessons, by a grammar',
    },
    centerRewardsCoefficient: {
      type: 'number',
      default: 0,
      min: 0,
      help: 'weight of the squared sum of the rewards of a pair, which keeps them around 0; 0.01 is usual',
    },
    ...decoderFlags,
    model: {
      type: 'string',
      help: 'decoder or encoder: folder, GGUF file, Hugging Face cache or hub; default the small GPT',
    },
    epochs: { ...decoderFlags.epochs, help: 'passes over the pairs; default 1, of the small GPT 3' },
    learningRate: { ...decoderFlags.learningRate, help: 'default with --model 1e-5, of an adapter 1e-4, else 1e-3' },
    output: { type: 'path', default: 'runs/reward', help: 'folder for model, curves and checkpoints' },
  },
} as const;

main(async () => {
  const { values } = parseOptions(command);
  const { output, seed, batchSize, longer, centerRewardsCoefficient } = values;
  checkAdapterFlags(values);
  await claimRun(command.name, output, resumeOf(values));
  const { model, tokenizer, chatTemplate, maxLength, saved } = await loadRewardModel(values);
  const data = await loadPreferences(values.data, values);
  const [train, test] = [data.train, data.test].map((part) =>
    rewardPairsOf(tokenizer, part, { maxLength, longer, chatTemplate }),
  ) as [RewardPair[], RewardPair[]];
  const about = [
    `data   ${data.origin}`,
    `       ${train.length} pairs to train, ${test.length} to test`,
    `model  ${describeModel(model)}`,
  ].join('\n');
  console.log(about);
  const padTokenId = paddingOf({ model, tokenizer });
  const [task, heldOut] = [train, test].map((pairs) =>
    rewardPairs({ model, pairs, padTokenId, batchSize, seed, centerRewardsCoefficient }),
  );
  const evaluate = evaluator(model, heldOut!, heldOut!.batchesPerEpoch);
  const before = await evaluate();
  const { evaluations } = await trainEpochs({
    model,
    tokenizer: saved,
    task: task!,
    evaluate,
    options: teachingOptions(values, { rates: [1e-5, 1e-4, 1e-3], epochs: [1, 3] }),
    identity: { data: hashOfPairs(train), test: hashOfPairs(test), maxLength, centerRewardsCoefficient },
    output,
    resume: resumeOf(values),
    resumeCommand: resumeCommand(command.usage),
  });
  const longerOnes = test.filter(({ chosen, rejected }) => chosen.inputIds.length > rejected.inputIds.length).length;
  const tested = testResult({
    of: `${test.length} pairs`,
    rows: beforeAndAfter(before, evaluations.at(-1)!.evaluation),
    digits: 4,
    note: `the longer answer is the better one in ${longerOnes} of the pairs`,
  });
  await reportResult(output, { from: values.model ?? shippedGpt(), about, ...tested });
  console.log(`saved  ${output}`);
});

const hashOfPairs = (pairs: readonly RewardPair[]): string =>
  hashOfRows(
    pairs.flatMap(({ chosen, rejected, margin }) => [chosen, rejected].map((row) => ({ ...row, margin }))),
    ({ margin }) => String(margin ?? 0),
  );
