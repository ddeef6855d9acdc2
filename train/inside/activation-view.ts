// Sizes of activations by layer: a table with small histograms, and a page of maps.
import { escapeHtml } from '../../common/markup.ts';
import { alignTable } from '../../common/text-table.ts';
import { tableHtml } from '../report/page.ts';
import { activationSizes, span } from './activation-sizes.ts';
import type { ActivationSize } from './activation-sizes.ts';
import { shownRows, tokenRow } from './activations.ts';
import { heatMapPage } from './heat-map-page.ts';
import { windowsFor } from './view.ts';
import type { Look } from './view.ts';

export interface ActivationViewOptions {
  readonly data: string | undefined;
  readonly rows: number | undefined;
  readonly seed: number;
}

/** A histogram as a line of blocks, the tallest a whole one. */
export function sparkline(bins: Float64Array): string {
  const blocks = ' ▁▂▃▄▅▆▇█';
  const most = Math.max(...bins);
  // What is there at all is seen.
  return Array.from(bins, (share) => blocks[share > 0 ? Math.max(1, Math.round((8 * share) / most)) : 0]).join('');
}

const kinds: readonly (readonly [ending: RegExp, title: string])[] = [
  [/resid_post$/, 'What each layer gives'],
  [/hook_attn_out$/, 'What attention adds'],
  [/hook_mlp_out$/, 'What the feed-forward part adds'],
  [/mlp\.hook_post$/, 'Units of the feed-forward part, behind the activation'],
];

export async function activationView(look: Look<ActivationViewOptions>): Promise<string> {
  const { model, tokenizer, texts, name, options } = look;
  const { data = 'sotu', rows: count = 32, seed } = options;
  const rows =
    texts.length > 0
      ? shownRows(model, tokenizer, texts)
      : (await windowsFor(look, data, { rows: count, seed })).learnt.map(tokenRow);
  const sizes = await activationSizes(model, rows);
  const head = ['activation', 'mean', 'deviation', 'kurtosis', 'least', 'most', 'zeros', 'units that stand out'];
  const cellsOf = ({ name: place, mean, deviation, kurtosis, least, most, zeros, units }: ActivationSize): string[] => [
    place,
    ...[mean, deviation].map((x) => x.toFixed(3)),
    kurtosis.toFixed(1),
    ...[least, most].map((x) => x.toFixed(2)),
    `${(100 * zeros).toFixed(1)}%`,
    units.map(({ unit, times }) => `${unit} (${times.toFixed(1)}x)`).join(' '),
  ];
  const cells = sizes.map(cellsOf);
  const tokens = rows.reduce((sum, { inputIds }) => sum + inputIds.length, 0);
  const about = `${tokens} tokens of ${texts.length > 0 ? `${texts.length} texts` : `${rows.length} rows of ${data}`}`;
  console.log(`${about}; histograms from ${-span} to ${span} deviations`);
  const drawn = cells.map((row, i) => [...row, sparkline(sizes[i]!.bins)]);
  console.log(alignTable([...head, 'histogram'], drawn, new Set([1, 2, 3, 4, 5, 6])));
  const binCount = sizes[0]!.bins.length;
  const middles = Array.from({ length: binCount }, (_, i) => ((2 * i + 1) / binCount - 1) * span);
  const maps = kinds.flatMap(([ending, title]) => {
    const own = sizes.filter(({ name: place }) => ending.test(place));
    if (own.length === 0) return [];
    return [
      {
        title,
        note: 'Shares of the numbers by how many deviations they lie from the mean; the ends hold all beyond.',
        rows: own.map(({ name: place }) => `layer ${place.split('.')[1]!}`),
        columns: middles.map((x) => x.toFixed(1)),
        values: own.flatMap(({ bins }) => [...bins]),
      },
    ];
  });
  const note =
    `${escapeHtml(about)}. Kurtosis is 3 of a normal distribution; a unit that stands out is so many times as large ` +
    'as the median one, by the root of the mean square.';
  const table = `<h2>Figures</h2>\n<p>${note}</p>\n${tableHtml('figures', head, cells, 'numbers')}`;
  return heatMapPage(maps, `Activations of ${name}`, table);
}
