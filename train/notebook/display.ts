/** What shows itself in a notebook: in Deno's kernel, and where `notebook run` executes it. */
import { escapeHtml } from '../../common/markup.ts';
import { alignTable } from '../../common/text-table.ts';
import { curvesSvg } from '../report/plot.ts';
import type { Panel } from '../report/panel.ts';
import type { MimeBundle } from './format.ts';

/** The name of the method by which Jupyter's kernels ask a value for what it looks like. */
export const showsAs = Symbol.for('Jupyter.display');

/** A value that a cell may end in, or that `display` takes. */
export interface Shown {
  [showsAs](): MimeBundle | Promise<MimeBundle>;
}

const shown = (bundle: MimeBundle): Shown => ({ [showsAs]: () => bundle });

/** Where `display` puts things while a notebook is executed here. */
const slot = Symbol.for('tapeform.display');
type Slot = ((bundle: MimeBundle) => void) | undefined;

/** Sends what is displayed from now on to `take`; the returned function takes that back. */
export function onDisplay(take: (bundle: MimeBundle) => void): () => void {
  const place = globalThis as { [slot]?: Slot };
  place[slot] = take;
  return () => void (place[slot] = undefined);
}

/**
 * Shows a value in the midst of a cell: a plot, a table, a tensor. Outside of notebooks its text is printed.
 *
 * @example
 * await display(table(['a', 'b'], [[1, 2]]));
 */
export async function display(value: Shown): Promise<void> {
  const bundle = await value[showsAs]();
  const { [slot]: take, Deno } = globalThis as {
    [slot]?: Slot;
    Deno?: { jupyter?: { broadcast(type: string, content: object): Promise<void> } };
  };
  if (take) take(bundle);
  else if (Deno?.jupyter) await Deno.jupyter.broadcast('display_data', { data: bundle, metadata: {}, transient: {} });
  else console.log(String(bundle['text/plain'] ?? ''));
}

/**
 * Curves, one panel or several side by side.
 *
 * @example
 * await display(plot({ title: 'loss', series: [{ name: 'train', points: [[0, 2], [1, 1]] }] }));
 */
export function plot(panels: Panel | readonly Panel[]): Shown {
  const list: readonly Panel[] = 'series' in panels ? [panels] : panels;
  return shown({
    'image/svg+xml': curvesSvg(panels),
    'text/plain': list.map(({ title, series }) => `${title}: ${series.map(({ name }) => name).join(', ')}`).join('\n'),
  });
}

/**
 * A table; columns of numbers are aligned to the right.
 *
 * @example
 * await display(table(['model', 'accuracy'], [['small', 0.91], ['base', 0.94]]));
 */
export function table(header: readonly string[], rows: readonly (readonly (string | number)[])[]): Shown {
  const numbers = new Set(
    header.flatMap((_, i) => (rows.length > 0 && rows.every((row) => Number.isFinite(Number(row[i]))) ? [i] : [])),
  );
  const cell = (tag: 'th' | 'td', value: string | number, i: number): string =>
    `<${tag} style="text-align:${numbers.has(i) ? 'right' : 'left'}">${escapeHtml(String(value))}</${tag}>`;
  const line = (tag: 'th' | 'td', values: readonly (string | number)[]): string =>
    `<tr>${values.map((value, i) => cell(tag, value, i)).join('')}</tr>`;
  return shown({
    'text/html':
      `<table><thead>${line('th', header)}</thead>` +
      `<tbody>${rows.map((row) => line('td', row)).join('')}</tbody></table>`,
    'text/plain': alignTable(
      header,
      rows.map((row) => row.map(String)),
      numbers,
    ),
  });
}

export interface HeatmapOptions {
  readonly title?: string;
  /** Names of the rows and of the columns, such as tokens. */
  readonly rows?: readonly string[];
  readonly columns?: readonly string[];
}

/**
 * A matrix as a picture, such as the attention of a head: the highest value is darkest, each has its number.
 *
 * @example
 * await display(heatmap([[0.1, 0.9], [0.5, 0.5]], { rows: ['a', 'b'] }));
 */
export function heatmap(values: readonly (readonly number[])[], options: HeatmapOptions = {}): Shown {
  return shown({
    'image/svg+xml': heatmapSvg(values, options),
    'text/plain': values.map((row) => row.map((value) => value.toFixed(2).padStart(6)).join(' ')).join('\n'),
  });
}

/**
 * The picture of `heatmap` as SVG, for a file.
 *
 * @example
 * heatmapSvg([[0.1, 0.9], [0.5, 0.5]]).startsWith('<svg'); // true
 */
export function heatmapSvg(values: readonly (readonly number[])[], options: HeatmapOptions = {}): string {
  const { title = 'heatmap', rows = [], columns = [] } = options;
  const width = Math.max(0, ...values.map(({ length }) => length));
  const highest = Math.max(...values.flat().map(Math.abs), Number.MIN_VALUE);
  const [size, left, top] = [28, 8 + 7 * Math.max(0, ...rows.map(({ length }) => length)), 24];
  const foot = 12 + 6 * Math.max(0, ...columns.map(({ length }) => length));
  const label = (x: number, y: number, text: string, more: string): string =>
    `<text x="${x}" y="${y}" ${more}>${escapeHtml(text)}</text>`;
  const cells = values.flatMap((row, i) =>
    row.map((value, j) => {
      const share = Math.abs(value) / highest;
      const at = `x="${left + j * size}" y="${top + i * size}"`;
      const colour = value < 0 ? '#b35806' : '#0b4f8a';
      const name = `${rows[i] ?? i}, ${columns[j] ?? j}: ${value.toPrecision(3)}`;
      const box = `${at} width="${size - 1}" height="${size - 1}" fill="${colour}" fill-opacity="${share.toFixed(3)}"`;
      return `<rect ${box}><title>${escapeHtml(name)}</title></rect>`;
    }),
  );
  const right = 'text-anchor="end" dominant-baseline="middle"';
  const w = Math.max(left + width * size, 8 + 7.5 * title.length) + 8; // 7.5: a bold letter of 12 px
  const h = top + values.length * size + foot;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}" viewBox="0 0 ${w} ${h}" role="img"`,
    ` font-family="system-ui, sans-serif" font-size="12" fill="#24292f">`,
    `<title>${escapeHtml(title)}</title><rect width="${w}" height="${h}" fill="#fff"/>`,
    label(8, 15, title, 'font-weight="600"'),
    ...rows.map((name, i) => label(left - 4, top + (i + 0.5) * size, name, right)),
    ...columns.map((name, j) => {
      const [x, y] = [left + (j + 0.5) * size, top + values.length * size + 8];
      return label(x, y, name, `text-anchor="end" transform="rotate(-60 ${x} ${y})"`);
    }),
    ...cells,
    '</svg>',
  ].join('');
}
