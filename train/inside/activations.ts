// Activations of many texts by name, batch by batch.
import { compile, noGrad, tensor } from '../../autograd/index.ts';
import { runWithCache } from '../../models/index.ts';
import type { ActivationNames, AnyTokenizer, Module } from '../../models/index.ts';
import { forEachBatch, inputsOf, padRows } from '../../models/pipelines/rows.ts';
import type { TokenRow } from '../../models/pipelines/rows.ts';
import { limitsOf } from '../explain/read-text.ts';
import { residualsOf } from './lens.ts';
import type { LanguageModel } from './lens.ts';
import { shownRow } from './patterns.ts';
import type { ShownRow } from './patterns.ts';

/** Texts as rows of tokens, those that are too long cut. */
export function shownRows(model: Module, tokenizer: AnyTokenizer, texts: readonly string[]): ShownRow[] {
  const limits = limitsOf(model);
  return texts.map((text) => shownRow(tokenizer, text, limits, true));
}

/** Tokens of one text as a row. */
export const tokenRow = (inputIds: Int32Array): TokenRow => ({
  inputIds,
  tokenTypeIds: new Int32Array(inputIds.length),
});

/** Numbers of the tokens of one row, row-major [tokens, width]. */
export interface RowActivation {
  readonly width: number;
  readonly values: Float32Array;
}

export interface ActivationOptions {
  /** Rows at once; default 16. */
  readonly batchSize?: number;
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Shows the activations of each row, by their names, to `visit`, the longest rows first. Activations by head
 * (B, T, H, D/H) have their heads side by side. Errors: as of `runWithCache`; no rows.
 */
export async function forEachActivation(
  model: Module,
  rows: readonly TokenRow[],
  names: ActivationNames,
  visit: (row: number, activations: Readonly<Record<string, RowActivation>>) => void | Promise<void>,
  { batchSize = 16, onProgress }: ActivationOptions = {},
): Promise<void> {
  const limits = limitsOf(model);
  const read = compile(
    (batch: ReturnType<typeof inputsOf>) =>
      noGrad(() => runWithCache(model as LanguageModel, batch as never, names).cache),
    { name: 'activations', maxPrograms: 32, log: () => undefined },
  );
  let done = 0;
  await forEachBatch(model, rows, batchSize, async (indices) => {
    const batch = indices.map((i) => rows[i]!);
    const padded = padRows(batch, 0, limits); // which token pads does not matter: the mask hides it
    const { shape } = padded;
    const found: [name: string, width: number, data: Float32Array][] = [];
    for (const [name, x] of Object.entries(read(inputsOf(padded)))) {
      const width = x.size / shape[0] / shape[1];
      found.push([name, width, Float32Array.from(await x.data(), Number)]);
    }
    for (const [at, row] of indices.entries()) {
      const tokens = rows[row]!.inputIds.length;
      const own = found.map(([name, width, data]) => {
        const from = at * shape[1] * width;
        return [name, { width, values: data.subarray(from, from + tokens * width) }] as const;
      });
      await visit(row, Object.fromEntries(own));
    }
    onProgress?.((done += indices.length), rows.length);
  });
}

/**
 * Names of the residual stream before the first layer and behind each: where norms stand behind the sums, of
 * the normalised one.
 */
export const residualNames = (model: LanguageModel): readonly string[] =>
  residualsOf(model, { inputIds: tensor(Int32Array.of(0), { shape: [1, 1] }) }).names;

/** The one behind a layer, by default the last. Error, one line: there is no such layer. */
export function residualName(model: LanguageModel, layer?: number): string {
  const names = residualNames(model);
  const name = names[layer === undefined ? names.length - 1 : layer + 1];
  if (name !== undefined) return name;
  throw new Error(`there is no layer ${layer}; a ${model.constructor.name} has layers 0 to ${names.length - 2}`);
}
