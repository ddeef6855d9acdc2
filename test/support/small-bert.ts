import { manualSeed, noGrad, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { BertForSequenceClassification } from '../../models/index.ts';
import type { BertSettings } from '../../models/index.ts';

/** A BERT of a few hundred parameters, and a padded batch for it. */
export const settings: BertSettings = {
  vocabSize: 20,
  hiddenSize: 8,
  numHiddenLayers: 1,
  numAttentionHeads: 2,
  intermediateSize: 6,
  maxPositionEmbeddings: 10,
};

/** A BERT classifier of these settings, always with the same random weights. */
export function seededClassifier(given: BertSettings): BertForSequenceClassification {
  manualSeed(1);
  return BertForSequenceClassification.fromConfig(given).eval();
}

export const i32 = (rows: number[][]): Tensor => tensor(rows, { dtype: 'i32' });

export const inputs = {
  inputIds: i32([
    [3, 4, 5],
    [6, 7, 0],
  ]),
  attentionMask: i32([
    [1, 1, 1],
    [1, 1, 0],
  ]),
};

export const values = async (x: Tensor): Promise<number[]> => Array.from(await x.data());

export const logitsOf = (model: BertForSequenceClassification): Promise<number[]> =>
  values(noGrad(() => model.forward(inputs).logits));
