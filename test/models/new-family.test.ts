// A decoder family as a user adds one: a config, a model, a head of a few lines. The loop over layers, the
// head and its loss, files and generation are there already.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as z from 'zod';
import { add, manualSeed, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import {
  attendPacked,
  CausalLM,
  checkDecoderInputs,
  defineConfig,
  Dropout,
  Embedding,
  generate,
  KeyValueCache,
  LayerNorm,
  Linear,
  lmHead,
  mergeHeads,
  Module,
  normalInit,
  PreTrainedModel,
  runLayers,
  splitPacked,
} from '../../models/index.ts';
import type { DecoderInputs, EncoderOutput, LayerCache, LayerOutput } from '../../models/index.ts';
import { AdamW } from '../../train/optim/index.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

// config.ts
const shape = {
  vocabSize: z.int().default(12),
  hiddenSize: z.int().default(16),
  numLayers: z.int().default(2),
  numHeads: z.int().default(2),
  positions: z.int().default(16),
  initializerRange: z.number().default(0.1),
  tieWordEmbeddings: z.boolean().default(true),
  eosTokenId: z.int().nullable().default(null),
};
const NewConfig = defineConfig('new', shape, { floats: ['initializerRange'], check: () => undefined });
type NewConfig = ReturnType<typeof NewConfig.create>;

// model.ts
class NewLayer extends Module {
  readonly norm: LayerNorm;
  readonly qkv: Linear;
  readonly out: Linear;
  readonly dropout = new Dropout(0);
  readonly numHeads: number;

  constructor({ hiddenSize, numHeads, initializerRange }: NewConfig) {
    super();
    this.norm = new LayerNorm(hiddenSize);
    this.qkv = new Linear(hiddenSize, 3 * hiddenSize, { weightInit: normalInit(initializerRange) });
    this.out = new Linear(hiddenSize, hiddenSize, { weightInit: normalInit(initializerRange) });
    this.numHeads = numHeads;
  }

  /** x (B, T, D) -> (B, T, D). */
  override forward(x: Tensor, outputWeights: boolean, past?: LayerCache): LayerOutput {
    const { dropout, numHeads: heads } = this;
    const qkv = this.qkv.forward(this.norm.forward(x)); // (B, T, 3 D)
    const { hidden, weights } = past
      ? { hidden: mergeHeads(past.attend(...splitPacked(qkv, heads))), weights: undefined }
      : attendPacked(qkv, { heads, causal: true, dropout, outputWeights });
    return { hidden: add(x, this.out.forward(hidden)), weights };
  }
}

class NewModel extends PreTrainedModel<NewConfig> {
  static readonly configFormat = NewConfig;
  static readonly keyRules = { baseModelPrefix: 'model' };

  readonly embedTokens: Embedding;
  readonly layers: readonly NewLayer[];

  constructor(config: NewConfig) {
    super(config);
    this.embedTokens = new Embedding(config.vocabSize, config.hiddenSize);
    this.layers = Array.from({ length: config.numLayers }, () => new NewLayer(config));
  }

  override forward(inputs: DecoderInputs): EncoderOutput {
    checkDecoderInputs(inputs, this.config);
    const run = (layer: NewLayer, x: Tensor, outputWeights: boolean, i: number): LayerOutput =>
      layer.forward(x, outputWeights, inputs.cache?.layer(i));
    return runLayers(this.embedTokens.forward(inputs.inputIds), this.layers, { ...inputs, run });
  }
}

// heads.ts
class NewForCausalLM extends CausalLM<NewConfig> {
  static readonly configFormat = NewConfig;
  static readonly keyRules = NewModel.keyRules;

  readonly model: NewModel;
  readonly lmHead: Linear;

  constructor(config: NewConfig) {
    super(config);
    this.model = new NewModel(config);
    this.lmHead = lmHead(config, this.model.embedTokens);
  }

  protected override get decoderModel(): NewModel {
    return this.model;
  }

  protected override get positions(): number {
    return this.config.positions;
  }
}

const test = suite('a new family');
let folder = '';
temporaryFolder(test, (path) => (folder = path));

test('learns, generates, saves and loads', async () => {
  manualSeed(2);
  const model = NewForCausalLM.fromConfig({});
  const optimizer = new AdamW(model.parameters(), { lr: 0.02 });
  const inputIds = tensor([Array.from({ length: 12 }, (_, i) => (i * 5) % 12)], { dtype: 'i32' });
  const losses: number[] = [];
  for (let step = 0; step < 40; step++) {
    const { loss } = model.forward({ inputIds, labels: inputIds, outputLogits: false });
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    losses.push(await loss.item());
  }
  assert.ok(losses.at(-1)! < 0.2 * losses[0]!, `${losses[0]} to ${losses.at(-1)}`);
  const [text] = await generate(model, [[0, 5]], { maxNewTokens: 4 });
  assert.equal(text!.tokens, [10, 3, 8, 1]);
  await model.savePretrained(folder);
  const loaded = await NewForCausalLM.fromPretrained(folder);
  assert.equal((await generate(loaded, [[0, 5]], { maxNewTokens: 4 }))[0]!.tokens, [10, 3, 8, 1]);
  const { hiddenStates, attentions } = loaded.forward({ inputIds, outputHiddenStates: true, outputAttentions: true });
  assert.equal([hiddenStates!.length, attentions!.length], [3, 2]);
  assert.throws(() => loaded.forward({ inputIds, cache: new KeyValueCache(2, 8) }), /not for this cache, which has 2/);
});

test.run();
