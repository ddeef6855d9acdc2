import { join } from 'node:path';
import { writeFileAtomic } from '../../common/atomic-files.ts';
import { smooth } from '../../common/statistics.ts';
import { curvesSvg } from './plot.ts';
import type { Panel, Series } from './plot.ts';
import { escapeHtml } from '../../common/markup.ts';
import { duration } from '../../common/progress.ts';
import type { EvaluationRecord, StepRecord } from '../trainer/callback.ts';
import type { RunInfo } from '../trainer/run-info.ts';

/** The records that a run's pictures and report are made of. */
export interface RunHistory {
  readonly info: RunInfo;
  readonly steps: readonly StepRecord[];
  readonly evaluations: readonly EvaluationRecord[];
  /** See `TrainingTask`. */
  readonly lossLabel?: string;
  /** Steps of the whole run. */
  readonly total: number;
  /** The best evaluation: its step, and the number that tells. */
  readonly best?: { readonly step: number; readonly value: number };
}

/** Writes curves.svg and report.html, one file that needs no other. */
export async function writeReport(folder: string, history: RunHistory): Promise<void> {
  await writeFileAtomic(join(folder, 'curves.svg'), curvesSvg(lossPanels(history)));
  await writeFileAtomic(join(folder, 'report.html'), reportHtml(history));
}

/** The loss, each part and each measure beside it, and all evaluations of the same name. */
function lossPanels({ steps, evaluations, lossLabel = 'cross-entropy, nats' }: RunHistory): Panel[] {
  const held = (name: string): Series['points'] =>
    evaluations.flatMap(({ step, evaluation }) => (name in evaluation ? [[step, evaluation[name]!] as const] : []));
  const panel = (title: string, name: string, points: Series['points'], yLabel = lossLabel): Panel => {
    const validation = held(name);
    return {
      title,
      yLabel,
      series: [
        { name: 'training, each step', points, faint: true },
        { name: 'training, smoothed', points: smooth(points) },
        ...(validation.length > 0 ? [{ name: 'validation', points: validation, dots: true }] : []),
      ],
    };
  };
  const parts = Object.keys(steps[0]?.losses ?? {});
  const measures = Object.keys(steps[0]?.measures ?? {});
  return [
    panel(
      'Loss',
      'loss',
      steps.map(({ step, loss }) => [step, loss]),
    ),
    ...parts.map((name) =>
      panel(
        name,
        name,
        steps.map(({ step, losses }) => [step, losses?.[name] ?? NaN]),
      ),
    ),
    ...measures.map((name) =>
      panel(
        name,
        name,
        steps.map(({ step, measures }) => [step, measures?.[name] ?? NaN]),
        '',
      ),
    ),
  ];
}

function otherPanels({ steps }: RunHistory): Panel[] {
  const of = (title: string, yLabel: string, value: (record: StepRecord) => number): Panel => {
    const points = steps.map((record): [number, number] => [record.step, value(record)]);
    return { title, yLabel, series: [{ name: title.toLowerCase(), points }] };
  };
  const speed = steps.map((record, i) => {
    const from = steps[Math.max(0, i - 20)]!;
    const tokens = steps.slice(Math.max(0, i - 20) + 1, i + 1).reduce((sum, step) => sum + step.tokens, 0);
    return tokens / (record.seconds - from.seconds);
  });
  return [
    of('Learning rate', '', ({ lr }) => lr),
    of('Gradient norm', 'before clipping', ({ gradNorm }) => gradNorm),
    ...(speed.some(Number.isFinite)
      ? [
          {
            title: 'Speed',
            yLabel: 'tokens/s',
            series: [{ name: 'over 20 steps', points: steps.map(({ step }, i) => [step, speed[i]!] as const) }],
          },
        ]
      : []),
  ];
}

function reportHtml(history: RunHistory): string {
  const { info, steps, evaluations, total, best } = history;
  const last = steps.at(-1);
  const facts: readonly (readonly [string, string])[] = [
    ['steps', `${last?.step ?? 0} of ${total}`],
    ['tokens', steps.reduce((sum, { tokens }) => sum + tokens, 0).toLocaleString('en')],
    ['time', duration(last?.seconds ?? 0)],
    ['last loss', last ? last.loss.toFixed(4) : ''],
    ...(best ? [['best evaluation', `${best.value.toFixed(4)} at step ${best.step}`] as const] : []),
    ['parameters', info.parameters.toLocaleString('en')],
    ['adapter', `${info.adapter}${info.software ? ' (on the processor)' : ''}`],
    ['driver', info.driver],
    [
      'versions',
      Object.entries(info.versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(', '),
    ],
    ['commit', info.commit ?? 'unknown'],
    ['started', info.started],
    ['command', info.command],
  ];
  const names = [...new Set(evaluations.flatMap(({ evaluation }) => Object.keys(evaluation)))];
  const rows = evaluations.map(({ step, evaluation }) => [
    String(step),
    ...names.map((name) => evaluation[name]?.toFixed(4) ?? ''),
  ]);
  const panels = [...lossPanels(history), ...(last ? otherPanels(history) : [])];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escapeHtml(info.name)}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #24292f; background: #f6f8fa; }
body { margin: 2rem auto; max-width: 1080px; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; background: #fff; }
td, th { border: 1px solid #d0d7de; padding: .25rem .6rem; text-align: left; vertical-align: top; }
.numbers td, .numbers th { text-align: right; font-variant-numeric: tabular-nums; }
td { overflow-wrap: anywhere; } td:first-child { white-space: nowrap; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: .75rem; }
svg { width: 100%; height: auto; }
</style></head><body>
<h1>${escapeHtml(info.name)}</h1>
<div class="panels">
${panels.map((panel) => curvesSvg([panel])).join('\n')}
</div>
<h2>Run</h2>
${table([], facts)}
${rows.length > 0 ? `<h2>Evaluations</h2>\n${table(['step', ...names], rows, 'numbers')}` : ''}
<h2>Configuration</h2>
${table(
  [],
  Object.entries(info.identity).map(([key, value]) => [key, typeof value === 'string' ? value : JSON.stringify(value)]),
)}
</body></html>
`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[], kind = ''): string {
  const row = (cells: readonly string[], tag: string): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join('')}</tr>`;
  const lines = [...(head.length > 0 ? [row(head, 'th')] : []), ...rows.map((cells) => row(cells, 'td'))];
  return `<table class="${kind}">${lines.join('\n')}</table>`;
}
