/** Bytes for people, from KiB to EiB: `showBytes(2 ** 34)` is 16.0 GiB. */
export function showBytes(bytes: number): string {
  const units = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
  const power = Math.min(units.length, Math.max(1, Math.floor(Math.log2(Math.max(1, bytes)) / 10)));
  const value = bytes / 1024 ** power;
  return `${value < 1e6 ? value.toFixed(1) : value.toExponential(1)} ${units[power - 1]}`;
}

/** A place that holds so many bytes, as errors name it: "this machine has". */
export interface Room {
  readonly name: string;
  readonly bytes: number;
}

const inNode = typeof process !== 'undefined';
const physical = (inNode && process.getBuiltinModule?.('node:os').totalmem()) || Infinity;
const allowed = Math.min(physical, (inNode && process.constrainedMemory?.()) || Infinity);

/** The memory of this machine, less where the process is held to less; no bound where nobody tells. */
export const machineRoom: Room = { name: 'this machine has', bytes: allowed };

/** The memory of a graphics processor, which WebGPU does not tell: at most four times the machine's. */
export const graphicsRoom: Room = { name: 'a device of this machine has at most', bytes: 4 * physical };

/**
 * Says, where bytes are needed that are not there, how many: the line of every such error. `tooLarge('zeros',
 * 2 ** 50, machineRoom, 'use less')` is "zeros needs 1.0 PiB, this machine has 16.0 GiB; use less".
 */
export function tooLarge(what: string, bytes: number, { name, bytes: there }: Room, mend: string): string {
  return `${what} needs ${showBytes(bytes)}, ${name} ${showBytes(there)}; ${mend}`;
}
