/** Classifiers that drop the tokens of a text on the way which got least attention. */
import { noGrad } from '../../autograd/index.ts';
import type { ModelConfig, SequenceClassificationModel } from '../../models/index.ts';
import { paddingOf } from '../../models/index.ts';
import { kinds } from '../classifier/kinds.ts';
import { scoreExamples } from '../classifier/predict.ts';
import { hasBertEncoder, layersOf, rebuilt } from './smaller.ts';
import type { Trained } from './trained.ts';

/**
 * Shares of a text's tokens that go on behind each of so many layers, where each leaves `share` of those that
 * it was given.
 *
 * @example
 * retentionOf(0.5, 3); // [0.5, 0.25, 0.125]
 */
export function retentionOf(share: number, layers: number): number[] {
  if (!(share > 0 && share <= 1))
    throw new Error(`retentionOf: each layer is to leave ${share} of its tokens; give a number above 0, at most 1`);
  return Array.from({ length: layers }, (_, layer) => share ** (layer + 1));
}

/**
 * A copy of a classifier behind whose layers only some tokens of each text go on, so that later layers have
 * less to do: those that got most attention in the layer, the first always among them (PoWER-BERT, Goyal et
 * al. 2020). `shares` are of the tokens that a text has, for each layer; a number says what each leaves of
 * those that it was given. config.json says so as `token_retention`, with which the folder loads here;
 * Transformers loads the whole model.
 *
 * Errors, each one line: a family whose layers are not BERT's (give BERT, RoBERTa or ELECTRA); off-ramps;
 * shares that rise, are none or not one for each layer.
 *
 * @example
 * const config = { vocabSize: 50, hiddenSize: 8, numHiddenLayers: 2, numAttentionHeads: 2 };
 * const less = keepTokens(BertForSequenceClassification.fromConfig(config), 0.5);
 * less.config.extra; // { token_retention: [0.5, 0.25] }
 */
export function keepTokens<M extends SequenceClassificationModel>(model: M, shares: number | readonly number[]): M {
  if (!hasBertEncoder(model))
    throw new Error(
      `keepTokens: a ${model.constructor.name} does not drop tokens here; give a classifier of BERT, RoBERTa or ` +
        'ELECTRA',
    );
  const retention = typeof shares === 'number' ? retentionOf(shares, layersOf(model)) : [...shares];
  const extra = { ...model.config.extra, token_retention: retention };
  return noGrad(() => rebuilt(model, { ...model.config, extra } as ModelConfig, model.stateDict())) as M;
}

/** Shares that are tried, from much to little. */
const shares = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1];

/**
 * The smallest share for `retentionOf` before the first that costs more than `tolerance` of the figure that
 * tells most, such as the accuracy, on the validation part; 1 where the first does. Nothing is trained.
 */
export async function fewestTokens(
  { classifier, data, validation }: Pick<Trained, 'classifier' | 'data' | 'validation'>,
  tolerance: number,
  batchSize: number,
): Promise<number> {
  if (validation.length === 0)
    throw new Error('fewestTokens: there is no validation part to choose by; give the shares of tokens themselves');
  const { tells, evaluate } = kinds[data.kind];
  const truth = validation.map(({ label }) => label);
  const figureOf = async (model: SequenceClassificationModel): Promise<number> => {
    const { scores } = await scoreExamples(model, validation, { batchSize, padTokenId: paddingOf(classifier) });
    return evaluate(truth, scores, model.config)[tells[0]] ?? NaN;
  };
  const whole = await figureOf(classifier.model);
  let fewest = 1;
  for (const share of shares) {
    if (!((await figureOf(keepTokens(classifier.model, share))) >= whole - tolerance)) break;
    fewest = share;
  }
  return fewest;
}
