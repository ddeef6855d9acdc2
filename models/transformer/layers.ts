import type { Tensor } from '../../autograd/index.ts';
import type { Attended } from '../nn/attend.ts';
import type { TokenInputs } from './inputs.ts';
import type { DecoderOutput } from './outputs.ts';

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
}

/** The layers of a Transformer, one after the other, on x (B, T, D), keeping what was asked for. */
export function runLayers<L>(x: Tensor, layers: readonly L[], options: LayersOptions<L>): DecoderOutput {
  const { run, norm, outputHiddenStates = false, outputAttentions = false } = options;
  const states = [x]; // (B, T, D) each
  const made: LayerOutput[] = [];
  for (const [i, layer] of layers.entries()) {
    const output = run(layer, x, outputAttentions, i);
    x = output.hidden; // (B, T, D)
    if (outputHiddenStates) states.push(x);
    if (outputAttentions) made.push(output);
  }
  const lastHiddenState = norm ? norm(x) : x; // (B, T, D)
  const crossAttentions = made.flatMap(({ crossWeights }) => crossWeights ?? []);
  return {
    lastHiddenState,
    ...(outputHiddenStates ? { hiddenStates: [...states.slice(0, -1), lastHiddenState] } : {}),
    ...(outputAttentions ? { attentions: made.flatMap(({ weights }) => weights ?? []) } : {}),
    ...(crossAttentions.length > 0 ? { crossAttentions } : {}),
  };
}
