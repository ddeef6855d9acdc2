/** Models that learn with weights of 4 or 8 bits, and what becomes of them: folders with packed weights. */
import { assign, noGrad, ready, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { fromHalf, toHalf } from '../../common/half.ts';
import { packCodes } from '../../models/gguf/pack.ts';
import {
  changedLayers,
  codesOf,
  fakeGroup,
  FakeQuantizedLinear,
  Linear,
  nameInBase,
  PackedParameter,
  withChangedLayers,
} from '../../models/index.ts';
import { usersOf } from '../../models/nn/quantize.ts';
import { rebuilt } from './smaller.ts';
import type { Shrinkable } from './smaller.ts';

/** The linear layers that `quantize` would pack and a folder keep so: their weights are theirs alone. */
function packable(model: Shrinkable): [name: string, layer: Linear][] {
  const users = usersOf(model);
  return model
    .namedModules()
    .filter((entry): entry is [string, Linear] => entry[1].constructor === Linear)
    .filter(([, { weight }]) => weight.shape[1]! % fakeGroup === 0 && users.get(weight)!.length === 1);
}

/** Shares of a group's largest weight that are tried as what its scale reaches. */
const reaches = [1, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6];

/** The scale of a group whose squared error of rounding is least; above 0. */
function firstScale(values: Float64Array, bits: 4 | 8): number {
  const [lowest, highest] = codesOf(bits);
  const largest = values.reduce((most, w) => Math.max(most, Math.abs(w)), 1e-8);
  let [best, least] = [0, Infinity];
  for (const reach of reaches) {
    const scale = (reach * largest) / highest;
    let error = 0;
    for (const w of values) error += (w - scale * Math.min(highest, Math.max(lowest, Math.round(w / scale)))) ** 2;
    if (error < least) [best, least] = [scale, error];
  }
  return best;
}

/**
 * A copy of a model whose linear layers compute as if their weights had 4 or 8 bits, to train on: see
 * `FakeQuantizedLinear`. Scales begin where the squared error of rounding is least. Weights that are shared,
 * as a head's with the embeddings, stay whole.
 *
 * Errors, each one line: weights that are packed already, or learn so already; none can be packed.
 *
 * @example
 * const config = { vocabSize: 50, hiddenSize: 32, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = await fakeQuantized(BertForSequenceClassification.fromConfig(config), 8);
 */
export async function fakeQuantized<M extends Shrinkable>(model: M, bits: 4 | 8): Promise<M> {
  const fail = (what: string): Error => new Error(`fakeQuantized: the ${model.constructor.name} ${what}`);
  if (Object.keys(changedLayers(model.config, 'fake_quantized')).length > 0) throw fail('learns so already');
  const layers = packable(model);
  if (layers.some(([, { weight }]) => weight.quantized))
    throw fail('has packed weights, which do not learn; load it without quantize');
  if (layers.length === 0) throw fail(`has no linear layer with rows of whole groups of ${fakeGroup}`);
  const state: Map<string, Tensor> = model.stateDict();
  for (const [name, { weight }] of layers) {
    const values = Float64Array.from(await weight.data(), Number);
    const logs = Float32Array.from({ length: values.length / fakeGroup }, (_, group) =>
      Math.log(firstScale(values.subarray(group * fakeGroup, (group + 1) * fakeGroup), bits)),
    );
    state.set(`${name}.log_scale`, tensor(logs));
  }
  const names = Object.fromEntries(layers.map(([name]) => [nameInBase(model, name), bits]));
  return noGrad(() => rebuilt(model, withChangedLayers(model.config, 'fake_quantized', names), state));
}

/**
 * The same model with packed weights, which `savePretrained` writes as they are: its outputs are those of the
 * model given, whose scales are first rounded to f16, in which files have them. Frozen, in eval mode.
 *
 * @example
 * const config = { vocabSize: 50, hiddenSize: 32, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = await fakeQuantized(BertForSequenceClassification.fromConfig(config), 8);
 * await (await packFakeQuantized(model)).savePretrained(memoryFolder());
 */
export async function packFakeQuantized<M extends Shrinkable>(model: M): Promise<M> {
  const { target } = await ready();
  const state: Map<string, Tensor> = model.stateDict();
  const packed = new Map<string, PackedParameter>();
  for (const [name, layer] of model.namedModules()) {
    if (!(layer instanceof FakeQuantizedLinear)) continue;
    const { weight, logScale, bits } = layer;
    const scales = Float32Array.from(await logScale.data(), (log) => fromHalf(toHalf(Math.exp(Number(log)))));
    noGrad(() => assign(logScale, tensor(scales.map(Math.log))));
    const computed = await noGrad(() => layer.quantizedWeight()).data();
    const codes = Int32Array.from(computed, (w, i) => {
      const scale = scales[Math.floor(i / fakeGroup)]!;
      return scale === 0 ? 0 : Math.round(Number(w) / scale);
    });
    const shape = weight.shape as [number, number];
    packed.set(name, new PackedParameter(packCodes(codes, scales, shape, bits, target.f16 ? 'f16' : 'f32')));
    state.delete(`${name}.log_scale`);
  }
  const whole = noGrad(() => rebuilt(model, withChangedLayers(model.config, 'fake_quantized', undefined), state));
  for (const [name, layer] of whole.namedModules()) {
    const weight = packed.get(name);
    if (weight && layer instanceof Linear) layer.weight = weight;
  }
  return whole.requiresGrad(false).eval();
}
