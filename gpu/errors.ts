import { excerpt, indent } from './wgsl.ts';

/**
 * A failure of the device or of the work given to it; the message is one line and names the op where it is
 * known.
 *
 * @example
 * new GpuError('no adapter').message; // 'no adapter'
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

/**
 * Collects what the device reports on its own time and of no call in particular (memory, loss), so that the
 * next call that touches the device can throw it. Without this a failed dispatch would go unseen and its
 * results be read as zeros. Kernels that do not compile and large buffers that there is no memory for are
 * their op's alone: `guarded` and faults.ts.
 */
export class ErrorTrap {
  private failure: GpuError | undefined;

  constructor(device: GPUDevice) {
    device.addEventListener('uncapturederror', (event) => {
      event.preventDefault();
      const error = (event as GPUUncapturedErrorEvent).error;
      this.failure ??= describe(error);
    });
    void device.lost.then((info) => {
      this.failure ??= new GpuError(
        info.reason === 'destroyed'
          ? 'the GPU device was destroyed; its tensors are gone, load them again from a checkpoint'
          : `the GPU device was lost (${oneLine(info.message)}); start again from the last checkpoint`,
      );
    });
  }

  /** Throws the first failure reported so far. It stays: everything computed since is suspect. */
  check(): void {
    if (this.failure) throw this.failure;
  }
}

/** Calls `make` and returns what it made, with a promise of the error that the device finds in it, if any. */
export function guarded<T>(device: GPUDevice, make: () => T): { made: T; refusal: Promise<GPUError | undefined> } {
  device.pushErrorScope('out-of-memory');
  device.pushErrorScope('internal'); // such as a driver's compiler that gives up
  device.pushErrorScope('validation');
  const made = make();
  const scopes = [device.popErrorScope(), device.popErrorScope(), device.popErrorScope()];
  // A lost device answers no scope; ErrorTrap reports the loss.
  const found = scopes.map((scope) => scope.catch(() => null));
  return { made, refusal: Promise.all(found).then((errors) => errors.find((error) => error !== null) ?? undefined) };
}

/** The error of a kernel that the device refused, with the lines around the place if it has one. */
export function kernelError(name: string, wgsl: string, { message }: { readonly message: string }): GpuError {
  const line = Number(/WGSL: :(\d+):\d+/.exec(message)?.[1]);
  return new GpuError(`${name}: ${oneLine(message)}`, line ? excerpt(indent(wgsl), line) : undefined);
}

/** The error of a buffer that the device refused to the op of that name. */
export function bufferError(op: string, error: GPUError): GpuError {
  return new GpuError(`${op}: ${describe(error).message}`);
}

/** The error of a kernel as that of the op which needed it: `neg of bool [4]: kernel neg: ...`. */
export function errorOf(op: string | undefined, error: GpuError): GpuError {
  return op === undefined ? error : new GpuError(`${op}: kernel ${error.message}`, error.wgsl);
}

/**
 * Dawn appends the label of the pipeline, hence the kernel's name, to the messages of the calls that failed.
 */
function describe(error: GPUError): GpuError {
  const kernel = /\[(?:ComputePipeline|BindGroup|ShaderModule|Buffer)[^\]"]*"+([^"]+)"/.exec(error.message)?.[1];
  const where = kernel ? `${kernel}: ` : '';
  if (error.constructor.name === 'GPUOutOfMemoryError') {
    const mend = 'use a smaller batch or shorter sequences';
    return new GpuError(`${where}the GPU is out of memory (${oneLine(error.message)}); ${mend}`);
  }
  return new GpuError(`${where}${oneLine(error.message)}`);
}

function oneLine(text: string): string {
  return text.trim().replace(/\s+/g, ' ');
}
