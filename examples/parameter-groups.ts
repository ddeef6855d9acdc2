/**
 * Parameter groups: parts of one model that learn at rates of their own. A trained body moves slowly, a new
 * head fast, the embeddings not at all; biases and norms decay not. The rates warm up together.
 *
 *   npx tsx examples/parameter-groups.ts [steps]      from the repository's root; default 30
 */
import { compile, noGrad, manualSeed, tensor } from '../autograd/index.ts';
import type { Tensor } from '../autograd/index.ts';
import { BertForSequenceClassification, BertTokenizer } from '../models/index.ts';
import { AdamW, getLinearScheduleWithWarmup } from '../train/optim/index.ts';

const steps = Number(process.argv[2] ?? 30);

const likes = 'what a fine day|we liked every part of it|a great success|good and honest work|they were happy there';
const dislikes = 'what a dark day|we hated every part of it|a great failure|bad and false work|they were sad there';
const texts = [...likes.split('|'), ...dislikes.split('|')];
const labels = texts.map((_, i) => Number(i < 5));

manualSeed(0);
const folder = 'models/pretrained/bert-small';
const tokenizer = await BertTokenizer.fromPretrained(folder);
const model = await BertForSequenceClassification.fromPretrained(folder, { numLabels: 2 });
model.bert.embeddings.requiresGrad(false);

/** Parameters by name: those of one axis, biases and norms, apart from the rest. */
const named = model.namedParameters().filter(([, parameter]) => parameter.requiresGrad);
const pick = (part: RegExp, axes: 'matrices' | 'vectors'): Tensor[] =>
  named.filter(([name, x]) => part.test(name) && x.ndim > 1 === (axes === 'matrices')).map(([, x]) => x);
const [body, head] = [/^bert\./, /^classifier\./];
const optimizer = new AdamW(
  [
    { params: pick(body, 'matrices'), lr: 1e-4 },
    { params: pick(body, 'vectors'), lr: 1e-4, weightDecay: 0 },
    { params: pick(head, 'matrices'), lr: 1e-2 },
    { params: pick(head, 'vectors'), lr: 1e-2, weightDecay: 0 },
  ],
  { lr: 1e-4, weightDecay: 0.01 },
);
const schedule = getLinearScheduleWithWarmup(optimizer, Math.ceil(steps / 5), 2 * steps);

const encodings = tokenizer.encode(texts, { padding: true });
const target = tensor(labels, { dtype: 'i32' });
const before = new Map(model.namedParameters().map(([name, x]) => [name, noGrad(() => x.clone())]));
const train = compile(() => {
  const { loss } = model.forward({ ...encodings, labels: target });
  loss!.backward();
  optimizer.step();
  optimizer.zeroGrad();
  return loss!.detach();
});
for (let step = 0; step < steps; step++) {
  const loss = train();
  const rates = optimizer.paramGroups.map(({ lr }) => lr.toExponential(1)).join(' ');
  schedule.step(); // the compiled step reads the rates on the device: it is not captured again
  if (step % Math.ceil(steps / 5) === 0)
    console.log(`step ${String(step).padEnd(3)} loss ${(await loss.item()).toFixed(3)}  rates ${rates}`);
}

for (const [name, part] of Object.entries({ embeddings: /embeddings/, body: /^bert\.encoder/, head })) {
  const moved = model.namedParameters().filter(([key]) => part.test(key));
  const far = await Promise.all(moved.map(([key, x]) => x.sub(before.get(key)!).abs().max().item()));
  console.log(`${name.padEnd(10)} moved by at most ${Math.max(...far).toFixed(4)}`);
}
