import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import { grad, scope, tensor } from '../../autograd/index.ts';
import type { Dtype, Tensor } from '../../autograd/index.ts';
import { isFloat } from '../../autograd/tensor.ts';
import { compare } from '../support/op-compare.ts';
import { calls } from '../support/torch-ops.ts';
import type { Attrs } from '../support/torch-ops.ts';

/**
 * Ops against PyTorch's answers in test/golden/torch-ops.json, gradients included; golden_ops.py says what
 * the file holds.
 */
const test = suite('PyTorch semantics');

interface Golden {
  readonly shape: readonly number[];
  readonly dtype: Dtype;
  readonly data: readonly (number | boolean | 'nan' | 'inf' | '-inf')[];
}

interface GoldenCase {
  readonly op: string;
  readonly inputs: readonly (Golden | null)[];
  readonly attrs: Attrs;
  readonly outputs: readonly Golden[];
  readonly grads: readonly (Golden | null)[];
}

const words: Readonly<Record<string, number>> = { nan: NaN, inf: Infinity, '-inf': -Infinity };
const numbers = ({ data }: Golden): number[] =>
  data.map((value) => (typeof value === 'string' ? words[value]! : Number(value)));
const rows = JSON.parse(
  readFileSync(new URL('../golden/torch-ops.json', import.meta.url), 'utf8'),
) as readonly GoldenCase[];

/**
 * Where we differ on purpose, or the comparison cannot hold: a gradient that is not compared, a factor on the
 * tolerance.
 */
const exceptions: readonly {
  readonly of: (row: GoldenCase) => boolean;
  readonly why: string;
  readonly skip?: number;
  readonly loose?: number;
}[] = [
  {
    of: ({ op, attrs }) => op === 'klDiv' && !attrs.logTarget,
    why: "PyTorch's gradient by a target of 0 is NaN, ours finite",
    skip: 1,
  },
  {
    of: ({ op, inputs }) => op === 'clamp' && inputs[0]!.data.includes('nan'),
    why: 'we pass the gradient of a NaN on',
    skip: 0,
  },
  {
    of: ({ op, inputs }) => op === 'var' && inputs[0]!.shape.length === 3,
    why: 'inputs near 1000 are stored with an error of 3e-5',
    loose: 20,
  },
];

rows.forEach((row, i) => {
  const shapes = row.inputs.map((x) => (x ? `[${x.shape.join()}]` : '-')).join(' ');
  test(`case ${i}: ${row.op} ${shapes} ${JSON.stringify(row.attrs)}`, async () => {
    const open = scope();
    try {
      await check(row);
    } finally {
      open[Symbol.dispose]();
    }
  });
});

async function check(row: GoldenCase): Promise<void> {
  const { op, inputs, attrs, outputs, grads } = row;
  const exception = exceptions.find(({ of }) => of(row));
  const loose = exception?.loose ?? 2;
  const call = calls[op];
  if (!call) throw new Error(`test/support/torch-ops.ts does not say how ${op} is called`);
  const x = inputs.map((golden, i) => {
    if (!golden) return undefined;
    const made = tensor(numbers(golden), { shape: golden.shape, dtype: golden.dtype });
    if (grads[i]) made.requiresGrad = true;
    return made;
  });
  const got = [call(x as Tensor[], attrs)].flat() as Tensor[];
  if (got.length !== outputs.length) throw new Error(`${got.length} outputs, PyTorch has ${outputs.length}`);
  for (const [k, y] of got.entries()) {
    const want = outputs[k]!;
    if (y.shape.join() !== want.shape.join())
      throw new Error(`output ${k} has shape [${y.shape.join(', ')}], PyTorch's [${want.shape.join(', ')}]`);
    // The file has 7 digits; some inputs are a thousand times their differences.
    compare(
      `output ${k}`,
      await y.data(),
      { shape: want.shape, data: Float64Array.from(numbers(want)) },
      y.dtype,
      loose,
    );
  }
  const varied = x.flatMap((own, i) => (own && grads[i] && exception?.skip !== i ? [i] : []));
  const roots = got.filter((y) => isFloat(y.dtype) && y.requiresGrad);
  if (varied.length === 0 || roots.length === 0) return;
  const gradOutputs = roots.map((y) =>
    tensor(
      Array.from({ length: y.size }, (_, i) => Math.cos(i)),
      { shape: y.shape },
    ),
  );
  const found = grad(
    roots,
    varied.map((i) => x[i]!),
    { gradOutputs },
  );
  for (const [k, i] of varied.entries()) {
    const want = grads[i]!;
    compare(
      `gradient of input ${i}`,
      await found[k]!.data(),
      { shape: want.shape, data: Float64Array.from(numbers(want)) },
      'f32',
      loose,
    );
  }
}

test.run();
