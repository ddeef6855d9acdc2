/** A model before and after: what was gained, and what it cost. */
import { alignTable } from '../../common/text-table.ts';
import { bytesOf } from '../../kernels/index.ts';
import { paddingOf } from '../../models/index.ts';
import type { SequenceClassificationModel, TextEncoder } from '../../models/index.ts';
import type { ClassifierData } from '../classifier/data.ts';
import { kinds } from '../classifier/kinds.ts';
import { scoreExamples } from '../classifier/predict.ts';
import type { Target } from '../data/read-table.ts';
import type { TokenisedExample } from '../data/tokenised.ts';
import { ownFirst } from '../report/test-result.ts';
import type { ScoreTable, TestScores } from '../report/test-scores.ts';

/** What is told of a model. */
export interface Measured {
  readonly name: string;
  /** In millions. */
  readonly parameters: number;
  /** Of the weights on the device. */
  readonly bytes: number;
  /** Reads some of the test part's texts once. */
  readonly run: () => Promise<unknown>;
  /** The figures of the test part by name, such as accuracy and F1. */
  readonly figures: Readonly<Record<string, number>>;
  readonly loss: number;
  /** Of each text of the test part, see `scoreExamples`. */
  readonly scores: readonly (readonly number[])[];
}

/** Texts that a model's speed is measured on, and how often. */
export const timed = 256;
const rounds = 3;

/** Scores a model on the test part. */
export async function measure(
  name: string,
  classifier: TextEncoder<SequenceClassificationModel>,
  { kind }: Pick<ClassifierData, 'kind'>,
  test: readonly TokenisedExample<Target>[],
  batchSize: number,
): Promise<Measured> {
  const { model } = classifier;
  const options = { batchSize, padTokenId: paddingOf(classifier) };
  const { scores, loss } = await scoreExamples(model, test, options);
  const figures = kinds[kind].evaluate(
    test.map(({ label }) => label),
    scores,
    model.config,
  );
  const run = (): Promise<unknown> => scoreExamples(model, test.slice(0, timed), options);
  const size = { parameters: model.numParameters() / 1e6, bytes: deviceBytes(model) };
  return { name, ...size, run, figures, loss, scores };
}

/**
 * The least time that each takes, in turn, so that what else the machine does falls on all alike; the first
 * time is not counted, in which programs are made. In milliseconds.
 */
export async function timesOf(models: readonly Pick<Measured, 'run'>[]): Promise<number[]> {
  const least = models.map(() => Infinity);
  for (let round = 0; round <= rounds; round++)
    for (const [i, { run }] of models.entries()) {
      const start = performance.now();
      await run();
      if (round > 0) least[i] = Math.min(least[i]!, performance.now() - start);
    }
  return least;
}

/** Bytes of a model's weights on the device, packed ones as they are; what is shared counts once. */
export function deviceBytes(model: SequenceClassificationModel): number {
  return model.parameters().reduce((sum, parameter) => {
    const { quantized } = parameter;
    const parts = quantized ? [quantized.packed, quantized.scales, quantized.zeros, quantized.minimums] : [parameter];
    return sum + parts.reduce((bytes, part) => bytes + (part ? part.numel() * bytesOf(part.dtype) : 0), 0);
  }, 0);
}

/**
 * Models side by side, the first of them what the others are compared with, as lines and for a report; how
 * much faster they read is measured on this adapter.
 */
export async function comparison(
  models: readonly Measured[],
): Promise<{ readonly lines: string; readonly scores: TestScores }> {
  const [first] = models;
  const times = await timesOf(models);
  const names = Object.keys(first!.figures);
  const rows = models.map(({ name, parameters, figures, loss }, i) => [
    name,
    parameters.toFixed(2),
    `${(first!.parameters / parameters).toFixed(2)}x`,
    `${(times[0]! / times[i]!).toFixed(2)}x`,
    ...names.map((figure) => figures[figure]!.toFixed(3)),
    loss.toFixed(3),
  ]);
  const table = (title: string, columns: string[], valuesOf: (model: Measured, i: number) => number[]): ScoreTable => {
    const rows = models.map((model, i) => ({
      name: model.name,
      scores: valuesOf(model, i).map((value) => ({ value })),
    }));
    return ownFirst({ title, columns, rows });
  };
  const scores = {
    of: `${first!.scores.length} texts`,
    tables: [
      table('Scores', [...names, 'loss'], ({ figures, loss }) => [...names.map((figure) => figures[figure]!), loss]),
      table('Size and speed', ['M parameters', 'MB on the device', 'times faster'], ({ parameters, bytes }, i) => [
        ...[parameters, bytes / 1e6, times[0]! / times[i]!],
      ]),
    ],
    samples: [],
  };
  const head = ['test', 'M parameters', 'smaller', 'faster', ...names, 'loss'];
  return { lines: alignTable(head, rows, new Set(head.map((_, i) => i).slice(1))), scores };
}
