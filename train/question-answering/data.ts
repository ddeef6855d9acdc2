import { extname } from 'node:path';
import { isJsonObject } from '../../common/json-file.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { brief, printable } from '../../common/printable.ts';
import type { Question } from '../../models/index.ts';
import { duplicateGroups } from '../data/duplicates/groups.ts';
import { stratifiedSplit } from '../data/split.ts';
import { tableRows } from '../data/table-rows.ts';
import { wholeText } from '../data/utf8-blocks.ts';

/** A true answer: `context.slice(start, start + text.length)`, so `start` counts UTF-16 units. */
export interface TrueAnswer {
  readonly text: string;
  readonly start: number;
}

export interface QuestionExample extends Question {
  readonly id: string;
  /** None: the context does not answer the question. */
  readonly answers: readonly TrueAnswer[];
}

/** Questions in three parts that share no context. */
export interface QuestionData {
  readonly train: readonly QuestionExample[];
  readonly validation: readonly QuestionExample[];
  readonly test: readonly QuestionExample[];
  /** One line about where they come from. */
  readonly origin: string;
}

export interface QuestionDataOptions {
  readonly data: string;
  /** A file to test on; without one a part of `data` is held out. */
  readonly testData?: string;
  readonly seed: number;
}

/** The formats that are read, as scripts tell them. */
export const questionFormats =
  'SQuAD\'s JSON, or JSONL of {"question": ..., "context": ..., "answers": [{"text": ..., "answer_start": ...}]}';

/**
 * Reads the questions of a file and splits them by context: all questions about a text, or about one nearly
 * the same, go to one part.
 */
export async function loadQuestionData({ data, testData, seed }: QuestionDataOptions): Promise<QuestionData> {
  const examples = await readQuestions(data);
  const contexts = [...new Set(examples.map(({ context }) => context))];
  const alike = duplicateGroups(contexts);
  const numberOf = new Map(contexts.map((context, i) => [context, alike[i]!]));
  const fractions = testData ? { train: 0.9, validation: 0.1, test: 0 } : { train: 0.8, validation: 0.1, test: 0.1 };
  const split = stratifiedSplit(new Uint8Array(examples.length), {
    fractions,
    seed,
    data,
    groups: examples.map(({ context }) => numberOf.get(context)!),
  });
  const pick = (indices: readonly number[]): QuestionExample[] => indices.map((i) => examples[i]!);
  const test = testData ? await readQuestions(testData) : pick(split.test);
  const known = test.filter(({ context }) => numberOf.has(context)).length;
  return {
    train: pick(split.train),
    validation: pick(split.validation),
    test,
    origin:
      `${data}, ${examples.length} questions about ${contexts.length} texts${unanswerable(examples)}` +
      (testData && known > 0 ? `; ${known} test questions are about texts that are trained on` : ''),
  };
}

const unanswerable = (examples: readonly QuestionExample[]): string => {
  const count = examples.filter(({ answers }) => answers.length === 0).length;
  return count > 0 ? `, ${count} without an answer` : '';
};

/**
 * The questions of a file: SQuAD's JSON (1.1 or 2.0), or JSONL with a question and its context on each line.
 * `answers` is a list of `{ text, answer_start }`, or the lists `{ text: [], answer_start: [] }` that the
 * datasets library writes; empty where there is no answer. `answer_start` counts code points, as in SQuAD.
 *
 * Errors, each one line with the file and the question's id, or the line: a field is missing or of another
 * type, an empty question, context or answer, two questions of one id, an answer that does not stand where
 * its `answer_start` says, no questions.
 */
export async function readQuestions(path: string): Promise<QuestionExample[]> {
  const extension = extname(path).toLowerCase();
  if (!['.json', '.jsonl', '.ndjson'].includes(extension))
    throw new Error(`${path}: the ending tells no format of questions; give ${questionFormats}`);
  const rows = extension === '.json' ? squadRows(path) : lineRows(path);
  const examples: QuestionExample[] = [];
  const seen = new Map<string, string>();
  for await (const row of rows) {
    const example = readExample(row);
    const { id } = example;
    const before = seen.get(id);
    if (before !== undefined) throw new Error(`${row.where}: ${before} has the id ${brief(id)} too; ids must differ`);
    seen.set(id, row.at);
    examples.push(example);
  }
  if (examples.length === 0) throw new Error(`${path}: no questions; give ${questionFormats}`);
  return examples;
}

/** A question as its file has it. */
interface Row {
  /** File and question, for errors. */
  readonly where: string;
  /** The place inside of the file. */
  readonly at: string;
  readonly defaultId?: string;
  readonly fields: JsonObject;
}

/** SQuAD: `{ data: [{ paragraphs: [{ context, qas: [{ id, question, answers, is_impossible }] }] }] }`. */
async function* squadRows(path: string): AsyncGenerator<Row> {
  const text = await wholeText(path);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    const [reason = ''] = (error as SyntaxError).message.split('\n');
    throw new Error(`${path}: not JSON (${printable(reason)}); give ${questionFormats}`, { cause: error });
  }
  const list = (value: unknown, name: string, at: string): unknown[] => {
    const found = isJsonObject(value) ? value[name] : undefined;
    if (!Array.isArray(found))
      throw new Error(
        `${path}: ${at === '' ? 'it' : at} has no list "${name}"; SQuAD's format is ` +
          '{"data": [{"paragraphs": [{"context": ..., "qas": [{"id", "question", "answers"}]}]}]}',
      );
    return found;
  };
  for (const [a, article] of list(json, 'data', '').entries()) {
    for (const [p, paragraph] of list(article, 'paragraphs', `data[${a}]`).entries()) {
      const place = `data[${a}].paragraphs[${p}]`;
      for (const [q, question] of list(paragraph, 'qas', place).entries()) {
        const at = `${place}.qas[${q}]`;
        if (!isJsonObject(question)) throw new Error(`${path}: ${at} is ${brief(question)}, not an object`);
        const id = question['id'];
        const name = typeof id === 'string' ? `question ${brief(id)}` : at;
        const fields = { ...question, context: (paragraph as JsonObject)['context'] };
        yield { where: `${path}: ${name}`, at, fields };
      }
    }
  }
}

async function* lineRows(path: string): AsyncGenerator<Row> {
  for await (const { line, cells } of tableRows(path, { format: 'jsonl' }))
    yield { where: `${path}:${line}`, at: `line ${line}`, defaultId: String(line), fields: { ...cells } };
}

function readExample({ where, fields, defaultId }: Row): QuestionExample {
  const text = (name: string, otherwise?: string): string => {
    const value = fields[name] ?? otherwise;
    if (typeof value === 'number' && name === 'id') return String(value);
    if (typeof value !== 'string')
      throw new Error(`${where}: its ${name} is ${value === undefined ? 'missing' : brief(value)}, not a text`);
    if (value.trim() === '') throw new Error(`${where}: its ${name} is empty; fill it, or leave the question out`);
    return value;
  };
  const [id, question, context] = [text('id', defaultId), text('question'), text('context')];
  const isImpossible = fields['is_impossible'] === true;
  const given = fields['answers'] ?? (isImpossible ? [] : undefined);
  const answers = answerFields(given, where).map((answer) => readAnswer(answer, context, where));
  if (isImpossible && answers.length > 0)
    throw new Error(`${where}: is_impossible is true, and there are answers; keep one of the two`);
  return { id, question, context, answers };
}

/** Each answer's text and start, of either way to write them. */
function answerFields(answers: unknown, where: string): { text: unknown; start: unknown }[] {
  if (Array.isArray(answers))
    return answers.map((answer: unknown) => {
      if (!isJsonObject(answer)) throw new Error(`${where}: its answer ${brief(answer)} is no object; ${answerFormat}`);
      return { text: answer['text'], start: answer['answer_start'] };
    });
  const { text, answer_start: starts } = isJsonObject(answers) ? answers : {};
  if (!Array.isArray(text) || !Array.isArray(starts) || text.length !== starts.length)
    throw new Error(
      `${where}: its answers are ${answers === undefined ? 'missing' : brief(answers)}; ${answerFormat}, and [] ` +
        'for a question without an answer',
    );
  return text.map((each: unknown, i) => ({ text: each, start: starts[i] as unknown }));
}

const answerFormat = 'answers are a list of {"text": ..., "answer_start": ...}';

function readAnswer({ text, start }: { text: unknown; start: unknown }, context: string, where: string): TrueAnswer {
  if (typeof text !== 'string' || text.trim() === '')
    throw new Error(`${where}: the text of its answer is ${text === undefined ? 'missing' : brief(text)}; fill it`);
  if (!Number.isInteger(start) || (start as number) < 0)
    throw new Error(
      `${where}: the answer_start of its answer ${brief(text)} is ${start === undefined ? 'missing' : brief(start)}, ` +
        'not a whole number of at least 0',
    );
  const unit = unitAt(context, start as number);
  if (unit !== undefined && context.startsWith(text, unit)) return { text, start: unit };
  const stands =
    unit === undefined
      ? `which has ${Array.from(context).length} characters`
      : `where ${brief(context.slice(unit, unit + text.length))} stands`;
  throw new Error(
    `${where}: its answer ${brief(text)} is not at ${brief(start)} of its context, ${stands}; ${mendOf(text, context)}`,
  );
}

function mendOf(text: string, context: string): string {
  const at = context.indexOf(text);
  if (at < 0) return 'the context does not hold it';
  return `set answer_start to ${Array.from(context.slice(0, at)).length} (characters are counted from 0)`;
}

/** The UTF-16 unit at which a code point begins; undefined beyond the text's end. */
function unitAt(text: string, codePoint: number): number | undefined {
  if (!/[\ud800-\udbff]/.test(text)) return codePoint < text.length ? codePoint : undefined;
  let unit = 0;
  for (let i = 0; i < codePoint && unit < text.length; i++) unit += text.codePointAt(unit)! > 0xffff ? 2 : 1;
  return unit < text.length ? unit : undefined;
}
