import { readFileSync } from 'node:fs';
import { autocast, compile, ready, synchronize, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { GPT2LMHeadModel, SafetensorsFile } from '../../models/index.ts';
import { attempt } from './cases.ts';
import { bytesIn, reader } from './numbers.ts';
import { emit, free } from './shared.ts';
import type { Half } from './shared.ts';

interface Reference {
  readonly loss: number;
  readonly ids: readonly number[];
  readonly shape: readonly number[];
}

/** The largest relative errors that are right. */
const allowed = { f16: { loss: 2e-3, gradients: 1e-2 }, f32: { loss: 2e-6, gradients: 1e-4 } };

/**
 * Compares the loss and the gradient of every parameter of GPT-2 124M, without dropout, with PyTorch in
 * float64: `gradients FOLDER`, of weights that `torch_baseline.py export FOLDER` made.
 */
export async function run([folder = '']: readonly string[]): Promise<void> {
  const { f16 } = (await ready()).target;
  const reference = JSON.parse(readFileSync(`${folder}/reference.json`, 'utf8')) as Reference;
  for (const mode of ['compiled', 'immediate'] as const)
    for (const type of f16 ? (['f16', 'f32'] as const) : (['f32'] as const))
      await attempt(`shared weights ${type} ${mode}`, () => compareWith(reference, folder, mode, type), 60);
}

async function compareWith(
  { loss: want, ids, shape }: Reference,
  folder: string,
  mode: 'compiled' | 'immediate',
  type: Half,
): Promise<void> {
  const model = (await GPT2LMHeadModel.fromPretrained(folder)).train();
  const inputIds = tensor(Int32Array.from(ids), { shape }).keep();
  // A scale keeps small gradients in f16's range; powers of two change no other digit.
  const scale = type === 'f16' ? 1024 : 1;
  const step = (x: Tensor): Tensor => {
    const { loss } = autocast(() => model.forward({ inputIds: x, labels: x, outputLogits: false }), { dtype: type });
    loss.mul(scale).backward();
    return loss.detach();
  };
  const loss = await (mode === 'compiled' ? compile(step, { name: 'gradients' }) : step)(inputIds).keep().item();
  await synchronize();
  const errors = await gradientErrors(model, `${folder}/gradients.safetensors`, scale);
  const lossError = Math.abs(loss - want) / want;
  emit({
    key: `shared weights, ${mode}`,
    type,
    loss,
    want,
    lossError,
    ...errors,
    ok: lossError <= allowed[type].loss && errors.gradientError <= allowed[type].gradients,
  });
  for (const p of model.parameters()) {
    p.clearGrad();
    free(p);
  }
}

/** Relative errors (norm of the difference over norm) of all gradients together, and of the worst. */
async function gradientErrors(model: GPT2LMHeadModel, path: string, scale: number) {
  const file = await SafetensorsFile.open(path);
  let [errors, squares] = [0, 0];
  let worst = { name: '', error: 0 };
  for (const [name, { grad }] of model.namedParameters()) {
    if (!file.entries.has(name)) throw new Error(`the reference has no gradient of ${name}`);
    if (!grad) throw new Error(`${name} has no gradient`);
    const reference = (await file.read(name)).data as unknown as Float32Array;
    const got = reader(await bytesIn(grad), grad.dtype);
    let [error, square] = [0, 0];
    for (let i = 0; i < reference.length; i++) {
      error += (got(i) / scale - reference[i]!) ** 2;
      square += reference[i]! ** 2;
    }
    errors += error;
    squares += square;
    const relative = Math.sqrt(error / square);
    if (!(relative <= worst.error)) worst = { name, error: relative };
  }
  await file.close();
  return { gradientError: Math.sqrt(errors / squares), worstGradient: worst.name, worstGradientError: worst.error };
}
