import { causalLoaders } from '../auto.ts';
import { encodeContinuation, logLikelihoods } from '../generation/likelihood.ts';
import type { Likelihood } from '../generation/likelihood.ts';
import { loadTextGenerator } from '../generation/load.ts';
import { softmax } from '../generation/processors.ts';
import { readModelJson } from '../io/model-files.ts';
import { resolveModelFolder } from '../io/resolve.ts';
import type { LoadOptions } from '../pretrained.ts';
import type { AnyTokenizer } from '../tokenizer/any-tokenizer.ts';
import type { CausalLM } from '../transformer/causal-lm.ts';
import { utf8 } from '../../common/bytes.ts';
import { highest } from '../../common/collections.ts';
import type { EncoderOptions } from './encoder.ts';
import { candidatesOf } from './zero-shot-classification.ts';
import type { ZeroShotLabels } from './zero-shot-classification.ts';

/** A decoder and the tokenizer that it reads with. */
export interface LikelihoodClassifier {
  readonly model: CausalLM;
  readonly tokenizer: AnyTokenizer;
}

/** Loads a decoder with its tokenizer; undefined where the folder holds a model of another kind. */
export async function loadLikelihoodClassifier(
  id: string,
  options: LoadOptions = {},
): Promise<LikelihoodClassifier | undefined> {
  const folder = await resolveModelFolder(id, options);
  const type = (await readModelJson(folder, 'config.json'))['model_type'];
  if (typeof type !== 'string' || !Object.hasOwn(causalLoaders, type)) return undefined;
  const { model, tokenizer } = await loadTextGenerator(folder, options);
  return { model: model as unknown as CausalLM, tokenizer };
}

/** Scores of ln p(label | prompt), by name. */
const normalizations = {
  /** As it is: short and frequent labels are ahead. */
  none: (given: Likelihood) => given.logLikelihood,
  /** For each token of the label (Brown et al. 2020). */
  tokens: (given: Likelihood) => given.logLikelihood / given.logProbs.length,
  /** For each byte of it, as lm-evaluation-harness's acc_norm. */
  bytes: (given: Likelihood, label: string) => given.logLikelihood / utf8(label).length,
  /**
   * Less ln p(label | the prompt without a text): what the text says for the label, pointwise mutual
   * information (Holtzman et al. 2021), and the mend for what examples favour (Zhao et al. 2021).
   */
  pmi: (given: Likelihood, _: string, without: Likelihood) => given.logLikelihood - without.logLikelihood,
} as const;

export interface LikelihoodZeroShotOptions extends EncoderOptions {
  /**
   * A text and its label, at {text} and {label}; default "{text}\nTopic: {label}". What stands behind the
   * label is for examples alone.
   */
  readonly promptTemplate?: string;
  /** Texts with their labels, which stand before the text by the same template, a blank line between. */
  readonly examples?: readonly { readonly text: string; readonly label: string }[];
  /** What a label's score is made of; default pmi. */
  readonly normalization?: keyof typeof normalizations;
}

/**
 * Labels for each text by a model that continues texts: how probable each label is where the prompt leaves it
 * out (Brown et al. 2020, section 2.4), without an example (zero-shot) or after some (few-shot). Scores are a
 * softmax over the labels. Prompts that are too long are an error, or lose their beginning by `truncation`.
 */
export async function classifyByLikelihood(
  { model, tokenizer }: LikelihoodClassifier,
  texts: readonly string[],
  candidateLabels: string | readonly string[],
  options: LikelihoodZeroShotOptions = {},
): Promise<ZeroShotLabels[]> {
  const {
    promptTemplate = '{text}\nTopic: {label}',
    examples = [],
    normalization = 'pmi',
    truncation = false,
  } = options;
  const candidates = candidatesOf(candidateLabels);
  if (!Object.hasOwn(normalizations, normalization))
    throw new Error(
      `zero-shot-classification: unknown normalization "${normalization}"; use ` +
        Object.keys(normalizations).join(', '),
    );
  const at = promptTemplate.indexOf('{label}');
  const before = promptTemplate.slice(0, Math.max(0, at));
  if (!before.includes('{text}'))
    throw new Error(
      `zero-shot-classification: promptTemplate "${promptTemplate}" must have {text} and after it {label}; put them in`,
    );
  const fill = (template: string, text: string, label = ''): string =>
    template.replace(/\{(text|label)\}/g, (_, name) => (name === 'text' ? text : label));
  const shots = examples.map(({ text, label }) => `${fill(promptTemplate, text, label)}\n\n`).join('');
  const prompts = [...texts, ...(normalization === 'pmi' ? [''] : [])].map(
    (text) => shots + fill(before, text).trimStart(),
  );
  const rows = prompts.flatMap((prompt) =>
    candidates.map((label) => encodeContinuation(tokenizer, prompt, label, model.config)),
  );
  const { positions } = model.decoder();
  rows.forEach(({ context, continuation }, i) => {
    // The last token is predicted, not read.
    const length = context.length + continuation.length - 1;
    if (length > positions && !truncation)
      throw new Error(
        `text ${Math.floor(i / candidates.length)} has ${length} tokens with its prompt, and the model reads at most ` +
          `${positions}; cut it, give fewer examples, or pass truncation: true`,
      );
  });
  const likelihoods = await logLikelihoods(model, rows, options);
  const without = likelihoods.slice(texts.length * candidates.length);
  return texts.map((sequence, i) => {
    const values = candidates.map((label, k) =>
      normalizations[normalization](likelihoods[i * candidates.length + k]!, label, without[k]!),
    );
    const scores = softmax(values);
    const order = highest(scores, scores.length);
    return { sequence, labels: order.map((k) => candidates[k]!), scores: order.map((k) => scores[k]!) };
  });
}
