/**
 * Reinforcement learning from rewards that can be checked (GRPO): a decoder writes several answers to each
 * problem, and learns from those that are better than the others.
 *
 *   node --import tsx train/sft.ts --epochs 3                      a model that answers, if often wrongly
 *   node --import tsx train/grpo.ts --model runs/sft               learns to add
 *   node --import tsx train/grpo.ts --model FOLDER --data problems.jsonl --reward exact --lora 8
 */
import { join } from 'node:path';
import { mean } from '../common/statistics.ts';
import type { Tensor } from '../autograd/index.ts';
import { generateText, initAdapter } from '../models/index.ts';
import { main, parseOptions } from './cli/cli.ts';
import { decoderFlags, loadChatDecoder } from './cli/decoder.ts';
import { adapterFlags, adapterOf, checkAdapterFlags, loadDecoder, shippedGpt } from './cli/fine-tune.ts';
import { hashOfJson } from './data/text-hash.ts';
import { loadProblems, problemForm, sumsName } from './grpo/problems.ts';
import { checkAnswers, rewardNames, rewards, rewardsOf } from './grpo/rewards.ts';
import { promptOf } from './grpo/rollout.ts';
import { grpoTask } from './grpo/task.ts';
import { grpoLossTypes, rewardScales } from './objectives/grpo.ts';
import { reportResult } from './report/run-result.ts';
import { beforeAndAfter, testResult } from './report/test-result.ts';
import { claimRun, resumeCommand, resumeOf } from './trainer/run-state.ts';
import { trainerFlags, trainerSettings } from './trainer/settings.ts';
import { train } from './trainer/trainer.ts';

const { accumulate: _, ema: _ema, ...tuning } = trainerFlags;

const command = {
  name: 'grpo',
  summary: 'Teaches a decoder by rewards: of several answers to a problem, those better than the rest.',
  usage: 'node --import tsx train/grpo.ts',
  options: {
    data: { type: 'string', default: sumsName, help: `${problemForm}; or ${sumsName}, of two digits` },
    model: decoderFlags.model,
    chatTemplate: decoderFlags.chatTemplate,
    reward: {
      type: 'string',
      default: 'arithmetic, format:0.2',
      help: `rewards and their weights, of ${rewardNames.join(', ')}`,
    },
    steps: { type: 'int', default: 200, min: 1, help: 'optimizer steps' },
    batchSize: { type: 'int', default: 8, min: 1, help: 'problems a step' },
    numGenerations: { type: 'int', default: 8, min: 2, help: 'answers to each problem, that are compared' },
    maxNewTokens: { type: 'int', default: 16, min: 1, help: 'tokens of an answer' },
    temperature: { type: 'number', default: 1, help: 'divides the logits when answers are drawn' },
    numIterations: { type: 'int', default: 1, min: 1, help: 'steps that learn from the same answers' },
    lossType: { type: 'choice', choices: grpoLossTypes, default: 'dapo', help: 'what the loss is a mean over' },
    scaleRewards: { type: 'choice', choices: rewardScales, default: 'group', help: 'unit of the advantages' },
    epsilon: { type: 'number', default: 0.2, min: 0, help: 'how far probabilities may move down, and up' },
    epsilonHigh: { type: 'number', min: 0, help: 'how far up; default epsilon' },
    ...adapterFlags,
    beta: { type: 'number', default: 0, min: 0, help: 'weight of the divergence from the model it began as' },
    ...tuning,
    learningRate: { type: 'number', default: 1e-4, min: 0, help: 'peak of the schedule' },
    schedule: { ...tuning.schedule, default: 'constantWithWarmup' },
    warmupSteps: { ...tuning.warmupSteps, default: 5 },
    weightDecay: { ...tuning.weightDecay, default: 0 },
    evaluateEvery: { ...tuning.evaluateEvery, default: 50 },
    saveEvery: { ...tuning.saveEvery, default: 0 },
    output: { type: 'path', default: 'runs/grpo', help: 'folder for model, curves, checkpoints and answers' },
  },
} as const;

main(async () => {
  const { values } = parseOptions(command);
  const { output, seed, maxNewTokens, beta, data } = values;
  const { batchSize, numGenerations, temperature, numIterations, lossType, scaleRewards, epsilon } = values;
  const { epsilonHigh = epsilon } = values;
  const drawing = { batchSize, numGenerations, maxNewTokens, temperature, numIterations };
  const learning = { ...drawing, lossType, scaleRewards, epsilon, epsilonHigh, beta };
  const asked = rewardsOf(values.reward);
  checkAdapterFlags(values);
  await claimRun(command.name, output, resumeOf(values));
  const { model, tokenizer, chatTemplate, saved } = await loadChatDecoder(values);
  const { train: problems, test, origin } = await loadProblems(data, seed);
  checkAnswers([...problems, ...test], asked);
  const adapter = adapterOf(values);
  const peft = adapter && (await initAdapter(model, adapter, { tokenizer }));
  const copy = beta > 0 && !peft ? (await loadDecoder(values.model, seed)).model.eval() : undefined;
  // With an adapter, the model it began as is the model without.
  const before = (inputIds: Tensor): Tensor =>
    peft ? peft.disableAdapters(() => model.forward({ inputIds }).logits) : copy!.forward({ inputIds }).logits;
  const reference = beta > 0 ? before : undefined;
  const about = [
    `data   ${origin}; ${problems.length} problems to train, ${test.length} to test`,
    `model  ${(model.numParameters() / 1e6).toFixed(1)} M parameters`,
    `reward ${[...asked].map(([name, weight]) => `${weight} x ${name}`).join(' + ')}`,
  ].join('\n');
  console.log(about);
  const where = { model, reference, tokenizer, chatTemplate, rewards: asked, problems, output, seed };
  const task = grpoTask({ ...where, ...learning });

  /** The most probable answers to the problems held out, and their rewards. */
  const measure = async (): Promise<Measured> => {
    const prompts = test.map((problem) => tokenizer.idsOf(promptOf(problem, tokenizer, chatTemplate)));
    const written = await generateText(model, tokenizer, prompts, { doSample: false, maxNewTokens });
    const of = (name: keyof typeof rewards): number =>
      mean(written.map(({ text, finish }, i) => rewards[name]({ problem: test[i]!, text, ended: finish === 'eos' })));
    const each = [...asked].map(([name, weight]) => [name, of(name), weight] as const);
    return {
      texts: written.map(({ text }) => text),
      rewards: {
        reward: each.reduce((sum, [, value, weight]) => sum + value * weight, 0),
        ...Object.fromEntries(each.map(([name, value]) => [`${name} reward`, value])),
      },
    };
  };
  const first = await measure();
  let last: Measured | undefined;
  await train({
    model: peft ?? model,
    tokenizer: saved,
    task,
    evaluate: async () => (last = await measure()).rewards,
    best: { name: 'reward', mode: 'max' },
    options: trainerSettings({ ...values, accumulate: 1, ema: 0 }),
    identity: { data: hashOfJson(problems), reward: values.reward, ...learning },
    output,
    resume: resumeOf(values),
    resumeCommand: resumeCommand(command.usage),
  });
  const final = last ?? (await measure()); // a run that had ended before is only read
  const tested = testResult({
    of: `${test.length} problems`,
    rows: beforeAndAfter(first.rewards, final.rewards),
    written: test.map(({ prompt, answer }, i) => ({
      text: typeof prompt === 'string' ? prompt : String(prompt.at(-1)!.content),
      before: first.texts[i]!,
      written: final.texts[i]!,
      ...(answer === undefined ? {} : { wanted: answer }),
    })),
  });
  await reportResult(output, { from: values.model ?? shippedGpt(), about, ...tested });
  console.log(`saved  ${output}, what it wrote on the way in ${join(output, 'rollouts')}; talk with it: train/chat.ts`);
});

interface Measured {
  readonly texts: readonly string[];
  readonly rewards: Readonly<Record<string, number>>;
}
