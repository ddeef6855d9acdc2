/** Notebooks as Jupyter has them (nbformat 4), and as scripts whose cells begin with `// %%`. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { writeFileAtomic } from '../../common/atomic-files.ts';
import { readError } from '../../common/json-file.ts';
import { firstLine } from '../../common/printable.ts';

/** Texts by type: what an output shows, of which a viewer takes the best that it can. */
export type MimeBundle = Readonly<Record<string, unknown>>;

/** What a cell has shown. */
export type Output =
  | { readonly output_type: 'stream'; readonly name: 'stdout' | 'stderr'; readonly text: string }
  | { readonly output_type: 'display_data'; readonly data: MimeBundle; readonly metadata: object }
  | {
      readonly output_type: 'execute_result';
      readonly data: MimeBundle;
      readonly metadata: object;
      readonly execution_count: number;
    }
  | {
      readonly output_type: 'error';
      readonly ename: string;
      readonly evalue: string;
      readonly traceback: readonly string[];
    };

export interface CodeCell {
  readonly kind: 'code';
  readonly source: string;
  readonly outputs: readonly Output[];
  readonly executionCount: number | null;
  /** All of the cell as the file has it: ids and metadata are kept. */
  readonly raw: Readonly<Record<string, unknown>>;
}

export interface TextCell {
  readonly kind: 'markdown' | 'raw';
  readonly source: string;
  readonly raw: Readonly<Record<string, unknown>>;
}

export type Cell = CodeCell | TextCell;

export interface Notebook {
  readonly cells: readonly Cell[];
  /** The file's fields beside `cells`. */
  readonly raw: Readonly<Record<string, unknown>>;
}

/** Texts may be lists of their lines. */
const text = z.union([z.string(), z.array(z.string()).transform((lines) => lines.join(''))]);
const fields = z.record(z.string(), z.unknown());
const outputs = z.array(
  z.discriminatedUnion('output_type', [
    z.looseObject({ output_type: z.literal('stream'), name: z.enum(['stdout', 'stderr']), text }),
    z.looseObject({ output_type: z.literal('display_data'), data: fields, metadata: fields.default({}) }),
    z.looseObject({
      output_type: z.literal('execute_result'),
      data: fields,
      metadata: fields.default({}),
      execution_count: z.int().default(0),
    }),
    z.looseObject({
      output_type: z.literal('error'),
      ename: z.string(),
      evalue: z.string(),
      traceback: z.array(z.string()),
    }),
  ]),
);
const file = z.looseObject({
  nbformat: z.literal(4, 'has another nbformat than 4; open it in Jupyter once, which writes 4'),
  cells: z.array(
    z.discriminatedUnion('cell_type', [
      z.looseObject({ cell_type: z.enum(['markdown', 'raw']), source: text }),
      z.looseObject({
        cell_type: z.literal('code'),
        source: text,
        outputs,
        execution_count: z.int().nullable().default(null),
      }),
    ]),
  ),
});

/** What a new notebook says of itself: Jupyter's TypeScript kernel is Deno's. */
const newNotebook = {
  metadata: {
    kernelspec: { display_name: 'Deno', language: 'typescript', name: 'deno' },
    language_info: { file_extension: '.ts', mimetype: 'text/x.typescript', name: 'typescript' },
  },
  nbformat: 4,
  nbformat_minor: 5,
};

/** Reads what a file says. Error, one line: it is no notebook, with the first thing that is wrong. */
export function parseNotebook(json: string, name: string): Notebook {
  let given: unknown;
  try {
    given = JSON.parse(json);
  } catch (error) {
    throw new Error(`${name}: is no notebook: ${firstLine(error)}`);
  }
  const { data, error } = file.safeParse(given);
  if (error) {
    const [{ path, message }] = error.issues as [z.core.$ZodIssue];
    throw new Error(`${name}: is no notebook: ${path.length > 0 ? `${path.join('.')}: ` : ''}${message}`);
  }
  const { cells, ...raw } = data;
  return {
    raw,
    cells: cells.map((cell) =>
      cell.cell_type === 'code'
        ? {
            ...{ kind: 'code', source: cell.source, executionCount: cell.execution_count, raw: cell },
            outputs: cell.outputs as Output[],
          }
        : { kind: cell.cell_type, source: cell.source, raw: cell },
    ),
  };
}

/** A notebook, or a script whose name ends in .ts. */
export async function readNotebook(path: string): Promise<Notebook> {
  const content = await readFile(path, 'utf8').catch((error: unknown) => {
    throw readError(path, error);
  });
  return path.endsWith('.ts') ? notebookOf(content) : parseNotebook(content, path);
}

/** Jupyter keeps texts as lists of their lines, so that a changed line is one line of a diff. */
const linesOf = (source: string): string[] => source.split(/(?<=\n)/).filter((line) => line !== '');

const bundleLines = (bundle: MimeBundle): MimeBundle =>
  Object.fromEntries(
    Object.entries(bundle).map(([type, value]) => [type, typeof value === 'string' ? linesOf(value) : value]),
  );

function outputJson(output: Output): unknown {
  if (output.output_type === 'stream') return { ...output, text: linesOf(output.text) };
  return 'data' in output ? { ...output, data: bundleLines(output.data) } : output;
}

/** The file's text, with the spaces and the order of keys that Jupyter writes. */
export function notebookJson({ cells, raw }: Notebook): string {
  const all = cells.map((cell) => {
    const source = linesOf(cell.source);
    if (cell.kind !== 'code') return { ...cell.raw, source };
    return { ...cell.raw, source, outputs: cell.outputs.map(outputJson), execution_count: cell.executionCount };
  });
  return `${JSON.stringify(sorted({ ...raw, cells: all }), null, 1)}\n`;
}

export const writeNotebook = (path: string, notebook: Notebook): Promise<void> =>
  writeFileAtomic(path, notebookJson(notebook));

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, own]) => [key, sorted(own)]));
}

/** A line that begins a cell of a script, as editors know it. */
const mark = /^\/\/ %%(?: \[(markdown|raw)\])?[ \t]*$/;

/**
 * The cells of a script, with no outputs. What stands before its first mark is a cell, too, if it is not
 * empty.
 */
export function notebookOf(script: string): Notebook {
  const parts: { kind: Cell['kind']; lines: string[] }[] = [{ kind: 'code', lines: [] }];
  for (const line of script.replace(/\r\n/g, '\n').split('\n')) {
    const match = mark.exec(line);
    if (match) parts.push({ kind: (match[1] as 'markdown' | 'raw' | undefined) ?? 'code', lines: [] });
    else parts.at(-1)!.lines.push(line);
  }
  if (parts[0]!.lines.join('').trim() === '') parts.shift();
  const cells = parts.map(({ kind, lines }, i): Cell => {
    const own = kind === 'code' ? lines : lines.map((line) => line.replace(/^\/\/ ?/, ''));
    const source = own.join('\n').replace(/^\n+|\s+$/g, '');
    const raw = { cell_type: kind, id: `cell-${i + 1}`, metadata: {} };
    return kind === 'code' ? { kind, source, outputs: [], executionCount: null, raw } : { kind, source, raw };
  });
  return { cells, raw: newNotebook };
}

/** A notebook as a script, which `notebookOf` reads back: outputs, ids and metadata are left out. */
export function scriptOf({ cells }: Notebook): string {
  const parts = cells.map(({ kind, source }, i) => {
    const lines = source.replace(/\s+$/, '').split('\n');
    const odd = lines.find((line) => kind === 'code' && mark.test(line));
    if (odd !== undefined) throw new Error(`cell ${i + 1}: its line "${odd}" would begin another cell; change it`);
    if (kind === 'code') return ['// %%', ...lines].join('\n');
    return [`// %% [${kind}]`, ...lines.map((line) => (line === '' ? '//' : `// ${line}`))].join('\n');
  });
  return `${parts.join('\n\n')}\n`;
}
