import { manualSeed } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import {
  BartForConditionalGeneration,
  Gemma2ForCausalLM,
  Gemma3ForCausalLM,
  GPT2LMHeadModel,
  GPTNeoXForCausalLM,
  LlamaForCausalLM,
  MarianMTModel,
  MBartForConditionalGeneration,
  MistralForCausalLM,
  Olmo2ForCausalLM,
  OPTForCausalLM,
  PegasusForConditionalGeneration,
  Phi3ForCausalLM,
  Qwen2ForCausalLM,
  Qwen3ForCausalLM,
  SmolLM3ForCausalLM,
  T5ForConditionalGeneration,
} from '../../models/index.ts';
import type { CausalLM } from '../../models/transformer/causal-lm.ts';
import type { Seq2SeqLM } from '../../models/transformer/seq2seq.ts';

export type RandomGenerator = CausalLM | Seq2SeqLM;

/** Random choices of one seed. */
export class Choices {
  readonly random: Random;

  constructor(seed: number, stream = 0) {
    this.random = new Random(seed, stream);
  }

  of<T>(list: readonly T[]): T {
    return list[this.random.int(list.length)]!;
  }

  /** A whole number, both bounds among them. */
  between(least: number, most: number): number {
    return least + this.random.int(most - least + 1);
  }

  /** Whether something with this probability happens. */
  chance(probability: number): boolean {
    return this.random.uniform() < probability;
  }

  /** A value, or with this probability another one. */
  maybe<T>(probability: number, other: () => T, usual: T): T {
    return this.chance(probability) ? other() : usual;
  }
}

interface Sizes {
  readonly vocabSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly headDim: number;
  readonly width: number;
  readonly inner: number;
  readonly positions: number;
  readonly ends: readonly number[] | number | null;
}

/** A generator of random sizes and settings, and what was drawn, to be read. */
export interface DrawnModel {
  readonly model: RandomGenerator;
  readonly text: string;
  readonly vocabSize: number;
  /** Tokens that a text may have. */
  readonly positions: number;
  readonly isSeq2Seq: boolean;
}

/** First weights so large that attention and tokens differ much from each other. */
const deviation = 0.3;

const special = { bosTokenId: null, padTokenId: null, eosTokenId: null };

/** Scaled rotary positions; the settings of layers without any are null. */
function scaling(choices: Choices, { headDim, positions }: Sizes): object | null {
  const half = headDim / 2;
  const factors = (base: number): number[] => Array.from({ length: half }, (_, i) => base + i / 8);
  return choices.maybe<object | null>(
    0.5,
    () =>
      choices.of([
        { ropeType: 'linear', factor: 2 },
        { ropeType: 'dynamic', factor: 2 },
        { ropeType: 'yarn', factor: 4, originalMaxPositionEmbeddings: Math.ceil(positions / 4) },
        {
          ropeType: 'llama3',
          factor: 8,
          lowFreqFactor: 1,
          highFreqFactor: 4,
          originalMaxPositionEmbeddings: Math.ceil(positions / 8),
        },
        {
          ropeType: 'longrope',
          shortFactor: factors(1),
          longFactor: factors(2),
          factor: 4,
          originalMaxPositionEmbeddings: Math.ceil(positions / 4),
        },
      ]),
    null,
  );
}

type Make = (choices: Choices, sizes: Sizes) => RandomGenerator;

/** Settings that all decoders with rotary positions have. */
function rotary(choices: Choices, sizes: Sizes) {
  const { vocabSize, layers, heads, width, inner, positions } = sizes;
  const divisors = Array.from({ length: heads }, (_, i) => i + 1).filter((count) => heads % count === 0);
  return {
    vocabSize,
    hiddenSize: width,
    intermediateSize: inner,
    numHiddenLayers: layers,
    numAttentionHeads: heads,
    numKeyValueHeads: choices.of(divisors),
    maxPositionEmbeddings: positions,
    initializerRange: deviation,
    tieWordEmbeddings: choices.chance(0.5),
    ...special,
    eosTokenId: sizes.ends as number | null,
  };
}

const bart = (choices: Choices, { vocabSize, layers, heads, width, inner, positions, ends }: Sizes) => ({
  vocabSize,
  dModel: width,
  encoderLayers: choices.between(1, 2),
  decoderLayers: layers,
  encoderAttentionHeads: heads,
  decoderAttentionHeads: heads,
  encoderFfnDim: inner,
  decoderFfnDim: inner,
  maxPositionEmbeddings: positions,
  initStd: deviation,
  scaleEmbedding: choices.chance(0.5),
  bosTokenId: null,
  padTokenId: 1,
  decoderStartTokenId: 2,
  eosTokenId: ends as number | null,
});

const window = (choices: Choices): number => choices.between(2, 12);

/** Every family that generates. Widths are multiples of the heads' size. */
const families: Readonly<Record<string, Make>> = {
  gpt2: (choices, { vocabSize, layers, heads, width, inner, positions, ends }) =>
    GPT2LMHeadModel.fromConfig({
      vocabSize,
      nPositions: positions,
      nEmbd: width,
      nLayer: layers,
      nHead: heads,
      nInner: inner,
      scaleAttnByInverseLayerIdx: choices.chance(0.3),
      initializerRange: deviation,
      ...special,
      eosTokenId: ends as number | null,
    }),
  llama: (choices, sizes) =>
    LlamaForCausalLM.fromConfig({
      ...rotary(choices, sizes),
      headDim: sizes.headDim,
      attentionBias: choices.chance(0.5),
      mlpBias: choices.chance(0.3),
      ropeScaling: scaling(choices, sizes) as null,
    }),
  mistral: (choices, sizes) =>
    MistralForCausalLM.fromConfig({
      ...rotary(choices, sizes),
      headDim: sizes.headDim,
      slidingWindow: window(choices),
    }),
  qwen2: (choices, sizes) =>
    Qwen2ForCausalLM.fromConfig({
      ...rotary(choices, sizes),
      headDim: sizes.headDim,
      useSlidingWindow: choices.chance(0.5),
      slidingWindow: window(choices),
      maxWindowLayers: choices.between(0, 1),
      ropeScaling: scaling(choices, sizes) as null,
    }),
  qwen3: (choices, sizes) =>
    Qwen3ForCausalLM.fromConfig({
      ...rotary(choices, sizes),
      headDim: sizes.headDim,
      ropeScaling: scaling(choices, sizes) as null,
    }),
  smollm3: (choices, sizes) =>
    SmolLM3ForCausalLM.fromConfig({
      ...rotary(choices, sizes),
      headDim: sizes.headDim,
      noRopeLayerInterval: 2,
      useSlidingWindow: choices.chance(0.5),
      slidingWindow: window(choices),
    }),
  gemma2: (choices, sizes) =>
    Gemma2ForCausalLM.fromConfig({
      ...rotary(choices, sizes),
      headDim: sizes.headDim,
      queryPreAttnScalar: choices.of([4, sizes.headDim]),
      slidingWindow: window(choices),
      attnLogitSoftcapping: choices.of([null, 5]),
      finalLogitSoftcapping: choices.of([null, 10]),
    }),
  gemma3: (choices, sizes) =>
    Gemma3ForCausalLM.fromConfig({
      ...rotary(choices, sizes),
      headDim: sizes.headDim,
      queryPreAttnScalar: sizes.headDim,
      slidingWindow: window(choices),
      slidingWindowPattern: 2,
    }),
  'gpt-neox': (choices, sizes) => {
    const { numKeyValueHeads: _, ...rest } = rotary(choices, sizes);
    return GPTNeoXForCausalLM.fromConfig({
      ...rest,
      hiddenSize: sizes.heads * sizes.headDim,
      partialRotaryFactor: choices.of([0.5, 1]),
      useParallelResidual: choices.chance(0.5),
    });
  },
  olmo2: (choices, sizes) =>
    Olmo2ForCausalLM.fromConfig({ ...rotary(choices, sizes), hiddenSize: sizes.heads * sizes.headDim }),
  opt: (choices, { vocabSize, layers, heads, headDim, inner, positions, ends }) =>
    OPTForCausalLM.fromConfig({
      vocabSize,
      hiddenSize: heads * headDim,
      numHiddenLayers: layers,
      ffnDim: inner,
      maxPositionEmbeddings: positions,
      numAttentionHeads: heads,
      doLayerNormBefore: choices.chance(0.5),
      wordEmbedProjDim: choices.of([null, 12]),
      initStd: deviation,
      ...special,
      eosTokenId: ends as number | null,
    }),
  phi3: (choices, sizes) =>
    Phi3ForCausalLM.fromConfig({
      ...rotary(choices, sizes),
      hiddenSize: sizes.heads * sizes.headDim,
      slidingWindow: choices.of([null, window(choices)]),
    }),
  t5: (choices, { vocabSize, layers, heads, headDim, width, inner, ends }) =>
    T5ForConditionalGeneration.fromConfig({
      vocabSize,
      dModel: width,
      dKv: headDim,
      dFf: inner,
      numLayers: choices.between(1, 2),
      numDecoderLayers: layers,
      numHeads: heads,
      relativeAttentionNumBuckets: 8,
      relativeAttentionMaxDistance: 16,
      feedForwardProj: choices.of(['relu', 'gated-gelu'] as const),
      tieWordEmbeddings: choices.chance(0.5),
      padTokenId: 0,
      decoderStartTokenId: 0,
      eosTokenId: ends as number | null,
    }),
  bart: (choices, sizes) => BartForConditionalGeneration.fromConfig(bart(choices, sizes)),
  mbart: (choices, sizes) => MBartForConditionalGeneration.fromConfig(bart(choices, sizes)),
  marian: (choices, sizes) => MarianMTModel.fromConfig(bart(choices, sizes)),
  pegasus: (choices, sizes) => PegasusForConditionalGeneration.fromConfig(bart(choices, sizes)),
};

const seq2seq = new Set(['t5', 'bart', 'mbart', 'marian', 'pegasus']);

export const generatorFamilies: readonly string[] = Object.keys(families);

/** A model of a family, or of any, with random weights; the same for the same seed. */
export function randomGenerator(seed: number, family?: string): DrawnModel {
  const choices = new Choices(seed, 1);
  const name = family ?? choices.of(generatorFamilies);
  const heads = choices.of([1, 2, 3, 4, 6]);
  const headDim = choices.of([4, 8, 12, 16, 20, 32]);
  const vocabSize = choices.of([17, 32, 50, 97]);
  const sizes: Sizes = {
    vocabSize,
    layers: choices.between(1, 3),
    heads,
    headDim,
    width: heads * choices.of([4, 8, 16]),
    inner: choices.of([8, 24, 33, 64]),
    positions: choices.between(48, 120),
    ends: choices.of([null, choices.between(3, 8)]),
  };
  manualSeed(seed);
  const model = families[name]!(choices, sizes).eval();
  const isSeq2Seq = seq2seq.has(name);
  const { positions } = model.decoder();
  const text = `${name} ${(model as unknown as { configText(): string }).configText().replaceAll(/\s+/g, ' ')}`;
  return { model, text, vocabSize, positions: Math.min(positions, sizes.positions), isSeq2Seq };
}
