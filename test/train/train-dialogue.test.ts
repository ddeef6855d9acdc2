import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed, noGrad } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import { BertForSequenceClassification, GPT2LMHeadModel, logLikelihoods } from '../../models/index.ts';
import { baselineRankings, candidatesFor, fitTurns } from '../../train/dialogue/candidates.ts';
import { scoreGuesses, scoreRankings, wrongReplies } from '../../train/dialogue/candidates.ts';
import { loadDialogues, readDialogues } from '../../train/dialogue/data.ts';
import type { DialogueExample } from '../../train/dialogue/data.ts';
import { loadRanker, pairRows, rankingTask, scoreReplies } from '../../train/dialogue/ranking.ts';
import { loadWriter, replyRow, replyTask } from '../../train/dialogue/replies.ts';
import { toDevice } from '../../train/objectives/task.ts';
import { trainByteLevelBpe } from '../../train/tokenizer-training/train-byte-level.ts';
import { failure, rejects } from '../support/failure.ts';
import { goldenFile } from '../support/golden.ts';
import { lossesIn, refused, resumesAs, runScript } from '../support/script.ts';
import type { Finished, ScriptOptions } from '../support/script.ts';

const test = suite('train-dialogue');
const folder = mkdtempSync(join(tmpdir(), 'tapeform-train-dialogue-'));
test.after(() => rmSync(folder, { recursive: true, force: true }));
const write = (name: string, rows: readonly unknown[]): string => {
  const path = join(folder, name);
  writeFileSync(path, rows.map((row) => JSON.stringify(row)).join('\n'));
  return path;
};

/** Where an animal is, and who it is that was spoken of: no two dialogues are alike. */
const places = { fox: 'the hill', dog: 'the house', man: 'the river' };
const syllables = ['ba', 'de', 'fi', 'go', 'hu', 'ka', 'le', 'mi', 'no', 'pu', 'ra'];
const nameOf = (i: number): string => [i, Math.floor(i / 11), 3 * i + 1].map((k) => syllables[k % 11]!).join('');
const dialogueOf = (i: number) => {
  const [animal, place] = Object.entries(places)[i % 3]!;
  const name = `${nameOf(i)} ${nameOf(i + 4)}`;
  return [
    { role: 'user', content: `${name}: where is the ${animal}?` },
    { role: 'assistant', content: `${name}, in ${place}.` },
    { role: 'user', content: `who is in ${place}?` },
    { role: 'assistant', content: `the ${animal}, ${name}.` },
  ];
};
const dialogues = Array.from({ length: 64 }, (_, i) => ({ messages: dialogueOf(i), thread: `t${i % 30}` }));
const data = write('dialogues.jsonl', dialogues);

/** A GPT-2 that knows nothing, and bytes. */
const gpt = join(folder, 'gpt');
const texts = dialogues.flatMap(({ messages }) => messages.map(({ content }) => content));
const tokenizer = await trainByteLevelBpe(texts, { vocabSize: 300, roles: { eos_token: '</s>' }, modelMaxLength: 48 });
manualSeed(1);
await GPT2LMHeadModel.fromConfig({
  ...{ vocabSize: tokenizer.vocabSize, nPositions: 48, nEmbd: 32, nLayer: 1, nHead: 2 },
  eosTokenId: tokenizer.eosTokenId!,
}).savePretrained(gpt, { tokenizer });

const run = (args: readonly string[], options?: ScriptOptions): Promise<Finished> =>
  runScript(['train/train-dialogue.ts', ...args], options);
const common = ['--data', data, '--group-column', 'thread', '--batch-size', '8', '--candidates', '5'];
const writing = [
  ...[...common, '--model', gpt, '--epochs', '12', '--learning-rate', '0.02', '--save-every', '20'],
  ...['--greedy', '--max-new-tokens', '12'],
];
const ranking = [
  ...[...common, '--task', 'ranking', '--model', goldenFile('tiny-bert-qa'), '--learning-rate', '0.01'],
  ...['--save-every', '3', '--negatives', '2', '--max-length', '32'],
];
const writer = join(folder, 'writer');
const ranker = join(folder, 'ranker');

/** A row of the table of rankings. */
const row = (stdout: string, name: string): number[] => {
  const [, cells] = new RegExp(`^${name} +((?:[\\d.]+ *)+)$`, 'm').exec(stdout)!;
  return cells!.trim().split(/ +/).map(Number);
};

test('a decoder learns to reply; killed and resumed it is the same, bit for bit', async () => {
  const killed = join(folder, 'killed-writer');
  const [done] = await Promise.all([
    run([...writing, '--output', writer]),
    run([...writing, '--output', killed], { killAt: join(killed, 'checkpoint-40') }),
  ]);
  assert.is(done.code, 0, done.stderr);
  assert.match(done.stdout, /128 replies in 30 dialogues; left out: .*\n {7}\d+ replies to train, \d+ to validate/);
  assert.ok(row(done.stdout, 'this model, likelihood')[0]! > row(done.stdout, 'guessing, in the mean')[0]!);
  const [before, after] = ['the model it began as', 'this model'].map((name) => row(done.stdout, name));
  assert.ok(after![0]! < before![0]! / 5, done.stdout); // perplexity
  assert.ok(after![3]! > 20, done.stdout); // BLEU
  const config = JSON.parse(readFileSync(join(writer, 'tokenizer_config.json'), 'utf8')) as { chat_template: string };
  assert.match(config.chat_template, /eos_token/);
  await resumesAs(writer, killed, () => run([...writing, '--output', killed, '--resume']));
});

test('one talks with it: a text, or line by line with all before in mind', async () => {
  const asked = await run(['--ask', 'bago defi: where is the fox?', '--model', writer, '--greedy']);
  assert.is(asked.code, 0, asked.stderr);
  assert.match(asked.stdout, /^\w.*\n$/);
  const question = 'bago defi: where is the fox?';
  const chat = (...lines: readonly string[]): Promise<Finished> =>
    runScript(['train/chat.ts', '--model', writer, '--greedy'], { input: lines.join('\n') });
  const talked = await chat(question, '', 'who is in the hill?', '/reset', question);
  assert.is(talked.code, 0, talked.stderr);
  const replies = talked.stdout.trim().split('\n');
  assert.is(replies.length, 3);
  assert.is(`${replies[0]}\n`, asked.stdout);
  assert.match(replies[1]!, /^\w/);
  assert.is(replies[2], replies[0]);
  // More said than the model reads: the oldest goes.
  const far = await chat(...Array.from({ length: 6 }, () => question));
  assert.is(far.code, 0, far.stderr);
  assert.is(far.stdout.match(/\n/g)!.length, 6); // some of them of no words
});

test('a BERT learns to rank replies; killed and resumed it is the same, bit for bit', async () => {
  const killed = join(folder, 'killed-ranker');
  const [done] = await Promise.all([
    run([...ranking, '--output', ranker]),
    run([...ranking, '--output', killed], { killAt: join(killed, 'checkpoint-6') }),
  ]);
  assert.is(done.code, 0, done.stderr);
  const losses = lossesIn(ranker);
  const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b) / values.length;
  assert.ok(mean(losses.slice(-6)) < mean(losses.slice(0, 6)) - 0.1, losses.join());
  assert.is(row(done.stdout, 'this model').length, 4);
  assert.is((await BertForSequenceClassification.fromPretrained(ranker)).config.labels.length, 1);
  await resumesAs(ranker, killed, () => run([...ranking, '--output', killed, '--resume']));
  const replies = join(folder, 'replies.txt');
  writeFileSync(replies, 'bago, in the hill.\nthe fox, bago.\n');
  const asked = await run(['--ask', 'bago defi: where is the fox?', '--model', ranker, '--replies', replies]);
  assert.is(asked.code, 0, asked.stderr);
  assert.match(asked.stdout, /^score +reply\n( *-?\d+\.\d{3} {2}\w.*\n){2}$/);
});

test('the loss is that of the replies and their ends alone', async () => {
  const loaded = await loadWriter(gpt, 40);
  const examples = await readDialogues(data);
  const rows = examples.slice(0, 6).map((example) => replyRow(loaded, example));
  const task = replyTask(loaded, rows, { batchSize: 6, seed: 1 });
  const batch = await task.batch(0);
  const { loss } = noGrad(() => task.losses(toDevice(batch)));
  const likelihoods = await logLikelihoods(loaded.model, rows);
  const tokens = rows.reduce((sum, { continuation }) => sum + continuation.length, 0);
  const wanted = -likelihoods.reduce((sum, { logLikelihood }) => sum + logLikelihood, 0) / tokens;
  assert.is(batch.counts['loss'], tokens);
  assert.ok(Math.abs((await loss!.item()) - wanted) < 1e-5);
  for (const [i, { continuation }] of rows.entries()) {
    assert.is(continuation.at(-1), tokenizer.eosTokenId);
    assert.is(tokenizer.decode(continuation.slice(0, -1)), examples[i]!.reply);
  }
  // A reply that is cut has no end.
  const [cut] = [replyRow({ ...loaded, maxLength: 8 }, examples[1]!)];
  assert.is(cut!.context.length + cut!.continuation.length, 8);
  assert.not.equal(cut!.continuation.at(-1), tokenizer.eosTokenId);
  const whole = replyRow({ ...loaded, maxLength: 1000 }, examples[1]!);
  assert.equal(cut!.context, whole.context.slice(-cut!.context.length));
});

test('a ranker reads a history and a reply as a pair; wrong replies are others in each epoch', async () => {
  const bert = await loadRanker(ranker);
  const history = [
    { role: 'user', content: 'the fox ran' },
    { role: 'assistant', content: 'over the hill' },
  ] as const;
  const { clsTokenId: cls, sepTokenId: sep } = bert.tokenizer;
  const ids = (text: string): number[] => [...bert.tokenizer.idsOf(text)];
  const { inputIds, tokenTypeIds } = pairRows({ ...bert, maxLength: 64 })(history, 'the dog');
  const first = [cls, ...ids('the fox ran'), sep, ...ids('over the hill'), sep];
  assert.equal([...inputIds], [...first, ...ids('the dog'), sep]);
  assert.equal(
    [...tokenTypeIds],
    [...first.map(() => 0), ...ids('the dog'), sep].map((x, i) => (i < first.length ? 0 : 1)),
  );
  const short = pairRows({ ...bert, maxLength: 8 })(history, 'the dog');
  assert.equal([...short.inputIds], [cls, ...ids('over the hill').slice(-3), sep, ...ids('the dog'), sep].slice(0, 8));

  const examples = await readDialogues(data);
  const task = rankingTask(bert, examples, { batchSize: 8, negatives: 3, seed: 5 });
  const [batch, again, later] = [await task.batch(1), await task.batch(1), await task.batch(1 + task.batchesPerEpoch)];
  assert.equal(batch, again);
  assert.is(batch.arrays['inputIds']!.shape[0], 32);
  assert.not.equal([...batch.arrays['inputIds']!.data], [...later.arrays['inputIds']!.data]);
  const scores = await scoreReplies(bert, examples, 7);
  assert.is(scores.length, examples.length);
});

test('candidates: the true one among others, some of the same dialogue; equal seeds give equal lists', async () => {
  const examples = await readDialogues(data, { groupColumn: 'thread' });
  const lists = candidatesFor(examples, 7, 3);
  assert.equal(candidatesFor(examples, 7, 3), lists);
  const counts = new Array<number>(7).fill(0);
  for (const { example, replies, right } of lists) {
    assert.is(replies[right], example.reply);
    assert.is(new Set(replies).size, 7);
    counts[right]!++;
    const same = examples.filter(({ group, reply }) => group === example.group && reply !== example.reply);
    assert.ok(same.some(({ reply }) => replies.includes(reply)));
  }
  assert.ok(
    counts.every((count) => count > 2),
    counts.join(),
  );
  const draw = wrongReplies(examples.slice(0, 3));
  assert.throws(() => draw(examples[0]!, 3, new Random(1)), /3 wrong replies are needed.* there are 3 different/);
});

test('rankings and baselines by hand', () => {
  const said = (content: string): DialogueExample['history'] => [{ role: 'user', content }];
  const example = { history: said('where is the red fox?'), reply: 'the fox is here', group: 'a' };
  const lists = [
    { example, replies: ['no', 'the fox is here', 'yes'], right: 1 },
    { example: { ...example, reply: 'yes' }, replies: ['no', 'yes', 'the dog'], right: 1 },
  ];
  assert.equal(
    scoreRankings(lists, [
      [1, 2, 0],
      [3, 1, 2],
    ]),
    { 'R@1': 0.5, 'R@2': 0.5, MRR: 2 / 3, MAP: 2 / 3 },
  );
  const guessed = scoreGuesses(lists);
  assert.equal([guessed['R@1'], guessed['R@2']], [1 / 3, 2 / 3]);
  assert.ok(Math.abs(guessed['MRR']! - (1 + 1 / 2 + 1 / 3) / 3) < 1e-12);
  const trained = ['yes', 'yes', 'no'].map((reply) => ({ ...example, reply }));
  const { frequencies, matches } = baselineRankings(trained, lists);
  assert.equal(frequencies, [
    [1, 0, 2],
    [1, 2, 0],
  ]);
  assert.ok(matches[0]![1]! > 0 && matches[0]![0] === 0);
  assert.equal(fitTurns(3, 4, 10), { history: 3, reply: 4 });
  assert.equal(fitTurns(30, 4, 10), { history: 6, reply: 4 });
  assert.equal(fitTurns(30, 40, 10), { history: 5, reply: 5 });
  assert.equal(fitTurns(2, 40, 10), { history: 2, reply: 8 });
});

test('a dialogue is in one part of the data; the corpus of mails has true answers', async () => {
  const { train, validation, test: held, origin } = await loadDialogues(data, { groupColumn: 'thread', seed: 1 });
  const groups = [train, validation, held].map((part) => new Set(part.map(({ group }) => group)));
  for (const group of groups[0]!) assert.not.ok(groups[1]!.has(group) || groups[2]!.has(group));
  for (const group of groups[1]!) assert.not.ok(groups[2]!.has(group));
  assert.match(origin, /128 replies in 30 dialogues/);
  const mails = await loadDialogues('spam-assassin', { seed: 1 });
  assert.ok(mails.train.length > 1500);
  for (const { history } of mails.test) assert.is(history.at(-1)!.role, 'user');
});

test('bad rows are named by file and line, bad flags by their mend', async () => {
  const good = { messages: dialogueOf(0) };
  const bad = async (messages: unknown, pattern: RegExp): Promise<void> =>
    rejects(readDialogues(write('bad.jsonl', [good, { messages }])), pattern);
  await bad('hello', /bad\.jsonl:2: "messages" is "hello", no list of \{"role", "content"\}$/);
  await bad(
    [{ role: 'bot', content: 'a' }],
    /bad\.jsonl:2: message 1 has the role "bot"; use system, user, assistant$/,
  );
  await bad([{ role: 'user' }], /bad\.jsonl:2: message 1, user.s, is undefined; it must be a text$/);
  await bad(
    [
      { role: 'user', content: 'a' },
      { role: 'assistant', content: ' ' },
    ],
    /bad\.jsonl:2: message 2, assistant.s, is empty/,
  );
  await bad([3], /bad\.jsonl:2: message 1 has the role undefined/);
  await bad([{ role: 'assistant', content: 'a' }], /bad\.jsonl:2: no message of the assistant follows another one/);
  await bad([], /bad\.jsonl:2: "messages" is empty/);
  await rejects(readDialogues(write('none.jsonl', [{ turns: [] }])), /none\.jsonl:1: no column "messages" among turns/);
  await rejects(readDialogues(write('empty.jsonl', [])), /empty\.jsonl: no rows; each has \{"messages"/);
  await rejects(readDialogues(data, { groupColumn: 'page' }), /dialogues\.jsonl:1: no column "page"/);
  assert.match(await failure(loadRanker(goldenFile('tiny-bert-tasks'))), /tells 6 classes apart/);

  const output = join(folder, 'refused');
  const cases: readonly (readonly [args: readonly string[], code: number, pattern: RegExp])[] = [
    [['--ask', 'a'], 2, /--ask needs a trained model: --model FOLDER/],
    [['--replies', data], 2, /--replies goes with --ask/],
    [['--ask', 'a', '--model', goldenFile('tiny-bert')], 1, /model_type is "bert", which generates no text here/],
    [[...common, '--model', goldenFile('tiny-marian'), '--output', `${output}-2`], 1, /continues texts|tokenizer/],
    [['--data', data, '--candidates', '500', '--output', output], 1, /499 wrong replies are needed/],
  ];
  const finished = await Promise.all(cases.map(([args]) => run(args)));
  cases.forEach(([, code, pattern], i) => refused(finished[i]!, code, pattern));
  assert.not.ok(existsSync(join(output, 'model.safetensors')));
});

test.run();
