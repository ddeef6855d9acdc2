/**
 * How frequencies change so that a model reaches further than it was trained: as config.json's `rope_scaling`
 * says.
 */
export type RotaryScaling =
  | { readonly ropeType: 'default' }
  /** Positions are divided by `factor` (Chen et al. 2023). */
  | { readonly ropeType: 'linear'; readonly factor: number }
  /**
   * Long wavelengths are stretched by `factor`, short ones stay, those between are blended (Grattafiori et
   * al. 2024, "The Llama 3 herd of models").
   */
  | {
      readonly ropeType: 'llama3';
      readonly factor: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
      readonly originalMaxPositionEmbeddings: number;
    };

/**
 * Radians that each of the dim / 2 pairs of a head turns from one position to the next: theta^(-2i / dim),
 * scaled.
 */
export function rotaryFrequencies(
  dim: number,
  theta: number,
  scaling: RotaryScaling = { ropeType: 'default' },
): number[] {
  const plain = Array.from({ length: dim / 2 }, (_, i) => theta ** ((-2 * i) / dim));
  if (scaling.ropeType === 'default') return plain;
  const { factor } = scaling;
  if (scaling.ropeType === 'linear') return plain.map((frequency) => frequency / factor);
  const { lowFreqFactor: low, highFreqFactor: high, originalMaxPositionEmbeddings: context } = scaling;
  return plain.map((frequency) => {
    const turns = (context * frequency) / (2 * Math.PI); // over the context of the training
    const kept = Math.min(1, Math.max(0, (turns - low) / (high - low)));
    return (1 - kept) * (frequency / factor) + kept * frequency;
  });
}
