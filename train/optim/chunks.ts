import { noGrad, tensor, zeros } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { keepHalfCopy } from '../../autograd/autocast.ts';
import { collectGradients } from '../../autograd/ops/collect.ts';
import { packedQuads, packing } from '../../kernels/multi-tensor/collect.ts';

/**
 * Parameters up to this many elements (biases, norms, small models' weights) move into one buffer: copying
 * their gradients costs next to nothing.
 */
const smallSize = 2 ** 14;
/**
 * Parameters of one chunk, as many as one dispatch takes where 16 buffers can be bound: 2 each, beside
 * control, state and f16 copies.
 */
const pairs = (half: boolean): number => (half ? 6 : 7);
/** Bytes of one chunk's state: the smallest limit of a binding. */
const chunkBytes = 128 * 2 ** 20;

/** Parameters whose state lies in one tensor and that are updated together. */
export class Chunk {
  readonly parameters: readonly Tensor[];
  /** The parameters' numbers in their optimizer. */
  readonly slots: readonly number[];
  /** Where each parameter's elements begin in the state, in quads of one of its arrays. */
  readonly starts: readonly number[];
  /** Quads of one array. */
  readonly quads: number;
  /** [quads, 4 arrays]: a quad of each array, alternately. */
  readonly state: Tensor;
  /** f16 copies [quads, 4] of the parameters. */
  readonly copies: Tensor | undefined;

  constructor(members: readonly Member[], arrays: number, half: boolean) {
    this.parameters = members.map(({ x }) => x);
    this.slots = members.map(({ slot }) => slot);
    let total = 0;
    this.starts = this.parameters.map(({ size }) => (total += packedQuads(size)) - packedQuads(size));
    this.quads = total;
    this.state = zeros([total, 4 * arrays]).keep();
    this.copies = half ? zeros([total, 4], { dtype: 'f16' }).keep() : undefined;
  }

  /** Fills the f16 copies, and lets `autocast` use them. Parameters must not move after this. */
  offerCopies(): this {
    const { copies } = this;
    if (copies) this.parameters.forEach((x, i) => keepHalfCopy(x, copies, 4 * this.starts[i]!));
    return this;
  }
}

/** Small parameters, moved into one buffer so that they take one binding together. */
export class Bundle extends Chunk {
  /** [quads, 4]: the parameters, each from a multiple of 64 quads on, with zeros behind it. */
  readonly packed: Tensor;
  /** i32 [quads / 64]: the number of the parameter that the quads belong to. */
  readonly owners: Tensor;

  constructor(members: readonly Member[], arrays: number, half: boolean) {
    super(members, arrays, half);
    const { parameters, starts, slots } = this;
    this.packed = noGrad(() => collectGradients(parameters, { places: starts, sums: false })).tensor.keep();
    parameters.forEach((x, i) => x.moveInto(this.packed, 4 * starts[i]!));
    const owners = parameters.flatMap(({ size }, i) => new Array<number>(packedQuads(size) / packing).fill(slots[i]!));
    this.owners = tensor(owners, { dtype: 'i32' }).keep();
  }

  override offerCopies(): this {
    if (this.copies) keepHalfCopy(this.packed, this.copies, 0);
    return this;
  }

  /** Another optimizer made later moves the parameters into its own buffer. */
  check(name: string): void {
    if (this.parameters.some(({ storage }) => storage !== this.packed.storage))
      throw new Error(`${name}: a parameter was taken over by an optimizer made later; step that one`);
  }
}

interface Member {
  readonly x: Tensor;
  readonly slot: number;
}

/**
 * Cuts a group of parameters into what is updated together; they are numbered from `first` on. Depends on
 * their shapes alone.
 */
export function arrange(parameters: readonly Tensor[], first: number, arrays: number, half: boolean): readonly Chunk[] {
  const members = parameters.map((x, i) => ({ x, slot: first + i }));
  const isSmall = ({ x }: Member): boolean => x.size > 0 && x.size <= smallSize;
  const small = members.filter(isSmall);
  const bundled = small.length > 1 ? small : [];
  const rest = members.filter((member) => !bundled.includes(member));
  return [
    ...runs(bundled, Infinity, arrays).map((run) => new Bundle(run, arrays, half)),
    ...runs(rest, pairs(half), arrays).map((run) => new Chunk(run, arrays, half)),
  ].map((chunk) => chunk.offerCopies());
}

/** Cuts a list after `most` members or `chunkBytes` of state. */
function runs(members: readonly Member[], most: number, arrays: number): Member[][] {
  const found: Member[][] = [];
  let used = Infinity;
  for (const member of members) {
    const bytes = 16 * arrays * packedQuads(member.x.size);
    if (used + bytes > chunkBytes || found.at(-1)!.length === most) {
      found.push([]);
      used = 0;
    }
    found.at(-1)!.push(member);
    used += bytes;
  }
  return found;
}
