// BART, mBART and Pegasus against Transformers: the golden files are made by test/golden/golden_bart.py.
import { readFile } from 'node:fs/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { sourceIds } from '../../models/generation/text.ts';
import {
  BartConfig,
  BartForConditionalGeneration,
  MBartForConditionalGeneration,
  PegasusForConditionalGeneration,
} from '../../models/index.ts';
import { goldenFile } from '../support/golden.ts';
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
test('texts for BART are refused, since the tokens around them are not added yet', () => {
  const tokenizer = { idsOf: () => [5] };
  assert.throws(
    () =>
      sourceIds({ config: { modelType: 'bart', eosTokenId: 2 } } as Parameters<typeof sourceIds>[0], tokenizer, 'x'),
    'a bart reads texts with further tokens around them',
  );
});

test.run();
