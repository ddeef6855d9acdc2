/** A small model learns from what a large one says, not from the labels alone (Hinton et al. 2015). */
import {
  bceWithLogits,
  cast,
  cosineSimilarity,
  klDiv,
  logSoftmax,
  mean,
  mse,
  mul,
  noGrad,
  sigmoid,
  softmax,
  sub,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { progress } from '../../common/progress.ts';
import { encoderSizes } from '../../models/index.ts';
import type { SequenceClassificationModel, TextEncoder } from '../../models/index.ts';
import { readRows } from '../../models/pipelines/encoder.ts';
import { chunks } from '../../models/pipelines/rows.ts';
import { sequenceLogits } from '../../models/pipelines/text-classification.ts';
import type { Objective } from '../classifier/fine-tune.ts';
import type { Target } from '../data/read-table.ts';
import type { TokenisedExample } from '../data/tokenised.ts';

export interface DistillationOptions {
  /** Divides the logits of both: above 1 the teacher's doubts count more. */
  readonly temperature: number;
  /** Share of the teacher's answers in the loss; the rest is that of the labels. */
  readonly alpha: number;
  /** Weight of the distance between hidden states; 0: none. */
  readonly hiddenWeight: number;
  /** Weight of the distance between attention weights; 0: none. */
  readonly attentionWeight: number;
}

/** The defaults of distill.ts. */
export const usual: DistillationOptions = { temperature: 2, alpha: 0.7, hiddenWeight: 0, attentionWeight: 0 };

/** The distance of a student's logits (B, L) to a teacher's, by the kind of the labels. */
const softLosses = {
  /** T^2 KL(softmax(t / T) || softmax(s / T)): its gradient does not shrink as T grows. */
  single_label_classification: (student: Tensor, teacher: Tensor, temperature: number) =>
    klDiv(logSoftmax(student.div(temperature)), softmax(teacher.div(temperature)), { reduction: 'batchMean' }).mul(
      temperature ** 2,
    ),
  /** T^2 times the cross-entropy of each label's probability. */
  multi_label_classification: (student: Tensor, teacher: Tensor, temperature: number) =>
    bceWithLogits(student.div(temperature), sigmoid(teacher.div(temperature))).mul(temperature ** 2),
  regression: (student: Tensor, teacher: Tensor) => mse(student, teacher),
} as const;

/**
 * The distance between answers of a student and a teacher, (B, L) each, a mean over the rows.
 *
 * @example
 * softLoss(tensor([[2, 0]]), tensor([[2, 0]]), 2); // 0.000
 */
export function softLoss(
  student: Tensor,
  teacher: Tensor,
  temperature: number,
  problemType: keyof typeof softLosses = 'single_label_classification',
): Tensor {
  return softLosses[problemType](student, teacher, temperature);
}

/**
 * Which of a teacher's layers each of a student's is to be like, counted from 0: of 12 and 3 layers, 3, 7 and
 * 11, the last of as many equal blocks (TinyBERT, Jiao et al. 2020).
 *
 * @example
 * layerMap(3, 12); // [3, 7, 11]
 */
export function layerMap(student: number, teacher: number): number[] {
  return Array.from({ length: student }, (_, layer) => Math.round(((layer + 1) * teacher) / student) - 1);
}

export interface Pupil {
  readonly student: SequenceClassificationModel;
  readonly teacher: SequenceClassificationModel;
  /** What the teacher says of each example to train on, [examples][L]; see `teacherLogits`. */
  readonly logits: readonly ArrayLike<number>[];
}

/**
 * The loss by which a student learns from a teacher: alpha soft + (1 - alpha) labels + hiddenWeight hidden +
 * attentionWeight attentions. Hidden states are as near as 1 - their cosine, attention weights by KL; layers
 * are matched by `layerMap`.
 *
 * Errors, each one line: other labels or kinds of labels; hidden states of another width, or another number
 * of heads, where they are compared; alpha outside 0 to 1, a temperature that is not above 0.
 *
 * @example
 * const { model, tokenizer } = await pipeline('text-classification');
 * const rows = tokenise(tokenizer, [{ text: 'Win a prize', label: 1 }], 64);
 * const logits = await teacherLogits({ model, tokenizer }, rows, 8);
 * const weights = { temperature: 2, alpha: 0.5, hiddenWeight: 0, attentionWeight: 0 };
 * const objective = distillation({ student: keepLayers(model, [0]), teacher: model, logits }, weights);
 */
export function distillation({ student, teacher, logits }: Pupil, options: DistillationOptions): Objective {
  const { temperature, alpha, hiddenWeight, attentionWeight } = options;
  const [own, its] = [student.config, teacher.config];
  if (!(temperature > 0)) throw new Error(`distillation: temperature is ${temperature}; give a number above 0`);
  if (!(alpha >= 0 && alpha <= 1)) throw new Error(`distillation: alpha is ${alpha}; give a share from 0 to 1`);
  if (own.labels.join('\n') !== its.labels.join('\n') || kindName(own) !== kindName(its))
    throw new Error(
      `distillation: the student is for ${own.labels.join(', ')} (${kindName(own)}), the teacher for ` +
        `${its.labels.join(', ')} (${kindName(its)}); give models of the same labels`,
    );
  const [small, large] = [encoderSizes(own), encoderSizes(its)];
  if (hiddenWeight > 0 && small.width !== large.width)
    throw new Error(
      `distillation: hidden states are ${small.width} wide in the student and ${large.width} in the teacher, and ` +
        'cannot be compared; leave --hidden-weight out',
    );
  teacher.eval(); // it answers without dropout
  const map = layerMap(small.layers, large.layers);
  const inside = hiddenWeight > 0 || attentionWeight > 0;
  const asked = { outputHiddenStates: hiddenWeight > 0, outputAttentions: attentionWeight > 0 };
  return {
    parts: ['soft', 'labels', ...(hiddenWeight > 0 ? ['hidden'] : []), ...(attentionWeight > 0 ? ['attention'] : [])],
    lossLabel: 'distillation loss',
    identity: { distillation: { ...options, teacher: teacher.configText() } },
    arrays(examples) {
      const rows = examples.map((i) => Array.from(logits[i]!));
      return { teacherLogits: { data: Float32Array.from(rows.flat()), shape: [rows.length, rows[0]!.length] } };
    },
    losses(inputs, labels, { teacherLogits }) {
      const output = student.forward({ ...inputs, labels, ...asked });
      const soft = softLoss(output.logits, teacherLogits!, temperature, own.problemType ?? undefined);
      const losses = { soft: soft.mul(alpha), labels: output.loss!.mul(1 - alpha) };
      if (!inside) return losses;
      const shown = noGrad(() => teacher.forward({ ...inputs, ...asked }));
      const { attentionMask } = inputs;
      return {
        ...losses,
        ...(hiddenWeight > 0
          ? { hidden: hiddenDistance(output.hiddenStates!, shown.hiddenStates!, map, attentionMask).mul(hiddenWeight) }
          : {}),
        ...(attentionWeight > 0
          ? {
              attention: attentionDistance(output.attentions!, shown.attentions!, map, attentionMask).mul(
                attentionWeight,
              ),
            }
          : {}),
      };
    },
  };
}

const kindName = ({ problemType }: SequenceClassificationModel['config']): string =>
  problemType ?? 'single_label_classification';

/**
 * What a teacher says of examples, [examples][L], with a bar while it reads.
 *
 * @example
 * const teacher = await pipeline('text-classification');
 * const rows = tokenise(teacher.tokenizer, [{ text: 'Win a prize', label: 1 }], 64);
 * const [logits] = await teacherLogits(teacher, rows, 8);
 * logits.length; // 2
 */
export async function teacherLogits(
  teacher: TextEncoder<SequenceClassificationModel>,
  examples: readonly TokenisedExample<Target>[],
  batchSize: number,
): Promise<Float32Array[]> {
  const logits: Float32Array[] = [];
  const bar = progress({ total: examples.length });
  try {
    // In parts, so that the bar moves; within each, rows of like length are read together.
    for (const part of chunks([...examples.keys()], 16 * batchSize)) {
      const rows = part.map((i) => examples[i]!);
      logits.push(...(await readRows(teacher, rows, sequenceLogits, { batchSize })));
      bar.update(logits.length, { label: 'texts read by the teacher' });
    }
  } finally {
    bar.stop();
  }
  return logits;
}

/** The mean of values (B, T) over the tokens that are no padding. */
function overTokens(values: Tensor, attentionMask: Tensor): Tensor {
  const mask = cast(attentionMask, 'f32'); // (B, T)
  return mul(values, mask).sum().div(mask.sum());
}

/** 1 - cos of hidden states (B, T, D), the embeddings' included; a mean over tokens and layers. */
function hiddenDistance(
  student: readonly Tensor[],
  teacher: readonly Tensor[],
  map: readonly number[],
  attentionMask: Tensor,
): Tensor {
  const pairs = [[student[0]!, teacher[0]!], ...map.map((its, own) => [student[own + 1]!, teacher[its + 1]!])];
  const far = pairs.map(([a, b]) => overTokens(sub(1, cosineSimilarity(a!, b!, { axis: 2 })), attentionMask));
  return far.reduce((a, b) => a.add(b)).div(far.length);
}

/** KL(teacher || student) of attention weights (B, H, T, T): a mean over tokens, heads and layers. */
function attentionDistance(
  student: readonly Tensor[],
  teacher: readonly Tensor[],
  map: readonly number[],
  attentionMask: Tensor,
): Tensor {
  const far = map.map((its, own) => {
    const [a, b] = [student[own]!, teacher[its]!];
    if (a.shape[1] !== b.shape[1])
      throw new Error(
        `distillation: layer ${own} of the student has ${a.shape[1]} heads, layer ${its} of the teacher ` +
          `${b.shape[1]}, and they cannot be compared; leave --attention-weight out`,
      );
    const tiny = 1e-9; // what is masked has a weight of 0
    const kl = klDiv(a.add(tiny).log(), b, { reduction: 'none' }).sum(3); // (B, H, T)
    return overTokens(mean(kl, 1), attentionMask);
  });
  return far.reduce((a, b) => a.add(b)).div(far.length);
}
