import type { Settled } from './options.ts';
import { logSoftmax } from './processors.ts';
import type { LogitsProcessor } from './processors.ts';
import { processorsOf } from './request.ts';
import type { Generated, Request } from './request.ts';
import type { DecodingSession } from './session.ts';

/** Stands for "never": as Transformers has it, where such scores still compare. */
const never = -1e9;

interface Running {
  readonly tokens: readonly number[];
  /** The sum of log-probabilities. */
  readonly score: number;
}

interface Finished extends Running {
  readonly isWhole: boolean;
}

/** A way to go on: a token after one of the running texts. */
interface Continuation extends Running {
  /** Number of the running text among its prompt's. */
  readonly from: number;
  readonly isEnd: boolean;
}

/** The search of one prompt. */
interface Beams {
  readonly promptLength: number;
  readonly processors: readonly LogitsProcessor[];
  /** New tokens at most. */
  readonly most: number;
  running: readonly (Running & { readonly from: number })[];
  finished: readonly Finished[];
  /** Whether a better text is likely; once not, never again. */
  canImprove: boolean;
  /** The best continuations of the last step all ended. */
  isStuck: boolean;
}

/**
 * Beam search: of all continuations of numBeams texts by one token, the best by summed log-probability go on.
 * Selection, scores, and the end of the search are those of Transformers' `_beam_search`
 * (generation/utils.py, 5.x), so that the texts are the same. All prompts go on until each search is over,
 * and each has its texts as if it were alone.
 */
export async function* beamSearch(session: DecodingSession, request: Request): AsyncGenerator<Generated> {
  const { rows, settled, vocabSize } = request;
  const { numBeams } = settled;
  const begin = performance.now();
  const searches = rows
    .filter(({ sample }) => sample === 0)
    .map((row): Beams => {
      const { tokens } = row;
      const most = Math.min(row.most, request.positions - tokens.length + 1);
      return {
        promptLength: tokens.length,
        processors: processorsOf(request, row, most),
        most,
        // All beams begin with the prompt: only the first counts, or they would all go the same way.
        running: Array.from({ length: numBeams }, (_, k) => ({ tokens, score: k === 0 ? 0 : never, from: k })),
        finished: Array.from({ length: numBeams }, () => ({ tokens, score: never, isWhole: false })),
        canImprove: true,
        isStuck: false,
      };
    });
  let logits = await session.begin(rows, 'logits');
  for (let step = 1; ; step++) {
    const isLate = performance.now() - begin > 1000 * settled.maxTime;
    searches.forEach((search, s) => {
      if (isOver(search, settled)) return;
      const rowOf = (k: number): Float32Array => {
        const start = (s * numBeams + k) * vocabSize;
        return (logits as Float32Array).subarray(start, start + vocabSize);
      };
      advance(search, rowOf, step, isLate, settled);
    });
    if (searches.every((search) => isOver(search, settled))) break;
    const beams = searches.flatMap(({ running }, s) =>
      running.map((beam) => ({ ...beam, row: s * numBeams + beam.from })),
    );
    const ids = beams.map(({ tokens }) => tokens.at(-1)!);
    logits = await session.append(
      ids,
      'logits',
      beams.map(({ row }) => row),
    );
  }
  for (const [prompt, { finished, promptLength }] of searches.entries()) {
    for (const [sample, { tokens, score }] of finished.slice(0, settled.numReturnSequences).entries()) {
      const fresh = tokens.slice(promptLength);
      yield { prompt, sample, tokens: fresh, score, finish: settled.ends.has(fresh.at(-1)!) ? 'eos' : 'length' };
    }
  }
}

function isOver({ canImprove, isStuck, finished }: Beams, { earlyStopping }: Settled): boolean {
  const isFull = earlyStopping === true && finished.every(({ isWhole }) => isWhole);
  return !canImprove || isStuck || isFull;
}

/** One step of one search, with the logits of its running texts. */
function advance(
  search: Beams,
  logitsOf: (beam: number) => Float32Array,
  step: number,
  isLate: boolean,
  settled: Settled,
): void {
  const { running, finished, processors, most } = search;
  const { numBeams, lengthPenalty, earlyStopping, ends } = settled;
  const best = continuations(running, Math.max(2, 1 + ends.size) * numBeams, (beam) => {
    const scores = logSoftmax(logitsOf(beam));
    for (const process of processors) process(running[beam]!.tokens, scores);
    return scores;
  }).map((c): Continuation => ({ ...c, isEnd: ends.has(c.tokens.at(-1)!) || step >= most || isLate }));

  const isFull = earlyStopping === true && finished.every(({ isWhole }) => isWhole);
  const ended = best.map((c, rank): Finished => {
    const isWhole = c.isEnd && rank < numBeams;
    const score =
      c.score / step ** lengthPenalty + (isFull ? never : 0) + (search.canImprove ? 0 : never) + (isWhole ? 0 : never);
    return { tokens: c.tokens, score, isWhole };
  });
  search.finished = highest([...finished, ...ended], numBeams);
  search.running = highest(
    best.map((c) => (c.isEnd ? { ...c, score: c.score + never } : c)),
    numBeams,
  );
  search.isStuck = best.every(({ isEnd }) => isEnd);
  const length = earlyStopping === 'never' && lengthPenalty > 0 ? most : step;
  const hoped = search.running[0]!.score / length ** lengthPenalty;
  const worst = Math.min(...search.finished.map(({ score }) => score));
  search.canImprove &&= search.finished.some(({ isWhole }) => hoped > (isWhole ? worst : never));
}

/**
 * The `count` best continuations of all running texts by one token, the best first; of equal ones the earlier
 * text and the smaller id.
 */
function continuations(
  running: readonly Running[],
  count: number,
  scoresOf: (beam: number) => Float32Array,
): Omit<Continuation, 'isEnd'>[] {
  const kept: { beam: number; id: number; score: number }[] = [];
  for (const [beam, { score: before }] of running.entries()) {
    const scores = scoresOf(beam);
    for (let id = 0; id < scores.length; id++) {
      const score = Math.fround(scores[id]! + before);
      if (kept.length === count && !(score > kept[count - 1]!.score)) continue;
      let at = kept.length;
      while (at > 0 && score > kept[at - 1]!.score) at--;
      kept.splice(at, 0, { beam, id, score });
      if (kept.length > count) kept.pop();
    }
  }
  return kept.map(({ beam, id, score }) => ({ tokens: [...running[beam]!.tokens, id], score, from: beam }));
}

/** The `count` with the highest scores, in their order; equal ones stay in order. */
function highest<T extends { readonly score: number }>(list: readonly T[], count: number): T[] {
  return [...list].sort((a, b) => b.score - a.score).slice(0, count);
}
