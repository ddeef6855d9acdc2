/**
 * Supervised fine-tuning: teaches a decoder to answer, on conversations of which only what the assistant says
 * is learnt, and tests it on others.
 *
 *   node --import tsx train/sft.ts                 the small GPT learns lessons made by a grammar
 *   node --import tsx train/sft.ts --data chats.jsonl --model SmolLM2-135M-Instruct.Q4_1.gguf
 *   node --import tsx train/chat.ts --model runs/sft
 */
import { main, parseOptions } from './cli/cli.ts';
import { decoderFlags, loadTaught, teachingOptions } from './cli/decoder.ts';
import { checkAdapterFlags, quantizeFlag, shippedGpt, virtualTokensOf } from './cli/fine-tune.ts';
import { corpusRouge } from './metrics/rouge.ts';
import { labelledTokens } from './objectives/index.ts';
import { reportResult } from './report/run-result.ts';
import { beforeAndAfter, testResult } from './report/test-result.ts';
import type { Scored } from './report/test-result.ts';
import { answersTo, questionsOf } from './sft/answers.ts';
import type { Question } from './sft/answers.ts';
import { conversationForms } from './sft/conversations.ts';
import type { Conversation } from './sft/conversations.ts';
import { lessonsName, loadConversations } from './sft/data.ts';
import type { ConversationData } from './sft/data.ts';
import { pairNames } from './seq2seq/pairs.ts';
import { hashOfSequences, sequencesOf } from './sft/sequences.ts';
import type { Sequences } from './sft/sequences.ts';
import { trainEpochs } from './trainer/epochs.ts';
import { evaluator } from './trainer/evaluate.ts';
import { claimRun, resumeCommand, resumeOf } from './trainer/run-state.ts';
import { describeMemory } from './trainer/step-memory.ts';

const command = {
  name: 'sft',
  summary: 'Teaches a decoder to answer, on conversations. Without options: the small GPT that comes with the project.',
  usage: 'node --import tsx train/sft.ts',
  options: {
    data: {
      type: 'string',
      default: lessonsName,
      help: `${conversationForms}; or ${lessonsName}, made by a grammar; or pairs: ${pairNames}`,
    },
    instruction: { type: 'string', help: 'pairs: what is said before each text, such as "Summarise in a line:"' },
    lessons: { type: 'int', min: 100, help: 'how many the grammar makes; default 2400' },
    maxTrainSamples: { type: 'int', min: 1, help: 'conversations to train on at most' },
    maxEvalSamples: { type: 'int', min: 1, help: 'conversations to validate on, and to test on, at most' },
    pack: {
      type: 'boolean',
      default: true,
      help: 'several conversations in a row, none of which sees another; not with virtual tokens',
    },
    replies: { type: 'int', default: 100, min: 0, help: 'replies that the model writes when it is tested' },
    ...decoderFlags,
    quantize: quantizeFlag,
    epochs: { ...decoderFlags.epochs, help: 'passes over the conversations; default 3 with --model, else 12' },
    learningRate: { ...decoderFlags.learningRate, help: 'default with --model 2e-5, of an adapter 2e-4, else 2e-3' },
    output: { type: 'path', default: 'runs/sft', help: 'folder for model, curves and checkpoints' },
  },
} as const;

type Values = ReturnType<typeof parseOptions<typeof command.options>>['values'];

/** Tokens of a reply that is tested. */
const maxNewTokens = 48;

main(async () => {
  const { values } = parseOptions(command);
  const { output, seed, batchSize, longer } = values;
  checkAdapterFlags(values);
  await claimRun(command.name, output, resumeOf(values));
  const { model, tokenizer, chatTemplate, maxLength, saved } = await loadTaught(values);
  const data = await loadConversations(values.data, values);
  const read = (part: readonly Conversation[]) => sequencesOf(tokenizer, part, { maxLength, longer, chatTemplate });
  const [train, validation, test] = [read(data.train), read(data.validation), read(data.test)];
  const common = { name: 'sft', model, length: maxLength, batchSize, seed, packed: isPacked(values) };
  const task = labelledTokens({ ...common, sequences: train.sequences });
  const heldOut = ({ sequences }: typeof test) => {
    const task = labelledTokens({ ...common, sequences });
    return evaluator(model, task, task.batchesPerEpoch);
  };
  const about = describe(data, model.numParameters(), train, task.batchesPerEpoch, values);
  console.log(about);
  const questions = questionsOf(data.test, values.replies);
  const firstSentences = data.firstSentences?.slice(0, questions.length);
  const measureTest = heldOut(test);
  const measure = async (): Promise<Tested> => ({
    loss: (await measureTest())['loss']!,
    answers: await answersTo(model, tokenizer, questions, { chatTemplate, batchSize: 16, maxNewTokens }),
  });
  // A resumed run measures the model it began with, which its own weights replace afterwards.
  const before = await measure();
  const { memory } = await trainEpochs({
    model,
    tokenizer: saved,
    promptTokenizer: tokenizer,
    task,
    evaluate: heldOut(validation),
    options: teachingOptions(values, { rates: [2e-5, 2e-4, 2e-3], epochs: [3, 12] }),
    identity: {
      data: hashOfSequences(train.sequences),
      validation: hashOfSequences(validation.sequences),
      maxLength,
      pack: common.packed,
    },
    output,
    resume: resumeOf(values),
    resumeCommand: resumeCommand(command.usage),
  });
  if (memory) console.log(describeMemory(memory));
  const after = await measure();
  const baselines = firstSentences
    ? [{ name: 'the first sentence', scores: writtenScores(questions, firstSentences) }]
    : [];
  const tested = testResult({
    of: `${data.test.length} conversations, ${questions.length} replies`,
    rows: [...baselines, ...beforeAndAfter(scoresOf(questions, before), scoresOf(questions, after))],
    digits: { loss: 4, perplexity: 2, 'right (%)': 0, 'ROUGE-1': 1, 'ROUGE-2': 1, 'ROUGE-L': 1 },
    written: questions.map(({ before: said, answer }, i) => ({
      text: String(said.at(-1)!.content),
      before: before.answers[i]!,
      written: after.answers[i]!,
      wanted: answer,
    })),
  });
  await reportResult(output, { from: values.model ?? shippedGpt(), about, ...tested });
  console.log(`saved  ${output}, talk with it: train/chat.ts`);
});

/** Virtual tokens stand before a row, and so before one conversation. */
const isPacked = (values: Values): boolean => values.pack && virtualTokensOf(values) === 0;

interface Tested {
  readonly loss: number;
  readonly answers: readonly string[];
}

function describe(
  { train, validation, test, origin }: ConversationData,
  parameters: number,
  { sequences, cut, leftOut }: Sequences,
  batches: number,
  values: Values,
): string {
  const tokens = sequences.reduce((sum, { ids }) => sum + ids.length, 0);
  const learnt = sequences.reduce((sum, { learnt }) => sum + Array.from(learnt).filter(Boolean).length, 0);
  const lost = cut + leftOut > 0 ? `; ${cut} were cut and ${leftOut} left out, being longer than a row` : '';
  return [
    `data   ${origin}`,
    `       ${train.length} conversations to train, ${validation.length} to validate, ${test.length} to test`,
    `       ${tokens} tokens to train, ${learnt} of them the assistant's${lost}`,
    `model  ${(parameters / 1e6).toFixed(1)} M parameters`,
    `rows   ${batches} batches of ${values.batchSize} an epoch, ` +
      (isPacked(values) ? 'conversations packed' : 'one conversation each'),
  ].join('\n');
}

/** Held-out loss; how many replies are right to the letter, and how near they all are by ROUGE. */
const scoresOf = (questions: readonly Question[], { loss, answers }: Tested): Scored['scores'] => ({
  loss,
  perplexity: Math.exp(loss),
  ...writtenScores(questions, answers),
});

function writtenScores(questions: readonly Question[], answers: readonly string[]): Scored['scores'] {
  if (questions.length === 0) return {};
  const wanted = questions.map(({ answer }) => answer);
  const right = answers.filter((text, i) => text === wanted[i]).length;
  const { rouge1, rouge2, rougeL } = corpusRouge(answers, wanted, { stem: true });
  return {
    'right (%)': (100 * right) / questions.length,
    'ROUGE-1': 100 * rouge1.fMeasure,
    'ROUGE-2': 100 * rouge2.fMeasure,
    'ROUGE-L': 100 * rougeL.fMeasure,
  };
}
