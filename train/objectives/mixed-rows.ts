import { Random } from '../../common/random.ts';
import type { Rows } from './rows.ts';
import { purposeSeed } from './random-order.ts';

/** Rows after which every source has had its share to the row. */
const CYCLE = 1000;

export interface Source {
  readonly rows: Rows;
  /** Its share of the rows is weight over the sum of the weights. */
  readonly weight: number;
}

/**
 * Rows of several corpora in given shares, as in domain adaptation, where old data among the new keeps a
 * model from forgetting ("experience replay"). Of every 1000 rows each source gives its share exactly, at
 * random places among them, and each source's own rows come in their order: a pass over the mix is one over
 * the first source. Errors: rows of unequal length or vocabulary; ordered rows; weights that are not
 * positive; a share that rounds to no row.
 *
 * @example
 * const [news, old] = [corpusOf([[1, 2, 3, 4]], 10), corpusOf([[5, 6, 7, 8]], 10)];
 * const [a, b] = [news, old].map((corpus) => randomWindows(corpus, { length: 2, seed: 0 }));
 * mixedRows([{ rows: a, weight: 0.9 }, { rows: b, weight: 0.1 }], { seed: 0 }).length; // 2
 */
export function mixedRows(sources: readonly Source[], { seed }: { readonly seed: number }): Rows {
  const first = sources[0]?.rows;
  if (!first) throw new Error('mixedRows: there are no sources; give at least one');
  for (const { rows, weight } of sources) {
    if (!(weight > 0 && Number.isFinite(weight)))
      throw new Error(`mixedRows: weights must be positive numbers, got ${weight}; leave out what is not wanted`);
    if (rows.length !== first.length || rows.vocabSize !== first.vocabSize)
      throw new Error(
        `mixedRows: rows of ${rows.length} tokens of ${rows.vocabSize} do not go with ${first.length} of ` +
          `${first.vocabSize}; cut all alike, with one tokenizer`,
      );
    if (rows.ordered) throw new Error('mixedRows: rows in order end after one pass; give the windows a seed');
  }
  const quotas = quotasOf(sources.map(({ weight }) => weight));
  const slots = Uint16Array.from(quotas.flatMap((quota, source) => Array<number>(quota).fill(source)));
  const ranks = new Uint16Array(CYCLE);
  const mixSeed = purposeSeed(seed, 'mix');
  let cycle = -1; // the one that slots and ranks are of
  const arrange = (asked: number): void => {
    if (asked === cycle) return;
    slots.sort();
    new Random(mixSeed, asked).shuffle(slots);
    const seen = quotas.map(() => 0);
    slots.forEach((source, place) => (ranks[place] = seen[source]!++));
    cycle = asked;
  };
  return {
    ...first,
    count: Math.ceil((first.count * CYCLE) / quotas[0]!),
    full: sources.every(({ rows }) => rows.full),
    row(index) {
      arrange(Math.floor(index / CYCLE));
      const place = index % CYCLE;
      const source = slots[place]!;
      return sources[source]!.rows.row(cycle * quotas[source]! + ranks[place]!);
    },
  };
}

/** Rows of each source in a cycle: rounded down, and those that are left to the largest remainders. */
function quotasOf(weights: readonly number[]): number[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const exact = weights.map((weight) => (weight / total) * CYCLE);
  const quotas = exact.map(Math.floor);
  const byRemainder = exact.map((_, i) => i).sort((a, b) => exact[b]! - quotas[b]! - (exact[a]! - quotas[a]!));
  for (let left = CYCLE - quotas.reduce((sum, quota) => sum + quota, 0), i = 0; left > 0; left--, i++)
    quotas[byRemainder[i]!]!++;
  const none = quotas.indexOf(0);
  if (none >= 0)
    throw new Error(
      `mixedRows: weight ${weights[none]} of ${total} is less than one row in ${CYCLE}; ` +
        'raise it, or leave the source out',
    );
  return quotas;
}
