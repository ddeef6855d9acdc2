/**
 * A trained classifier, its texts, and what of it is measured: what every script that makes one smaller
 * begins with.
 */
import { basename, extname, join } from 'node:path';
import { manualSeed } from '../../autograd/index.ts';
import type { SequenceClassificationModel, TextEncoder } from '../../models/index.ts';
import { loadTextClassifier } from '../../models/pipelines/text-classification.ts';
import { loadClassifierData } from '../classifier/data.ts';
import type { ClassifierData, DataOptions } from '../classifier/data.ts';
import { describeRun } from '../classifier/classifier-report.ts';
import { classifierDataFlags } from '../classifier/model.ts';
import type { Option } from '../cli/cli.ts';
import type { Target } from '../data/read-table.ts';
import { tokenise } from '../data/tokenised.ts';
import type { KeptPart, TokenisedExample } from '../data/tokenised.ts';

/** Flags of every script that makes a classifier smaller. */
export const trainedFlags = {
  ...classifierDataFlags,
  maxLength: { type: 'int', default: 96, min: 3, help: 'tokens a text; longer ones are cut' },
} as const satisfies Record<string, Option>;

export type Part = readonly TokenisedExample<Target>[];

/** A classifier and its texts as it reads them. */
export interface Trained {
  readonly classifier: TextEncoder<SequenceClassificationModel>;
  readonly data: ClassifierData;
  readonly train: Part;
  readonly validation: Part;
  readonly test: Part;
}

/**
 * Loads a classifier and the texts it is to be measured on. Error, one line: its labels are not those of the
 * data.
 */
export async function loadTrained(
  folder: string,
  values: DataOptions & { readonly maxLength: number; readonly keep: KeptPart },
): Promise<Trained> {
  manualSeed(values.seed);
  const classifier = await loadTextClassifier(folder);
  const data = await loadClassifierData(values);
  const { labels } = classifier.model.config;
  if (data.kind !== 'regression' && labels.join('\n') !== data.labels.join('\n'))
    throw new Error(
      `${folder} is for the labels ${labels.join(', ')}, and the data has ${data.labels.join(', ')}; give the data ` +
        'that it was trained on',
    );
  console.log(describeRun(data, classifier.model, values));
  const read = (part: ClassifierData['test']): Part =>
    tokenise(classifier.tokenizer, part, values.maxLength, values.keep);
  return { classifier, data, train: read(data.train), validation: read(data.validation), test: read(data.test) };
}

/** Where a smaller model goes: `runs/`, what was done, and the name of the data. */
export const outputOf = (given: string | undefined, what: string, data: string): string =>
  given ?? join('runs', `${what}-${basename(data, extname(data))}`);
