import { readFileSync, statSync } from 'node:fs';
import { format, parseArgs } from 'node:util';
import { checkEnvironment } from '../../common/environment.ts';
import { dropUnread } from '../../common/output.ts';
import { firstLine, printable, printableLines } from '../../common/printable.ts';
import { nearestNames } from '../../common/nearest.ts';
import { ensureVulkanDriver } from '../../gpu/driver.ts';
import type * as Turns from './turns.ts';

interface Common<T> {
  readonly help: string;
  readonly default?: T;
  /** Without it and without a default, the value is undefined where the flag is absent. */
  readonly required?: boolean;
  /** One letter: `short: 'm'` also takes -m. */
  readonly short?: string;
}

/** One flag. The key `batchSize` of an options record is the flag `--batch-size`. */
export type Option =
  | (Common<string> & { readonly type: 'string' })
  /** May be given several times; default an empty list. */
  | (Common<never> & { readonly type: 'list' })
  | (Common<string> & { readonly type: 'path'; readonly exists?: 'file' | 'folder' | 'any' })
  | (Common<number> & { readonly type: 'number' | 'int'; readonly min?: number; readonly max?: number })
  | (Common<boolean> & { readonly type: 'boolean' })
  | (Common<string> & { readonly type: 'choice'; readonly choices: readonly string[] });

/** Arguments without a flag; by default none are taken. */
export interface Positionals {
  readonly name: string;
  readonly help: string;
  readonly min?: number;
  readonly max?: number;
}

export interface Command<O extends Record<string, Option>> {
  /** Begins every error line. */
  readonly name: string;
  readonly summary: string;
  /** How it is started, `npx tsx train/...`; default the name. */
  readonly usage?: string;
  readonly options: O;
  readonly positionals?: Positionals;
  /**
   * Values of many flags under one name, `--preset NAME`, and `--config FILE` for those in a JSON file; flags
   * given win over the file, the file over the preset.
   */
  readonly presets?: Readonly<Record<string, Readonly<Record<string, string | number | boolean>>>>;
}

type ValueOf<S> = S extends { type: 'number' | 'int' }
  ? number
  : S extends { type: 'boolean' }
    ? boolean
    : S extends { type: 'list' }
      ? readonly string[]
      : S extends { type: 'choice'; choices: readonly (infer C)[] }
        ? C
        : string;
type Given<S> = S extends { default: string | number | boolean } | { required: true } | { type: 'boolean' | 'list' }
  ? ValueOf<S>
  : ValueOf<S> | undefined;

export interface Parsed<O> {
  readonly values: { readonly [K in keyof O]: Given<O[K]> };
  readonly positionals: string[];
}

/** A command line that cannot be run as written; `main` prints its message and exits with code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** `--help` was given; the message is the usage page, which `main` prints before it exits with code 0. */
export class HelpRequest extends Error {
  override readonly name = 'HelpRequest';
}

/**
 * Reads a command line: `--flag value`, `--flag=value`, `-f value`, `--flag` and `--no-flag` for booleans,
 * `--` before positionals that start with a dash; of a repeated flag the last counts, lists take all. Throws
 * UsageError with one line that names the flag and the mend, HelpRequest on `--help`.
 */
export function parseOptions<const O extends Record<string, Option>>(
  command: Command<O>,
  argv: readonly string[] = process.argv.slice(2),
): Parsed<O> {
  const fail = (problem: string): never => {
    const shown = problem.length > 600 ? `${problem.slice(0, 600)}...` : problem;
    throw new UsageError(`${command.name}: ${printable(shown)} (--help lists the options)`);
  };
  const byFlag = new Map(
    Object.entries<Option>(command.options).map(([key, option]) => [flagOf(key), { key, option }]),
  );
  const values: Record<string, string | number | boolean | readonly string[] | undefined> = {};
  for (const { key, option } of byFlag.values()) {
    values[key] = option.default ?? (option.type === 'boolean' ? false : option.type === 'list' ? [] : undefined);
  }
  const { tokens, positionals } = parseArgs({
    args: command.presets ? withPresets(command.presets, argv, fail) : [...argv],
    strict: false,
    tokens: true,
    allowPositionals: true,
    options: {
      help: { type: 'boolean', short: 'h' },
      ...Object.fromEntries(
        [...byFlag].map(([flag, { option }]) => [
          flag,
          { type: option.type === 'boolean' ? 'boolean' : 'string', ...(option.short ? { short: option.short } : {}) },
        ]),
      ),
    },
  });
  const flags = tokens.filter((token) => token.kind === 'option');
  if (flags.some((token) => token.name === 'help')) throw new HelpRequest(usagePage(command));
  for (const { name, rawName, value, inlineValue } of flags) {
    const negated = name.startsWith('no-') && byFlag.get(name.slice(3))?.option.type === 'boolean';
    const known = byFlag.get(negated ? name.slice(3) : name);
    if (!known) {
      const [near] = rawName.startsWith('--') ? nearestNames(name, [...byFlag.keys(), 'help']) : [];
      fail(`unknown flag ${rawName}${near ? `; did you mean --${near}?` : ''}`);
    } else if (known.option.type === 'boolean') {
      values[known.key] = negated !== readBoolean(rawName, value, fail);
    } else if (value === undefined || (!inlineValue && /^-(?![\d.])/.test(value))) {
      // parseArgs also takes a following flag as the value; only a negative number may begin with a dash.
      fail(`${rawName} needs a value: ${rawName} ${metavar(known.option)}`);
    } else {
      const read = readValue(rawName, value, known.option, fail);
      const list = values[known.key];
      values[known.key] = Array.isArray(list) ? [...(list as readonly string[]), String(read)] : read;
    }
  }
  for (const [flag, { key, option }] of byFlag) {
    if (option.required && values[key] === undefined) fail(`--${flag} is required: --${flag} ${metavar(option)}`);
  }
  checkPositionals(command.positionals, positionals, fail);
  // Every key was filled from its own spec above; the mapped type says so, the loop cannot.
  return { values: values as Parsed<O>['values'], positionals };
}

/** For scripts whose result is what they print: ends the process, with code 0, when nobody reads it. */
export function endWithReader(): void {
  process.stdout.on('error', () => process.exit(0));
}

/**
 * Runs a script's body, on the best driver: without a GPU this starts the process again, so that a script
 * does nothing before; `device: false` for those that need none. UsageError: its line, exit code 2. Other
 * deliberate errors (Error and subclasses of it, failures of the file system): their one line, exit code 1.
 * Bugs (JavaScript's own TypeError, RangeError, ...), and everything under TAPEFORM_DEBUG: the stack, exit
 * code 1. What nobody reads any more (`| head`) is dropped, and the work goes on to its end.
 */
export function main(run: () => void | Promise<void>, { device = true }: { readonly device?: boolean } = {}): void {
  dropUnread(process.stdout);
  dropUnread(process.stderr);
  printSafely();
  void (async () => {
    let turns: typeof Turns | undefined;
    try {
      checkEnvironment(process.env);
      if (device) await ensureVulkanDriver();
      // Of several processes that `launch` started, one leads.
      if (device && Number(process.env['WORLD_SIZE']) > 1) turns = await import('./turns.ts');
      await turns?.takeTurns();
      await run();
      await turns?.endTurns();
    } catch (error) {
      if (error instanceof HelpRequest) {
        await turns?.endTurns();
        process.stdout.write(`${error.message}\n`, () => process.exit(0));
      } else {
        process.stderr.write(`${describeError(error)}\n`, () => process.exit(exitCodeOf(error)));
      }
    }
  })();
}

/**
 * From here on, controls in what the process prints are spelt out: labels, texts and names of files, of which
 * nearly every line tells, cannot steer the terminal. Lines stay lines.
 */
function printSafely(): void {
  for (const name of ['log', 'error', 'warn'] as const) {
    const print = console[name].bind(console);
    console[name] = (...values: unknown[]) => print('%s', printableLines(format(...values)));
  }
}

/** An error may bring its own exit code, as Interrupted does. */
function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return 2;
  return error instanceof Error && 'exitCode' in error && typeof error.exitCode === 'number' ? error.exitCode : 1;
}

/** Describes an error as `main` prints it: one line where it was thrown on purpose, else the stack. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return printable(String(error));
  const debug = !['', '0'].includes(process.env['TAPEFORM_DEBUG'] ?? '');
  if (debug || !isDeliberate(error)) return printableLines(error.stack ?? error.message);
  const [first = '', ...more] = error.message.trim().split('\n').map(printable);
  return more.length > 0 ? `${first} (TAPEFORM_DEBUG=1 shows ${more.length} more lines)` : first;
}

function isDeliberate(error: Error): boolean {
  if ('syscall' in error) return true;
  if ('code' in error && typeof error.code === 'string' && error.code.startsWith('ERR_')) return false;
  const bugs = [TypeError, RangeError, ReferenceError, SyntaxError, EvalError, URIError];
  return !bugs.some((kind) => error instanceof kind);
}

/**
 * How a script is started here, `usage` being how in the clone: in the package by the command `tapeform`.
 */
export function startedBy(usage: string): string {
  return import.meta.url.endsWith('.ts') ? usage : usage.replace(/^.*train\/([\w-]+)\.[tj]s/, 'npx tapeform $1');
}

/** The page that --help prints. */
export function usagePage(command: Command<Record<string, Option>>): string {
  const { name, summary, options, positionals } = command;
  const usage = startedBy(command.usage ?? name);
  const arity = !positionals ? '' : ` ${(positionals.min ?? 0) > 0 ? positionals.name : `[${positionals.name}]`}`;
  const more = positionals && (positionals.max ?? Infinity) > 1 ? '...' : '';
  const rows = Object.entries<Option>(options).map(([key, option]): [string, string] => {
    const flag = option.type === 'boolean' && option.default === true ? `[no-]${flagOf(key)}` : flagOf(key);
    const value = option.type === 'boolean' ? '' : ` ${metavar(option)}`;
    return [`${option.short ? `-${option.short}, ` : '    '}--${flag}${value}`, `${option.help}${facts(option)}`];
  });
  if (command.presets) {
    rows.push(['    --preset NAME', `values for many options (one of ${Object.keys(command.presets).join(', ')})`]);
    rows.push([
      '    --config PATH',
      'JSON file of options, { "batchSize": 12 }; they win over the preset, flags over both',
    ]);
  }
  rows.push(['-h, --help', 'print this page']);
  const width = Math.max(...rows.map(([left]) => left.length), positionals ? positionals.name.length : 0);
  const table = (lines: readonly (readonly [string, string])[]): string[] =>
    lines.map(([left, right]) => `  ${left.padEnd(width)}  ${wrap(right, 100 - width - 4, width + 4)}`);
  return [
    `${name}: ${summary}`,
    '',
    `Usage: ${usage} [options]${arity}${more}`,
    ...(positionals ? ['', ...table([[positionals.name, positionals.help]])] : []),
    '',
    'Options:',
    ...table(rows),
  ].join('\n');
}

type Fail = (problem: string) => never;

/**
 * The command line with what preset and file say put before it, so that it is checked as if it had been
 * typed.
 */
function withPresets(
  presets: NonNullable<Command<Record<string, Option>>['presets']>,
  argv: readonly string[],
  fail: Fail,
): string[] {
  const rest: string[] = [];
  const found = { preset: [] as string[], config: [] as string[] };
  for (let i = 0; i < argv.length; i++) {
    const [, name, inline] = /^--(preset|config)(?:=(.*))?$/s.exec(argv[i]!) ?? [];
    if (argv[i] === '--') {
      rest.push(...argv.slice(i));
      break;
    }
    if (name !== 'preset' && name !== 'config') rest.push(argv[i]!);
    else found[name].push(inline ?? argv[++i] ?? fail(`--${name} needs a value`));
  }
  const preset = (name: string): string[] =>
    flagsOf(
      Object.hasOwn(presets, name)
        ? presets[name]!
        : fail(`--preset must be one of ${Object.keys(presets).join(', ')}, got "${name}"`),
    );
  return [...found.preset.flatMap(preset), ...found.config.flatMap((path) => flagsOf(readConfig(path, fail))), ...rest];
}

function readConfig(path: string, fail: Fail): Readonly<Record<string, unknown>> {
  checkPath('--config', path, 'file', fail);
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch (error) {
    fail(`--config: ${path} is not valid JSON (${firstLine(error)})`);
  }
  return fail(`--config: ${path} must hold one object of options`);
}

/** { batchSize: 12, resume: true } as --batch-size=12 --resume. */
function flagsOf(values: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(values).flatMap(([key, value]) =>
    (Array.isArray(value) ? value : [value]).map((each: unknown) =>
      each === true ? `--${flagOf(key)}` : each === false ? `--no-${flagOf(key)}` : `--${flagOf(key)}=${String(each)}`,
    ),
  );
}

function readBoolean(flag: string, value: string | undefined, fail: Fail): boolean {
  if (value === undefined || value === 'true') return true;
  return value === 'false' ? false : fail(`${flag} is a switch: write ${flag} or ${flag}=false, not ${flag}=${value}`);
}

function readValue(
  flag: string,
  text: string,
  option: Exclude<Option, { type: 'boolean' }>,
  fail: Fail,
): string | number {
  if (option.type === 'number' || option.type === 'int') {
    const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : NaN;
    if (!Number.isFinite(value)) fail(`${flag} must be a number, got "${text}"`);
    if (option.type === 'int' && !Number.isSafeInteger(value)) fail(`${flag} must be a whole number, got ${text}`);
    const { min = -Infinity, max = Infinity } = option;
    if (value < min || value > max) fail(`${flag} must be ${range(min, max)}, got ${text}`);
    return value;
  }
  if (text === '') fail(`${flag} needs a value, got an empty string`);
  if (option.type === 'choice' && !option.choices.includes(text)) {
    fail(`${flag} must be one of ${option.choices.join(', ')}, got "${text}"`);
  }
  if (option.type === 'path' && option.exists) checkPath(flag, text, option.exists, fail);
  return text;
}

function checkPath(flag: string, path: string, kind: 'file' | 'folder' | 'any', fail: Fail): void {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) return fail(`${flag}: there is no ${kind === 'any' ? 'file or folder' : kind} ${path}`);
  if (kind === 'file' && stat.isDirectory()) fail(`${flag}: ${path} is a folder, a file is needed`);
  if (kind === 'folder' && !stat.isDirectory()) fail(`${flag}: ${path} is a file, a folder is needed`);
}

function checkPositionals(spec: Positionals | undefined, given: readonly string[], fail: Fail): void {
  const { name = '', min = 0, max = spec ? Infinity : 0 } = spec ?? {};
  if (given.length < min) fail(`${name} is missing`);
  if (given.length > max) fail(`unexpected argument "${given[max]}"`);
}

export function flagOf(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function metavar(option: Option): string {
  const names = {
    string: 'TEXT',
    list: 'TEXT',
    path: 'PATH',
    number: 'NUMBER',
    int: 'INT',
    choice: 'NAME',
    boolean: '',
  };
  return names[option.type];
}

function range(min: number, max: number): string {
  if (max === Infinity) return `${min} or more`;
  return min === -Infinity ? `${max} or less` : `from ${min} to ${max}`;
}

/** Choices, range and default, as appended to the help of an option. */
function facts(option: Option): string {
  const list: string[] = [];
  if (option.type === 'choice') list.push(`one of ${option.choices.join(', ')}`);
  if ((option.type === 'number' || option.type === 'int') && (option.min ?? option.max) !== undefined) {
    list.push(range(option.min ?? -Infinity, option.max ?? Infinity));
  }
  if (option.required) list.push('required');
  if (option.default !== undefined && option.default !== false) list.push(`default ${option.default}`);
  return list.length > 0 ? ` (${list.join('; ')})` : '';
}

function wrap(text: string, width: number, indent: number): string {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines.join(`\n${' '.repeat(indent)}`);
}
