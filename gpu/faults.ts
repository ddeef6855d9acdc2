import type { Access } from './dispatch.ts';
import type { Binding } from './buffers.ts';
import type { GpuError } from './errors.ts';

/** Work that the device may yet refuse, or has refused: dispatches of one kernel, or a buffer. */
export interface Fault {
  /** Undefined while the device has not answered. */
  error: GpuError | undefined;
  readonly answer: Promise<GpuError | undefined>;
  answered: Promise<void>;
}

/**
 * Knows which buffers hold what a refused dispatch should have written, or were computed from it. WebGPU
 * answers later whether a shader compiles, and whether there is memory for a buffer: what is computed
 * meanwhile is marked, and cleared when all is well.
 */
export class Faults {
  private readonly marks = new Map<GPUBuffer, Set<Fault>>();
  /** Not answered, or refused and not told to anyone. */
  private readonly open = new Set<Fault>();
  /** Of buffers that the device has not granted yet, or has refused. */
  private readonly grants = new Map<GPUBuffer, Fault>();

  /** Whether any buffer is marked: false but for the moments after a kernel was compiled. */
  get any(): boolean {
    return this.marks.size > 0 || this.waits;
  }

  /** Whether a buffer is not granted. */
  get waits(): boolean {
    return this.grants.size > 0;
  }

  /** Takes a new buffer, and the device's answer whether there is memory for it. */
  await(buffer: GPUBuffer, answer: Promise<GpuError | undefined>): void {
    this.grants.set(buffer, this.doubt(answer));
    void answer.then((error) => !error && this.grants.delete(buffer));
  }

  /** Whether there was no memory for a buffer. */
  refuses(buffer: GPUBuffer): boolean {
    return this.grants.get(buffer)?.error !== undefined;
  }

  /** Drops what is known of a buffer that is never used again. */
  drop(buffer: GPUBuffer): void {
    this.grants.delete(buffer);
  }

  /**
   * The fault of one of these buffers that is not granted yet: work on it must be submitted by itself. Throws
   * where one was refused.
   */
  ungranted(bindings: readonly Binding[]): Fault | undefined {
    if (!this.waits) return undefined;
    let found: Fault | undefined;
    for (const { buffer } of bindings) {
      const fault = this.grants.get(buffer);
      if (fault?.error) throw fault.error;
      found ??= fault;
    }
    return found;
  }

  /** Begins a fault, which is one until `answer` gives no error. */
  doubt(answer: Promise<GpuError | undefined>): Fault {
    const fault: Fault = { error: undefined, answer, answered: Promise.resolve() };
    fault.answered = answer.then((error) => {
      fault.error = error;
      if (!error) this.clear(fault);
    });
    this.open.add(fault);
    return fault;
  }

  /** Marks what a dispatch writes. */
  taint(fault: Fault, access: readonly Access[], bindings: readonly Binding[]): void {
    bindings.forEach(({ buffer }, i) => {
      if (access[i] !== 'read') this.mark(buffer, [fault]);
    });
  }

  /** Marks what a dispatch writes as what it reads is marked. */
  spread(access: readonly Access[], bindings: readonly Binding[]): void {
    const found = new Set<Fault>();
    for (const { buffer } of bindings) for (const fault of this.of(buffer)) found.add(fault);
    if (found.size === 0) return;
    bindings.forEach(({ buffer }, i) => {
      if (access[i] !== 'read') this.mark(buffer, found);
    });
  }

  /** Marks the target of a copy as its source is marked, and no further. */
  copy(source: GPUBuffer, target: GPUBuffer): void {
    this.forget(target);
    const found = this.of(source);
    if (found.length > 0) this.mark(target, found);
  }

  /** A buffer's contents no longer matter. */
  forget(buffer: GPUBuffer): void {
    this.marks.delete(buffer);
  }

  /** Takes down what a buffer depends on now; the returned function throws the first error among it. */
  watch(buffer: GPUBuffer): () => Promise<void> {
    const found = this.of(buffer);
    return () => this.check(found);
  }

  /** Throws the first of the errors that nobody was told yet; they count as told. */
  checkAll(): Promise<void> {
    return this.check([...this.open]);
  }

  private of(buffer: GPUBuffer): Fault[] {
    const own = this.grants.get(buffer);
    return [...(own ? [own] : []), ...(this.marks.get(buffer) ?? [])];
  }

  private async check(faults: readonly Fault[]): Promise<void> {
    for (const { answered } of faults) await answered;
    for (const fault of faults) this.open.delete(fault);
    const error = faults.find((fault) => fault.error)?.error;
    if (error) throw error;
  }

  private mark(buffer: GPUBuffer, faults: Iterable<Fault>): void {
    let own = this.marks.get(buffer);
    if (!own) this.marks.set(buffer, (own = new Set()));
    for (const fault of faults) own.add(fault);
  }

  private clear(fault: Fault): void {
    this.open.delete(fault);
    for (const [buffer, own] of this.marks) if (own.delete(fault) && own.size === 0) this.marks.delete(buffer);
  }
}
