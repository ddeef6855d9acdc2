import { mul, reshape, transpose } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { showValue } from '../names.ts';
import { Conv1D } from '../nn/conv1d.ts';
import { Embedding } from '../nn/embedding.ts';
import { onesInit, parameter } from '../parameter.ts';
import type { IA3Config } from './config.ts';
import { as } from './layer-adapter.ts';
import type { LayerAdapter } from './layer-adapter.ts';
import { selects } from './targets.ts';
import type { BaseModel, Target } from './targets.ts';

interface Usual {
  readonly targets: readonly string[];
  readonly feedforward: readonly string[];
}
const usual = (targets: string, feedforward: string): Usual => ({
  targets: [...targets.split(' '), feedforward],
  feedforward: [feedforward],
});

/** Layers that PEFT adapts where nothing else is said, by model_type. */
const usualLayers: Readonly<Record<string, Usual>> = {
  bart: usual('q_proj v_proj', 'fc2'),
  bert: usual('key value', 'output.dense'),
  'deberta-v2': usual('key_proj value_proj', 'output.dense'),
  gemma2: usual('q_proj v_proj', 'down_proj'),
  gemma3_text: usual('q_proj v_proj', 'down_proj'),
  gpt2: usual('c_attn', 'mlp.c_proj'),
  gpt_neox: usual('query_key_value', 'dense_4h_to_h'),
  llama: usual('k_proj v_proj', 'down_proj'),
  mistral: usual('k_proj v_proj', 'down_proj'),
  opt: usual('q_proj k_proj', 'fc2'),
  qwen2: usual('q_proj v_proj', 'down_proj'),
  qwen3: usual('q_proj v_proj', 'down_proj'),
  roberta: usual('key value', 'output.dense'),
  t5: usual('k v', 'wo'),
};

/** The settings with the layers that are usual for the model where they name none. Error: none are usual. */
export function settleIA3(config: IA3Config, { config: { modelType } }: BaseModel): IA3Config {
  const known = usualLayers[modelType];
  const { targetModules = null, feedforwardModules = null } = config;
  const missing = targetModules === null ? 'targetModules' : 'feedforwardModules';
  if (!known && (targetModules === null || feedforwardModules === null))
    throw new Error(
      `adapter: ${missing} is missing, and no layers are usual for model_type ${showValue(modelType)}; give names ` +
        'of layers, and under feedforwardModules those of them whose input is multiplied, [] for none',
    );
  return Object.freeze({
    ...config,
    targetModules: targetModules ?? [...known!.targets].sort(),
    feedforwardModules: feedforwardModules ?? [...known!.feedforward],
  });
}

/** Factors for a layer: of its outputs, [out, 1], or of its inputs, [1, in], as PEFT has them. */
export function ia3Layer({ path, layer }: Target, { feedforwardModules: names }: IA3Config): LayerAdapter {
  if (layer instanceof Embedding)
    throw new Error(`adapter: ${path} is a table of embeddings; IA3 goes on linear layers, leave it out`);
  const isTransposed = layer instanceof Conv1D; // weight [in, out]
  const [out, into] = isTransposed ? [layer.weight.shape[1]!, layer.weight.shape[0]!] : layer.weight.shape;
  const isOfInput = typeof names === 'string' ? selects(names, path) : names!.some((name) => path.endsWith(name));
  const factors = parameter(isOfInput ? [1, into!] : [out!, 1], onesInit);
  const scaled = (x: Tensor): Tensor => mul(x, as(x, reshape(factors, [-1])));
  return {
    path,
    layer,
    parameters: [['ia3_l', factors]],
    ...(isOfInput ? { before: scaled } : { after: scaled }),
    merged: (name, before) => {
      if (name === 'bias') return isOfInput ? undefined : scaled(before);
      return mul(before, as(before, isTransposed ? transpose(factors) : factors));
    },
  };
}
