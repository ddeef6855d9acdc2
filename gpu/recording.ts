import { BindGroups, checkParams, maxParamBytes } from './bind-groups.ts';
import type { Binding } from './buffers.ts';
import type { Dispatch } from './dispatch.ts';
import type { PipelineCache } from './pipelines.ts';

/** A dispatch with everything that running it again needs. */
export interface RecordedStep {
  readonly dispatch: Dispatch;
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly bindings: readonly Binding[];
  /** Where its parameters lie in the recording's uniform buffer. */
  readonly offsets: number[];
}

export interface RecordingInput {
  readonly dispatch: Dispatch;
  readonly bindings: readonly Binding[];
  /** Describes the op, for errors. */
  readonly op?: () => string;
}

/**
 * A list of dispatches that runs again and again on the same buffers: pipelines, bind groups and parameters
 * are made once, and a replay costs the host one call or two for each dispatch. Only random draws change from
 * replay to replay.
 */
export class Recording {
  readonly steps: readonly RecordedStep[];
  private readonly device: GPUDevice;
  private readonly uniforms: GPUBuffer | undefined;
  private readonly words: Uint32Array<ArrayBuffer>;
  private readonly draws: readonly { readonly word: number; readonly stream: number }[];

  constructor(device: GPUDevice, pipelines: PipelineCache, isSoftware: boolean, inputs: readonly RecordingInput[]) {
    this.device = device;
    const packed = packParams(inputs, device.limits.minUniformBufferOffsetAlignment);
    this.words = packed.words;
    this.draws = packed.draws;
    if (packed.words.length > 0) {
      this.uniforms = device.createBuffer({
        label: 'params of a recording',
        size: packed.words.byteLength + maxParamBytes,
        usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
      });
      device.queue.writeBuffer(this.uniforms, 0, packed.words);
    }
    const groups = new BindGroups(device, this.uniforms, isSoftware);
    this.steps = inputs.flatMap(({ dispatch, bindings, op }, i) => {
      if (dispatch.grid.includes(0)) return [];
      const made = pipelines.get(dispatch, op);
      const hasParams = dispatch.params.byteLength > 0;
      const group = groups.get(made, dispatch, bindings);
      return [{ dispatch, pipeline: made.pipeline, group, bindings, offsets: hasParams ? [packed.offsets[i]!] : [] }];
    });
  }

  /** Writes the draws of the next replay: stream numbers count from `first`. */
  draw(key: readonly [number, number], first: number): void {
    if (!this.uniforms || this.draws.length === 0) return;
    let [low, high] = [Infinity, 0];
    for (const { word, stream } of this.draws) {
      const at = first + stream;
      this.words[word] = key[0];
      this.words[word + 1] = key[1];
      this.words[word + 2] = at >>> 0;
      this.words[word + 3] = Math.floor(at / 2 ** 32);
      low = Math.min(low, word);
      high = Math.max(high, word + 4);
    }
    this.device.queue.writeBuffer(this.uniforms, 4 * low, this.words, low, high - low);
  }

  destroy(): void {
    this.uniforms?.destroy();
  }
}

/** All parameters in one array, equal ones once. Draws must be numbered relative to the recording's first. */
function packParams(inputs: readonly RecordingInput[], align: number) {
  const known = new Map<string, number>();
  const offsets: number[] = [];
  const draws: { word: number; stream: number }[] = [];
  const parts: { at: number; params: Uint8Array }[] = [];
  let used = 0;
  for (const { dispatch } of inputs) {
    const { params } = dispatch;
    checkParams(dispatch);
    const key = dispatch.draws.length === 0 ? params.join() : undefined;
    const twin = key === undefined ? undefined : known.get(key);
    if (twin !== undefined) {
      offsets.push(twin);
      continue;
    }
    if (key !== undefined) known.set(key, used);
    offsets.push(used);
    parts.push({ at: used, params });
    for (const { word, stream } of dispatch.draws) draws.push({ word: used / 4 + word, stream });
    used = Math.ceil((used + params.byteLength) / align) * align;
  }
  const bytes = new Uint8Array(Math.ceil(used / 4) * 4);
  for (const { at, params } of parts) bytes.set(params, at);
  return { words: new Uint32Array(bytes.buffer), offsets, draws };
}
