import { hashText, mix } from '../text-hash.ts';

const ROWS = 4;
/** Counters a row: 64 MB in all. */
const WIDTH = 1 << 24;
/** The most that a counter counts to. */
const MOST = 255;

/**
 * Counts in how many documents a line occurs, in fixed memory: a count-min sketch with conservative update
 * (Cormode and Muthukrishnan 2005; Estan and Varghese 2002). A count is never too low, and too high only
 * where a line shares all its counters with others.
 */
export class LineCounter {
  private readonly counts = Array.from({ length: ROWS }, () => new Uint8Array(WIDTH));

  private readonly places = new Uint32Array(ROWS);

  /** Counts each line of a document once. */
  add(document: string): void {
    for (const line of linesOf(document)) {
      const count = this.find(line);
      if (count === MOST) continue;
      for (let row = 0; row < ROWS; row++) {
        const counts = this.counts[row]!;
        const place = this.places[row]!;
        if (counts[place] === count) counts[place] = count + 1;
      }
    }
  }

  /** Documents that have the line: at least as many as it says, up to 255. */
  count(line: string): number {
    return this.find(foldLine(line));
  }

  /** Sets the places of a line's counters; the least of them is its count. */
  private find(line: string): number {
    const hash = hashText(line);
    const step = mix(hash ^ line.length);
    let least = MOST;
    for (let row = 0; row < ROWS; row++) {
      const place = mix(hash + Math.imul(row, step)) % WIDTH;
      this.places[row] = place;
      least = Math.min(least, this.counts[row]![place]!);
    }
    return least;
  }
}

/** Lines that differ in case and numbers are one: page numbers and dates do not hide what is repeated. */
function foldLine(line: string): string {
  const folded = line.trim().toLowerCase();
  // Most lines have neither: a look is quicker than a replacement.
  const plain = /\d/.test(folded) ? folded.replace(/\d+/g, '0') : folded;
  return /[^\S ]|  /.test(plain) ? plain.replace(/\s+/g, ' ') : plain;
}

/** The distinct lines of a document of several lines; of one line none, since that is the document. */
function linesOf(document: string): Set<string> {
  const lines = new Set<string>();
  if (!/[\r\n]/.test(document.trim())) return lines;
  for (const line of document.split(/[\r\n]+/)) {
    const folded = foldLine(line);
    if (folded !== '') lines.add(folded);
  }
  return lines;
}
