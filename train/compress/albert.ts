/** A student with few parameters: narrow embeddings and one layer that runs again and again, as ALBERT's. */
import { tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { svd } from '../../common/svd.ts';
import { AlbertConfig, AlbertForSequenceClassification, BertForSequenceClassification } from '../../models/index.ts';
import type { SequenceClassificationModel } from '../../models/index.ts';
import { meanOf } from '../inside/points.ts';
import { checkWhole } from './smaller.ts';

export interface AlbertShape {
  /** Width of the tables of embeddings. */
  readonly embeddingSize: number;
  /** How often the layer runs; default as many layers as there were. */
  readonly layers?: number | undefined;
}

/** BERT's names of the parts of a layer, and ALBERT's. */
const layerParts = [
  ['attention.self.query', 'attention.query'],
  ['attention.self.key', 'attention.key'],
  ['attention.self.value', 'attention.value'],
  ['attention.output.dense', 'attention.dense'],
  ['attention.output.LayerNorm', 'attention.LayerNorm'],
  ['intermediate.dense', 'ffn'],
  ['output.dense', 'ffn_output'],
  ['output.LayerNorm', 'full_layer_layer_norm'],
] as const;

/**
 * An ALBERT (Lan et al. 2020) that begins as near to a BERT as it can: its one layer is BERT's first, its
 * narrow embeddings are the principal components of what BERT's layers read of each token (see
 * `narrowEmbeddings`). It answers much worse until it has learnt from the BERT, see `distillation`. Loads in
 * Transformers.
 *
 * Errors, each one line: no BERT, or one that was changed; a width or a number of layers that is none.
 *
 * @example
 * const config = { vocabSize: 50, hiddenSize: 16, numHiddenLayers: 2, numAttentionHeads: 2 };
 * const bert = BertForSequenceClassification.fromConfig(config);
 * (await albertFrom(bert, { embeddingSize: 4 })).numParameters() < bert.numParameters(); // true
 */
export async function albertFrom(
  bert: SequenceClassificationModel,
  { embeddingSize, layers }: AlbertShape,
): Promise<AlbertForSequenceClassification> {
  const fail = (what: string): Error => new Error(`albertFrom: ${what}`);
  if (!(bert instanceof BertForSequenceClassification))
    throw fail(`a ${bert.constructor.name} is given; its parts are known of a BertForSequenceClassification`);
  checkWhole('albertFrom', bert);
  const { config } = bert;
  if (config.prunedHeads || config.numHiddenLayers === 0) throw fail('the BERT lacks heads or layers; give it whole');
  if (bert.parameters().some(({ quantized }) => quantized))
    throw fail('the BERT has packed weights; load it without quantize');
  if (!(Number.isInteger(embeddingSize) && embeddingSize >= 3 && embeddingSize <= config.hiddenSize))
    throw fail(`embeddings are to be ${embeddingSize} wide; give 3 to ${config.hiddenSize}, the width of the layers`);
  const { hiddenDropoutProb, classifierDropout, numHiddenLayers, hiddenSize, labels, problemType, ...sizes } = config;
  const albert = new AlbertForSequenceClassification(
    AlbertConfig.create({
      ...{ vocabSize: sizes.vocabSize, embeddingSize, hiddenSize, numHiddenLayers: layers ?? numHiddenLayers },
      ...{ numAttentionHeads: sizes.numAttentionHeads, intermediateSize: sizes.intermediateSize },
      ...{ hiddenAct: sizes.hiddenAct, hiddenDropoutProb, layerNormEps: sizes.layerNormEps, labels, problemType },
      ...{ attentionProbsDropoutProb: sizes.attentionProbsDropoutProb, typeVocabSize: sizes.typeVocabSize },
      ...{ classifierDropoutProb: classifierDropout ?? hiddenDropoutProb, padTokenId: sizes.padTokenId },
      ...{ maxPositionEmbeddings: sizes.maxPositionEmbeddings, initializerRange: sizes.initializerRange },
    }),
  );
  const from = bert.stateDict();
  const state = new Map<string, Tensor>();
  const copy = (key: string, source: string): void => {
    for (const part of ['weight', 'bias']) state.set(`${key}.${part}`, from.get(`${source}.${part}`)!);
  };
  for (const [source, name] of layerParts)
    copy(`albert.encoder.albert_layer_groups.0.albert_layers.0.${name}`, `bert.encoder.layer.0.${source}`);
  copy('albert.pooler', 'bert.pooler.dense');
  copy('classifier', 'classifier');
  const tables = await narrowEmbeddings(from, hiddenSize, embeddingSize);
  for (const [name, { values, shape }] of Object.entries(tables))
    state.set(`albert.${name}`, tensor(Float32Array.from(values), { shape }));
  albert.loadStateDict(state);
  return albert.train(bert.training);
}

interface Table {
  readonly values: Float64Array;
  readonly shape: number[];
}

/**
 * ALBERT's embeddings: LayerNorm(word + position + type) [E], times a matrix [D, E]. Of what BERT's LayerNorm
 * makes of each token at a mean position, [V, D], the E - 2 first principal components are the words; they
 * lie where the mean of E numbers is 0, and one more number gives all words the same length, so that
 * ALBERT's LayerNorm only divides by it. Positions and types are moved as the LayerNorm of a mean token would
 * move them.
 */
async function narrowEmbeddings(
  from: ReadonlyMap<string, Tensor>,
  d: number,
  e: number,
): Promise<Readonly<Record<string, Table>>> {
  const read = async (name: string): Promise<Float64Array> =>
    Float64Array.from(await from.get(`bert.embeddings.${name}`)!.data(), Number);
  const words = await read('word_embeddings.weight');
  const positions = await read('position_embeddings.weight');
  const types = await read('token_type_embeddings.weight');
  const [gain, bias] = [await read('LayerNorm.weight'), await read('LayerNorm.bias')];
  const vocabulary = words.length / d;
  const usual = meanRow(positions, d);
  const still = usual.map((value, k) => value + types[k]!);

  // What the layers read of each token, and by how much their LayerNorm divides.
  const seen = new Float64Array(vocabulary * d);
  let deviation = 0;
  for (let v = 0; v < vocabulary; v++) {
    const row = words.subarray(v * d, (v + 1) * d).map((value, k) => value + still[k]!);
    const mean = row.reduce((sum, value) => sum + value / d, 0);
    const own = Math.sqrt(row.reduce((sum, value) => sum + (value - mean) ** 2 / d, 0)) || 1;
    deviation += own / vocabulary;
    row.forEach((value, k) => (seen[v * d + k] = ((value - mean) / own) * gain[k]! + bias[k]!));
  }
  const middle = meanRow(seen, d);
  seen.forEach((value, at) => (seen[at] = value - middle[at % d]!));
  const covariance = new Float64Array(d * d);
  for (let v = 0; v < vocabulary; v++)
    for (let i = 0; i < d; i++)
      for (let j = 0; j < d; j++) covariance[i * d + j]! += seen[v * d + i]! * seen[v * d + j]!;
  const { vh } = svd(covariance, d, d); // rows are principal directions
  const count = e - 2;
  const components = (row: Float64Array): Float64Array =>
    Float64Array.from({ length: count }, (_, r) => row.reduce((sum, value, k) => sum + value * vh[r * d + k]!, 0));

  const found = Array.from({ length: vocabulary }, (_, v) => components(seen.subarray(v * d, (v + 1) * d)));
  const lengths = found.map((row) => Math.hypot(...row));
  const radius = lengths.reduce((most, own) => Math.max(most, own), 0) || 1;
  // As large as BERT's own, so that an optimizer's steps move them as much.
  const square = words.reduce((sum, value) => sum + value * value, 0) / words.length;
  const size = Math.sqrt(square * e) / radius || 1;
  const place = (row: Float64Array, filler = 0): number[] => {
    const out = new Array<number>(e).fill(0);
    for (let r = 0; r <= count; r++) {
      const value = size * (r < count ? row[r]! : filler);
      helmert(r, e).forEach((part, i) => (out[i]! += value * part));
    }
    return out;
  };
  const moved = (row: Float64Array, rest: ArrayLike<number>): Float64Array =>
    components(row.map((value, k) => ((value - rest[k]!) * gain[k]!) / deviation));
  const tableOf = (rows: readonly number[][]): Table => ({
    values: Float64Array.from(rows.flat()),
    shape: [rows.length, e],
  });
  const rowsOf = (table: Float64Array, rest: ArrayLike<number>): Table =>
    tableOf(Array.from({ length: table.length / d }, (_, i) => place(moved(table.subarray(i * d, (i + 1) * d), rest))));
  const projection = new Float64Array(d * e);
  for (let r = 0; r < count; r++)
    helmert(r, e).forEach((part, i) => {
      for (let k = 0; k < d; k++) projection[k * e + i]! += (vh[r * d + k]! * part * radius) / Math.sqrt(e);
    });
  const filled = (row: Float64Array, v: number): number[] =>
    place(row, Math.sqrt(Math.max(0, radius ** 2 - lengths[v]! ** 2)));
  const mapping = 'encoder.embedding_hidden_mapping_in';
  return {
    'embeddings.word_embeddings.weight': tableOf(found.map(filled)),
    'embeddings.position_embeddings.weight': rowsOf(positions, usual),
    'embeddings.token_type_embeddings.weight': rowsOf(types, types.subarray(0, d)),
    'embeddings.LayerNorm.weight': { values: new Float64Array(e).fill(1), shape: [e] },
    'embeddings.LayerNorm.bias': { values: new Float64Array(e), shape: [e] },
    [`${mapping}.weight`]: { values: projection, shape: [d, e] },
    [`${mapping}.bias`]: { values: middle, shape: [d] },
  };
}

const meanRow = (values: Float64Array, width: number): Float64Array =>
  meanOf({ count: values.length / width, width, values });

/** The r-th of e - 1 orthonormal rows of e numbers, each of which has a mean of 0 (Helmert's). */
const helmert = (r: number, e: number): number[] =>
  Array.from({ length: e }, (_, i) => (i <= r ? 1 : i === r + 1 ? -(r + 1) : 0) / Math.sqrt((r + 1) * (r + 2)));
