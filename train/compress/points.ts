/** Ways to make a classifier smaller, each at some strengths: the points of a comparison. */
import { join } from 'node:path';
import { loadTextClassifier } from '../../models/pipelines/text-classification.ts';
import type { Quantization, SequenceClassificationModel, TextEncoder } from '../../models/index.ts';
import { fineTune } from '../classifier/fine-tune.ts';
import type { FineTuneOptions } from '../trainer/epochs.ts';
import { canResume } from '../trainer/run-state.ts';
import type { Resume } from '../trainer/run-state.ts';
import { withExtra } from '../classifier/model.ts';
import { distillation, teacherLogits, usual } from './distillation.ts';
import { exitLogits, exitObjective, largestEntropy, withExits } from './early-exit.ts';
import { fakeQuantized, packFakeQuantized } from './quantization-aware.ts';
import { withLinearAttention } from './linear-attention.ts';
import { smallerModel, trainPruned, weightPruning } from './prune-classifier.ts';
import type { Calibration, Parts, Zeros } from './prune-classifier.ts';
import { evenly, keepLayers, layersOf } from './smaller.ts';
import type { Trained } from './trained.ts';

/** What points are made from. */
export interface Making extends Calibration {
  /** The classifier as it was trained. */
  readonly folder: string;
  readonly trained: Trained;
  /** Where the point's model goes. */
  readonly output: string;
  readonly options: FineTuneOptions;
  /** Go on with a training that was stopped, or take what it made where it had ended. */
  readonly resume: Resume;
}

/** A way at one strength. */
export interface Point {
  /** The way, whose points are one curve of the picture. */
  readonly method: string;
  /** How much of it, as tables show it. */
  readonly strength: string;
  /** Makes the model and saves it to `output`. */
  readonly make: (making: Making) => Promise<SequenceClassificationModel>;
}

/** A classifier of its own for a point, since training and masks change it. */
const afresh = async ({ folder, trained }: Making): Promise<Trained> => ({
  ...trained,
  classifier: await loadTextClassifier(folder),
});

/** A training for a point, that goes on where it is asked to and there is something to go on with. */
const trainingOf = async ({ trained, output, options, resume }: Making, { tokenizer }: TextEncoder) => ({
  ...{ tokenizer, output, options },
  resume: resume !== false && (await canResume(output)) ? resume : false,
  train: trained.train,
  validation: trained.validation,
});

/**
 * Where a model learns whose point is another than what may learn on: the run goes on from what it finds in
 * its folder, so that nothing else is saved there.
 */
const learning = (making: Making): Making => ({ ...making, output: join(making.output, 'learning') });

const without = (method: string, strength: string, parts: Parts): Point => ({
  method,
  strength,
  async make(making) {
    const trained = await afresh(making);
    const model = await smallerModel(trained, parts, making);
    await trainPruned({ ...(await trainingOf(making, trained.classifier)), model, identity: { parts } });
    return model;
  },
});

const zeros = (method: string, strength: string, kind: Zeros): Point => ({
  method,
  strength,
  async make(making) {
    const trained = await afresh(making);
    const { model } = trained.classifier;
    const pruning = await weightPruning(model, trained, kind, making);
    const training = await trainingOf(pruning.moves ? learning(making) : making, trained.classifier);
    const made = await trainPruned({ ...training, model, identity: { kind }, zeros: pruning });
    if (pruning.moves) await made.model.savePretrained(making.output, { tokenizer: training.tokenizer });
    return made.model;
  },
});

/** Another model of the classifier's weights, that learns its answers. */
const student = (
  method: string,
  strength: string,
  identity: Readonly<Record<string, unknown>>,
  begin: (making: Making) => Promise<SequenceClassificationModel>,
): Point => ({
  method,
  strength,
  async make(making) {
    const { classifier: teacher, train } = making.trained;
    const model = await begin(making);
    const logits = await teacherLogits(teacher, train, making.batchSize);
    await fineTune({
      ...(await trainingOf(making, teacher)),
      model,
      objective: distillation({ student: model, teacher: teacher.model, logits }, usual),
      identity,
    });
    return model;
  },
});

const fewerLayers = (share: number, strength: string): Point =>
  student('student, fewer layers', strength, { share }, ({ trained: { classifier } }) => {
    const layers = layersOf(classifier.model);
    return Promise.resolve(keepLayers(classifier.model, evenly(Math.max(1, Math.round(share * layers)), layers)));
  });

const inGroups = (groups: number): Point =>
  student('in groups', String(groups), { groups }, (making) => smallerModel(making.trained, { groups }, making));

/** Off-ramps, taught alone; texts leave as early as costs next to nothing on the validation part. */
const exits: Point = {
  method: 'early exit',
  strength: '0.5% accuracy',
  async make(making) {
    const { classifier, validation } = making.trained;
    const model = withExits(classifier.model);
    const training = { ...(await trainingOf(making, classifier)), validation: [], identity: {} };
    await fineTune({ ...training, model, objective: exitObjective(model, { joint: false }) });
    const { tokenizer } = classifier;
    const truth = validation.map(({ label }) => label as number);
    const logits = await exitLogits({ model, tokenizer }, validation, making.batchSize);
    withExtra(model, { early_exit_entropy: largestEntropy(logits, truth, 0.005) });
    await model.requiresGrad(true).savePretrained(making.output, { tokenizer });
    return model;
  },
};

/** Weights of fewer bits, rounded to nearest; saved, and measured as they are loaded from the folder. */
const rounded = (strength: string, quantize?: Quantization): Point => ({
  method: 'fewer bits',
  strength,
  async make({ folder, trained, output }) {
    const { model } = await loadTextClassifier(folder, { quantize, log });
    await model.savePretrained(output, { tokenizer: trained.classifier.tokenizer, dtype: 'f16' });
    return (await loadTextClassifier(output, { quantize: quantize && 'keep', log })).model;
  },
});

/**
 * The same weights, learnt with: a folder with packed ones, too. The model learns to answer as it did, in
 * small steps: an epoch more of the labels, which it knows, costs more than rounding does.
 */
const aware = (bits: 4 | 8): Point => ({
  method: 'fewer bits, learnt',
  strength: String(bits),
  async make(making) {
    const { classifier } = await afresh(making);
    const model = await fakeQuantized(classifier.model, bits);
    const { options, ...training } = await trainingOf(learning(making), classifier);
    const logits = await teacherLogits(classifier, training.train, making.batchSize);
    await fineTune({
      ...training,
      options: { ...options, learningRate: options.learningRate / 5 },
      model,
      objective: distillation({ student: model, teacher: classifier.model, logits }, { ...usual, alpha: 1 }),
      identity: { bits },
    });
    const packed = await packFakeQuantized(model);
    await packed.savePretrained(making.output, { tokenizer: classifier.tokenizer, dtype: 'f16' });
    return (await loadTextClassifier(making.output, { quantize: 'keep', log })).model;
  },
});
const log = (): void => undefined;

/** All of them, by the name that `--points` takes. */
export const points: Readonly<Record<string, Point>> = {
  // Whole, trained on as the others are: what of their figures comes of that.
  whole: without('trained on', 'whole', {}),
  'heads-25': without('heads out', '25%', { heads: 0.25 }),
  'heads-50': without('heads out', '50%', { heads: 0.5 }),
  'heads-75': without('heads out', '75%', { heads: 0.75 }),
  'units-50': without('units out', '50%', { units: 0.5 }),
  'units-75': without('units out', '75%', { units: 0.75 }),
  'heads-units-50': without('heads and units out', '50%', { heads: 0.5, units: 0.5 }),
  'heads-units-75': without('heads and units out', '75%', { heads: 0.75, units: 0.75 }),
  'layers-50': fewerLayers(0.5, '50%'),
  'early-exit': exits,
  'tokens-50': without('tokens out', '50%', { tokens: 0.5 }),
  'tokens-25': without('tokens out', '75%', { tokens: 0.25 }),
  'groups-2': inGroups(2),
  'groups-4': inGroups(4),
  'linear-attention': student('linear attention', '', { linearAttention: true }, ({ trained: { classifier } }) =>
    Promise.resolve(withLinearAttention(classifier.model)),
  ),
  'rank-50': without('low rank', '50%', { thin: { share: 0.5 } }),
  'rank-25': without('low rank', '25%', { thin: { share: 0.25 } }),
  'weights-50': zeros('weights zero', '50%', { sparsity: 0.5, scope: 'model' }),
  'weights-80': zeros('weights zero', '80%', { sparsity: 0.8, scope: 'model' }),
  'weights-95': zeros('weights zero', '95%', { sparsity: 0.95, scope: 'model' }),
  'movement-80': zeros('weights zero, by movement', '80%', { sparsity: 0.8, scope: 'model', score: 'movement' }),
  'movement-95': zeros('weights zero, by movement', '95%', { sparsity: 0.95, scope: 'model', score: 'movement' }),
  'weights-2:4': zeros('weights zero', '2:4', { sparsity: 0, pattern: '2:4', scope: 'row' }),
  'bits-16': rounded('16'),
  'bits-8': rounded('8', 'q8_0'),
  'bits-4': rounded('4', 'q4_0'),
  'bits-8-8': rounded('8, activations too', 'int8'),
  'bits-nf4': rounded('4, NF4', 'nf4'),
  'bits-8-aware': aware(8),
  'bits-4-aware': aware(4),
};
