import { highest } from '../../common/collections.ts';
import { softmax } from '../../autograd/index.ts';
import type { BertInputs } from '../bert/model.ts';
import type { MaskedLanguageModel } from '../auto.ts';
import type { LoadOptions } from '../pretrained.ts';
import { brief } from '../../common/printable.ts';
import { computing, loadTextEncoder, readRows, textRows } from './encoder.ts';
import type { EncoderOptions, TextEncoder } from './encoder.ts';

/** A token for a masked place. */
export interface FilledMask {
  readonly score: number;
  readonly token: number;
  readonly token_str: string;
  /** The text with the token in place. */
  readonly sequence: string;
}

export interface FillMaskOptions extends EncoderOptions {
  /** How many tokens, the most probable first; default 5. */
  readonly topK?: number;
  /** Only these tokens; of a word that is none, its first token counts. */
  readonly targets?: string | readonly string[];
}

type MaskFiller = TextEncoder<MaskedLanguageModel>;

export const loadMaskFiller = (id: string, options?: LoadOptions): Promise<MaskFiller> =>
  loadTextEncoder(id, 'ForMaskedLM', options);

const probabilitiesOf = computing('fill-mask', (model: MaskedLanguageModel, batch: BertInputs) =>
  softmax(model.forward(batch).logits, -1),
);

/**
 * Tokens for the mask of each text, as Transformers' FillMaskPipeline: for each mask of a text, in their
 * order. Errors, each one line: a text without the tokenizer's mask; a target of no token.
 */
export async function fillMasks(
  filler: MaskFiller,
  texts: readonly string[],
  options: FillMaskOptions = {},
): Promise<FilledMask[][][]> {
  const { tokenizer } = filler;
  const { topK = 5, targets, truncation } = options;
  if (!Number.isInteger(topK) || topK < 1)
    throw new Error(`fill-mask: topK must be a whole number of at least 1, got ${topK}`);
  const allowed = targets === undefined ? undefined : targetIds(filler, [targets].flat());
  const { maskTokenId } = tokenizer;
  if (maskTokenId === undefined) throw new Error('fill-mask: the tokenizer names no mask_token; use another model');
  const rows = textRows(filler, texts, { truncation });
  const masks = rows.map(({ inputIds }) => places(inputIds, maskTokenId));
  const without = masks.findIndex((each) => each.length === 0);
  if (without >= 0)
    throw new Error(
      `fill-mask: text ${without} has no ${tokenizer.idToToken(maskTokenId)}: ${brief(texts[without])}; ` +
        'put it where a token is to be found',
    );
  const probabilities = await readRows(filler, rows, probabilitiesOf, { ...options, perToken: true });
  const count = tokenizer.vocabSize;
  return rows.map(({ inputIds }, i) => {
    const width = probabilities[i]!.length / inputIds.length;
    return masks[i]!.map((at) => {
      const own = probabilities[i]!.subarray(at * width, at * width + Math.min(width, count));
      const ids = allowed
        ? highest(
            allowed.map((id) => own[id]!),
            topK,
          ).map((k) => allowed[k]!)
        : highest(own, topK);
      return ids.map((token) => {
        const filled = inputIds.with(at, token).filter((id) => id !== tokenizer.padTokenId);
        return {
          score: own[token]!,
          token,
          token_str: tokenizer.decode([token]),
          // Where there are further masks, they stay to be seen.
          sequence: tokenizer.decode(filled, { skipSpecialTokens: masks[i]!.length === 1 }),
        };
      });
    });
  });
}

function places(ids: Int32Array, wanted: number): number[] {
  return Array.from(ids, (id, at) => (id === wanted ? at : -1)).filter((at) => at >= 0);
}

function targetIds({ tokenizer }: MaskFiller, targets: readonly string[]): number[] {
  const ids = targets.map((target) => {
    const id = tokenizer.tokenToId(target) ?? tokenizer.idsOf(target)[0];
    if (id === undefined) throw new Error(`fill-mask: the target ${brief(target)} has no token; leave it out`);
    return id;
  });
  if (ids.length === 0) throw new Error('fill-mask: targets is empty; give at least one, or leave it out');
  return [...new Set(ids)];
}
