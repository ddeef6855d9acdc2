import { assign, noGrad, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { ModelConfig } from '../config.ts';
import { keysByTensor, matchState } from '../io/state-dict.ts';
import { listNames } from '../names.ts';
import { modelOf } from '../nn/changed-layers.ts';
import { postponeInit } from '../parameter.ts';
import type { PreTrainedModel } from '../pretrained.ts';

export interface ExtendOptions {
  /**
   * The id of the first new token; default: the model's vocabulary size. Smaller where the model has more
   * rows than its tokenizer has tokens.
   */
  readonly firstId?: number;
}

/**
 * The model with rows for new tokens in its embeddings, and in its head and the head's bias, tied or not:
 * token `firstId + i` gets the mean of the rows of `pieces[i]`, the ids that stood for it so far. A new token
 * then begins as an average of what it was, not as noise far from all others, which would swamp the softmax
 * (Hewitt 2021, "Initializing new word embeddings for pretrained language models"; means of pieces: Gee et
 * al. 2022, "Fast vocabulary transfer"). The old model is left as it is; make the optimizer anew.
 *
 * Errors: a part was replaced by a module with other weights; a token without pieces; a piece that is no id
 * of the model; a first id behind the model's last row.
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = await extendVocabulary(BertForMaskedLM.fromConfig(shape), [[7, 8]]);
 * model.config.vocabSize; // 51
 */
export async function extendVocabulary<
  C extends ModelConfig & { readonly vocabSize: number },
  M extends PreTrainedModel<C>,
>(model: M & PreTrainedModel<C>, pieces: readonly ArrayLike<number>[], options: ExtendOptions = {}): Promise<M> {
  const { vocabSize } = model.config;
  const { firstId = vocabSize } = options;
  check(pieces, vocabSize, firstId);
  const config = Object.freeze({ ...model.config, vocabSize: Math.max(vocabSize, firstId + pieces.length) });
  const { module: made } = postponeInit(() => modelOf(model.constructor as new (config: C) => M, config));
  if (model.parameters().every(({ dtype }) => dtype === 'f16')) made.to('f16');
  const old = model.stateTensors();
  const { missing, unexpected } = matchState(made.stateTensors(), old).report;
  if (missing.length > 0 || unexpected.length > 0)
    throw new Error(
      `extendVocabulary: the model has other weights than a ${model.constructor.name} of its config, ` +
        `${listNames([...missing, ...unexpected], 3)}; put replaced modules back first`,
    );
  for (const [first, ...others] of keysByTensor(made.stateTensors()).values())
    for (const key of others) if (old.get(key) !== old.get(first!)) made.untie(key);
  for (const [key, target] of made.stateDict()) {
    const source = old.get(key)!;
    // Only what has a row for each token has another shape.
    const values =
      source.shape.join() === target.shape.join() ? source : await withMeans(source, target, pieces, firstId);
    noGrad(() => assign(target, values));
  }
  made.generationConfig = model.generationConfig;
  return made.train(model.training);
}

/** A table [V, ...] with the means of its rows of pieces as rows from `firstId` on. */
async function withMeans(
  table: Tensor,
  { shape }: Tensor,
  pieces: readonly ArrayLike<number>[],
  firstId: number,
): Promise<Tensor> {
  const width = shape.slice(1).reduce((a, b) => a * b, 1);
  const values = Float32Array.from(await table.data());
  const rows = new Float32Array(shape[0]! * width);
  rows.set(values);
  pieces.forEach((ids, i) => {
    for (let column = 0; column < width; column++) {
      let sum = 0;
      for (let k = 0; k < ids.length; k++) sum += values[ids[k]! * width + column]!;
      rows[(firstId + i) * width + column] = sum / ids.length;
    }
  });
  return tensor(rows, { shape });
}

function check(pieces: readonly ArrayLike<number>[], vocabSize: number, firstId: number): void {
  const fail = (what: string): never => {
    throw new Error(`extendVocabulary: ${what}`);
  };
  if (!(firstId >= 0 && firstId <= vocabSize))
    fail(`the first new id is ${firstId}, but the model has rows for 0 to ${vocabSize - 1}; ids must have no gap`);
  pieces.forEach((ids, i) => {
    if (ids.length === 0) fail(`new token ${i} has no pieces; give the ids that stood for it so far`);
    const wrong = Array.from(ids).find((id) => !(Number.isInteger(id) && id >= 0 && id < firstId));
    if (wrong !== undefined)
      fail(`piece ${wrong} of new token ${i} is no id from 0 to ${firstId - 1}; use the tokenizer of the model`);
  });
}
