import { readdir } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import * as z from 'zod';
import { brief } from '../../common/printable.ts';
import { randomState, setRandomState } from '../../autograd/index.ts';
import { writeFileAtomic } from '../../common/atomic-files.ts';
import { saveFiles } from '../../common/file-access.ts';
import { disk, rename } from '../../common/file-system.ts';
import { claimFolder } from '../../common/lock.ts';
import { damageOf, verifyManifest, writeManifest } from '../../common/manifest.ts';
import { isJsonObject, pathKind, readJsonFile } from '../../common/json-file.ts';
import { startedBy, UsageError } from '../cli/cli.ts';
import type { Option } from '../cli/cli.ts';
import { optimizerFiles, restoreOptimizer } from '../optim/index.ts';
import type { AnyOptimizer, GradScaler } from '../optim/index.ts';
import { resultFile } from '../report/result-file.ts';
import { infoFile } from './run-info.ts';

/** Raised when a run that another version of the project saved can no longer be gone on with. */
const format = 2;

/**
 * Where a run stands, apart from the model, the optimizer and the log. The next batch is a function of
 * `step`.
 */
const stateSchema = z.object({
  format: z.literal(format).default(format),
  /** Optimizer steps done. */
  step: z.int().min(0),
  /** Seconds of training so far. */
  seconds: z.number(),
  /** The best evaluation so far, by the number that tells. */
  best: z.object({ step: z.int(), value: z.number() }).optional(),
  /** Evaluations since then. */
  sinceBest: z.int().min(0),
  /** Options, model and data that the run depends on; a resumed run must agree. */
  identity: z.record(z.string(), z.unknown()),
});
const savedSchema = stateSchema.extend({ random: z.object({ seed: z.number(), stream: z.number() }) });

export type TrainingState = z.input<typeof stateSchema>;
export type SavedState = z.input<typeof savedSchema>;

/** `checkpoint-120` for step 120, as Transformers names them. */
const folderPattern = /^checkpoint-(\d+)$/;
const temporaryPattern = /^\.checkpoint-\d+(\.old)?\.tmp$/;
const stateFile = 'trainer_state.json';

/** Checkpoints that a run keeps until its end: where the latest is damaged later, there is one before it. */
export const checkpointsKept = 2;

/**
 * Saves a run whole or not at all: everything is written into a temporary folder, with the hashes of all
 * files in manifest.json, and the folder then takes its name. Only when the files are read back as they were
 * written are older checkpoints removed, all but one. `saveModel` writes model and tokenizer into the folder
 * it is given; `scaler` is that of a run in mixed precision. Returns the checkpoint's folder.
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
  await disk.remove(temporary);
  await disk.makeFolder(temporary);
  try {
    await saveModel(temporary);
    await saveFiles(optimizerFiles(temporary, optimizer, scaler));
    await writeState(temporary, { ...state, random: randomState() });
    await writeManifest(temporary);
    await disk.syncFolder(temporary);
    const folder = join(output, name);
    await removeCheckpoint(output, name);
    await disk.rename(temporary, folder);
    await disk.syncFolder(output);
    await verifyManifest(folder, { mend: 'what the disk gives back is not what was written: check the disk' });
    await removeCheckpoints(output, checkpointsKept);
    return folder;
  } catch (error) {
    await disk.remove(temporary);
    throw error;
  }
}

/** Writes where a run stands, or ended, into a folder: the same bytes, whether or not it was resumed. */
export async function writeState(folder: string, state: TrainingState | SavedState): Promise<void> {
  const { step, seconds, best, sinceBest, identity, ...rest } = state;
  const ordered = { format, step, seconds, best, sinceBest, identity, ...rest };
  await writeFileAtomic(join(folder, stateFile), `${JSON.stringify(ordered)}\n`);
}

/** Whether a run has reached its end in this folder. */
async function isFinished(folder: string): Promise<boolean> {
  return (await pathKind(join(folder, stateFile))) === 'file';
}

/** Says that the run in this folder has not reached its end. */
export async function markStarted(folder: string): Promise<void> {
  await disk.remove(join(folder, stateFile));
}

/**
 * Removes a run's checkpoints but the latest so many, and what a killed run left half-written or
 * half-removed.
 */
export async function removeCheckpoints(output: string, keep = 0): Promise<void> {
  const kept = new Set(keep > 0 ? (await checkpointSteps(output)).slice(-keep) : []);
  for (const name of await readdir(output).catch(() => [])) {
    const step = folderPattern.exec(name)?.[1];
    if (step !== undefined && !kept.has(Number(step))) await removeCheckpoint(output, name);
    else if (temporaryPattern.test(name)) await disk.remove(join(output, name));
  }
}

/** Removes a checkpoint at once: half of one, which a kill would leave, would be taken for a damaged one. */
async function removeCheckpoint(output: string, name: string): Promise<void> {
  const folder = join(output, name);
  if ((await pathKind(folder)) === 'none') return;
  const old = join(output, `.${name}.old.tmp`);
  await disk.remove(old);
  await rename(folder, old);
  await disk.remove(old);
}

/** The steps of a run's checkpoints, rising. */
async function checkpointSteps(output: string): Promise<number[]> {
  const names = await readdir(output).catch(() => []);
  return names
    .flatMap((name) => folderPattern.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

/** The latest checkpoint of a run that has not reached its end, or undefined. */
export async function latestCheckpoint(output: string): Promise<string | undefined> {
  const step = (await checkpointSteps(output)).at(-1);
  return step === undefined ? undefined : join(output, `checkpoint-${step}`);
}

/**
 * Checks that a checkpoint's files are those that were written. Error, one line: the file that is not, and
 * the checkpoint before that is whole, where there is one.
 */
export async function checkWhole(checkpoint: string, output: string): Promise<void> {
  const damage = await damageOf(checkpoint);
  if (damage === undefined) return;
  let mend = `no other checkpoint is whole; remove ${output} to start again`;
  for (const step of (await checkpointSteps(output)).reverse()) {
    const name = `checkpoint-${step}`;
    if (name === basename(checkpoint) || (await damageOf(join(output, name))) !== undefined) continue;
    mend = `${name} before it is whole: remove ${checkpoint} and resume again to go on from there`;
    break;
  }
  throw new Error(`${damage}; ${mend}`);
}

/** Reads where a run stands; its model is loaded like any other from the same folder. */
export const readTrainingState = (folder: string): Promise<SavedState> => readState(folder, savedSchema);

/** Reads where a run ended. */
export const readFinalState = (folder: string): Promise<TrainingState> => readState(folder, stateSchema);

async function readState<T>(folder: string, schema: z.ZodType<T>): Promise<T> {
  const json = await readJsonFile(join(folder, stateFile));
  if (json['format'] !== format)
    throw new Error(
      `${folder}/${stateFile} is of another version of this project (format ${brief(json['format'] ?? 1)}, ` +
        `here ${format}); go on with the version that began the run, or remove ${folder} to start again`,
    );
  const parsed = schema.safeParse(json);
  if (!parsed.success)
    throw new Error(
      `${folder}/${stateFile} is damaged (${parsed.error.issues[0]?.path.join('.') ?? 'unknown field'}); ` +
        `remove ${folder} to start again`,
    );
  return parsed.data;
}

/** Puts optimizer, scaler and random numbers back to where the checkpoint was written. */
export async function restoreTraining(
  folder: string,
  state: SavedState,
  optimizer: AnyOptimizer,
  scaler?: GradScaler,
): Promise<void> {
  await restoreOptimizer(folder, optimizer, scaler);
  setRandomState(state.random);
}

/**
 * Whether a run goes on from its checkpoint; 'anyway': also where options or data are others than those it
 * began with, so that its result is that of neither.
 */
export type Resume = boolean | 'anyway';

/** The flags of scripts that can resume. */
export const resumeFlags = {
  resume: { type: 'boolean', help: 'go on from the checkpoint in the output folder' },
  resumeAnyway: { type: 'boolean', help: 'the same, although options or data are not those that the run began with' },
} as const satisfies Record<string, Option>;

export function resumeOf({ resume, resumeAnyway }: { resume: boolean; resumeAnyway: boolean }): Resume {
  return resumeAnyway ? 'anyway' : resume;
}

/**
 * A run resumed on other data or with other options would not be the same run. Throws one line with what
 * differs, or, for 'anyway', writes it to stderr. `byFlag`: as in `checkResume`.
 */
export function checkIdentity(
  saved: TrainingState['identity'],
  now: TrainingState['identity'],
  folder: string,
  resume: Resume = true,
  byFlag = true,
): void {
  const changed = differences(saved, now);
  if (changed.length === 0) return;
  const line = `${folder} belongs to a run with other options or data (${changed.join(', ')})`;
  if (resume !== 'anyway')
    throw new Error(
      `${line}; resume with the same, or remove the folder to start again; ` +
        `who knows what it means can go on with ${byFlag ? '--resume-anyway' : "resume: 'anyway'"}`,
    );
  process.stderr.write(`warning: ${line}, and goes on anyway\n`);
}

/** A run that has reached its end is only read. Throws one line where it is not the one asked for. */
export function checkFinished(saved: TrainingState['identity'], now: TrainingState['identity'], folder: string): void {
  const changed = differences(saved, now);
  if (changed.length > 0)
    throw new Error(
      `${folder} holds a run that has reached its end with other options or data (${changed.join(', ')}); ` +
        'give those, or remove the folder to start again',
    );
}

/** `learningRate 0.01 -> 0.02, model.hidden_size 64 -> 128` */
export function differences(
  saved: Readonly<Record<string, unknown>>,
  now: Readonly<Record<string, unknown>>,
): string[] {
  const keys = [...new Set([...Object.keys(saved), ...Object.keys(now)])];
  return keys.flatMap((key) => {
    const [before, after] = [saved[key], now[key]];
    if (JSON.stringify(before) === JSON.stringify(after)) return [];
    if (isJsonObject(before) && isJsonObject(after))
      return differences(before, after).map((difference) => `${key}.${difference}`);
    return [`${key} ${shown(before)} -> ${shown(after)}`];
  });
}

/** As JSON, of a hash the first digits. */
function shown(value: unknown): string {
  if (value === undefined) return 'none';
  if (typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)) return value.slice(0, 12);
  return JSON.stringify(value);
}

/**
 * Where a run goes on: from a checkpoint, or nowhere, since it has reached its end. Without either it starts.
 */
export interface Resumption {
  readonly checkpoint?: string;
  readonly finished: boolean;
}

/**
 * Finds out where a run goes on. `byFlag`: the user resumes by --resume, else by `resume: true` in a program;
 * messages name the one. Errors: there is nothing to resume; a run that was stopped would be written over
 * unasked.
 */
export async function checkResume(
  name: string,
  output: string,
  resume: Resume = false,
  byFlag = true,
): Promise<Resumption> {
  const refuse = (problem: string): Error => new (byFlag ? UsageError : Error)(`${name}: ${output} ${problem}`);
  const checkpoint = await latestCheckpoint(output);
  if (checkpoint && !resume) {
    const mend = byFlag ? 'go on with --resume' : 'pass resume: true to go on';
    throw refuse(`holds a run that was stopped (${checkpoint}); ${mend}, or remove the folder to start again`);
  }
  const finished = resume !== false && !checkpoint && (await isFinished(output));
  if (resume && !checkpoint && !finished)
    throw refuse(`has no checkpoint to resume; leave ${byFlag ? '--resume' : 'resume'} away to start`);
  return { checkpoint, finished };
}

/**
 * Begins a script that trains in a folder: checks that it can be written, locks it until the process ends, so
 * that a second run in it ends with a line that names this one, and checks that the run there may begin or go
 * on. A model that came there in another way, as from a hub, is not written over.
 */
export async function claimRun(name: string, output: string, resume: Resume): Promise<Resumption> {
  await claimFolder(output);
  const resumption = await checkResume(name, output, resume);
  const has = async (file: string): Promise<boolean> => (await pathKind(join(output, file))) === 'file';
  if ((await has('config.json')) && !(await has(infoFile)) && !(await has(resultFile)))
    throw new UsageError(`${name}: ${output} holds a model, but not of a run (no ${infoFile}); choose another folder`);
  return resumption;
}

/** Whether there is a run to go on with, or to read. */
export async function canResume(output: string): Promise<boolean> {
  return (await latestCheckpoint(output)) !== undefined || isFinished(output);
}

/** A word as shells take it: in quotes, where it holds what means something to them. */
export const shellWord = (word: string): string =>
  /^[\p{L}\p{N}_@%+=:,./-]+$/u.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;

/** The command that goes on with the run of this process; `usage` starts its script. */
export function resumeCommand(usage: string): string {
  const launch = process.env['TAPEFORM_LAUNCH'];
  return [
    launch ? `${launch} ${basename(usage, extname(usage))}` : startedBy(usage),
    ...process.argv
      .slice(2)
      .filter((word) => !/^--resume(-anyway)?$/.test(word))
      .map(shellWord),
    '--resume',
  ].join(' ');
}
