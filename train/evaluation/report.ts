import { alignTable } from '../../common/text-table.ts';
import type { EvaluationResults, Figures } from './evaluate.ts';

/** The tables that lm-evaluation-harness prints: of tasks under their groups, and of groups with figures. */
export function resultTables(results: EvaluationResults): string {
  const tables = [table(results, 'Tasks', results.results)];
  if (results.groups) tables.push(table(results, 'Groups', results.groups));
  return tables.join('\n\n');
}

function table(results: EvaluationResults, title: string, shown: Readonly<Record<string, Figures>>): string {
  const keysOf = (figures: Figures): string[] =>
    Object.keys(figures).filter((key) => key.includes(',') && !key.includes('_stderr,'));
  const isFiltered = Object.values(shown).some((figures) => keysOf(figures).some((key) => !key.endsWith(',none')));
  const header = [title, 'Version', 'n-shot', ...(isFiltered ? ['Filter'] : []), 'Metric', '', 'Value', '', 'Stderr'];
  const rows = ordered(results.group_subtasks, Object.keys(shown)).flatMap(([name, depth]) => {
    const { alias, ...figures } = shown[name]!;
    const label = depth > 0 ? `${' '.repeat(depth)}- ${alias}` : String(alias);
    const lines = keysOf(figures).map((key): string[] => {
      const [metric, filter] = key.split(',') as [string, string];
      const better = results.higher_is_better[name]?.[metric];
      return [
        ...(isFiltered ? [filter] : []),
        metric,
        better === undefined ? '' : better ? '↑' : '↓',
        ...figure(figures[key], figures[`${metric}_stderr,${filter}`]),
      ];
    });
    const own = [String(results.versions[name] ?? 'N/A'), String(results['n-shot'][name] ?? '')];
    if (lines.length === 0) return [[label, ...own, ...header.slice(3).map(() => '')]];
    return lines.map((line, i) => [...(i === 0 ? [label, own[0]!] : ['', '']), own[1]!, ...line]);
  });
  return alignTable(header, rows, new Set([1, 2, header.indexOf('Value'), header.length - 1]));
}

function figure(value: number | string | undefined, stderr: number | string | undefined): string[] {
  const show = (number: number | string | undefined): string =>
    typeof number === 'number' ? number.toFixed(4) : String(number ?? 'N/A');
  return [show(value), '±', show(stderr)];
}

/** Names with how deep they are in groups: groups first, what is in them by name; then those in none. */
function ordered(groups: Readonly<Record<string, readonly string[]>>, names: readonly string[]): [string, number][] {
  const depths = new Map<string, number>();
  const visit = (name: string, depth: number): void => {
    if (!depths.has(name)) depths.set(name, depth);
    for (const child of [...(groups[name] ?? [])].sort()) visit(child, depth + 1);
  };
  const inside = new Set(Object.values(groups).flat());
  for (const name of Object.keys(groups).sort()) if (!inside.has(name)) visit(name, 0);
  for (const name of [...names].sort()) if (!depths.has(name)) visit(name, 0);
  return [...depths].filter(([name]) => names.includes(name));
}
