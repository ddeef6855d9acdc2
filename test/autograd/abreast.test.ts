import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { placeAbreast } from '../../autograd/compile/abreast.ts';
import { lowerGroups } from '../../autograd/compile/build.ts';
import type { Step } from '../../autograd/compile/build.ts';
import { capture } from '../../autograd/compile/capture.ts';
import { fuse } from '../../autograd/compile/fuse.ts';
import { simplify } from '../../autograd/compile/simplify.ts';
import * as tf from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { Storage } from '../../autograd/storage.ts';
import { Random } from '../../common/random.ts';
import { acquire } from '../../gpu/index.ts';
import type { Dispatch, Target } from '../../gpu/index.ts';
import { Dropout, LayerNorm, Linear, Module } from '../../models/index.ts';
import { AdamW } from '../../train/optim/index.ts';

const test = suite('steps abreast');
const gpu = await acquire();
/** As a GPU would have it, but with tiles that a software driver compiles soon. */
const target: Target = { ...gpu.target, software: false, kind: 'integrated', subgroupMatrix: [] };

class Net extends Module {
  readonly norm = new LayerNorm(24);
  readonly first = new Linear(24, 40);
  readonly second = new Linear(40, 24);
  readonly dropout = new Dropout(0.2);

  override forward(x: Tensor): Tensor {
    return x.add(this.dropout.forward(this.second.forward(tf.gelu(this.first.forward(this.norm.forward(x))))));
  }
}

function lower(step: (x: Tensor) => Tensor, x: Tensor): readonly Step[] {
  const { entries, result } = capture(([input]) => step(input!), [x]);
  const wanted = new Set(result.leaves.map(({ storage }) => storage));
  const constants = new Map<Storage, number>();
  const simplified = simplify(entries, wanted);
  return lowerGroups(fuse(simplified.entries, { target, wanted, constants }), target, constants).steps;
}

/** Runs steps over memory that begins with small numbers, and returns what all of it holds afterwards. */
async function run(steps: readonly Step[]): Promise<Map<Storage, Uint8Array>> {
  const storages = [...new Set(steps.flatMap(({ tensors }) => tensors.map(({ storage }) => storage)))];
  const memory = new Map(
    storages.map((storage) => {
      const random = new Random(storage.bytes);
      const size = Math.ceil(storage.bytes / 16) * 4;
      const made = Float32Array.from({ length: size }, () => 0.1 + 0.1 * random.uniform());
      return [storage, gpu.upload(new Uint8Array(made.buffer), 'test')];
    }),
  );
  for (const { dispatch, tensors } of steps)
    gpu.dispatch(
      dispatch,
      tensors.map(({ storage }) => memory.get(storage)!),
    );
  const found = new Map<Storage, Uint8Array>();
  for (const [storage, allocation] of memory) found.set(storage, await gpu.read(allocation, 0, storage.bytes));
  for (const allocation of memory.values()) gpu.release(allocation);
  return found;
}

test('a training step computes what its steps compute one after the other, bit for bit', async () => {
  tf.manualSeed(3);
  const net = new Net();
  const optimizer = new AdamW(net.parameters(), { lr: 0.1 });
  const steps = lower(
    (x) => {
      const y = net.forward(x);
      const loss = tf.mul(y, y).sum();
      loss.backward();
      optimizer.step({ maxNorm: 1 });
      optimizer.zeroGrad();
      return loss.detach();
    },
    tf.normal([48, 24]).keep(),
  );
  const fewer = placeAbreast(steps, target);
  const joined = fewer.flatMap(({ dispatch }) => (dispatch.parts ? [dispatch] : []));
  assert.ok(joined.length >= 3, `${fewer.map(({ dispatch }) => dispatch.name)}`);
  assert.ok(joined.some(({ parts }) => parts!.filter(({ name }) => name.startsWith('matmul.tiled')).length === 2));
  assert.is(fewer.length + joined.reduce((sum, { parts }) => sum + parts!.length - 1, 0), steps.length);
  const [apart, together] = [await run(steps), await run(fewer)];
  for (const [storage, bytes] of apart)
    assert.equal(together.get(storage), bytes, `${storage.label}, ${storage.bytes} bytes`);
});

test('random draws, whose streams a replay moves, and steps that wait for each other', async () => {
  const x = tf.ones([1000]).keep();
  const steps = lower((input) => {
    const first = tf.dropout(input, 0.5);
    return tf.cumsum(first, 0).add(tf.cumsum(tf.dropout(input, 0.5), 0));
  }, x);
  const fewer = placeAbreast(steps, target);
  const joined = fewer.map(({ dispatch }) => dispatch).find(({ parts, draws }) => parts && draws.length > 0);
  assert.ok(joined, `${fewer.map(({ dispatch }) => dispatch.name)}`);
  // The words of the draw are those of the part, where they lie now.
  const part = joined.parts!.find(({ draws }) => draws.length > 0)!;
  const wordsOf = ({ params, draws }: Dispatch) => params.slice(4 * draws[0]!.word, 4 * draws[0]!.word + 16);
  assert.equal(wordsOf(joined), wordsOf(part));
  assert.is(joined.draws[0]!.stream, part.draws[0]!.stream);
  const [apart, together] = [await run(steps), await run(fewer)];
  for (const [storage, bytes] of apart) assert.equal(together.get(storage), bytes, storage.label);
});

test.run();
