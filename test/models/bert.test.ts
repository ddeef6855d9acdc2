// BERT against Transformers: the golden files are made by test/golden/golden_bert.py and golden_minilm.py.
import { readFile } from 'node:fs/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { add, arange, cos, mean, mul, noGrad, reshape, sin, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import * as models from '../../models/index.ts';
import { BertModel, BertTokenizer } from '../../models/index.ts';
import type { BertInputs } from '../../models/index.ts';
import { camelCase } from '../../models/names.ts';
import { AdamW, decayGroups } from '../../train/optim/index.ts';
import { goldenFile, largestDifference, readGolden } from '../support/golden.ts';
import { checkGradients, checkLoss, checkOutputs, i32, report } from '../support/model-golden.ts';

interface HeadGolden {
  class: string;
  config: { num_labels?: number; problem_type?: 'multi_label_classification' };
  labels: Record<string, { shape: number[]; data: number[] }>;
  loss: number;
  newKeys: string[];
  withoutGradient: string[];
}
interface TrainingGolden {
  losses: number[];
  logits: number[][];
}
interface Golden {
  inputs: Record<'input_ids' | 'attention_mask' | 'token_type_ids', number[][]>;
  heads: Record<string, HeadGolden>;
  training: Record<'adamw' | 'adamwClippedScheduled', TrainingGolden>;
}

const golden = JSON.parse(await readFile(goldenFile('bert.json'), 'utf8')) as Golden;
const folder = goldenFile('tiny-bert');
const test = suite('bert');

type Outputs = Record<string, Tensor | readonly Tensor[] | undefined>;
type Model = models.PreTrainedModel<models.BertConfig> & { forward(inputs: BertInputs): Outputs };
type Loader = {
  fromPretrained(id: string, overrides: models.BertSettings, options: models.LoadOptions): Promise<Model>;
};

const inputs = (): BertInputs => ({
  inputIds: i32(golden.inputs.input_ids),
  attentionMask: i32(golden.inputs.attention_mask),
  tokenTypeIds: i32(golden.inputs.token_type_ids),
});

const labelsOf = ({ labels }: HeadGolden): Record<string, Tensor> =>
  Object.fromEntries(
    Object.entries(labels).map(([name, { shape, data }]) => [
      camelCase(name),
      tensor(Float32Array.from(data), { shape }),
    ]),
  );

/** The golden model: tiny-bert with the golden's weights where a head is new. */
async function loadHead(
  { class: name, config, newKeys }: HeadGolden,
  values: ReadonlyMap<string, Float32Array>,
): Promise<Model> {
  const lines: string[] = [];
  const overrides = { numLabels: config.num_labels, problemType: config.problem_type };
  const log = (line: string): void => {
    lines.push(line);
  };
  const model = await (models as unknown as Record<string, Loader>)[name]!.fromPretrained(folder, overrides, { log });
  const said = lines.find((line) => line.startsWith('newly initialised: '));
  const named = said ? said.slice('newly initialised: '.length).split(' (')[0]!.split(', ').sort() : [];
  assert.equal(named, newKeys, 'newly initialised keys');
  const fresh = newKeys.map((key): [string, Tensor] => {
    const target = model.stateDict().get(key)!;
    return [key, tensor(values.get(`weight.${key}`)!, { shape: target.shape })];
  });
  model.loadStateDict(new Map(fresh), { strict: false });
  return model.train();
}

/** The golden's loss for BertModel, which has none of its own. */
function modelLoss({ lastHiddenState, pooled }: models.BertModelOutput): Tensor {
  const weighted = (x: Tensor, wave: (angle: Tensor) => Tensor): Tensor =>
    mean(mul(x, reshape(wave(arange(0, x.size)), x.shape)));
  return add(weighted(lastHiddenState, cos), weighted(pooled!, sin));
}

const outputNames: Record<string, string> = { pooler_output: 'pooled' };

/**
 * A bias of the keys adds the same to all scores of a query; those before the answer's logits add the same to
 * all positions.
 */
const vanishing = /key\.bias$|^qa_outputs\.bias$|layer\.2\.output\.LayerNorm\.bias$/;

for (const [name, head] of Object.entries(golden.heads)) {
  test(`${name}: outputs, loss and gradients are those of Transformers`, async () => {
    const values = await readGolden(`bert-${name}.safetensors`);
    const model = await loadHead(head, values);
    const extras = name === 'model' ? { outputHiddenStates: true, outputAttentions: true } : {};
    const output = model.forward({ ...inputs(), ...labelsOf(head), ...extras });
    const loss = name === 'model' ? modelLoss(output as unknown as models.BertModelOutput) : (output['loss'] as Tensor);
    loss.backward();
    const outputs = await checkOutputs(output, values, { tolerance: 1e-4, names: outputNames });
    const lossOff = await checkLoss(loss, head.loss, 1e-4);
    const gradients = await checkGradients(model, values, {
      tolerance: 1e-3,
      vanishing,
      without: head.withoutGradient,
    });
    console.log(report(name, { outputs, loss: lossOff, gradients }));
  });
}

test('attention weights asked for do not change the outputs', async () => {
  const model = await BertModel.fromPretrained(folder, {}, { log: () => undefined });
  const plain = noGrad(() => model.forward(inputs()));
  const all = noGrad(() => model.forward({ ...inputs(), outputAttentions: true, outputHiddenStates: true }));
  assert.is(plain.attentions, undefined);
  assert.is(plain.hiddenStates, undefined);
  assert.is(all.attentions!.length, 3);
  assert.is(all.hiddenStates!.length, 4);
  const difference = largestDifference(await plain.lastHiddenState.data(), await all.lastHiddenState.data());
  assert.ok(difference <= 1e-6, `differ by ${difference}`);
});

test('padding changes nothing, and neither does leaving out what is default', async () => {
  const model = await BertModel.fromPretrained(folder, {}, { log: () => undefined });
  const short = golden.inputs.input_ids.map((row) => row.slice(0, 3));
  const zeros = short.map((row) => row.map(() => 0));
  const padded = short.map((row) => [...row, 5, 6]);
  const mask = short.map((row) => [...row.map(() => 1), 0, 0]);
  const [bare, full, wide] = noGrad(() => [
    model.forward({ inputIds: i32(short) }),
    model.forward({
      inputIds: i32(short),
      attentionMask: i32(short.map(() => [1, 1, 1])),
      tokenTypeIds: i32(zeros),
      positionIds: i32([[0, 1, 2]]),
    }),
    model.forward({ inputIds: i32(padded), attentionMask: tensor(mask.map((row) => row.map(Boolean))) }),
  ]);
  const expected = await bare!.lastHiddenState.data();
  assert.ok(largestDifference(await full!.lastHiddenState.data(), expected) <= 1e-6);
  const real = wide!.lastHiddenState.slice(null, [0, 3]);
  assert.ok(largestDifference(await real.data(), expected) <= 1e-5);
});

test('ten AdamW steps have the losses of PyTorch', async () => {
  const head = golden.heads['sequence-classification']!;
  const model = await loadHead(head, await readGolden('bert-sequence-classification.safetensors'));
  const optimizer = new AdamW(decayGroups(model.namedParameters(), 0.01), { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8 });
  const { losses, logits } = golden.training.adamw;
  let worst = 0;
  for (const expected of losses.slice(0, 10)) {
    const { loss } = model.forward({ ...inputs(), ...labelsOf(head) }) as { loss: Tensor };
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    worst = Math.max(worst, await checkLoss(loss, expected, 1e-3));
  }
  const after = model.forward({ ...inputs(), ...labelsOf(head) }) as { loss: Tensor; logits: Tensor };
  await checkLoss(after.loss, losses[10]!, 1e-3);
  const off = largestDifference(await after.logits.data(), logits.flat());
  assert.ok(off <= 1e-2, `logits differ by ${off}`);
  console.log(`  AdamW: losses ${worst.toExponential(1)}, logits afterwards ${off.toExponential(1)}`);
});

const minilm = process.env['TAPEFORM_MINILM'];
if (minilm) {
  test('all-MiniLM-L6-v2: the last hidden state is that of Transformers', async () => {
    const values = await readGolden('minilm.safetensors');
    const { sentences } = JSON.parse(await readFile(goldenFile('minilm.json'), 'utf8')) as { sentences: string[] };
    const tokenizer = await BertTokenizer.fromPretrained(minilm);
    const model = await BertModel.fromPretrained(minilm);
    const encoding = tokenizer.encode(sentences, { truncation: true, padding: true });
    assert.equal(Array.from(await encoding.inputIds.data()), Array.from(values.get('input_ids')!));
    const { lastHiddenState, pooled } = noGrad(() => model.forward(encoding));
    const off = largestDifference(await lastHiddenState.data(), values.get('last_hidden_state')!);
    const pooledOff = largestDifference(await pooled!.data(), values.get('pooler_output')!);
    assert.ok(off <= 1e-4, `last hidden state differs by ${off}`);
    assert.ok(pooledOff <= 1e-4, `pooled output differs by ${pooledOff}`);
    console.log(`  MiniLM: last hidden state ${off.toExponential(1)}, pooled ${pooledOff.toExponential(1)}`);
  });
} else {
  console.log('bert.test.ts: all-MiniLM-L6-v2 skipped, set TAPEFORM_MINILM to its folder to run it');
}

test.run();
