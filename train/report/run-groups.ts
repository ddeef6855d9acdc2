import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { firstLine, printable } from '../../common/printable.ts';
import { pathKind } from '../../common/json-file.ts';
import { infoFile, optionTexts } from '../trainer/run-info.ts';
import { historyOf } from './run-history.ts';
import type { RunHistory } from './run-history.ts';

/** A run by the name that a comparison calls it. */
export interface NamedRun {
  readonly name: string;
  readonly history: RunHistory;
}

/** Runs that differ in their seed alone; most often one. */
export interface RunGroup {
  readonly name: string;
  readonly runs: readonly [RunHistory, ...RunHistory[]];
}

/** Of folders: the runs in them, and a line for each that is none or cannot be read. */
export interface FoundRuns {
  readonly runs: readonly NamedRun[];
  readonly leftOut: readonly string[];
}

/** The runs in folders: a folder is a run's, or has folders of runs in it, as a sweep's does. */
export async function findRuns(paths: readonly string[]): Promise<FoundRuns> {
  const runs: NamedRun[] = [];
  const leftOut: string[] = [];
  const read = async (path: string, name: string): Promise<void> => {
    try {
      const history = await historyOf(path);
      if (history.steps.length === 0) leftOut.push(`${printable(path)} has no step yet`);
      else runs.push({ name, history });
    } catch (error) {
      leftOut.push(firstLine(error));
    }
  };
  const isRun = async (path: string): Promise<boolean> => (await pathKind(join(path, infoFile))) === 'file';
  for (const path of paths) {
    if (await isRun(path)) {
      await read(path, basename(path));
      continue;
    }
    const inside: string[] = [];
    for (const name of (await readdir(path).catch(() => [])).sort())
      if (await isRun(join(path, name))) inside.push(name);
    if (inside.length === 0) leftOut.push(`${printable(path)} is no run's folder: there is no run.json in it`);
    for (const name of inside) await read(join(path, name), `${basename(path)}/${name}`);
  }
  return { runs, leftOut };
}

/** What follows from the seed, where a part of the data is drawn. */
const fromSeed = new Set(['seed', 'data', 'validation']);

/** Groups runs that differ in their seed alone, in the order of their first ones. */
export function groupBySeed(runs: readonly NamedRun[]): RunGroup[] {
  const groups = new Map<string, [NamedRun, ...NamedRun[]]>();
  for (const run of runs) {
    const { identity, command } = run.history.info;
    const options = Object.entries(identity).filter(([key]) => !fromSeed.has(key));
    // The command names the data.
    const words = command.replace(/ --(seed|output)[ =]\S+| --resume\S*/g, '');
    const key = JSON.stringify([options, words]);
    const group = groups.get(key);
    if (group) group.push(run);
    else groups.set(key, [run]);
  }
  return [...groups.values()].map(([first, ...rest]) => ({
    name: rest.length === 0 ? first.name : `${first.name} and ${rest.length} more`,
    runs: [first.history, ...rest.map(({ history }) => history)],
  }));
}

/** The seeds of a group's runs. */
export const seedsOf = ({ runs }: RunGroup): string => runs.map(({ info }) => String(info.identity['seed'])).join(', ');

/** Options that follow from others and tell nothing beside them. */
const derived: Readonly<Record<string, readonly string[]>> = {
  steps: ['epochs', 'batchSize'],
  warmupSteps: ['epochs', 'batchSize', 'steps'],
  evaluateEvery: ['epochs', 'batchSize', 'steps'],
};

/** Options in which groups differ, a row each with the value of every group; "-" where it has none. */
export function differingOptions(groups: readonly RunGroup[]): { readonly name: string; readonly values: string[] }[] {
  const flat = groups.map(({ runs: [{ info }] }) => new Map(optionTexts(info)));
  const names = [...new Set(flat.flatMap((options) => [...options.keys()]))];
  const rows = names
    .filter((name) => !fromSeed.has(name) && name !== 'tokenizer')
    .map((name) => ({ name, values: flat.map((options) => options.get(name) ?? '-') }))
    .filter(({ values }) => new Set(values).size > 1);
  const differ = new Set(rows.map(({ name }) => name));
  const seen = new Set<string>();
  return rows.filter(({ name, values }) => {
    // Settings of a model that follow from one flag, as those of dropout do, tell it once.
    const key = JSON.stringify(values);
    const isTold = name.startsWith('model.') && seen.has(key);
    seen.add(key);
    return !isTold && !derived[name]?.some((other) => differ.has(other));
  });
}
