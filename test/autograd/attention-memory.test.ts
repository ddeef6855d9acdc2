import { suite } from 'uvu';
import {
  backward,
  linearCrossEntropy,
  memory,
  normal,
  packedAttention,
  ready,
  resetPeakMemory,
  scope,
  sum,
  synchronize,
  tensor,
} from '../../autograd/index.ts';

const test = suite('memory of attention and of the chunked loss');

await ready();

/** Bytes that a step of forward and backward holds at most, above what was there. */
async function peak(step: () => void): Promise<number> {
  await synchronize();
  const before = memory().live;
  resetPeakMemory();
  {
    using _ = scope();
    step();
    await synchronize();
  }
  return memory().peak - before;
}

for (const isPacked of [false, true])
  test(`attention is linear in the tokens at 1k, 2k, 4k${isPacked ? ', of packed rows too' : ''}`, async () => {
    await checkLinear((tokens) => {
      const qkv = normal([1, tokens, 3, 1, 8]);
      qkv.requiresGrad = true;
      const ids = Int32Array.from({ length: tokens }, (_, t) => Math.floor(t / 300));
      const documents = isPacked ? tensor(ids, { shape: [1, tokens] }) : undefined;
      backward(sum(packedAttention(qkv, { causal: true, dropout: 0.1, documents })));
      qkv.grad?.storage.free();
    });
  });

async function checkLinear(step: (tokens: number) => void): Promise<void> {
  const peaks: number[] = [];
  for (const tokens of [1024, 2048, 4096]) peaks.push(await peak(() => step(tokens)));
  const [one, two, four] = peaks as [number, number, number];
  const scores = 4 * 4096 ** 2; // what the product of queries and keys would take
  if (!(two <= 2.1 * one && four <= 2.1 * two && four < scores / 20))
    throw new Error(`peaks of ${peaks.join(', ')} bytes, one matrix of scores would be ${scores}`);
}

test('the loss holds one run of logits', async () => {
  const [rows, classes, width] = [512, 4096, 16];
  const [hidden, weight] = [normal([rows, width]), normal([classes, width])];
  hidden.requiresGrad = weight.requiresGrad = true;
  const target = tensor(new Int32Array(rows), { dtype: 'i32' });
  for (const softCap of [undefined, 30]) {
    const held = await peak(() => backward(linearCrossEntropy(hidden, weight, target, { chunkRows: 64, softCap })));
    const logits = 4 * rows * classes;
    if (!(held < logits / 2)) throw new Error(`${held} bytes at the peak; all logits would be ${logits}`);
  }
});

test.run();
