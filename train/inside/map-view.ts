// Where tokens, or texts with labels, lie in a model's space: two maps of them, as a plot and as a page.
import { showsColours } from '../../common/output.ts';
import { UsageError } from '../cli/cli.ts';
import { principalMap, textVectors, tokenVectors } from './embedding-map.ts';
import { scatterLines, scatterPage } from './scatter.ts';
import type { Scatter } from './scatter.ts';
import { trustworthiness, umap } from './umap.ts';
import { labelledTexts } from './view.ts';
import type { Look } from './view.ts';

export interface MapOptions {
  readonly data: string | undefined;
  readonly layer: number | undefined;
  readonly rows: number | undefined;
  readonly seed: number;
}

export async function mapView({ model, tokenizer, name, texts: tokens, options }: Look<MapOptions>): Promise<string> {
  const { data, layer, rows = 300, seed } = options;
  if ((data === undefined) === (tokens.length === 0))
    throw new UsageError('inspect: map takes three tokens or more, or --data, a file of texts with labels');
  if (data === undefined && layer !== undefined)
    throw new UsageError('inspect: --layer goes with --data; tokens are shown by their embeddings');
  const given = data === undefined ? undefined : await labelledTexts(data, rows, seed);
  const texts = given?.texts ?? tokens;
  if (texts.length < 3) throw new UsageError(`inspect: ${texts.length} points make no map; give three or more`);
  const points = given
    ? await textVectors(model, tokenizer, texts, { layer })
    : await tokenVectors(model, tokenizer, texts);
  const main = principalMap(points);
  const near = umap(points, main.points, { seed });
  const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;
  const noteOf = (what: string, map: Scatter['maps'][number]['points']): string => {
    const trust = trustworthiness(points, map);
    return Number.isNaN(trust)
      ? what
      : `${what} Trustworthiness ${trust.toFixed(3)}: 1 where neighbours here are real.`;
  };
  const shares = `have ${percent(main.shares[0])} and ${percent(main.shares[1])} of the variance`;
  const scatter: Scatter = {
    texts,
    ...(given ? { labels: given.labels, labelNames: given.names } : {}),
    maps: [
      {
        name: 'UMAP',
        note: noteOf('Near points are near in the model; gaps and sizes of groups mean little.', near),
        points: near,
      },
      { name: 'PCA', note: noteOf(`The two main directions, which ${shares}.`, main.points), points: main.points },
    ],
  };
  for (const map of scatter.maps)
    process.stdout.write(
      `${map.name}: ${map.note}\n${scatterLines(scatter, map.points, { isColoured: showsColours() })}\n\n`,
    );
  const where = layer === undefined ? '' : ` behind layer ${layer}`;
  return scatterPage(scatter, given ? `Texts in the space of ${name}${where}` : `Embeddings of ${name}`);
}
