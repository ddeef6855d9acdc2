// T5 against Transformers: the golden files are made by test/golden/golden_t5.py.
import { readFile } from 'node:fs/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { T5Config, T5ForConditionalGeneration } from '../../models/index.ts';
import { relativeBucket } from '../../models/nn/relative-bias.ts';
import { throwsOneLine } from '../support/failure.ts';
import { goldenFile } from '../support/golden.ts';
import { i32 } from '../support/model-golden.ts';
import { checkSeq2Seq } from '../support/seq2seq-checks.ts';

const test = suite('t5');
await checkSeq2Seq(test, 't5', T5ForConditionalGeneration);
await checkSeq2Seq(test, 't5-gated', T5ForConditionalGeneration);

test('distances have the buckets of Transformers', async () => {
  type Rule = [buckets: number, maxDistance: number, bidirectional: boolean, expected: number[]];
  const { buckets: rules } = JSON.parse(await readFile(goldenFile('t5.json'), 'utf8')) as { buckets: Rule[] };
  for (const [buckets, maxDistance, bidirectional, expected] of rules) {
    const found = expected.map((_, i) => relativeBucket(i - 150, { buckets, maxDistance, bidirectional }));
    assert.equal(found, expected, `${buckets} ${maxDistance}`);
  }
});

test('config: the head is scaled where it is tied; mistakes', () => {
  const scale = (json: object): unknown =>
    T5Config.toJson(T5Config.fromJson({ model_type: 't5', ...json }, 'f'))['scale_decoder_outputs'];
  assert.equal(
    [{}, { tie_word_embeddings: false }, { tie_word_embeddings: true, scale_decoder_outputs: false }].map(scale),
    [true, false, false],
  );
  throwsOneLine(() => T5Config.create({ relativeAttentionMaxDistance: 16 }), /must be above half of/);
  throwsOneLine(() => T5Config.create({ vocabSize: 9, padTokenId: 9 }), /pad_token_id 9 is outside/);
  throwsOneLine(() => T5Config.create({ feedForwardProj: 'gated-x' as never }), /feedForwardProj is "gated-x"/);
});

test('inputs that the model cannot take are refused in one line', () => {
  const model = T5ForConditionalGeneration.fromConfig({
    ...{ vocabSize: 12, dModel: 8, dKv: 4, dFf: 8, numLayers: 1, numHeads: 2 },
  });
  const [inputIds, labels] = [i32([[1, 2]]), i32([[3, 1]])];
  throwsOneLine(() => model.forward({ labels }), /the decoder has nothing to attend to/);
  throwsOneLine(() => model.forward({ inputIds }), /the decoder has no input/);
  throwsOneLine(() => model.forward({ inputIds: i32([[12]]), labels }), /token id 12 is outside the vocabulary/);
  throwsOneLine(() => model.forward({ inputIds, labels, decoderPositionIds: i32([[0, 1]]) }), /leave positionIds out/);
});
test.run();
