import { escapeHtml } from '../../common/markup.ts';
import { printable } from '../../common/printable.ts';
import { chartScript } from './chart-script.ts';
import { standalonePage } from './html-page.ts';
import { pageStyle } from './page-style.ts';
import { isDrawn, isFinitePoint, thin } from './panel.ts';
import type { Panel, Series } from './panel.ts';

/** Rows of the table behind a chart, beside those of curves of few points. */
const tableRows = 24;

/** A whole page of charts and tables; see `standalonePage`. `body` is HTML. */
export const pageHtml = (title: string, body: string): string =>
  standalonePage({
    title,
    body: `<main>\n${body}\n</main>`,
    style: pageStyle,
    script: chartScript.replace(/^ +/gm, ''),
  });

/** Charts under a heading, with buttons for their zoom. Panels without anything to draw are left out. */
export function chartsHtml(title: string, panels: readonly Panel[]): string {
  const drawn = panels.filter(({ series }) => series.some(isDrawn));
  if (drawn.length === 0) return '';
  const button = (value: string, text: string, label: string): string =>
    `<button type="button" value="${value}" aria-label="${label}" title="${label}">${text}</button>`;
  return `<section><header><h2>${escapeHtml(title)}</h2><div class="tools" role="group" aria-label="zoom of all charts">
${button('in', '+', 'closer')}${button('out', '&minus;', 'wider')}${button('all', 'all', 'all steps')}
</div></header>
<p class="hint">Point at a chart, or go to it by Tab and move by the arrow keys, for values at a step. Drag over steps
to see them closer, double click for all of them (keys: + &minus; Escape). Names above a chart hide their lines.</p>
<div class="charts">
${drawn.map((panel, i) => chartFigure(panel, `${title.toLowerCase().replace(/[^a-z]+/g, '-')}-${i}`)).join('\n')}
</div></section>`;
}

/** A chart that the page's script draws, and the table of its values, which is there without a script too. */
function chartFigure(panel: Panel, id: string): string {
  const { title, series, xLabel = 'step', yLabel = '', yScale = 'linear', yDomain, marks = [] } = panel;
  let color = 0;
  const data = {
    x: printable(xLabel),
    log: yScale === 'log',
    domain: yDomain,
    marks: marks.map(({ x, text }) => ({ x, text: printable(text) })),
    series: series.filter(isDrawn).map(({ name, points, faint = false, dots = false, band = [] }) => ({
      name: printable(name),
      color: faint ? color : color++,
      faint,
      dots,
      points: thin(points).map(([x, y]) => [x, Number.isFinite(y) ? short(y) : null]),
      band: band.map((point) => point.map(short)),
    })),
  };
  const about = yLabel ? ` <small>${escapeHtml(yLabel)}</small>` : '';
  return `<figure class="chart" aria-labelledby="${id}">
<figcaption><span id="${id}">${escapeHtml(title)}${about}</span><span class="place"></span></figcaption>
<div class="key"></div>
<div class="plot" aria-labelledby="${id}"></div>
<script type="application/json">${JSON.stringify(data).replace(/</g, '\\u003c')}</script>
${valuesTable(
  panel.title,
  xLabel,
  series.filter((each) => isDrawn(each) && !each.faint),
)}
</figure>`;
}

const short = (value: number): number => Number(value.toPrecision(5));

/** Each point of curves of few points, and some of the others, evenly. */
function valuesTable(title: string, xLabel: string, series: readonly Series[]): string {
  const xs = series.map(({ points }) => points.filter(isFinitePoint).map(([x]) => x));
  const few = xs.filter((list) => list.length <= tableRows).flat();
  const many = xs.filter((list) => list.length > tableRows);
  const some = many.flatMap((list) =>
    Array.from({ length: tableRows }, (_, i) => list[Math.round((i * (list.length - 1)) / (tableRows - 1))]!),
  );
  const all = [...new Set([...few, ...some])].sort((a, b) => a - b);
  const values = series.map(({ points }) => new Map(points));
  const rows = all.map((x) => [numberText(x), ...values.map((of) => numberText(of.get(x) ?? NaN))]);
  const head = [xLabel, ...series.map(({ name }) => name)];
  return `<details><summary>Values</summary>${tableHtml(`values of ${title}`, head, rows, 'numbers')}</details>`;
}

/** A number as pages show it: 1,234, 0.1234, 2.0e-5; nothing for NaN. */
export function numberText(value: number): string {
  const size = Math.abs(value);
  if (Number.isNaN(value)) return '';
  if (Number.isInteger(value) || size >= 1000) return Math.round(value).toLocaleString('en');
  return size === 0 || size >= 1e-3 ? String(Number(value.toPrecision(4))) : value.toExponential(1);
}

/** A cell that is markup, such as a small picture. */
export interface HtmlCell {
  readonly html: string;
}

const cellHtml = (cell: string | HtmlCell): string =>
  typeof cell === 'string' ? cell.split('\n').map(escapeHtml).join('<br>') : cell.html;

/**
 * A table that scrolls by itself where it is wide; a cell may have several lines. `kind`: numbers aligns all
 * but the first column right.
 */
export function tableHtml(
  label: string,
  head: readonly string[],
  rows: readonly (readonly (string | HtmlCell)[])[],
  kind: 'numbers' | 'facts' | 'texts' = 'texts',
): string {
  // A corner without a word is no header.
  const header = head.map((cell) => (cell === '' ? '<td></td>' : `<th scope="col">${escapeHtml(cell)}</th>`)).join('');
  const lines = rows.map(([first = '', ...rest]) => {
    const cells = rest.map((cell) => `<td>${cellHtml(cell)}</td>`).join('');
    return `<tr><th scope="row">${cellHtml(first)}</th>${cells}</tr>`;
  });
  return `<div class="scroll" tabindex="0" role="region" aria-label="${escapeHtml(label)}"><table class="${kind}">
${head.length > 0 ? `<thead><tr>${header}</tr></thead>\n` : ''}<tbody>${lines.join('\n')}</tbody></table></div>`;
}
