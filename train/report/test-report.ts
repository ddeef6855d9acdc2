import { escapeHtml } from '../../common/markup.ts';
import { tableHtml } from './page.ts';
import type { TestSample, TestScore, TestScores } from './test-scores.ts';

/** What a test found as the parts of a page: scores, the confusion of classes, calibration, samples. */
export function testHtml({ of, tables, confusion, calibration, samples }: TestScores): string {
  const hasIntervals = tables.some(({ rows }) =>
    rows.some(({ scores }) => scores.some(({ low }) => low !== undefined)),
  );
  const scores = tables.map(({ title, columns, rows }) => {
    const cells = rows.map((row) => [row.name, ...row.scores.map((score) => scoreText(score).replace(' ', '\n'))]);
    const table = tableHtml(title, ['', ...columns], cells, 'numbers');
    return `<div class="card"><h3>${escapeHtml(title)}</h3>${table}</div>`;
  });
  const about = hasIntervals
    ? `${of}; in brackets where a score would lie with other texts of the kind (95 %, bootstrap of the texts)`
    : of;
  const confused = confusion ? confusionHtml(confusion) : '';
  const calibrated = calibration && calibration.bins.length > 0 ? calibrationHtml(calibration) : '';
  return `<section><h2>Test</h2><p class="about">${escapeHtml(about)}</p>
<div class="pair"><div class="stack">${scores.join('\n')}${confused}</div>${calibrated}</div></section>
${samplesHtml(samples)}`;
}

export const scoreText = ({ value, low, high }: TestScore): string =>
  `${fixed(value)}${low === undefined || high === undefined ? '' : ` [${fixed(low)}, ${fixed(high)}]`}`;

/** Shares have three decimals, percentages one. */
const fixed = (value: number): string => (Number.isNaN(value) ? '-' : value.toFixed(Math.abs(value) < 10 ? 3 : 1));

/** Rows are true classes; a cell's colour is its share of the row. */
function confusionHtml({ labels, counts }: NonNullable<TestScores['confusion']>): string {
  const rows = counts.map((row, i) => {
    const sum = row.reduce((a, b) => a + b, 0);
    const cells = row.map((count, j) => {
      const share = sum === 0 ? 0 : count / sum;
      const percent = `<small>${(100 * share).toFixed(1)} %</small>`;
      const hit = i === j ? ' class="hit"' : '';
      return `<td${hit} style="--share:${share.toFixed(3)}">${count.toLocaleString('en')}${percent}</td>`;
    });
    return `<tr><th scope="row">${escapeHtml(labels[i]!)}</th>${cells.join('')}</tr>`;
  });
  const head = labels.map((label) => `<th scope="col">${escapeHtml(label)}</th>`).join('');
  return `<div class="card"><h3>Confusion of classes</h3>
<p class="about">Rows: what texts are. Columns: what they were taken for.</p>
<div class="scroll" tabindex="0" role="region" aria-label="confusion of classes"><table class="confusion">
<thead><tr><td></td>${head}</tr></thead><tbody>${rows.join('\n')}</tbody></table></div></div>`;
}

/** A reliability diagram (Guo et al. 2017): accuracy over confidence, below it how many texts are so sure. */
function calibrationHtml({ bins, error }: NonNullable<TestScores['calibration']>): string {
  const [left, top, size, below] = [44, 10, 240, 44];
  const [x, y] = [(value: number) => left + value * size, (value: number) => top + (1 - value) * size];
  const base = top + size;
  const most = Math.max(...bins.map(({ count }) => count));
  const at = (value: number): string => value.toFixed(1);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map(
    (tick) =>
      `<path class="grid" d="M${left} ${y(tick)}h${size}"/>` +
      `<text x="${left - 6}" y="${y(tick) + 4}" text-anchor="end">${tick}</text>` +
      `<text x="${x(tick)}" y="${base + below + 14}" text-anchor="middle">${tick}</text>`,
  );
  const marks = bins.map(({ confidence, accuracy, count }) => {
    const cx = at(x(confidence));
    const said = `confidence ${confidence.toFixed(3)}: ${(100 * accuracy).toFixed(1)} % right of ${count} texts`;
    const height = (count / most) * (below - 8);
    const weight = Math.sqrt(count / most);
    const gap = `M${cx} ${at(y(confidence))}V${at(y(accuracy))}`;
    const bar = `x="${at(x(confidence) - 4)}" y="${at(base + below - height)}" width="8" height="${at(height)}"`;
    return (
      `<g><title>${said}</title><path class="gap" stroke-width="${at(1 + 2 * weight)}" d="${gap}"/>` +
      `<circle cx="${cx}" cy="${at(y(accuracy))}" r="${at(2.5 + 3.5 * weight)}"/>` +
      `<rect class="count" ${bar}/></g>`
    );
  });
  const rows = bins.map((bin) => [bin.confidence.toFixed(3), bin.accuracy.toFixed(3), bin.count.toLocaleString('en')]);
  const values = tableHtml('calibration', ['confidence', 'right', 'texts'], rows, 'numbers');
  const height = base + below + 34;
  return `<div class="card"><h3>Calibration: how far to trust its confidence</h3>
<p class="about">On the dashed line, texts of 90 % confidence are right in 90 of 100 cases; below it the model is surer
than it should be. Larger dots are of more texts. The mean gap (expected calibration error) is
${(100 * error).toFixed(1)} %.</p>
<svg class="reliability" viewBox="0 0 ${left + size + 14} ${height}" role="img" aria-label="reliability diagram">
${ticks.join('')}<path class="diagonal" d="M${left} ${base}L${left + size} ${top}"/>${marks.join('\n')}
<text x="${left + size / 2}" y="${height - 4}" text-anchor="middle">confidence</text>
<text transform="translate(11 ${top + size / 2}) rotate(-90)" text-anchor="middle">share that is right</text></svg>
<details><summary>Values</summary>${values}</details>
</div>`;
}

function samplesHtml(groups: TestScores['samples']): string {
  const shown = groups.filter(({ samples }) => samples.length > 0);
  if (shown.length === 0) return '';
  const parts = shown.map(
    ({ title, samples }) =>
      `<h3>${escapeHtml(title)}</h3>\n<ul class="samples">${samples.map(sampleHtml).join('\n')}</ul>`,
  );
  return `<section><h2>Samples</h2>\n${parts.join('\n')}</section>`;
}

function sampleHtml({ text, answer, before, wanted, right }: TestSample): string {
  const [name, word] = right === undefined ? ['', ''] : right ? ['right', 'right: '] : ['wrong', 'wrong: '];
  const isTold = wanted !== undefined && !(right && wanted === answer);
  const notes = [...(before === undefined ? [] : [`before ${before}`]), ...(isTold ? [`wanted ${wanted}`] : [])];
  const small = notes.map((note) => `<small>${escapeHtml(note)}</small>`).join('');
  const lines = text.split('\n').map(escapeHtml).join('\n');
  const said = `<p>${word}<b>${escapeHtml(answer)}</b>${small}</p>`;
  return `<li class="${name}">${said}<p class="text">${lines}</p></li>`;
}
