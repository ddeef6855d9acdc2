/** sacrebleu's limits, most of them Tercom's. */
const limits = { shiftSize: 10, shiftDistance: 50, beamWidth: 25, shiftCandidates: 1000 };

/** In the order in which the first of equal cost is taken. */
const [match, substitute, remove, insert] = [1, 2, 3, 4] as const;
const infinite = 1 << 30;

/**
 * How many edits make the hypothesis the reference (Snover et al. 2006): shifts of phrases, each the one that
 * saves most, as long as one saves anything, then words inserted, removed and substituted.
 */
export function translationEdits(hypothesis: readonly string[], reference: readonly string[]): number {
  if (reference.length === 0) return hypothesis.length;
  const numbers = new Map<string, number>();
  const numberOf = (word: string): number => {
    const known = numbers.get(word);
    if (known !== undefined) return known;
    numbers.set(word, numbers.size);
    return numbers.size - 1;
  };
  const target = Int32Array.from(reference, numberOf);
  let words: Int32Array = Int32Array.from(hypothesis, numberOf);
  let shifts = 0;
  let candidates = 0;
  for (;;) {
    const table = editTable(words, target);
    const best = bestShift(words, target, table, candidates);
    candidates = best.candidates;
    // As in sacrebleu, the shift that was best when the limit was reached is not made.
    if (candidates >= limits.shiftCandidates || best.saving <= 0) return shifts + table.distance;
    words = best.words;
    shifts++;
  }
}

interface EditTable {
  readonly distance: number;
  /** The distance of another order of the words, which differs at `from` <= i < `to` only. */
  distanceOf(shifted: Int32Array, from: number, to: number): number;
  /** Which edit led to (i words of the hypothesis, j words of the reference). */
  editAt(i: number, j: number): number;
}

/**
 * Levenshtein's table, of each row a band around the diagonal: rows are words of the hypothesis, columns of
 * the reference.
 */
function editTable(words: Int32Array, target: Int32Array): EditTable {
  const ratio = words.length > 0 ? target.length / words.length : 1;
  const beam = limits.beamWidth < ratio / 2 ? Math.ceil(ratio / 2 + limits.beamWidth) : limits.beamWidth;
  const width = 2 * beam + 2;
  /** The columns of row i: from the first to before the end. */
  const firstOf = (i: number): number => (i === 0 ? 0 : Math.max(0, Math.floor(i * ratio) - beam));
  const endOf = (i: number): number =>
    i === 0 || i === words.length ? target.length + 1 : Math.min(target.length + 1, Math.floor(i * ratio) + beam);
  const newCells = (): Int32Array => new Int32Array((words.length + 1) * width);

  /** Fills row i of `out` from the row before in `before`; row 0 is 0, 1, 2, ... and is not stored. */
  const fillRow = (i: number, word: number, before: Int32Array, out: Int32Array, edits?: Uint8Array): void => {
    const [first, end] = [firstOf(i), endOf(i)];
    const [firstBefore, endBefore] = [firstOf(i - 1), endOf(i - 1)];
    const rowBefore = (i - 1) * width - firstBefore;
    const row = i * width - first;
    let left: number = infinite;
    let diagonal = infinite; // (i - 1, j - 1)
    if (first > firstBefore && first - 1 < endBefore) diagonal = i === 1 ? first - 1 : before[rowBefore + first - 1]!;
    for (let j = first; j < end; j++) {
      const above = j >= endBefore ? infinite : i === 1 ? j : before[rowBefore + j]!;
      let edit: number = remove;
      let cost = above + 1;
      if (j > 0) {
        const same = word === target[j - 1];
        const kept = diagonal + (same ? 0 : 1);
        if (kept <= cost) {
          cost = kept;
          edit = same ? match : substitute;
        }
        if (left + 1 < cost) {
          cost = left + 1;
          edit = insert;
        }
      }
      out[row + j] = cost;
      if (edits) edits[row + j] = edit;
      left = cost;
      diagonal = above;
    }
  };

  const cells = newCells();
  const edits = new Uint8Array(cells.length);
  for (let i = 1; i <= words.length; i++) fillRow(i, words[i - 1]!, cells, cells, edits);
  const last = words.length * width - firstOf(words.length) + target.length;
  const distance = words.length === 0 ? target.length : cells[last]!;
  let trial: Int32Array | undefined;

  return {
    distance,
    distanceOf: (shifted, from, to) => {
      trial ??= newCells();
      for (let i = from + 1; i <= words.length; i++) {
        fillRow(i, shifted[i - 1]!, i === from + 1 ? cells : trial, trial);
        if (i < to) continue;
        // Below, the words are the same: where the whole row differs by one number, so does the distance.
        const row = i * width;
        const difference = trial[row]! - cells[row]!;
        const length = endOf(i) - firstOf(i);
        let j = 1;
        while (j < length && trial[row + j]! - cells[row + j]! === difference) j++;
        if (j >= length) return distance + difference;
      }
      return trial[last]!;
    },
    editAt: (i, j) => (i === 0 ? insert : edits[i * width + j - firstOf(i)]!),
  };
}

/** Which words are in error, and where each word of the reference lies in the hypothesis. */
function align(rows: number, columns: number, { editAt }: EditTable) {
  const places = new Int32Array(columns); // the word of the hypothesis at or before which it lies; -1: before all
  // Errors before each position, so that a range's errors are a difference.
  const wrong = { hypothesis: new Int32Array(rows + 1), reference: new Int32Array(columns + 1) };
  let [i, j] = [rows, columns];
  while (i > 0 || j > 0) {
    const edit = editAt(i, j);
    const isWrong = edit === match ? 0 : 1;
    if (edit !== remove) {
      wrong.reference[j] = isWrong;
      places[--j] = i - 1;
    }
    if (edit !== insert) wrong.hypothesis[i--] = isWrong;
  }
  for (const sums of [wrong.hypothesis, wrong.reference])
    for (let at = 1; at < sums.length; at++) sums[at]! += sums[at - 1]!;
  return { places, wrong };
}

interface Shift {
  readonly saving: number;
  readonly words: Int32Array;
  /** How many shifts were tried so far. */
  readonly candidates: number;
}

/**
 * The shift of a phrase to where the reference has it that saves most; of several the longest phrase, then
 * the earliest, then the earliest target. Phrases without errors, and places without errors, are left alone.
 */
function bestShift(words: Int32Array, target: Int32Array, table: EditTable, candidatesBefore: number): Shift {
  const { places, wrong } = align(words.length, target.length, table);
  let candidates = candidatesBefore;
  let best: { rank: readonly number[]; words: Int32Array } | undefined;

  /** Tries the places of one phrase. */
  const tryPhrase = (start: number, at: number, length: number): void => {
    let previous = -1;
    for (let offset = -1; offset < length; offset++) {
      const to = at + offset === -1 ? 0 : places[at + offset]! + 1;
      if (to === previous) continue;
      previous = to;
      const shifted = shift(words, start, length, to);
      const end = Math.min(Math.max(start, to) + length, words.length);
      const saving = table.distance - table.distanceOf(shifted, Math.min(start, to), end);
      const rank = [saving, length, -start, -to];
      candidates++;
      if (best === undefined || comesBefore(rank, best.rank)) best = { rank, words: shifted };
    }
  };

  search: for (let start = 0; start < words.length; start++) {
    const firstAt = Math.max(0, start - limits.shiftDistance);
    const lastAt = Math.min(target.length - 1, start + limits.shiftDistance);
    for (let at = firstAt; at <= lastAt; at++) {
      const longest = Math.min(limits.shiftSize, words.length - start, target.length - at);
      for (let length = 1; length <= longest && words[start + length - 1] === target[at + length - 1]; length++) {
        if (wrong.hypothesis[start + length] === wrong.hypothesis[start]) continue;
        if (wrong.reference[at + length] === wrong.reference[at]) continue;
        if (start <= places[at]! && places[at]! < start + length) continue;
        tryPhrase(start, at, length);
        if (candidates >= limits.shiftCandidates) break search;
      }
    }
  }
  if (best === undefined) return { saving: 0, words, candidates };
  return { saving: best.rank[0]!, words: best.words, candidates };
}

function comesBefore(a: readonly number[], b: readonly number[]): boolean {
  const at = a.findIndex((value, i) => value !== b[i]);
  return at !== -1 && a[at]! > b[at]!;
}

/** The words with the phrase of that length moved before `to`; a target within the phrase moves it right. */
function shift(words: Int32Array, start: number, length: number, to: number): Int32Array {
  const shifted = words.slice();
  const phrase = words.subarray(start, start + length);
  if (to < start) {
    shifted.set(words.subarray(to, start), to + length);
    shifted.set(phrase, to);
    return shifted;
  }
  const end = to > start + length ? to : Math.min(length + to, words.length);
  shifted.set(words.subarray(start + length, end), start);
  shifted.set(phrase, end - length);
  return shifted;
}
