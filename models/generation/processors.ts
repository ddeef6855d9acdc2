/**
 * Changes the scores (logits, or log-probabilities in a beam search) of the next token of one row in place,
 * given the tokens before it. Semantics are those of the class of the same name in Transformers'
 * generation/logits_process.py, rounding to f32 included.
 */
export type LogitsProcessor = (tokens: readonly number[], scores: Float32Array) => void;

/**
 * Scores of tokens that came before are divided by the penalty where positive, multiplied where negative
 * (Keskar et al. 2019, CTRL, section 4.1).
 */
export function repetitionPenalty(penalty: number): LogitsProcessor {
  const factor = Math.fround(penalty);
  return (tokens, scores) => {
    for (const id of new Set(tokens)) {
      const score = scores[id];
      if (score !== undefined) scores[id] = score < 0 ? score * factor : score / factor;
    }
  };
}

/** No run of `size` tokens comes twice. */
export function noRepeatNgram(size: number): LogitsProcessor {
  return (tokens, scores) => {
    const prefix = tokens.length - (size - 1);
    for (let start = 0; start + size <= tokens.length; start++) {
      let at = 0;
      while (at < size - 1 && tokens[start + at] === tokens[prefix + at]) at++;
      if (at === size - 1) ban(scores, tokens[start + at]!);
    }
  };
}

/** None of these runs of tokens is completed. */
export function badWords(runs: readonly (readonly number[])[]): LogitsProcessor {
  return (tokens, scores) => {
    for (const run of runs) {
      const start = tokens.length - (run.length - 1);
      if (start >= 0 && run.slice(0, -1).every((id, i) => tokens[start + i] === id)) ban(scores, run.at(-1)!);
    }
  };
}

/** The last of `length` tokens, prompt included, is one of `ends`. */
export function forcedEos(length: number, ends: Iterable<number>): LogitsProcessor {
  const ids = [...ends];
  return (tokens, scores) => {
    if (tokens.length !== length - 1) return;
    scores.fill(-Infinity);
    for (const id of ids) scores[id] = 0;
  };
}

/** No end of the text before `count` new tokens. */
export function minNewTokens(promptLength: number, count: number, ends: Iterable<number>): LogitsProcessor {
  const ids = [...ends];
  return (tokens, scores) => {
    if (tokens.length - promptLength < count) for (const id of ids) ban(scores, id);
  };
}

export function temperature(value: number): LogitsProcessor {
  const divisor = Math.fround(value);
  return (_, scores) => {
    for (let i = 0; i < scores.length; i++) scores[i]! /= divisor;
  };
}

/** Keeps the `count` largest scores, and those equal to the last of them. */
export function topK(count: number): LogitsProcessor {
  return (_, scores) => {
    if (count >= scores.length) return;
    const sorted = scores.slice().sort();
    const least = sorted[sorted.length - count]!;
    for (let i = 0; i < scores.length; i++) if (scores[i]! < least) scores[i] = -Infinity;
  };
}

/**
 * Keeps the smallest set of the most probable tokens whose probabilities add up to p or more (Holtzman et al.
 * 2020). Of equal ones the later go in first.
 */
export function topP(p: number): LogitsProcessor {
  return (_, scores) => {
    const sorted = scores.filter((score) => score !== -Infinity).sort();
    const chances = softmax(sorted);
    let [dropped, below] = [0, 0];
    while (dropped < sorted.length - 1 && (below += chances[dropped]!) <= 1 - p) dropped++;
    const least = sorted[dropped]!;
    let equal = dropped - sorted.indexOf(least); // of those equal to it, so many are dropped
    for (let i = 0; i < scores.length; i++)
      if (scores[i]! < least || (scores[i] === least && equal-- > 0)) scores[i] = -Infinity;
  };
}

/** Keeps the tokens at least p times as probable as the most probable one (Nguyen et al. 2024). */
export function minP(p: number): LogitsProcessor {
  return (_, scores) => {
    const chances = softmax(scores);
    const least = p * largest(chances);
    for (let i = 0; i < scores.length; i++) if (chances[i]! < least) scores[i] = -Infinity;
  };
}

/** Probabilities in float64. At least one score must be finite. */
export function softmax(scores: ArrayLike<number>): Float64Array {
  const top = largest(scores);
  const chances = new Float64Array(scores.length);
  let sum = 0;
  for (let i = 0; i < scores.length; i++) sum += chances[i] = Math.exp(scores[i]! - top);
  for (let i = 0; i < chances.length; i++) chances[i]! /= sum;
  return chances;
}

export function logSoftmax(scores: ArrayLike<number>): Float32Array {
  const top = largest(scores);
  let sum = 0;
  for (let i = 0; i < scores.length; i++) sum += Math.exp(scores[i]! - top);
  const shift = top + Math.log(sum);
  const logs = new Float32Array(scores.length);
  for (let i = 0; i < logs.length; i++) logs[i] = scores[i]! - shift;
  return logs;
}

function largest(scores: ArrayLike<number>): number {
  let top = -Infinity;
  for (let i = 0; i < scores.length; i++) top = Math.max(top, scores[i]!);
  return top;
}

function ban(scores: Float32Array, id: number): void {
  if (id < scores.length) scores[id] = -Infinity;
}
