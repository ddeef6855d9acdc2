import { excerpt, indent } from './wgsl.ts';

/**
 * A failure of the device or of the work given to it; the message is one line and names the op where it is
 * known.
 */
export class GpuError extends Error {
  override readonly name = 'GpuError';
  /** Where a shader does not compile: the lines around the place, numbered as in the message. */
  readonly wgsl?: string;

  constructor(message: string, wgsl?: string) {
    super(message);
    if (wgsl !== undefined) this.wgsl = wgsl;
  }
}

/** Bytes for people. */
export function mib(bytes: number): string {
  return bytes < 2 ** 20 ? `${(bytes / 2 ** 10).toFixed(1)} KiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

/**
 * Collects what the device reports on its own time (validation and memory errors, loss) so that the next call
 * that touches the device can throw it. Without this a failed dispatch would go unseen and its results be
 * read as zeros.
 */
export class ErrorTrap {
  private failure: GpuError | undefined;
  private readonly sources = new Map<string, string>();

  constructor(device: GPUDevice) {
    device.addEventListener('uncapturederror', (event) => {
      event.preventDefault();
      const error = (event as GPUUncapturedErrorEvent).error;
      this.failure ??= describe(error, this.sources);
    });
    void device.lost.then((info) => {
      this.failure ??= new GpuError(
        info.reason === 'destroyed'
          ? 'the GPU device was destroyed; its tensors are gone, load them again from a checkpoint'
          : `the GPU device was lost (${oneLine(info.message)}); start again from the last checkpoint`,
      );
    });
  }

  /** Remembers the source of a shader, for the error that its compiler may report. */
  compiling(name: string, wgsl: string): void {
    this.sources.set(name, wgsl);
  }

  /** Throws the first failure reported so far. It stays: everything computed since is suspect. */
  check(): void {
    if (this.failure) throw this.failure;
  }
}

/**
 * Dawn appends the label of the pipeline, hence the kernel's name, to the messages of the calls that failed.
 */
function describe(error: GPUError, sources: ReadonlyMap<string, string>): GpuError {
  const kernel = /\[(?:ComputePipeline|BindGroup|ShaderModule|Buffer)[^\]"]*"+([^"]+)"/.exec(error.message)?.[1];
  const where = kernel ? `${kernel}: ` : '';
  const line = Number(/WGSL: :(\d+):\d+/.exec(error.message)?.[1]);
  const source = kernel && line ? sources.get(kernel) : undefined;
  if (error.constructor.name === 'GPUOutOfMemoryError') {
    const mend = 'use a smaller batch or shorter sequences';
    return new GpuError(`${where}the GPU is out of memory (${oneLine(error.message)}); ${mend}`);
  }
  return new GpuError(`${where}${oneLine(error.message)}`, source && excerpt(indent(source), line));
}

function oneLine(text: string): string {
  return text.trim().replace(/\s+/g, ' ');
}
