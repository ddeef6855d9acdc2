import { compile, manualSeed, noGrad, scope } from '../../autograd/index.ts';
import type { Dtype, Tensor } from '../../autograd/index.ts';
import { alignTable } from '../../common/text-table.ts';
import { Tally } from './faults.ts';
import type { FaultOutcome } from './faults.ts';
import { filesBelow } from './files.ts';
import { compare } from './op-compare.ts';
import type { InputSpec, OpCase, OpCases } from './op-case.ts';
import { elementsOf, place, randomOf } from './op-inputs.ts';
import { titleOf } from './op-driver.ts';
import type { Nd } from './nd.ts';

/**
 * Every op on every element type and size class. The cases of test/ops say how an op is called and what it
 * computes; here their numbers get each type in turn, and those of one shape each size. An op either gives
 * what its reference gives, or refuses in one line when it is called. Anything else is a failure.
 */

const dtypes: readonly Dtype[] = ['f32', 'f16', 'i32', 'u32', 'bool'];
/** Files whose ops also take given integers (places, lengths, packed weights), or numbers that f16 holds. */
const withOthers = /\/(update|write-cache|random|quantized|autocast|decode-attention)\.ts$/;
/** Odd, a multiple of 4, one element, matrices with and without rows of fours, empty, scalar. */
const sizeClasses = [[7], [8], [1], [3, 5], [4, 8], [0], [2, 0], []];
/** Files whose references take every size: those of one number each, and those of vectors. */
const anySize = /\/(unary|binary)\.ts$/;
const anyVector = /\/(reduce|rows|losses)\.ts$/;
/** Cases about types themselves. */
const skipped = /^test\/ops\/types\.ts$/;
/** Factor on the tolerance above which a case says that its products are f16, see test/ops/autocast.ts. */
const halfProducts = 100;

/** How a case is run: as it is called, from inputs inside larger arrays, or compiled and replayed. */
type Way = 'plain' | 'inner' | 'compiled';

export interface TableOutcome extends FaultOutcome {
  /** By op and type, such as `softmax i32`. */
  readonly cells: ReadonlyMap<string, { equal: number; refused: number }>;
}

/** Runs the table, or with `short` a sample: every op and type, fewer sizes, not compiled. */
export async function runOpTable({ short }: { readonly short: boolean }): Promise<TableOutcome> {
  const cells = new Map<string, { equal: number; refused: number }>();
  const tally = new Tally();
  for (const file of filesBelow('test/ops', '.ts').filter((own) => !skipped.test(own))) {
    const { cases } = (await import(`../../${file}`)) as OpCases;
    for (const c of variants(file, cases, short)) {
      for (const dtype of dtypes) {
        const typed = withType(c, dtype);
        if (!typed) continue;
        for (const way of (short ? ['plain'] : ['plain', 'inner', 'compiled']) as readonly Way[]) {
          if ((way === 'inner' && c.strided === false) || (way === 'compiled' && c.compiled === false)) continue;
          const key = `${c.op} ${dtype}`;
          const cell = cells.get(key) ?? { equal: 0, refused: 0 };
          cells.set(key, cell);
          await tally.try(`${titleOf(typed)}, ${dtype}, ${way}`, async () => {
            cell[await outcomeOf(typed, way, dtype)]++;
          });
        }
      }
    }
  }
  return { cells, ...tally.outcome() };
}

/** The cases with numbers to vary; those whose reference takes vectors of any length in each size class. */
function variants(file: string, cases: readonly OpCase[], short: boolean): OpCase[] {
  const seen = new Set<string>();
  return cases.flatMap((c) => {
    const isPlain = c.inputs.every(({ values, dtype }) => !values && dtype === 'f32');
    if (!(isPlain || withOthers.test(file)) || (c.loose ?? 1) > (withOthers.test(file) ? Infinity : 10)) return [];
    const shape = c.inputs[0]?.shape ?? [];
    const isVector = shape.length === 1 && shape[0]! > 1 && c.inputs.every((x) => x.shape.join() === shape.join());
    const key = `${c.op} ${c.note ?? ''}`;
    if (short && seen.has(key)) return [];
    seen.add(key);
    const known = anySize.test(file) ? sizeClasses : anyVector.test(file) ? sizeClasses.slice(0, 3) : [];
    if (!isVector || known.length === 0) return [c];
    const sizes = short ? known.slice(0, 2) : known;
    return sizes.map((size) => ({ ...c, inputs: c.inputs.map((x) => ({ ...x, shape: size })) }));
  });
}

/**
 * The case with numbers of a type, whole ones of the range for integers; undefined where it has none. Inputs
 * of another type than f32 stay.
 */
function withType(c: OpCase, dtype: Dtype): OpCase | undefined {
  if (dtype === 'f32') return c;
  if (!c.inputs.some((spec) => spec.dtype === 'f32')) return undefined;
  const inputs = c.inputs.map((spec): InputSpec => {
    if (spec.dtype !== 'f32') return spec;
    if (spec.values) return { ...spec, dtype, values: spec.values.map((value) => whole(value, dtype)) };
    const [low, high] = spec.range ?? [-2, 2];
    if (dtype === 'f16') return { ...spec, dtype };
    if (dtype === 'bool') return { ...spec, dtype, range: [0, 1] };
    return {
      ...spec,
      dtype,
      range: [Math.max(Math.ceil(low), dtype === 'u32' ? 0 : -4), Math.min(Math.floor(high), 5)],
    };
  });
  const fits = inputs.every(({ range }) => !range || range[0]! <= range[1]!);
  const isHalf = dtype !== 'f16' || inputs.every(({ range }) => !range || Math.max(...range.map(Math.abs)) <= 10);
  return fits && isHalf ? { ...c, inputs } : undefined;
}

/** The number of a type that is next to a given one. */
function whole(value: number, dtype: Dtype): number {
  if (dtype === 'f16') return value;
  return dtype === 'i32' ? Math.round(value) : dtype === 'bool' ? Number(value > 0) : Math.round(Math.abs(value));
}

async function outcomeOf(c: OpCase, way: Way, dtype: Dtype): Promise<'equal' | 'refused'> {
  using _ = scope();
  const random = randomOf(titleOf(c));
  const elements = c.inputs.map((spec) => elementsOf(spec, random));
  let results: readonly Tensor[];
  try {
    const inputs = elements.map((x, i) => place(x, c.inputs[i]!.dtype, way === 'inner' ? 'inner' : 'plain'));
    results = resultsOf(c, inputs, way === 'compiled');
  } catch (error) {
    const { message } = error as Error;
    if (message.includes('\n') || !/^\w+: /.test(message)) throw new Error(`refused by "${message}"`, { cause: error });
    return 'refused';
  }
  const wanted = [c.ref(...elements)].flat() as Nd[];
  for (const [k, y] of results.entries()) {
    const want = wanted[k]!;
    if (y.shape.join() !== want.shape.join())
      throw new Error(`output has shape [${y.shape.join(', ')}], want [${want.shape.join(', ')}]`);
    // Ops that are composed of others round f16 between them.
    const { loose: own = 1 } = c;
    const loose = dtype === 'f16' ? 8 * (own > halfProducts ? 1 : own) : own;
    compare(
      'output',
      await y.data(),
      { ...want, data: want.data.map((value) => stored(value, y.dtype)) },
      y.dtype,
      loose,
    );
  }
  return 'equal';
}

function resultsOf(c: OpCase, inputs: readonly Tensor[], compiled: boolean): readonly Tensor[] {
  const run = (given: readonly Tensor[]): readonly Tensor[] => [noGrad(() => c.run(...given))].flat() as Tensor[];
  const again = (call: typeof run): readonly Tensor[] => {
    if (c.seed !== undefined) manualSeed(c.seed);
    return call(inputs);
  };
  if (!compiled) return again(run);
  const step = compile(run, { name: titleOf(c) });
  again(step);
  return again(step); // replays
}

/** What a result becomes in an integer type: bool is whether it is not 0, others wrap. */
function stored(value: number, dtype: Dtype): number {
  if (dtype === 'bool') return Number(value !== 0);
  if (dtype === 'i32') return value | 0;
  return dtype === 'u32' ? value >>> 0 : value;
}

/** One line for an op, one column for a type: how often equal, how often refused. */
export function printOpTable({ cells }: TableOutcome): string {
  const names = [...new Set([...cells.keys()].map((key) => key.split(' ')[0]!))].sort();
  const cell = (op: string, dtype: Dtype): string => {
    const { equal = 0, refused = 0 } = cells.get(`${op} ${dtype}`) ?? {};
    if (equal + refused === 0) return '-';
    return [equal > 0 ? `${equal} equal` : '', refused > 0 ? `${refused} refused` : ''].filter(Boolean).join(', ');
  };
  return alignTable(
    ['op', ...dtypes],
    names.map((op) => [op, ...dtypes.map((dtype) => cell(op, dtype))]),
    new Set(),
  );
}
