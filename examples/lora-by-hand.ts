/**
 * LoRA by hand (Hu et al. 2022): the weights stay, thin matrices beside them learn. The small GPT, which has
 * read speeches and Moby Dick, learns the sound of this project's documents. (models/adapters/ has the rest:
 * files of PEFT, several at once, other methods.)
 *
 *   npx tsx examples/lora-by-hand.ts [steps]      from the repository's root; default 60, a minute
 */
import { readFile } from 'node:fs/promises';
import { compile, manualSeed, matmul, noGrad, tensor } from '../autograd/index.ts';
import type { Tensor } from '../autograd/index.ts';
import { Conv1D, GPT2LMHeadModel, loadTokenizer, normalInit, parameter, zerosInit } from '../models/index.ts';
import { Random } from '../train/index.ts';
import { AdamW } from '../train/optim/index.ts';

const steps = Number(process.argv[2] ?? 60);
const [rank, alpha, length] = [8, 16, 64];

manualSeed(0);
const folder = 'models/pretrained/gpt-small';
const tokenizer = await loadTokenizer(folder);
const model = await GPT2LMHeadModel.fromPretrained(folder);
model.requiresGrad(false);

/** x @ a @ b beside a layer: b is 0 at first, so nothing changes yet. */
const adapters = model.namedModules().flatMap(([name, layer]) => {
  if (!(layer instanceof Conv1D) || name.includes('lm_head')) return [];
  const [into, out] = layer.weight.shape as [number, number];
  const a = parameter([into, rank], normalInit(1 / Math.sqrt(into)));
  const b = parameter([rank, out], zerosInit);
  const hook = layer.registerForwardHook((_, [x], y) =>
    (y as Tensor).add(matmul(matmul(x as Tensor, a), b).mul(alpha / rank)),
  );
  return [{ layer, a, b, hook }];
});
const learned = adapters.flatMap(({ a, b }) => [a, b]);
const count = learned.reduce((sum, { size }) => sum + size, 0);
console.log(`${adapters.length} layers, ${count} numbers learn, ${model.numParameters()} stay`);

const idsOf = async (name: string): Promise<number[]> => [...tokenizer.idsOf(await readFile(name, 'utf8'))];
const ids = [...(await idsOf('docs/tasks.md')), ...(await idsOf('docs/language-models.md'))];
const unseen = await idsOf('docs/compression.md');
/** Eight windows of a text, (8, length). */
function batch(ids: number[], startOf: (row: number) => number): Tensor {
  const starts = Array.from({ length: 8 }, (_, row) => startOf(row));
  const rows = starts.map((at) => ids.slice(at, at + length));
  return tensor(rows, { dtype: 'i32' });
}
const held = batch(unseen, (row) => length * row);
const lossOf = (inputIds: Tensor): Tensor => model.forward({ inputIds, labels: inputIds, outputLogits: false }).loss;
const heldLoss = (): Promise<number> => noGrad(() => lossOf(held)).item();

const optimizer = new AdamW(learned, { lr: 3e-3, weightDecay: 0 });
const train = compile((inputIds: Tensor) => {
  lossOf(inputIds).backward();
  optimizer.step({ maxNorm: 1 });
  optimizer.zeroGrad();
});
const random = new Random(0, 0);
console.log(`before    loss ${(await heldLoss()).toFixed(3)} on a document it does not learn from`);
for (let step = 0; step < steps; step++) train(batch(ids, () => random.int(ids.length - length)));
console.log(`adapted   loss ${(await heldLoss()).toFixed(3)}`);

// Merged, it is a plain model again, as fast as before.
for (const { layer, a, b, hook } of adapters) {
  hook.remove();
  noGrad(() => layer.weight.add_(matmul(a, b).mul(alpha / rank)));
}
console.log(`merged    loss ${(await heldLoss()).toFixed(3)}`);
