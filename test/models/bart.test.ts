// BART, mBART and Pegasus against Transformers: the golden files are made by test/golden/golden_bart.py.
import { readFile } from 'node:fs/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Tensor } from '../../autograd/index.ts';
import {
  BartConfig,
  BartForConditionalGeneration,
  MBartForConditionalGeneration,
  PegasusForConditionalGeneration,
} from '../../models/index.ts';
import { goldenFile } from '../support/golden.ts';
import { i32 } from '../support/model-golden.ts';
import { checkSeq2Seq } from '../support/seq2seq-checks.ts';

const test = suite('bart');
await checkSeq2Seq(test, 'bart', BartForConditionalGeneration);
await checkSeq2Seq(test, 'mbart', MBartForConditionalGeneration);
await checkSeq2Seq(test, 'pegasus', PegasusForConditionalGeneration);

test('config.json is written as Transformers has it, which refuses 0 where it means 0.0', async () => {
  const text = await readFile(goldenFile('tiny-bart/config.json'), 'utf8');
  const config = BartConfig.fromJson(JSON.parse(text) as Record<string, unknown>, 'config.json');
  const written = BartConfig.toText(BartConfig.toJson(config));
  const numbers = (json: string): string[] => json.match(/"\w+": \d+(\.\d+)?(?=,?\n)/g)!;
  assert.equal(
    numbers(text).filter((line) => !numbers(written).includes(line)),
    [],
  );
});

test("mBART's decoder begins with the language that ends the labels, whatever its config names", () => {
  const model = MBartForConditionalGeneration.fromConfig({
    ...{ vocabSize: 12, dModel: 8, encoderLayers: 1, decoderLayers: 1, encoderFfnDim: 8, decoderFfnDim: 8 },
    ...{ encoderAttentionHeads: 1, decoderAttentionHeads: 1, maxPositionEmbeddings: 8, decoderStartTokenId: 2 },
  });
  const seen: Tensor[] = [];
  model.model.decoder.registerForwardPreHook((_, [inputs]) => {
    seen.push((inputs as { inputIds: Tensor }).inputIds);
  });
  model.forward({ inputIds: i32([[5, 2]]), labels: i32([[5, 6, 2, 9, -100]]) });
  return seen[0]!.data().then((ids) => assert.equal(Array.from(ids), [9, 5, 6, 2, 9]));
});

test.run();
