import { Random } from '../../common/random.ts';
import type { ChatMessage } from '../../models/index.ts';

/** A dialogue with one right answer to each question. */
export interface Lesson {
  readonly messages: readonly ChatMessage[];
  /** "sums", "lists", ... */
  readonly kind: string;
}

const names = ['Ann', 'Bob', 'Eve', 'Ida', 'Jim', 'Kay', 'Leo', 'Max', 'Ned', 'Pam', 'Ron', 'Sue', 'Tom', 'Una', 'Zoe'];
const things = [
  ...[
    'apple',
    'boat',
    'book',
    'box',
    'bread',
    'chair',
    'coat',
    'corn',
    'cup',
    'door',
    'field',
    'fish',
    'gold',
    'horse',
  ],
  ...['house', 'iron', 'lamp', 'land', 'line', 'oil', 'paper', 'rope', 'sea', 'ship', 'stone', 'sun', 'table', 'water'],
  ...['whale', 'wind', 'wood'],
];

/** What the project's words mean, as its glossary has it. */
const facts: Readonly<Record<string, string>> = {
  kernel: 'A program that runs on the device.',
  device: 'The adapter, its limits, memory and queue.',
  tape: 'The list of all entries, in order.',
  entry: 'One use of an op on tensors.',
  op: 'The record of an operation.',
  leaf: 'A tensor that no entry made.',
  recording: 'Dispatches that are run again.',
  schedule: 'A factor of the learning rate, by step.',
  batch: 'Numbers for one step.',
  corpus: 'Many texts as tokens.',
  cache: 'Keys and values of the tokens so far.',
  run: 'One training from start to end.',
};

type Exchange = readonly [question: string, answer: string];
type Kind = (random: Random) => readonly Exchange[];

const pick = <T>(random: Random, list: readonly T[]): T => list[random.int(list.length)]!;
const some = (random: Random, count: number): string[] => random.shuffle([...things]).slice(0, count);

/** Ways to ask for a sum. */
export const sumQuestions = (a: number, b: number): readonly string[] => [
  `What is ${a} + ${b}?`,
  `${a} + ${b} =`,
  `Add ${a} and ${b}.`,
];

const sum = (random: Random): Exchange => {
  const [a, b] = [random.int(10), random.int(10)];
  return [pick(random, sumQuestions(a, b)), `${a + b}`];
};

const kinds: Readonly<Record<string, Kind>> = {
  sums: (random) => [sum(random), ...(random.int(3) === 0 ? [sum(random)] : [])],
  repetition(random) {
    const [thing, count] = [pick(random, things), 2 + random.int(3)];
    return [[`Say ${thing} ${count} times.`, Array.from({ length: count }, () => thing).join(' ')]];
  },
  order(random) {
    const list = some(random, 3);
    const [word, at] = pick(random, [['first', 0] as const, ['last', 2] as const]);
    return [[`Which is ${word}: ${list.join(', ')}?`, list[at]!]];
  },
  lists(random) {
    const list = some(random, 2 + random.int(2));
    return [[`Write a list: ${list.join(', ')}.`, list.map((each) => `- ${each}`).join('\n')]];
  },
  JSON(random) {
    const [name, age] = [pick(random, names), 1 + random.int(90)];
    return [[`Write JSON: ${name} is ${age}.`, `{"name": "${name}", "age": ${age}}`]];
  },
  facts(random) {
    const [word, meaning] = pick(random, Object.entries(facts));
    return [
      [pick(random, [`What is a ${word}?`, `Explain the word ${word}.`, `${word}, what does it mean?`]), meaning],
    ];
  },
};

/**
 * Dialogues by a grammar: sums of two digits, words repeated, ordered and put into lists and JSON, and words
 * of this project. A function of count and seed alone; made here, they are free of any licence.
 */
export function lessons(count: number, seed: number): Lesson[] {
  const all = Object.entries(kinds);
  return Array.from({ length: count }, (_, i) => {
    const random = new Random(seed, i);
    const [kind, make] = all[i % all.length]!;
    const messages = make(random).flatMap(([question, answer]) => [
      { role: 'user', content: question },
      { role: 'assistant', content: answer },
    ]);
    return { kind, messages };
  });
}
