/**
 * Supervised fine-tuning: teaches a decoder to answer, on conversations of which only what the assistant says
 * is learnt, and tests it on others.
 *
 *   node --import tsx train/sft.ts                 the small GPT learns lessons made by a grammar
 *   node --import tsx train/sft.ts --data chats.jsonl --model SmolLM2-135M-Instruct.Q4_1.gguf
 *   node --import tsx train/chat.ts --model runs/sft
 */
import { readFile } from 'node:fs/promises';
import { printable } from '../common/printable.ts';
import { alignTable } from '../common/text-table.ts';
import { rolesTemplate, withChatTemplate } from '../models/index.ts';
import type { AnyTokenizer } from '../models/index.ts';
import { main, parseOptions } from './cli/cli.ts';
import { fineTuneFlags, fineTuneOptions, loadDecoder, shippedGpt } from './cli/fine-tune.ts';
import { labelledTokens } from './objectives/index.ts';
import { reportResult } from './report/run-result.ts';
import { answersTo, questionsOf } from './sft/answers.ts';
import type { Question } from './sft/answers.ts';
import { conversationForms } from './sft/conversations.ts';
import type { Conversation } from './sft/conversations.ts';
import { lessonsName, loadConversations } from './sft/data.ts';
import type { ConversationData } from './sft/data.ts';
import { hashOfSequences, longerChoices, sequencesOf } from './sft/sequences.ts';
import type { Sequences } from './sft/sequences.ts';
import { trainEpochs } from './trainer/epochs.ts';
import { evaluator } from './trainer/evaluate.ts';
import { claimRun, resumeCommand, resumeOf } from './trainer/run-state.ts';
import { trainerFlags } from './trainer/settings.ts';

const { dropout: _, ...tuning } = fineTuneFlags;

const command = {
  name: 'sft',
  summary: 'Teaches a decoder to answer, on conversations. Without options: the small GPT that comes with the project.',
  usage: 'node --import tsx train/sft.ts',
  options: {
    data: { type: 'string', default: lessonsName, help: `${conversationForms}; or ${lessonsName}, made by a grammar` },
    testData: { type: 'path', exists: 'file', help: 'file to test on; without it a part of the data is held out' },
    model: { type: 'string', help: 'folder, GGUF file, Hugging Face cache or hub; default the small GPT' },
    chatTemplate: {
      type: 'path',
      exists: 'file',
      help: "Jinja file of how dialogues are written; default the tokenizer's own, else a simple one",
    },
    maxLength: { type: 'int', default: 1024, min: 2, help: 'tokens a row, if the model can' },
    longer: { type: 'choice', choices: longerChoices, default: 'refuse', help: 'what becomes of longer conversations' },
    pack: { type: 'boolean', default: true, help: 'several conversations in a row, none of which sees another' },
    replies: { type: 'int', default: 100, min: 0, help: 'replies that the model writes when it is tested' },
    ...tuning,
    epochs: {
      ...tuning.epochs,
      default: undefined,
      help: 'passes over the conversations; default 3 with --model, else 12',
    },
    batchSize: { ...tuning.batchSize, default: 8, help: 'rows a step, for each of --accumulate' },
    accumulate: trainerFlags.accumulate,
    precision: trainerFlags.precision,
    learningRate: { ...tuning.learningRate, help: 'default 2e-5 with --model, else 2e-3' },
    output: { type: 'path', default: 'runs/sft', help: 'folder for model, curves and checkpoints' },
  },
} as const;

type Values = ReturnType<typeof parseOptions<typeof command.options>>['values'];

/** Tokens of a reply that is tested. */
const maxNewTokens = 48;

main(async () => {
  const { values } = parseOptions(command);
  const { output, seed, batchSize, longer, accumulate, precision } = values;
  const { learningRate = values.model ? 2e-5 : 2e-3, epochs = values.model ? 3 : 12 } = values;
  await claimRun(command.name, output, resumeOf(values));
  const { model, tokenizer } = await loadDecoder(values.model, seed);
  const chatTemplate = await templateFor(tokenizer, values.chatTemplate);
  const data = await loadConversations(values.data, values);
  const maxLength = Math.min(values.maxLength, model.decoder().positions);
  const read = (part: readonly Conversation[]) => sequencesOf(tokenizer, part, { maxLength, longer, chatTemplate });
  const [train, validation, test] = [read(data.train), read(data.validation), read(data.test)];
  const common = { name: 'sft', model, length: maxLength, batchSize, seed };
  const task = labelledTokens({ ...common, sequences: train.sequences, packed: values.pack });
  const heldOut = ({ sequences }: typeof test) => {
    const task = labelledTokens({ ...common, sequences, packed: values.pack });
    return evaluator(model, task, task.batchesPerEpoch);
  };
  const about = describe(data, model.numParameters(), train, task.batchesPerEpoch, values);
  console.log(about);
  const questions = questionsOf(data.test, values.replies);
  const measureTest = heldOut(test);
  const measure = async (): Promise<Tested> => ({
    loss: (await measureTest())['loss']!,
    answers: await answersTo(model, tokenizer, questions, { chatTemplate, batchSize: 16, maxNewTokens }),
  });
  // A resumed run measures the model it began with, which its own weights replace afterwards.
  const before = await measure();
  await trainEpochs({
    model,
    tokenizer: chatTemplate === undefined ? tokenizer : withChatTemplate(tokenizer, chatTemplate),
    task,
    evaluate: heldOut(validation),
    options: { ...fineTuneOptions({ ...values, learningRate, epochs }), accumulate, precision },
    identity: {
      data: hashOfSequences(train.sequences),
      validation: hashOfSequences(validation.sequences),
      maxLength,
      pack: values.pack,
    },
    output,
    resume: resumeOf(values),
    resumeCommand: resumeCommand(command.usage),
  });
  const report = [table(questions, before, await measure()), `saved  ${output}, talk with it: train/chat.ts`].join(
    '\n',
  );
  await reportResult(output, { from: values.model ?? shippedGpt, about, test: report });
});

/** The template in place of the tokenizer's own: that of a file, or a simple one where there is none. */
async function templateFor({ chatTemplate }: AnyTokenizer, path: string | undefined): Promise<string | undefined> {
  if (path !== undefined) return readFile(path, 'utf8');
  return chatTemplate === undefined ? rolesTemplate : undefined;
}

interface Tested {
  readonly loss: number;
  readonly answers: readonly string[];
}

function describe(
  { train, validation, test, origin }: ConversationData,
  parameters: number,
  { sequences, cut, leftOut }: Sequences,
  batches: number,
  { batchSize, pack }: Values,
): string {
  const tokens = sequences.reduce((sum, { ids }) => sum + ids.length, 0);
  const learnt = sequences.reduce((sum, { learnt }) => sum + Array.from(learnt).filter(Boolean).length, 0);
  const lost = cut + leftOut > 0 ? `; ${cut} were cut and ${leftOut} left out, being longer than a row` : '';
  return [
    `data   ${origin}`,
    `       ${train.length} conversations to train, ${validation.length} to validate, ${test.length} to test`,
    `       ${tokens} tokens to train, ${learnt} of them the assistant's${lost}`,
    `model  ${(parameters / 1e6).toFixed(1)} M parameters`,
    `rows   ${batches} batches of ${batchSize} an epoch, ${pack ? 'conversations packed' : 'one conversation each'}`,
  ].join('\n');
}

/** Held-out loss, and how many replies are right to the letter; a few of them. */
function table(questions: readonly Question[], before: Tested, after: Tested): string {
  const rows = Object.entries({ 'the model it began as': before, 'this model': after }).map(
    ([name, { loss, answers }]) => {
      const right = answers.filter((text, i) => text === questions[i]!.answer).length;
      const share = questions.length === 0 ? [] : [`${((100 * right) / questions.length).toFixed(0)}%`];
      return [name, loss.toFixed(4), Math.exp(loss).toFixed(2), ...share];
    },
  );
  const right = questions.length === 0 ? [] : [`right of ${questions.length}`];
  const samples = questions
    .slice(0, 4)
    .flatMap(({ before: said, answer }, i) => [
      `\n  said     ${printable(String(said.at(-1)!.content))}`,
      `  before   ${printable(before.answers[i]!)}`,
      `  written  ${printable(after.answers[i]!)}`,
      `  wanted   ${printable(answer)}`,
    ]);
  const shown = alignTable(['held out', 'loss', 'perplexity', ...right], rows, new Set([1, 2, 3]));
  return ['', shown, ...samples, ''].join('\n');
}
