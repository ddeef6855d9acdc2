import { Constraint } from './constraint/allowed-tokens.ts';
import type { ByteTokenizer } from './constraint/allowed-tokens.ts';
import type { Term } from './constraint/grammar.ts';
import { grammarOf } from './constraint/response-format.ts';
import type { Generative } from './decoder.ts';
import { generate, streamTokens } from './generate.ts';
import { checkOptions } from './options.ts';
import type { GenerationOptions } from './options.ts';
import { byPrompt, isList } from './request.ts';
import type { Finish, GenerationHooks, OptionsByPrompt, TokenLogprobs } from './request.ts';
import { targetOptions, textTemplate, withTemplate } from './source-text.ts';
import type { SourceTokenizer } from './source-text.ts';
import { StopMatcher } from './stop.ts';

/** What generation needs of a tokenizer; those of models/tokenizer have it. */
export interface TextTokenizer extends SourceTokenizer {
  readonly vocabSize: number;
  /** The bytes that a token adds to a text, undefined where it is none; wanted by `responseFormat`. */
  tokenBytes?(id: number): Uint8Array | undefined;
  /** Decodes ids as they come: `push` gives the text that is certain, `end` the rest. */
  decodeStream(options?: { readonly skipSpecialTokens?: boolean }): { push(id: number): string; end(): string };
}

/** A text to continue, or its ids. */
export type Prompt = string | Int32Array;

/** A piece of one text. */
export interface TextPiece {
  readonly prompt: number;
  readonly sample: number;
  /** '' where a token completes no character, or may belong to a stop string. */
  readonly text: string;
  /** New tokens of this text so far. */
  readonly count: number;
  /** Of the token, where `logprobs` asks for them. */
  readonly logprobs?: TokenLogprobs;
  /** Set on a text's last piece. */
  readonly finish?: Finish;
}

export interface GeneratedText {
  readonly prompt: number;
  readonly sample: number;
  /** The text after the prompt, without special tokens, up to a stop string. */
  readonly text: string;
  readonly tokens: readonly number[];
  readonly finish: Finish;
  readonly logprobs?: readonly TokenLogprobs[];
  readonly score?: number;
}

/**
 * Texts that continue prompts, in pieces as they grow: the pieces of one text joined are what `generateText`
 * gives. An empty prompt begins with the token that begins texts, where the model has one. A list of options
 * gives each prompt its own. Ending the loop early is fine.
 *
 * Errors, each one line: those of `streamTokens`, and a tokenizer with more ids than the model.
 *
 * @example
 * const { model, tokenizer } = await loadTextGenerator('models/pretrained/gpt-small');
 * const pieces = streamText(model, tokenizer, 'My fellow', { maxNewTokens: 5 });
 * for await (const { text } of pieces) console.log(text);
 */
export async function* streamText(
  model: Generative,
  tokenizer: TextTokenizer,
  prompts: Prompt | readonly Prompt[],
  options: OptionsByPrompt = {},
): AsyncGenerator<TextPiece> {
  const { ids, writers, settled } = textsOf(model, tokenizer, prompts, options);
  let piece = '';
  const hooks = writers.hooks((text) => (piece = text));
  for await (const { prompt, sample, id, logprob, topLogprobs, finish } of streamTokens(model, ids, settled, hooks)) {
    const writer = writers.of(prompt, sample);
    const text = finish ? piece + writer.end() : piece;
    yield {
      prompt,
      sample,
      text,
      count: writer.count,
      ...(logprob === undefined ? {} : { logprobs: { id, logprob, top: topLogprobs! } }),
      ...(finish ? { finish: writer.found ? 'stop' : finish } : {}),
    };
  }
}

/**
 * Continues prompts: one result for each text, in the order of prompts, then of their texts (the best first,
 * in a beam search). Options and errors as for `streamText`.
 *
 * @example
 * const { model, tokenizer } = await loadTextGenerator('models/pretrained/gpt-small');
 * const [{ text }] = await generateText(model, tokenizer, 'The state of the', { maxNewTokens: 3 });
 * text; // ' United States,'
 */
export async function generateText(
  model: Generative,
  tokenizer: TextTokenizer,
  prompts: Prompt | readonly Prompt[],
  options: OptionsByPrompt = {},
): Promise<GeneratedText[]> {
  const { ids, writers, settled } = textsOf(model, tokenizer, prompts, options);
  const results = await generate(model, ids, settled, writers.hooks());
  return results.map((result) => {
    const writer = writers.made(result.prompt);
    const text = result.tokens.map((id) => writer.push(id)).join('') + writer.end();
    return { ...result, text, finish: writer.found ? 'stop' : result.finish };
  });
}

/**
 * The end of the prompt that decides how the first new token is written: with or without a space before it.
 */
const context = 8;

/** One text on its way from ids. */
class Writer {
  count = 0;
  readonly #stream: { push(id: number): string; end(): string };
  readonly #matcher: StopMatcher;
  readonly #vocabSize: number;
  readonly #format: Constraint | undefined;
  #place: Term | undefined;

  constructor(tokenizer: TextTokenizer, { stops, format }: Form, prompt: readonly number[]) {
    this.#format = format;
    this.#place = format?.start;
    this.#stream = tokenizer.decodeStream({ skipSpecialTokens: true });
    this.#matcher = new StopMatcher(stops);
    this.#vocabSize = tokenizer.vocabSize;
    for (const id of prompt.slice(-context)) this.#stream.push(id);
  }

  /** Whether the text ends here: with a stop string, or since its format allows nothing more. */
  get found(): boolean {
    return this.#matcher.found || (this.#place?.isOver ?? false);
  }

  push(id: number): string {
    this.count++;
    if (this.#place) this.#place = this.#format!.after(this.#place, id);
    // Models may have rows for more ids than the tokenizer uses: they are no text.
    return id < this.#vocabSize ? this.#matcher.push(this.#stream.push(id)) : '';
  }

  end(): string {
    return this.#matcher.push(this.#stream.end()) + this.#matcher.end();
  }
}

/** All texts of a call on their way. */
class Writers {
  readonly #known = new Map<string, Writer>();
  readonly #tokenizer: TextTokenizer;
  /** Of each prompt, as are the tokens before its text. */
  readonly #forms: readonly Form[];
  readonly #before: readonly (readonly number[])[];

  constructor(tokenizer: TextTokenizer, forms: readonly Form[], before: readonly (readonly number[])[]) {
    this.#tokenizer = tokenizer;
    this.#forms = forms;
    this.#before = before;
  }

  /** A new one for a text of the prompt. */
  made(prompt: number): Writer {
    return new Writer(this.#tokenizer, this.#forms[prompt]!, this.#before[prompt]!);
  }

  of(prompt: number, sample: number): Writer {
    const key = `${prompt} ${sample}`;
    let writer = this.#known.get(key);
    if (!writer) this.#known.set(key, (writer = this.made(prompt)));
    return writer;
  }

  /** Ends texts by their form, and rules out what it does not allow; `onPiece` gets each token's text. */
  hooks(onPiece: (text: string) => void = () => undefined): GenerationHooks {
    return {
      isStop: ({ prompt, sample, id }) => {
        const writer = this.of(prompt, sample);
        onPiece(writer.push(id));
        return writer.found;
      },
      processors: ({ prompt, tokens }, { ends }) => {
        const { format } = this.#forms[prompt]!;
        return format ? [format.processor(tokens.length, ends)] : [];
      },
    };
  }
}

/** What ends texts, and what they have to be. */
interface Form {
  readonly stops: readonly string[];
  /** Of `responseFormat`; undefined where any text may come. */
  readonly format: Constraint | undefined;
}

function formOf(tokenizer: TextTokenizer, options: GenerationOptions): Form {
  const { stopStrings = [], responseFormat } = checkOptions('generate', options);
  const stops = [stopStrings].flat();
  const grammar = responseFormat && grammarOf(responseFormat);
  if (!grammar) return { stops, format: undefined };
  if (!tokenizer.tokenBytes)
    throw new Error('generate: responseFormat needs to know the bytes of tokens, and this tokenizer has no tokenBytes');
  return { stops, format: new Constraint(grammar, tokenizer as ByteTokenizer) };
}

/**
 * Where neither options nor the model say how texts end, or in which language they are, the tokenizer may
 * know.
 */
function withEnds(model: Generative, tokenizer: TextTokenizer, options: GenerationOptions): GenerationOptions {
  const { eosTokenId } = tokenizer;
  const known = options.eosTokenId !== undefined || (model.config.eosTokenId ?? null) !== null;
  const language = model.decoder().source ? targetOptions(model, tokenizer, options) : {};
  return { ...options, ...language, ...(known || eosTokenId === undefined ? {} : { eosTokenId }) };
}

/** The ids that each text goes on from; the texts of an encoder-decoder begin by themselves. */
function contexts(model: Generative, prompts: readonly (readonly number[])[]): readonly (readonly number[])[] {
  return model.decoder().source ? prompts.map(() => []) : prompts;
}

const listOf = (prompts: Prompt | readonly Prompt[]): readonly Prompt[] =>
  typeof prompts === 'string' || prompts instanceof Int32Array ? [prompts] : prompts;

/** The prompts of a call as ids, what writes their texts, and the options. */
function textsOf(
  model: Generative,
  tokenizer: TextTokenizer,
  given: Prompt | readonly Prompt[],
  options: OptionsByPrompt,
): { readonly ids: number[][]; readonly writers: Writers; readonly settled: OptionsByPrompt } {
  const prompts = listOf(given);
  const forms = byPrompt(options, prompts.length, (own) => formOf(tokenizer, own));
  const ids = promptIds(model, tokenizer, prompts, options);
  const settled = isList(options)
    ? options.map((own) => withEnds(model, tokenizer, own))
    : withEnds(model, tokenizer, options);
  return { ids, writers: new Writers(tokenizer, forms, contexts(model, ids)), settled };
}

function promptIds(
  model: Generative,
  tokenizer: TextTokenizer,
  prompts: readonly Prompt[],
  options: OptionsByPrompt,
): number[][] {
  const { vocabSize, source } = model.decoder();
  if (tokenizer.vocabSize > vocabSize)
    throw new Error(
      `generate: the tokenizer has ${tokenizer.vocabSize} ids, the model a vocabulary of ${vocabSize}; use the ` +
        'tokenizer that the model was trained with',
    );
  const known = model.config.bosTokenId ?? tokenizer.bosTokenId;
  const firsts = byPrompt(options, prompts.length, ({ bosTokenId }) => bosTokenId ?? known);
  return prompts.map((text, i) => {
    const first = firsts[i];
    if (typeof text !== 'string') return Array.from(text);
    if (source) return withTemplate(textTemplate(model, tokenizer), tokenizer.idsOf(text));
    const begins = typeof first === 'number' && first < vocabSize ? first : undefined;
    const ids = textIds(tokenizer, text, begins);
    return ids.length === 0 && begins !== undefined ? [begins] : ids;
  });
}

/**
 * The ids of a text with the tokens that its tokenizer puts before every text, as Llama's and Gemma's do,
 * unless it begins with `first` as it is.
 */
export function textIds(tokenizer: TextTokenizer, text: string, first?: number): number[] {
  const ids = Array.from(tokenizer.idsOf(text));
  return ids.length > 0 && ids[0] === first ? ids : [...(tokenizer.template?.before ?? []), ...ids];
}
