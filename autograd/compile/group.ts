import type { Storage } from '../storage.ts';
import type { Entry } from '../op.ts';
import type { Tensor } from '../tensor.ts';

/** Applications that become one kernel (or the kernels of one op, with elementwise work moved into them). */
export class Group {
  /** The op whose kernels the other members join; undefined for elementwise work alone. */
  readonly anchor: Entry | undefined;
  /** Elementwise members after the anchor, in tape order. */
  maps: Entry[] = [];
  /** Elementwise members that make an input of the anchor, by its name. */
  readonly prologues = new Map<string, Entry[]>();
  /** Reasons why others did not join, for `explain`. */
  readonly notes: string[] = [];

  constructor(first: Entry, isMap: boolean) {
    if (isMap) this.maps.push(first);
    this.anchor = isMap ? undefined : first;
  }

  /** Shape that the elementwise members are computed over. */
  get shape(): readonly number[] {
    return (this.anchor ?? this.maps[0]!).outputs[0]?.shape ?? [];
  }

  /** The result of the anchor, from which the elementwise members go on. */
  get carried(): Tensor | undefined {
    return this.anchor?.outputs[0];
  }

  get name(): string {
    const members = [...[...this.prologues.values()].flat(), ...(this.anchor ? [this.anchor] : []), ...this.maps];
    return members.map(({ name }) => name).join('+');
  }
}

export interface Grouping {
  /** In an order in which they can run. */
  readonly groups: readonly Group[];
  /** Results that must be written to memory: something outside of their group reads them. */
  readonly stored: ReadonlySet<Storage>;
}

/** The shape over which elementwise work is computed that moves into an op's loads of x. */
export const loadedShape = ({ op }: Entry, x: Tensor, [first]: readonly Entry[]): readonly number[] =>
  op.fuses?.flat ? first!.outputs[0]!.shape : x.shape;
