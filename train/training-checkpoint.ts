import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { randomState, scope, setRandomState, tensor } from '../autograd/index.ts';
import type { Tensor } from '../autograd/index.ts';
import { writeFileAtomic } from '../models/io/atomic.ts';
import { readJsonFile } from '../models/io/json-file.ts';
import { SafetensorsFile, toFloat32, writeSafetensors } from '../models/io/safetensors.ts';
import type { GradScaler, Optimizer } from './optim/index.ts';

/** Where a run stands, apart from the model and the optimizer. */
const stateSchema = z.object({
  /** Optimizer steps done. */
  step: z.number().int(),
  /** The next batch. */
  epoch: z.number().int(),
  index: z.number().int(),
  /** Loss of each step so far. */
  losses: z.array(z.number().nullable()),
  validation: z.array(z.object({ step: z.number(), loss: z.number(), accuracy: z.number(), f1: z.number() })),
  /** What the run depends on; a resumed run must agree. */
  options: z.record(z.string(), z.unknown()),
  random: z.object({ seed: z.number(), stream: z.number() }),
});

export type TrainingState = Omit<z.infer<typeof stateSchema>, 'random'>;

type AnyOptimizer = Optimizer<{ lr: number }>;

/** `checkpoint-120` for step 120, as Transformers names them. */
const folderPattern = /^checkpoint-(\d+)$/;

/**
 * Saves a run whole or not at all: everything is written into a temporary folder that then takes its name, and only then are older checkpoints removed.
 * `saveModel` writes model and tokenizer into the folder it is given; `scaler` is that of a run in mixed precision. Returns the checkpoint's folder.
 */
export async function saveTraining(
  output: string,
  state: TrainingState,
  optimizer: AnyOptimizer,
  saveModel: (folder: string) => Promise<void>,
  scaler?: GradScaler,
): Promise<string> {
  const name = `checkpoint-${state.step}`;
  const temporary = join(output, `.${name}.tmp`);
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { recursive: true });
  try {
    await saveModel(temporary);
    await writeSafetensors(
      join(temporary, 'optimizer.safetensors'),
      [...stateTensors(optimizer, scaler)].map(([name, x]) => ({
        name,
        dtype: 'F32' as const,
        shape: x.shape,
        data: async () => (await x.data()) as Float32Array,
      })),
    );
    const full = { ...state, random: randomState() };
    await writeFileAtomic(join(temporary, 'trainer_state.json'), `${JSON.stringify(full)}\n`);
    const folder = join(output, name);
    await rm(folder, { recursive: true, force: true });
    await rename(temporary, folder);
    await removeOthers(output, name);
    return folder;
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
}

/** The tensors of `optimizer.safetensors` by name: numbers of updates and moments of each group, and a scaler's state. */
function stateTensors(optimizer: AnyOptimizer, scaler: GradScaler | undefined): Map<string, Tensor> {
  const named = new Map<string, Tensor>();
  optimizer.snapshot().groups.forEach(({ steps, tensors }, i) => {
    named.set(`group.${i}.steps`, steps);
    tensors.forEach((x, k) => named.set(`group.${i}.${k}`, x));
  });
  if (scaler) named.set('scaler', scaler.state);
  return named;
}

async function removeOthers(output: string, keep: string): Promise<void> {
  for (const name of await readdir(output)) {
    if (folderPattern.test(name) && name !== keep) await rm(join(output, name), { recursive: true, force: true });
  }
}

/** The latest checkpoint of a run, or undefined. */
export async function latestCheckpoint(output: string): Promise<string | undefined> {
  const names = await readdir(output).catch(() => []);
  const steps = names.flatMap((name) => folderPattern.exec(name)?.[1] ?? []).map(Number);
  return steps.length > 0 ? join(output, `checkpoint-${Math.max(...steps)}`) : undefined;
}

/** Reads where a run stands; its model is loaded like any other from the same folder. */
export async function readTrainingState(folder: string): Promise<z.infer<typeof stateSchema>> {
  const parsed = stateSchema.safeParse(await readJsonFile(join(folder, 'trainer_state.json')));
  if (!parsed.success)
    throw new Error(
      `${folder}/trainer_state.json is damaged (${parsed.error.issues[0]?.path.join('.') ?? 'unknown field'}); remove ${folder} to start again`,
    );
  return parsed.data;
}

/** Puts optimizer, scaler and random numbers back to where the checkpoint was written. */
export async function restoreTraining(
  folder: string,
  state: z.infer<typeof stateSchema>,
  optimizer: AnyOptimizer,
  scaler?: GradScaler,
): Promise<void> {
  using _ = scope();
  const file = await SafetensorsFile.open(join(folder, 'optimizer.safetensors'));
  try {
    const own = stateTensors(optimizer, scaler);
    const shapes = (entries: Iterable<readonly [string, { readonly shape: readonly number[] }]>): string =>
      [...entries]
        .map(([name, { shape }]) => `${name}[${shape.join()}]`)
        .sort()
        .join();
    if (shapes(own) !== shapes(file.entries))
      throw new Error(
        `${folder}: the saved optimizer state belongs to other parameters; resume with the model and options it was saved with`,
      );
    for (const [name, x] of own) {
      const loaded = await file.read(name);
      x.assign(tensor(toFloat32(loaded), { shape: loaded.shape }));
    }
  } finally {
    await file.close();
  }
  setRandomState(state.random);
}
