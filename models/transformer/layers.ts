import { add, checkpoint } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { hookPoint, inBlock } from '../hooks/points.ts';
import type { Module } from '../module.ts';
import type { Attended } from '../nn/attend.ts';
import type { TokenInputs } from './inputs.ts';
import type { DecoderOutput } from './outputs.ts';
import { stagedLayers } from './stage.ts';

/** The output of a layer, with the attention weights where they were asked for. */
export interface LayerOutput extends Attended {
  /** Of attention to an encoder's output, (B, H, T, S). */
  readonly crossWeights?: Tensor;
}

export interface LayersOptions<L> extends Pick<TokenInputs, 'outputHiddenStates' | 'outputAttentions'> {
  /** Runs one layer on x (B, T, D). */
  readonly run: (layer: L, x: Tensor, outputWeights: boolean, index: number) => LayerOutput;
  /** Normalises the last layer's output, which then takes its place among the hidden states too. */
  readonly norm?: (x: Tensor) => Tensor;
  /** What the names of the layers' hook points begin with; default blocks. */
  readonly stack?: 'blocks' | 'encoder' | 'decoder';
}

/** Adds what a part of a layer made to the residual stream (B, T, D). */
export type Join = (residual: Tensor, made: Tensor) => Tensor;

/** x (B, T, D) and what attention makes of it: the residual stream in the middle of a pre-LN layer. */
export const addAttention: Join = (x, attended) =>
  hookPoint('hook_resid_mid', add(x, hookPoint('hook_attn_out', attended)));

/** The same of attention to an encoder's output. */
export const addCrossAttention: Join = (x, attended) =>
  hookPoint('hook_resid_mid_cross', add(x, hookPoint('hook_cross_attn_out', attended)));

/** That and what the feed-forward part makes of it: the residual stream at the end of a pre-LN layer. */
export const addFeedForward: Join = (x, made) => hookPoint('hook_resid_post', add(x, hookPoint('hook_mlp_out', made)));

/** The layers of a Transformer, one after the other, on x (B, T, D), keeping what was asked for. */
export function runLayers<L extends Pick<Module, 'training' | 'gradientCheckpointing'>>(
  given: Tensor,
  layers: readonly L[],
  options: LayersOptions<L>,
): DecoderOutput {
  const { run, norm, outputHiddenStates = false, outputAttentions = false, stack = 'blocks' } = options;
  const { own, end, ...staged } = stagedLayers(given, layers);
  let { x } = staged;
  const states = [x]; // (B, T, D) each
  const made: LayerOutput[] = [];
  for (const [i, layer] of own) {
    const before = x;
    const compute = (): LayerOutput => run(layer, hookPoint('hook_resid_pre', before), outputAttentions, i);
    const isKept = !(layer.training && layer.gradientCheckpointing);
    const output = inBlock(`${stack}.${i}`, () => (isKept ? compute() : checkpoint(compute)));
    x = output.hidden; // (B, T, D)
    if (outputHiddenStates) states.push(x);
    if (outputAttentions) made.push(output);
  }
  x = end(x);
  const lastHiddenState = norm ? norm(x) : x; // (B, T, D)
  const crossAttentions = made.flatMap(({ crossWeights }) => crossWeights ?? []);
  return {
    lastHiddenState,
    ...(outputHiddenStates ? { hiddenStates: [...states.slice(0, -1), lastHiddenState] } : {}),
    ...(outputAttentions ? { attentions: made.flatMap(({ weights }) => weights ?? []) } : {}),
    ...(crossAttentions.length > 0 ? { crossAttentions } : {}),
  };
}
