// The attention of a model on a text, all layers and heads of it.
import { noGrad, scope, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { evalMode, generate, runWithCache, Seq2SeqLM } from '../../models/index.ts';
import type { AnyTokenizer, Module, RowLimits } from '../../models/index.ts';
import { textTemplate, withTemplate } from '../../models/generation/source-text.ts';
import type { TokenRow } from '../../models/pipelines/rows.ts';
import { baseOf } from '../explain/output.ts';
import { limitsOf, readRow } from '../explain/read-text.ts';
import type { ExplainedText } from '../explain/read-text.ts';

/** A token as it is shown. */
export interface ShownToken {
  readonly text: string;
  /** Which of two texts it is of; -1 for special tokens. */
  readonly side: number;
}

/** Attention of some tokens to others, layer by layer. */
export interface AttentionStack {
  readonly name: 'self-attention' | "encoder's attention" | "decoder's attention" | 'attention to the source';
  readonly from: readonly ShownToken[];
  readonly to: readonly ShownToken[];
  /** Of each layer [heads][from][to], row-major: how much each token of `from` attends to each of `to`. */
  readonly layers: readonly AttentionLayer[];
}

export interface AttentionLayer {
  readonly heads: number;
  readonly weights: Float32Array;
  /** What the scores are products of, after rotation where there is one. */
  readonly vectors?: HeadVectors;
}

/** Queries [heads][from][width] and keys [keyHeads][to][width], whose heads neighbouring queries share. */
export interface HeadVectors {
  readonly width: number;
  readonly queries: Float32Array;
  readonly keyHeads: number;
  readonly keys: Float32Array;
}

export interface PatternOptions {
  /** Cut a text that is longer than the model reads; else it is an error. Default false. */
  readonly truncation?: boolean;
}

/** A text as a model reads it: what forward takes, and the tokens of each of its stacks. */
export interface ReadText {
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** Of the encoder or the only stack, and of an encoder-decoder's target. */
  readonly tokens: readonly ShownToken[];
  readonly target?: readonly ShownToken[];
}

const row = (ids: ArrayLike<number>): Tensor => tensor(Int32Array.from(ids), { shape: [1, ids.length] });

/**
 * Reads a text, or a pair. Of an encoder-decoder the second one is what the decoder writes; without it the
 * model writes it itself. Errors, each one line: a text that is empty or longer than the model reads.
 *
 * @example
 * const { model, tokenizer } = await loadTextEncoder('models/pretrained/bert-small', 'ForMaskedLM');
 * const text = await readInputs(model, tokenizer, 'My fellow citizens');
 */
export async function readInputs(
  model: Module,
  tokenizer: AnyTokenizer,
  text: ExplainedText,
  { truncation = false }: PatternOptions = {},
): Promise<ReadText> {
  const base = baseOf(model);
  if (base instanceof Seq2SeqLM) return readSides(base, tokenizer, [text].flat());
  const limits = limitsOf(model);
  const { inputIds, tokenTypeIds, tokens } = shownRow(tokenizer, text, limits, truncation);
  return {
    inputs: { inputIds: row(inputIds), ...(limits.tokenTypes ? { tokenTypeIds: row(tokenTypeIds) } : {}) },
    tokens,
  };
}

/** A text or a pair as a row of tokens, with what is shown of each. */
export interface ShownRow extends TokenRow {
  readonly tokens: readonly ShownToken[];
}

/** Errors, each one line: a text that is empty or, without `truncation`, longer than the model reads. */
export function shownRow(
  tokenizer: AnyTokenizer,
  text: ExplainedText,
  limits: RowLimits,
  truncation: boolean,
): ShownRow {
  const { inputIds, tokenTypeIds, starts, ends, texts } = readRow(tokenizer, text, limits, truncation);
  if (inputIds.length === 0) throw new Error('attention: the text has no tokens; give one with a word in it');
  const given = [text].flat();
  const tokens = tokenizer.convertIdsToTokens(inputIds).map((name, t): ShownToken => {
    const side = texts[t]!;
    return { text: (side < 0 ? '' : given[side]!.slice(starts[t], ends[t])).trim() || name, side };
  });
  return { inputIds, tokenTypeIds, tokens };
}

async function readSides(model: Seq2SeqLM, tokenizer: AnyTokenizer, texts: readonly string[]): Promise<ReadText> {
  const [source = '', target] = texts;
  if (source.trim() === '') throw new Error('attention: the source is empty; give a text');
  const { positions, source: reader } = model.decoder();
  const template = textTemplate(model, tokenizer);
  const ids = withTemplate(template, tokenizer.idsOf(source));
  if (ids.length > reader!.positions)
    throw new Error(`attention: the source has ${ids.length} tokens, and the model reads at most ${reader!.positions}`);
  const written =
    target === undefined
      ? (await generate(model, [ids], { maxNewTokens: Math.min(2 * ids.length + 10, positions - 1) }))[0]!.tokens
      : withTemplate(template, tokenizer.idsOf(target), positions - 1);
  // What the decoder reads: the token that texts begin with, and all but the last of those that it writes.
  const read = [reader!.start, ...written.slice(0, -1)];
  const shown = (list: readonly number[], side: number): ShownToken[] =>
    tokenizer.convertIdsToTokens(list).map((name) => ({ text: name.replace(/^[▁Ġ]/, '') || name, side }));
  return {
    inputs: { inputIds: row(ids), decoderInputIds: row(read) },
    tokens: shown(ids, 0),
    target: shown(read, 1),
  };
}

const stackNames = {
  blocks: 'self-attention',
  encoder: "encoder's attention",
  decoder: "decoder's attention",
  cross_attn: 'attention to the source',
} as const;

/**
 * The attention weights of every layer and head on a text or a pair: of an encoder or a decoder one stack,
 * of an encoder-decoder three. Errors, each one line: a model without attention; a text that it cannot read.
 *
 * @example
 * const { model, tokenizer } = await loadTextEncoder('models/pretrained/bert-small', 'ForMaskedLM');
 * const [stack] = await attentionPatterns(model, tokenizer, 'My fellow citizens');
 * console.log(stack);
 */
export async function attentionPatterns(
  model: Module,
  tokenizer: AnyTokenizer,
  text: ExplainedText,
  options: PatternOptions = {},
): Promise<AttentionStack[]> {
  using _ = scope();
  using _mode = evalMode(model);
  const { inputs, tokens, target = [] } = await readInputs(model, tokenizer, text, options);
  const { cache } = noGrad(() => runWithCache(model as RunnableModule, inputs, /\.hook_(pattern|(rot_)?[qk])$/));
  const found = new Map<keyof typeof stackNames, AttentionLayer[]>();
  for (const [name, x] of Object.entries(cache)) {
    if (!name.endsWith('.hook_pattern')) continue;
    const [, first, part] = /^(\w+)\.\d+\.(\w+)\./.exec(name)! as unknown as [string, keyof typeof stackNames, string];
    const key = part === 'cross_attn' ? part : first;
    const vectors = await vectorsOf(cache, name.slice(0, -'pattern'.length));
    const layer = { heads: x.shape[1]!, weights: await numbersOf(x), ...(vectors ? { vectors } : {}) };
    found.set(key, [...(found.get(key) ?? []), layer]);
  }
  return [...found].map(([key, layers]) => ({
    name: stackNames[key],
    from: key === 'decoder' || key === 'cross_attn' ? target : tokens,
    to: key === 'decoder' ? target : tokens,
    layers,
  }));
}

const numbersOf = async (x: Tensor): Promise<Float32Array> => Float32Array.from(await x.data(), Number);

/** Queries and keys (1, T, H, D) of an attention, whose points begin so; undefined where it has none. */
async function vectorsOf(cache: Readonly<Record<string, Tensor>>, point: string): Promise<HeadVectors | undefined> {
  const [q, k] = ['q', 'k'].map((name) => cache[`${point}rot_${name}`] ?? cache[`${point}${name}`]);
  if (!q || !k) return undefined;
  const byHead = (x: Tensor): Promise<Float32Array> => numbersOf(x.permute(0, 2, 1, 3).contiguous());
  const [, , keyHeads, width] = k.shape as [number, number, number, number];
  return { width, queries: await byHead(q), keyHeads, keys: await byHead(k) };
}

/** A model that runs on inputs by name. */
type RunnableModule = Module & { forward(inputs: Readonly<Record<string, Tensor>>): unknown };
