// Gradients of an output with respect to the embeddings of tokens, at points between a baseline and a text.
import {
  add,
  compile,
  enableGrad,
  grad,
  max,
  min,
  mul,
  noGrad,
  randn,
  sub,
  sum,
  zerosLike,
} from '../../autograd/index.ts';
import type { Compiled, Tensor } from '../../autograd/index.ts';
import { BartForSequenceClassification, Embedding, withHooks } from '../../models/index.ts';
import type { ForwardHook, Module, ModuleHooks } from '../../models/index.ts';
import { baseOf, outputOf } from './output.ts';
import type { KindOfModel, LabelledBatch, OutputScale } from './output.ts';

/** The parts of the computation that are fixed when it is captured. */
export interface GradientForm {
  readonly kind: KindOfModel;
  readonly scale: OutputScale;
  /** By what gradients are multiplied: text - baseline, with the noise; or the text's embeddings alone. */
  readonly times: 'difference' | 'input';
  readonly isNoisy: boolean;
  /** The baseline is zeros, not the embeddings of baseIds. */
  readonly fromZero: boolean;
}

export type GradientBatch = LabelledBatch & {
  /** The tokens of the baseline, (B, T). */
  readonly baseIds: Tensor;
  /** Where between baseline (0) and text (1), (B, 1, 1). */
  readonly alpha: Tensor;
  /** 1 for tokens that get noise, (B, T, 1). */
  readonly isFeature: Tensor;
  /** Deviation of the noise as a share of the range of the text's embeddings, (1). */
  readonly noise: Tensor;
};

/** The output at each point, (B), and the sums over the embedding of gradient times difference, (B, T). */
export type EmbeddingGradients = (
  form: GradientForm,
  batch: GradientBatch,
) => { readonly values: Tensor; readonly scores: Tensor };

/**
 * The gradients of a model at points of the way from the baseline to the text: while they are computed, a
 * hook lets the table of embeddings that reads the tokens give these points instead.
 */
export function gradientsOf(model: Module): EmbeddingGradients {
  /** While a gradient is captured: the tokens, how their embeddings are changed, and what came of it. */
  let current: { readonly ids: Tensor; replace(table: Embedding, words: Tensor): Tensor } | undefined;
  const tables = model.modules().filter((module): module is Embedding => module instanceof Embedding);
  const hook: ForwardHook = (table, [ids], words) =>
    current && ids === current.ids ? current.replace(table as Embedding, words as Tensor) : undefined;
  const forms = new Map<string, Compiled<[batch: GradientBatch], { values: Tensor; scores: Tensor }>>();

  const compute = ({ kind, scale, times, isNoisy, fromZero }: GradientForm, batch: GradientBatch) => {
    const { baseIds, alpha, isFeature, noise, ...rest } = batch;
    if (baseOf(model) instanceof BartForSequenceClassification)
      throw new Error(
        'explain: both sides of a BartForSequenceClassification read the text, and gradients reach one of them; use ' +
          'occlusion, lime or one of the shap methods',
      );
    const found: { readonly point: Tensor; readonly factor: Tensor }[] = [];
    const replace = (table: Embedding, words: Tensor): Tensor => {
      const { point, factor } = noGrad(() => {
        const input = words.detach(); // (B, T, D)
        const base = fromZero ? zerosLike(input) : table.forward(baseIds); // (B, T, D)
        const deviation = mul(noise, sub(max(input), min(input))); // (1)
        const difference = isNoisy
          ? add(sub(input, base), mul(mul(randn(input.shape), deviation), isFeature))
          : sub(input, base);
        return { point: add(base, mul(alpha, difference)), factor: times === 'input' ? input : difference };
      });
      const leaf = point.detach();
      leaf.requiresGrad = true;
      found.push({ point: leaf, factor });
      return leaf;
    };
    current = { ids: rest.inputIds, replace };
    try {
      const values = enableGrad(() => outputOf(kind, scale, model, rest)); // (B)
      if (found.length === 0)
        throw new Error(
          `explain: no table of embeddings of a ${model.constructor.name} reads the tokens, so there are no ` +
            'gradients; use occlusion, lime or one of the shap methods',
        );
      const gradients = grad(
        sum(values),
        found.map(({ point }) => point),
      );
      const parts = gradients.map((gradient, i) => sum(mul(gradient, found[i]!.factor), 2)); // (B, T) each
      return { values: values.detach(), scores: parts.reduce((a, b) => add(a, b)) };
    } finally {
      current = undefined;
    }
  };
  return (form, batch) => {
    const key = JSON.stringify(form);
    const options = { name: 'explain gradients', maxPrograms: 32, log: () => undefined };
    const run = forms.get(key) ?? compile((given: GradientBatch) => compute(form, given), options);
    forms.set(key, run);
    // Off again at once: programs captured without hooks are captured anew where there are some.
    const hooks = tables.map((module): ModuleHooks => ({ module, after: hook }));
    return withHooks(hooks, () => run(batch), 'explain');
  };
}
