// Weights by themselves: how their numbers are spread, and sizes of matrices.
import { escapeHtml } from '../../common/markup.ts';
import { alignTable } from '../../common/text-table.ts';
import { pageHtml, tableHtml } from '../report/page.ts';
import { span } from './activation-sizes.ts';
import { sparkline } from './activation-view.ts';
import type { Look } from './view.ts';
import { weightHistograms, weightSizes } from './weights.ts';

const [barWidth, barsHeight] = [3, 24];

/** A histogram as bars, the tallest as high as the picture; what is there at all is seen. */
function barsSvg(bins: Float64Array, label: string): string {
  const most = Math.max(...bins);
  const bars = Array.from(bins, (share, i) => {
    const height = share > 0 ? Math.max(1, Math.round((barsHeight * share) / most)) : 0;
    return height > 0 ? `M${barWidth * i} ${barsHeight}v-${height}h${barWidth - 1}v${height}z` : '';
  });
  const [width, height] = [barWidth * bins.length, barsHeight];
  return (
    `<svg role="img" aria-label="${escapeHtml(label)}" width="${width}" height="${height}" ` +
    `viewBox="0 0 ${width} ${height}"><path fill="currentColor" d="${bars.join('')}"/></svg>`
  );
}

export async function weightView({ model, name }: Pick<Look, 'model' | 'name'>): Promise<string> {
  const matrices = new Map((await weightSizes(model)).map((size) => [size.name, size]));
  const shapes = new Map([...model.namedParameters()].map(([key, { shape }]) => [key, shape.join(' x ')]));
  const sizes = await weightHistograms(model);
  const head = ['weight', 'shape', 'mean', 'deviation', 'zeros', 'norm', 'largest singular value', 'stable rank'];
  const cells = sizes.map(({ name: key, mean, deviation, zeros }) => {
    const matrix = matrices.get(key);
    const ranks = matrix ? [matrix.norm.toFixed(2), matrix.singularValues[0]!.toFixed(2)] : ['', ''];
    const moments = [mean, deviation].map((x) => x.toFixed(4).replace(/^-(0\.0+)$/, '$1'));
    const figures = [...moments, `${(100 * zeros).toFixed(1)}%`];
    return [key, shapes.get(key)!, ...figures, ...ranks, matrix ? matrix.stableRank.toFixed(1) : ''];
  });
  const about = `Histograms from ${-span} to ${span} deviations; the ends hold all beyond.`;
  console.log(about);
  const drawn = cells.map((row, i) => [...row, sparkline(sizes[i]!.bins)]);
  console.log(alignTable([...head, 'histogram'], drawn, new Set([1, 2, 3, 4, 5, 6, 7])));
  const rows = cells.map(([key = '', ...row], i) => [
    key,
    { html: barsSvg(sizes[i]!.bins, `histogram of ${key}`) },
    ...row,
  ]);
  const note =
    `${about} The stable rank, norm^2 / largest singular value^2, says about how many directions a matrix uses: one ` +
    'that stands out is one to look at.';
  const title = `Weights of ${name}`;
  const table = tableHtml('weights', ['weight', 'histogram', ...head.slice(1)], rows, 'numbers');
  return pageHtml(title, `<h1>${escapeHtml(title)}</h1>\n<p class="about">${note}</p>\n${table}`);
}
