// Heads that find what came before: measured on random tokens that come twice.
import { gather, logSoftmax, mean, noGrad, reshape, scope, slice, tensor } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import { evalMode, runWithCache } from '../../models/index.ts';
import { headAblation } from './interventions.ts';
import type { LayerMap, Metric } from './interventions.ts';
import type { Inputs, LanguageModel } from './lens.ts';

export interface InductionOptions {
  /** Tokens of the part that comes twice; default 24. */
  readonly length?: number;
  /** Rows of other random tokens, over which scores are means; default 4. */
  readonly rows?: number;
  readonly seed?: number;
  /** Tokens that are drawn; default those of the whole vocabulary. */
  readonly vocabulary?: readonly number[];
}

/** Scores of every head, [layers][heads], on random tokens that come twice. */
export interface InductionScores {
  /** Attention from the second time to the token behind the first time: what induction heads do. */
  readonly induction: LayerMap;
  /** Attention to the token before. */
  readonly previous: LayerMap;
  /** Attention to the same token of the first time. */
  readonly duplicate: LayerMap;
  /**
   * Copying: what the repeated tokens' mean log-probability loses where the head gives 0. By its effect,
   * direct or through other heads; not the eigenvalues of Elhage et al. 2021.
   */
  readonly copying: LayerMap;
  /** Mean log-probability of a token the first time and the second time. */
  readonly logProbs: readonly [first: number, second: number];
}

/**
 * Which heads of a decoder repeat what came before (Olsson et al. 2022, "induction heads"). Error, one line:
 * a model that sees the tokens to come; rows that are longer than it reads.
 *
 * @example
 * const model = GPT2LMHeadModel.fromConfig({ vocabSize: 50, nEmbd: 8, nLayer: 1, nHead: 2 });
 * const { induction } = await inductionScores(model, { length: 8, rows: 2 });
 * [induction.layers, induction.width]; // [1, 2]
 */
export async function inductionScores(
  model: LanguageModel & { readonly config: { readonly vocabSize: number } },
  { length = 24, rows = 4, seed = 0, vocabulary }: InductionOptions = {},
): Promise<InductionScores> {
  const random = new Random(seed);
  using _mode = evalMode(model);
  const sums: Record<'induction' | 'previous' | 'duplicate' | 'copying', Float64Array | undefined> = {
    ...{ induction: undefined, previous: undefined, duplicate: undefined, copying: undefined },
  };
  let [layers, heads] = [0, 0];
  const logProbs: [number, number] = [0, 0];
  for (let row = 0; row < rows; row++) {
    using _ = scope();
    const part = Int32Array.from({ length }, () => {
      const number = random.int(vocabulary?.length ?? model.config.vocabSize);
      return vocabulary ? vocabulary[number]! : number;
    });
    const ids = Int32Array.from([...part, ...part]);
    const inputs: Inputs = { inputIds: tensor(ids, { shape: [1, 2 * length] }) };
    const { output, cache } = noGrad(() => runWithCache(model, inputs as never, /^blocks\.\d+\.attn\.hook_pattern$/));
    const patterns = Object.values(cache);
    layers = patterns.length;
    heads = Math.max(...patterns.map(({ shape }) => shape[1]!));
    const [induction, previous, duplicate] = (['induction', 'previous', 'duplicate'] as const).map(
      (name) => (sums[name] ??= new Float64Array(layers * heads)),
    ) as [Float64Array, Float64Array, Float64Array];
    for (const [layer, pattern] of patterns.entries()) {
      const [, count, tokens] = pattern.shape as [number, number, number];
      const data = await pattern.data();
      const at = (head: number, i: number, j: number): number => Number(data[(head * tokens + i) * tokens + j]);
      if (at(0, 0, tokens - 1) > 1e-6)
        throw new Error(`inductionScores: a ${model.constructor.name} sees the tokens to come; give a decoder`);
      for (let head = 0; head < count; head++)
        for (let i = length; i < 2 * length; i++) {
          const place = layer * heads + head;
          induction[place]! += at(head, i, i - length + 1) / length / rows;
          previous[place]! += at(head, i, i - 1) / length / rows;
          duplicate[place]! += at(head, i, i - length) / length / rows;
        }
    }
    const second = logProbMetric(ids, length);
    logProbs[0] += Number((await noGrad(() => logProbMetric(ids, 1, length)(output.logits)).data())[0]) / rows;
    logProbs[1] += Number((await noGrad(() => second(output.logits)).data())[0]) / rows;
    const lost = await headAblation(model, inputs, second);
    const copying = (sums.copying ??= new Float64Array(layers * heads));
    lost.values.forEach((value, i) => (copying[i]! += value / rows));
  }
  const map = (values: Float64Array | undefined): LayerMap => ({
    layers,
    width: heads,
    values: Float32Array.from(values ?? []),
  });
  return {
    induction: map(sums.induction),
    previous: map(sums.previous),
    duplicate: map(sums.duplicate),
    copying: map(sums.copying),
    logProbs,
  };
}

/**
 * The mean log-probability of the tokens from `from` on, each by the logits before it.
 *
 * @example
 * const model = GPT2LMHeadModel.fromConfig({ vocabSize: 50, nEmbd: 8, nLayer: 1, nHead: 2 });
 * const inputs = { inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) };
 * const map = await headAblation(model, inputs, logProbMetric(Int32Array.of(2, 7, 3), 1));
 */
export function logProbMetric(ids: Int32Array, from: number, end = ids.length): Metric {
  return (logits) => {
    const rows = logits.shape[0]!;
    const wanted = Int32Array.from({ length: rows * (end - from) }, (_, i) => ids[from + (i % (end - from))]!);
    const index = tensor(wanted, { shape: [rows, end - from, 1] });
    const before = slice(logSoftmax(logits), null, [from - 1, end - 1]); // (B, end - from, V)
    return mean(reshape(gather(before, 2, index), [rows, end - from]), 1);
  };
}
