/**
 * The longest common subsequence of two sequences, in bits (Hyyrö 2004, "Bit-parallel LCS-length computation
 * revisited"): with t[i][j] the length for the first i tokens of `a` and the first j of `b`, row i is kept as
 * bits, 0 where t[i][j] = t[i][j - 1] + 1. A row follows from the one before at the words of bits in which a
 * token of `b` matches, or into which a carry runs.
 */
export interface Subsequences {
  /** The length of the longest common subsequence of `a` and `b`. */
  length(a: readonly string[]): number;
  /** The places in `a` of a longest common subsequence of `a` and `b`: the one that rouge-score finds. */
  places(a: readonly string[]): number[];
}

/**
 * How many words of bits are kept at once; sequences whose table needs more are computed in blocks of rows.
 */
const mostWords = 1 << 21;

/** Prepares `b`, which many `a` may be compared with. Lengths take O(|b|) bits, places O(sqrt(|a|) |b|). */
export function subsequencesOf(b: readonly string[]): Subsequences {
  const places = new Map<string, number[]>();
  b.forEach((token, j) => {
    const known = places.get(token);
    if (known) known.push(j);
    else places.set(token, [j]);
  });
  const words = Math.ceil(b.length / 32);

  /** Makes `row`, of the tokens before, that of the tokens up to `token`. */
  const advance = (row: Uint32Array, token: string): void => {
    const matches = places.get(token);
    if (matches === undefined) return;
    let [at, word, carry] = [0, matches[0]! >>> 5, 0];
    while (word < words) {
      let mask = 0;
      for (; at < matches.length && matches[at]! >>> 5 === word; at++) mask |= 1 << (matches[at]! & 31);
      const bits = row[word]!;
      const sum = bits + ((bits & mask) >>> 0) + carry;
      row[word] = sum | (bits & ~mask);
      carry = sum > 0xffffffff ? 1 : 0;
      if (carry === 1) word++;
      else if (at < matches.length) word = matches[at]! >>> 5;
      else break;
    }
  };
  const firstRow = (): Uint32Array => new Uint32Array(words).fill(0xffffffff);

  return {
    length: (a) => {
      const row = firstRow();
      for (const token of a) advance(row, token);
      return countZeros(row, b.length);
    },
    places: (a) => {
      if (!a.some((token) => places.has(token))) return [];
      const blockRows = a.length * words <= mostWords ? a.length : Math.ceil(Math.sqrt(a.length));
      const starts: Uint32Array[] = []; // the row before each block
      const row = firstRow();
      a.forEach((token, i) => {
        if (i % blockRows === 0) starts.push(row.slice());
        advance(row, token);
      });
      const found: number[] = [];
      let j = b.length;
      for (let block = starts.length - 1; block >= 0 && j > 0; block--) {
        const begin = block * blockRows;
        const rows = [starts[block]!];
        for (const token of a.slice(begin, begin + blockRows)) {
          const next = rows.at(-1)!.slice();
          advance(next, token);
          rows.push(next);
        }
        for (let i = rows.length - 1; i > 0 && j > 0; i--) j = stepUp(rows[i - 1]!, rows[i]!, i - 1 + begin, j);
      }
      return found.reverse();

      /** Walks row i to the left until the path goes up; returns the column where it does. */
      function stepUp(above: Uint32Array, here: Uint32Array, i: number, from: number): number {
        // t[i][j] - t[i - 1][j] at the path; it is 0 or 1, as is each step along a row.
        let rise = countZeros(here, from) - countZeros(above, from);
        for (let column = from; column > 0; column--) {
          if (a[i] === b[column - 1]) {
            found.push(i);
            return column - 1;
          }
          const stepHere = isZero(here, column - 1);
          if (stepHere === 1 || rise === 0) return column;
          rise += isZero(above, column - 1) - stepHere;
        }
        return 0;
      }
    },
  };
}

const isZero = (row: Uint32Array, bit: number): number => ((row[bit >>> 5]! >>> (bit & 31)) & 1) ^ 1;

/** How many of the first `length` bits are 0. */
function countZeros(row: Uint32Array, length: number): number {
  const whole = length >>> 5;
  let ones = 0;
  for (let word = 0; word < whole; word++) ones += countOnes(row[word]!);
  if (length & 31) ones += countOnes(row[whole]! & ((1 << (length & 31)) - 1));
  return length - ones;
}

function countOnes(bits: number): number {
  let x = bits - ((bits >>> 1) & 0x55555555);
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  return Math.imul((x + (x >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
