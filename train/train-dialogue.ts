/**
 * Trains a model on dialogues: a decoder to write the reply to what was said, or with --task ranking a BERT
 * to find the reply among others. Both are tested on the same dialogues, the decoder ranks replies by their
 * likelihood too.
 *
 *   node --import tsx train/train-dialogue.ts                          answers in the mails of SpamAssassin
 *   node --import tsx train/train-dialogue.ts --task ranking
 *   node --import tsx train/train-dialogue.ts --data chats.jsonl --model FOLDER --output runs/chat
 *   node --import tsx train/chat.ts --model runs/chat
 */
import { join } from 'node:path';
import { manualSeed } from '../autograd/index.ts';
import { generationConfigFile, turnsTemplate, withChatTemplate } from '../models/index.ts';
import type { GenerationOptions } from '../models/index.ts';
import { endWithReader, main, parseOptions, UsageError } from './cli/cli.ts';
import { fineTuneFlags, fineTuneOptions, shippedBert, shippedGpt } from './cli/fine-tune.ts';
import { decodingOptions, generationOptions, readPrompts } from './cli/generation.ts';
import { hashOfJson } from './data/text-hash.ts';
import { baselineRankings, candidatesFor, scoreGuesses, scoreRankings } from './dialogue/candidates.ts';
import type { Candidates, RankingScores } from './dialogue/candidates.ts';
import { dialogueNames, loadDialogues, textOf } from './dialogue/data.ts';
import type { DialogueData, DialogueExample } from './dialogue/data.ts';
import { loadRanker, makeRanker, rankingTask, scoreReplies } from './dialogue/ranking.ts';
import type { Ranker } from './dialogue/ranking.ts';
import { loadWriter, rankByLikelihood, replyPerplexity, replyRow, replyTask } from './dialogue/replies.ts';
import { scoreWritten, writeReplies } from './dialogue/replies.ts';
import type { Writer } from './dialogue/replies.ts';
import { answer, rankedReplies } from './dialogue/talk.ts';
import { reportResult } from './report/run-result.ts';
import { beforeAndAfter, testResult } from './report/test-result.ts';
import type { Scored } from './report/test-result.ts';
import { translationMemory } from './seq2seq/baselines.ts';
import { trainEpochs } from './trainer/epochs.ts';
import { evaluator } from './trainer/evaluate.ts';
import { claimRun, resumeCommand, resumeOf } from './trainer/run-state.ts';

const command = {
  name: 'train-dialogue',
  summary:
    'Trains a decoder to reply, or a BERT to rank replies; --ask asks a trained one, train/chat.ts talks with it.',
  usage: 'node --import tsx train/train-dialogue.ts',
  options: {
    task: { type: 'choice', choices: ['generation', 'ranking'], default: 'generation', help: 'what is learnt' },
    data: {
      type: 'string',
      default: 'spam-assassin',
      help: `JSONL file of {"messages": [{"role", "content"}, ...]}, or ${dialogueNames}`,
    },
    testData: { type: 'path', exists: 'file', help: 'file to test on; without it a part of the data is held out' },
    groupColumn: { type: 'string', help: 'what belongs together, such as the thread, and is held out as a whole' },
    model: {
      type: 'string',
      help: 'folder, Hugging Face cache or hub: a GPT-2, Llama or other decoder, to rank a BERT; default the small one',
    },
    maxLength: { type: 'int', default: 256, min: 16, help: 'tokens of history and reply together, if the model can' },
    candidates: { type: 'int', default: 10, min: 2, help: 'replies among which the true one is to be found in tests' },
    negatives: { type: 'int', default: 4, min: 1, help: 'ranking: wrong replies to learn from beside each true one' },
    ...decodingOptions,
    ...fineTuneFlags,
    learningRate: { ...fineTuneFlags.learningRate, help: 'default 5e-5 with --model, else 1e-3' },
    output: { type: 'path', help: 'folder for model, curves and checkpoints; default runs/dialogue or -ranking' },
    ask: { type: 'string', help: 'reply to this text with --model; of a ranking model, rank --replies' },
    replies: { type: 'path', exists: 'file', help: 'with --ask: replies to rank, one a line' },
  },
} as const;

type Values = ReturnType<typeof parseOptions<typeof command.options>>['values'];

main(async () => {
  const { values } = parseOptions(command);
  if (values.ask !== undefined) return reply(values, values.ask);
  if (values.replies !== undefined) throw new UsageError(`${command.name}: --replies goes with --ask "some text"`);
  const isRanking = values.task === 'ranking';
  const output = values.output ?? (isRanking ? 'runs/dialogue-ranking' : 'runs/dialogue');
  await claimRun(command.name, output, resumeOf(values));
  const data = await loadDialogues(values.data, values);
  const lists = candidatesFor(data.test, values.candidates, values.seed);
  await (isRanking ? trainRanker : trainWriter)(values, data, lists, output);
});

/** What both ways of learning share of a run; `more`: what else it depends on. */
function runOf(values: Values, data: DialogueData, output: string, more: Readonly<Record<string, number>>) {
  const { learningRate = values.model ? 5e-5 : 1e-3 } = values;
  return {
    options: fineTuneOptions({ ...values, learningRate }),
    identity: { data: hashOfJson(data.train), validation: hashOfJson(data.validation), ...more },
    output,
    resume: resumeOf(values),
    resumeCommand: resumeCommand(command.usage),
  };
}

async function trainRanker(values: Values, data: DialogueData, lists: Candidates[], output: string): Promise<void> {
  const { model: name, dropout, seed, batchSize, negatives, candidates } = values;
  const ranker = await makeRanker(name, dropout, values.maxLength, seed);
  const { model, tokenizer, maxLength } = ranker;
  const about = describe(data, model.numParameters(), maxLength);
  console.log(about);
  const watched = candidatesFor(data.validation, Math.min(candidates, data.validation.length), seed);
  await trainEpochs({
    ...runOf(values, data, output, { maxLength, negatives, candidates }),
    model,
    tokenizer,
    task: rankingTask(ranker, data.train, { batchSize, negatives, seed }),
    evaluate: () => rank(ranker, watched, batchSize),
    best: { name: 'MRR', mode: 'max' },
  });
  const { title, rows } = rankingTable(data, lists, { 'this model': await rank(ranker, lists, batchSize) });
  await reportResult(output, { from: name ?? shippedBert(), about, ...testResult({ of: title, rows }) });
  console.log(`saved  ${output} (loads in Transformers too), report in ${join(output, 'report.html')}`);
}

async function rank(ranker: Ranker, lists: readonly Candidates[], batchSize: number): Promise<RankingScores> {
  const pairs = lists.flatMap(({ example, replies }) => replies.map((reply) => ({ history: example.history, reply })));
  const scores = await scoreReplies(ranker, pairs, 4 * batchSize);
  const count = lists[0]!.replies.length;
  return scoreRankings(
    lists,
    lists.map((_, i) => scores.slice(i * count, (i + 1) * count)),
  );
}

async function trainWriter(values: Values, data: DialogueData, lists: Candidates[], output: string): Promise<void> {
  const { seed, batchSize } = values;
  manualSeed(seed);
  const writer = await loadWriter(values.model, values.maxLength);
  const { model, tokenizer, maxLength } = writer;
  const { seed: _, ...generation } = { maxNewTokens: 64, ...generationOptions(values, {}), seed };
  model.generationConfig = generationConfigFile(output, generation).data as string;
  const about = describe(data, model.numParameters(), maxLength);
  console.log(about);
  const rows = (examples: readonly DialogueExample[]) => examples.map((example) => replyRow(writer, example));
  const validation = replyTask(writer, rows(data.validation), { batchSize, seed });
  const before = await test(writer, data, lists, { ...generation, seed, batchSize });
  await trainEpochs({
    ...runOf(values, data, output, { maxLength }),
    model,
    tokenizer: withChatTemplate(tokenizer, turnsTemplate),
    task: replyTask(writer, rows(data.train), { batchSize, seed }),
    evaluate: evaluator(model, validation, validation.batchesPerEpoch),
  });
  const after = await test(writer, data, lists, { ...generation, seed, batchSize });
  const found = rankingTable(data, lists, {
    'the model it began as, likelihood': before.likelihood,
    'the same, gain by the history': before.gain,
    'this model, likelihood': after.likelihood,
    'this model, gain by the history': after.gain,
  });
  const tested = { ...writingTable(data, before, after), more: [found] };
  await reportResult(output, { from: values.model ?? shippedGpt(), about, ...testResult(tested) });
  console.log(`saved  ${output} (loads in Transformers too), report in ${join(output, 'report.html')}`);
}

interface Tested {
  readonly perplexity: number;
  readonly likelihood: RankingScores;
  readonly gain: RankingScores;
  readonly written: readonly string[];
}

async function test(
  writer: Writer,
  { test }: DialogueData,
  lists: readonly Candidates[],
  options: GenerationOptions & { readonly batchSize: number },
): Promise<Tested> {
  const { likelihoods, gains } = await rankByLikelihood(writer, lists, options.batchSize);
  const histories = test.map(({ history }) => history);
  return {
    perplexity: await replyPerplexity(writer, test, options.batchSize),
    likelihood: scoreRankings(lists, likelihoods),
    gain: scoreRankings(lists, gains),
    written: await writeReplies(writer, histories, options),
  };
}

function describe({ train, validation, test, origin }: DialogueData, parameters: number, maxLength: number): string {
  return [
    `data   ${origin}`,
    `       ${train.length} replies to train, ${validation.length} to validate, ${test.length} to test`,
    `model  ${(parameters / 1e6).toFixed(1)} M parameters, up to ${maxLength} tokens of history and reply`,
  ].join('\n');
}

/** How well the true reply is found, beside what needs no model. */
function rankingTable(
  data: DialogueData,
  lists: readonly Candidates[],
  models: Readonly<Record<string, RankingScores>>,
): { readonly title: string; readonly rows: Scored[] } {
  const { frequencies, matches } = baselineRankings(data.train, lists);
  const all = {
    'guessing, in the mean': scoreGuesses(lists),
    'the most frequent reply': scoreRankings(lists, frequencies),
    BM25: scoreRankings(lists, matches),
    ...models,
  };
  return {
    title: `the true one of ${lists[0]!.replies.length} replies, ${lists.length} times`,
    rows: Object.entries(all).map(([name, scores]) => ({ name, scores: { ...scores } })),
  };
}

/** How replies read, beside those that were given before, and some of them. */
function writingTable({ train, test }: DialogueData, before: Tested, after: Tested): Parameters<typeof testResult>[0] {
  const wanted = test.map(({ reply }) => reply);
  const recall = translationMemory(train.map(({ history, reply }) => ({ source: textOf(history), target: reply })));
  const memory = test.map(({ history }) => recall(textOf(history)));
  const scoresOf = ({ written, perplexity }: Tested): Scored['scores'] => ({
    perplexity,
    ...scoreWritten(written, wanted),
  });
  return {
    of: `${test.length} replies`,
    rows: [
      { name: 'the true replies', scores: scoreWritten(wanted, wanted) },
      { name: 'the reply to the most alike history', scores: scoreWritten(memory, wanted) },
      ...beforeAndAfter(scoresOf(before), scoresOf(after)),
    ],
    digits: { perplexity: 1, BLEU: 1, words: 0 },
    written: test.map(({ history, reply }, i) => ({
      text: history.at(-1)!.content,
      before: before.written[i]!,
      written: after.written[i]!,
      wanted: reply,
    })),
  };
}

/** --ask: a reply, or how well the lines of a file would do as one. */
async function reply(values: Values, text: string): Promise<void> {
  const { model: name, replies, seed } = values;
  if (name === undefined) throw new UsageError(`${command.name}: --ask needs a trained model: --model FOLDER`);
  endWithReader();
  if (replies !== undefined) {
    console.log(await rankedReplies(await loadRanker(name), text, await readPrompts(replies)));
    return;
  }
  const writer = await loadWriter(name, values.maxLength);
  const options = generationOptions(values, { maxNewTokens: 64, ...writer.options });
  await answer(writer, text, { ...options, seed });
}
