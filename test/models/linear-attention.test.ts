// Attention whose scores are products of features: by the formula, in float64.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../common/random.ts';
import { grad, manualSeed, noGrad, ones, tensor, tril } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import {
  BertConfig,
  BertForSequenceClassification,
  causalLinearAttention,
  linearAttention,
  RobertaConfig,
  RobertaForMaskedLM,
} from '../../models/index.ts';
import { keepTokens } from '../../train/compress/token-pruning.ts';
import { withLinearAttention } from '../../train/compress/linear-attention.ts';
import { throwsOneLine } from '../support/failure.ts';
import { largestDifference } from '../support/golden.ts';
import { i32, values } from '../support/small-bert.ts';

const test = suite('linear attention');

type Matrix = readonly (readonly number[])[];
const phi = (x: number): number => (x > 0 ? x + 1 : Math.exp(x));

/** One head, by eq. 4 of the paper: no product is shared. `reads(i, j)` says whether query i reads key j. */
function byFormula(q: Matrix, k: Matrix, v: Matrix, reads: (i: number, j: number) => boolean): number[][] {
  return q.map((query, i) => {
    const scores = k.map((key, j) => (reads(i, j) ? query.reduce((sum, x, d) => sum + phi(x) * phi(key[d]!), 0) : 0));
    const total = scores.reduce((a, b) => a + b, 0);
    return v[0]!.map((_, e) => (total === 0 ? 0 : scores.reduce((sum, s, j) => sum + s * v[j]![e]!, 0) / total));
  });
}

const random = new Random(7);
const heads = (batch: number, count: number, tokens: number, size: number): number[][][][] =>
  Array.from({ length: batch }, () =>
    Array.from({ length: count }, () =>
      Array.from({ length: tokens }, () => Array.from({ length: size }, () => 2 * random.normal())),
    ),
  );

type Four = number[][][][];
const each = (q: Four, k: Four, v: Four, reads: (row: number, i: number, j: number) => boolean): number[] =>
  q.flatMap((one, b) =>
    one.flatMap((head, h) => byFormula(head, k[b]![h]!, v[b]![h]!, (i, j) => reads(b, i, j))).flat(),
  );

test('both ways, with other keys than queries and hidden keys: the formula in float64', async () => {
  const [q, k, v] = [heads(2, 3, 5, 4), heads(2, 3, 7, 4), heads(2, 3, 7, 6)];
  const [a, b, c] = [tensor(q), tensor(k), tensor(v)];
  assert.equal(linearAttention(a, b, c).shape, [2, 3, 5, 6]);
  assert.ok(
    largestDifference(
      await values(linearAttention(a, b, c)),
      each(q, k, v, () => true),
    ) < 1e-5,
  );
  // The second row reads three keys; then none.
  for (const count of [3, 0]) {
    const mask = tensor([[new Array(7).fill([1])], [Array.from({ length: 7 }, (_, j) => [Number(j < count)])]] as Four);
    const wanted = each(q, k, v, (row, _, j) => row === 0 || j < count);
    assert.ok(largestDifference(await values(linearAttention(a, b, c, { mask })), wanted) < 1e-5);
  }
});

test('causal, by chunks of any size, in one go or written on: the formula in float64', async () => {
  const [q, k, v] = [heads(2, 2, 11, 4), heads(2, 2, 11, 4), heads(2, 2, 11, 3)];
  const [a, b, c] = [tensor(q), tensor(k), tensor(v)];
  const wanted = each(q, k, v, (_, i, j) => j <= i);
  for (const chunk of [1, 2, 4, 11, 64]) {
    const { y } = causalLinearAttention(a, b, c, { chunk });
    assert.ok(largestDifference(await values(y), wanted) < 1e-5, `chunk ${chunk}`);
  }
  assert.ok(largestDifference(await values(causalLinearAttention(a, b, c).y), wanted) < 1e-5);
  // Five tokens, then one by one.
  const part = (x: Tensor, from: number, to: number): Tensor => x.slice(null, null, [from, to]);
  let { y, state } = causalLinearAttention(part(a, 0, 5), part(b, 0, 5), part(c, 0, 5), { chunk: 2 });
  const ys = [y];
  for (let t = 5; t < 11; t++) {
    ({ y, state } = causalLinearAttention(part(a, t, t + 1), part(b, t, t + 1), part(c, t, t + 1), { state }));
    ys.push(y);
  }
  assert.equal([state.products.shape, state.sums.shape], [[2, 2, 4, 3], [2, 2, 4, 1]]); // prettier-ignore
  const all = (await Promise.all(ys.map((one) => one.tolist()))) as Four[];
  const joined = q.flatMap((one, n) => one.flatMap((_, h) => all.flatMap((some) => some[n]![h]!).flat()));
  assert.ok(largestDifference(joined, wanted) < 1e-5);
});

test('gradients are those of differences of the formula', async () => {
  const [q, k, v] = [heads(1, 2, 5, 3), heads(1, 2, 5, 3), heads(1, 2, 5, 2)];
  const weights = heads(1, 2, 5, 2).flat(3);
  for (const [name, run, reads] of [
    ['both ways', linearAttention, () => true],
    [
      'causal',
      (x: Tensor, y: Tensor, z: Tensor) => causalLinearAttention(x, y, z, { chunk: 2 }).y,
      (_: number, i: number, j: number) => j <= i,
    ],
  ] as const) {
    // prettier-ignore
    const inputs = [q, k, v].map((x) => tensor(x, { requiresGrad: true }));
    const [a, b, c] = inputs as [Tensor, Tensor, Tensor];
    const loss = run(a, b, c)
      .mul(tensor(weights, { shape: [1, 2, 5, 2] }))
      .sum();
    const found = grad(loss, inputs);
    const lossOf = (): number => each(q, k, v, reads).reduce((sum, y, i) => sum + y * weights[i]!, 0);
    for (const [which, x] of [q, k, v].entries()) {
      const wanted = x.flatMap((heads) =>
        heads.flatMap((rows) =>
          rows.flatMap((row) =>
            row.map((own, d) => {
              const change = (by: number): number => ((row[d] = own + by), lossOf());
              const slope = (change(1e-5) - change(-1e-5)) / 2e-5;
              row[d] = own;
              return slope;
            }),
          ),
        ),
      );
      assert.ok(largestDifference(await values(found[which]!), wanted) < 1e-4, `${name}, input ${which}`);
    }
  }
});

test('misfits are refused in one line', () => {
  const [q, k] = [tensor(heads(1, 2, 3, 4)), tensor(heads(1, 2, 5, 4))];
  throwsOneLine(() => linearAttention(q, k, q), /^linearAttention: queries .* must be \[B, H, Tq, D\], .*$/);
  throwsOneLine(() => linearAttention(q, tensor(heads(1, 1, 3, 4)), q), /^linearAttention: queries .*$/);
  throwsOneLine(() => causalLinearAttention(q, k, k), /^causalLinearAttention: 3 queries and 5 keys; .*$/);
  for (const chunk of [0, 1.5, NaN])
    throwsOneLine(() => causalLinearAttention(q, q, q, { chunk }), /^causalLinearAttention: a chunk of \S+ tokens .*$/);
});

const settings = {
  ...{ vocabSize: 30, hiddenSize: 16, numHiddenLayers: 2, numAttentionHeads: 2, intermediateSize: 24 },
  ...{ maxPositionEmbeddings: 14, initializerRange: 0.6 },
};

test('a BERT with it: by the weights it shows, whatever padding stands behind; saved in its config', async () => {
  manualSeed(1);
  const softmax = new BertForSequenceClassification(BertConfig.create(settings)).eval();
  const model = withLinearAttention(softmax);
  const rows = [
    [3, 4, 5, 9, 1],
    [6, 7, 2],
  ];
  const padded = (length: number) => ({
    inputIds: i32(rows.map((row) => [...row, ...new Array<number>(length - row.length).fill(0)])),
    attentionMask: i32(rows.map((row) => Array.from({ length }, (_, i) => Number(i < row.length)))),
  });
  const logits = await values(noGrad(() => model.forward(padded(5)).logits));
  assert.ok(largestDifference(await values(noGrad(() => model.forward(padded(9)).logits)), logits) < 1e-5);
  assert.ok(largestDifference(await values(noGrad(() => softmax.forward(padded(5)).logits)), logits) > 1e-2);
  const shown = noGrad(() => model.forward({ ...padded(5), outputAttentions: true }));
  assert.ok(largestDifference(await values(shown.logits), logits) < 1e-5);
  const [first] = (await shown.attentions![0]!.tolist()) as Four;
  for (const head of first!) for (const row of head) assert.ok(Math.abs(row.reduce((a, b) => a + b, 0) - 1) < 1e-5);
  const second = ((await shown.attentions![0]!.tolist()) as Four)[1]!;
  assert.ok(
    second.every((head) => head.every((row) => row[3] === 0 && row[4] === 0)),
    'padding is not read',
  );
  // With an adapter or a hook on it each projection runs by itself.
  const handle = model.bert.encoder.layer[0]!.attention.self.query.registerForwardHook(() => undefined);
  assert.ok(largestDifference(await values(noGrad(() => model.forward(padded(5)).logits)), logits) < 1e-5);
  handle.remove();
  // And it drops tokens.
  const all = await values(noGrad(() => keepTokens(model, [1, 0.1]).forward(padded(5)).logits));
  assert.ok(largestDifference(all, logits) < 1e-5, 'what the last layer drops is not read');

  const again = BertForSequenceClassification.fromConfig(
    BertConfig.fromJson(JSON.parse(model.configText()) as Record<string, never>, 'c'),
  ).eval();
  again.loadStateDict(model.stateDict());
  assert.ok(largestDifference(await values(noGrad(() => again.forward(padded(5)).logits)), logits) < 1e-6);
  const roberta = RobertaForMaskedLM.fromConfig(RobertaConfig.create({ ...settings, padTokenId: 0 })).eval();
  const of = (each: typeof roberta) => values(noGrad(() => each.forward(padded(5)).logits));
  assert.ok(largestDifference(await of(roberta), await of(withLinearAttention(roberta))) > 1e-3);

  throwsOneLine(() => withLinearAttention(model), /^withLinearAttention: the attention .* is linear already$/);
  const square = tril(ones([2, 5, 5])).to('i32');
  throwsOneLine(
    () => model.forward({ inputIds: padded(5).inputIds, attentionMask: square }),
    /^linear_attention: a mask for each query, .* does not go with it; give an attentionMask \[batch, tokens\]/,
  );
  const wrong = { ...softmax.config, extra: { linear_attention: 'yes' } };
  throwsOneLine(
    () => BertForSequenceClassification.fromConfig(wrong),
    /^linear_attention of the config is .*; give true or false$/,
  );
});

test.run();
