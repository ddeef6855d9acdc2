/**
 * A failure of the device or of the work given to it; the message is one line and names the op where it is
 * known.
 */
export class GpuError extends Error {
  override readonly name = 'GpuError';
}

/**
 * Collects what the device reports on its own time (validation and memory errors, loss) so that the next call
 * that touches the device can throw it. Without this a failed dispatch would go unseen and its results be
 * read as zeros.
 */
export class ErrorTrap {
  private failure: GpuError | undefined;
  constructor(device: GPUDevice) {
    device.addEventListener('uncapturederror', (event) => {
      event.preventDefault();
      const error = (event as GPUUncapturedErrorEvent).error;
      this.failure ??= new GpuError(describe(error));
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

/**
 * Dawn appends the label of the pipeline, hence the kernel's name, to the messages of the calls that failed.
 */
function describe(error: GPUError): string {
  const kernel = /\[(?:ComputePipeline|BindGroup|ShaderModule|Buffer)[^\]"]*"([^"]+)"/.exec(error.message)?.[1];
  const where = kernel ? `${kernel}: ` : '';
  if (error.constructor.name === 'GPUOutOfMemoryError') {
    return `${where}the GPU is out of memory (${oneLine(error.message)}); use a smaller batch or shorter sequences`;
  }
  return `${where}${oneLine(error.message)}`;
}

function oneLine(text: string): string {
  return text.trim().replace(/\s+/g, ' ');
}
