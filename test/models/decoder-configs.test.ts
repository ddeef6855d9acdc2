// config.json of decoders in the forms of older versions of Transformers, and what is refused.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  Gemma2Config,
  Gemma3TextConfig,
  GPTNeoXConfig,
  LlamaConfig,
  MistralConfig,
  OPTConfig,
  Phi3Config,
} from '../../models/index.ts';
import { throwsOneLine } from '../support/failure.ts';

const test = suite('decoder configs');

test('Gemma 3: one base of frequencies for each kind of layers, in both forms', () => {
  const old = {
    rope_theta: 1e6,
    rope_local_base_freq: 5e3,
    rope_scaling: { rope_type: 'linear', factor: 8 },
    sliding_window_pattern: 3,
    num_hidden_layers: 3,
  };
  const parameters = {
    full_attention: { rope_type: 'linear', factor: 8, rope_theta: 1e6 },
    sliding_attention: { rope_type: 'default', rope_theta: 5e3 },
  };
  const types = ['sliding_attention', 'sliding_attention', 'full_attention'];
  const ways = [old, { rope_parameters: parameters, num_hidden_layers: 3, _sliding_window_pattern: 3 }];
  for (const json of ways) {
    const config = Gemma3TextConfig.fromJson(json, 'f');
    assert.equal([config.ropeTheta, config.ropeLocalBaseFreq, config.layerTypes], [1e6, 5e3, null]);
    assert.equal(config.ropeScaling, { ropeType: 'linear', factor: 8 });
    const written = Gemma3TextConfig.toJson(config);
    assert.equal(written['rope_parameters'], parameters);
    assert.equal([written['rope_theta'], written['rope_local_base_freq']], [1e6, 5e3]);
    assert.equal(written['layer_types'], types);
  }
});

test('GPT-NeoX: rotary_pct and rotary_emb_base of older files', () => {
  const config = GPTNeoXConfig.fromJson({ rotary_pct: 0.5, rotary_emb_base: 5000 }, 'f');
  assert.equal([config.partialRotaryFactor, config.ropeTheta], [0.5, 5000]);
  const written = GPTNeoXConfig.toJson(config);
  assert.equal([written['rotary_pct'], written['rotary_emb_base'], written['rope_theta']], [0.5, 5000, undefined]);
  assert.equal(written['rope_parameters'], { rope_type: 'default', rope_theta: 5000, partial_rotary_factor: 0.5 });
  assert.equal(GPTNeoXConfig.fromJson(written, 'f').ropeTheta, 5000);
  assert.is(GPTNeoXConfig.create().partialRotaryFactor, 0.25);
});

test('Phi-3: "su" is longrope, and the context of the training stands beside it', () => {
  const factors = Array.from({ length: 48 }, (_, i) => 1 + i / 10);
  const json = {
    rope_scaling: { type: 'su', short_factor: factors, long_factor: factors },
    original_max_position_embeddings: 4096,
    max_position_embeddings: 131072,
  };
  const config = Phi3Config.fromJson(json, 'f');
  assert.is(config.ropeScaling!.ropeType, 'longrope');
  const rope = Phi3Config.toJson(config)['rope_scaling'] as Record<string, unknown>;
  assert.equal([rope['rope_type'], rope['original_max_position_embeddings']], ['longrope', 4096]);
});

test('a scaling may leave out what is null; overrides come last', () => {
  const yarn = { rope_type: 'yarn', factor: 4, attention_factor: null, original_max_position_embeddings: 32 };
  const config = LlamaConfig.fromJson({ rope_parameters: { ...yarn, rope_theta: 50 } }, 'f', { ropeTheta: 60 });
  assert.equal(config.ropeScaling, { ropeType: 'yarn', factor: 4, originalMaxPositionEmbeddings: 32 });
  assert.is(config.ropeTheta, 60);
});

test('what a model here cannot do is refused in one line', () => {
  const rows: readonly (readonly [() => unknown, RegExp])[] = [
    [
      () => Gemma2Config.fromJson({ use_bidirectional_attention: true }, 'f'),
      /^f: use_bidirectional_attention is true/,
    ],
    [
      () =>
        Gemma3TextConfig.fromJson(
          { rope_parameters: { full_attention: {}, sliding_attention: { rope_type: 'linear', factor: 2 } } },
          'f',
        ),
      /^f: rope_parameters.sliding_attention is .*only the default rope_type is known there/,
    ],
    [
      () => MistralConfig.fromJson({ num_hidden_layers: 2, layer_types: ['full_attention', 'sliding_attention'] }, 'f'),
      /^f: layer_types is .*, but the layers of this model are sliding_attention all/,
    ],
    [() => OPTConfig.fromJson({ layer_norm_elementwise_affine: false }, 'f'), /^f: layer_norm_elementwise_affine/],
    [() => OPTConfig.fromJson({ layerdrop: 0.1 }, 'f'), /^f: layerdrop is 0.1/],
    [() => OPTConfig.create({ hiddenSize: 10, numAttentionHeads: 3 }), /hidden_size 10 must be a multiple/],
    [() => GPTNeoXConfig.create({ partialRotaryFactor: 0.29 }), /the size of a head, 27, must be even/],
    [() => Gemma2Config.create({ layerTypes: ['full_attention'] }), /layer_types has 1 entries for 26 layers/],
  ];
  for (const [run, says] of rows) throwsOneLine(run, says);
});

test.run();
