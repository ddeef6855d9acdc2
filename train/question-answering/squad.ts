/** Percentages, 0 to 100. */
export interface SquadScore {
  readonly exactMatch: number;
  readonly f1: number;
}

/** Lower case, without ASCII punctuation, without a, an and the, one space between words. */
const wordsOf = (text: string): string[] =>
  text
    .toLowerCase()
    .replace(/[!-/:-@[-`{-~]/g, '')
    .replace(/(?<![\p{L}\p{N}_])(?:a|an|the)(?![\p{L}\p{N}_])/gu, ' ')
    .split(/\s+/)
    .filter((word) => word !== '');

/** Exact match and F1 of SQuAD 1.1 and, where `answers[i]` is an empty list, of SQuAD 2.0. */
export function squad(predictions: readonly string[], answers: readonly (readonly string[])[]): SquadScore {
  const scores = predictions.map((prediction, i) => {
    const own = wordsOf(prediction);
    const others = (answers[i]!.length > 0 ? answers[i]! : ['']).map(wordsOf);
    return {
      exactMatch: others.some((other) => other.join(' ') === own.join(' ')) ? 1 : 0,
      f1: Math.max(...others.map((other) => wordF1(own, other))),
    };
  });
  const mean = (name: keyof SquadScore): number =>
    (100 * scores.reduce((sum, score) => sum + score[name], 0)) / scores.length;
  return { exactMatch: mean('exactMatch'), f1: mean('f1') };
}

function wordF1(own: readonly string[], other: readonly string[]): number {
  if (own.length === 0 || other.length === 0) return own.length === other.length ? 1 : 0;
  const left = [...other];
  const common = own.filter((word) => {
    const at = left.indexOf(word);
    if (at >= 0) left.splice(at, 1);
    return at >= 0;
  }).length;
  return common === 0 ? 0 : (2 * common) / (own.length + other.length);
}
