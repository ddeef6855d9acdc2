// What the features of a sparse autoencoder are active on, and what a model loses by its reconstruction.
import {
  arange,
  cast,
  compile,
  crossEntropy,
  eq,
  expand,
  gt,
  noGrad,
  reshape,
  scope,
  sum,
  tensor,
  where,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import { BertTokenizer, CausalLM, evalMode, runWithHooks } from '../../models/index.ts';
import type { AnyTokenizer } from '../../models/index.ts';
import { chunks } from '../../models/pipelines/rows.ts';
import { forEachActivation, tokenRow } from './activations.ts';
import type { LanguageModel } from './lens.ts';
import type { SparseAutoencoder } from './sparse-autoencoder.ts';
import { meanOf } from './points.ts';
import type { Points } from './points.ts';

/**
 * Activations at one place of all tokens of rows but the first of each: in many models its numbers are unlike
 * all others, and large (Sun et al. 2024).
 *
 * @example
 * const model = GPT2LMHeadModel.fromConfig({ vocabSize: 50, nEmbd: 8, nLayer: 1, nHead: 2 });
 * (await tokenActivations(model, [Int32Array.of(2, 7, 3)], 'blocks.0.hook_resid_post')).count; // 2
 */
export async function tokenActivations(
  model: LanguageModel,
  rows: readonly Int32Array[],
  name: string,
): Promise<Points> {
  const found: Float32Array[] = [];
  let size = 0;
  await forEachActivation(model, rows.map(tokenRow), name, (row, activations) => {
    const { width, values } = activations[name]!;
    size = width;
    found[row] = values.slice(width);
  });
  const values = new Float32Array(found.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of found) {
    values.set(part, at);
    at += part.length;
  }
  return { count: size > 0 ? values.length / size : 0, width: size, values };
}

/** A stretch of a text, and how active a feature is on each of its tokens. */
export interface FeatureExample {
  readonly tokens: readonly string[];
  readonly values: readonly number[];
  /** The token on which it is most active. */
  readonly at: number;
}

export interface Feature {
  readonly number: number;
  /** The share of tokens on which it is active. */
  readonly share: number;
  /** Its largest activation, in deviations of the layer's numbers. */
  readonly most: number;
  /** Those of the largest activation, each of another row. */
  readonly examples: readonly FeatureExample[];
}

export interface FeatureTextOptions {
  /** Examples of each feature; default 6. */
  readonly examples?: number;
  /** Tokens that are shown before and behind the one that counts; default 8. */
  readonly around?: number;
}

interface Found {
  readonly row: number;
  readonly at: number;
  readonly value: number;
  readonly values: Float32Array;
}

/** Tokens as they are shown, with the spaces before them. */
function shownTokens(tokenizer: AnyTokenizer, ids: Int32Array): string[] {
  return tokenizer.convertIdsToTokens([...ids]).map((token, i) => {
    if (tokenizer instanceof BertTokenizer) return token.startsWith('##') ? token.slice(2) : ` ${token}`;
    // Letters beyond ASCII may stand for bytes, as in GPT-2's vocabulary.
    const text = /[\u00a1-\u0143]/.test(token) ? tokenizer.decode([ids[i]!]) : token.replace(/^▁/, ' ');
    return text.replaceAll('\n', '⏎');
  });
}

/**
 * What each feature is active on in rows of tokens, by its number; one that never is has no examples.
 *
 * @example
 * const { model, tokenizer } = await loadTextEncoder('models/pretrained/bert-small', 'ForMaskedLM');
 * const autoencoder = new SparseAutoencoder({ width: 128, features: 16, active: 2 });
 * const rows = [Int32Array.from(tokenizer.idsOf('My fellow citizens', { addSpecialTokens: true }))];
 * const features = await featuresOf(model, tokenizer, autoencoder, rows, 'blocks.0.hook_resid_post');
 * features.length; // 16
 */
export async function featuresOf(
  model: LanguageModel,
  tokenizer: AnyTokenizer,
  autoencoder: SparseAutoencoder,
  rows: readonly Int32Array[],
  name: string,
  { examples = 6, around = 8 }: FeatureTextOptions = {},
): Promise<Feature[]> {
  const { features } = autoencoder.shape;
  const counts = new Int32Array(features);
  const best: Found[][] = Array.from({ length: features }, () => []);
  let tokens = 0;
  const encode = compile((x: Tensor) => noGrad(() => autoencoder.encode(x)), {
    name: 'features',
    maxPrograms: 32,
    log: () => undefined,
  });
  await forEachActivation(model, rows.map(tokenRow), name, async (row, activations) => {
    const { width, values: own } = activations[name]!;
    const count = own.length / width - 1;
    const data = await encode(tensor(own.slice(width), { shape: [count, width] })).data();
    tokens += count;
    const strongest = new Map<number, number>();
    for (let i = 0; i < data.length; i++) {
      if (!(data[i]! > 0)) continue;
      const feature = i % features;
      counts[feature]!++;
      const before = strongest.get(feature);
      if (before === undefined || data[i]! > data[before]!) strongest.set(feature, i);
    }
    for (const [feature, i] of strongest) {
      const list = best[feature]!;
      const value = Number(data[i]);
      if (list.length === examples && !(value > list.at(-1)!.value)) continue;
      const values = Float32Array.from({ length: count }, (_, t) => Number(data[t * features + feature]));
      list.push({ row, at: Math.floor(i / features) + 1, value, values });
      list.sort((a, b) => b.value - a.value);
      list.length = Math.min(list.length, examples);
    }
  });
  return best.map((list, number) => ({
    number,
    share: counts[number]! / tokens,
    most: list[0]?.value ?? 0,
    examples: list.map(({ row, at, values }): FeatureExample => {
      const ids = rows[row]!;
      const [from, to] = [Math.max(0, at - around), Math.min(ids.length, at + around + 1)];
      return {
        tokens: shownTokens(tokenizer, ids.subarray(from, to)),
        // The first token of a row has none.
        values: Array.from({ length: to - from }, (_, i) => (from + i === 0 ? 0 : values[from + i - 1]!)),
        at: at - from,
      };
    }),
  }));
}

/** What becomes of a model whose activations are the autoencoder's reconstructions. */
export interface AutoencoderTest {
  /** The share of the activations' variance that the reconstructions miss. */
  readonly unexplained: number;
  /** Features that are active on a token, in the mean. */
  readonly active: number;
  /** The model's loss, with the reconstructions, and with the mean activation in the place of every one. */
  readonly losses: { readonly model: number; readonly reconstructed: number; readonly mean: number };
  /** 1 where reconstructions cost nothing, 0 where they are as bad as the mean. */
  readonly recovered: number;
}

/** Share of tokens that are masked for a model of masked tokens. */
const maskedShare = 0.15;

/**
 * Runs a model on rows with an autoencoder's reconstructions put back at a place. The loss is that of the
 * next tokens, or of a model of masked tokens that of 15% of them, masked. The first token of each row stays
 * as it is. Error, one line: no rows; a model of masked tokens whose tokenizer has no mask.
 *
 * @example
 * const { model, tokenizer } = await loadTextEncoder('models/pretrained/bert-small', 'ForMaskedLM');
 * const autoencoder = new SparseAutoencoder({ width: 128, features: 16, active: 2 });
 * const rows = [Int32Array.from(tokenizer.idsOf('My fellow citizens', { addSpecialTokens: true }))];
 * await testAutoencoder(model, tokenizer, autoencoder, rows, 'blocks.0.hook_resid_post');
 */
export async function testAutoencoder(
  model: LanguageModel,
  tokenizer: AnyTokenizer,
  autoencoder: SparseAutoencoder,
  rows: readonly Int32Array[],
  name: string,
  { batchSize = 8, seed = 0 } = {},
): Promise<AutoencoderTest> {
  if (rows.length === 0) throw new Error('testAutoencoder: there are no rows to test on; give texts');
  using _mode = evalMode(model);
  const random = new Random(seed, 2);
  const read = (row: Int32Array): { ids: Int32Array; labels: Int32Array } => {
    if (model instanceof CausalLM) return { ids: row, labels: Int32Array.from([...row.subarray(1), -100]) };
    const mask = tokenizer.maskTokenId;
    if (mask === undefined) throw new Error('testAutoencoder: the tokenizer has no mask, so there is no loss');
    const ids = row.slice();
    const labels = new Int32Array(row.length).fill(-100);
    // The ends of a row are no words.
    for (let t = 1; t < row.length - 1; t++)
      if (random.uniform() < maskedShare || t === row.length >> 1) [labels[t], ids[t]] = [row[t]!, mask];
    return { ids, labels };
  };
  const losses = compile(
    (inputIds: Tensor, labels: Tensor) =>
      noGrad(() => {
        const isFirst = reshape(eq(arange(0, inputIds.shape[1]!, 1, { dtype: 'i32' }), 0), [1, -1, 1]);
        const lossWith = (change: (x: Tensor) => Tensor): Tensor => {
          const hook = (x: Tensor): Tensor => where(isFirst, x, change(x));
          const { logits } = runWithHooks(model, { inputIds } as never, [[name, hook]]);
          return crossEntropy(reshape(logits, [-1, logits.shape.at(-1)!]), reshape(labels, [-1]), { reduction: 'sum' });
        };
        return [
          lossWith((x) => x),
          lossWith((x) => autoencoder.forward(x)),
          lossWith((x) => expand(reshape(autoencoder.mean, [1, 1, -1]), [...x.shape])),
        ];
      }),
    { name: 'test of an autoencoder', log: () => undefined },
  );
  const sums = [0, 0, 0];
  let counted = 0;
  for (const batch of chunks(rows, batchSize)) {
    using _ = scope();
    const given = batch.map(read);
    const grid = (of: 'ids' | 'labels'): Tensor =>
      tensor(Int32Array.from(given.flatMap((each) => [...each[of]])), { shape: [batch.length, batch[0]!.length] });
    for (const [i, loss] of losses(grid('ids'), grid('labels')).entries()) sums[i]! += await loss.item();
    for (const { labels } of given) counted += labels.filter((label) => label >= 0).length;
  }
  const [whole, reconstructed, mean] = sums.map((sum) => sum / counted) as [number, number, number];
  return {
    ...(await reconstructionOf(autoencoder, await tokenActivations(model, rows, name))),
    losses: { model: whole, reconstructed, mean },
    recovered: (mean - reconstructed) / (mean - whole),
  };
}

/** What reconstructions of activations miss, as a share of the variance, and how many features they take. */
async function reconstructionOf(
  autoencoder: SparseAutoencoder,
  points: Points,
): Promise<{ readonly unexplained: number; readonly active: number }> {
  const read = compile(
    (x: Tensor) =>
      noGrad(() => {
        const codes = autoencoder.encode(x);
        return { made: autoencoder.decode(codes), active: sum(cast(gt(codes, 0), 'f32')) };
      }),
    { name: 'reconstruction', log: () => undefined },
  );
  const { count, width, values } = points;
  const middle = meanOf(points);
  let [missed, total, active] = [0, 0, 0];
  for (let from = 0; from < count; from += 4096) {
    using _ = scope();
    const own = Float32Array.from(
      { length: Math.min(4096, count - from) * width },
      (_x, i) => values[from * width + i]!,
    );
    const found = read(tensor(own, { shape: [own.length / width, width] }));
    const made = await found.made.data();
    active += await found.active.item();
    for (let i = 0; i < own.length; i++) {
      missed += (own[i]! - Number(made[i])) ** 2;
      total += (own[i]! - middle[i % width]!) ** 2;
    }
  }
  return { unexplained: missed / total, active: active / count };
}
