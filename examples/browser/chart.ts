import { smooth } from '../../common/statistics.ts';
import type { Curve } from './fine-tune.ts';

const [left, right, top, bottom] = [40, 44, 12, 30];

function element(name: string, attributes: Readonly<Record<string, string | number>>, text = ''): SVGElement {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.textContent = text;
  return made;
}

/** Draws the losses of a run on the left axis, its accuracies on the right one. */
export function drawChart(svg: SVGSVGElement, { losses, accuracies }: Curve, steps: number): void {
  const [width, height] = [Math.max(240, svg.clientWidth), Math.max(160, svg.clientHeight)];
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  const x = (step: number, of: number): number => left + ((width - left - right) * step) / Math.max(1, of);
  const y = (share: number): number => top + (height - top - bottom) * (1 - share);
  const most = losses.length > 0 ? Math.max(0.1, ...losses) * 1.05 : 1;
  const points = (values: readonly number[]): string =>
    values.map((value, i) => `${x(i + 1, steps).toFixed(1)},${y(value / most).toFixed(1)}`).join(' ');
  const parts: SVGElement[] = [];
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    parts.push(element('line', { class: 'axis', x1: left, x2: width - right, y1: y(share), y2: y(share) }));
    parts.push(element('text', { x: left - 6, y: y(share) + 4, 'text-anchor': 'end' }, (share * most).toFixed(2)));
    parts.push(element('text', { x: width - right + 6, y: y(share) + 4 }, `${100 * share}%`));
  }
  parts.push(element('text', { x: left, y: height - 8 }, '0'));
  parts.push(
    element(
      'text',
      { x: width - right, y: height - 8, 'text-anchor': 'end' },
      losses.length > 0 ? `${steps} steps` : 'steps',
    ),
  );
  parts.push(element('polyline', { class: 'loss', points: points(losses) }));
  // Over about a tenth of all steps, the last ones most.
  const smoothed = smooth(
    losses.map((loss, i): [number, number] => [i, loss]),
    1 - Math.min(1, 10 / steps),
  );
  parts.push(element('polyline', { class: 'smooth', points: points(smoothed.map(([, loss]) => loss)) }));
  const marks = accuracies.map(({ step, value }) => [x(step, steps), y(value)] as const);
  parts.push(element('polyline', { class: 'accuracy', points: marks.map((mark) => mark.join()).join(' ') }));
  for (const [cx, cy] of marks) parts.push(element('circle', { cx, cy, r: 3.5 }));
  svg.replaceChildren(...parts);
  const [loss, accuracy] = [losses.at(-1), accuracies.at(-1)];
  const lines = [`loss ${losses[0]?.toFixed(2)} at step 1, ${loss?.toFixed(2)} at step ${losses.length} of ${steps}`];
  if (accuracy) lines.push(`${Math.round(100 * accuracy.value)}% of the held-out texts are right`);
  svg.setAttribute('aria-label', losses.length > 0 ? lines.join('; ') : 'no steps yet');
}
