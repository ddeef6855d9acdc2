import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { acquire } from '../../gpu/index.ts';
import * as tf from '../../autograd/index.ts';
import { matchWeights, readMatches, tensorsToWrite } from '../../models/io/state-dict.ts';
import { SavedWeights, Embedding, Module, writeWeights } from '../../models/index.ts';
import { AdamW } from '../../train/optim/index.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/**
 * GPT-2's embedding at its true size, 154 MB in f32: more than one binding holds on most devices (128 MiB by
 * default).
 */
const [vocabulary, width] = [50257, 768];

const test = suite('large tensors');
let folder = '';
temporaryFolder(test, (made) => (folder = made));

class Table extends Module {
  readonly wte = new Embedding(vocabulary, width, { weightInit: (shape) => tf.normal(shape, { std: 0.02 }) });
}

test('a tied embedding: gather, head, gradient, AdamW, save and load', async () => {
  const gpu = await acquire();
  const restore = gpu.limitBindings(2 ** 27); // where a device allows more
  try {
    await run();
  } finally {
    restore();
  }
});

async function run(): Promise<void> {
  using _ = tf.scope();
  tf.manualSeed(1);
  const table = new Table();
  const { weight } = table.wte;
  const tokens = [0, 50256, 25129, 25128, 7, 0];
  const targets = [1, 50256, 3, 40000, 0, 25128];

  const x = tf.embedding(weight, tf.tensor(tokens, { dtype: 'i32' })); // (6, 768)
  const logits = x.matmul(weight.transpose(0, 1)); // (6, 50257)
  const loss = tf.crossEntropy(logits, tf.tensor(targets, { dtype: 'i32' }));
  loss.backward();
  const start = (await weight.data()) as Float32Array;
  const [gradient, value] = [(await weight.grad!.data()) as Float32Array, await loss.item()];

  const want = reference(start, tokens, targets);
  assert.ok(Math.abs(value - want.loss) <= 1e-5 * want.loss, `loss ${value}, want ${want.loss}`);
  const rows = [...new Set([...tokens, ...targets, 25127, 25130, 33333])];
  for (const row of rows) {
    const g = want.gradient(row);
    const most = Math.max(...g.map(Math.abs));
    g.forEach((w, c) => {
      const got = gradient[row * width + c]!;
      if (!(Math.abs(got - w) <= 2e-5 * most)) throw new Error(`gradient [${row}, ${c}] is ${got}, want ${w}`);
    });
  }

  new AdamW(table.parameters(), { lr: 1e-3, weightDecay: 0.1, eps: 1e-8 }).step();
  for (const row of rows) {
    const moved = await weight.slice(row).data();
    for (let c = 0; c < width; c++) {
      const [w, g] = [start[row * width + c]!, gradient[row * width + c]!];
      // The first step of Adam: both moments are the gradient's own.
      const expected = w * (1 - 1e-3 * 0.1) - (1e-3 * g) / (Math.abs(g) + 1e-8);
      if (!(Math.abs(moved[c]! - expected) <= 2e-6)) throw new Error(`[${row}, ${c}] is ${moved[c]}, want ${expected}`);
    }
  }
  await saveAndLoad(table, rows);
}

async function saveAndLoad(table: Table, rows: readonly number[]): Promise<void> {
  await writeWeights(folder, tensorsToWrite(table));
  const kept = await Promise.all(rows.map((row) => table.wte.weight.slice(row).data()));
  tf.noGrad(() => table.wte.weight.assign(tf.zeros([1])));
  const checkpoint = await SavedWeights.open(folder);
  const { matches } = matchWeights(table, checkpoint, { baseModelPrefix: 'transformer' });
  await readMatches(checkpoint, matches);
  await checkpoint.close();
  for (const [i, row] of rows.entries()) assert.equal(await table.wte.weight.slice(row).data(), kept[i], `row ${row}`);
}

/** The loss and rows of the gradient of the tied table, in float64. */
function reference(table: Float32Array, tokens: readonly number[], targets: readonly number[]) {
  const count = tokens.length;
  const vector = (row: number): Float32Array => table.subarray(row * width, (row + 1) * width);
  const dot = (a: Float32Array, b: Float32Array): number => {
    let total = 0;
    for (let c = 0; c < width; c++) total += a[c]! * b[c]!;
    return total;
  };
  const inputs = tokens.map(vector);
  let loss = 0;
  /** Cotangents of the logits, and of the gathered rows. */
  const direction = inputs.map((x, i) => {
    const logits = Float64Array.from({ length: vocabulary }, (_, v) => dot(x, vector(v)));
    const top = logits.reduce((a, b) => Math.max(a, b), -Infinity);
    const total = logits.reduce((sum, l) => sum + Math.exp(l - top), 0);
    loss += (top + Math.log(total) - logits[targets[i]!]!) / count;
    return logits.map((l, v) => (Math.exp(l - top) / total - Number(v === targets[i])) / count);
  });
  const back = direction.map((d) => {
    const g = new Float64Array(width);
    for (let v = 0; v < vocabulary; v++) for (let c = 0; c < width; c++) g[c]! += d[v]! * table[v * width + c]!;
    return g;
  });
  const gradient = (row: number): number[] =>
    Array.from({ length: width }, (_, c) => {
      let total = 0;
      for (let i = 0; i < count; i++) {
        total += direction[i]![row]! * inputs[i]![c]!; // as the head
        if (tokens[i] === row) total += back[i]![c]!; // as the embedding
      }
      return total;
    });
  return { loss, gradient };
}

test.run();
