/** A trained classifier with less: the steps that `prune.ts` and `compress.ts` share. */
import { join } from 'node:path';
import { evalMode, paddingOf, rowLimits } from '../../models/index.ts';
import type { SequenceClassificationModel } from '../../models/index.ts';
import { chunks } from '../../models/pipelines/rows.ts';
import { fineTune } from '../classifier/fine-tune.ts';
import type { FineTuneTask } from '../classifier/fine-tune.ts';
import { collate } from '../data/tokenised.ts';
import type { ClassificationBatch } from '../data/tokenised.ts';
import { InputProducts } from './gptq.ts';
import { grouped } from './grouped.ts';
import { importanceOf, leastImportant, others } from './importance.ts';
import { withLinearAttention } from './linear-attention.ts';
import { lowRank } from './low-rank.ts';
import type { Thinness } from './low-rank.ts';
import { masked, movementPruning, withoutMasks } from './movement.ts';
import { headsOf, keepLayers, keepUnits, pruneHeads, unitsOf } from './smaller.ts';
import { keepTokens } from './token-pruning.ts';
import type { Trained } from './trained.ts';
import { gradualPruning, inputNormsOf, PrunedWeights } from './weights.ts';
import type { WeightPruning } from './weights.ts';

/** Texts that a model is judged by. */
export interface Calibration {
  /** How many texts of those to train on. */
  readonly calibration: number;
  readonly batchSize: number;
}

export interface Parts {
  /** Layers that stay, from 0 up; default all. */
  readonly keepLayers?: readonly number[];
  /** Share of the attention heads that goes. */
  readonly heads?: number;
  /** Share of the units of each feed-forward part that goes. */
  readonly units?: number;
  /** Each linear layer becomes two thin ones, after the rest; see `lowRank`. */
  readonly thin?: Thinness | undefined;
  /** The feed-forward parts compute in so many groups; see `grouped`. */
  readonly groups?: number | undefined;
  /** Attention takes time linear in the tokens; see `withLinearAttention`. */
  readonly linearAttention?: boolean | undefined;
  /** Which share of a text's tokens goes on behind each layer; see `keepTokens`. */
  readonly tokens?: number | readonly number[] | undefined;
}

/**
 * What a weight counts: its size, that times the norm of its input, what its layer lacks without it, or
 * whether training moves it away from zero.
 */
export const scores = ['magnitude', 'wanda', 'sparse-gpt', 'movement'] as const;

/** Which weights become zero; see `WeightPruning`. */
export interface Zeros extends Omit<WeightPruning, 'inputNorms' | 'products'> {
  readonly score?: (typeof scores)[number];
  /** Of movement; see `movementPruning`. */
  readonly penalty?: number | undefined;
}

/** What `trainPruned` makes of `Zeros`. */
export interface Pruning extends WeightPruning {
  readonly moves?: true;
  readonly penalty?: number | undefined;
}

type Judged = Pick<Trained, 'classifier' | 'train'>;

/** Some of the texts to train on, in batches, as the model reads them. */
function calibrationBatches(model: SequenceClassificationModel, { classifier, train }: Judged, values: Calibration) {
  const padTokenId = paddingOf(classifier);
  return chunks(train.slice(0, values.calibration), values.batchSize).map((some) =>
    collate(some, padTokenId, rowLimits(model)),
  );
}

/**
 * The classifier's model without the layers, and the heads and units that its loss hangs on least, with the
 * rest in groups, of low rank, and fewer tokens between the layers; itself where nothing is to go.
 */
export async function smallerModel(
  trained: Judged,
  { thin, groups, tokens, linearAttention = false, ...parts }: Parts,
  calibration: Calibration,
): Promise<SequenceClassificationModel> {
  const some = await withoutParts(trained, parts, calibration);
  const apart =
    groups === undefined
      ? some
      : await grouped(some, { groups, products: await inputProducts(some, trained, calibration) });
  const both = thin ? await lowRank(apart, thin) : apart;
  const model = linearAttention ? withLinearAttention(both) : both;
  return tokens === undefined ? model : keepTokens(model, tokens);
}

async function withoutParts(
  trained: Judged,
  { keepLayers: kept, heads = 0, units = 0 }: Omit<Parts, 'thin' | 'groups' | 'tokens' | 'linearAttention'>,
  calibration: Calibration,
): Promise<SequenceClassificationModel> {
  let { model } = trained.classifier;
  if (kept !== undefined) model = keepLayers(model, kept);
  if (heads === 0 && units === 0) return model;
  const importance = await importanceOf(model, calibrationBatches(model, trained, calibration), {
    rows: ({ inputIds }: ClassificationBatch) => inputIds.shape[0]!,
    loss: (batch) => model.forward(batch).loss!,
  });
  if (heads > 0) {
    const there = headsOf(model);
    const gone = leastImportant(importance.heads, heads, 'model').map((list, layer) =>
      list.map((at) => there[layer]![at]!),
    );
    model = pruneHeads(model, gone);
  }
  if (units === 0) return model;
  const count = unitsOf(model);
  return keepUnits(
    model,
    leastImportant(importance.units, units, 'layer').map((gone) => others(gone, count)),
  );
}

/** What the linear layers of a model read of some texts. */
async function inputProducts(
  model: SequenceClassificationModel,
  trained: Judged,
  calibration: Calibration,
): Promise<InputProducts> {
  using _mode = evalMode(model);
  const products = new InputProducts();
  for (const { labels: _, ...inputs } of calibrationBatches(model, trained, calibration))
    await products.add(model, () => void model.forward(inputs), inputs.attentionMask);
  return products;
}

/** How weights of a model are to become zero, with the norms of what they read where that counts. */
export async function weightPruning(
  model: SequenceClassificationModel,
  trained: Judged,
  { score = 'magnitude', ...zeros }: Zeros,
  calibration: Calibration,
): Promise<Pruning> {
  if (score === 'magnitude') return zeros;
  if (score === 'movement') return { ...zeros, moves: true };
  if (score === 'sparse-gpt') return { ...zeros, products: await inputProducts(model, trained, calibration) };
  const inputNorms = await inputNormsOf(
    model,
    calibrationBatches(model, trained, calibration),
    ({ labels: _, ...inputs }: ClassificationBatch) => void model.forward(inputs),
    ({ attentionMask }) => attentionMask,
  );
  return { ...zeros, scope: 'row', inputNorms };
}

export interface PrunedTraining extends FineTuneTask {
  /** Weights that become zero on the way; undefined: none do. */
  readonly zeros?: Pruning;
}

export interface PrunedModel {
  readonly model: SequenceClassificationModel;
  /** The weights that are held at zero; undefined where none are. */
  readonly pruned?: PrunedWeights;
}

/**
 * Trains what is left, or with 0 epochs saves it as it is. Of weights that move, `output` has the model that
 * may learn on, and the folder `pruned` in it the one with zeros, which is returned.
 */
export async function trainPruned({ zeros, ...run }: PrunedTraining): Promise<PrunedModel> {
  const { model, tokenizer, train, validation, output } = run;
  const { epochs, batchSize } = run.options;
  const steps = epochs * Math.ceil(train.length / batchSize);
  if (!zeros && epochs > 0) {
    await fineTune({ ...run, validation });
    return { model };
  }
  // The best model of a run that prunes would be one that is not pruned yet.
  const pruning = { ...run, validation: [] };
  if (zeros?.moves) {
    if (epochs === 0) throw new Error('movementPruning: scores are learnt while the model trains; give it epochs');
    const moving = masked(model);
    const { callback, objective } = movementPruning(moving, { ...zeros, steps });
    await fineTune({ ...pruning, model: moving, callbacks: [callback], ...(objective && { objective }) });
    const left = withoutMasks(moving);
    await left.savePretrained(join(output, 'pruned'), { tokenizer });
    return { model: left, pruned: new PrunedWeights(left) };
  }
  const pruned = zeros && new PrunedWeights(model);
  if (epochs > 0) await fineTune({ ...pruning, callbacks: [gradualPruning(pruned!, { ...zeros!, steps })] });
  else {
    await pruned?.prune(zeros!);
    await model.savePretrained(output, { tokenizer });
  }
  return pruned ? { model, pruned } : { model };
}
