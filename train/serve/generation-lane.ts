import { streamText } from '../../models/index.ts';
import type { GenerationOptions, TextGenerator, TextPiece } from '../../models/index.ts';
import { Pieces } from './pieces.ts';
import type { Lane, Turns } from './turns.ts';

export interface GenerationLaneOptions {
  /** Texts that grow together at most. */
  readonly batchSize: number;
  /** Batches that have turns side by side: who comes later need not wait for the end of those before. */
  readonly batches: number;
  /** Of the cache of keys and values. */
  readonly cacheDtype?: 'int8' | undefined;
  /** Told of each batch that begins. */
  readonly onBatch?: (texts: number) => void;
}

interface Text {
  readonly ids: Int32Array;
  readonly options: GenerationOptions;
  readonly signal: AbortSignal;
  readonly pieces: Pieces<TextPiece>;
}

/** Room that a cache has at first, for prompts and so many new tokens; it grows. */
const roomAtFirst = 256;

/**
 * Texts that a model continues, each with options of its own: those that wait are continued as one batch, one
 * token of each a turn. A text whose client went away is not written to its end for nobody, where no other
 * text of its batch goes on.
 */
export class GenerationLane implements Lane {
  readonly #turns: Turns;
  readonly #generator: Pick<TextGenerator, 'model' | 'tokenizer'>;
  readonly #options: GenerationLaneOptions;
  readonly #texts: Text[] = [];
  #running = 0;

  constructor(turns: Turns, generator: Pick<TextGenerator, 'model' | 'tokenizer'>, options: GenerationLaneOptions) {
    this.#turns = turns;
    this.#generator = generator;
    this.#options = options;
    turns.add(this);
  }

  get waiting(): number {
    return this.#texts.length;
  }

  /** The text that continues a prompt, in pieces as it grows. The signal ends it with its reason. */
  submit(ids: Int32Array, options: GenerationOptions, signal: AbortSignal): AsyncIterable<TextPiece> {
    const pieces = new Pieces<TextPiece>();
    const stop = (): void => pieces.fail(signal.reason);
    if (signal.aborted) stop();
    else {
      signal.addEventListener('abort', stop, { once: true });
      this.#texts.push({ ids, options, signal, pieces });
      this.#turns.wake();
    }
    return pieces;
  }

  begin(): AsyncGenerator<void>[] {
    const begun: AsyncGenerator<void>[] = [];
    const { batchSize, batches } = this.#options;
    for (;;) {
      const wanted = this.#texts.splice(0).filter(({ signal }) => !signal.aborted);
      this.#texts.push(...wanted);
      if (this.#running >= batches || wanted.length === 0) return begun;
      this.#running++;
      begun.push(this.#work(this.#texts.splice(0, batchSize)));
    }
  }

  async *#work(texts: readonly Text[]): AsyncGenerator<void> {
    let hasBegun = false;
    try {
      try {
        for await (const _ of this.#write(texts)) {
          hasBegun = true;
          yield;
        }
      } catch (error) {
        // What one text asks for may be impossible: the others do without it.
        if (texts.length === 1 || hasBegun) for (const { pieces } of texts) pieces.fail(error);
        else for (const text of texts) yield* this.#alone(text);
      }
    } finally {
      this.#running--;
    }
  }

  async *#alone(text: Text): AsyncGenerator<void> {
    try {
      yield* this.#write([text]);
    } catch (error) {
      text.pieces.fail(error);
    }
  }

  /** One turn for each token of all texts. */
  async *#write(texts: readonly Text[]): AsyncGenerator<void> {
    this.#options.onBatch?.(texts.length);
    const { model, tokenizer } = this.#generator;
    const { batchSize, cacheDtype } = this.#options;
    const done = texts.map(() => false);
    const isOver = (i: number): boolean => done[i]! || texts[i]!.signal.aborted || texts[i]!.pieces.unread;
    const prompts = texts.map(({ ids }) => ids);
    const options = texts.map((text) => text.options);
    const cacheCapacity = this.#capacity(texts);
    // A batch has one of few sizes, so that its step is compiled already: texts of one token fill it up.
    const half = Math.ceil(batchSize / 2);
    const size = texts.length === 1 ? 1 : texts.length <= half ? half : batchSize;
    const { adapterNames, guidanceScale, promptLookupNumTokens } = options[0]!;
    const ofBatch = { adapterNames, guidanceScale, promptLookupNumTokens };
    while (prompts.length < size) {
      prompts.push(prompts[0]!.slice(-1));
      options.push({ ...ofBatch, maxNewTokens: 1, doSample: false });
    }
    // One text alone goes on from what the model has read of it, as the turns of a dialogue do.
    const reuseCache = size === 1 && adapterNames === undefined;
    const settled = options.map((own) => ({ ...own, cacheCapacity, cacheDtype, reuseCache }));
    let [left, going] = [prompts.length, prompts.length];
    for await (const piece of streamText(model, tokenizer, prompts, settled)) {
      const { prompt, finish } = piece;
      if (finish) going--;
      const text = texts[prompt];
      if (text && !isOver(prompt)) {
        text.pieces.push(piece);
        if (finish) {
          done[prompt] = true;
          text.pieces.end();
        }
      }
      if (--left > 0) continue;
      if (texts.every((_, i) => isOver(i))) return;
      left = going;
      yield;
    }
  }

  /** Tokens that the cache has room for at first: few sizes, since each is compiled for. */
  #capacity(texts: readonly Text[]): number {
    const longest = Math.max(
      ...texts.map(({ ids, options }) => ids.length + Math.min(options.maxNewTokens ?? roomAtFirst, roomAtFirst)),
    );
    return Math.min(
      Math.max(roomAtFirst, 2 ** Math.ceil(Math.log2(longest))),
      this.#generator.model.decoder().positions,
    );
  }
}
