// A text as the row of tokens that is explained, and rows like it as a batch for the model.
import { tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { CausalLM, rowLimits } from '../../models/index.ts';
import type { AnyTokenizer, Module, RowLimits } from '../../models/index.ts';
import { inputsOf, padRows } from '../../models/pipelines/rows.ts';
import { encodeToArrays } from '../../models/tokenizer/encode.ts';
import type { TextPair } from '../../models/tokenizer/encode-options.ts';
import { baseOf, configOf, readsLastToken } from './output.ts';
import type { ExplainedRow, LabelledBatch, Target } from './output.ts';

/** A text, or two of which the relation is asked for: a question and its context. */
export type ExplainedText = string | TextPair;

/** What stands in the place of a token that is taken away; zero: a vector of zeros, for gradients only. */
export const baselines = ['mask', 'pad', 'unk', 'eos', 'zero'] as const;
export type Baseline = (typeof baselines)[number];

/** How long rows may be, and whether the model tells types of tokens apart. */
export function limitsOf(model: Module): RowLimits {
  const base = baseOf(model);
  if (base instanceof CausalLM) return { positions: base.decoder().positions, tokenTypes: false };
  if (base.modules().some((module) => 'rowLimits' in module)) return rowLimits(base);
  const { maxPositionEmbeddings: positions } = configOf(model);
  return { positions: typeof positions === 'number' ? positions : Infinity, tokenTypes: false };
}

/** A text or a pair as one row. Error, one line: it is longer than the model reads, without `truncation`. */
export function readRow(
  tokenizer: AnyTokenizer,
  text: ExplainedText,
  { positions }: RowLimits,
  truncation: boolean,
): ExplainedRow {
  const maxLength = Math.min(positions, tokenizer.modelMaxLength);
  const encoded = encodeToArrays(tokenizer, [text] as readonly string[], {
    ...(truncation && maxLength < Infinity ? { truncation, maxLength } : {}),
    returnOffsets: true,
    returnSequenceIds: true,
  });
  const length = encoded.shape[1];
  if (length > maxLength)
    throw new Error(
      `explain: the text has ${length} tokens, and the model reads at most ${maxLength}; cut it, or pass ` +
        'truncation: true',
    );
  const side = (which: 0 | 1): Int32Array => Int32Array.from({ length }, (_, t) => encoded.offsets![2 * t + which]!);
  return {
    inputIds: encoded.inputIds,
    tokenTypeIds: encoded.tokenTypeIds,
    starts: side(0),
    ends: side(1),
    texts: encoded.sequenceIds!,
  };
}

/** The token that stands for a baseline; undefined where the tokenizer has none, and for zero. */
function idOf(tokenizer: AnyTokenizer, baseline: Baseline): number | undefined {
  const ids = {
    mask: tokenizer.maskTokenId,
    pad: tokenizer.padTokenId,
    unk: tokenizer.unkTokenId,
    eos: tokenizer.eosTokenId,
    zero: undefined,
  };
  return ids[baseline];
}

/**
 * The token that stands for what is taken away, by default the first of mask, pad, unk and eos that there is;
 * undefined for zero. Error, one line: the tokenizer has no such token; it would end the text for the model.
 */
export function baselineToken(model: Module, tokenizer: AnyTokenizer, asked: Baseline | undefined): number | undefined {
  if (asked === 'zero') return undefined;
  const padding = readsLastToken(model) ? configOf(model)['padTokenId'] : undefined;
  const there = baselines.filter((each) => {
    const id = idOf(tokenizer, each);
    return id !== undefined && id !== padding;
  });
  if (asked !== undefined && !there.includes(asked) && idOf(tokenizer, asked) !== undefined)
    throw new Error(
      `explain: a ${baseOf(model).constructor.name} reads a text up to its last token that is no padding, which ` +
        `the baseline ${asked} is; use ${[...there, 'zero'].join(' or ')}`,
    );
  const found = asked ?? there[0];
  const id = found && idOf(tokenizer, found);
  if (id !== undefined) return id;
  throw new Error(
    `explain: the tokenizer has no ${found ?? 'mask, pad, unk or eos'} token to stand for what is taken away; ` +
      `use the baseline ${[...there, 'zero'].join(' or ')}`,
  );
}

/** Rows of one text's length, which differ in their tokens, padded. */
export function batchOf(
  tokenizer: AnyTokenizer,
  limits: RowLimits,
  ids: readonly Int32Array[],
  { tokenTypeIds }: ExplainedRow,
  { place, label = 0, foil }: Target,
): LabelledBatch {
  const rows = ids.map((inputIds) => ({ inputIds, tokenTypeIds }));
  const column = (value: number): Tensor => tensor(new Int32Array(ids.length).fill(value), { shape: [ids.length, 1] });
  return {
    ...inputsOf(padRows(rows, tokenizer.padTokenId ?? 0, limits)),
    place: column(place),
    label: column(label),
    ...(foil === undefined ? {} : { foil: column(foil) }),
  };
}
