/** The smallest change of words by which a classifier decides otherwise. */
import { escapeHtml } from '../../common/markup.ts';
import type { MaskedLanguageModel, SequenceClassificationModel, TextEncoder } from '../../models/index.ts';
import { fillMasks } from '../../models/pipelines/fill-mask.ts';
import { classifyTexts } from '../../models/pipelines/text-classification.ts';
import { pageHtml } from '../report/page.ts';
import { explain } from './explain.ts';

export interface CounterfactualOptions {
  /** Words that are tried in a place; default 30. */
  readonly proposals?: number;
  /** Places that are tried at a time, those that count most first; default 4. */
  readonly places?: number;
  /** The most words that are changed; default 6. */
  readonly changes?: number;
  /** Texts at once; default 16. */
  readonly batchSize?: number;
  readonly signal?: AbortSignal;
}

/** A word of a text and what stands in its place. */
export interface WordChange {
  readonly from: string;
  readonly to: string;
  /** Where the word begins in the text as it was, in UTF-16 units. */
  readonly start: number;
}

export interface Counterfactual {
  readonly text: string;
  /** What the classifier says of it, and how sure it is. */
  readonly label: string;
  readonly probability: number;
  /** The text as it was changed; where `flipped` is false the nearest that was found. */
  readonly changed: string;
  readonly changedLabel: string;
  /** Of the first label, after the change. */
  readonly changedProbability: number;
  readonly flipped: boolean;
  /** In the order of the text. */
  readonly changes: readonly WordChange[];
}

interface Word {
  readonly start: number;
  readonly end: number;
}

const wordsOf = (text: string): Word[] =>
  Array.from(text.matchAll(/[\p{L}\p{N}]+/gu), ({ 0: word, index }) => ({ start: index, end: index + word.length }));

/** A text with other words in some places. */
function withWords(text: string, words: readonly Word[], others: ReadonlyMap<number, string>): string {
  let [out, at] = ['', 0];
  for (const [i, { start, end }] of words.entries()) {
    out += text.slice(at, start) + (others.get(i) ?? text.slice(start, end));
    at = end;
  }
  return out + text.slice(at);
}

/**
 * The fewest words of a text, as far as a greedy search finds them, by whose change a classifier decides
 * otherwise. Places are tried in the order of gradient x input, as HotFlip tries them (Ebrahimi et al. 2018);
 * what is tried there are the words that a model of masked tokens holds most probable, so that the text stays
 * one that may be written (as in MiCE, Ross et al. 2021). Of all that is tried the change counts that lowers
 * the decision's probability most; at the end every change that is not needed is taken back.
 *
 * Errors, each one line: a classifier of several labels at once or of a score; a text without words; one that
 * is longer than either model reads.
 *
 * @example
 * const classifier = await pipeline('text-classification');
 * const filler = await loadTextEncoder('models/pretrained/bert-small', 'ForMaskedLM');
 * const { changes } = await counterfactual(classifier, filler, 'Win a prize now', { changes: 1 });
 */
export async function counterfactual(
  classifier: TextEncoder<SequenceClassificationModel>,
  filler: TextEncoder<MaskedLanguageModel>,
  text: string,
  { proposals = 30, places = 4, changes: most = 6, batchSize = 16, signal }: CounterfactualOptions = {},
): Promise<Counterfactual> {
  const { model, tokenizer } = classifier;
  if ((model.config.problemType ?? 'single_label_classification') !== 'single_label_classification')
    throw new Error(`counterfactual: a ${model.config.problemType} decides for no one class; give another classifier`);
  const words = wordsOf(text);
  if (words.length === 0) throw new Error('counterfactual: the text has no words; give one that has');
  const running = { batchSize, ...(signal ? { signal } : {}) };
  const probabilitiesOf = (texts: readonly string[]) => classifyTexts(classifier, texts, { ...running, topK: null });
  const [[first]] = (await probabilitiesOf([text])) as [[{ label: string; score: number }]];
  /** What becomes of the first label. */
  const judge = async (texts: readonly string[]) =>
    (await probabilitiesOf(texts)).map((all) => ({
      label: all[0]!.label,
      score: all.find(({ label }) => label === first.label)!.score,
    }));
  const explanation = await explain(model, tokenizer, text, {
    ...{ method: 'gradient-x-input', target: first.label, ...running },
  });
  const counts = words.map(({ start, end }) =>
    explanation.tokens.reduce((sum, t, i) => sum + (t.start < end && t.end > start ? explanation.scores[i]! : 0), 0),
  );
  const order = Array.from(words.keys()).sort((a, b) => counts[b]! - counts[a]!);
  const mask = filler.tokenizer.idToToken(filler.tokenizer.maskTokenId ?? -1) ?? '';

  const changed = new Map<number, string>();
  let now = { label: first.label, score: first.score };
  while (changed.size < Math.min(most, words.length) && now.label === first.label) {
    const left = order.filter((i) => !changed.has(i)).slice(0, places);
    const masked = left.map((i) => withWords(text, words, new Map([...changed, [i, mask]])));
    const filled = await fillMasks(filler, masked, { ...running, topK: proposals });
    const tried = left.flatMap((i, k) => {
      const old = text.slice(words[i]!.start, words[i]!.end).toLowerCase();
      return filled[k]![0]!.flatMap(({ token_str: piece }) => {
        const word = piece.trim();
        // Whole words only: the pieces of others begin with a sign that is none of a word.
        return /^[\p{L}\p{N}]+$/u.test(word) && word.toLowerCase() !== old ? [{ i, word }] : [];
      });
    });
    if (tried.length === 0) break;
    const judged = await judge(tried.map(({ i, word }) => withWords(text, words, new Map([...changed, [i, word]]))));
    const best = judged.reduce((least, { score }, k) => (score < judged[least]!.score ? k : least), 0);
    if (judged[best]!.score >= now.score) break; // nothing helps any more
    changed.set(tried[best]!.i, tried[best]!.word);
    now = judged[best]!;
  }
  if (now.label !== first.label)
    for (const i of [...changed.keys()]) {
      const fewer = new Map([...changed].filter(([other]) => other !== i));
      const [without] = await judge([withWords(text, words, fewer)]);
      if (without!.label === first.label) continue;
      changed.delete(i);
      now = without!;
    }
  const changes = [...changed].sort(([a], [b]) => a - b);
  return {
    text,
    label: first.label,
    probability: first.score,
    changed: withWords(text, words, changed),
    changedLabel: now.label,
    changedProbability: now.score,
    flipped: now.label !== first.label,
    changes: changes.map(([i, to]) => ({
      from: text.slice(words[i]!.start, words[i]!.end),
      to,
      start: words[i]!.start,
    })),
  };
}

const percent = (probability: number): string => `${(100 * probability).toFixed(1)}%`;

function verdictOf({ flipped, label, probability, changedLabel, changedProbability, changes }: Counterfactual): string {
  const before = `${label}, ${percent(probability)}`;
  const words = `${changes.length} word${changes.length === 1 ? '' : 's'}`;
  return flipped
    ? `${before}; by ${words} ${changedLabel}, ${label} has ${percent(changedProbability)}`
    : `${before}; not turned, by ${words} it has ${percent(changedProbability)}`;
}

/** The text with each changed word, as `mark` writes it; what stays goes through `plain`. */
function marked(
  { text, changes }: Counterfactual,
  mark: (change: WordChange) => string,
  plain: (text: string) => string = (piece) => piece,
): string {
  let [out, at] = ['', 0];
  for (const change of changes) {
    out += plain(text.slice(at, change.start)) + mark(change);
    at = change.start + change.from.length;
  }
  return out + plain(text.slice(at));
}

/** A counterfactual as two lines for a terminal. */
export const counterfactualLines = (found: Counterfactual): string =>
  `${verdictOf(found)}\n  ${marked(found, ({ from, to }) => `[${from} -> ${to}]`)}`;

/**
 * Counterfactuals as one HTML file that needs no other.
 *
 * @example
 * const classifier = await pipeline('text-classification');
 * const filler = await loadTextEncoder('models/pretrained/bert-small', 'ForMaskedLM');
 * const found = await counterfactual(classifier, filler, 'Win a prize now', { changes: 1 });
 * await saveFiles([{ path: 'found.html', data: counterfactualPage([found], 'What would change it') }]);
 */
export function counterfactualPage(found: readonly Counterfactual[], title: string): string {
  const sections = found.map((each) => {
    const mark = ({ from, to }: WordChange): string => `<del>${escapeHtml(from)}</del> <ins>${escapeHtml(to)}</ins>`;
    return `<section><h2>${escapeHtml(each.label)}${each.flipped ? ` → ${escapeHtml(each.changedLabel)}` : ''}</h2>
<p>${marked(each, mark, escapeHtml)}</p>
<p class="hint">${escapeHtml(verdictOf(each))}</p></section>`;
  });
  const about =
    'The fewest words, as far as a greedy search finds them, by whose change the classifier decides otherwise.';
  return pageHtml(title, `<h1>${escapeHtml(title)}</h1>\n<p class="about">${about}</p>\n${sections.join('\n')}`);
}
