/**
 * Preference tuning: teaches a decoder to prefer better answers to worse ones, by DPO or its kin, and tests
 * it on other pairs.
 *
 *   node --import tsx train/dpo.ts --model runs/sft
 *   node --import tsx train/dpo.ts --data pairs.jsonl --model SmolLM2-135M-Instruct.Q4_1.gguf --lora 8
 */
import { adaptersOf } from '../models/index.ts';
import { main, parseOptions } from './cli/cli.ts';
import { decoderFlags, dropNothing, loadTaught, teachingOptions } from './cli/decoder.ts';
import { checkAdapterFlags, isAdapted, quantizeFlag, shippedGpt } from './cli/fine-tune.ts';
import { preferences, referenceLogProbs } from './objectives/preference.ts';
import type { PreferenceOptions, PreferencePair } from './objectives/preference.ts';
import { needsReference, preferenceLossNames } from './objectives/preference-losses.ts';
import { loadPreferences, pairsOf } from './preferences/data.ts';
import { reportResult } from './report/run-result.ts';
import { beforeAndAfter, testResult } from './report/test-result.ts';
import { hashOfSequences } from './sft/sequences.ts';
import { trainEpochs } from './trainer/epochs.ts';
import { evaluator } from './trainer/evaluate.ts';
import { claimRun, resumeCommand, resumeOf } from './trainer/run-state.ts';
import { describeMemory } from './trainer/step-memory.ts';

const command = {
  name: 'dpo',
  summary: 'Teaches a decoder to prefer better answers to worse ones.',
  usage: 'node --import tsx train/dpo.ts',
  options: {
    data: {
      type: 'string',
      default: 'lessons',
      help: 'JSONL of {"prompt", "chosen", "rejected"}, texts or messages; or lessons, made by a grammar',
    },
    loss: { type: 'choice', choices: preferenceLossNames, default: 'dpo', help: 'what is minimised' },
    beta: {
      type: 'number',
      default: 0.1,
      min: 0,
      help: 'how near to its beginning the model stays; simpo: 2 is usual',
    },
    labelSmoothing: { type: 'number', default: 0.1, min: 0, max: 0.5, help: 'cdpo: share of wrong preferences' },
    gamma: { type: 'number', default: 0.5, min: 0, help: 'simpo: the margin that is asked for; 1 is usual' },
    ...decoderFlags,
    quantize: quantizeFlag,
    epochs: { ...decoderFlags.epochs, help: 'passes over the pairs; default 1' },
    learningRate: { ...decoderFlags.learningRate, help: 'default with --model 1e-6, of an adapter 2e-5, else 1e-4' },
    output: { type: 'path', default: 'runs/dpo', help: 'folder for model, curves and checkpoints' },
  },
} as const;

main(async () => {
  const { values } = parseOptions(command);
  const { output, seed, batchSize, longer, loss, beta, labelSmoothing, gamma } = values;
  checkAdapterFlags(values);
  await claimRun(command.name, output, resumeOf(values));
  const { model, tokenizer, chatTemplate, maxLength, saved } = await loadTaught(values);
  dropNothing(model);
  const data = await loadPreferences(values.data, values);
  const [train, test] = [data.train, data.test].map((part) =>
    pairsOf(tokenizer, part, { maxLength, longer, chatTemplate }),
  ) as [PreferencePair[], PreferencePair[]];
  const about = [
    `data   ${data.origin}`,
    `       ${train.length} pairs to train, ${test.length} to test`,
    `model  ${(model.numParameters() / 1e6).toFixed(1)} M parameters, ${loss}`,
  ].join('\n');
  console.log(about);
  const settings = { model, length: maxLength, batchSize, seed, loss, beta, labelSmoothing, gamma };
  const [task, heldOut] = [await taskOf(train), await taskOf(test)];
  const evaluate = evaluator(model, heldOut, heldOut.batchesPerEpoch);
  const before = await evaluate();
  const hashOf = (pairs: readonly PreferencePair[]): string =>
    hashOfSequences(pairs.flatMap(({ chosen, rejected }) => [chosen, rejected]));
  const { evaluations, memory } = await trainEpochs({
    model,
    tokenizer: saved,
    promptTokenizer: tokenizer,
    task,
    evaluate,
    options: teachingOptions(values, { rates: [1e-6, 2e-5, 1e-4], epochs: [1, 1] }),
    identity: { data: hashOf(train), test: hashOf(test), maxLength, loss, beta, labelSmoothing, gamma },
    output,
    resume: resumeOf(values),
    resumeCommand: resumeCommand(command.usage),
  });
  if (memory) console.log(describeMemory(memory));
  const rows = beforeAndAfter(before, evaluations.at(-1)!.evaluation);
  const tested = testResult({ of: `${test.length} pairs`, rows, digits: 4 });
  await reportResult(output, { from: values.model ?? shippedGpt(), about, ...tested });
  console.log(`saved  ${output}, talk with it: train/chat.ts`);

  /** The reference is the model without its adapter, or what it said before it was trained. */
  async function taskOf(pairs: readonly PreferencePair[]): Promise<ReturnType<typeof preferences>> {
    const alone = <T>(run: () => T): T => adaptersOf(model)?.disableAdapters(run) ?? run();
    const said = async (): Promise<PreferenceOptions['reference']> =>
      needsReference(loss) ? referenceLogProbs({ ...settings, pairs }, 2 * batchSize) : undefined;
    return preferences({ ...settings, pairs, reference: isAdapted(values) ? alone : await said() });
  }
});
