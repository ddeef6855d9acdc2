// Tasks whose truth is known: the label follows from planted words and from nothing else.
import { compile, crossEntropy, manualSeed, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import { BertConfig, BertForSequenceClassification, BertTokenizer } from '../../models/index.ts';
import { AdamW } from '../optim/index.ts';

const fillers = 'river stone cloud table green seven north paper glass round music lemon'.split(' ');

/** A text of words and the places of those that decide its label. */
export interface PlantedText {
  readonly words: readonly string[];
  readonly label: number;
  readonly planted: readonly number[];
}

interface PlantedTask {
  readonly about: string;
  /** Steps of training after which the model knows it. */
  readonly steps: number;
  /** Writes planted words over some of the fillers. */
  plant(words: string[], random: Random): { readonly label: number; readonly planted: readonly number[] };
}

const twoPlaces = (words: readonly string[], random: Random): [number, number] => {
  const [a, b] = random.permutation(words.length);
  return [a!, b!];
};

export const plantedTasks = {
  word: {
    about: 'label 1 where the word "key" stands, anywhere',
    steps: 400,
    plant(words, random) {
      const place = random.int(words.length);
      const label = random.int(2);
      if (label === 1) words[place] = 'key';
      return { label, planted: label === 1 ? [place] : [] };
    },
  },
  both: {
    about: 'label 1 where "key" and "lock" stand, 0 where there is one of them or none',
    steps: 400,
    plant(words, random) {
      const [a, b] = twoPlaces(words, random);
      if (random.int(2) === 1) {
        [words[a], words[b]] = ['key', 'lock'];
        return { label: 1, planted: [a, b] };
      }
      const one = [undefined, 'key', 'lock'][random.int(3)];
      if (one) words[a] = one;
      return { label: 0, planted: [] };
    },
  },
  negated: {
    about: 'label 1 where "good" stands and "not" is not right before it; of "not good" the "not" decides',
    steps: 1000,
    plant(words, random) {
      const place = 1 + random.int(words.length - 1);
      const kind = random.int(4);
      if (kind === 3) return { label: 0, planted: [] };
      words[place] = 'good';
      if (kind === 2) words[place - 1] = 'not';
      const elsewhere = random.int(words.length);
      if (elsewhere !== place && elsewhere !== place - 1) words[elsewhere] = 'not';
      return kind === 2 ? { label: 0, planted: [place - 1] } : { label: 1, planted: [place] };
    },
  },
} as const satisfies Record<string, PlantedTask>;
export type PlantedName = keyof typeof plantedTasks;
export const plantedNames = Object.keys(plantedTasks) as PlantedName[];

/** Texts of a task: `length` words, of which the planted ones alone decide the label. */
export function plantedTexts(name: PlantedName, count: number, length: number, random: Random): PlantedText[] {
  return Array.from({ length: count }, () => {
    const words = Array.from({ length }, () => fillers[random.int(fillers.length)]!);
    return { ...plantedTasks[name].plant(words, random), words };
  });
}

export interface PlantedModel {
  readonly model: BertForSequenceClassification;
  readonly tokenizer: BertTokenizer;
  /** Of texts that it was not trained on. */
  readonly accuracy: number;
}

/** Trains a tiny BERT on a task until it knows it, seconds. */
export async function trainPlanted(
  name: PlantedName,
  { steps = plantedTasks[name].steps as number, length = 10, seed = 0 } = {},
): Promise<PlantedModel> {
  const vocab = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'key', 'lock', 'good', 'not', ...fillers];
  const tokenizer = BertTokenizer.fromVocab(vocab);
  manualSeed(seed);
  const model = new BertForSequenceClassification(
    BertConfig.create({
      vocabSize: vocab.length,
      hiddenSize: 32,
      numHiddenLayers: 2,
      numAttentionHeads: 2,
      intermediateSize: 64,
      maxPositionEmbeddings: length + 2,
      hiddenDropoutProb: 0,
      attentionProbsDropoutProb: 0,
      initializerRange: 0.1,
    }),
  );
  const optimizer = new AdamW(model.parameters(), { lr: 2e-3 });
  const step = compile(
    (inputIds: Tensor, labels: Tensor) => {
      const loss = crossEntropy(model.forward({ inputIds }).logits, labels);
      loss.backward();
      optimizer.step({ maxNorm: 1 });
      optimizer.zeroGrad();
      return loss.detach();
    },
    { name: 'planted', log: () => undefined },
  );
  const random = new Random(seed);
  const hide = (word: string): string => (random.uniform() < 0.15 ? '[MASK]' : word);
  const batch = (texts: readonly PlantedText[], masks: boolean): Tensor => {
    // Fillers are hidden now and then, so that the mask, their baseline, says nothing.
    const rows = texts.map(({ words }) =>
      words.map((word) => (masks && fillers.includes(word) ? hide(word) : word)).join(' '),
    );
    return tokenizer.encode(rows).inputIds;
  };
  const labelsOf = (texts: readonly PlantedText[]): Tensor => tensor(Int32Array.from(texts, ({ label }) => label));
  for (let i = 0; i < steps; i++) {
    const texts = plantedTexts(name, 32, length, random);
    step(batch(texts, true), labelsOf(texts));
    if (i % 50 === 49) await model.classifier.weight.data(); // waits, so that steps do not pile up
  }
  model.eval();
  const held = plantedTexts(name, 200, length, random);
  const found = await model
    .forward({ inputIds: batch(held, false) })
    .logits.argmax(1)
    .data();
  return { model, tokenizer, accuracy: held.filter(({ label }, i) => label === found[i]).length / held.length };
}
