import { createHash } from 'node:crypto';
import { dialogueTokens } from '../../models/index.ts';
import type { AnyTokenizer } from '../../models/index.ts';
import { printable } from '../../common/printable.ts';
import type { LabelledTokens } from '../objectives/labelled-tokens.ts';
import type { Conversation } from './conversations.ts';

/** What becomes of a text with more tokens than fit: an end, the loss of its own end, or its own. */
export const longerChoices = ['refuse', 'cut', 'leave-out'] as const;

export interface SequenceOptions {
  /** Tokens of a sequence at most. */
  readonly maxLength: number;
  /** Default "refuse". */
  readonly longer?: (typeof longerChoices)[number];
  /** In place of the tokenizer's own template. */
  readonly chatTemplate?: string;
}

export interface Sequences {
  readonly sequences: readonly LabelledTokens[];
  /** How many lost their end, and how many are not among them: too long, or nothing to learn is left. */
  readonly cut: number;
  readonly leftOut: number;
}

/**
 * Conversations as tokens, and which of them are to be learnt: of a dialogue what the assistant says, with
 * the ends of its turns (`dialogueTokens`); of a text that is gone on with, what goes on; of a text, all.
 * Texts end with the token that ends texts.
 *
 * Error, one line with file and line: a dialogue that the template refuses, or in which it marks no turn; a
 * text of more than `maxLength` tokens, unless `longer` says what becomes of it.
 */
export function sequencesOf(
  tokenizer: AnyTokenizer,
  conversations: readonly Conversation[],
  { maxLength, longer = 'refuse', chatTemplate }: SequenceOptions,
  mayBeNone = false,
): Sequences {
  const sequences: LabelledTokens[] = [];
  let [cut, leftOut] = [0, 0];
  for (const conversation of conversations) {
    const { where } = conversation;
    const whole = learntTokens(tokenizer, conversation, chatTemplate);
    const length = whole.ids.length;
    if (!hasLearnt(whole, length))
      throw new Error(`${where}: none of its ${length} tokens is the assistant's; does the template mark its turns?`);
    if (length > maxLength && longer === 'refuse')
      throw new Error(
        `${where}: ${length} tokens, and a row has ${maxLength}; allow longer rows, or say with longer "cut" or ` +
          '"leave-out" what becomes of it (--longer)',
      );
    const isCut = length > maxLength;
    if (isCut && (longer === 'leave-out' || !hasLearnt(whole, maxLength))) {
      leftOut++;
      continue;
    }
    if (isCut) cut++;
    sequences.push({ ids: whole.ids.slice(0, maxLength), learnt: whole.learnt.slice(0, maxLength) });
  }
  if (sequences.length === 0 && !mayBeNone)
    throw new Error(`no conversation is left of ${conversations.length}; allow longer rows`);
  return { sequences, cut, leftOut };
}

/** SHA-256 of what sequences hold, by which a run knows its data. */
export function hashOfSequences(sequences: readonly LabelledTokens[]): string {
  const hash = createHash('sha256');
  for (const { ids, learnt } of sequences) {
    hash.update(Int32Array.of(ids.length));
    hash.update(Int32Array.from(ids));
    hash.update(Uint8Array.from(learnt));
  }
  return hash.digest('hex');
}

interface Whole extends LabelledTokens {
  readonly ids: Int32Array;
  readonly learnt: Uint8Array;
}

/** The first token is before all others and is never learnt. */
const hasLearnt = ({ learnt }: Whole, length: number): boolean => learnt.subarray(1, length).includes(1);

function learntTokens(tokenizer: AnyTokenizer, conversation: Conversation, chatTemplate?: string): Whole {
  if ('messages' in conversation) {
    const { messages, from, tools, where } = conversation;
    try {
      const { ids, assistantMask } = dialogueTokens(tokenizer, messages, { from, tools, chatTemplate });
      return { ids, learnt: assistantMask };
    } catch (error) {
      throw new Error(`${where}: ${printable((error as Error).message)}`, { cause: error });
    }
  }
  const encode = (text: string): Int32Array => tokenizer.idsOf(text, { addSpecialTokens: true });
  const { eosTokenId } = tokenizer;
  const end = eosTokenId === undefined ? '' : tokenizer.idToToken(eosTokenId)!;
  const ended = (text: string): string => (text.endsWith(end) ? text : text + end);
  if ('text' in conversation) {
    const ids = encode(ended(conversation.text));
    return { ids, learnt: new Uint8Array(ids.length).fill(1) };
  }
  const { prompt, completion } = conversation;
  const [before, ids] = [encode(prompt), encode(prompt + ended(completion))];
  // Tokens may grow over the border: what is learnt begins where the two part, as in TRL.
  let from = 0;
  while (from < before.length && before[from] === ids[from]) from++;
  return { ids, learnt: new Uint8Array(ids.length).fill(1, from) };
}
