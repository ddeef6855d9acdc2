import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { answerQuestions, BertForQuestionAnswering, loadQuestionAnswerer } from '../../models/index.ts';
import type { BertConfig } from '../../models/index.ts';
import { bestAnswers, predictAnswer } from '../../models/pipelines/question-answering/decode.ts';
import type { AnswerOptions } from '../../models/pipelines/question-answering/decode.ts';
import { answerPositions, questionFeatures } from '../../models/pipelines/question-answering/features.ts';
import { byQuestion, spanLogits } from '../../models/pipelines/question-answering/pipeline.ts';
import { rejects, throwsOneLine } from '../support/failure.ts';
import { goldenFile } from '../support/golden.ts';

const test = suite('question answering');

/** What Transformers makes of the same questions, see test/golden/golden_question_answering.py. */
interface Golden {
  readonly cases: readonly { question: string; context: string; answers: readonly [place: number, text: string][] }[];
  readonly features: readonly { options: [length: number, stride: number]; rows: readonly (readonly GoldenRow[])[] }[];
  readonly pipelines: readonly {
    options: Readonly<Record<string, number | boolean>>;
    answers: readonly (readonly [score: number, start: number, end: number, text: string][])[];
  }[];
  readonly predictions: readonly {
    options: Readonly<Record<string, number | boolean>>;
    lengths: [length: number, stride: number];
    answers: readonly {
      text: string;
      nBest: readonly [text: string, probability: number, startLogit: number, endLogit: number][];
      nullScoreDiff?: number;
    }[];
  }[];
}

interface GoldenRow {
  readonly ids: readonly number[];
  readonly types: readonly number[];
  readonly context: readonly [first: number, stop: number];
  readonly offsets: readonly number[];
  readonly words: readonly number[];
  readonly positions: readonly (readonly number[])[];
}

const golden = JSON.parse(readFileSync(goldenFile('question-answering.json'), 'utf8')) as Golden;
const { cases } = golden;
const answerer = await loadQuestionAnswerer(goldenFile('tiny-bert-qa'));
const { model, tokenizer } = answerer;

const close = (found: number, expected: number, what: string, tolerance = 1e-4): void =>
  assert.ok(Math.abs(found - expected) <= tolerance, `${what}: ${found}, expected ${expected}`);

for (const { options, rows } of golden.features) {
  const [maxLength, docStride] = options;
  test(`rows of ${maxLength} tokens, stride ${docStride}: ids, places, words, labels as in run_qa`, () => {
    const features = questionFeatures(tokenizer, cases, { maxLength, docStride });
    assert.equal(
      features.map(({ question }) => question),
      rows.flatMap((list, i) => list.map(() => i)),
    );
    rows.flat().forEach((row, i) => {
      const { inputIds, tokenTypeIds, first, stop, starts, ends, words, question } = features[i]!;
      assert.equal([...inputIds], row.ids);
      assert.equal([...tokenTypeIds], row.types);
      assert.equal([first, stop], row.context);
      const places = Array.from({ length: stop - first }, (_, k) => [starts[first + k]!, ends[first + k]!]);
      assert.equal(places.flat(), row.offsets);
      assert.equal([...words.slice(first, stop)], row.words);
      const found = cases[question]!.answers.map(([at, text]) => answerPositions(features[i]!, at, at + text.length));
      assert.equal(found, row.positions);
    });
  });
}

/** snake_case to our names of the pipeline's options. */
const named = (options: Readonly<Record<string, number | boolean>>): Record<string, number | boolean> =>
  Object.fromEntries(
    Object.entries(options).map(([name, value]) => [name.replace(/_(.)/g, (_, c: string) => c.toUpperCase()), value]),
  );

for (const { options, answers } of golden.pipelines) {
  test(`answers are those of Transformers' pipeline: ${JSON.stringify(options)}`, async () => {
    const found = await answerQuestions(answerer, cases, { ...named(options), batchSize: 5 });
    found.forEach((list, i) => {
      const what = `"${cases[i]!.question}"`;
      assert.equal(
        list.map(({ start, end, answer }) => [start, end, answer]),
        answers[i]!.map(([, start, end, text]) => [start, end, text]),
        what,
      );
      list.forEach(({ score }, k) => close(score, answers[i]![k]![0], what));
      for (const { start, end, answer } of list) assert.is(cases[i]!.context.slice(start, end), answer);
    });
  });
}

for (const { options, lengths, answers } of golden.predictions) {
  const [maxLength, docStride] = lengths;
  test(`predictions are those of run_qa: ${JSON.stringify(options)}, rows of ${maxLength}`, async () => {
    const { version2WithNegative: version2, ...rest } = named(options);
    const features = questionFeatures(tokenizer, cases, { maxLength, docStride });
    const parts = byQuestion(cases.length, features, await spanLogits(answerer, features, { batchSize: 8 }));
    parts.forEach((part, i) => {
      const { context, question } = cases[i]!;
      const found = predictAnswer(context, part.features, part.logits, { ...rest, version2: version2 === true });
      const expected = answers[i]!;
      const first = found.nBest.slice(0, 6);
      if (expected.text === 'empty') assert.is(found.text, '');
      else assert.is(found.text, expected.text, question);
      const known = expected.nBest.filter(([text]) => text !== 'empty');
      assert.equal(
        first.map(({ text }) => text),
        known.map(([text]) => text),
        question,
      );
      known.forEach(([, probability, startLogit, endLogit], k) => {
        if (known.length === expected.nBest.length) close(first[k]!.probability, probability, question);
        close(first[k]!.startLogit, startLogit, question);
        close(first[k]!.endLogit, endLogit, question);
      });
      if (expected.nullScoreDiff !== undefined) close(found.nullScoreDiff!, expected.nullScoreDiff, question);
    });
  });
}

test('a label that run_qa gets wrong: the last token of a row is where its answer begins', () => {
  const context = 'The fox ran home';
  const [feature] = questionFeatures(tokenizer, [{ question: 'where?', context }]);
  const [from, to] = answerPositions(feature!, context.indexOf('home'), context.length);
  assert.is(feature!.starts[from], context.indexOf('home'));
  assert.is(to, feature!.stop - 1);
});

test('a context of no tokens has no answer, and one of a megabyte is cut into parts', async () => {
  assert.equal(await answerQuestions(answerer, [{ question: 'who?', context: '\u200b\u200b' }]), [
    [{ score: 0, start: 0, end: 0, answer: '' }],
  ]);
  const context = `${'the dog ran. '.repeat(80_000)}the fox`;
  const features = questionFeatures(tokenizer, [{ question: 'who?', context }], { maxLength: 128, docStride: 32 });
  assert.ok(features.length > 2000);
  assert.is(features.at(-1)!.ends[features.at(-1)!.stop - 1], context.length);
  const flat = features.slice(-2).map(({ inputIds }) => {
    const start = new Float32Array(inputIds.length);
    start[inputIds.length - 2] = 9;
    return { start, end: start };
  });
  assert.is(bestAnswers(context, features.slice(-2), flat)[0]!.answer, 'fox');
});

test('bad input: one line with the question', async () => {
  const context = 'the fox ran';
  const ask = (asked: object, options: AnswerOptions = {}) => answerQuestions(answerer, [asked as never], options);
  await rejects(ask({ question: ' ', context }), /^question 0: its question is empty; give/);
  await rejects(ask({ id: 'q7', question: 'who?', context: '' }), /^question q7: its context is empty/);
  await rejects(ask({ question: 'who?' }), /its context is no text/);
  await rejects(ask({ question: 'who?', context }, { topK: 0 }), /topK must be a whole number of at least 1, got 0/);
  await rejects(answerQuestions(answerer, []), /there are no questions: pass at least one/);
  const long = { id: 'long', question: 'the fox '.repeat(50), context: context.repeat(20) };
  await rejects(
    ask(long),
    /^question "long" has 100 tokens, which leave 25 of 128 to its context: more than .* 64 are/,
  );
  throwsOneLine(() => questionFeatures(tokenizer, [long], { maxLength: 64, docStride: 0 }), /leave 0 of 64/);
  await rejects(
    answerQuestions(answerer, [{ question: 'who?', context: context.repeat(99) }], { maxSeqLen: 200 }),
    /rows of 200 tokens are too long, the model has positions for 128; make them of at most 128/,
  );
  const left = { ...answerer, tokenizer: Object.create(tokenizer, { paddingSide: { value: 'left' } }) as never };
  await rejects(answerQuestions(left, [{ question: 'who?', context }]), /set its padding_side to "right"/);
  await rejects(
    loadQuestionAnswerer(goldenFile('tiny-bert')),
    /holds a "BertForPreTraining" without the head of BertForQuestionAnswering/,
  );
});

test('the mode of a model that is in training is put back, and dropout plays no part', async () => {
  const wild = new BertForQuestionAnswering({ ...(model.config as BertConfig), hiddenDropoutProb: 0.9 });
  const asked = [{ question: 'who?', context: 'the fox ran' }];
  wild.train();
  const [first, second] = [
    await answerQuestions({ model: wild, tokenizer }, asked),
    await answerQuestions({ model: wild, tokenizer }, asked),
  ];
  assert.equal(first, second);
  assert.is(wild.training, true);
});

test.run();
