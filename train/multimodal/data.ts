import { dirname, isAbsolute, join } from 'node:path';
import { ImageProcessor, RawImage } from '../../models/index.ts';
import { brief } from '../../common/printable.ts';
import { duplicateGroups } from '../data/duplicates/groups.ts';
import { loadEmoji } from '../data/emoji.ts';
import { sortLabels, stringCell } from '../data/read-table.ts';
import { stratifiedSplit } from '../data/split.ts';
import type { SplitName } from '../data/split.ts';
import { readPairs } from '../seq2seq/pairs.ts';

/** A picture, its text, and its class where there is one. */
export interface PicturedText {
  readonly text: string;
  /** (3, H, W), as the model reads it. */
  readonly pixels: Float32Array;
  readonly label?: number;
}

export interface MultimodalData extends Readonly<Record<SplitName, readonly PicturedText[]>> {
  /** Names of the classes; empty where rows have none. */
  readonly labels: readonly string[];
  readonly processor: ImageProcessor;
  /** One line about where it comes from. */
  readonly origin: string;
}

export interface MultimodalColumns {
  readonly imageColumn: string;
  readonly textColumn: string;
  readonly labelColumn?: string | undefined;
}

/** What `loadMultimodalData` takes instead of a file, for `--help`. */
export const multimodalDataNames = 'emoji (pictures of Noto, names and keywords of Unicode; classes are their groups)';

interface Row {
  readonly text: string;
  readonly image: string | Uint8Array;
  readonly label?: string | undefined;
}

async function rowsOf(data: string, columns: MultimodalColumns): Promise<{ rows: Row[]; origin: string }> {
  if (data === 'emoji') {
    const { emoji, origin } = await loadEmoji();
    const rows = emoji.map(({ name, keywords, group, png }) => ({
      text: [name, ...keywords].join(', '),
      image: png,
      label: group,
    }));
    // Flags are left out but for a few of one code point.
    return { rows: rows.filter(({ label }) => label !== 'Flags'), origin };
  }
  const { imageColumn, textColumn, labelColumn } = columns;
  const pairs = await readPairs(
    data,
    { sourceColumn: imageColumn, targetColumn: textColumn },
    (cells, where): { readonly label?: string } =>
      labelColumn === undefined ? {} : { label: stringCell(cells, labelColumn, 'labelColumn', where) },
  );
  const rows = pairs.map(({ source, target, label }) => ({
    image: isAbsolute(source) ? source : join(dirname(data), source),
    text: target,
    label,
  }));
  return { rows, origin: brief(data) };
}

/**
 * Reads pictures with their texts of a file (paths of pictures are relative to it) or by name
 * (`multimodalDataNames`), each picture on white where it is transparent, and splits them so that rows whose
 * texts are nearly the same are in one part, and classes have the same share of each. Errors: those of the
 * file and of its pictures; too few rows for three parts.
 */
export async function loadMultimodalData(
  data: string,
  { imageSize, seed, ...columns }: MultimodalColumns & { readonly imageSize: number; readonly seed: number },
): Promise<MultimodalData> {
  const { rows, origin } = await rowsOf(data, columns);
  const side = { height: imageSize, width: imageSize };
  const processor = ImageProcessor.create({ size: side, resample: 3 });
  const labels = rows.some(({ label }) => label === undefined)
    ? []
    : sortLabels(new Set(rows.map(({ label }) => label!)));
  const numbers = rows.map(({ label }) => Math.max(0, labels.indexOf(label ?? '')));
  const examples: PicturedText[] = [];
  for (const [i, { text, image }] of rows.entries()) {
    const pixels = processor.pixelsOf((await RawImage.read(image)).onBackground([255, 255, 255]));
    examples.push({ text, pixels, ...(labels.length > 0 ? { label: numbers[i]! } : {}) });
  }
  const groups = duplicateGroups(rows.map(({ text }) => text));
  const split = stratifiedSplit(numbers, { seed, groups, data: brief(data) });
  const part = (name: SplitName): PicturedText[] => split[name].map((i) => examples[i]!);
  const [train, validation, test] = [part('train'), part('validation'), part('test')];
  const counts = `${train.length} to train, ${validation.length} to validate, ${test.length} to test`;
  return { train, validation, test, labels, processor, origin: `${origin}: ${counts}` };
}
