/** How a reference becomes a hypothesis. hits + substitutions + deletions is the reference's length. */
export interface EditOperations {
  readonly hits: number;
  readonly substitutions: number;
  readonly deletions: number;
  readonly insertions: number;
}

/**
 * Above so many bytes of table, RapidFuzz halves the problem; of several best alignments it then has another.
 */
const mostTableBytes = 1 << 20;

/**
 * Counts the operations of the alignment of least edits that RapidFuzz (and so jiwer) finds. There are often
 * several of as few edits, with other numbers of hits: `a b` to `b c` has two substitutions, or a deletion, a
 * hit and an insertion. Time |reference| |hypothesis| / 32, memory at most a few MB and O of the longer.
 */
export function editOperations(reference: readonly string[], hypothesis: readonly string[]): EditOperations {
  const numbers = new Map<string, number>();
  const numberOf = (token: string): number => {
    const known = numbers.get(token);
    if (known !== undefined) return known;
    numbers.set(token, numbers.size);
    return numbers.size - 1;
  };
  const all = { hits: 0, substitutions: 0, deletions: 0, insertions: 0 };
  // A stack instead of recursion. `most`: a bound on the distance of the part, which RapidFuzz looks at.
  const parts: { a: Int32Array; b: Int32Array; most: number }[] = [
    { a: Int32Array.from(reference, numberOf), b: Int32Array.from(hypothesis, numberOf), most: Infinity },
  ];
  for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
    const { a, b, hits } = withoutAffixes(part.a, part.b);
    all.hits += hits;
    const most = Math.min(part.most, Math.max(a.length, b.length));
    const tableBytes = (2 * Math.min(a.length, 2 * most + 1) * b.length) / 8;
    if (tableBytes < mostTableBytes || a.length < 65 || b.length < 10) addAlignment(all, a, b);
    else {
      const { aMiddle, bMiddle, left, right } = split(a, b);
      parts.push({ a: a.subarray(0, aMiddle), b: b.subarray(0, bMiddle), most: left });
      parts.push({ a: a.subarray(aMiddle), b: b.subarray(bMiddle), most: right });
    }
  }
  return all;
}

/** What is left without the common beginning and end, and how long those are. */
function withoutAffixes(a: Int32Array, b: Int32Array): { a: Int32Array; b: Int32Array; hits: number } {
  const shorter = Math.min(a.length, b.length);
  let start = 0;
  while (start < shorter && a[start] === b[start]) start++;
  let end = 0;
  while (end < shorter - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  return { a: a.subarray(start, a.length - end), b: b.subarray(start, b.length - end), hits: start + end };
}

/**
 * Adds the operations of the path through Levenshtein's table that goes back from its end: by a deletion
 * where that is best, else by an insertion, else by a match or a substitution.
 */
function addAlignment(all: { -readonly [Name in keyof EditOperations]: number }, a: Int32Array, b: Int32Array): void {
  const steps: Steps[] = [];
  forEachRow(a, b, ({ up, down }) => steps.push({ up: up.slice(), down: down.slice() }));
  const isSet = (bits: Uint32Array, i: number): boolean => ((bits[i >>> 5]! >>> (i & 31)) & 1) === 1;
  let [i, j] = [a.length, b.length];
  while (i > 0 && j > 0) {
    if (isSet(steps[j - 1]!.up, i - 1)) {
      all.deletions++;
      i--;
      continue;
    }
    j--;
    if (j > 0 && isSet(steps[j - 1]!.down, i - 1)) {
      all.insertions++;
      continue;
    }
    i--;
    if (a[i] === b[j]) all.hits++;
    else all.substitutions++;
  }
  all.deletions += i;
  all.insertions += j;
}

/**
 * Where to cut both (Hirschberg 1975): b in the middle, a at the first place of least edits, which is not 0.
 */
function split(a: Int32Array, b: Int32Array) {
  const bMiddle = b.length >>> 1;
  const leftScores = distancesOf(a, b.subarray(0, bMiddle));
  const rightScores = distancesOf(a.slice().reverse(), b.slice(bMiddle).reverse());
  let aMiddle = 1;
  const scoreAt = (i: number): number => leftScores[i]! + rightScores[a.length - i]!;
  for (let i = 2; i <= a.length; i++) if (scoreAt(i) < scoreAt(aMiddle)) aMiddle = i;
  return { aMiddle, bMiddle, left: leftScores[aMiddle]!, right: rightScores[a.length - aMiddle]! };
}

/** Distances of b to the first 0, 1, ... |a| tokens of a. */
function distancesOf(a: Int32Array, b: Int32Array): Int32Array {
  const { up, down } = forEachRow(a, b);
  const distances = new Int32Array(a.length + 1);
  distances[0] = b.length;
  for (let i = 0; i < a.length; i++)
    distances[i + 1] = distances[i]! + ((up[i >>> 5]! >>> (i & 31)) & 1) - ((down[i >>> 5]! >>> (i & 31)) & 1);
  return distances;
}

/** A row of the table as bits: where it is one more (up) or one less (down) than at its left. */
interface Steps {
  readonly up: Uint32Array;
  readonly down: Uint32Array;
}

/**
 * Rows of Levenshtein's table, one for each token of b, 32 columns at a time (Hyyrö 2003, "A bit-vector
 * algorithm for computing Levenshtein and Damerau edit distances"). Returns the last one; `visit` may look at
 * each, which then changes.
 */
function forEachRow(a: Int32Array, b: Int32Array, visit?: (row: Steps) => void): Steps {
  const words = Math.ceil(a.length / 32);
  const places = new Map<number, number[]>();
  a.forEach((token, i) => {
    const known = places.get(token);
    if (known) known.push(i);
    else places.set(token, [i]);
  });
  const up = new Uint32Array(words).fill(0xffffffff);
  const down = new Uint32Array(words);
  const matches = new Uint32Array(words);
  for (const token of b) {
    const at = places.get(token) ?? [];
    for (const i of at) matches[i >>> 5]! |= 1 << (i & 31);
    let [carryUp, carryDown] = [1, 0]; // into the lowest bit: the row below is one more at column 0
    for (let w = 0; w < words; w++) {
      const [vp, vn] = [up[w]!, down[w]!];
      const x = matches[w]! | carryDown;
      const zero = ((((x & vp) >>> 0) + vp) ^ vp) | x | vn; // diagonal steps of 0
      let horizontalUp = vn | ~(zero | vp);
      let horizontalDown = zero & vp;
      const nextUp = horizontalUp >>> 31;
      const nextDown = horizontalDown >>> 31;
      horizontalUp = (horizontalUp << 1) | carryUp;
      horizontalDown = (horizontalDown << 1) | carryDown;
      up[w] = horizontalDown | ~(zero | horizontalUp);
      down[w] = horizontalUp & zero;
      [carryUp, carryDown] = [nextUp, nextDown];
    }
    for (const i of at) matches[i >>> 5] = 0;
    visit?.({ up, down });
  }
  return { up, down };
}
