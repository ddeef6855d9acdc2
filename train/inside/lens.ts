// What a model of language would say behind each of its layers.
import { compile, logSoftmax, noGrad, scope, select, topk } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { evalMode, runWithCache, runWithHooks } from '../../models/index.ts';
import type { AnyTokenizer, Module } from '../../models/index.ts';
import type { ExplainedText } from '../explain/read-text.ts';
import { readInputs } from './patterns.ts';
import type { PatternOptions, ShownToken } from './patterns.ts';

/** Inputs of a model by name, a batch of rows. */
export type Inputs = Readonly<Record<string, Tensor>>;

/** A model that gives logits (B, T, V), such as a decoder or a model of masked tokens. */
export type LanguageModel = Module & { forward(inputs: never): { readonly logits: Tensor } };

/** The residual stream before the first layer and behind each, by the name of its activation. */
export interface Residuals {
  readonly names: readonly string[];
  /** (B, T, D) each. */
  readonly states: readonly Tensor[];
}

const run = (model: LanguageModel, inputs: Inputs) =>
  runWithCache(model, inputs as never, /^blocks\.\d+\.hook_\w*resid_p/);

/** Error, one line: a model whose layers are no stack, as those of an encoder-decoder. */
export function residualsOf(model: LanguageModel, inputs: Inputs): Residuals {
  const { cache } = noGrad(() => run(model, inputs));
  const names = ['blocks.0.hook_resid_pre'];
  for (let layer = 0; `blocks.${layer}.hook_resid_pre` in cache; layer++) {
    // Where norms stand behind the sums, a layer gives the normalised one.
    const normed = `blocks.${layer}.hook_normalized_resid_post`;
    names.push(normed in cache ? normed : `blocks.${layer}.hook_resid_post`);
  }
  return { names, states: names.map((name) => cache[name]!) };
}

/** A token that a layer would say, with its probability. */
export interface LensToken {
  readonly token: string;
  readonly id: number;
  readonly probability: number;
}

export interface Lens {
  readonly tokens: readonly ShownToken[];
  /** `embeddings`, then `layer 0` and so on; what the last one says the model says. */
  readonly layers: readonly {
    readonly name: string;
    /** Of each token of the text those that it would say in its place, the most probable first. */
    readonly places: readonly (readonly LensToken[])[];
  }[];
}

export interface LensOptions extends PatternOptions {
  /** Tokens of each place; default 5. */
  readonly top?: number;
}

/**
 * The logit lens (nostalgebraist 2020): the residual stream behind each layer goes through the model's own
 * last norm and head, as if the layers after it added nothing. Of a decoder each place says the next token,
 * of a model of masked tokens its own. Error, one line: a model without logits for each token.
 */
export async function logitLens(
  model: LanguageModel,
  tokenizer: AnyTokenizer,
  text: ExplainedText,
  { top = 5, ...options }: LensOptions = {},
): Promise<Lens> {
  using _ = scope();
  using _mode = evalMode(model);
  const { inputs, tokens } = await readInputs(model, tokenizer, text, options);
  const { names, states } = residualsOf(model, inputs);
  const last = names.at(-1)!;
  // The layers before are not computed: nothing of theirs is used.
  const read = compile(
    (batch: Inputs, state: Tensor) => {
      const { logits } = runWithHooks(model, batch as never, [[last, () => state]]);
      if (logits?.ndim !== 3 || logits.shape[1] !== state.shape[1])
        throw new Error(
          `logitLens: a ${model.constructor.name} has no logits for each token; give a decoder or a model of ` +
            'masked tokens',
        );
      return topk(logSoftmax(select(logits, 0, 0)), top); // (T, top) each
    },
    { name: 'logit lens' },
  );
  const layers = [];
  for (const [i, state] of states.entries()) {
    const [scores, ids] = noGrad(() => read(inputs, state));
    const [logProbs, numbers] = await Promise.all([scores.data(), ids.data()]);
    const places = tokens.map((_token, t) =>
      Array.from({ length: top }, (_, k): LensToken => {
        const id = Number(numbers[t * top + k]);
        return {
          token: tokenizer.convertIdsToTokens([id])[0]!,
          id,
          probability: Math.exp(Number(logProbs[t * top + k])),
        };
      }),
    );
    layers.push({ name: i === 0 ? 'embeddings' : `layer ${i - 1}`, places });
  }
  return { tokens, layers };
}
