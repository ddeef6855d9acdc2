import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { randomState, scope, setRandomState, tensor } from '../autograd/index.ts';
import { writeFileAtomic } from '../models/io/atomic.ts';
import { readJsonFile } from '../models/io/json-file.ts';
import { SafetensorsFile, toFloat32, writeSafetensors } from '../models/io/safetensors.ts';
import type { Optimizer } from './optim/index.ts';

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
  optimizerSteps: z.array(z.array(z.number())),
});

export type TrainingState = Omit<z.infer<typeof stateSchema>, 'random' | 'optimizerSteps'>;

type AnyOptimizer = Optimizer<{ lr: number }>;

/** `checkpoint-120` for step 120, as Transformers names them. */
const folderPattern = /^checkpoint-(\d+)$/;

/**
 * Saves a run whole or not at all: everything is written into a temporary folder that then takes its name, and only then are older checkpoints removed.
 * `saveModel` writes model and tokenizer into the folder it is given. Returns the checkpoint's folder.
 */
export async function saveTraining(
  output: string,
  state: TrainingState,
  optimizer: AnyOptimizer,
  saveModel: (folder: string) => Promise<void>,
): Promise<string> {
  const name = `checkpoint-${state.step}`;
  const temporary = join(output, `.${name}.tmp`);
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { recursive: true });
  try {
    await saveModel(temporary);
    const { groups } = optimizer.snapshot();
    await writeSafetensors(
      join(temporary, 'optimizer.safetensors'),
      groups.flatMap(({ tensors }, i) =>
        tensors.map((x, k) => ({
          name: `group.${i}.${k}`,
          dtype: 'F32' as const,
          shape: x.shape,
          data: async () => (await x.data()) as Float32Array,
        })),
      ),
    );
    const full = { ...state, random: randomState(), optimizerSteps: groups.map(({ steps }) => steps) };
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

/** Puts optimizer and random numbers back to where the checkpoint was written. */
export async function restoreTraining(
  folder: string,
  state: z.infer<typeof stateSchema>,
  optimizer: AnyOptimizer,
): Promise<void> {
  using _ = scope();
  const file = await SafetensorsFile.open(join(folder, 'optimizer.safetensors'));
  try {
    const groups = [];
    for (const [i, steps] of state.optimizerSteps.entries()) {
      const tensors = [];
      for (let k = 0; file.entries.has(`group.${i}.${k}`); k++) {
        const loaded = await file.read(`group.${i}.${k}`);
        tensors.push(tensor(toFloat32(loaded), { shape: loaded.shape }));
      }
      groups.push({ steps, tensors });
    }
    optimizer.restore({ groups });
  } finally {
    await file.close();
  }
  setRandomState(state.random);
}
