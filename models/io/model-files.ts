/**
 * What a model is read from: a folder in the Hugging Face layout, or one GGUF file, which stands for such a
 * folder. A .model file of SentencePiece stands for a tokenizer.json.
 */
import { join } from '../../common/platform.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { pathKind, readJsonFile } from '../../common/json-file.ts';
import { ggufFolder, GgufWeights } from '../gguf/folder.ts';
import { readSentencePieceJson, sentencePieceFile } from '../tokenizer/sentencepiece-folder.ts';
import { CompressedWeights, saysPacked } from './compressed-tensors.ts';
import { int8Format, Int8Weights } from './int8.ts';
import { nf4Method, Nf4Weights } from './nf4.ts';
import { SavedWeights } from './saved-weights.ts';
import { sparseFormat, SparseWeights } from './sparse-bitmask.ts';
import type { WeightsSource } from './weights-source.ts';

/**
 * @example
 * isGguf('smollm2-135m.gguf'); // true
 */
export const isGguf = (path: string): boolean => /\.gguf$/i.test(path);

/** Whether a model has a file, such as generation_config.json. */
export async function hasModelFile(model: string, name: string): Promise<boolean> {
  if (isGguf(model)) return name in (await ggufFolder(model));
  const isThere = (await pathKind(join(model, name))) === 'file';
  return isThere || (name === 'tokenizer.json' && (await sentencePieceFile(model)) !== undefined);
}

/**
 * Contents of one of a model's JSON files. Errors, each one line: those of `readJsonFile` and of GGUF files.
 */
export async function readModelJson(model: string, name: string): Promise<JsonObject> {
  const found = isGguf(model) ? (await ggufFolder(model))[name] : undefined;
  if (found) return found;
  const pieces = name === 'tokenizer.json' ? await sentencePieceFile(model) : undefined;
  return pieces === undefined ? readJsonFile(join(model, name)) : readSentencePieceJson(model, pieces);
}

/**
 * The weights of a model, which its config.json may say are packed; close them when done. Errors: those of
 * the files, and of `saysPacked`.
 */
export function openWeights(model: string, json: JsonObject = {}): Promise<WeightsSource> {
  if (isGguf(model)) return GgufWeights.open(model);
  const packed = saysPacked(json, join(model, 'config.json'));
  if (packed === nf4Method) return Nf4Weights.open(model);
  if (packed === int8Format) return Int8Weights.open(model);
  if (packed === sparseFormat) return SparseWeights.open(model);
  return packed ? CompressedWeights.open(model) : SavedWeights.open(model);
}
