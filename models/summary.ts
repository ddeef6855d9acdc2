import { showShape } from './names.ts';

/** What a summary shows of a module. */
export interface ModuleOutline {
  /** Class and settings, such as `Linear(384, 1536)`. */
  readonly title: string;
  /** Own tensors: name, shape, and whether it was listed before (tied). */
  readonly tensors: readonly { readonly name: string; readonly shape: readonly number[]; readonly tied: boolean }[];
  /** Parameters here and below, each counted once. */
  readonly count: number;
  readonly children: readonly (readonly [name: string, outline: ModuleOutline])[];
}

interface Row {
  readonly label: string;
  readonly tensors: string;
  readonly count: string;
}

/**
 * A module as an indented tree: name, class, shapes of its own tensors, number of parameters, in aligned
 * columns. A run of equal children, such as the layers of a Transformer, is shown once.
 */
export function summarise(outline: ModuleOutline): string {
  const rows = rowsOf('', outline, 0);
  const width = (pick: (row: Row) => string): number => Math.max(...rows.map((row) => pick(row).length));
  const [labels, tensors, counts] = [width((row) => row.label), width((row) => row.tensors), width((row) => row.count)];
  return rows
    .map((row) =>
      `${row.label.padEnd(labels)}  ${row.tensors.padEnd(tensors)}  ${row.count.padStart(counts)}`.trimEnd(),
    )
    .join('\n');
}

function rowsOf(name: string, { title, tensors, count, children }: ModuleOutline, depth: number): Row[] {
  const shapes = tensors.map((t) => `${t.name} ${showShape(t.shape)}${t.tied ? ' (tied)' : ''}`).join(', ');
  const own = {
    label: `${'  '.repeat(depth)}${name === '' ? '' : `${name}: `}${title}`,
    tensors: shapes,
    count: count.toLocaleString('en-US'),
  };
  return [own, ...groups(children).flatMap(([label, child]) => rowsOf(label, child, depth + 1))];
}

function groups(children: ModuleOutline['children']): [string, ModuleOutline][] {
  const result: [string, ModuleOutline][] = [];
  for (let start = 0; start < children.length;) {
    const [name, first] = children[start]!;
    const key = JSON.stringify(first);
    let end = start + 1;
    while (end < children.length && JSON.stringify(children[end]![1]) === key) end++;
    const times = end - start;
    // Only numbered children are alike by design; two equal layers with names of their own are shown each.
    const numbered = times > 1 && /^\d+$/.test(name.split('.').at(-1)!);
    if (numbered)
      result.push([
        `${name}-${children[end - 1]![0].split('.').at(-1)!}`,
        { ...first, title: `${times} x ${first.title}, each` },
      ]);
    else for (const child of children.slice(start, end)) result.push([child[0], child[1]]);
    start = end;
  }
  return result;
}
