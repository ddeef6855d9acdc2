import { smooth } from '../../common/statistics.ts';
import type { StepRecord } from '../trainer/callback.ts';
import type { Panel, Series } from './panel.ts';
import { isDrawn } from './panel.ts';
import { bestOf } from './run-history.ts';
import type { RunHistory } from './run-history.ts';

type Points = Series['points'];

/** Names of what is measured at each step: the loss, its parts, what batches say of themselves. */
export function stepNames({ steps }: Pick<RunHistory, 'steps'>): string[] {
  return ['loss', ...new Set(steps.flatMap(({ losses, measures }) => Object.keys({ ...losses, ...measures })))];
}

/** Names of evaluations' numbers, without those of steps. */
export function scoreNames(history: RunHistory): string[] {
  const known = new Set(stepNames(history));
  const names = history.evaluations.flatMap(({ evaluation }) => Object.keys(evaluation));
  return [...new Set(names)].filter((name) => !known.has(name));
}

export function valuesAt({ steps }: Pick<RunHistory, 'steps'>, name: string): Points {
  return steps.map((record) => [record.step, valueOf(record, name)]);
}

function valueOf(record: StepRecord, name: string): number {
  return name === 'loss' ? record.loss : (record.losses?.[name] ?? record.measures?.[name] ?? NaN);
}

export function evaluated({ evaluations }: Pick<RunHistory, 'evaluations'>, name: string): Points {
  return evaluations.flatMap(({ step, evaluation }) =>
    name in evaluation ? [[step, evaluation[name]!] as const] : [],
  );
}

/** The loss, each part and each measure beside it, with all evaluations of the same name. */
export function lossPanels(history: RunHistory): Panel[] {
  const { info, steps } = history;
  const losses = new Set(['loss', ...Object.keys(steps[0]?.losses ?? {})]);
  return stepNames(history).map((name) => {
    const [points, validation] = [valuesAt(history, name), evaluated(history, name)];
    return {
      title: name === 'loss' ? 'Loss' : name,
      yLabel: losses.has(name) ? (info.lossLabel ?? 'cross-entropy, nats') : '',
      ...marksOf(history),
      series: [
        { name: 'training, each step', points, faint: true },
        { name: 'training, smoothed', points: smooth(points) },
        ...(validation.length > 0 ? [{ name: 'validation', points: validation, dots: true }] : []),
      ],
    };
  });
}

/** Each number of the evaluations by itself. */
export function scorePanels(history: RunHistory): Panel[] {
  return scoreNames(history).map((name) => ({
    title: name,
    ...marksOf(history),
    series: [{ name: 'validation', points: evaluated(history, name), dots: true }],
  }));
}

/** What a picture beside a text has room for: the losses, and all shares (accuracy, F1) in one panel. */
export function curvePanels(history: RunHistory): Panel[] {
  const series = scorePanels(history).map(({ title, series }) => ({ ...series[0]!, name: title }));
  const shares = series.filter(({ points }) => points.every(([, y]) => !(y < 0 || y > 1)));
  const losses = lossPanels(history).filter((panel) => panel.series.some(isDrawn));
  return shares.some(isDrawn) ? [...losses, { title: 'Validation', ...marksOf(history), series: shares }] : losses;
}

/** Where the model in best/ is from. */
function marksOf(history: RunHistory): Pick<Panel, 'marks'> {
  const best = bestOf(history);
  return best && history.evaluations.length > 1 ? { marks: [{ x: best.step, text: 'best' }] } : {};
}

/** What tells how a training went, besides what it learnt. */
export function otherPanels({ steps }: Pick<RunHistory, 'steps'>): Panel[] {
  const points = (value: (record: StepRecord) => number): Points => steps.map((record) => [record.step, value(record)]);
  const norms = points(({ gradNorm }) => gradNorm);
  const speed = steps.map((record, i): readonly [number, number] => {
    const before = steps.slice(Math.max(0, i - 20), i + 1);
    const tokens = before.slice(1).reduce((sum, step) => sum + step.tokens, 0);
    return [record.step, tokens / (record.seconds - before[0]!.seconds)];
  });
  const scales = points(({ scale }) => scale ?? NaN);
  return [
    { title: 'Learning rate', series: [{ name: 'learning rate', points: points(({ lr }) => lr) }] },
    {
      title: 'Gradient norm',
      yLabel: 'before clipping',
      yScale: 'log',
      series: [
        { name: 'each step', points: norms, faint: true },
        { name: 'smoothed', points: smooth(norms) },
      ],
    },
    { title: 'Speed', yLabel: 'tokens/s', series: [{ name: 'over 20 steps', points: speed }] },
    { title: 'Loss scale', yScale: 'log', series: [{ name: 'of mixed precision', points: scales }] },
  ];
}
