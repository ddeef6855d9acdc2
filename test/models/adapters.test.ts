// Adapters against PEFT: test/golden/golden_adapters.py made the folders and numbers.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile, manualSeed, matmul, noGrad, pow, sqrt, sum, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import {
  adaptersOf,
  addLora,
  BertForSequenceClassification,
  initAdapter,
  loadAdapter,
  loadModel,
  loraConfig,
} from '../../models/index.ts';
import type { CombinationOptions, CombinationType, LoraConfig, LoraSettings, PeftModel } from '../../models/index.ts';
import { AdamW } from '../../train/optim/index.ts';
import { goldenFile, norm } from '../support/golden.ts';
import { rejects, throwsOneLine } from '../support/failure.ts';
import { i32 } from '../support/model-golden.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

interface Case {
  readonly base: string;
  readonly loss: number;
  readonly logits: readonly number[];
  readonly trainable: readonly [number, number];
  readonly gradients: Readonly<Record<string, readonly [norm: number, product: number]>>;
  readonly losses: readonly number[];
}

/** A run of PiSSA from its beginning. */
interface Start {
  /** The first row of B A of the first layer, and the lengths of A's rows and B's columns. */
  readonly product: readonly number[];
  readonly a: readonly number[];
  readonly b: readonly number[];
  readonly losses: readonly number[];
  /** The last row of logits after ten steps. */
  readonly logits: readonly number[];
}

const golden = JSON.parse(await readFile(goldenFile('adapters.json'), 'utf8')) as Record<string, Case> & {
  readonly ids: number[][];
  readonly combined: Readonly<Record<string, readonly number[]>>;
};
const starts = JSON.parse(await readFile(goldenFile('adapter-starts.json'), 'utf8')) as Record<string, Start> & {
  readonly joined: Readonly<Record<string, readonly number[]>>;
};
golden['qwen2-dora-table'] = starts['dora-table'] as unknown as Case;
const names = Object.keys(golden).filter((name) => !['ids', 'combined'].includes(name));
const ids = i32(golden.ids);
const adapterFolder = (name: string): string => goldenFile(`adapters/${name}`);

/** What is read before every text is no part of the weights. */
const isVirtual = (name: string): boolean => /-(prompt|prefix|projected)$/.test(name);

interface Output {
  readonly logits: Tensor;
  readonly loss: Tensor;
}

/** The base of a case, as its adapter's class. */
async function loadBase(base: string) {
  const log = (): void => undefined;
  const model =
    base === 'tiny-bert'
      ? await BertForSequenceClassification.fromPretrained(goldenFile(base), {}, { log })
      : await loadModel(goldenFile(base), { log });
  return model as typeof model & { forward(inputs: object): Output };
}

const labelsOf = (base: string): Tensor => (base === 'tiny-bert' ? tensor([1, 0, 1], { dtype: 'i32' }) : ids);
const run = (model: { forward(inputs: object): Output }, base: string): Output =>
  model.forward({ inputIds: ids, labels: labelsOf(base) });

async function lastRow(logits: Tensor): Promise<number[]> {
  const values = Array.from(await logits.data(), Number);
  return values.slice(-logits.shape.at(-1)!);
}

function near(actual: readonly number[], expected: readonly number[], what: string, tolerance = 1e-5): void {
  assert.is(actual.length, expected.length, what);
  actual.forEach((value, i) => {
    const off = Math.abs(value - expected[i]!);
    assert.ok(
      off <= tolerance * Math.max(1, Math.abs(expected[i]!)),
      `${what}: ${value} where ${expected[i]} is expected`,
    );
  });
}

const test = suite('adapters');
let folder = '';
temporaryFolder(test, (path) => {
  folder = path;
});

for (const name of names) {
  const { base, loss, logits, trainable, gradients, losses } = golden[name]!;

  test(`${name}: logits, gradients and ten losses are PEFT's`, async () => {
    const model = await loadBase(base);
    const peft = await loadAdapter(model, adapterFolder(name), { trainable: true });
    const output = run(model, base);
    near(await lastRow(output.logits), logits, 'logits');
    near([await output.loss.item()], [loss], 'loss');
    near(await lastRow(compile(() => noGrad(() => run(model, base).logits))()), logits, 'logits, compiled');
    const counts = peft.trainableParameters();
    assert.equal([counts.trainable, counts.all], trainable);

    output.loss.backward();
    const found = peft.adapters.get('default')!.namedParameters();
    assert.equal(found.map(([key]) => key).sort(), Object.keys(gradients).sort());
    for (const [key, { grad }] of found) {
      const values = Array.from(await grad!.data(), Number);
      const product = values.reduce((sum, value, i) => sum + value * Math.cos(i), 0);
      const [length, expected] = gradients[key]!;
      near([norm(values) / length, product / length], [1, expected / length], `gradient of ${key}`, 5e-5);
    }
    assert.ok(
      model.parameters().every((x) => x.grad === undefined),
      'the base has no gradients',
    );
    for (const [, x] of found) x.clearGrad();

    const optimizer = new AdamW(found, { lr: 1e-3, weightDecay: 0 });
    const step = compile(() => {
      const { loss } = run(model, base);
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
      return loss.detach();
    });
    for (const expected of losses) near([await step().item()], [expected], 'loss of a step', 1e-4);
  });

  test(`${name}: the files are PEFT's, byte for byte`, async () => {
    const model = await loadBase(base);
    const peft = await loadAdapter(model, adapterFolder(name));
    await peft.savePretrained(join(folder, name));
    for (const file of await readdir(adapterFolder(name))) {
      const [ours, theirs] = [join(folder, name, file), join(adapterFolder(name), file)];
      if (file.endsWith('.json')) assert.is(await readFile(ours, 'utf8'), await readFile(theirs, 'utf8'), file);
      else assert.ok((await readFile(ours)).equals(await readFile(theirs)), file);
    }
  });

  if (isVirtual(name)) continue;
  test(`${name}: merged it computes the same, unmerged the weights are the old ones`, async () => {
    const model = await loadBase(base);
    const before = await contents(model);
    const alone = await lastRow(noGrad(() => run(model, base)).logits);
    const peft = await loadAdapter(model, adapterFolder(name));
    peft.merge();
    near(await lastRow(noGrad(() => run(model, base)).logits), logits, 'merged', 2e-5);
    peft.unmerge();
    near(await lastRow(noGrad(() => run(model, base)).logits), logits, 'unmerged');
    assert.equal(await lastRow(peft.disableAdapters(() => noGrad(() => run(model, base)).logits)), alone, 'disabled');
    peft.unload();
    assert.equal(await contents(model), before, 'weights');
    assert.equal(await lastRow(noGrad(() => run(model, base)).logits), alone, 'unloaded');
    assert.ok(model.parameters().every((x) => x.requiresGrad));
  });
}

const pissa: readonly (readonly [string, string, LoraSettings])[] = [
  ['pissa-gpt2', 'tiny-gpt2', { r: 3, loraAlpha: 6, targetModules: ['c_attn', 'mlp.c_proj'] }],
  ['pissa-llama', 'tiny-llama', { r: 4, useRslora: true, targetModules: 'all-linear' }],
  ['pissa-gpt2-dora', 'tiny-gpt2', { r: 2, targetModules: ['c_attn'], useDora: true }],
];
for (const [name, base, settings] of pissa)
  test(`${name}: begins and trains as PEFT's, and is a plain adapter in its file`, async () => {
    const start = starts[name]!;
    const model = await loadBase(base);
    const before = await contents(model);
    const alone = await lastRow(noGrad(() => run(model, base)).logits);
    const peft = await initAdapter(model, loraConfig({ ...settings, initLoraWeights: 'pissa' }));
    near(await lastRow(noGrad(() => run(model, base)).logits), alone, 'as the base at first');
    assert.equal(await contents(model), before, 'the weights of the base stay');
    const adapter = peft.adapters.get('default')!;
    const [a, b] = adapter.layers[0]!.parameters.map(([, x]): Tensor => x) as [Tensor, Tensor];
    const product = Array.from(await noGrad(() => matmul(b, a)).data(), Number);
    near(product.slice(0, a.shape[1]), start.product, 'B A');
    const lengths = (x: Tensor, axis: number) => noGrad(() => sqrt(sum(pow(x, 2), axis))).data();
    near(Array.from(await lengths(a, 1), Number), start.a, 'rows of A');
    near(Array.from(await lengths(b, 0), Number), start.b, 'columns of B');

    const optimizer = new AdamW(adapter.namedParameters(), { lr: 1e-3, weightDecay: 0 });
    for (const expected of start.losses) {
      const { loss } = run(model, base);
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
      near([await loss.item()], [expected], 'loss of a step', 1e-4);
    }
    const after = await lastRow(noGrad(() => run(model, base)).logits);
    near(after, start.logits, 'logits after ten steps', 1e-3);

    const saved = join(folder, name);
    await peft.savePretrained(saved);
    const plain = await loadBase(base);
    const again = (await loadAdapter(plain, saved)).adapters.get('default')!.config as LoraConfig;
    assert.equal([again.r, again.initLoraWeights], [2 * settings.r!, true]);
    near(await lastRow(noGrad(() => run(plain, base)).logits), after, 'read from its file', 2e-5);

    // Another one, begun anew, goes on from the file to the bit; and merged it is the same.
    const third = await loadBase(base);
    const other = await initAdapter(third, loraConfig({ ...settings, initLoraWeights: 'pissa' }));
    await other.loadWeights(saved);
    assert.equal(await lastRow(noGrad(() => run(third, base)).logits), after, 'taken from its file');
    other.merge();
    near(await lastRow(noGrad(() => run(third, base)).logits), after, 'merged', 2e-5);
    other.unmerge();
    assert.equal(await lastRow(other.disableAdapters(() => noGrad(() => run(third, base)).logits)), alone, 'disabled');
  });

test('PiSSA by few rounds is near, reads its weights first, and refuses ranks that are too large', async () => {
  const model = await loadBase('tiny-gpt2');
  const settings = { r: 4, targetModules: ['c_attn'] };
  throwsOneLine(() => addLora(model, { ...settings, initLoraWeights: 'pissa' }), /await initAdapter\(model, config\)/);
  const energy = async (initLoraWeights: LoraConfig['initLoraWeights']): Promise<number> => {
    const peft = await initAdapter(model, loraConfig({ ...settings, initLoraWeights }));
    const [a, b] = peft.adapters.get('default')!.layers[0]!.parameters.map(([, x]): Tensor => x) as [Tensor, Tensor];
    const found = norm(Array.from(await noGrad(() => matmul(b, a)).data(), Number));
    peft.unload();
    return found;
  };
  const [exact, rough, rougher] = [await energy('pissa'), await energy('pissa_niter_3'), await energy('pissa_niter_1')];
  assert.ok(rough <= exact * (1 + 1e-6) && rough > 0.99 * exact && rougher < rough, `${rougher} ${rough} ${exact}`);
  await rejects(
    initAdapter(model, loraConfig({ r: 64, targetModules: ['c_attn'], initLoraWeights: 'pissa' })),
    /c_attn \[96, 32\] has 32 singular values, and PiSSA takes the 64 largest/,
  );
  assert.is(adaptersOf(model), undefined);
  const ofPeft = await loadAdapter(model, adapterFolder('gpt2-pissa'));
  near(await lastRow(noGrad(() => run(model, 'tiny-gpt2')).logits), starts['pissa-gpt2']!.logits, "PEFT's own file");
  ofPeft.unload();
  const packed = await loadModel(goldenFile('tiny-llama'), { quantize: 'q8_0', log: () => undefined });
  const logits = () => lastRow(noGrad(() => run(packed as never, 'tiny-llama')).logits);
  const alone = await logits();
  await initAdapter(packed, loraConfig({ r: 4, targetModules: 'all-linear', initLoraWeights: 'pissa' }));
  near(await logits(), alone, 'on weights of 8 bits');
  throwsOneLine(() => loraConfig({ initLoraWeights: 'pissa_niter_x' as never }), /initLoraWeights/);
});

test('adapters by weights, and together, are as PEFT joins them', async () => {
  const model = await loadBase('tiny-gpt2');
  const peft = await loadAdapter(model, adapterFolder('gpt2-first'), { name: 'first' });
  await peft.load(adapterFolder('gpt2-second'), { name: 'second' });
  const logits = (): Promise<number[]> => lastRow(noGrad(() => run(model, 'tiny-gpt2')).logits);
  peft.setAdapters(['first', 'second']);
  near(await logits(), golden.combined['together']!, 'together');
  for (const type of ['cat', 'linear'] as const) {
    await peft.addWeighted(['first', 'second'], [0.7, 0.4], { name: type, type });
    near(await logits(), golden.combined[type]!, type);
  }
  const options: Readonly<Record<string, CombinationOptions>> = {
    svd: {},
    'svd-2': { svdRank: 2 },
    ties: { density: 0.5 },
    'ties-frequency': { density: 0.6, majoritySignMethod: 'frequency' },
    magnitude_prune: { density: 0.4 },
    ties_svd: { density: 0.5 },
    magnitude_prune_svd: { density: 0.3, svdRank: 4 },
    linear: {},
  };
  assert.equal(Object.keys(options).sort(), Object.keys(starts.joined).sort());
  for (const [name, each] of Object.entries(options)) {
    const type = name.replace(/-.*/, '') as CombinationType;
    await peft.addWeighted(['first', 'second'], [0.7, -0.4], { name: `${name}-joined`, type, ...each });
    near(await logits(), starts.joined[name]!, name, 3e-5);
    if (name === 'svd') {
      await peft.savePretrained(join(folder, 'svd'));
      const found = await loadAdapter(await loadBase('tiny-gpt2'), join(folder, 'svd'));
      near(
        await lastRow(noGrad(() => run(found.base, 'tiny-gpt2')).logits),
        starts.joined[name]!,
        'from its file',
        3e-5,
      );
    }
    peft.remove(`${name}-joined`);
  }
});

test('elements that DARE draws are those of the adapter over their share', async () => {
  const model = await loadBase('tiny-gpt2');
  const peft = await loadAdapter(model, adapterFolder('gpt2-first'), { name: 'first' });
  const matrixOf = async (name: string): Promise<number[]> => {
    const [layer] = peft.adapters.get(name)!.layers;
    return Array.from(await layer!.parameters[0]![1].data(), Number);
  };
  const all = await matrixOf('first');
  const scale = Math.sqrt(2); // alpha 6 over rank 3, its root on A and on B
  const kept: boolean[][] = [];
  for (const seed of [1, 1, 2]) {
    manualSeed(seed);
    await peft.addWeighted(['first'], [1], { name: 'drawn', type: 'dare_linear', density: 0.7 });
    const drawn = await matrixOf('drawn');
    near(
      drawn,
      drawn.map((x, i) => (x === 0 ? 0 : (scale * all[i]!) / 0.7)),
      'elements',
    );
    kept.push(drawn.map((x) => x !== 0));
    peft.remove('drawn');
  }
  const share = kept[0]!.filter(Boolean).length / all.length;
  assert.ok(Math.abs(share - 0.7) < 4 * Math.sqrt((0.7 * 0.3) / all.length), `${share} of ${all.length} kept`);
  assert.equal(kept[0], kept[1]);
  assert.not.equal(kept[0], kept[2]);
  // With nothing left out it is as 'ties' is.
  const logits = (): Promise<number[]> => lastRow(noGrad(() => run(model, 'tiny-gpt2')).logits);
  await peft.load(adapterFolder('gpt2-second'), { name: 'second' });
  await peft.addWeighted(['first', 'second'], [1, 2], { name: 'whole', type: 'dare_ties', density: 1 });
  const whole = await logits();
  await peft.addWeighted(['first', 'second'], [1, 2], { name: 'ties', type: 'ties', density: 1 });
  assert.equal(await logits(), whole);
});

test('ways to join adapters that are wrong are refused in one line', async () => {
  const model = await loadBase('tiny-gpt2');
  const peft = await loadAdapter(model, adapterFolder('gpt2-first'), { name: 'first' });
  await peft.addWeighted(['first', 'first'], [1, 1], { name: 'wide' });
  const wrong: readonly (readonly [CombinationOptions, RegExp])[] = [
    [{ type: 'linear' }, /'linear' needs one rank, .*c_attn has 3 and 6; use 'cat' or 'svd'/],
    [{ type: 'tie' as never }, /there is no type "tie"; take one of cat, linear, svd/],
    [{ type: 'ties' }, /give density in \(0, 1\], not undefined/],
    [{ density: 0.5 }, /'cat' takes all; leave it out/],
    [{ svdRank: 3 }, /svdRank is a whole number from 1 for 'svd' and its kin, not 3 for 'cat'/],
  ];
  for (const [options, says] of wrong)
    await rejects(peft.addWeighted(['first', 'wide'], [1, 1], { name: 'x', ...options }), says);
  await rejects(peft.addWeighted(['first'], [1, 2], { name: 'x' }), /1 adapters and 2 weights/);
});

async function contents(model: PeftModel['base']): Promise<[string, number[]][]> {
  const found: [string, number[]][] = [];
  for (const [key, x] of model.stateTensors()) found.push([key, Array.from(await x.data(), Number)]);
  return found;
}

test.run();
