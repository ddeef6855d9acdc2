import { isWhole, elementwiseOf } from './compose.ts';
import { writtenBy } from './dependencies.ts';
import { formOf, namedOf, valuesOf } from '../op.ts';
import type { Entry } from '../op.ts';
import { sameShape } from '../shapes.ts';
import type { Storage } from '../storage.ts';
import type { Tensor } from '../tensor.ts';

/**
 * Gives ops that can add to another tensor what an addition of their result alone adds (`adds` of their
 * record). The gradient of an embedding that is tied to the head is added to that of the head in place, and
 * never exists in full.
 */
export function addOnto(entries: readonly Entry[], wanted: ReadonlySet<Storage>): Entry[] {
  const written = writtenBy(entries);
  const readers = new Map<Storage, number>();
  for (const { inputs } of entries)
    for (const { storage } of inputs) readers.set(storage, (readers.get(storage) ?? 0) + 1);
  const makers = new Map<Storage, Entry>();
  for (const entry of entries) for (const { storage } of entry.outputs) makers.set(storage, entry);

  const replaced = new Map<Entry, Entry>();
  const gone = new Set<Entry>();
  for (const entry of entries) {
    const form = elementwiseOf(entry);
    if (form?.expr.op !== 'add' || form.expr.args.some(({ op }) => op !== 'input') || entry.inputs.length !== 2)
      continue;
    const [first, second] = entry.inputs as [Tensor, Tensor];
    const y = entry.outputs[0]!;
    if (y.dtype !== 'f32') continue; // others would be rounded once in place of twice
    for (const [own, other] of [
      [first, second],
      [second, first],
    ] as const) {
      const maker = makers.get(own.storage);
      const name = maker?.op.adds as string | undefined;
      if (!maker || name === undefined || gone.has(maker) || name in namedOf(maker.inputForm, maker.inputs)) continue;
      // Its result may have been reshaped on the way: the kernel knows the shape that it made.
      const alike = [own, other, maker.outputs[0]!].every((x) => x.dtype === y.dtype && sameShape(x.shape, y.shape));
      const alone = readers.get(own.storage) === 1 && !wanted.has(own.storage) && isWhole(own, y.size);
      if (!alike || !alone || [...maker.inputs, own].some(({ storage }) => written.has(storage))) continue;
      const inputs = { ...namedOf(maker.inputForm, maker.inputs), [name]: other };
      const [list, inputForm] = [valuesOf(inputs), formOf(inputs)];
      replaced.set(entry, { ...maker, inputs: list, inputForm, outputs: [y], region: entry.region });
      gone.add(maker);
      break;
    }
  }
  return entries.flatMap((entry) => (gone.has(entry) ? [] : [replaced.get(entry) ?? entry]));
}
