import { escapeHtml } from '../../common/markup.ts';
import { htmlPage } from '../report/html-page.ts';
import { tableHtml } from '../report/page.ts';
import { mapScript, mapStyle } from './map-script.ts';

/** A matrix with names, as a page shows it. */
export interface NamedMap {
  readonly title: string;
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  /** Row-major; NaN where there is none. */
  readonly values: ArrayLike<number>;
  /** The value of the strongest colour; default the largest there is. */
  readonly scale?: number;
  /** What stands in each cell beside the value, such as a token. */
  readonly words?: readonly string[];
  /** Without words: each cell shows its value, with so many digits. */
  readonly digits?: number;
  /** A line below the title. */
  readonly note?: string;
}

/**
 * Maps of numbers, such as scores by layer and head, as one HTML file that needs no other and no network:
 * blue above 0, orange below, with the values under the pointer, by the arrow keys, and in tables. `end` is
 * HTML that stands below them.
 *
 * @example
 * const map = { title: 'scores', rows: ['0', '1'], columns: ['a', 'b'], values: [0.1, 0.9, -0.4, 0.2] };
 * await saveFiles([{ path: 'map.html', data: heatMapPage([map], 'Heads') }]);
 */
export function heatMapPage(maps: readonly NamedMap[], title: string, end = ''): string {
  const wrong = maps.find(({ rows, columns, values }) => values.length !== rows.length * columns.length);
  if (wrong)
    throw new Error(
      `heatMapPage: "${wrong.title}" has ${wrong.values.length} values for ${wrong.rows.length} rows and ` +
        `${wrong.columns.length} columns`,
    );
  const body = maps
    .map(({ title: name, note, rows, columns, values, words, scale }, m) => {
      const cell = (i: number, j: number): string => {
        const at = i * columns.length + j;
        return `${words ? `${words[at]!} ` : ''}${shown(Number(values[at]))}`;
      };
      const lines = rows.map((row, i) => [row, ...columns.map((_, j) => cell(i, j))]);
      const sizes = Array.from(values, (value) => (Number.isFinite(value) ? value : 0));
      const strongest = shown(scale ?? Math.max(...sizes.map(Math.abs)));
      const below = sizes.some((value) => value < 0) ? ', orange below' : '';
      const key = `<p class="key">Blue above 0${below}; the strongest colour is ${strongest}.</p>`;
      return `<h2>${escapeHtml(name)}</h2>${note === undefined ? '' : `<p>${escapeHtml(note)}</p>`}
<div class="map"><canvas data-map="${m}"></canvas></div>${key}
<details><summary>All values</summary>${tableHtml('all values', ['', ...columns], lines, 'numbers')}</details>`;
    })
    .join('\n');
  const data = maps.map(({ title: name, rows, columns, values, words, scale, digits }) => ({
    ...{ title: name, rows, columns, words, scale, digits },
    // JSON has no NaN.
    values: Array.from({ length: values.length }, (_, i) => (Number.isFinite(values[i]!) ? values[i]! : null)),
  }));
  const json = JSON.stringify(data).replaceAll('<', '\\u003c');
  const hint = '<p class="key">Point at a map, or go to it by Tab and move by the arrow keys, for its values.</p>';
  return htmlPage({
    title,
    body: `${hint}\n${body}\n${end}`,
    style: mapStyle,
    script: `const data = ${json};\n${mapScript}${script}`,
  });
}

const shown = (value: number): string => (Number.isFinite(value) ? value.toFixed(3) : '');

const script = `
const say = (text) => { document.getElementById('said').textContent = text; };
data.forEach(({ title, rows, columns, values, words, scale, digits }, m) => {
  const largest = scale ?? Math.max(1e-12, ...values.map(Math.abs));
  const at = (i, j) => values[i * columns.length + j] ?? 0;
  mapOf(document.querySelector('[data-map="' + m + '"]'), say).draw({
    label: title, rows, columns, at,
    shade: (value) => value / largest,
    ...(words ? { word: (i, j) => words[i * columns.length + j] } : {}),
    ...(digits === undefined ? {} : { word: (i, j) => values[i * columns.length + j]?.toFixed(digits) ?? '' }),
    text: (i, j) => rows[i] + ', ' + columns[j] + ': ' + (words ? words[i * columns.length + j] + ' ' : '') +
      (values[i * columns.length + j]?.toFixed(4) ?? 'none'),
  });
});
document.documentElement.dataset.ready = 'yes';
`;
