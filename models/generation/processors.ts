/**
 * Changes the scores (logits, or log-probabilities in a beam search) of the next token of one row in place,
 * given the tokens before it. Semantics are those of the class of the same name in Transformers'
 * generation/logits_process.py, rounding to f32 included.
 */
export type LogitsProcessor = (tokens: readonly number[], scores: Float32Array) => void;

/**
 * Classifier-free guidance (Sanchez et al. 2023): log-probabilities move away from those without the prompt,
 * `without + scale * (with - without)`. `without` gives the logits of the same text without its prompt.
 */
export function guidance(scale: number, without: () => ArrayLike<number>): LogitsProcessor {
  const factor = Math.fround(scale);
  return (_, scores) => {
    const [conditional, free] = [logSoftmax(scores), logSoftmax(without())];
    for (let id = 0; id < scores.length; id++)
      scores[id] = Math.fround(factor * Math.fround(conditional[id]! - free[id]!)) + free[id]!;
  };
}

/** A bias for each run of tokens, added to the score of its last token where the others came before. */
export type SequenceBias = readonly (readonly [run: readonly number[], bias: number])[];

/** Adds the biases of runs. Of equal runs the last counts. */
export function sequenceBias(biases: SequenceBias): LogitsProcessor {
  const list = [...new Map(biases.map(([run, bias]) => [run.join(), { run, bias }])).values()];
  // Transformers adds single tokens first, then the runs of one length after those of another.
  const lengths = [...new Set([1, ...list.map(({ run }) => run.length)])];
  list.sort((a, b) => lengths.indexOf(a.run.length) - lengths.indexOf(b.run.length));
  return (tokens, scores) => {
    const sums = new Map<number, number>();
    for (const { run, bias } of list) {
      if (!endsWith(tokens, run.slice(0, -1))) continue;
      const id = run.at(-1)!;
      sums.set(id, Math.fround((sums.get(id) ?? 0) + Math.fround(bias)));
    }
    for (const [id, sum] of sums) if (id < scores.length) scores[id]! += sum;
  };
}

/**
 * Scores of tokens that came before are divided by the penalty where positive, multiplied where negative
 * (Keskar et al. 2019, CTRL, section 4.1).
 */
export function repetitionPenalty(penalty: number): LogitsProcessor {
  return (tokens, scores) => penalise(tokens, scores, penalty);
}

/** Scores of tokens of the source, or of a decoder's prompt, are multiplied by the penalty where positive. */
export function encoderRepetitionPenalty(penalty: number, source: readonly number[]): LogitsProcessor {
  return (_, scores) => penalise(source, scores, 1 / penalty);
}

/**
 * OpenAI's penalties of repetition: logit -= count * frequency + (count > 0) * presence, where a token came
 * `count` times after the first `begin` tokens.
 */
export function occurrencePenalties(frequency: number, presence: number, begin: number): LogitsProcessor {
  return (tokens, scores) => {
    const counts = new Map<number, number>();
    for (const id of tokens.slice(begin)) counts.set(id, (counts.get(id) ?? 0) + 1);
    for (const [id, count] of counts) if (id < scores.length) scores[id]! -= count * frequency + presence;
  };
}

function penalise(tokens: readonly number[], scores: Float32Array, penalty: number): void {
  const factor = Math.fround(penalty);
  for (const id of new Set(tokens)) {
    const score = scores[id];
    if (score !== undefined) scores[id] = score < 0 ? score * factor : score / factor;
  }
}

/** No run of `size` tokens comes twice. */
export function noRepeatNgram(size: number): LogitsProcessor {
  return (tokens, scores) => banFollowers(tokens, scores, size, tokens);
}

/** No run of `size` tokens of the source, or of a decoder's prompt, comes again. */
export function encoderNoRepeatNgram(size: number, source: readonly number[]): LogitsProcessor {
  return (tokens, scores) => banFollowers(tokens, scores, size, source);
}

/** Rules out what would make the last `size` tokens a run of `source`. */
function banFollowers(tokens: readonly number[], scores: Float32Array, size: number, source: readonly number[]): void {
  const prefix = tokens.length - (size - 1);
  if (prefix < 0) return;
  for (let start = 0; start + size <= source.length; start++) {
    let at = 0;
    while (at < size - 1 && source[start + at] === tokens[prefix + at]) at++;
    if (at === size - 1) ban(scores, source[start + at]!);
  }
}

/** None of these runs of tokens is completed. */
export function badWords(runs: readonly (readonly number[])[]): LogitsProcessor {
  return (tokens, scores) => {
    for (const run of runs) if (endsWith(tokens, run.slice(0, -1))) ban(scores, run.at(-1)!);
  };
}

/** No end of the text before it has `length` tokens, prompt included. */
export function minLength(length: number, ends: Iterable<number>): LogitsProcessor {
  const ids = [...ends];
  return (tokens, scores) => {
    if (tokens.length < length) for (const id of ids) ban(scores, id);
  };
}

/** The token after the first, of a text that began with one, is `id`. */
export function forcedBos(id: number): LogitsProcessor {
  return (tokens, scores) => {
    if (tokens.length !== 1) return;
    scores.fill(-Infinity);
    scores[id] = 0;
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

/** NaN becomes 0, infinities the largest numbers. */
export function removeInvalidValues(): LogitsProcessor {
  const most = 2 ** 128 - 2 ** 104;
  return (_, scores) => {
    for (let id = 0; id < scores.length; id++)
      scores[id] = Number.isNaN(scores[id]) ? 0 : Math.max(-most, Math.min(most, scores[id]!));
  };
}

/**
 * The scores of tokens that end the text grow by their size times `factor ** n - 1`, n tokens behind the
 * first `start`, prompt included.
 */
export function exponentialDecay(start: number, factor: number, ends: Iterable<number>): LogitsProcessor {
  const ids = [...ends];
  return (tokens, scores) => {
    const count = tokens.length - start;
    if (count <= 0) return;
    const growth = Math.fround(factor ** count - 1);
    for (const id of ids) if (Number.isFinite(scores[id])) scores[id]! += Math.fround(Math.abs(scores[id]!) * growth);
  };
}

/** These tokens never come. */
export function suppress(ids: readonly number[]): LogitsProcessor {
  return (_, scores) => {
    for (const id of ids) ban(scores, id);
  };
}

/** These tokens do not come after the first `length` tokens, prompt included. */
export function suppressAtBegin(ids: readonly number[], length: number): LogitsProcessor {
  return (tokens, scores) => {
    if (tokens.length === length) for (const id of ids) ban(scores, id);
  };
}

export function temperature(value: number): LogitsProcessor {
  const divisor = Math.fround(value);
  return (_, scores) => {
    for (let i = 0; i < scores.length; i++) scores[i]! /= divisor;
  };
}

/**
 * Keeps the most probable tokens as long as their entropy together is at most `share` of that of the 100 most
 * probable (Potraghloo et al. 2025).
 */
export function topH(share: number): LogitsProcessor {
  return (_, scores) => {
    const order = Array.from(scores.keys()).sort((a, b) => scores[b]! - scores[a]!);
    const best = order.slice(0, 100);
    const terms = Array.from(softmax(best.map((id) => scores[id]!)), (chance) => -chance * Math.log(chance));
    const most = share * terms.reduce((sum, term) => sum + (term || 0), 0);
    let [kept, sum] = [0, 0];
    while (kept < best.length && ((sum += terms[kept]!) <= most || kept === 0)) kept++;
    for (const id of order.slice(kept)) scores[id] = -Infinity;
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

/**
 * Keeps the tokens whose surprise is nearest to what is expected, the entropy, until they have the
 * probability `mass` together (Meister et al. 2022, locally typical sampling).
 */
export function typicalP(mass: number): LogitsProcessor {
  return (_, scores) => {
    const chances = softmax(scores);
    const expected = entropy(chances);
    const distance = Array.from(chances, (chance) => Math.abs(-Math.log(chance) - expected));
    const order = Array.from(scores.keys()).sort((a, b) => distance[a]! - distance[b]!);
    let [last, sum] = [0, 0];
    while (last < order.length - 1 && (sum += chances[order[last]!]!) < mass) last++;
    const most = distance[order[last]!]!;
    for (let id = 0; id < scores.length; id++) if (distance[id]! > most) scores[id] = -Infinity;
  };
}

/** Keeps the tokens with a probability of at least `least`, or the most probable (Hewitt et al. 2022). */
export function epsilonCutoff(least: number): LogitsProcessor {
  return (_, scores) => keepProbable(scores, softmax(scores), least);
}

/** As `epsilonCutoff`, with less asked for where the entropy is high (Hewitt et al. 2022, eta sampling). */
export function etaCutoff(epsilon: number): LogitsProcessor {
  return (_, scores) => {
    const chances = softmax(scores);
    keepProbable(scores, chances, Math.min(epsilon, Math.sqrt(epsilon) * Math.exp(-entropy(chances))));
  };
}

function keepProbable(scores: Float32Array, chances: Float64Array, least: number): void {
  const top = largest(scores);
  for (let id = 0; id < scores.length; id++) if (chances[id]! < least && scores[id]! < top) scores[id] = -Infinity;
}

/** Scores become log-probabilities. */
export function renormalize(): LogitsProcessor {
  return (_, scores) => scores.set(logSoftmax(scores));
}

const entropy = (chances: Float64Array): number =>
  chances.reduce((sum, chance) => (chance > 0 ? sum - chance * Math.log(chance) : sum), 0);

const endsWith = (tokens: readonly number[], run: readonly number[]): boolean =>
  tokens.length >= run.length && run.every((id, i) => tokens[tokens.length - run.length + i] === id);

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
