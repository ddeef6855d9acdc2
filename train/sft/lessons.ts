import { Random } from '../../common/random.ts';
import type { ChatMessage } from '../../models/index.ts';

/** A dialogue with one right answer to each question. */
export interface Lesson {
  readonly messages: readonly ChatMessage[];
  /** Of its first question: "sums", "lists", ... */
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

/** What words of the project and of its field mean, as docs/glossary.md has them, in short. */
const facts: Readonly<Record<string, string>> = {
  kernel: 'A program that runs on the device.',
  device: 'The adapter, its limits, memory and queue.',
  adapter: 'A small addition to a model that is trained in the place of its weights.',
  tape: 'The list of all entries, in order.',
  entry: 'One use of an op on tensors.',
  op: 'The record of an operation: its shape, kernels and derivative.',
  tensor: 'Numbers in a grid of any number of axes.',
  shape: 'The lengths of a tensor along its axes.',
  leaf: 'A tensor that no entry made.',
  gradient: 'How much a result changes with each number that it was made of.',
  loss: 'A number that tells how wrong a model is.',
  optimizer: 'It changes the weights so that the loss falls.',
  schedule: 'A factor of the learning rate, by step.',
  step: 'One change of the weights, made from one batch.',
  batch: 'Numbers for one step.',
  epoch: 'One pass over all examples.',
  corpus: 'Many texts as tokens.',
  token: 'A piece of text with a number.',
  tokenizer: 'It cuts texts into tokens.',
  vocabulary: 'All tokens that a tokenizer knows.',
  embedding: 'A list of numbers that stands for a token or a text.',
  attention: 'Each token looks at others and takes from those that matter.',
  head: 'One of the views that attention has, or the last layer of a model.',
  layer: 'A step of a model, with weights of its own.',
  model: 'A function with weights that were learnt.',
  transformer: 'A model of layers of attention and small networks.',
  logits: 'Scores of all tokens before softmax.',
  softmax: 'It turns scores into probabilities.',
  dropout: 'Some numbers are set to zero at random while a model learns.',
  cache: 'Keys and values of the tokens so far.',
  recording: 'Dispatches that are run again.',
  dispatch: 'One start of a kernel, with its bindings and numbers.',
  product: 'Two matrices multiplied.',
  checkpoint: 'All that a run needs to go on.',
  run: 'One training from start to end.',
  scope: 'It frees at its end what was made in it.',
  beam: 'One of the texts that a search goes on with.',
  pruning: 'Weights that matter little are taken away.',
  quantisation: 'Weights are kept in fewer bits.',
  distillation: 'A small model learns from a large one.',
};

type Exchange = readonly [question: string, answer: string];
type Kind = (random: Random) => Exchange;

const pick = <T>(random: Random, list: readonly T[]): T => list[random.int(list.length)]!;
const some = (random: Random, count: number): string[] => random.shuffle([...things]).slice(0, count);

const whatItIs = 'I am a small model that comes with tapeform.';
const courtesies: Readonly<Record<string, string>> = {
  'Hello!': 'Hello! What can I do for you?',
  'Hi!': 'Hello! What can I do for you?',
  'Good morning.': 'Good morning! What can I do for you?',
  'Who are you?': whatItIs,
  'What are you?': whatItIs,
  'What can you do?': 'I explain words of tapeform, add, repeat, and write lists and JSON.',
  'Thank you.': 'You are welcome.',
  'Thanks!': 'You are welcome.',
  'Goodbye.': 'Goodbye!',
};

/** Ways to ask for a sum. */
export const sumQuestions = (a: number, b: number): readonly string[] => [
  `What is ${a} + ${b}?`,
  `${a} + ${b} =`,
  `Add ${a} and ${b}.`,
];

const unknown = 'I do not know that. Ask me about a word of tapeform.';

const kinds: Readonly<Record<string, Kind>> = {
  sums(random) {
    const [a, b] = [random.int(10), random.int(10)];
    return [pick(random, sumQuestions(a, b)), `${a + b}`];
  },
  repetition(random) {
    const [thing, count] = [pick(random, things), 2 + random.int(3)];
    return [`Say ${thing} ${count} times.`, Array.from({ length: count }, () => thing).join(' ')];
  },
  order(random) {
    const list = some(random, 3);
    const [word, at] = pick(random, [['first', 0] as const, ['last', 2] as const]);
    return [`Which is ${word}: ${list.join(', ')}?`, list[at]!];
  },
  lists(random) {
    const list = some(random, 2 + random.int(2));
    return [`Write a list: ${list.join(', ')}.`, list.map((each) => `- ${each}`).join('\n')];
  },
  JSON(random) {
    const [name, age] = [pick(random, names), 1 + random.int(90)];
    return [`Write JSON: ${name} is ${age}.`, `{"name": "${name}", "age": ${age}}`];
  },
  facts(random) {
    const [word, meaning] = pick(random, Object.entries(facts));
    const asked = [
      `What is ${word}?`,
      `What is a ${word}?`,
      `Explain the word ${word}.`,
      `${word}, what does it mean?`,
    ];
    return [pick(random, asked), meaning];
  },
  courtesies(random) {
    const said = pick(random, Object.keys(courtesies));
    return [said, courtesies[said]!];
  },
  unknown(random) {
    const [name, thing] = [pick(random, names), pick(random, things)];
    const asked = [`Who is ${name}?`, `Where is ${name}?`, `What is a ${thing}?`, `Tell me about the ${thing}.`];
    return [pick(random, asked), unknown];
  },
};

/**
 * Dialogues by a grammar, of one or two questions: sums of two digits, words repeated, ordered and put into
 * lists and JSON, words of this project and its field, courtesies, and what it cannot know. A function of
 * count and seed alone; made here, they are free of any licence.
 */
export function lessons(count: number, seed: number): Lesson[] {
  const all = Object.entries(kinds);
  return Array.from({ length: count }, (_, i) => {
    const random = new Random(seed, i);
    const [kind, make] = all[i % all.length]!;
    const exchanges = [make(random)];
    if (random.int(3) === 0) exchanges.push(pick(random, all)[1](random));
    const messages = exchanges.flatMap(([question, answer]) => [
      { role: 'user', content: question },
      { role: 'assistant', content: answer },
    ]);
    return { kind, messages };
  });
}
