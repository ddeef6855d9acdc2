import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BertConfig } from '../../models/index.ts';
import type { BertSettings } from '../../models/index.ts';

const test = suite('bert config');

test('the defaults are those of Transformers, and mistakes are named', () => {
  const config = BertConfig.create();
  assert.is(config.hiddenSize, 768);
  assert.is(config.layerNormEps, 1e-12);
  assert.equal(config.labels, ['LABEL_0', 'LABEL_1']);
  const bad: [unknown, RegExp][] = [
    [{ hiddenSize: 30 }, /hidden_size 30 must be a multiple of num_attention_heads 12/],
    [{ hiddenSize: 7.5 }, /^bert config: hiddenSize is 7\.5: .*int/],
    [{ hiddenDropoutProb: 1.5 }, /hiddenDropoutProb is 1\.5: /],
    [{ hiddenAct: 'swoosh' }, /hiddenAct is "swoosh": .*"gelu"/],
    [{ hidenSize: 8 }, /there is no setting hidenSize/],
    [{ labels: ['a', 'b'], numLabels: 3 }, /names for 2 labels, but numLabels is 3/],
    [{ vocabSize: 5, padTokenId: 5 }, /pad_token_id 5 must be below vocab_size 5/],
  ];
  for (const [setting, message] of bad) {
    assert.throws(
      () => BertConfig.create(setting as BertSettings),
      (error: Error) => message.test(error.message) && !error.message.includes('\n'),
    );
  }
});

test('config.json: unknown keys are kept, labels become id2label, overrides win', () => {
  const json = {
    model_type: 'bert',
    architectures: ['X'],
    hidden_size: 24,
    id2label: { 1: 'no', 0: 'yes', 2: '?' },
    use_cache: true,
    my_key: [1],
    hiddenSize: 3,
  };
  const config = BertConfig.fromJson(json, 'config.json');
  assert.equal(config.labels, ['yes', 'no', '?']);
  assert.equal(config.extra, { use_cache: true, my_key: [1], hiddenSize: 3 });
  const written = BertConfig.toJson(config);
  assert.equal(written['id2label'], { 0: 'yes', 1: 'no', 2: '?' });
  assert.equal(written['label2id'], { yes: 0, no: 1, '?': 2 });
  assert.equal(written['my_key'], [1]);
  assert.is(written['layer_norm_eps'], 1e-12);
  assert.equal(BertConfig.fromJson(written, 'again'), config);
  const overridden = BertConfig.fromJson(json, 'config.json', { numLabels: 2, hiddenDropoutProb: 0 });
  assert.equal([overridden.labels, overridden.hiddenDropoutProb], [['LABEL_0', 'LABEL_1'], 0]);
  assert.equal(BertConfig.fromJson(json, 'config.json', { numLabels: 3 }).labels, ['yes', 'no', '?']);
  assert.equal(BertConfig.fromJson({ num_labels: 3 }, 'f', { labels: ['a'] }).numLabels, 1);
  const bad: [Record<string, unknown>, RegExp][] = [
    [{ model_type: 'roberta' }, /^f: model_type is "roberta", this class loads "bert"/],
    [{ position_embedding_type: 'relative_key' }, /^f: position_embedding_type "relative_key" is not supported/],
    [{ is_decoder: true }, /^f: is_decoder is true/],
    [{ hidden_size: 'big' }, /^f: hidden_size is "big": /],
    [{ id2label: { 1: 'a' } }, /^f: id2label must map the numbers from 0 on/],
  ];
  for (const [wrong, message] of bad) assert.throws(() => BertConfig.fromJson(wrong, 'f'), message);
  assert.throws(
    () => BertConfig.fromJson({}, 'f', { numLabel: 3 } as BertSettings),
    /there is no setting numLabel; the settings are vocabSize/,
  );
});

test('settings that are real numbers are written as such, for Transformers checks their types', () => {
  const config = BertConfig.create({ initializerRange: 1, hiddenDropoutProb: 0, layerNormEps: 1e-12 });
  const text = BertConfig.toText(BertConfig.toJson(config));
  assert.match(text, /"initializer_range": 1\.0,\n/);
  assert.match(text, /"hidden_dropout_prob": 0\.0,\n/);
  assert.match(text, /"layer_norm_eps": 1e-12,\n/);
  assert.match(text, /"hidden_size": 768,\n/);
  assert.equal(BertConfig.fromJson(JSON.parse(text) as Record<string, unknown>, 'text'), config);
});

test.run();
