import type { Tensor } from '../../autograd/index.ts';
import type { Module } from '../module.ts';

/** Layers [start, end) of a stack of a model, as one process runs them. */
export interface Stage {
  readonly layers: readonly Module[];
  readonly start: number;
  readonly end: number;
  /** What the layer before `start` gave, (B, T, D); undefined where there is none before it. */
  readonly input: Tensor | undefined;
}

/** Ends a forward pass behind a stage's last layer, with what that gave. */
class StageEnd extends Error {
  readonly output: Tensor;

  constructor(output: Tensor) {
    super('a stage has ended');
    this.output = output;
  }
}

let current: Stage | undefined;

/**
 * Runs a model's forward pass of which only a stage's layers are computed: those before it are skipped, its
 * input in the place of what they would have given; behind it, unless it is the last, the pass ends. Returns
 * what the stage gives to the next, (B, T, D), or for the last one what `forward` returns.
 */
export function runStage(stage: Stage, forward: () => Tensor): Tensor {
  const before = current;
  current = stage;
  try {
    return forward();
  } catch (error) {
    if (error instanceof StageEnd) return error.output;
    throw error;
  } finally {
    current = before;
  }
}

/**
 * The layers of a stack that are to be run, with their numbers, on which x, and what then becomes of the
 * pass.
 */
export function stagedLayers<L>(x: Tensor, layers: readonly L[]) {
  const stage = current;
  const all = [...layers.entries()];
  if (!stage) return { x, own: all, end: (y: Tensor): Tensor => y };
  if ((layers as readonly unknown[]) !== stage.layers)
    throw new Error('pipeline: the model runs another stack of layers than the one that is cut; it cannot be cut so');
  return {
    x: stage.input ?? x,
    own: all.slice(stage.start, stage.end),
    end(y: Tensor): Tensor {
      if (stage.end < layers.length) throw new StageEnd(y);
      return y;
    },
  };
}
