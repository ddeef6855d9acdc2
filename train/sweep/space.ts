import { nearestNames } from '../../common/nearest.ts';
import { Random } from '../../common/random.ts';
import { UsageError } from '../cli/cli.ts';

/** Flags of a script with their values, such as `learning-rate` and `0.001`. */
export type Settings = readonly (readonly [flag: string, value: string])[];

/** The flags that a script's --help lists, with the default of each that names one. */
export type ScriptFlags = ReadonlyMap<string, string | undefined>;

export function flagsInHelp(help: string): ScriptFlags {
  const parts = help.split(/^ {2}(?:-\w, | {4})--(?:\[no-\])?/m).slice(1);
  return new Map(
    parts.map((part) => {
      const [, flag] = /^([\w-]+)/.exec(part)!;
      const [, given] = /[(;]\s*default\s+([^\s)]+)\)/.exec(part) ?? [];
      return [flag!, given];
    }),
  );
}

interface Axis {
  readonly flag: string;
  /** Of a grid: each; of a random axis: one, by a number from 0 to below 1. */
  readonly values?: readonly string[];
  readonly draw?: (u: number) => string;
}

/** Short for what is swept most often. */
const short: Readonly<Record<string, string>> = { lr: 'learning-rate' };

function flagIn(name: string, option: string, flags: ScriptFlags): string {
  const dashed = name.replace(/^--/, '').replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const flag = flags.has(dashed) ? dashed : (short[dashed] ?? dashed);
  if (flags.has(flag)) return flag;
  const [near] = nearestNames(flag, [...flags.keys()]);
  throw new UsageError(`${option} ${name}: the script has no flag --${flag}${near ? `; did you mean --${near}?` : ''}`);
}

function partsOf(text: string, option: string): [name: string, values: string] {
  const at = text.indexOf('=');
  if (at < 1 || at === text.length - 1)
    throw new UsageError(`${option} ${text}: write a flag and its values, ${option} lr=1e-4,1e-3`);
  return [text.slice(0, at), text.slice(at + 1)];
}

/** `lr=1e-5,2e-5`: each of the values. */
function gridAxis(text: string, flags: ScriptFlags): Axis {
  const [name, values] = partsOf(text, '--grid');
  return { flag: flagIn(name, '--grid', flags), values: values.split(',').map((value) => value.trim()) };
}

/**
 * `lr=log:1e-6:1e-3`, `dropout=0:0.3`, `batch-size=int:8:64`, `schedule=linear,cosine`: evenly between two
 * numbers or their logarithms, whole numbers, one of several.
 */
function randomAxis(text: string, flags: ScriptFlags): Axis {
  const [name, range] = partsOf(text, '--random');
  const flag = flagIn(name, '--random', flags);
  const [, kind, from, to] = /^(?:(log|int):)?([^:,]+):([^:,]+)$/.exec(range) ?? [];
  if (from === undefined) {
    const values = range.split(',').map((value) => value.trim());
    if (range.includes(':') || values.length < 2)
      throw new UsageError(
        `--random ${text}: write LOW:HIGH, log:LOW:HIGH, int:LOW:HIGH, or values with commas between`,
      );
    return { flag, draw: (u) => values[Math.floor(u * values.length)]! };
  }
  const [low, high] = [Number(from), Number(to)];
  const isWhole = Number.isInteger(low) && Number.isInteger(high);
  const needs = kind === 'log' ? 'two numbers above 0' : kind === 'int' ? 'two whole numbers' : 'two numbers';
  if (!(low < high) || !Number.isFinite(high - low) || (kind === 'log' && low <= 0) || (kind === 'int' && !isWhole))
    throw new UsageError(`--random ${text}: needs ${needs}, the lower one first`);
  const number = (value: number): string => String(Number(value.toPrecision(3)));
  return {
    flag,
    draw(u) {
      if (kind === 'int') return String(low + Math.floor(u * (high - low + 1)));
      return number(kind === 'log' ? low * (high / low) ** u : low + u * (high - low));
    },
  };
}

export interface SpaceOptions {
  readonly grid: readonly string[];
  readonly random: readonly string[];
  /** Draws of the random flags, each at every point of the grid. */
  readonly trials: number;
  /** Of the draws. */
  readonly seed: number;
}

/**
 * The settings to try: each point of the grid, with each draw of the random flags. Draw i is the same however
 * many there are. Errors, each one line: what names no flag of the script, or is no range.
 */
export function settingsOf({ grid, random, trials, seed }: SpaceOptions, flags: ScriptFlags): Settings[] {
  const axes = [...grid.map((text) => gridAxis(text, flags)), ...random.map((text) => randomAxis(text, flags))];
  const twice = axes.find(({ flag }, i) => axes.findIndex((axis) => axis.flag === flag) < i);
  if (twice) throw new UsageError(`--${twice.flag} is in --grid and --random, or twice in one; leave one out`);
  let points: Settings[] = [[]];
  for (const { flag, values } of axes)
    if (values) points = points.flatMap((point) => values.map((value) => [...point, [flag, value] as const]));
  const drawn = axes.filter(({ draw }) => draw);
  if (drawn.length === 0) return points;
  return Array.from({ length: trials }, (_, i) => {
    const source = new Random(seed, i);
    return drawn.map(({ flag, draw }) => [flag, draw!(source.uniform())] as const);
  }).flatMap((own) => points.map((point) => [...point, ...own]));
}

/** As a command has them: `--learning-rate 0.001 --dropout 0.1`. */
export const wordsOf = (settings: Settings): string[] => settings.flatMap(([flag, value]) => [`--${flag}=${value}`]);

/** A round of successive halving. */
export interface Rung {
  /** Epochs or steps of each trial. */
  readonly budget: number;
  /** How many settings are tried. */
  readonly settings: number;
}

/**
 * Successive halving (Jamieson and Talwalkar 2016): all settings for a share of the budget, of which the best
 * third goes on to three times as much, and so on to the whole budget.
 */
export function rungsOf(settings: number, budget: number, keep = 3): Rung[] {
  const rounds = Math.max(0, Math.floor(Math.log(Math.min(settings, budget)) / Math.log(keep) + 1e-9));
  return Array.from({ length: rounds + 1 }, (_, i) => ({
    budget: Math.max(1, Math.round(budget / keep ** (rounds - i))),
    settings: Math.ceil(settings / keep ** i),
  }));
}
