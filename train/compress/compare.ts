/** A model before and after: what was gained, and what it cost. */
import { alignTable } from '../../common/text-table.ts';
import { paddingOf } from '../../models/index.ts';
import type { SequenceClassificationModel, TextEncoder } from '../../models/index.ts';
import type { ClassifierData } from '../classifier/data.ts';
import { kinds } from '../classifier/kinds.ts';
import { scoreExamples } from '../classifier/predict.ts';
import type { Target } from '../data/read-table.ts';
import type { TokenisedExample } from '../data/tokenised.ts';

/** What is told of a model. */
export interface Measured {
  readonly name: string;
  /** In millions. */
  readonly parameters: number;
  /** Texts read in a second on this adapter, the test part's, programs made before. */
  readonly textsPerSecond: number;
  /** The figures of the test part by name, such as accuracy and F1. */
  readonly figures: Readonly<Record<string, number>>;
  readonly loss: number;
}

/** Texts that a model's speed is measured on. */
const timed = 256;

/** Scores a model on the test part and times it. */
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
  const some = test.slice(0, timed);
  await scoreExamples(model, some, options);
  const start = performance.now();
  await scoreExamples(model, some, options);
  const textsPerSecond = (1000 * some.length) / (performance.now() - start);
  const figures = kinds[kind].evaluate(
    test.map(({ label }) => label),
    scores,
    model.config,
  );
  return { name, parameters: model.numParameters() / 1e6, textsPerSecond, figures, loss };
}

/** Models side by side, the first of them what the others are compared with. */
export function comparison(models: readonly Measured[]): string {
  const [first] = models;
  const names = Object.keys(first!.figures);
  const rows = models.map(({ name, parameters, textsPerSecond, figures, loss }) => [
    name,
    parameters.toFixed(2),
    `${(first!.parameters / parameters).toFixed(2)}x`,
    `${(textsPerSecond / first!.textsPerSecond).toFixed(2)}x`,
    ...names.map((figure) => figures[figure]!.toFixed(3)),
    loss.toFixed(3),
  ]);
  const head = ['test', 'M parameters', 'smaller', 'faster', ...names, 'loss'];
  return alignTable(head, rows, new Set(head.map((_, i) => i).slice(1)));
}
