// Activations by name, against PyTorch's forward hooks on Transformers' models and against TransformerLens:
// test/golden/golden_activations.py.
import { readFile } from 'node:fs/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile, noGrad, ones, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import {
  AlbertForMaskedLM,
  BartForConditionalGeneration,
  BertForMaskedLM,
  GPT2LMHeadModel,
  LlamaForCausalLM,
  loadModel,
  runWithCache,
  runWithHooks,
  T5ForConditionalGeneration,
  withHooks,
} from '../../models/index.ts';
import type { ActivationNames, Module } from '../../models/index.ts';
import { throwsOneLine } from '../support/failure.ts';
import { goldenFile, largestDifference, readGolden } from '../support/golden.ts';
import { checkClose, i32 } from '../support/model-golden.ts';

const test = suite('activations');

interface Golden {
  readonly row: number[][];
  readonly target: number[][];
  readonly halved: Readonly<Record<string, string>>;
}
const golden = JSON.parse(await readFile(goldenFile('activations.json'), 'utf8')) as Golden;
const values = await readGolden('activations.safetensors');

type AnyModel = Module & { forward(inputs: { inputIds: Tensor; decoderInputIds?: Tensor }): { logits: Tensor } };
type Loader = { fromPretrained(folder: string): Promise<Module> };
const classes: Readonly<Record<string, Loader>> = {
  gpt2: GPT2LMHeadModel,
  llama: LlamaForCausalLM,
  bert: BertForMaskedLM,
  albert: AlbertForMaskedLM,
  bart: BartForConditionalGeneration,
  t5: T5ForConditionalGeneration,
};
const withDecoder = (family: string): boolean => family === 'bart' || family === 't5';

async function load(family: string): Promise<AnyModel> {
  const model = await classes[family]!.fromPretrained(goldenFile(`tiny-${family}`));
  return model.eval() as unknown as AnyModel;
}

function inputsOf(family: string, target = golden.target): { inputIds: Tensor; decoderInputIds?: Tensor } {
  return { inputIds: i32(golden.row), ...(withDecoder(family) ? { decoderInputIds: i32(target) } : {}) };
}

const gpt2 = (): Promise<AnyModel> => load('gpt2');
const row = (): { inputIds: Tensor } => ({ inputIds: i32(golden.row) });
const same = async (a: Tensor, b: Tensor, tolerance = 1e-6): Promise<void> => {
  assert.equal(a.shape, b.shape);
  const off = largestDifference(await a.data(), await b.data());
  assert.ok(off <= tolerance, `off by ${off}`);
};

const under = (prefix: string): string[] =>
  [...values.keys()].filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length));

/**
 * Transformers has modules for activations; dropout, and containers whose parts are called, do not run here.
 */
const theirsAlone =
  /\.(activation|act|activation_fn|act_fn|transform_act_fn|intermediate_act_fn)$|drop|rotary_emb$|^cls$|groups\.\d+$/;

for (const family of Object.keys(classes)) {
  test(`${family}: what modules give is what PyTorch's hooks see`, async () => {
    const model = await load(family);
    const names = new Set(model.namedModules().map(([name]) => name));
    const theirs = under(`${family}/torch/`);
    const { cache } = noGrad(() => runWithCache(model, inputsOf(family), (name) => names.has(name)));
    const missing = theirs.filter((name) => !(name in cache) && !theirsAlone.test(name));
    assert.equal(missing, []);
    let worst = 0;
    for (const name of theirs) {
      const x = cache[name];
      // One row for all tokens, which are of one type.
      if (!x || name.endsWith('token_type_embeddings')) continue;
      worst = Math.max(worst, await checkClose(x, values, `${family}/torch/${name}`));
    }
    console.log(`  ${family}: ${Object.keys(cache).length} modules, off by at most ${worst.toExponential(1)}`);
  });

  test(`${family}: a module whose output is halved`, async () => {
    const model = await load(family);
    const run = (): Tensor =>
      runWithHooks(model, inputsOf(family), [[golden.halved[family]!, (x) => x.mul(0.5)]]).logits;
    await checkClose(noGrad(run), values, `${family}/torch-halved`);
    assert.not(model.modules().some((module) => module.isHooked));
  });

  const lens = under(`${family}/lens/`);
  if (lens.length === 0) continue;
  test(`${family}: TransformerLens' names`, async () => {
    const model = await load(family);
    const inputs = inputsOf(family, [golden.target[0]!.slice(0, 1)]);
    const { cache, output } = noGrad(() => runWithCache(model, inputs, /hook_/));
    let worst = 0;
    for (const name of lens) {
      assert.ok(cache[name], `${family} has ${name}`);
      worst = Math.max(worst, await checkClose(cache[name], values, `${family}/lens/${name}`));
    }
    const more = Object.keys(cache).filter((name) => !lens.includes(name));
    assert.equal(more, []);
    assert.ok(output.logits.size > 0);
    console.log(`  ${family}: ${lens.length} of TransformerLens, off by at most ${worst.toExponential(1)}`);
  });

  test(`${family}: without a head, immediately and compiled`, async () => {
    const model = await load(family);
    const inputs = inputsOf(family, [golden.target[0]!.slice(0, 1)]);
    const name = `${withDecoder(family) ? 'decoder' : 'blocks'}.0.attn.hook_z`;
    const headless = (z: Tensor): Tensor => z.mul(others(z.shape[2]!));
    const run = (batch: typeof inputs): Tensor => runWithHooks(model, batch, [[name, headless]]).logits;
    const immediate = noGrad(() => run(inputs));
    await checkClose(immediate, values, `${family}/lens-headless`);
    const compiled = compile(run);
    for (let times = 0; times < 2; times++)
      await checkClose(
        noGrad(() => compiled(inputs as never)),
        values,
        `${family}/lens-headless`,
      );
    assert.is(compiled.programs.length, 1);
  });
}

/** 1 for all heads but the second, (H, 1). */
const others = (heads: number): Tensor => tensor(Array.from({ length: heads }, (_, i) => [i === 1 ? 0 : 1]));

/** Further families, and whether their layers end in a norm. */
const further = {
  'tiny-distilbert': 'post',
  'tiny-electra': 'post',
  'tiny-roberta': 'post',
  'tiny-mpnet': 'post',
  'tiny-deberta-v2': 'post',
  'tiny-albert': 'post',
  'tiny-opt': 'pre',
  'tiny-opt-post-norm': 'post',
  'tiny-gpt-neox': 'parallel',
  'tiny-gpt-neox-serial': 'pre',
  'tiny-gemma2': 'pre',
  'tiny-olmo2': 'pre',
  'tiny-phi3': 'pre',
  'tiny-qwen3': 'pre',
} as const;

for (const [folder, kind] of Object.entries(further))
  test(`${folder}: layers show what they give, and attention what it computes with`, async () => {
    const model = (await loadModel(goldenFile(folder))).eval() as unknown as Module & {
      forward(inputs: object): { hiddenStates: Tensor[]; attentions: Tensor[] };
    };
    const inputs = { ...row(), outputHiddenStates: true, outputAttentions: true };
    const { output, cache } = noGrad(() => runWithCache(model, inputs, /^blocks\./));
    const { hiddenStates, attentions } = output;
    for (const [i, weights] of attentions.entries()) {
      const at = (name: string): Tensor => {
        assert.ok(cache[`blocks.${i}.${name}`], `${folder} has blocks.${i}.${name}`);
        return cache[`blocks.${i}.${name}`]!;
      };
      await same(at('hook_resid_pre'), hiddenStates[i]!);
      await same(at('attn.hook_pattern'), weights);
      const last = at(kind === 'post' ? 'hook_normalized_resid_post' : 'hook_resid_post');
      // Transformers' last hidden state is that behind the last norm or projection.
      if (i + 1 < attentions.length) await same(last, hiddenStates[i + 1]!);
      const [batch, tokens, heads, size] = at('attn.hook_q').shape as [number, number, number, number];
      assert.equal([batch, tokens, heads], [1, 5, weights.shape[1]!]);
      assert.equal(at('attn.hook_z').shape, [1, 5, heads, size]);
      assert.equal(at('attn.hook_k').shape, at('attn.hook_v').shape);
      assert.equal(at('mlp.hook_pre').shape, at('mlp.hook_post').shape);
      const base = kind === 'post' ? undefined : at('hook_resid_pre');
      if (base && kind === 'pre') await same(base.add(at('hook_attn_out')), at('hook_resid_mid'));
      if (kind === 'pre') await same(at('hook_resid_mid').add(at('hook_mlp_out')), at('hook_resid_post'));
      if (kind === 'parallel')
        await same(base!.add(at('hook_attn_out')).add(at('hook_mlp_out')), at('hook_resid_post'));
    }
    assert.ok(attentions.length > 0);
  });

test('compiled: one program gives the output and the activations, with the values of immediate mode', async () => {
  const model = await gpt2();
  const names = [/hook_resid_post$/, 'transformer.ln_f', 'blocks.1.attn.hook_pattern'];
  const lines: string[] = [];
  const run = compile((batch: { inputIds: Tensor }) => runWithCache(model, batch, names), {
    log: (line) => lines.push(line),
  });
  const immediate = noGrad(() => runWithCache(model, row(), names));
  for (let times = 0; times < 3; times++) {
    const { output, cache } = noGrad(() => run(row()));
    assert.equal(Object.keys(cache).sort(), [
      'blocks.0.hook_resid_post',
      'blocks.1.attn.hook_pattern',
      'blocks.1.hook_resid_post',
      'transformer.ln_f',
    ]);
    await same(output.logits, immediate.output.logits);
    for (const [name, x] of Object.entries(cache)) await same(x, immediate.cache[name]!);
  }
  assert.is(run.programs.length, 1);
  assert.equal(lines, []);
  // What others put on a module is still seen.
  const handle = (
    model.modules().find((module) => module.constructor.name === 'LayerNorm') as Module
  ).registerForwardHook((_, __, output) => (output as Tensor).mul(2));
  const changed = noGrad(() => run(row()));
  handle.remove();
  assert.ok(largestDifference(await changed.output.logits.data(), await immediate.output.logits.data()) > 1e-3);
  assert.match(lines[0]!, /the list of hooks of a LayerNorm was \[\]/);
});

test('attention weights are made only where they are named; the logits are the same to rounding', async () => {
  const model = await gpt2();
  const plain = noGrad(() => runWithCache(model, row(), /hook_(q|z)$/));
  assert.equal(Object.keys(plain.cache).length, 4);
  const named = noGrad(() => runWithCache(model, row(), /hook_pattern$/));
  assert.equal(Object.keys(named.cache).length, 2);
  assert.equal(named.cache['blocks.0.attn.hook_pattern']!.shape, [1, 4, 5, 5]);
  await same(plain.output.logits, named.output.logits, 1e-5);
  // They are not among what the model returns unless it is asked for them.
  assert.is((named.output as { attentions?: unknown }).attentions, undefined);
});

test('hooks run in their order, each once; what they read of another model is not watched', async () => {
  const model = await gpt2();
  const seen: string[] = [];
  const inner: string[] = [];
  const { logits } = noGrad(() =>
    runWithHooks(model, row(), [
      [
        ['blocks.0.hook_resid_post', /0\.hook_resid_post/],
        (x, name) => {
          seen.push(`first ${name}`);
          // The model itself, run inside of a hook, with hooks of its own.
          runWithHooks(model, row(), [['blocks.0.hook_resid_post', (_, own) => void inner.push(own)]]);
          return x.mul(2);
        },
      ],
      [
        'blocks.0.hook_resid_post',
        (x, name) => {
          seen.push(`second ${name}`);
          return x.mul(0.5);
        },
      ],
    ]),
  );
  assert.equal(seen, ['first blocks.0.hook_resid_post', 'second blocks.0.hook_resid_post']);
  assert.equal(inner, ['blocks.0.hook_resid_post']);
  await same(
    logits,
    noGrad(() => model.forward(row()).logits),
  );
});

test('gradients flow through what hooks make', async () => {
  const model = await gpt2();
  const gate = ones([1]);
  gate.requiresGrad = true;
  const { logits } = runWithHooks(model, row(), [['blocks.1.hook_mlp_out', (x) => x.mul(gate)]]);
  logits.mean().backward();
  // d mean(logits) / d gate, by differences.
  const at = async (g: number): Promise<number> =>
    noGrad(() => runWithHooks(model, row(), [['blocks.1.hook_mlp_out', (x) => x.mul(g)]]).logits.mean()).item();
  const difference = ((await at(1.05)) - (await at(0.95))) / 0.1;
  assert.ok(Math.abs((await gate.grad!.item()) - difference) < 1e-3, `${await gate.grad!.item()} ${difference}`);
});

test('what matches nothing is refused in a line that names what is near', async () => {
  const model = await gpt2();
  const refused = (names: ActivationNames, message: RegExp, of = model): void =>
    throwsOneLine(() => noGrad(() => runWithCache(of, row(), names)), message);
  refused(
    'blocks.0.hook_resid_pots',
    /^runWithCache: no activation of GPT2LMHeadModel is named "blocks.*pots"; did you mean blocks\.0\.hook_resid_post/,
  );
  refused('transformer.h.0.atn', /did you mean transformer\.h\.0\.attn or/);
  refused(['transformer.wte', /layer9/], /is named \/layer9\/; there are transformer, transformer\.wte, .* more$/);
  refused('transformer.drop2', /did you mean transformer\.drop\b/);
  refused('cls', /"cls" of BertForMaskedLM did not run for these inputs/, await load('bert'));
  for (const module of model.modules()) assert.not(module.isHooked);
});

test('a hook that returns another shape, type or thing is refused, and nothing stays behind', async () => {
  const model = await gpt2();
  const refused = (hook: (x: Tensor) => unknown, message: RegExp): void =>
    throwsOneLine(() => noGrad(() => runWithHooks(model, row(), [['transformer.h.1.mlp', hook]])), message);
  refused(
    (x) => x.sum(2),
    /^runWithHooks: the hook at transformer\.h\.1\.mlp returned f32 \[1, 5\] for an activation f32 \[1, 5, 32\];/,
  );
  refused((x) => x.to('f16'), /returned f16 \[1, 5, 32\]/);
  refused(() => 3, /returned a number/);
  const failing = (): unknown =>
    runWithHooks(model, row(), [
      [
        'blocks.0.attn.hook_z',
        () => {
          throw new Error('mine');
        },
      ],
    ]);
  assert.throws(failing, /mine \(in GPT2LMHeadModel: transformer\.h\.0\.attn\)/);
  const { cache } = noGrad(() => runWithCache(model, row(), 'blocks.0.attn.hook_z'));
  assert.equal(cache['blocks.0.attn.hook_z']!.shape, [1, 5, 4, 8]);
});

test('hooks on modules end with the function, also with an async one, which is refused', async () => {
  const model = await gpt2();
  const calls: string[] = [];
  const hooks = model.namedModules().map(([name, module]) => ({ module, before: () => void calls.push(name) }));
  const logits = withHooks(hooks, () => noGrad(() => model.forward(row()).logits), 'all');
  assert.equal(logits.shape, [1, 5, 97]);
  assert.ok(calls.includes('transformer.h.1.attn.c_attn'));
  throwsOneLine(() => withHooks(hooks, () => Promise.resolve()), /^withHooks: takes a synchronous function/);
  for (const module of model.modules()) assert.not(module.isHooked);
});

test.run();
