// Llama with its configs, inputs and files, apart from the numbers that llama.test.ts compares with
// Transformers.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { autocast, compile, manualSeed, noGrad, scope, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import {
  LlamaConfig,
  LlamaForCausalLM,
  LlamaModel,
  Qwen2Config,
  Qwen2ForCausalLM,
  Qwen3Config,
  SmolLM3Config,
  writeWeights,
  writeSafetensors,
} from '../../models/index.ts';
import type { LlamaSettings, TokenInputs } from '../../models/index.ts';
import { f32ToBf16 } from '../../models/io/tensor-data.ts';
import { SGD } from '../../train/optim/index.ts';
import { largestDifference, shapesIn } from '../support/golden.ts';
import { i32 } from '../support/model-golden.ts';
import { throwsOneLine } from '../support/failure.ts';
import { checkInitialWeights, checkRefusedInputs } from '../support/model-checks.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('llama forward');
let folder = '';
temporaryFolder(test, (path) => {
  folder = path;
});
test.before.each(() => manualSeed(1));

const settings: LlamaSettings = {
  vocabSize: 20,
  hiddenSize: 16,
  intermediateSize: 24,
  numHiddenLayers: 2,
  numAttentionHeads: 4,
  numKeyValueHeads: 2,
  maxPositionEmbeddings: 10,
  initializerRange: 0.3,
};
const run = (model: LlamaForCausalLM, inputs: TokenInputs): Promise<number[]> =>
  noGrad(() => model.forward(inputs))
    .logits.data()
    .then((data) => Array.from(data));

test('config: defaults, both ways of writing rotary settings, and back', () => {
  const config = LlamaConfig.create();
  assert.equal(
    [config.hiddenSize, config.numKeyValueHeads, config.ropeTheta, config.modelType],
    [4096, null, 1e4, 'llama'],
  );
  const stretched = { factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };
  const scaling = {
    ropeType: 'llama3',
    factor: 8,
    lowFreqFactor: 1,
    highFreqFactor: 4,
    originalMaxPositionEmbeddings: 8192,
  };
  const ways = [
    { rope_theta: 5e5, rope_scaling: { rope_type: 'llama3', ...stretched } },
    { rope_theta: 5e5, rope_scaling: { type: 'llama3', ...stretched } },
    { rope_parameters: { rope_theta: 5e5, rope_type: 'llama3', ...stretched } },
  ];
  for (const rope of ways) {
    const read = LlamaConfig.fromJson({ model_type: 'llama', hidden_size: 64, ...rope }, 'config.json');
    assert.equal([read.hiddenSize, read.ropeTheta, read.ropeScaling], [64, 5e5, scaling]);
    const json = LlamaConfig.toJson(read);
    assert.equal([json['rope_theta'], json['rope_scaling']], [5e5, { rope_type: 'llama3', ...stretched }]);
    assert.equal([json['head_dim'], json['num_key_value_heads']], [2, 32]);
    assert.equal(LlamaConfig.fromJson(json, 'config.json').ropeScaling, scaling);
    assert.match(LlamaConfig.toText(json), /"rope_theta": 500000\.0,[^]*|"factor": 8\.0,/);
  }
  const plain = LlamaConfig.fromJson({ rope_parameters: { rope_type: 'default', rope_theta: 7 } }, 'f');
  assert.equal([plain.ropeTheta, plain.ropeScaling], [7, null]);
  assert.equal(
    LlamaConfig.toJson(LlamaConfig.create({ ropeTheta: 7, ropeScaling: { ropeType: 'linear', factor: 2 } }))[
      'rope_parameters'
    ],
    { rope_type: 'linear', factor: 2, rope_theta: 7 },
  );
  const qwen = Qwen2Config.create();
  assert.equal([qwen.attentionBias, qwen.maxPositionEmbeddings, qwen.bosTokenId], [true, 32768, null]);
  assert.not.ok('attention_bias' in Qwen2Config.toJson(qwen));
  assert.is(Qwen3Config.create().headDim, 128);
});

test('config: which layers have a window follows the other settings, unless a list says it', () => {
  const json = { use_sliding_window: true, max_window_layers: 1, sliding_window: 8, num_hidden_layers: 2 };
  const derived = ['full_attention', 'sliding_attention'];
  const config = Qwen2Config.fromJson({ ...json, layer_types: derived }, 'f', { numHiddenLayers: 3 });
  assert.is(config.layerTypes, null);
  assert.equal(Qwen2Config.toJson(config)['layer_types'], [...derived, 'sliding_attention']);
  const other = ['sliding_attention', 'full_attention'];
  const listed = Qwen2Config.fromJson({ ...json, layer_types: other }, 'f');
  assert.equal(listed.layerTypes, other);
  assert.equal(Qwen2Config.toJson(listed)['layer_types'], other);
});

test('configs that the model cannot run are refused in one line', () => {
  const odd = { rope_scaling: { rope_type: 'proportional', factor: 4 } };
  const llama3 = { rope_type: 'llama3', factor: 8, low_freq_factor: 4, high_freq_factor: 4 };
  const bad: [() => unknown, RegExp][] = [
    [
      () => LlamaConfig.create({ ...settings, numAttentionHeads: 3 }),
      /hidden_size 16 must be a multiple of num_attention_heads 3/,
    ],
    [
      () => LlamaConfig.create({ ...settings, numKeyValueHeads: 3 }),
      /num_attention_heads 4 must be a multiple of num_key_value_heads 3$/,
    ],
    [() => LlamaConfig.create({ ...settings, headDim: 5 }), /the size of a head, 5, must be even/],
    [() => LlamaConfig.create({ ...settings, padTokenId: 20 }), /pad_token_id 20 is outside the vocabulary of 20/],
    [
      () => LlamaConfig.fromJson(odd, 'f'),
      /^f: rope_scaling\.rope_type is .*"proportional".*: it must be default, linear, dynamic, yarn, longrope or ll/,
    ],
    [
      () => LlamaConfig.fromJson({ rope_parameters: { rope_type: 'linear' } }, 'f'),
      /^f: rope_scaling\.factor is \{"ropeType":"linear"\}/,
    ],
    [
      () => LlamaConfig.fromJson({ rope_scaling: { ...llama3, original_max_position_embeddings: 8 } }, 'f'),
      /^f: high_freq_factor 4 must be above low_freq_factor 4$/,
    ],
    [() => LlamaConfig.fromJson({ partial_rotary_factor: 0.5 }, 'f'), /^f: partial_rotary_factor is 0\.5/],
    [
      () => Qwen2Config.fromJson({ use_sliding_window: true, max_window_layers: 0, sliding_window: null }, 'f'),
      /^f: layer_types has a sliding_attention, but sliding_window is null/,
    ],
    [
      () => Qwen2Config.fromJson({ layer_types: ['sliding_attention'] }, 'f'),
      /^f: layer_types has 1 entries for 32 layers/,
    ],
    [
      () => LlamaConfig.fromJson({ num_hidden_layers: 1, layer_types: ['sliding_attention'] }, 'f'),
      /^f: layer_types is \["sliding_attention"\], but the layers of this model are full_attention all/,
    ],
    [
      () =>
        LlamaConfig.create({ ...settings, ropeScaling: { ropeType: 'longrope', shortFactor: [1], longFactor: [1] } }),
      /rope_scaling\.short_factor has 1 factors; there must be one for each of the 2 pairs that turn/,
    ],
    [
      () => LlamaConfig.create({ ...settings, hiddenSize: 8, ropeScaling: { ropeType: 'dynamic', factor: 2 } }),
      /rope_scaling dynamic needs heads of 4 numbers/,
    ],
    [
      () => SmolLM3Config.create({ noRopeLayers: [1, 0] }),
      /no_rope_layers has 2 entries for 36 layers; give one for each/,
    ],
    [
      () => LlamaConfig.fromJson({ max_position_embeddings: 2 ** 24 + 1 }, 'f'),
      /^f: max_position_embeddings is 16777217: .*16777216/,
    ],
    [() => LlamaConfig.fromJson({ model_type: 'qwen2' }, 'f'), /^f: model_type is "qwen2", this class loads "llama"/],
    [() => LlamaConfig.fromJson({ hidden_act: 'swishy' }, 'f'), /^f: hidden_act is "swishy"/],
    [
      () => LlamaForCausalLM.fromConfig(Qwen2Config.create(settings)),
      /config is one of "qwen2".* needs one of "llama"/,
    ],
  ];
  for (const [make, message] of bad) throwsOneLine(make, message);
});

test('inputs that the model cannot take are refused in one line', () => {
  const model = LlamaForCausalLM.fromConfig(settings);
  checkRefusedInputs((inputs: Parameters<typeof model.forward>[0]) => model.forward(inputs));
});

test('initial weights: normal, norms 1, biases 0, the padding row 0', async () => {
  const wide = { ...settings, hiddenSize: 64, vocabSize: 300, padTokenId: 3, attentionBias: true, mlpBias: true };
  const model = LlamaForCausalLM.fromConfig({ ...wide, initializerRange: 0.1 });
  await checkInitialWeights(model, (name, p) => (/norm\.weight$/.test(name) ? 1 : p.ndim === 1 ? 0 : 0.1));
  const row = await model.model.embedTokens.weight.slice(3).data();
  assert.ok(row.every((value) => value === 0));
});

test('a token knows nothing of those after it', async () => {
  const model = LlamaForCausalLM.fromConfig(settings).eval();
  const [a, b] = [
    await run(model, { inputIds: i32([[3, 4, 5, 6]]) }),
    await run(model, { inputIds: i32([[3, 4, 7, 8]]) }),
  ];
  assert.is(largestDifference(a.slice(0, 40), b.slice(0, 40)), 0);
  assert.ok(largestDifference(a.slice(40), b.slice(40)) > 1e-4);
});

test('only distances count: positions that are all moved, and padding on the left, change nothing', async () => {
  const model = LlamaForCausalLM.fromConfig(settings).eval();
  const bare = await run(model, { inputIds: i32([[3, 4, 5]]) });
  const moved = await run(model, { inputIds: i32([[3, 4, 5]]), positionIds: i32([[7, 8, 9]]) });
  assert.ok(largestDifference(moved, bare) <= 1e-5);
  const padded = { inputIds: i32([[0, 0, 3, 4, 5]]), attentionMask: i32([[0, 0, 1, 1, 1]]) };
  const rows = await run(model, padded);
  assert.ok(largestDifference(rows.slice(40), bare) <= 1e-5);
  const spread = await run(model, { inputIds: i32([[3, 4, 5]]), positionIds: tensor([0, 4, 9]) });
  assert.ok(largestDifference(spread, bare) > 1e-3);
});

test('compiled, and with f16 products, a step computes the same', async () => {
  const inputIds = i32([
    [1, 2, 3, 4, 5, 6],
    [6, 5, 4, 3, 2, 1],
  ]);
  const losses = async (
    wrap: (step: (ids: Tensor) => Tensor) => (ids: Tensor) => Tensor,
    cast: <T>(fn: () => T) => T = (fn) => fn(),
  ): Promise<number[]> => {
    manualSeed(3);
    const model = LlamaForCausalLM.fromConfig({ ...settings, attentionDropout: 0.1 });
    const optimizer = new SGD(model.parameters(), { lr: 0.05 });
    const step = wrap((ids) => {
      const { loss } = cast(() => model.forward({ inputIds: ids, labels: ids, outputLogits: false }));
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
      return loss.detach();
    });
    const list: number[] = [];
    for (let i = 0; i < 4; i++) {
      using _ = scope();
      list.push(await step(inputIds).item());
    }
    return list;
  };
  const immediate = await losses((step) => step);
  assert.ok(immediate.at(-1)! < immediate[0]! - 0.1, `losses ${immediate.join(', ')}`);
  assert.ok(largestDifference(await losses((step) => compile(step)), immediate) <= 1e-5);
  const half = await losses((step) => compile(step), autocast);
  assert.ok(largestDifference(half, immediate) <= 2e-2, `${half.join(', ')} against ${immediate.join(', ')}`);
});

test('files: the keys of Transformers, and back; old ones carry frequencies', async () => {
  const model = LlamaForCausalLM.fromConfig(settings).eval();
  await model.savePretrained(folder);
  const json = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')) as Record<string, unknown>;
  assert.equal([json['architectures'], json['model_type']], [['LlamaForCausalLM'], 'llama']);
  const shapes = await shapesIn(folder);
  assert.equal(shapes['model.layers.0.self_attn.k_proj.weight'], [8, 16]);
  assert.equal(shapes['model.layers.1.mlp.down_proj.weight'], [16, 24]);
  assert.equal(Object.keys(shapes).length, 1 + 2 * 9 + 2);
  const inputs = { inputIds: i32([[1, 2, 3]]) };
  assert.equal(await run(await LlamaForCausalLM.fromPretrained(folder), inputs), await run(model, inputs));
  const tensors = [...model.stateDict(), ['model.layers.0.self_attn.rotary_emb.inv_freq', tensor([1, 1])]] as const;
  const old = tensors.map(([name, t]) => ({ name, dtype: 'F32' as const, shape: t.shape, data: () => t.data() }));
  await writeSafetensors(join(folder, 'model.safetensors'), old);
  const lines: string[] = [];
  await LlamaForCausalLM.fromPretrained(folder, {}, { log: (line) => void lines.push(line) });
  assert.equal(lines, []);
});

test('a tied head is one tensor, and the base model loads from the file of the headed one', async () => {
  const model = Qwen2ForCausalLM.fromConfig({ ...settings, tieWordEmbeddings: true }).eval();
  assert.is(model.lmHead.weight, model.model.embedTokens.weight);
  assert.ok([...model.stateDict().keys()].every((key) => key !== 'lm_head.weight'));
  assert.is(model.model.layers[0]!.selfAttn.oProj.bias, undefined);
  assert.equal(model.model.layers[0]!.selfAttn.kProj.bias!.shape, [8]);
  const llama = LlamaForCausalLM.fromConfig(settings);
  await llama.savePretrained(folder);
  const bare = await LlamaModel.fromPretrained(folder, {}, { log: () => undefined });
  const weight = await bare.layers[1]!.mlp.upProj.weight.data();
  assert.equal(weight, await llama.model.layers[1]!.mlp.upProj.weight.data());
});

test('checkpoints of bfloat16 in shards are read, each number exactly', async () => {
  const model = LlamaForCausalLM.fromConfig(settings);
  await model.savePretrained(folder); // config.json
  const tensors = [...model.stateDict()].map(([name, t]) => ({
    name,
    dtype: 'BF16' as const,
    shape: t.shape,
    data: () => t.data(),
  }));
  await writeWeights(folder, tensors, { maxShardBytes: 1500 });
  const index = JSON.parse(await readFile(join(folder, 'model.safetensors.index.json'), 'utf8')) as {
    weight_map: Record<string, string>;
  };
  assert.ok(new Set(Object.values(index.weight_map)).size > 2);
  const read = (await LlamaForCausalLM.fromPretrained(folder)).stateDict();
  for (const [name, t] of model.stateDict()) {
    const bits = Uint32Array.from(await t.data(), (value) => f32ToBf16(value) << 16);
    assert.equal(Array.from(await read.get(name)!.data()), Array.from(new Float32Array(bits.buffer)), name);
  }
});

test.run();
