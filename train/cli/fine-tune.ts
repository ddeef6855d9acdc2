import { manualSeed } from '../../autograd/index.ts';
import {
  CausalLM,
  encoderSizes,
  ia3Config,
  loadTextEncoder,
  loadTextGenerator,
  loraConfig,
  prefixTuningConfig,
  promptTuningConfig,
  quantizations,
} from '../../models/index.ts';
import { shippedModel } from '../../models/io/shipped.ts';
import type {
  AdapterConfig,
  EncodersByHead,
  Head,
  HeadSettings,
  LoraConfig,
  ModelConfig,
  PreTrainedModel,
  Quantization,
  TextEncoder,
  TextGenerator,
} from '../../models/index.ts';
import { scheduleNames } from '../optim/schedules.ts';
import type { FineTuneOptions } from '../trainer/epochs.ts';
import { resumeFlags } from '../trainer/run-state.ts';
import { checkpointingFlag, histogramFlag } from '../trainer/settings.ts';
import { UsageError } from './cli.ts';
import type { Option, Parsed } from './cli.ts';

/** The BERT that comes with the project, see its model card. */
export const shippedBert = (): string => shippedModel('bert-small');

/** The GPT that comes with the project, see its model card. */
export const shippedGpt = (): string => shippedModel('gpt-small');

/** A decoder, its tokenizer, and the options that it recommends. */
export interface TrainableDecoder extends TextGenerator {
  readonly model: CausalLM;
}

/**
 * A decoder to train, by folder, GGUF file or name, or the small GPT; the seed is set first. Error, one line:
 * a model that reads a source and writes another text.
 */
export async function loadDecoder(
  name: string = shippedGpt(),
  seed?: number,
  quantize?: Quantization,
): Promise<TrainableDecoder> {
  if (seed !== undefined) manualSeed(seed);
  const loaded = await loadTextGenerator(name, { quantize });
  const { model } = loaded;
  if (model instanceof CausalLM) return { ...loaded, model };
  throw new Error(`${name} reads a source and writes another text; dialogues need a model that continues texts`);
}

/**
 * The model to fine-tune, of any family with this head, by folder or name, with its tokenizer; the head is
 * new where the folder has none of the kind.
 */
export async function loadToFineTune<H extends Head>(
  name: string | undefined,
  head: H,
  { seed, ...settings }: HeadSettings & { readonly seed: number },
): Promise<TextEncoder<EncodersByHead[H]>> {
  manualSeed(seed);
  const loaded = await loadTextEncoder(name ?? shippedBert(), head, { settings, newHead: true });
  // A decoder finds the end of a text by what rows are filled up with, here and in Transformers.
  const config = loaded.model.config as typeof loaded.model.config & { readonly padTokenId?: number | null };
  const { padTokenId, eosTokenId } = loaded.tokenizer;
  if (config.padTokenId === null)
    loaded.model.config = Object.freeze({ ...config, padTokenId: padTokenId ?? eosTokenId ?? null });
  return loaded;
}

/** A model's class and sizes in a line. */
export function describeModel(model: PreTrainedModel<ModelConfig>): string {
  const { layers, width } = encoderSizes(model.config);
  const parameters = `${(model.numParameters() / 1e6).toFixed(1)} M parameters`;
  return `${model.constructor.name} of ${layers} layer${layers === 1 ? '' : 's'}, ${width} wide, ${parameters}`;
}

/** Training of an adapter, as flags of every script that can. */
export const adapterFlags = {
  lora: { type: 'int', min: 1, help: 'train an adapter of this rank (LoRA) and leave the weights; 8 is usual' },
  peft: {
    type: 'choice',
    choices: ['lora', 'ia3', 'prompt', 'prefix'],
    help:
      'kind of adapter: lora, of rank 8 without --lora; ia3, factors of what layers give; prompt, vectors before ' +
      'each text; prefix, keys and values before it; all but lora for higher rates',
  },
  virtualTokens: { type: 'int', min: 1, help: 'prompt, prefix: how many; default 20' },
  promptText: { type: 'string', help: 'prompt: begins with the vectors of its tokens; default random ones' },
  loraAlpha: {
    type: 'number',
    min: 0,
    help: 'LoRA: the adapter counts this over the rank times; default twice the rank',
  },
  loraDropout: { type: 'number', default: 0, min: 0, max: 1, help: 'LoRA: probability of dropping what it reads' },
  loraInit: {
    type: 'string',
    help: 'LoRA: first values: gaussian; pissa, of the largest singular values of the weights; pissa_niter_4, faster',
  },
  loraTargets: { type: 'string', default: 'all-linear', help: 'LoRA: names of layers, with commas between' },
} as const satisfies Record<string, Option>;

/** The weights beneath an adapter, as a flag (QLoRA). */
export const quantizeFlag = {
  type: 'choice',
  choices: quantizations,
  help: 'with an adapter: the weights stay in 4 or 8 bits, those of a GGUF file (keep), or rounded (QLoRA)',
} as const satisfies Option;

/**
 * Throws where flags of adapters do not fit each other, or weights of few bits are to be trained themselves:
 * before a script touches its folder.
 */
export function checkAdapterFlags(values: AdapterValues & { readonly quantize?: string | undefined }): void {
  adapterOf(values);
  if (values.quantize !== undefined && !isAdapted(values))
    throw new UsageError(
      `--quantize ${values.quantize}: weights of 4 or 8 bits are frozen; give --lora 8 to train an adapter on them`,
    );
}

/** How a model's weights are trained, as flags. */
export const trainingFlags = {
  output: { type: 'path', help: 'folder for model, curves and checkpoints; default runs/ and the name of the data' },
  epochs: { type: 'int', default: 3, min: 1, help: 'passes over the training examples' },
  batchSize: { type: 'int', default: 16, min: 1, help: 'examples a step' },
  learningRate: { type: 'number', min: 0, help: 'default 2e-5 with --model (questions: 3e-5), else 1e-3' },
  weightDecay: { type: 'number', default: 0.01, min: 0, help: 'AdamW; none on biases and LayerNorm' },
  schedule: { type: 'choice', choices: scheduleNames, default: 'linear', help: 'learning-rate schedule' },
  warmupRatio: { type: 'number', default: 0.1, min: 0, max: 1, help: 'share of the steps that warm up' },
  maxGradNorm: { type: 'number', default: 1, min: 0, help: 'clip gradients to this norm; 0 for none' },
  seed: { type: 'int', default: 42, min: 0, help: 'of initialisation, order, dropout and split' },
  saveEvery: { type: 'int', default: 0, min: 0, help: 'steps between checkpoints; 0 for Ctrl-C only' },
  histogramEvery: histogramFlag,
  gradientCheckpointing: checkpointingFlag,
  evaluationsPerEpoch: { type: 'int', default: 1, min: 1, help: 'how often the validation part is looked at' },
  ...resumeFlags,
} as const satisfies Record<string, Option>;

/** How a model is fine-tuned, as flags of every script that does. */
export const fineTuneFlags = {
  dropout: { type: 'number', default: 0.1, min: 0, max: 1, help: 'probability of dropping' },
  ...trainingFlags,
  ...adapterFlags,
} as const satisfies Record<string, Option>;

type AdapterValues = Partial<Parsed<typeof adapterFlags>['values']>;
type Given = Parsed<typeof trainingFlags>['values'] & AdapterValues;

/** Whether the flags ask for an adapter, and not for the weights themselves to be trained. */
export const isAdapted = ({ lora, peft }: AdapterValues): boolean => lora !== undefined || peft !== undefined;

/** The settings of the adapter that the flags ask for, if they do. Error, one line: flags of another kind. */
export function adapterOf(values: AdapterValues): AdapterConfig | undefined {
  if (!isAdapted(values)) {
    const odd = values.virtualTokens !== undefined ? '--virtual-tokens' : '--prompt-text';
    if (values.virtualTokens !== undefined || values.promptText !== undefined)
      throw new UsageError(`${odd} is of an adapter; give --peft prompt, too`);
    return undefined;
  }
  const { lora: r = 8, loraAlpha = 2 * r, loraDropout = 0, loraTargets = 'all-linear', peft = 'lora' } = values;
  const { loraInit } = values;
  const numVirtualTokens = virtualTokensOf(values);
  const { promptText: promptTuningInitText } = values;
  if (promptTuningInitText !== undefined && peft !== 'prompt')
    throw new UsageError(`--prompt-text goes with --peft prompt, not with ${peft}`);
  if (values.virtualTokens !== undefined && numVirtualTokens === 0)
    throw new UsageError(`--virtual-tokens goes with --peft prompt and prefix, not with ${peft}`);
  if (peft === 'lora') {
    const names = loraTargets.split(',').map((name) => name.trim());
    const targetModules = loraTargets === 'all-linear' ? loraTargets : names;
    if (loraInit !== undefined && !/^(gaussian|pissa(_niter_[1-9]\d*)?)$/.test(loraInit))
      throw new UsageError(`--lora-init is ${loraInit}; it is gaussian, pissa, or pissa_niter_ with a number`);
    const init = loraInit === undefined ? {} : { initLoraWeights: loraInit as LoraConfig['initLoraWeights'] };
    return loraConfig({ r, loraAlpha, loraDropout, targetModules, ...init });
  }
  const isOther =
    values.lora !== undefined || values.loraAlpha !== undefined || loraDropout > 0 || loraInit !== undefined;
  if (isOther || loraTargets !== 'all-linear')
    throw new UsageError(`--peft ${peft} has no flags of LoRA; leave --lora and those that begin with it out`);
  if (peft === 'ia3') return ia3Config();
  if (peft === 'prefix') return prefixTuningConfig({ numVirtualTokens });
  const begin = promptTuningInitText === undefined ? {} : { promptTuningInit: 'TEXT' as const, promptTuningInitText };
  return promptTuningConfig({ numVirtualTokens, ...begin });
}

/** How many tokens the adapter that the flags ask for puts before a text: so many fewer are left for it. */
export const virtualTokensOf = ({ peft, virtualTokens = 20 }: AdapterValues): number =>
  peft === 'prompt' || peft === 'prefix' ? virtualTokens : 0;

/** The options for `trainEpochs`, without what else the flags say. */
export function fineTuneOptions(values: Given & { readonly learningRate: number }): FineTuneOptions {
  const { epochs, batchSize, learningRate, weightDecay, schedule, warmupRatio, maxGradNorm, seed } = values;
  const { saveEvery, histogramEvery, evaluationsPerEpoch, gradientCheckpointing = false } = values;
  const adapter = adapterOf(values);
  const options = { epochs, batchSize, learningRate, weightDecay, schedule, warmupRatio, maxGradNorm, seed };
  const looks = { saveEvery, histogramEvery, evaluationsPerEpoch };
  return { ...options, ...looks, gradientCheckpointing, ...(adapter ? { adapter } : {}) };
}
