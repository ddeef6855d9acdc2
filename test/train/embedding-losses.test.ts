import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { coSent, matryoshka, multipleNegativesRanking, triplet } from '../../train/embeddings/losses.ts';
import type { EmbeddingLoss } from '../../train/embeddings/losses.ts';
import { goldenFile } from '../support/golden.ts';

const test = suite('embedding losses');

interface LossCase {
  readonly name: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly columns: readonly number[][][];
  readonly labels: readonly number[];
  readonly value: number;
  readonly gradients: readonly number[][][];
}

const { losses: cases } = JSON.parse(readFileSync(goldenFile('sentence-transformer.json'), 'utf8')) as {
  readonly losses: readonly LossCase[];
};
const kinds: Readonly<Record<string, (options: Readonly<Record<string, never>>) => EmbeddingLoss>> = {
  multipleNegativesRanking,
  coSent,
  triplet,
  matryoshka: ({ loss, dims, weights }) => matryoshka(kinds[loss!]!({}), dims!, weights),
};

for (const [i, { name, options, columns, labels, value, gradients }] of cases.entries()) {
  test(`${name} ${JSON.stringify(options)}, ${columns.length} columns: value, gradients as PyTorch`, async () => {
    const vectors = columns.map((column) => tensor(column, { requiresGrad: true }));
    const loss = kinds[name]!(options as Readonly<Record<string, never>>)(vectors, tensor([...labels]));
    loss.backward();
    const found = await loss.item();
    assert.ok(Math.abs(found - value) < 1e-5 * Math.max(1, value), `case ${i}: ${found} ${value}`);
    for (const [c, vector] of vectors.entries()) {
      const grad = (await vector.grad!.tolist()) as number[][];
      grad.forEach((row, r) =>
        row.forEach((x, d) => {
          const wanted = gradients[c]![r]![d]!;
          assert.ok(
            Math.abs(x - wanted) < 1e-5 * Math.max(1, Math.abs(wanted)),
            `gradient ${c} ${r} ${d}: ${x} ${wanted}`,
          );
        }),
      );
    }
  });
}

test('wrong columns, scores and options are told', () => {
  const [two, three]: Tensor[] = [tensor([[1, 2]]), tensor([[1, 2, 3]])];
  assert.throws(() => multipleNegativesRanking()([two!]), /needs 2 or more columns .* got \[1, 2\]/);
  assert.throws(() => multipleNegativesRanking()([two!, three!]), /all of one shape, got \[1, 2\], \[1, 3\]/);
  assert.throws(() => triplet()([two!, two!]), /needs 3 columns/);
  assert.throws(() => coSent()([two!, two!]), /1 pairs need as many scores \[1\], got none/);
  assert.throws(() => matryoshka(coSent(), [4])([two!, two!]), /dims has 4, and the vectors have 2 features/);
  assert.throws(() => matryoshka(coSent(), [4, 2], [1]), /2 dims need as many weights, got 1/);
});

test.run();
