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
  /** What the model says. */
  readonly logits: Tensor;
}

const run = (model: LanguageModel, inputs: Inputs) =>
  runWithCache(model, inputs as never, /^blocks\.\d+\.hook_\w*resid_p/);

/** Error, one line: a model whose layers are no stack, as those of an encoder-decoder. */
export function residualsOf(model: LanguageModel, inputs: Inputs): Residuals {
  const { output, cache } = noGrad(() => run(model, inputs));
  const names = ['blocks.0.hook_resid_pre'];
  for (let layer = 0; `blocks.${layer}.hook_resid_pre` in cache; layer++) {
    // Where norms stand behind the sums, a layer gives the normalised one.
    const normed = `blocks.${layer}.hook_normalized_resid_post`;
    names.push(normed in cache ? normed : `blocks.${layer}.hook_resid_post`);
  }
  return { names, states: names.map((name) => cache[name]!), logits: output.logits };
}

/**
 * Logits (B, T, V) of a state (B, T, D) that takes the place of the last layer's, named `last`: through the
 * last norm and the head. Inside of `compile` the layers before are not computed, for nothing of theirs is
 * used. Error, one line: a model without logits for each token.
 */
export function logitsOfState(model: LanguageModel, inputs: Inputs, last: string, state: Tensor): Tensor {
  const { logits } = runWithHooks(model, inputs as never, [[last, () => state]]);
  if (logits?.ndim === 3 && logits.shape[1] === state.shape[1]) return logits;
  throw new Error(
    `lens: a ${model.constructor.name} has no logits for each token; give a decoder or a model of masked tokens`,
  );
}

/** embeddings, layer 0, layer 1, ... */
export const layerName = (i: number): string => (i === 0 ? 'embeddings' : `layer ${i - 1}`);

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

/** What becomes of the state (B, T, D) at a place of the list of layers before it is read. */
export interface Translator {
  translate(layer: number, state: Tensor): Tensor;
}

export interface LensOptions extends PatternOptions {
  /** Tokens of each place; default 5. */
  readonly top?: number;
  /** A `TunedLens`: what each layer would say in the last one's words. Default none, the logit lens. */
  readonly translator?: Translator | undefined;
}

/**
 * The logit lens (nostalgebraist 2020): the residual stream behind each layer goes through the model's own
 * last norm and head, as if the layers after it added nothing. Of a decoder each place says the next token,
 * of a model of masked tokens its own. With a `translator`, the tuned lens (Belrose et al. 2023). Error, one
 * line: a model without logits for each token.
 *
 * @example
 * const model = await GPT2LMHeadModel.fromPretrained('models/pretrained/gpt-small');
 * const tokenizer = await loadTokenizer('models/pretrained/gpt-small');
 * const lens = await logitLens(model, tokenizer, 'My fellow citizens', { top: 1 });
 */
export async function logitLens(
  model: LanguageModel,
  tokenizer: AnyTokenizer,
  text: ExplainedText,
  { top = 5, translator, ...options }: LensOptions = {},
): Promise<Lens> {
  using _ = scope();
  using _mode = evalMode(model);
  const { inputs, tokens } = await readInputs(model, tokenizer, text, options);
  const { names, states } = residualsOf(model, inputs);
  const read = compile(
    (batch: Inputs, state: Tensor) =>
      topk(logSoftmax(select(logitsOfState(model, batch, names.at(-1)!, state), 0, 0)), top), // (T, top) each
    { name: 'logit lens' },
  );
  const layers = [];
  for (const [i, state] of states.entries()) {
    const isLast = i === states.length - 1;
    const [scores, ids] = noGrad(() => read(inputs, translator && !isLast ? translator.translate(i, state) : state));
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
    layers.push({ name: layerName(i), places });
  }
  return { tokens, layers };
}
