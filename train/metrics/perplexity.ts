/**
 * exp(sum of negative log-likelihoods / sum of tokens). Both lists: one number a text (or a batch, or a
 * token); likelihoods in nats. Texts weigh by their tokens: it is not the mean of their perplexities.
 *
 * @example
 * perplexity([Math.log(8), Math.log(2)], [1, 1]); // 4
 */
export function perplexity(negativeLogLikelihoods: ArrayLike<number>, tokenCounts: ArrayLike<number>): number {
  return Math.exp(ratio('perplexity', negativeLogLikelihoods, tokenCounts, 'tokenCounts'));
}

/**
 * Bits that a model needs for a byte of UTF-8: sum of negative log-likelihoods (nats) / (ln 2 x sum of
 * bytes). Models of different tokenizers can be compared by it. Bytes of a text: `Buffer.byteLength(text)`.
 *
 * @example
 * bitsPerByte([Math.LN2 * 8], [4]); // 2
 */
export function bitsPerByte(negativeLogLikelihoods: ArrayLike<number>, byteCounts: ArrayLike<number>): number {
  return ratio('bitsPerByte', negativeLogLikelihoods, byteCounts, 'byteCounts') / Math.LN2;
}

function ratio(op: string, nats: ArrayLike<number>, counts: ArrayLike<number>, name: string): number {
  if (nats.length !== counts.length)
    throw new Error(
      `${op}: ${nats.length} negativeLogLikelihoods but ${counts.length} ${name}; give one for each text`,
    );
  if (nats.length === 0) throw new Error(`${op}: negativeLogLikelihoods is empty; give at least one`);
  let [sum, count] = [0, 0];
  for (let i = 0; i < nats.length; i++) {
    if (Number.isNaN(nats[i]!) || typeof nats[i] !== 'number')
      throw new Error(`${op}: negativeLogLikelihoods[${i}] is ${String(nats[i])}; give a number of nats`);
    if (!Number.isInteger(counts[i]!) || counts[i]! < 0)
      throw new Error(`${op}: ${name}[${i}] is ${String(counts[i])}; give a whole number from 0`);
    sum += nats[i]!;
    count += counts[i]!;
  }
  if (count === 0) throw new Error(`${op}: all ${name} are 0; give texts that are not empty`);
  return sum / count;
}
