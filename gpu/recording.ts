import type { BindGroups } from './bind-groups.ts';
import type { Binding } from './buffers.ts';
import type { Dispatch } from './dispatch.ts';
import type { Pipeline, PipelineCache } from './pipelines.ts';

/** A dispatch with everything that running it again needs. */
export interface RecordedStep {
  readonly dispatch: Dispatch;
  readonly pipeline: Pipeline;
  readonly group: GPUBindGroup;
  readonly bindings: readonly Binding[];
}

export interface RecordingInput {
  readonly dispatch: Dispatch;
  readonly bindings: readonly Binding[];
  /** Describes the op, for errors. */
  readonly op?: () => string;
}

/**
 * A list of dispatches that runs again and again on the same buffers: pipelines and bind groups are made
 * once, and a replay costs the host a few calls for each dispatch. Only random draws change from replay to
 * replay.
 */
export class Recording {
  readonly steps: readonly RecordedStep[];

  constructor(pipelines: PipelineCache, groups: BindGroups, inputs: readonly RecordingInput[]) {
    this.steps = inputs.flatMap(({ dispatch: given, bindings, op }) => {
      if (given.grid.includes(0)) return [];
      const pipeline = pipelines.get(given, op);
      const group = groups.get(pipeline, given, bindings);
      // Draws are written into parameters of its own.
      const dispatch = given.draws.length > 0 ? { ...given, params: given.params.slice() } : given;
      return [{ dispatch, pipeline, group, bindings }];
    });
  }

  /**
   * Writes the draws of the next replay: stream numbers, which are relative to the recording's first, count
   * from `first`.
   */
  draw(key: readonly [number, number], first: number): void {
    for (const { dispatch } of this.steps)
      for (const { word, stream } of dispatch.draws) {
        const at = first + stream;
        new Uint32Array(dispatch.params.buffer).set([...key, at >>> 0, Math.floor(at / 2 ** 32)], word);
      }
  }
}
