// Tests of a family of encoders against what test/golden/golden_encoders.py wrote.
import { readFile } from 'node:fs/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { add, arange, cos, mean, mul, noGrad, reshape, sin, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import * as models from '../../models/index.ts';
import { loadModel } from '../../models/index.ts';
import type { LoadOptions, ModelConfig, PreTrainedModel } from '../../models/index.ts';
import { camelCase } from '../../models/names.ts';
import { goldenFile, gradientsByKey, largestDifference, norm, readGolden, shapesIn } from './golden.ts';
import { checkClose, checkLoss, checkOutputs, checkTraining, i32, report } from './model-golden.ts';
import type { TrainingGolden, Values } from './model-golden.ts';
import { temporaryFolder } from './temporary-folder.ts';

interface HeadGolden {
  class: string;
  config: { num_labels?: number; problem_type?: string };
  labels: Record<string, { shape: number[]; data: number[] }>;
  loss: number;
  newKeys: string[];
  withoutGradient: string[];
  gradientNorms: Record<string, number>;
}
type Golden = { inputs: Record<string, number[][]>; training: TrainingGolden } & Record<string, HeadGolden>;
type Outputs = Record<string, Tensor | readonly Tensor[] | undefined> & { loss?: Tensor; logits: Tensor };
type Model = PreTrainedModel<ModelConfig> & { forward(inputs: object): Outputs };
type Loader = { fromPretrained(id: string, overrides: object, options: LoadOptions): Promise<Model> };

const outputNames = { pooler_output: 'pooled' };

/** The loss of a bare model. */
function bareLoss({ lastHiddenState, pooled }: Outputs): Tensor {
  const weighted = (x: Tensor, wave: (angle: Tensor) => Tensor): Tensor =>
    mean(mul(x, reshape(wave(arange(0, x.size)), x.shape)));
  const loss = weighted(lastHiddenState as Tensor, cos);
  return pooled ? add(loss, weighted(pooled as Tensor, sin)) : loss;
}

/** Runs the tests of the family with the golden files NAME.json, NAME.safetensors and tiny-NAME/. */
export async function testEncoderFamily(name: string): Promise<void> {
  const golden = JSON.parse(await readFile(goldenFile(`${name}.json`), 'utf8')) as Golden;
  const all = await readGolden(`${name}.safetensors`);
  const folder = goldenFile(`tiny-${name}`);
  const { inputs: given, training, ...heads } = golden;
  const test = suite(name);
  let saved = '';
  temporaryFolder(test, (path) => (saved = path));

  const inputs = (): Record<string, Tensor> =>
    Object.fromEntries(Object.entries(given).map(([key, rows]) => [camelCase(key), i32(rows)]));
  const labelsOf = ({ labels }: HeadGolden): Record<string, Tensor> =>
    Object.fromEntries(
      Object.entries(labels).map(([key, { shape, data }]) => [
        camelCase(key),
        tensor(Float32Array.from(data), { shape }),
      ]),
    );
  const valuesOf = (head: string): Values =>
    new Map([...all].flatMap(([key, x]) => (key.startsWith(`${head}/`) ? [[key.slice(head.length + 1), x]] : [])));

  /** The golden model: the folder's weights, and the golden's where a head is new. */
  async function loadHead(head: HeadGolden, values: Values): Promise<Model> {
    const lines: string[] = [];
    const overrides = {
      ...(head.config.num_labels === undefined ? {} : { numLabels: head.config.num_labels }),
      ...(head.config.problem_type === undefined ? {} : { problemType: head.config.problem_type }),
    };
    const log = (line: string): void => void lines.push(line);
    const model = await (models as unknown as Record<string, Loader>)[head.class]!.fromPretrained(folder, overrides, {
      log,
    });
    const said = lines.find((line) => line.startsWith('newly initialised: '))?.slice('newly initialised: '.length);
    assert.equal(said?.split(' (')[0]!.split(', ').sort() ?? [], head.newKeys, 'newly initialised keys');
    const state = model.stateDict();
    const fresh = head.newKeys.map((key): [string, Tensor] => [
      key,
      tensor(values.get(`weight.${key}`)!, { shape: state.get(key)!.shape }),
    ]);
    model.loadStateDict(new Map(fresh), { strict: false });
    return model.train();
  }

  for (const [headName, head] of Object.entries(heads)) {
    test(`${headName}: outputs, loss, gradients and file are those of Transformers`, async () => {
      const values = valuesOf(headName);
      const model = await loadHead(head, values);
      const bare = headName === 'model';
      const extras = bare ? { outputHiddenStates: true, outputAttentions: true } : {};
      const output = model.forward({ ...inputs(), ...labelsOf(head), ...extras });
      const loss = bare ? bareLoss(output) : output.loss!;
      loss.backward();
      const outputs = await checkOutputs(output, values, { tolerance: 1e-4, names: outputNames });
      const lossOff = await checkLoss(loss, head.loss, 1e-4);
      console.log(
        report(headName, { outputs, loss: lossOff, gradients: await checkAllGradients(model, head, values) }),
      );
      const keys = [...Object.keys(head.gradientNorms), ...head.withoutGradient].sort();
      await model.savePretrained(saved);
      assert.equal(Object.keys(await shapesIn(saved)), keys, 'keys of the file');
      const again = (await loadModel(saved)) as Model;
      assert.is(again.constructor, model.constructor);
      // Without weights and without gradients another kernel may run.
      const plain = noGrad(() => again.forward(inputs()));
      const first = [...values.keys()].find((key) => /^output\.[a-z_]+$/.test(key))!;
      const ours = plain[camelCase(first.slice('output.'.length))] as Tensor;
      await checkClose(ours, values, first, 1e-4);
    });
  }

  test('the loss alone, and masked tokens only, are those of all logits', async () => {
    const head = heads['masked-lm']!;
    const values = valuesOf('masked-lm');
    const model = await loadHead(head, values);
    const { labels } = labelsOf(head) as { labels: Tensor };
    const { loss, logits } = model.forward({ ...inputs(), labels, outputLogits: false });
    assert.is(logits, undefined);
    await checkLoss(loss!, head.loss, 1e-4);
    loss!.backward();
    await checkAllGradients(model, head, values);
    const maskedPositions = i32([[1, 3], [0, 2], [4, 5], [0, 1]]); // prettier-ignore
    const at = noGrad(() => model.forward({ ...inputs(), maskedPositions }));
    const [length, width] = [given['input_ids']![0]!.length, at.logits.shape[2]!];
    const expected = values.get('output.logits')!.subarray((2 * length + 5) * width, (2 * length + 6) * width);
    assert.ok(largestDifference(await at.logits.slice(2, 1).data(), expected) <= 1e-4);
  });

  test('ten AdamW steps have the losses of PyTorch', async () => {
    const head = heads['sequence-classification']!;
    const model = await loadHead(head, valuesOf('sequence-classification'));
    const forward = (): Outputs => model.forward({ ...inputs(), ...labelsOf(head) });
    console.log(report('AdamW', { losses: await checkTraining(model, forward, training, 1e-3) }));
  });

  test.run();
}

/**
 * Gradients of which the golden has the values, and the norms of all: the largest error, relative to a
 * gradient's norm. One that vanishes but for rounding, as of a bias of the keys, must be as small here.
 */
async function checkAllGradients(model: Model, head: HeadGolden, values: Values): Promise<number> {
  const negligible = 1e-5 * Math.max(...Object.values(head.gradientNorms));
  let worst = 0;
  for (const [key, actual] of await gradientsByKey(model)) {
    const length = head.gradientNorms[key];
    assert.is(actual === undefined, length === undefined, `whether ${key} has a gradient`);
    if (!actual || length === undefined) continue;
    const expected = values.get(`grad.${key}`);
    const off = expected
      ? norm(Array.from(actual, (value, i) => value - expected[i]!))
      : Math.abs(norm(actual) - length);
    assert.ok(off <= 1e-3 * length + negligible, `gradient of ${key} is off by ${off}, its norm is ${length}`);
    if (length > negligible) worst = Math.max(worst, off / length);
  }
  return worst;
}
