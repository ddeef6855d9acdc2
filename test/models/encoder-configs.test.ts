// Configs that the families of encoders beside BERT refuse, each in one line with file and key.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  AlbertConfig,
  DebertaV2Config,
  DistilBertConfig,
  ElectraConfig,
  MPNetConfig,
  RobertaConfig,
} from '../../models/index.ts';
import type { JsonObject } from '../../common/json-file.ts';

const test = suite('encoder configs');

interface Format {
  fromJson(json: JsonObject, file: string): unknown;
}
const refused: readonly (readonly [format: Format, json: JsonObject, says: RegExp])[] = [
  [DistilBertConfig, { dim: 30 }, /dim 30 must be a multiple of n_heads 12/],
  [DistilBertConfig, { pad_token_id: 30522 }, /pad_token_id 30522 must be below vocab_size 30522/],
  [DistilBertConfig, { activation: 'swoosh' }, /activation is "swoosh": .*"gelu"/],
  [DistilBertConfig, { model_type: 'bert' }, /model_type is "bert", this class loads "distilbert"/],
  [RobertaConfig, { max_position_embeddings: 2 }, /max_position_embeddings 2 leaves no position behind pad_token_id 1/],
  [RobertaConfig, { position_embedding_type: 'relative_key' }, /position_embedding_type "relative_key" is not supp/],
  [RobertaConfig, { is_decoder: true }, /is_decoder is true, but this RoBERTa is an encoder/],
  [ElectraConfig, { hidden_size: 255 }, /hidden_size 255 must be a multiple of num_attention_heads 4/],
  [ElectraConfig, { add_cross_attention: true }, /add_cross_attention is true, but this ELECTRA is an encoder/],
  [ElectraConfig, { embedding_size: 0 }, /embedding_size is 0: /],
  [MPNetConfig, { vocab_size: 1 }, /vocab_size 1 has no row 1, which is that of padding/],
  [MPNetConfig, { relative_attention_num_buckets: 16 }, /relative_attention_num_buckets 16 must be at least 32/],
  [MPNetConfig, { max_position_embeddings: 2 }, /max_position_embeddings is 2: /],
  [AlbertConfig, { hidden_size: 100 }, /hidden_size 100 must be a multiple of num_attention_heads 64/],
  [AlbertConfig, { num_hidden_groups: 0 }, /num_hidden_groups is 0: /],
  [AlbertConfig, { num_hidden_layers: 100_000 }, /num_hidden_layers 100000 .* are more than 1000 layers/],
  [AlbertConfig, { inner_group_num: 1e9 }, /inner_group_num 1000000000 are more than 1000 layers/],
  [DebertaV2Config, { conv_kernel_size: 3 }, /conv_kernel_size 3 is not supported/],
  [DebertaV2Config, { hidden_size: 1536, embedding_size: 128 }, /embedding_size 128 must be hidden_size/],
  [DebertaV2Config, { attention_head_size: 64 }, /attention_head_size is not supported/],
  [DebertaV2Config, { pos_att_type: 'c2p|p2p' }, /pos_att_type.* is "c2p\|p2p"|pos_att_type/],
];
for (const [format, json, says] of refused)
  test(`${(format as { modelType?: string }).modelType} refuses ${JSON.stringify(json)}`, () => {
    assert.throws(
      () => format.fromJson(json, 'folder/config.json'),
      (error: Error) => says.test(error.message) && /^folder\/config\.json: [^\n]+$/.test(error.message),
    );
  });

test('positions of RoBERTa and MPNet are two fewer than the rows of their table', () => {
  assert.is(RobertaConfig.create({}).padTokenId, 1);
  for (const format of [RobertaConfig, MPNetConfig]) assert.ok(format.create({ maxPositionEmbeddings: 3 }));
});

test.run();
