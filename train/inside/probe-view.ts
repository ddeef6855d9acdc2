// How well labels of tokens can be read off each layer: a table, a plot of bars and a page of curves.
import { extname } from 'node:path';
import { escapeHtml } from '../../common/markup.ts';
import { Random } from '../../common/random.ts';
import { alignTable } from '../../common/text-table.ts';
import { ignoredLabel } from '../../models/nn/token-loss.ts';
import { embeddedCorpus } from '../classifier/data.ts';
import { UsageError } from '../cli/cli.ts';
import { tableRows } from '../data/table-rows.ts';
import { limitsOf } from '../explain/read-text.ts';
import { chartsHtml, pageHtml, tableHtml } from '../report/page.ts';
import { loadTokenData } from '../token-labels/data.ts';
import { labelledRows as taggedRows } from '../token-labels/rows.ts';
import { shownRows } from './activations.ts';
import type { LanguageModel } from './lens.ts';
import { linearProbes } from './probes.ts';
import type { LabelledRow } from './probes.ts';
import { labelledTexts } from './view.ts';
import type { Look } from './view.ts';

export interface ProbeViewOptions {
  readonly data: string | undefined;
  readonly rows: number | undefined;
  readonly seed: number;
}

/** Rows to train on, then those to test on. */
interface ProbeData {
  readonly rows: readonly LabelledRow[];
  readonly testShare: number;
  /** What is read off, for people. */
  readonly about: string;
}

/** Tokens of a text that count, where each has the text's label. */
const perText = 12;

/** Whether rows are texts with one label each, and not words with tags. */
async function hasTextLabels(data: string): Promise<boolean> {
  if (data === embeddedCorpus) return true;
  const ending = extname(data).toLowerCase();
  if (!['.jsonl', '.ndjson'].includes(ending)) return ['.csv', '.tsv'].includes(ending);
  for await (const { cells } of tableRows(data, { format: 'jsonl' })) return 'label' in cells;
  return false;
}

async function probeData({ model, tokenizer, options }: Look<ProbeViewOptions>, data: string): Promise<ProbeData> {
  const { rows: most = 300, seed } = options;
  if (await hasTextLabels(data)) {
    const { texts, labels, names } = await labelledTexts(data, most, seed);
    const random = new Random(seed, 1);
    const rows = shownRows(model, tokenizer, texts).map(({ inputIds, tokens }, i): LabelledRow => {
      const counted = tokens.flatMap(({ side }, t) => (side < 0 ? [] : [t]));
      const own = new Int32Array(inputIds.length).fill(ignoredLabel);
      for (const t of random.shuffle(counted).slice(0, perText)) own[t] = labels[i]!;
      return { inputIds, labels: own };
    });
    return { rows, testShare: 0.25, about: `the label of its text, ${names.join(' or ')}, off single tokens` };
  }
  const { train, test, labels } = await loadTokenData(tokenizer, { data, keepTags: false, seed });
  const maxLength = Math.min(limitsOf(model).positions, tokenizer.modelMaxLength, 512);
  const rowsOf = (texts: typeof train, count: number): LabelledRow[] => {
    const all = taggedRows(tokenizer, texts, labels, { maxLength, stride: 0 }).rows;
    return new Random(seed).shuffle([...all]).slice(0, count);
  };
  const tested = rowsOf(test, Math.ceil(most / 4));
  const trained = rowsOf(train, most - tested.length);
  const tags = labels.length > 8 ? `${labels.length} tags` : labels.join(', ');
  return {
    rows: [...trained, ...tested],
    testShare: tested.length / (trained.length + tested.length),
    about: `the tag of a word, ${tags}, off its first token`,
  };
}

export async function probeView(look: Look<ProbeViewOptions>): Promise<string> {
  const { model, name, options } = look;
  if (options.data === undefined)
    throw new UsageError(
      `inspect: probes needs --data, words with tags as finetune-tokens reads them, or texts with labels as ` +
        `finetune-classifier does, such as ${embeddedCorpus}`,
    );
  const { rows, testShare, about } = await probeData(look, options.data);
  const { layers, majority } = await linearProbes(model as LanguageModel, rows, { testShare, seed: options.seed });
  const bar = (share: number): string => '#'.repeat(Math.round(20 * Math.max(0, share)));
  const cells = layers.map(({ name: layer, accuracy, control, selectivity }) => [
    ...[layer, accuracy.toFixed(3), control.toFixed(3), selectivity.toFixed(3)],
  ]);
  const head = ['layer', 'accuracy', 'control', 'selectivity'];
  console.log(`linear probes read ${about}; always the most frequent one: ${majority.toFixed(3)}`);
  const drawn = cells.map((row, i) => [...row, bar(layers[i]!.accuracy)]);
  console.log(alignTable([...head, 'accuracy, 0 to 1'], drawn, new Set([1, 2, 3])));
  const title = `Probes of ${name}`;
  const curve = (of: 'accuracy' | 'control' | 'selectivity', label: string) => ({
    name: label,
    points: layers.map((layer, i) => [i, layer[of]] as const),
    dots: true,
  });
  const intro =
    `A linear classifier for each layer reads ${about}, on texts that it did not learn from; 0 are the embeddings, ` +
    `1 is what layer 0 gives, and so on. Always the most frequent label: ${majority.toFixed(3)}. Of the control task ` +
    'each token of the vocabulary has a label of its own, drawn at random: what a probe learns by heart. Selectivity ' +
    'is the difference (Hewitt and Liang 2019).';
  const charts = chartsHtml('By layer', [
    {
      title: 'Accuracy',
      xLabel: 'layer',
      series: [curve('accuracy', 'labels'), curve('control', 'control task'), curve('selectivity', 'selectivity')],
    },
  ]);
  return pageHtml(
    title,
    `<h1>${escapeHtml(title)}</h1>\n<p class="about">${escapeHtml(intro)}</p>\n${charts}\n` +
      `<section><h2>All values</h2>${tableHtml('probes by layer', head, cells, 'numbers')}</section>`,
  );
}
