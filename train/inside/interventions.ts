// What becomes of a model's output when activations are taken from another run, or taken away.
import { eq, arange, expand, noGrad, reshape, scope, sub, where, mul, cast } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { evalMode, runWithCache, runWithHooks } from '../../models/index.ts';
import type { Inputs, LanguageModel } from './lens.ts';

/** A number for each row of logits (B, T, V): (B). */
export type Metric = (logits: Tensor) => Tensor;

/** A map of numbers, row-major: layers down; positions or heads across. */
export interface LayerMap {
  readonly layers: number;
  readonly width: number;
  readonly values: Float32Array;
}

/** What is put in the place of a corrupted run's: of TransformerLens' names those behind `blocks.0.`. */
export const patched = ['hook_resid_pre', 'hook_attn_out', 'hook_mlp_out'] as const;

export interface PatchingResult extends LayerMap {
  /** The metric of the clean and of the corrupted run. */
  readonly clean: number;
  readonly corrupted: number;
}

export interface PatchingOptions {
  /** Default hook_resid_pre, the residual stream before each layer. */
  readonly activation?: (typeof patched)[number];
}

/** The same inputs `rows` times. */
const repeated = (inputs: Inputs, rows: number): Inputs =>
  Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, expand(x, [rows, x.shape[1]!])]));

/** true at (i, i) of [n, n, 1]: row i is changed at place i. */
const diagonal = (n: number, shape: readonly number[]): Tensor =>
  reshape(eq(reshape(arange(0, n, 1, { dtype: 'i32' }), [n, 1]), arange(0, n, 1, { dtype: 'i32' })), [...shape]);

const layersIn = (cache: Readonly<Record<string, Tensor>>): Tensor[] => {
  const found: Tensor[] = [];
  for (const [name, x] of Object.entries(cache)) found[Number(name.split('.')[1])] = x;
  return found;
};

const numberOf = async (x: Tensor): Promise<number> => Number((await x.data())[0]);

/**
 * Activation patching (causal tracing; Meng et al. 2022, Zhang and Nanda 2024): the model reads the corrupted
 * text, but one activation at one place is that of the clean text. The map [layers][places] says how much of
 * the metric comes back: 0 as in the corrupted run, 1 as in the clean one. Inputs are one row each, by name,
 * as `readInputs` gives them.
 *
 *     const cleaner = ({ logits }) => logits at the last place of " Paris" less that of " Rome";
 *     await activationPatching(model, { clean, corrupted }, metric);
 *
 * Errors, each one line: rows of different lengths; a metric that is the same for both, or no number a row.
 *
 * @example
 * const model = GPT2LMHeadModel.fromConfig({ vocabSize: 50, nEmbd: 8, nLayer: 1, nHead: 2 });
 * const inputs = (ids: number[]) => ({ inputIds: tensor([ids], { dtype: 'i32' }) });
 * const [clean, corrupted] = [inputs([2, 7, 3]), inputs([2, 8, 3])];
 * await activationPatching(model, { clean, corrupted }, logProbMetric(Int32Array.of(2, 7, 3), 2));
 */
export async function activationPatching(
  model: LanguageModel,
  { clean, corrupted }: { readonly clean: Inputs; readonly corrupted: Inputs },
  metric: Metric,
  { activation = 'hook_resid_pre' }: PatchingOptions = {},
): Promise<PatchingResult> {
  const [tokens, others] = [clean['inputIds']!.shape[1]!, corrupted['inputIds']!.shape[1]!];
  if (tokens !== others)
    throw new Error(
      `activationPatching: the clean text has ${tokens} tokens and the corrupted one ${others}; give texts whose ` +
        'tokens stand in the same places',
    );
  using _mode = evalMode(model);
  using _ = scope();
  const name = new RegExp(`^blocks\\.\\d+\\.${activation}$`);
  const { output, cache } = noGrad(() => runWithCache(model, clean as never, name));
  const states = layersIn(cache);
  const full = await numberOf(noGrad(() => checkedMetric(metric, output.logits)));
  const less = await numberOf(
    noGrad(() => checkedMetric(metric, (model.forward(corrupted as never) as { logits: Tensor }).logits)),
  );
  if (!(Math.abs(full - less) > 1e-6 * Math.abs(full)))
    throw new Error(
      `activationPatching: the metric is ${full} for the clean text and ${less} for the corrupted one, so nothing ` +
        'can come back; give texts that it tells apart',
    );
  const rows = repeated(corrupted, tokens);
  const here = diagonal(tokens, [tokens, tokens, 1]);
  const values = new Float32Array(states.length * tokens);
  for (const [layer, state] of states.entries()) {
    using _inner = scope();
    const put = (x: Tensor): Tensor => where(here, expand(state, [...x.shape]), x);
    const scores = noGrad(() =>
      checkedMetric(metric, runWithHooks(model, rows as never, [[`blocks.${layer}.${activation}`, put]]).logits),
    );
    values.set(
      Float32Array.from(await scores.data(), (score) => (Number(score) - less) / (full - less)),
      layer * tokens,
    );
  }
  return { layers: states.length, width: tokens, values, clean: full, corrupted: less };
}

function checkedMetric(metric: Metric, logits: Tensor): Tensor {
  const score = metric(logits);
  if (score.ndim === 1 && score.shape[0] === logits.shape[0]) return score;
  throw new Error(
    `a metric gave [${score.shape.join(', ')}] for logits [${logits.shape.join(', ')}]; it must give a number a row, ` +
      `[${logits.shape[0]}]`,
  );
}

/**
 * What a metric loses by each head: that of the model as it is less that without what the head gives (z is 0
 * there), [layers][heads]. Inputs are one row.
 *
 * @example
 * const model = GPT2LMHeadModel.fromConfig({ vocabSize: 50, nEmbd: 8, nLayer: 1, nHead: 2 });
 * const inputs = { inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) };
 * const { values } = await headAblation(model, inputs, logProbMetric(Int32Array.of(2, 7, 3), 1));
 * values.length; // 2
 */
export async function headAblation(model: LanguageModel, inputs: Inputs, metric: Metric): Promise<LayerMap> {
  using _mode = evalMode(model);
  using _ = scope();
  const { output, cache } = noGrad(() => runWithCache(model, inputs as never, /^blocks\.\d+\.attn\.hook_z$/));
  const full = await numberOf(noGrad(() => checkedMetric(metric, output.logits)));
  const heads = layersIn(cache).map(({ shape }) => shape[2]!);
  const width = Math.max(...heads);
  const values = new Float32Array(heads.length * width).fill(NaN);
  for (const [layer, count] of heads.entries()) {
    using _inner = scope();
    const kept = sub(1, cast(diagonal(count, [count, 1, count, 1]), 'f32'));
    const scores = noGrad(() =>
      checkedMetric(
        metric,
        runWithHooks(model, repeated(inputs, count) as never, [
          [`blocks.${layer}.attn.hook_z`, (z) => mul(z, cast(kept, z.dtype))],
        ]).logits,
      ),
    );
    values.set(
      Float32Array.from(await scores.data(), (score) => full - Number(score)),
      layer * width,
    );
  }
  return { layers: heads.length, width, values };
}
