// SmolLM2-135M-Instruct by its GGUF file, against Transformers: test/golden/golden_smollm2.py made the
// numbers.
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { noGrad } from '../../autograd/index.ts';
import { applyChatTemplate, generate, loadTextGenerator } from '../../models/index.ts';
import type { ChatMessage, TextGenerator, LlamaForCausalLM } from '../../models/index.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';
import { i32 } from '../support/model-golden.ts';

interface Case {
  readonly messages?: readonly ChatMessage[];
  /** The text that the model reads, made by the template where there are messages. */
  readonly chat: string;
  readonly ids: readonly number[];
  readonly positions: readonly number[];
  readonly tops: readonly (readonly number[])[];
  /** f32 in base64: for each position every `step`-th logit, then those of its `tops`. */
  readonly logits: string;
  readonly answer: readonly number[];
  /** Between the two largest logits at each token of the answer. */
  readonly gaps: readonly number[];
}

const test = suite('smollm2');
const path = process.env['TAPEFORM_SMOLLM2'];

const { step, cases } = JSON.parse(readFileSync(goldenFile('smollm2.json'), 'utf8')) as {
  readonly step: number;
  readonly cases: readonly Case[];
};

test('the golden file: ten prompts, numbers for each position, the answers of 64 tokens or to their end', () => {
  assert.is(cases.length, 10);
  for (const { ids, positions, tops, logits, answer, gaps } of cases) {
    assert.ok(positions.every((position) => position < ids.length) && tops.length === positions.length);
    const each = Math.ceil(49152 / step);
    const count = positions.length * each + tops.flat().length;
    assert.is(Buffer.from(logits, 'base64').length, 4 * count);
    assert.ok(answer.length > 0 && answer.length <= 64 && gaps.length === answer.length);
  }
});

if (path) {
  let loaded: TextGenerator | undefined;
  const open = async (): Promise<TextGenerator> => (loaded ??= await loadTextGenerator(path));

  test('SmolLM2: the template and the tokenizer give the ids of Transformers', async () => {
    const { tokenizer } = await open();
    for (const { messages, chat, ids } of cases) {
      if (messages) assert.is(applyChatTemplate(tokenizer, messages, { addGenerationPrompt: true }), chat);
      assert.equal([...tokenizer.idsOf(chat)], [...ids], JSON.stringify(chat.slice(0, 60)));
    }
  });

  test('SmolLM2: logits of ten prompts are those of Transformers on the dequantised weights', async () => {
    const { model } = await open();
    let most = 0;
    for (const { ids, positions, tops, logits: golden } of cases) {
      const expected = new Float32Array(Uint8Array.from(Buffer.from(golden, 'base64')).buffer);
      const { logits } = noGrad(() => (model as LlamaForCausalLM).forward({ inputIds: i32([ids]) }));
      const all = (await logits.data()) as Float32Array;
      const width = logits.shape[2]!;
      const found = positions.flatMap((position, i) => {
        const row = all.subarray(position * width, (position + 1) * width);
        return [...row.filter((_, id) => id % step === 0), ...tops[i]!.map((id) => row[id]!)];
      });
      most = Math.max(most, largestDifference(found, expected));
    }
    console.log(`  SmolLM2: logits within ${most.toExponential(1)}`);
    assert.ok(most <= 1e-3, `logits differ by ${most}`);
  });

  test('SmolLM2: greedy answers of 64 tokens are those of Transformers, but where two tokens are as good', async () => {
    const { model } = await open();
    let equal = 0;
    for (const { ids, answer, gaps } of cases) {
      const settings = { doSample: false, minNewTokens: answer.length, maxNewTokens: answer.length };
      const [result] = await generate(model, [ids], settings);
      const parts = answer.findIndex((id, i) => id !== result!.tokens[i]);
      if (parts === -1) equal++;
      else {
        console.log(
          `  SmolLM2: "${ids.length} ids" part at token ${parts}, where the two best are ${gaps[parts]} apart`,
        );
        assert.ok(gaps[parts]! <= 1e-3, `token ${parts} differs, and the two best are ${gaps[parts]} apart`);
      }
    }
    console.log(`  SmolLM2: ${equal} of ${cases.length} answers token for token`);
    assert.ok(equal >= cases.length - 1);
  });
} else {
  console.log('smollm2.test.ts: SmolLM2-135M-Instruct skipped, set TAPEFORM_SMOLLM2 to its GGUF file to run it');
}

test.run();
