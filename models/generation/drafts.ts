import { sharedLength } from '../../common/collections.ts';
import type { Generative } from './decoder.ts';
import type { Settled } from './options.ts';
import { withSession } from './pool.ts';
import { knownToken } from './sample.ts';
import type { Request } from './request.ts';
import type { Beginning, DecodingSession, Wanted } from './session.ts';

/** What a text may go on with, as something guesses that is faster than the model. */
interface Drafter {
  /** Guesses at most. */
  readonly most: number;
  /** The guesses, at most `most`. */
  draft(tokens: readonly number[]): Promise<readonly number[]>;
}

/**
 * A session of one text that looks at guessed tokens in the same pass as at the last one (Leviathan et al.
 * 2023; Saxena 2023 for guesses from the text). A guess counts where the very token is chosen that it was, by
 * the same draw as without: the text is the same in any case, and its draws too.
 */
export class DraftingSession {
  readonly #session: DecodingSession;
  readonly #drafter: Drafter;
  #tokens: number[] = [];
  /** Guesses that the model has looked at; what is wanted behind the token before them and behind each. */
  #seen: { readonly drafts: readonly number[]; readonly behind: ArrayLike<number>[]; at: number } | undefined;

  constructor(session: DecodingSession, drafter: Drafter) {
    this.#session = session;
    this.#drafter = drafter;
  }

  /** As that of the session. */
  async begin(rows: readonly Beginning[], wanted: Wanted, reuse = false): Promise<ArrayLike<number>> {
    this.#tokens = [...rows[0]!.tokens];
    this.#seen = undefined;
    return this.#session.begin(rows, wanted, reuse);
  }

  /** As that of the session, of its one row. */
  async append([id]: readonly number[], wanted: Wanted): Promise<ArrayLike<number>> {
    this.#tokens.push(id!);
    const seen = this.#seen;
    if (seen && seen.at < seen.drafts.length && seen.drafts[seen.at] === id) return seen.behind[++seen.at]!;
    if (seen && seen.at < seen.drafts.length) this.#session.rewind(this.#tokens.length - 1);
    this.#seen = undefined;
    const { most } = this.#drafter;
    const hasRoom = this.#tokens.length + most <= this.#session.positions;
    const drafts = hasRoom ? (await this.#drafter.draft(this.#tokens)).slice(0, most) : [];
    if (drafts.length === 0) return this.#session.append([id!], wanted);
    const all = await this.#session.look([id!, ...drafts], most + 1, wanted);
    const size = all.length / (most + 1);
    const behind = Array.from({ length: drafts.length + 1 }, (_, i) =>
      (all as Float32Array).subarray(i * size, (i + 1) * size),
    );
    this.#seen = { drafts, behind, at: 0 };
    return behind[0]!;
  }
}

/** Runs fn with the session, or one that guesses beside it, where the options ask for one. */
export async function* withDrafts<T>(
  session: DecodingSession,
  { rows, settled, capacity, vocabSize }: Request,
  fn: (session: Pick<DecodingSession, 'begin' | 'append'>) => AsyncGenerator<T>,
): AsyncGenerator<T> {
  const { assistantModel, promptLookupNumTokens } = settled;
  const isAlone = rows.length === 1 && settled.guidanceScale === 1 && rows[0]!.source === undefined;
  if (!isAlone || !(assistantModel || promptLookupNumTokens > 0)) yield* fn(session);
  else if (!assistantModel) yield* fn(new DraftingSession(session, lookup(settled)));
  else {
    check(assistantModel, vocabSize);
    const { numAssistantTokens: most, cacheDtype } = settled;
    const run = (own: DecodingSession): AsyncGenerator<T> => fn(new DraftingSession(session, assistant(own, most)));
    yield* withSession(assistantModel, 1, capacity, run, { cacheDtype });
  }
}

function check(model: Generative, vocabSize: number): void {
  const { source, vocabSize: own } = model.decoder();
  if (source) throw new Error('generate: assistantModel reads a source; give a model that goes on from a prompt');
  if (own !== vocabSize)
    throw new Error(
      `generate: assistantModel has a vocabulary of ${own} tokens, the model one of ${vocabSize}; give a model of ` +
        'the same tokenizer',
    );
}

/** What came behind the last tokens when they came before: of the longest run of them, the last time. */
function lookup({ promptLookupNumTokens: most, maxMatchingNgramSize }: Settled): Drafter {
  const draft = (tokens: readonly number[]): readonly number[] => {
    for (let size = Math.min(maxMatchingNgramSize, tokens.length - 1); size > 0; size--)
      for (let start = tokens.length - size - 1; start >= 0; start--) {
        let same = 0;
        while (same < size && tokens[start + same] === tokens[tokens.length - size + same]) same++;
        if (same === size) return tokens.slice(start + size, start + size + most);
      }
    return [];
  };
  return { most, draft: (tokens) => Promise.resolve(draft(tokens)) };
}

/** The most probable tokens of another model. */
function assistant(session: DecodingSession, most: number): Drafter {
  /** What the session has read. */
  let read: number[] = [];
  const draft = async (tokens: readonly number[]): Promise<readonly number[]> => {
    if (tokens.length + most > session.positions) return [];
    const same = sharedLength(read, tokens);
    let next: ArrayLike<number> = [];
    if (same === 0) next = await session.begin([{ tokens }], 'argmax');
    else {
      if (same < read.length) session.rewind(same);
      for (const id of tokens.slice(same)) next = await session.append([id], 'argmax');
    }
    const drafts = [knownToken(next[0]!)];
    while (drafts.length < most) {
      next = await session.append([drafts.at(-1)!], 'argmax');
      drafts.push(knownToken(next[0]!));
    }
    read = [...tokens, ...drafts.slice(0, -1)];
    return drafts;
  };
  return { most, draft };
}
