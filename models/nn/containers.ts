import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import type { Member } from '../module.ts';

/**
 * Modules in a list: their keys are their numbers.
 *
 * @example
 * const layers = new ModuleList([new Linear(4, 8), new Linear(8, 2)]);
 * layers.at(0)?.forward(zeros(1, 4)).shape; // [1, 8]
 */
export class ModuleList<M extends Module = Module> extends Module implements Iterable<M> {
  readonly items: M[];

  constructor(items: Iterable<M> = []) {
    super();
    this.items = [...items];
    const odd = this.items.findIndex((item) => !(item instanceof Module));
    if (odd !== -1) throw new Error(`${new.target.name}: item ${odd} is no Module`);
  }

  protected override members(): [string, Member][] {
    return this.items.map((item, i) => [String(i), item]);
  }

  get length(): number {
    return this.items.length;
  }

  /** The index-th module; negative indices count from the end. */
  at(index: number): M {
    const item = this.items.at(index);
    if (!item) throw new RangeError(`ModuleList: index ${index} is out of range for ${this.length} modules`);
    return item;
  }

  append(item: M): this {
    this.items.push(item);
    return this;
  }

  [Symbol.iterator](): Iterator<M> {
    return this.items[Symbol.iterator]();
  }
}

/** A module from one tensor to one tensor. */
export type Layer = Module & { forward(x: Tensor): Tensor };

/**
 * Modules applied one after the other.
 *
 * @example
 * const model = new Sequential(new Linear(4, 8), new Activation('relu'), new Linear(8, 2));
 * model.forward(zeros(3, 4)).shape; // [3, 2]
 */
export class Sequential extends ModuleList<Layer> {
  constructor(...layers: Layer[]) {
    super(layers);
  }

  override forward(x: Tensor): Tensor {
    for (const layer of this.items) x = layer.forward(x);
    return x;
  }
}
