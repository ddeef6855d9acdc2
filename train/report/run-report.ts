import { join } from 'node:path';
import { writeFileAtomic } from '../../common/atomic-files.ts';
import { escapeHtml } from '../../common/markup.ts';
import { printableLines } from '../../common/printable.ts';
import { duration } from '../../common/progress.ts';
import { chartsHtml, numberText, pageHtml, tableHtml } from './page.ts';
import { curvesSvg } from './plot.ts';
import { bestOf, stepsOf } from './run-history.ts';
import type { RunHistory } from './run-history.ts';
import { curvePanels, lossPanels, otherPanels, scorePanels } from './run-panels.ts';
import { scoreText, testHtml } from './test-report.ts';

/** Writes curves.svg and report.html, one file that needs no other. */
export async function writeReport(folder: string, history: RunHistory): Promise<void> {
  await writeFileAtomic(join(folder, 'curves.svg'), curvesSvg(curvePanels(history)));
  await writeFileAtomic(join(folder, 'report.html'), reportHtml(history));
}

/** The report that goes with a model to others: without samples of the test, which may be private. */
export function publicReport({ result, ...history }: RunHistory): string {
  if (!result?.scores) return reportHtml({ ...history, ...(result ? { result } : {}) });
  return reportHtml({ ...history, result: { ...result, scores: { ...result.scores, samples: [] } } });
}

/** A run as a page: its curves, its test where it has one, and all that made it. */
export function reportHtml(history: RunHistory): string {
  const { info, evaluations, result } = history;
  const names = [...new Set(evaluations.flatMap(({ evaluation }) => Object.keys(evaluation)))];
  const rows = evaluations.map(({ step, evaluation }) => [
    numberText(step),
    ...names.map((name) => evaluation[name]?.toFixed(4) ?? ''),
  ]);
  const { model, ...options } = info.identity;
  const evaluated =
    rows.length === 0 ? '' : section('Evaluations', tableHtml('evaluations', ['step', ...names], rows, 'numbers'));
  const printed = result
    ? `<section><details><summary>The test as it was printed</summary>${preHtml(result.test)}</details></section>`
    : '';
  return pageHtml(
    info.name,
    `<h1>${escapeHtml(info.name)}</h1>
<p class="about">${escapeHtml(standing(history))}</p>
${tilesHtml(history)}
${result ? section('About', preHtml(result.about, 'wrap')) : ''}
${chartsHtml('Curves', [...lossPanels(history), ...scorePanels(history), ...otherPanels(history)])}
${result?.scores ? testHtml(result.scores) : ''}
${evaluated}
<section><h2>What made it</h2><div class="pair">
<div class="card"><h3>System</h3>${tableHtml('system', [], systemFacts(history), 'facts')}</div>
<div class="card"><h3>Options and data</h3>${tableHtml('options', [], factsOf(options), 'facts')}</div>
<div class="card"><h3>Model</h3>${tableHtml('model', [], modelFacts(info.parameters, model), 'facts')}</div>
</div></section>
${printed}`,
  );
}

const section = (title: string, html: string): string => `<section><h2>${title}</h2>${html}</section>`;

const preHtml = (text: string, kind = ''): string =>
  `<pre class="${kind}" tabindex="0">${printableLines(text).split('\n').map(escapeHtml).join('\n')}</pre>`;

/** How far the run is. */
function standing(history: RunHistory): string {
  const [done, total] = [history.steps.at(-1)?.step ?? 0, stepsOf(history)];
  const steps = `${numberText(done)} of ${numberText(total)} steps`;
  const begun = history.info.started.replace('T', ' ').slice(0, 16);
  return `${done < total ? `${steps} so far` : steps}, begun ${begun} UTC`;
}

/** The numbers that one asks for first. */
function tilesHtml(history: RunHistory): string {
  const { info, steps, result } = history;
  const best = bestOf(history);
  const [table] = result?.scores?.tables ?? [];
  const scores = (table?.rows[0]?.scores ?? []).slice(0, 3).map((score, i): Tile => {
    const [value, interval] = scoreText(score).split(' [');
    return [`test ${table!.columns[i]!}`, value!, interval && `[${interval}`];
  });
  const last = steps.at(-1);
  const tokens = steps.reduce((sum, step) => sum + step.tokens, 0);
  const seconds = last?.seconds ?? 0;
  const tiles: readonly Tile[] = [
    ...scores,
    ...(best
      ? [[`best validation ${info.best?.name ?? 'loss'}`, numberText(best.value), `at step ${best.step}`] as const]
      : []),
    ...(last ? [['last training loss', numberText(last.loss)] as const] : []),
    ['time', duration(seconds), seconds > 0 ? `${numberText(Math.round(tokens / seconds))} tokens/s` : undefined],
    ['parameters', shortCount(info.parameters), `${shortCount(tokens)} tokens read`],
  ];
  const html = tiles.map(([name, value, more]) => {
    const small = more ? `<small>${escapeHtml(more)}</small>` : '';
    return `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}${small}</dd></div>`;
  });
  return `<dl class="tiles">${html.join('\n')}</dl>`;
}

type Tile = readonly [name: string, value: string, more?: string | undefined];

const shortCount = (value: number): string =>
  value.toLocaleString('en', { notation: 'compact', maximumSignificantDigits: 3 });

function systemFacts({ info }: RunHistory): [string, string][] {
  return [
    ['adapter', `${info.adapter}${info.software ? ' (on the processor)' : ''}`],
    ['driver', info.driver],
    ...Object.entries(info.versions),
    ['commit', info.commit ?? 'unknown'],
    ['command', info.command],
  ];
}

function modelFacts(parameters: number, model: unknown): [string, string][] {
  return [['parameters', parameters.toLocaleString('en')], ...factsOf(model)];
}

/** The fields of an object of settings, each value in words. */
function factsOf(value: unknown): [string, string][] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).map(([key, each]) => [key, wordsOf(each)]);
}

function wordsOf(value: unknown): string {
  if (Array.isArray(value)) return value.map(wordsOf).join(', ');
  if (typeof value === 'object' && value !== null)
    return Object.entries(value)
      .map(([key, each]) => `${key}: ${wordsOf(each)}`)
      .join(', ');
  return value === null || value === undefined
    ? 'none'
    : typeof value === 'number'
      ? String(value)
      : `${value as string}`;
}
