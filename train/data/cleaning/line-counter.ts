import { hashText, mix } from '../text-hash.ts';

const ROWS = 4;
/** Counters a row: 64 MB in all. */
const WIDTH = 1 << 24;
/** What a counter ends at. */
const MOST = 255;

/**
 * Counts in how many documents a line occurs, in fixed memory: a count-min sketch with conservative update (Cormode and Muthukrishnan 2005; Estan and Varghese 2002). A count is never too low,
 * and too high only where a line shares all its counters with others.
 */
export class LineCounter {
  private readonly counts = Array.from({ length: ROWS }, () => new Uint8Array(WIDTH));

  /** Counts each line of a document once. */
  add(document: string): void {
    for (const line of linesOf(document)) {
      const places = this.placesOf(line);
      const count = this.smallest(places);
      if (count === MOST) continue;
      places.forEach((place, row) => {
        const counts = this.counts[row]!;
        if (counts[place] === count) counts[place] = count + 1;
      });
    }
  }

  /** Documents that have the line: at least as many as it says, up to 255. */
  count(line: string): number {
    return this.smallest(this.placesOf(foldLine(line)));
  }

  private placesOf(line: string): number[] {
    const hash = hashText(line);
    const step = mix(hash ^ line.length);
    return Array.from({ length: ROWS }, (_, row) => mix(hash + Math.imul(row, step)) % WIDTH);
  }

  private smallest(places: readonly number[]): number {
    return Math.min(...places.map((place, row) => this.counts[row]![place]!));
  }
}

/** Lines that differ in case and numbers are one: page numbers and dates do not hide what is repeated. */
function foldLine(line: string): string {
  return line.trim().toLowerCase().replace(/\d+/g, '0').replace(/\s+/g, ' ');
}

/** The distinct lines of a document of several lines; of one line none, since that is the document. */
function linesOf(document: string): Set<string> {
  const lines = document
    .split(/[\r\n]+/)
    .map(foldLine)
    .filter((line) => line !== '');
  return new Set(lines.length > 1 ? lines : []);
}
