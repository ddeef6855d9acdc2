// Prompts are read in chunks of few sizes: what follows them is what the model computes of the whole text at
// once, and neither memory nor compiled programs grow with the prompt.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed, memory, noGrad, resetPeakMemory, synchronize, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import { Gemma2ForCausalLM, generate, GPT2LMHeadModel, LlamaForCausalLM } from '../../models/index.ts';
import type { KeyValueCache, LlamaSettings } from '../../models/index.ts';
import { DecodingSession } from '../../models/generation/session.ts';
import type { CausalLM } from '../../models/transformer/causal-lm.ts';
import { largestDifference } from '../support/golden.ts';

const test = suite('prompts in chunks');

const vocabSize = 61;
const numbers = new Random(4);
const ids = (count: number): number[] => Array.from({ length: count }, () => numbers.int(vocabSize));

const gpt2 = (nPositions: number): CausalLM => {
  manualSeed(3);
  const shape = { vocabSize, nEmbd: 32, nLayer: 2, nHead: 4, nPositions };
  return GPT2LMHeadModel.fromConfig({ ...shape, initializerRange: 0.25, eosTokenId: null }).eval();
};

const llama = (more: LlamaSettings = {}): CausalLM => {
  manualSeed(3);
  return LlamaForCausalLM.fromConfig({ ...rotary, ...more }).eval();
};

const rotary = {
  vocabSize,
  hiddenSize: 32,
  intermediateSize: 48,
  numHiddenLayers: 2,
  numAttentionHeads: 4,
  numKeyValueHeads: 2,
  maxPositionEmbeddings: 400,
  initializerRange: 0.25,
  padTokenId: 0,
};

/** Logits of the token after the text, without a cache. */
async function plainLogits(model: CausalLM, tokens: readonly number[]): Promise<Float32Array> {
  const { logits } = noGrad(() => model.forward({ inputIds: tensor([tokens], { dtype: 'i32' }) }));
  return ((await logits.data()) as Float32Array).slice(-vocabSize);
}

/**
 * Compares the logits behind prompts of these lengths, and behind one more token, with those of no cache.
 * Dynamic scalings leave a cache's keys as they are: `grows` false compares no further token.
 */
async function compare(model: CausalLM, lengths: readonly number[], { grows = true } = {}): Promise<void> {
  const texts = lengths.map(ids);
  const session = new DecodingSession(model.decoder(), texts.length, 32);
  const rows = texts.map((tokens) => ({ tokens }));
  const first = Array.from(await session.begin(rows, 'logits'));
  const next = ids(texts.length);
  const hasRoom = Math.max(...lengths) < model.decoder().positions;
  const second = grows && hasRoom ? Array.from(await session.append(next, 'logits')) : [];
  session.free();
  for (const [i, text] of texts.entries())
    for (const [logits, tokens] of [[first, text] as const, [second, [...text, next[i]!]] as const]) {
      if (logits.length === 0) continue;
      const own = logits.slice(i * vocabSize, (i + 1) * vocabSize);
      const error = largestDifference(own, await plainLogits(model, tokens));
      if (!(error <= 2e-5)) throw new Error(`behind ${tokens.length} tokens logits differ by ${error}`);
    }
}

test('rows of unequal length, one of them with a chunk of its own', () => compare(gpt2(400), [330, 17, 64, 81, 1]));

test('chunks are padded beyond the last position', async () => {
  await compare(gpt2(150), [150, 3]);
  await compare(gpt2(12), [12, 5]);
});

test('grouped queries, sliding windows, soft caps, heads that no kernel takes', async () => {
  await compare(llama({ maxPositionEmbeddings: 300 }), [290, 33]);
  await compare(llama({ headDim: 6 }), [70, 9]);
  manualSeed(3);
  const windowed = Gemma2ForCausalLM.fromConfig({ ...rotary, headDim: 8, slidingWindow: 20, queryPreAttnScalar: 8 });
  await compare(windowed.eval(), [150, 19, 21]);
});

test('frequencies that depend on the length are those of the whole text in each chunk', async () => {
  const { switchAt } = longrope.decoder();
  assert.is(switchAt, 30);
  for (const length of [29, 30, 31, 100]) await compare(longrope, [length]);
  // Each text of a batch has those of its own length; two of them grow beyond the switch, one does not.
  for (const lengths of [
    [100, 31],
    [100, 5],
    [30, 12, 30],
  ])
    await compare(longrope, lengths);
  const dynamic = llama({ maxPositionEmbeddings: 50, ropeScaling: { ropeType: 'dynamic', factor: 4 } });
  for (const length of [40, 50, 51, 100]) await compare(dynamic, [length], { grows: false });
  await compare(dynamic, [60, 100, 20], { grows: false });
});

const longrope = llama({
  maxPositionEmbeddings: 120,
  ropeScaling: {
    ropeType: 'longrope',
    shortFactor: [1, 1, 1, 1],
    longFactor: [3, 4, 5, 6],
    originalMaxPositionEmbeddings: 30,
  },
});

test('few programs serve prompts of any length; the turns of a dialogue, too', async () => {
  const decoder = gpt2(1024).decoder();
  const captured: number[] = [];
  const spied = {
    ...decoder,
    hidden: (tokens: Tensor, cache: KeyValueCache) => {
      captured.push(tokens.shape[1]!);
      return decoder.hidden(tokens, cache);
    },
  };
  const session = new DecodingSession(spied, 1, 1024);
  const text: number[] = [];
  for (let turn = 0; turn < 12; turn++) {
    text.push(...ids(1 + ((turn * 37) % 150)));
    await session.begin([{ tokens: text }], 'argmax', true);
    text.push(3);
    await session.append([3], 'argmax');
  }
  session.free();
  assert.equal(
    [...captured].sort((a, b) => a - b),
    [1, 16, 64],
  );
});

test('memory is that of a chunk: linear in the length by the cache alone', async () => {
  const model = gpt2(2048);
  /** Bytes beyond the model at most, and the cache's. */
  const held = async (length: number): Promise<number> => {
    const session = new DecodingSession(model.decoder(), 1, length);
    const rows = [{ tokens: ids(length) }];
    await synchronize();
    resetPeakMemory();
    const before = memory().live;
    await session.begin(rows, 'argmax');
    const bytes = memory().peak - before - session.cacheBytes;
    session.free();
    await synchronize();
    return bytes;
  };
  const [short, long] = [await held(256), await held(2048)];
  assert.ok(long <= 1.1 * short, `${short} bytes for 256 tokens, ${long} for 2048`);
});

test('greedy texts go on from long prompts as without a cache, with guesses too', async () => {
  const model = gpt2(400);
  const prompt = ids(90);
  const text = [...prompt];
  for (let n = 0; n < 12; n++) {
    const logits = await plainLogits(model, text);
    text.push(logits.indexOf(Math.max(...logits)));
  }
  for (const more of [{}, { promptLookupNumTokens: 4 }]) {
    const [generated] = await generate(model, [prompt], { maxNewTokens: 12, ...more });
    assert.equal(generated!.tokens, text.slice(prompt.length));
  }
});

test.run();
