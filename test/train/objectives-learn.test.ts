// Every objective teaches a tiny model more than frequencies, on text that it has not seen.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed } from '../../autograd/index.ts';
import { BertTokenizer } from '../../models/index.ts';
import { contenders } from '../../train/comparison/contenders.ts';
import { pretrain } from '../../train/comparison/train-contender.ts';
import { corpusOf } from '../../train/data/token-corpus.ts';
import type { TokenCorpus } from '../../train/data/token-corpus.ts';
import { Random } from '../../common/random.ts';

const test = suite('objectives: learning');

/**
 * Four topics of ten words each, which come in a round but for one word in ten; sentences end with a full
 * stop after three to six words.
 */
const topics = 4;
const words = 10;
const vocab = [
  '[PAD]',
  '[UNK]',
  '[CLS]',
  '[SEP]',
  '[MASK]',
  '.',
  ...Array.from({ length: topics * words }, (_, i) => `w${i}`),
];
const tokenizer = BertTokenizer.fromVocab(vocab);

function text(documents: number, random: Random): TokenCorpus {
  const list = Array.from({ length: documents }, () => {
    const topic = random.int(topics);
    let word = random.int(words);
    return Array.from({ length: 20 }, () => {
      const sentence = Array.from({ length: 3 + random.int(4) }, () => {
        word = random.uniform() < 0.1 ? random.int(words) : (word + 1) % words;
        return 6 + topic * words + word;
      });
      return [...sentence, 5];
    }).flat();
  });
  return corpusOf(list, vocab.length);
}

const [train, heldOut] = [text(80, new Random(1)), text(20, new Random(2))];
const setting = { tokenizer, train, heldOut, layers: 1, hidden: 32, heads: 2, context: 24, batchSize: 16, seed: 1 };
const steps: Readonly<Record<string, number>> = { nsp: 250, 'mlm+nsp': 500, 'rotary-fill': 350, 'text-infilling': 200 };
/**
 * Seams of rotated spans show in neighbours alone, which so small a model hardly learns to compare in so few
 * steps.
 */
const margins: Readonly<Record<string, number>> = { detect: 0.004 };

for (const [name, make] of Object.entries(contenders)) {
  test(`${name} falls below frequencies on held-out text`, async () => {
    manualSeed(1);
    const contender = make(setting);
    const settings = { steps: steps[name] ?? 120, learningRate: 5e-3, warmupSteps: 10, seed: 1 };
    const { losses, baselines } = await pretrain(contender, settings, 12, () => undefined);
    const shown = Object.keys(losses).map((part) => {
      assert.ok(
        losses[part]! < baselines[part]! - (margins[part] ?? 0.02),
        `${part}: ${losses[part]} is not below ${baselines[part]}`,
      );
      return `${part} ${losses[part]!.toFixed(3)}, by frequency ${baselines[part]!.toFixed(3)}`;
    });
    console.log(`  ${name}: ${shown.join('; ')}`);
  });
}

test.run();
