/** Executes the cells of a notebook in this process, and keeps what each has shown. */
import { createRequire, SourceMap } from 'node:module';
import { isAbsolute, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { runInThisContext } from 'node:vm';
import { compileCell, loadTypeScript } from './cell.ts';
import type { CompiledCell } from './cell.ts';
import { onDisplay, showsAs } from './display.ts';
import type { Shown } from './display.ts';
import type { Cell, MimeBundle, Notebook, Output } from './format.ts';

export interface RunOptions {
  /** Where its imports are looked for: the notebook's folder. */
  readonly folder: string;
  /** Called before each cell of code; they count from 1. */
  readonly onCell?: (number: number, of: number) => void;
  /** Goes on behind a cell that failed. */
  readonly keepGoing?: boolean;
}

/** A notebook with its outputs, and the cells of code that failed, counted from 1. */
export interface ExecutedNotebook {
  readonly notebook: Notebook;
  readonly failed: readonly { readonly cell: number; readonly message: string }[];
}

/**
 * Runs the cells of code one after the other, as Deno's kernel does: variables, functions and imports of a
 * cell are there for those after it, `await` needs no function, and what the last line computes is shown. A
 * cell that fails keeps its error as its last output, and ends the run.
 */
export async function runNotebook(notebook: Notebook, options: RunOptions): Promise<ExecutedNotebook> {
  const compiler = await loadTypeScript();
  const { scope, declare } = makeScope();
  const load = importer(options.folder);
  const failed: { readonly cell: number; readonly message: string }[] = [];
  const of = notebook.cells.filter(({ kind }) => kind === 'code').length;
  const maps: SourceMaps = new Map();
  const cells: Cell[] = [];
  let number = 0;
  for (const cell of notebook.cells) {
    if (cell.kind !== 'code' || (failed.length > 0 && !options.keepGoing)) {
      cells.push(cell.kind === 'code' ? { ...cell, outputs: [], executionCount: null } : cell);
      continue;
    }
    const count = ++number;
    options.onCell?.(count, of);
    const { outputs, failure } = await capture(count, maps, async () => {
      const compiled = compileCell(compiler, cell.source);
      declare(compiled.names);
      maps.set(`cell ${count}`, compiled.sourceMap);
      return execute(compiled, `cell ${count}`, scope, load);
    });
    cells.push({ ...cell, outputs, executionCount: count });
    if (failure !== undefined) failed.push({ cell: count, message: failure });
  }
  return { notebook: { ...notebook, cells }, failed };
}

/** The source map of each cell that was run, by `cell 3`. */
type SourceMaps = Map<string, string>;

type Load = (specifier: string) => Promise<unknown>;
type Body = (scope: object, load: Load) => () => Promise<unknown>;

function execute({ code }: CompiledCell, filename: string, scope: object, load: Load): Promise<unknown> {
  const wrapped = `(function ($scope, $import) { let $cell; with ($scope) {${code}\n} return $cell; })`;
  return (runInThisContext(wrapped, { filename }) as Body)(scope, load)();
}

/** The variables of a notebook, which win over JavaScript's globals of the same names. */
function makeScope() {
  const values = new Map<string | symbol, unknown>();
  const scope = new Proxy(Object.create(null) as object, {
    has: (_, name) => values.has(name),
    get: (_, name) => values.get(name), // `with` asks for Symbol.unscopables, too
    set: (_, name, value) => Boolean(values.set(name, value)),
  });
  const declare = (names: readonly string[]): void => {
    for (const name of names) if (!values.has(name)) values.set(name, undefined);
  };
  return { scope, declare };
}

/** Imports as a file in that folder does. */
function importer(folder: string): Load {
  const require = createRequire(resolve(folder, 'notebook.js'));
  return (specifier) => {
    if (/^\.{1,2}\//.test(specifier) || isAbsolute(specifier))
      return import(pathToFileURL(resolve(folder, specifier)).href);
    if (/^[a-z]+:/.test(specifier)) return import(specifier);
    let found: string;
    try {
      found = require.resolve(specifier);
    } catch {
      return import(specifier); // by what this package knows, or Node's own error
    }
    return import(isAbsolute(found) ? pathToFileURL(found).href : found);
  };
}

/** The lines of a notebook's cells in an error's stack, as they were written. */
function placesOf(stack: string, maps: SourceMaps): string[] {
  return [...stack.matchAll(/(cell \d+):(\d+):(\d+)/g)].flatMap(([, cell, line, column]) => {
    const json = maps.get(cell!);
    if (json === undefined) return [];
    const map = new SourceMap(JSON.parse(json) as ConstructorParameters<typeof SourceMap>[0]);
    const entry = map.findEntry(Number(line) - 1, Number(column) - 1);
    return 'originalLine' in entry ? [`    at ${cell}, line ${entry.originalLine + 1}`] : [];
  });
}

/** Runs a cell, with what it prints and displays, its value, or its error. */
async function capture(
  count: number,
  maps: SourceMaps,
  run: () => Promise<unknown>,
): Promise<{ readonly outputs: Output[]; readonly failure: string | undefined }> {
  const outputs: Output[] = [];
  const take = (name: 'stdout' | 'stderr', text: string): void => {
    const last = outputs.at(-1);
    if (last?.output_type === 'stream' && last.name === name)
      outputs[outputs.length - 1] = { ...last, text: last.text + text };
    else outputs.push({ output_type: 'stream', name, text });
  };
  const undo = [
    ...(['stdout', 'stderr'] as const).map((name) => redirect(name, (text) => take(name, text))),
    onDisplay((data) => void outputs.push({ output_type: 'display_data', data, metadata: {} })),
  ];
  let failure: string | undefined;
  try {
    const value = await run();
    if (value !== undefined) {
      const data = await bundleOf(value);
      outputs.push({ output_type: 'execute_result', data, metadata: {}, execution_count: count });
    }
  } catch (error) {
    const known = error instanceof Error ? error : new Error(String(error));
    failure = `${known.name}: ${known.message}`;
    const traceback = [failure, ...placesOf(known.stack ?? '', maps)];
    outputs.push({ output_type: 'error', ename: known.name, evalue: known.message, traceback });
  } finally {
    for (const each of undo) each();
  }
  return { outputs, failure };
}

function redirect(name: 'stdout' | 'stderr', take: (text: string) => void): () => void {
  const stream = process[name];
  const write = stream.write;
  const taking = (chunk: string | Uint8Array, encoding?: unknown, done?: unknown): boolean => {
    take(typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8'));
    const called = typeof encoding === 'function' ? encoding : done;
    if (typeof called === 'function') process.nextTick(called as () => void);
    return true;
  };
  stream.write = taking as typeof write;
  return () => void (stream.write = write);
}

async function bundleOf(value: unknown): Promise<MimeBundle> {
  if (isShown(value)) return value[showsAs]();
  return { 'text/plain': inspect(value, { depth: 3, maxArrayLength: 20 }) };
}

const isShown = (value: unknown): value is Shown =>
  (typeof value === 'object' || typeof value === 'function') &&
  value !== null &&
  typeof (value as Partial<Shown>)[showsAs] === 'function';
