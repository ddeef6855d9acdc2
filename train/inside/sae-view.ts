// A sparse autoencoder of a layer: trained, tested, and its features as a table and a page.
import { progress } from '../../common/progress.ts';
import { pathKind } from '../../common/json-file.ts';
import { alignTable } from '../../common/text-table.ts';
import { residualName } from './activations.ts';
import { featurePage, shortExample } from './feature-page.ts';
import { featuresOf, testAutoencoder, tokenActivations } from './features.ts';
import type { LanguageModel } from './lens.ts';
import { saveModule } from './module-file.ts';
import { SparseAutoencoder, trainAutoencoder } from './sparse-autoencoder.ts';
import { windowsFor } from './view.ts';
import type { Look, Windows } from './view.ts';

export interface SaeViewOptions {
  readonly layer: number | undefined;
  /** The file of the autoencoder, which is made where it is not there. */
  readonly autoencoder: string | undefined;
  readonly data: string | undefined;
  readonly rows: number | undefined;
  readonly steps: number | undefined;
  readonly features: number | undefined;
  readonly active: number;
  readonly seed: number;
}

/** The autoencoder of a file, or a new one. */
async function autoencoderOf(
  { model, options }: Look<SaeViewOptions>,
  name: string,
  { learnt }: Windows,
): Promise<SparseAutoencoder> {
  const { autoencoder: path, steps = 600, features, active, seed } = options;
  if (path !== undefined && (await pathKind(path)) !== 'none') return SparseAutoencoder.load(path);
  const points = await tokenActivations(model as LanguageModel, learnt, name);
  const bar = progress({ total: steps });
  try {
    const made = await trainAutoencoder(
      points,
      { features: features ?? 4 * points.width, active },
      { steps, seed, onProgress: (step, _, loss) => bar.update(step, { label: 'autoencoder', loss }) },
    );
    if (path !== undefined) await saveModule(path, made);
    return made;
  } finally {
    bar.stop();
  }
}

export async function saeView(look: Look<SaeViewOptions>): Promise<string> {
  const { tokenizer, name, options } = look;
  const model = look.model as LanguageModel;
  const { data = 'sotu', rows = 1000, layer, autoencoder: path, seed } = options;
  const place = residualName(model, layer);
  const windows = await windowsFor(look, data, { rows, seed });
  const autoencoder = await autoencoderOf(look, place, windows);
  const found = await featuresOf(model, tokenizer, autoencoder, windows.learnt, place);
  const { unexplained, active, losses, recovered } = await testAutoencoder(
    model,
    tokenizer,
    autoencoder,
    windows.tested,
    place,
    { seed },
  );
  const dead = found.filter(({ share }) => share === 0).length;
  const facts = [
    `${place} of ${name}: ${found.length} features, at most ${autoencoder.shape.active} active at once, in the ` +
      `mean ${active.toFixed(1)}; ${dead} dead, on ${rows} rows of ${data}`,
    `on ${windows.tested.length} other rows, reconstructions miss ${(100 * unexplained).toFixed(1)}% of the variance`,
    `loss ${losses.model.toFixed(3)}, with reconstructions put back ${losses.reconstructed.toFixed(3)}, with the ` +
      `mean activation ${losses.mean.toFixed(3)}: ${(100 * recovered).toFixed(1)}% recovered`,
  ];
  for (const fact of facts) console.log(fact);
  if (path !== undefined) console.log(`file   ${path}`);
  const strongest = [...found].filter(({ share }) => share > 0).sort((a, b) => b.most - a.most);
  const cells = strongest.slice(0, 12).map(({ number, share, most, examples }) => [
    ...[`${number}`, `${(100 * share).toFixed(2)}%`, most.toFixed(2)],
    examples
      .slice(0, 3)
      .map((example) => shortExample(example).trim())
      .join('  '),
  ]);
  console.log(`\n${alignTable(['feature', 'active on', 'largest', 'strongest on'], cells, new Set([0, 1, 2]))}`);
  return featurePage(found, facts, `Features of ${name}`);
}
