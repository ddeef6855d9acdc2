// What pipelines on encoders (BERT and its kin) share: texts to rows, rows through the model in batches.
import type { Compiled, Tensor } from '../../autograd/index.ts';
import { loadWithHead } from '../auto.ts';
import type { EncodersByHead, Head, HeadOptions } from '../auto.ts';
import { rowLimits } from '../bert/model.ts';
import type { BertInputs } from '../bert/model.ts';
import { readModelFolder, resolveModelFolder } from '../io/resolve.ts';
import type { Module } from '../module.ts';
import type { AnyTokenizer } from '../tokenizer/any-tokenizer.ts';
import { loadTokenizer } from '../tokenizer/load.ts';
import { encodeToArrays } from '../tokenizer/encode.ts';
import type { EncodeOptions, TextPair } from '../tokenizer/encode-options.ts';
import { compiledFor, forEachBatch, inputsOf, padRows } from './rows.ts';
import type { TokenRow } from './rows.ts';

/** An encoder and the tokenizer that it reads with. */
export interface TextEncoder<M extends EncoderModel = EncoderModel> {
  readonly model: M;
  readonly tokenizer: AnyTokenizer;
}

/** A model that reads rows of tokens. */
export interface EncoderModel extends Module {
  readonly config: object;
  forward(inputs: BertInputs): object;
}

/**
 * Loads an encoder of any family with this head and its tokenizer, of one save; errors as of `loadWithHead`.
 *
 * @example
 * const { model, tokenizer } = await loadTextEncoder('models/pretrained/bert-small', 'ForMaskedLM');
 * model.forward(tokenizer.encode('My fellow citizens')).logits.shape; // [1, 5, 8000]
 */
export async function loadTextEncoder<H extends Head>(
  id: string,
  head: H,
  options: HeadOptions = {},
): Promise<TextEncoder<EncodersByHead[H]>> {
  const folder = await resolveModelFolder(id, options);
  return readModelFolder(folder, async () => ({
    model: await loadWithHead(folder, head, options),
    tokenizer: await loadTokenizer(folder),
  }));
}

/**
 * The token that rows are padded with; the mask hides it.
 *
 * @example
 * paddingOf(await loadTextEncoder('models/pretrained/bert-small', 'ForMaskedLM')); // 0
 */
export const paddingOf = ({ model, tokenizer }: TextEncoder): number =>
  tokenizer.padTokenId ?? (model.config as { readonly padTokenId?: number | null }).padTokenId ?? 0;

/** Options of every pipeline on an encoder. */
export interface EncoderOptions {
  /** Texts at once; default 16. */
  readonly batchSize?: number;
  /** Cut texts that are longer than the model reads; else they are an error. Default false. */
  readonly truncation?: boolean;
  /** Ends the work between two batches with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** A text as a row of tokens, and where each of its tokens stands. */
export interface TextRow extends TokenRow {
  /** Number of its text. */
  readonly text: number;
  /**
   * Token t stands at [starts[t], ends[t]) of its text, in UTF-16 units as `slice` counts; 0 for special
   * tokens.
   */
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  /** 1 for special tokens. */
  readonly special: Int32Array;
}

export interface RowOptions {
  /** Default false: a text that is longer than the model reads is an error. */
  readonly truncation?: EncodeOptions['truncation'];
  /** Cut longer texts into several rows, which repeat so many tokens of the row before. */
  readonly stride?: number;
  /** Tokens of a row, where the model is to read fewer than it can. */
  readonly maxLength?: number;
}

/** Tokens that the model reads of a text at most, special tokens included. */
export const longestRow = ({ model, tokenizer }: TextEncoder): number =>
  Math.min(rowLimits(model).positions, tokenizer.modelMaxLength);

/** Texts or pairs as rows of at most as many tokens as the model reads. */
export function textRows(
  { model, tokenizer }: TextEncoder,
  texts: readonly (string | TextPair)[],
  { truncation = false, stride, maxLength: most = Infinity }: RowOptions = {},
): TextRow[] {
  const maxLength = Math.min(longestRow({ model, tokenizer }), most);
  const isCut = truncation !== false || stride !== undefined;
  const options: EncodeOptions = {
    ...(isCut ? { truncation: truncation || true, maxLength } : {}),
    ...(stride === undefined ? {} : { stride, returnOverflowingTokens: true }),
    padding: true,
    returnOffsets: true,
    returnSpecialTokensMask: true,
  };
  return texts.flatMap((input, text): TextRow[] => {
    const encoded = encodeToArrays(tokenizer, [input] as readonly string[], options);
    const [rows, width] = encoded.shape;
    if (width > maxLength)
      throw new Error(
        `text ${text} has ${width} tokens, and the model reads at most ${maxLength}; cut it, or pass truncation: true`,
      );
    return Array.from({ length: rows }, (_, row): TextRow => {
      const isToken = encoded.attentionMask.subarray(row * width, (row + 1) * width);
      const places = Array.from({ length: width }, (_, t) => row * width + t).filter((at) => isToken[at - row * width]);
      const pick = (values: Int32Array, stride = 1, offset = 0): Int32Array =>
        Int32Array.from(places, (at) => values[at * stride + offset]!);
      return {
        text,
        inputIds: pick(encoded.inputIds),
        tokenTypeIds: pick(encoded.tokenTypeIds),
        starts: pick(encoded.offsets!, 2, 0),
        ends: pick(encoded.offsets!, 2, 1),
        special: pick(encoded.specialTokensMask!),
      };
    });
  });
}

/** A function of a model and a batch that gives one tensor, compiled once for each model. */
type Forward<M extends EncoderModel> = (model: M) => (batch: BertInputs) => Tensor | Promise<Tensor>;

/**
 * `compute` as the device runs it, compiled once for each model: a batch's result, of which `readRows` reads
 * what is each row's.
 */
export const computing = <M extends EncoderModel>(
  name: string,
  compute: (model: M, batch: BertInputs) => Tensor,
): ((model: M) => Compiled<[batch: BertInputs], Tensor>) => compiledFor(name, compute);

/**
 * The values of each row, in the order of the rows: of a result (B, ...) the part (...) of the row, and of
 * (B, T, ...) those of its own tokens where `perToken` is set. Dropout is off.
 */
export async function readRows<M extends EncoderModel>(
  { model, tokenizer }: TextEncoder<M>,
  rows: readonly TokenRow[],
  forward: Forward<M>,
  { batchSize = 16, signal, perToken = false }: EncoderOptions & { readonly perToken?: boolean } = {},
): Promise<Float32Array[]> {
  const values = new Array<Float32Array>(rows.length);
  await forEachBatch(model, rows, batchSize, async (indices) => {
    signal?.throwIfAborted();
    const batch = indices.map((i) => rows[i]!);
    const padded = padRows(batch, paddingOf({ model, tokenizer }), rowLimits(model));
    const result = await forward(model)(inputsOf(padded));
    const data = (await result.data()) as Float32Array;
    const size = result.size / indices.length;
    indices.forEach((i, row) => {
      const own = perToken ? (size / padded.shape[1]) * batch[row]!.inputIds.length : size;
      values[i] = data.slice(row * size, row * size + own);
    });
  });
  return values;
}
