import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { writeFileAtomic } from '../../common/atomic-files.ts';
import { printable } from '../../common/printable.ts';
import { isDrawn, isFinitePoint, thin } from './panel.ts';
import type { Panel } from './panel.ts';

const WIDTH = 520;
const HEIGHT = 340;
const COLUMNS = 2;
const PAD = 12;
const FONT = 'system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, "DejaVu Sans", sans-serif';
const INK = '#24292f';
const GRID = '#e4e7eb';
// Told apart by the colour-blind too (Okabe and Ito, 2008), darkened to be read on white.
const COLORS = ['#0072b2', '#d55e00', '#00875f', '#a6437b', '#8a6d00', '#3f8fc4'];

/**
 * The panels, two in a row, as one standalone SVG with a background of its own, so that it reads the same on
 * white and on dark pages. Throws where a panel has no finite point.
 *
 * @example
 * const series = [{ name: 'train', points: [[0, 2], [1, 1]] as const }];
 * curvesSvg({ title: 'loss', series }).startsWith('<svg'); // true
 */
export function curvesSvg(panels: Panel | readonly Panel[]): string {
  const list: readonly Panel[] = 'series' in panels ? [panels] : panels;
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  const [width, height] = [WIDTH * Math.min(COLUMNS, list.length), HEIGHT * Math.ceil(list.length / COLUMNS)];
  const svg = element(document, 'svg', {
    xmlns: 'http://www.w3.org/2000/svg',
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    'font-family': FONT,
    fill: INK,
    role: 'img',
  });
  const frame = { x: 0.5, y: 0.5, width: width - 1, height: height - 1, rx: 8 };
  svg.append(
    element(document, 'title', {}, list.map((panel) => panel.title).join(', ')),
    element(document, 'rect', { ...frame, fill: '#ffffff', stroke: '#d0d7de' }),
  );
  const xs = list.flatMap(({ series }) => series.flatMap(({ points }) => points.filter(isFinitePoint).map(([x]) => x)));
  const bounds: readonly [number, number] = [
    xs.reduce((a, b) => Math.min(a, b), 0),
    xs.reduce((a, b) => Math.max(a, b), 0),
  ];
  for (const [i, panel] of list.entries()) {
    const place = `translate(${(i % COLUMNS) * WIDTH} ${Math.floor(i / COLUMNS) * HEIGHT})`;
    svg.append(drawPanel(document, panel, place, bounds));
  }
  return `${svg.outerHTML}\n`;
}

/**
 * Writes `curvesSvg` to a file, whole or not at all.
 *
 * @example
 * const series = [{ name: 'train', points: [[0, 2], [1, 1]] as const }];
 * await writeCurves('loss.svg', { title: 'loss', series });
 */
export async function writeCurves(path: string, panels: Panel | readonly Panel[]): Promise<void> {
  await writeFileAtomic(path, curvesSvg(panels));
}

/** All panels share the x axis `bounds`, from 0 on: the same step lies at the same place. */
function drawPanel(document: Document, panel: Panel, transform: string, bounds: readonly [number, number]): Element {
  const { title, series, xLabel = 'step', yLabel = '', yScale = 'linear', yDomain, marks = [] } = panel;
  const shown = series.filter(isDrawn);
  if (shown.length === 0) throw new Error(`curvesSvg: "${title}" has no finite point to draw`);
  let next = 0;
  let at = { x: 20, y: 46 };
  const styles = shown.map((s) => {
    const color = COLORS[(s.faint ? next : next++) % COLORS.length]!;
    // There is no layout engine here to measure text: 6.6 is the mean advance of these fonts at 12 px.
    const width = 24 + s.name.length * 6.6 + 18;
    if (at.x > 20 && at.x + width > WIDTH) at = { x: 20, y: at.y + 18 };
    const place = at;
    at = { x: at.x + width, y: at.y };
    return { ...s, points: thin(s.points), color, place };
  });
  const top = at.y + 14;
  const plot = Plot.plot({
    document,
    width: WIDTH - 2 * PAD,
    height: HEIGHT - top - PAD,
    marginTop: 10,
    marginLeft: 66,
    marginRight: 24, // half a tick's text
    marginBottom: 42,
    style: { background: 'none', color: INK, fontFamily: FONT, fontSize: '12px' },
    x: {
      label: printable(xLabel),
      labelAnchor: 'center',
      labelArrow: 'none',
      ticks: 6,
      tickSize: 0,
      tickPadding: 8,
      domain: bounds,
    },
    y: {
      label: printable(yLabel),
      labelAnchor: 'center',
      labelArrow: 'none',
      ticks: 6,
      tickSize: 0,
      type: yScale,
      nice: true,
      ...(yDomain ? { domain: [...yDomain] } : {}),
    },
    marks: [
      Plot.gridY({ stroke: GRID, strokeOpacity: 1 }),
      Plot.frame({ anchor: 'bottom', stroke: '#8c959f' }),
      Plot.ruleX(marks, { x: 'x', stroke: '#6e7781', strokeDasharray: '2 3' }),
      Plot.text(marks, {
        x: 'x',
        text: ({ text }: { readonly text: string }) => printable(text),
        frameAnchor: 'top',
        textAnchor: 'end',
        dx: 10,
        dy: -5,
        fill: '#57606a',
      }),
      ...shown.map(({ band = [] }, i) =>
        Plot.areaY(band, { x: '0', y1: '1', y2: '2', fill: styles[i]!.color, fillOpacity: 0.18 }),
      ),
      ...styles.flatMap(({ points, color, faint, dots }) => {
        const data = points.map(([x, y]) => (isFinitePoint([x, y]) ? [x, y] : [x, NaN]));
        return [
          Plot.line(data, {
            stroke: color,
            strokeWidth: faint ? 1 : 2,
            strokeOpacity: faint ? 0.3 : 1,
            strokeLinejoin: 'round',
          }),
          ...(dots || points.length === 1 ? [Plot.dot(data, { fill: color, r: 3.5, stroke: '#ffffff' })] : []),
        ];
      }),
    ],
  });
  // Its rules for pages (height: auto) would stretch a nested svg.
  plot.querySelector('style')?.remove();
  // The picture has one name, its title; marks have no role that may carry theirs.
  for (const mark of plot.querySelectorAll('[aria-label]')) {
    mark.setAttribute('data-mark', mark.getAttribute('aria-label')!);
    mark.removeAttribute('aria-label');
    mark.removeAttribute('aria-description');
  }
  plot.setAttribute('overflow', 'visible'); // words of marks stand above the frame
  plot.setAttribute('x', String(PAD));
  plot.setAttribute('y', String(top));
  const group = element(document, 'g', { transform });
  group.append(element(document, 'text', { x: 20, y: 28, 'font-size': 15, 'font-weight': 600 }, title));
  for (const { name, color, faint, dots, place } of styles) {
    const { x, y } = place;
    const line = { x1: x, x2: x + 18, y1: y, y2: y, stroke: color, 'stroke-linecap': 'round' };
    group.append(
      element(document, 'line', { ...line, 'stroke-width': faint ? 1 : 2.5, 'stroke-opacity': faint ? 0.4 : 1 }),
      ...(dots ? [element(document, 'circle', { cx: x + 9, cy: y, r: 3.5, fill: color })] : []),
      element(document, 'text', { x: x + 24, y: y + 4, 'font-size': 12 }, name),
    );
  }
  group.append(plot);
  return group;
}

function element(document: Document, name: string, attributes: Record<string, string | number>, text = ''): Element {
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  if (text) node.textContent = printable(text);
  return node;
}
