import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BertTokenizer } from '../../models/index.ts';
import { loadQuestionData, readQuestions } from '../../train/question-answering/data.ts';
import { scoreAnswers, sentenceBaseline } from '../../train/question-answering/evaluate.ts';
import { trainingFeatures } from '../../train/question-answering/task.ts';
import { rejects } from '../support/failure.ts';
import { goldenFile } from '../support/golden.ts';
import { questionLines } from '../support/questions.ts';

const test = suite('questions to train on');
const folder = mkdtempSync(join(tmpdir(), 'tapeform-questions-'));
let files = 0;
const file = (text: string | object, ending = 'json'): string => {
  const path = join(folder, `${files++}.${ending}`);
  writeFileSync(path, typeof text === 'string' ? text : JSON.stringify(text));
  return path;
};
const squad = (context: unknown, ...qas: object[]) =>
  file({ version: 'v2.0', data: [{ title: 'x', paragraphs: [{ context, qas }] }] });
const context = '🙂 The fox 🔥 ran.';

test('SQuAD 1.1 and 2.0: places count code points in the file and UTF-16 units here', async () => {
  const path = squad(
    context,
    {
      id: 'a',
      question: 'who?',
      answers: [
        { text: 'fox', answer_start: 6 },
        { text: '🔥', answer_start: 10 },
      ],
    },
    { id: 'b', question: 'why?', answers: [], is_impossible: true, plausible_answers: [{}] },
    { id: 'c', question: 'when?', is_impossible: true },
  );
  assert.equal(await readQuestions(path), [
    {
      id: 'a',
      question: 'who?',
      context,
      answers: [
        { text: 'fox', start: 7 },
        { text: '🔥', start: 11 },
      ],
    },
    { id: 'b', question: 'why?', context, answers: [] },
    { id: 'c', question: 'when?', context, answers: [] },
  ]);
});

test('JSONL: answers as a list or as lists of the datasets library; an id is the line by default', async () => {
  const lines = [
    { question: 'who?', context, answers: [{ text: 'fox', answer_start: 6 }] },
    { id: 7, question: 'who?', context, answers: { text: ['fox', 'The fox'], answer_start: [6, 2] } },
    { id: 'none', question: 'why?', context, answers: { text: [], answer_start: [] } },
  ];
  const read = await readQuestions(file(lines.map((line) => JSON.stringify(line)).join('\n\n'), 'jsonl'));
  assert.equal(
    read.map(({ id, answers }) => [id, answers.map(({ start }) => start)]),
    [
      ['1', [7]],
      ['7', [7, 3]],
      ['none', []],
    ],
  );
});

test('the parts share no context, nor one nearly the same; equal seeds split alike', async () => {
  const path = file(questionLines(40), 'jsonl');
  const data = await loadQuestionData({ data: path, seed: 3 });
  const parts = [data.train, data.validation, data.test].map((part) => new Set(part.map((one) => one.context)));
  assert.is(
    new Set(parts.flatMap((part) => [...part])).size,
    parts.reduce((sum, { size }) => sum + size, 0),
  );
  assert.is(data.train.length + data.validation.length + data.test.length, 80);
  assert.equal(await loadQuestionData({ data: path, seed: 3 }), data);
  const known = await loadQuestionData({ data: path, testData: path, seed: 3 });
  assert.match(known.origin, /80 questions about 40 texts; 80 test questions are about texts that are trained on$/);
});

test('answers that are whole in no row are counted; what has none is labelled 0', async () => {
  const tokenizer = await BertTokenizer.fromPretrained(goldenFile('tiny-bert-qa'));
  const words = 'the fox ran to the river and the dog saw the man '.repeat(3).trim();
  const example = (text: string) => ({ id: text, question: 'where?', context: words, answers: [{ text, start: 0 }] });
  const options = { maxLength: 16, docStride: 4 };
  const { features, lost } = trainingFeatures(tokenizer, [example('the fox'), example(words)], options);
  assert.is(lost, 1);
  assert.equal([features[0]!.from, features[1]!.from, features.at(-1)!.to], [4, 0, 0]);
});

test('the baseline: the sentence with most words of the question', () => {
  const text = 'A dog ran. The fox ran over 3.5 hills! Nobody saw.';
  assert.is(
    sentenceBaseline({ question: 'Over how many hills did the fox run?', context: text }),
    'The fox ran over 3.5 hills!',
  );
  assert.is(sentenceBaseline({ question: 'x', context: 'no end' }), 'no end');
});

test('scores: SQuAD 1.1, and 2.0 with the threshold of no answer', () => {
  const [fox, none] = [[{ text: 'the fox', start: 0 }], []];
  const examples = [fox, none].map((answers, i) => ({ id: String(i), question: 'who?', context, answers }));
  const predicted = (text: string, nullScoreDiff: number) => ({ text, nullScoreDiff, nBest: [{ text: '' }, { text }] });
  const predictions = [predicted('Fox ran', -3), predicted('dog', 2)];
  const first = scoreAnswers(examples.slice(0, 1), predictions.slice(0, 1), { version2: false, nullThreshold: 0 });
  assert.equal([first.exactMatch, Math.round(first.f1)], [0, 67]);
  const score = scoreAnswers(examples, predictions, { version2: true, nullThreshold: 0 });
  assert.equal([score.exactMatch, Math.round(score.f1), score.noAnswer!.f1], [50, 83, 100]);
  assert.is(scoreAnswers(examples, predictions, { version2: true, nullThreshold: 5 }).noAnswer!.f1, 0);
});

test('bad input: one line with the file, the question and the mend', async () => {
  const one = (fields: object) => squad(context, { id: 'q', question: 'who?', answers: [], ...fields });
  const answer = (text: unknown, answer_start: unknown) => one({ answers: [{ text, answer_start }] });
  const cases: readonly (readonly [path: string, pattern: RegExp])[] = [
    [
      answer('fox', 7),
      /question "q": its answer "fox" is not at 7 of its context, where "ox " stands; set answer_start to 6/,
    ],
    [answer('cat', 6), /its answer "cat" is not at 6 .*, where "fox" stands; the context does not hold it$/],
    [answer('fox', 999), /"fox" is not at 999 of its context, which has 16 characters; set answer_start to 6/],
    [answer('fox', -1), /the answer_start of its answer "fox" is -1, not a whole number/],
    [answer('fox', '6'), /answer_start of its answer "fox" is "6"/],
    [answer('fox', undefined), /answer_start of its answer "fox" is missing/],
    [answer(' ', 1), /the text of its answer is " "; fill it/],
    [one({ question: ' ' }), /question "q": its question is empty; fill it, or leave the question out/],
    [one({ question: undefined }), /its question is missing, not a text/],
    [one({ answers: undefined }), /its answers are missing; answers are a list of .*, and \[\] for a question without/],
    [one({ answers: ['fox'] }), /its answer "fox" is no object/],
    [one({ answers: { text: ['fox'], answer_start: [] } }), /its answers are \{"text":\["fox"\],"answer_start":\[\]\}/],
    [one({ id: undefined }), /data\[0\]\.paragraphs\[0\]\.qas\[0\]: its id is missing/],
    [one({ is_impossible: true, answers: [{ text: 'fox', answer_start: 6 }] }), /is_impossible is true, and there are/],
    [squad('', { id: 'q', question: 'who?', answers: [] }), /question "q": its context is empty/],
    [squad(undefined, { id: 'q', question: 'who?', answers: [] }), /its context is missing/],
    [
      squad(context, { id: 'q', question: 'a?', answers: [] }, { id: 'q', question: 'b?', answers: [] }),
      /question "q": data\[0\]\.paragraphs\[0\]\.qas\[0\] has the id "q" too; ids must differ/,
    ],
    [squad(context), /no questions; give SQuAD's JSON, or JSONL/],
    [file({ rows: [] }), /it has no list "data"; SQuAD's format is \{"data"/],
    [file({ data: [{}] }), /data\[0\] has no list "paragraphs"/],
    [file('{"data": [', 'json'), /not JSON \(.*\); give SQuAD's JSON/],
    [file('{"question": "who?", "context": "me"}\n', 'jsonl'), /\.jsonl:1: its answers are missing/],
    [file('\n{"question": "who?"}\n', 'jsonl'), /\.jsonl:2: its context is missing, not a text/],
    [file('{"question": 3, "context": "me", "answers": []}', 'jsonl'), /its question is 3, not a text/],
    [file('who?\tme\n', 'tsv'), /the ending tells no format of questions; give SQuAD's JSON/],
    [file('', 'jsonl'), /no questions/],
    [join(folder, 'absent.json'), /absent\.json/],
  ];
  for (const [path, pattern] of cases) await rejects(readQuestions(path), pattern);
  writeFileSync(join(folder, 'latin.json'), Buffer.from('{"data": "caf\xe9"}', 'latin1'));
  await rejects(readQuestions(join(folder, 'latin.json')), /latin\.json:1: not UTF-8/);
});

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();
