// One output of a model on one text, as a function of the tokens that are kept: what every method asks.
import { manualSeed, randomState, scope, setRandomState, tensor } from '../../autograd/index.ts';
import type { Compiled, Tensor } from '../../autograd/index.ts';
import { highest } from '../../common/collections.ts';
import { brief } from '../../common/printable.ts';
import { evalMode } from '../../models/index.ts';
import type { AnyTokenizer, Module } from '../../models/index.ts';
import { chunks, compiledFor } from '../../models/pipelines/rows.ts';
import { badModule } from './bad-values.ts';
import { gradientsOf } from './embedding-gradients.ts';
import type { GradientForm } from './embedding-gradients.ts';
import { findTarget, outputOf, scoresOf, targetName } from './output.ts';
import type { ExplainedRow, KindOfModel, LabelledBatch, OutputScale, PlacedBatch, Target } from './output.ts';
import { baselineToken, batchOf, limitsOf, readRow } from './read-text.ts';
import type { Baseline, ExplainedText } from './read-text.ts';

export interface SubjectOptions {
  /**
   * What is explained: the name or number of a label, of a model of language a token; default the one that
   * the model itself chooses. Of a model of questions 'start' (default) or 'end' of its answer.
   */
  readonly target?: string | number | undefined;
  /**
   * The place of the output that counts, as a piece of the text or the number of a token: for taggers, whose
   * tokens have labels each, models of masked tokens (default the first mask) and of questions (default where
   * the model finds the answer).
   */
  readonly at?: string | number | undefined;
  /**
   * Why the target and not this: a label or token whose number is taken off that of the target (Yin and
   * Neubig 2022).
   */
  readonly contrast?: string | number | undefined;
  /** Which number is explained; default logit. */
  readonly output?: OutputScale | undefined;
  /** Default: the first of mask, pad, unk and eos that the tokenizer has. */
  readonly baseline?: Baseline | undefined;
  /** Rows at once; default 16. */
  readonly batchSize?: number | undefined;
  /** Cut texts that are longer than the model reads; else they are an error. Default false. */
  readonly truncation?: boolean | undefined;
  /** Tokens of a row, where the model is to read fewer than it can. */
  readonly maxLength?: number | undefined;
  /** Ends the work between two batches with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Is told after each batch how many evaluations of the model are done, of how many. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Where gradients are taken: at baseline + alpha (text - baseline), with noise. */
export interface GradientPlan extends Pick<GradientForm, 'times'> {
  readonly alphas: readonly number[];
  /** Deviation of the noise, as a share of the range of the text's embeddings; default 0. */
  readonly noise?: number;
  readonly seed?: number;
  /** Whether the baseline is zeros, whatever the options say; default false. */
  readonly fromZero?: boolean;
}

export interface Subject {
  readonly model: Module;
  /** The text, or both. */
  readonly texts: readonly string[];
  readonly row: ExplainedRow;
  readonly scale: OutputScale;
  readonly target: Target & { readonly label: number };
  readonly targetName: string;
  /** Of a contrast the name of what the target is compared with. */
  readonly foilName: string | undefined;
  /** The places in the row of the tokens that are given scores: those of the text. */
  readonly features: readonly number[];
  /** The strings of the row's tokens. */
  readonly tokens: readonly string[];
  /** The explained number of the whole text. */
  readonly output: number;
  /** Numbers of an evaluated row at a time. */
  readonly batchSize: number;
  /**
   * The explained number where the features that are not kept are replaced by the baseline; `kept` has 1 for
   * those that are, one number a feature.
   */
  values(kept: readonly Uint8Array[]): Promise<Float64Array>;
  /** For each alpha: the explained number there, and each feature's gradient times difference (or input). */
  gradients(plan: GradientPlan): Promise<{ readonly values: Float64Array; readonly scores: Float64Array[] }>;
  /** The row as a batch of one. */
  batch(): LabelledBatch;
}

/** The work on texts of one model, whose captured programs serve all of them. Close it at the end. */
export interface Session {
  subject(text: ExplainedText): Promise<Subject>;
  /** Says how many evaluations are to come, for the progress. */
  expect(evaluations: number): void;
  /** Puts the model's mode back. */
  close(): void;
}

type OnModel<Batch> = (model: Module) => Compiled<[batch: Batch], Tensor>;

/** A function of a model and a batch for each name, compiled once for each model. */
function compiledByName<Batch>(): (name: string, forward: (model: Module, batch: Batch) => Tensor) => OnModel<Batch> {
  const known = new Map<string, OnModel<Batch>>();
  return (name, forward) => {
    const found = known.get(name) ?? compiledFor<Module, Batch, Tensor>(`explain ${name}`, forward);
    known.set(name, found);
    return found;
  };
}
const compiledOutput = compiledByName<LabelledBatch>();
const compiledScores = compiledByName<PlacedBatch>();
const outputFor = (kind: KindOfModel, scale: OutputScale): OnModel<LabelledBatch> =>
  compiledOutput(`${kind} ${scale}`, (model, batch) => outputOf(kind, scale, model, batch));
const scoresFor = (kind: KindOfModel): OnModel<PlacedBatch> =>
  compiledScores(kind, (model, batch) => scoresOf(kind, model, batch));

export function openSession(model: Module, tokenizer: AnyTokenizer, options: SubjectOptions): Session {
  const { output: scale = 'logit', batchSize = 16, signal, onProgress, truncation = false } = options;
  if (!Number.isInteger(batchSize) || batchSize < 1)
    throw new Error(`explain: batchSize must be a whole number of at least 1, got ${batchSize}`);
  const baseId = baselineToken(model, tokenizer, options.baseline);
  const own = limitsOf(model);
  const limits = { ...own, positions: Math.min(own.positions, options.maxLength ?? Infinity) };
  const mode = evalMode(model);
  const gradients = gradientsOf(model);
  let [done, expected] = [0, 0];
  const advance = (count: number): void => {
    done += count;
    onProgress?.(done, Math.max(done, expected));
    signal?.throwIfAborted();
  };

  async function subject(text: ExplainedText): Promise<Subject> {
    const row = readRow(tokenizer, text, limits, truncation);
    const texts = [text].flat();
    const asked = findTarget(model, tokenizer, row, texts, options);
    const { kind } = asked;
    const hidden = kind === 'masked' ? asked.place : -1;
    const features = [...row.texts.keys()].filter((t) => row.texts[t]! >= 0 && t !== hidden);
    if (features.length === 0)
      throw new Error('explain: this text has no tokens that could be explained; give one with a word in it');
    const batch = (ids: readonly Int32Array[], target: Target): LabelledBatch =>
      batchOf(tokenizer, limits, ids, row, target);

    /** The row's tokens, those that are not kept replaced. */
    const idsOf = (kept?: Uint8Array): Int32Array => {
      const ids = row.inputIds.slice();
      for (const [i, place] of features.entries()) if (!kept?.[i]) ids[place] = baseId ?? ids[place]!;
      return ids;
    };

    /** Throws for numbers that are not finite, and says where in the model they begin. */
    const checkFinite = async (values: ArrayLike<number>, ids = row.inputIds): Promise<void> => {
      if (Array.from(values).every(Number.isFinite)) return;
      using _ = scope();
      const where = await badModule(model, () => scoresOf(kind, model, batch([ids], asked)));
      throw new Error(
        `explain: the model's output for this text is not finite${where ? `, from ${where} on` : ''}, so there is ` +
          'nothing to explain; look at its weights, and at f16, where values end at 65504',
      );
    };

    /** The label of the highest score; of an answer's place, a token of the last text. */
    const bestLabel = async (): Promise<number> => {
      using _ = scope();
      const scores = (await scoresFor(kind)(model)(batch([row.inputIds], asked)).data()) as Float32Array;
      await checkFinite(scores);
      if (kind !== 'start' && kind !== 'end') return highest(scores, 1)[0]!;
      const last = Math.max(...row.texts);
      return highest(
        scores.map((x, t) => (row.texts[t] === last ? x : -Infinity)),
        1,
      )[0]!;
    };
    const target = { ...asked, label: asked.label ?? (await bestLabel()) };
    const nameOf = (number: number): string => targetName(model, tokenizer, row, target, number);
    if (target.foil === target.label)
      throw new Error(
        `explain: the target and its contrast are both ${brief(nameOf(target.label))}; name another of them`,
      );

    const known = new Map<string, number>();
    const values = async (kept: readonly Uint8Array[]): Promise<Float64Array> => {
      const keys = kept.map((each) => each.join(''));
      const fresh = [...new Map(keys.flatMap((key, i) => (known.has(key) ? [] : [[key, kept[i]!] as const])))];
      if (baseId === undefined && fresh.some(([key]) => key.includes('0')))
        throw new Error(
          'explain: zeros are a baseline of gradients; this method replaces tokens: use mask, pad, unk or eos',
        );
      for (const part of chunks([...fresh.keys()], batchSize)) {
        using _ = scope();
        const ids = filled(part, fresh.length, batchSize).map((number) => idsOf(fresh[number]![1]));
        const data = await outputFor(kind, scale)(model)(batch(ids, target)).data();
        const bad = data.findIndex((x) => !Number.isFinite(x));
        if (bad >= 0) await checkFinite(data, ids[bad]);
        for (const [i, number] of part.entries()) known.set(fresh[number]![0], data[i]!);
        advance(part.length);
      }
      return Float64Array.from(keys, (key) => known.get(key)!);
    };

    const isFeature = new Float32Array(row.inputIds.length);
    for (const place of features) isFeature[place] = 1;
    const gradientsAt: Subject['gradients'] = async ({ alphas, times, noise = 0, seed = 0, fromZero = false }) => {
      const form = { kind, scale, times, isNoisy: noise > 0, fromZero: fromZero || baseId === undefined };
      const found = { values: new Float64Array(alphas.length), scores: new Array<Float64Array>(alphas.length) };
      const state = randomState();
      if (form.isNoisy) manualSeed(seed);
      try {
        for (const part of chunks([...alphas.keys()], batchSize)) {
          using _ = scope();
          const numbers = filled(part, alphas.length, batchSize);
          const size = numbers.length;
          const rows = batch(
            numbers.map(() => row.inputIds),
            target,
          );
          const width = rows.inputIds.shape[1]!;
          const weights = new Float32Array(size * width);
          for (const i of numbers.keys()) weights.set(isFeature, i * width);
          const result = gradients(form, {
            ...rows,
            baseIds: batch(
              numbers.map(() => idsOf()),
              target,
            ).inputIds,
            alpha: tensor(
              Float32Array.from(numbers, (number) => alphas[number]!),
              { shape: [size, 1, 1] },
            ),
            isFeature: tensor(weights, { shape: [size, width, 1] }),
            noise: tensor(Float32Array.of(noise)),
          });
          const [outputs, scores] = await Promise.all([result.values.data(), result.scores.data()]);
          await checkFinite(outputs);
          await checkFinite(scores);
          for (const [i, number] of part.entries()) {
            found.values[number] = outputs[i]!;
            found.scores[number] = Float64Array.from(features, (place) => scores[i * width + place]!);
          }
          advance(part.length);
        }
      } finally {
        if (form.isNoisy) setRandomState(state);
      }
      return found;
    };

    const [output] = await values([new Uint8Array(features.length).fill(1)]);
    return {
      model,
      texts,
      row,
      scale,
      target,
      targetName: nameOf(target.label),
      foilName: target.foil === undefined ? undefined : nameOf(target.foil),
      features,
      tokens: tokenizer.convertIdsToTokens(row.inputIds),
      output: output!,
      batchSize,
      values,
      gradients: gradientsAt,
      batch: () => batch([row.inputIds], target),
    };
  }
  return {
    subject,
    expect: (evaluations) => void (expected += evaluations),
    close: () => mode[Symbol.dispose](),
  };
}

/**
 * The numbers of a part of `count`, repeated up to a whole batch where there are several parts, so that all
 * are of the shape that was captured.
 */
function filled(part: readonly number[], count: number, batchSize: number): number[] {
  return Array.from({ length: count > batchSize ? batchSize : part.length }, (_, i) => part[i] ?? part[0]!);
}
