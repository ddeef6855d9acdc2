// Configs whose model no machine holds are refused in one line before any of it is made.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { memory, randomState } from '../../autograd/index.ts';
import { ready } from '../../autograd/runtime.ts';
import {
  BertConfig,
  BertModel,
  GPT2LMHeadModel,
  LlamaForCausalLM,
  Qwen3ForCausalLM,
  MarianMTModel,
} from '../../models/index.ts';
import { settings } from '../support/small-bert.ts';

const test = suite('absurd configs');

const huge = 2 ** 53 - 1;
const tiny = { hiddenSize: 8, numAttentionHeads: 1, intermediateSize: 8, vocabSize: 10, maxPositionEmbeddings: 8 };
const cases: readonly (readonly [what: string, make: () => unknown, says: RegExp])[] = [
  ['100,000 layers', () => BertModel.fromConfig({ numHiddenLayers: 1e5 }), /^BertModel: the model of this config/],
  [
    '100,000 layers of next to nothing',
    () => new BertModel(BertConfig.create({ ...tiny, numHiddenLayers: 1e5 })),
    /has more than 20000 parameters, the most .* train, and needs more than [\d.]+ MiB, .* has .* GiB; use a smaller/,
  ],
  ['more layers than a list holds', () => BertModel.fromConfig({ numHiddenLayers: 1e15 }), /cannot be built \(Invalid/],
  [
    'a vocabulary of 1e9',
    () => BertModel.fromConfig({ vocabSize: 1e9 }),
    /up to its parameter 1 of \[1000000000, 768\], needs 2\.8 TiB, .* has .*; use a smaller config$/,
  ],
  ['2^53 positions', () => BertModel.fromConfig({ maxPositionEmbeddings: huge }), /parameter 2 of .* needs 24\.0 EiB/],
  ['2^53 positions of GPT-2', () => GPT2LMHeadModel.fromConfig({ nPositions: huge }), /needs 24\.0 EiB/],
  ['layers of GPT-2', () => GPT2LMHeadModel.fromConfig({ nLayer: 1e5 }), /^GPT2LMHeadModel: the model of this config/],
  [
    'turned positions',
    () => LlamaForCausalLM.fromConfig({ maxPositionEmbeddings: huge }),
    /maxPositionEmbeddings is 9007199254740991: .*16777216/,
  ],
  [
    'positions of a Qwen3',
    () => Qwen3ForCausalLM.fromConfig({ maxPositionEmbeddings: 2 ** 32 }),
    /maxPositionEmbeddings is 4294967296: .*16777216/,
  ],
  ['sines of positions', () => MarianMTModel.fromConfig({ maxPositionEmbeddings: 1e9 }), /needs 3\.7 TiB/],
  ['200,000 labels', () => BertModel.fromConfig({ numLabels: 2e5 }), /numLabels is 200000: .*100000/],
  ['2^53 labels', () => BertModel.fromConfig({ numLabels: huge }), /numLabels is 9007199254740991: .*100000/],
];
for (const [what, make, says] of cases) {
  test(what, () => {
    const before = memory().reserved;
    assert.throws(make, (error: Error) => says.test(error.message) && !error.message.includes('\n'));
    assert.is(memory().reserved, before);
  });
}

test('counting a model draws no random number, and is done once a config', async () => {
  const config = BertConfig.create(settings);
  const draws = (): number => {
    const before = randomState().stream;
    BertModel.fromConfig(config);
    return randomState().stream - before;
  };
  await ready();
  const [first, second] = [draws(), draws()];
  assert.ok(first > 0);
  assert.is(second, first);
});

test.run();
