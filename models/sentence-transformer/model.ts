import { add, normalize } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { FileToWrite } from '../../common/atomic-files.ts';
import { isJsonObject } from '../../common/json-file.ts';
import { encoderSizes } from '../auto.ts';
import type { HeadOptions } from '../auto.ts';
import { rowLimits } from '../bert/model.ts';
import type { BertInputs } from '../bert/model.ts';
import { readModelFolder, resolveModelFolder } from '../io/resolve.ts';
import { weightFiles } from '../io/safetensors-writer.ts';
import { SavedWeights } from '../io/saved-weights.ts';
import { checkMatch, matchWeights, readMatches, tensorsToWrite } from '../io/state-dict.ts';
import { Module } from '../module.ts';
import { activations } from '../nn/activation.ts';
import { ModuleList } from '../nn/containers.ts';
import { Linear } from '../nn/linear.ts';
import { computing, loadTextEncoder, readRows, textRows } from '../pipelines/encoder.ts';
import type { EncoderModel } from '../pipelines/encoder.ts';
import type { PreTrainedModel, SaveOptions } from '../pretrained.ts';
import type { ModelConfig } from '../config.ts';
import type { AnyTokenizer } from '../tokenizer/any-tokenizer.ts';
import { layoutFiles, moduleFolder, plainLayout, readLayout } from './layout.ts';
import type { DenseSettings, PoolingSettings, SentenceLayout } from './layout.ts';
import { pool, poolingModes } from './pooling.ts';
import type { PoolingMode } from './pooling.ts';

/** A model from tokens to a vector for each, such as BertModel. */
export type SentenceEncoder = PreTrainedModel<ModelConfig> & {
  forward(inputs: BertInputs): { readonly lastHiddenState: Tensor };
};

export interface EncodeTextsOptions {
  /** Texts at once; default 16. */
  readonly batchSize?: number;
  /** Divide each vector by its length, behind what the model itself does; default false. */
  readonly normalize?: boolean;
  /** The name of the prompt that is put before each text; default the model's default, if it has one. */
  readonly promptName?: string;
  /** The prompt itself. */
  readonly prompt?: string;
  /** Keep so many features of each vector, the first ones, as models trained with `matryoshka` allow. */
  readonly truncateDim?: number;
  /** `own` (default): all that follows the transformer in the folder; else this of the tokens' vectors. */
  readonly pooling?: PoolingMode | 'own';
  /** Cut texts that are longer than the model reads (default); false: they are an error. */
  readonly truncation?: boolean;
  /** Ends the work between two batches with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** activation(linear(x)), with `residual` added to x: sentence-transformers' Dense. */
class Dense extends Module {
  readonly linear: Linear;
  readonly residual: Linear | undefined;
  readonly settings: DenseSettings;

  constructor(settings: DenseSettings) {
    super();
    const { inFeatures, outFeatures, bias, residual } = settings;
    this.settings = settings;
    this.linear = new Linear(inFeatures, outFeatures, { bias });
    this.residual =
      residual && inFeatures !== outFeatures ? new Linear(inFeatures, outFeatures, { bias: false }) : undefined;
  }

  override forward(x: Tensor): Tensor {
    const { activation, residual } = this.settings;
    const projected = this.linear.forward(x); // (B, out)
    const y = activation === undefined ? projected : activations[activation](projected);
    return residual ? add(y, this.residual?.forward(x) ?? x) : y;
  }
}

/** x / |x|. */
class Normalize extends Module {
  override forward(x: Tensor): Tensor {
    return normalize(x, { axis: -1 }); // (B, D)
  }
}

/**
 * A model from texts to one vector each (Reimers and Gurevych 2019): a transformer, a pooling, and what
 * follows. Folders are those of sentence-transformers; its tokenizer is part of it, as there.
 *
 *     const model = await SentenceTransformer.fromPretrained('runs/embeddings');
 *     const [a, b] = await model.encode(['How do I print?', 'Printing'], { normalize: true });
 *
 * @example
 * const model = await SentenceTransformer.fromPretrained('models/pretrained/help-search-small');
 * const [a, b] = await model.encode(['save a document', 'store the file']);
 * a.length; // 128
 */
export class SentenceTransformer extends Module implements EncoderModel {
  readonly encoder: SentenceEncoder;
  readonly head: ModuleList<Dense | Normalize>;
  readonly tokenizer: AnyTokenizer;
  layout: SentenceLayout;

  constructor(encoder: SentenceEncoder, tokenizer: AnyTokenizer, layout: SentenceLayout = plainLayout) {
    super();
    this.encoder = encoder;
    this.tokenizer = tokenizer;
    this.layout = layout;
    const [pooling, ...rest] = layout.modules;
    if (pooling?.kind !== 'Pooling') throw new Error('SentenceTransformer: a Pooling must be its first module');
    let width = encoderSizes(encoder.config).width * pooling.modes.length;
    this.head = new ModuleList(
      rest.map((settings) => {
        if (settings.kind === 'Normalize') return new Normalize();
        if (settings.kind !== 'Dense') throw new Error('SentenceTransformer: it can have one Pooling only');
        if (settings.inFeatures !== width)
          throw new Error(`SentenceTransformer: a Dense takes ${settings.inFeatures} features and is given ${width}`);
        width = settings.outFeatures;
        return new Dense(settings);
      }),
    );
  }

  get config(): SentenceEncoder['config'] {
    return this.encoder.config;
  }

  private get pooling(): PoolingSettings {
    return this.layout.modules[0] as PoolingSettings;
  }

  /** Tokens that a text may have; set it to cut texts earlier. */
  get maxSeqLength(): number {
    const { layout, tokenizer } = this;
    return Math.min(layout.maxSeqLength ?? Infinity, tokenizer.modelMaxLength, rowLimits(this).positions);
  }

  set maxSeqLength(tokens: number) {
    this.layout = { ...this.layout, maxSeqLength: tokens };
  }

  /** Tokens (B, T) to a vector for each text (B, D); the first `skipped` tokens are a prompt's. */
  override forward(inputs: BertInputs, skipped = 0): Tensor {
    const { lastHiddenState } = this.encoder.forward(inputs); // (B, T, D)
    let x = pool(lastHiddenState, inputs.attentionMask!, this.pooling.modes, skipped);
    for (const module of this.head) x = module.forward(x);
    return x;
  }

  /**
   * The vector of each text, as sentence-transformers' `encode` gives it. Errors: a prompt or a pooling that
   * is not there; more features than a vector has; with `truncation: false` a text that is too long.
   */
  async encode(texts: readonly string[], options: EncodeTextsOptions = {}): Promise<Float32Array[]> {
    const { truncation = true, truncateDim, pooling = 'own', normalize: isNormalized = false } = options;
    if (pooling !== 'own' && !poolingModes.includes(pooling))
      throw new Error(`encode: unknown pooling "${String(pooling)}"; use own, ${poolingModes.join(', ')}`);
    if (texts.length === 0) return [];
    const { maxSeqLength: maxLength, layout, tokenizer } = this;
    const prompt = this.promptOf(options);
    const given = texts.map((text) => (layout.doLowerCase ? (prompt + text).toLowerCase() : prompt + text));
    const self = { model: this, tokenizer };
    const rows = textRows(self, given, { truncation, maxLength });
    // Its tokens without the one that ends a text.
    const skipped = prompt === '' || this.pooling.includePrompt ? 0 : textRows(self, [prompt])[0]!.inputIds.length - 1;
    const vectors = await readRows(self, rows, vectorsOf(pooling, skipped), options);
    if (truncateDim === undefined && !isNormalized) return vectors;
    return vectors.map((vector) => {
      if (
        truncateDim !== undefined &&
        !(Number.isInteger(truncateDim) && truncateDim > 0 && truncateDim <= vector.length)
      )
        throw new Error(
          `encode: truncateDim must lie in 1..${vector.length}, the features there are, got ${truncateDim}`,
        );
      const kept = vector.slice(0, truncateDim);
      const norm = isNormalized ? Math.max(Math.hypot(...kept), 1e-12) : 1;
      return kept.map((x) => x / norm);
    });
  }

  private promptOf({ prompt, promptName }: EncodeTextsOptions): string {
    const { prompts, defaultPromptName } = this.layout;
    const name = promptName ?? defaultPromptName;
    if (prompt !== undefined || name === undefined) return prompt ?? '';
    if (!Object.hasOwn(prompts, name))
      throw new Error(`encode: there is no prompt "${name}"; it has ${Object.keys(prompts).join(', ') || 'none'}`);
    return prompts[name]!;
  }

  /**
   * Loads a folder of sentence-transformers, or one of a transformer alone, whose tokens' mean it then takes,
   * as sentence-transformers does. Errors, each one line: those of `loadTextEncoder`, of the layout's files
   * and of the weights of a Dense.
   */
  static async fromPretrained(id: string, options: HeadOptions = {}): Promise<SentenceTransformer> {
    const folder = await resolveModelFolder(id, options);
    const { folders, ...layout } = await readModelFolder(folder, () => readLayout(folder));
    const { model, tokenizer } = await loadTextEncoder(folder, '', options);
    const sentences = new SentenceTransformer(model, tokenizer, layout);
    await sentences.loadHead((i) => folders[i]!);
    sentences.eval();
    return sentences;
  }

  private async loadHead(folderOf: (module: number) => string): Promise<void> {
    for (const [i, module] of [...this.head].entries()) {
      if (!(module instanceof Dense)) continue;
      const folder = folderOf(i + 1);
      const weights = await SavedWeights.open(folder);
      try {
        const match = matchWeights(module, weights, { baseModelPrefix: 'dense' });
        checkMatch(match, folder, 'Dense', () => false, false);
        await readMatches(weights, match.matches);
      } finally {
        await weights.close();
      }
    }
  }

  /** Takes the weights of a folder that this model was saved to. */
  async loadWeights(folder: string): Promise<void> {
    await this.encoder.loadWeights(folder);
    await this.loadHead((i) => moduleFolder(folder, this.layout, i));
  }

  /**
   * Writes a folder that sentence-transformers loads, and Transformers its encoder; see `PreTrainedModel`.
   */
  async savePretrained(folder: string, options: SaveOptions = {}): Promise<void> {
    const { files = [], tokenizer = this.tokenizer, ...rest } = options;
    const weights = [...this.head].flatMap((module, i): FileToWrite[] =>
      module instanceof Dense
        ? weightFiles(moduleFolder(folder, this.layout, i + 1), tensorsToWrite(module, options.dtype), {})
        : [],
    );
    await this.encoder.savePretrained(folder, {
      ...rest,
      tokenizer,
      files: [...layoutFiles(folder, this.layout, encoderSizes(this.config).width), ...weights, ...files],
    });
  }

  /** The text of the encoder's config.json, and the layout. */
  configText(dtype?: 'f16'): string {
    const config: unknown = JSON.parse(this.encoder.configText(dtype));
    const { files: _, ...layout } = this.layout;
    return JSON.stringify({ ...(isJsonObject(config) ? config : {}), sentence_transformer: layout });
  }
}

/** The computations of vectors by pooling and prompt, each compiled once for a model. */
const computations = new Map<string, ReturnType<typeof computing<SentenceTransformer>>>();

function vectorsOf(pooling: PoolingMode | 'own', skipped: number) {
  const name = `encode with the pooling ${pooling}, ${skipped} tokens skipped`;
  let known = computations.get(name);
  if (!known) {
    known = computing(name, (model: SentenceTransformer, batch: BertInputs) =>
      pooling === 'own'
        ? model.forward(batch, skipped)
        : pool(model.encoder.forward(batch).lastHiddenState, batch.attentionMask!, [pooling], skipped),
    );
    computations.set(name, known);
  }
  return known;
}
