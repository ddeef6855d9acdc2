import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { acquire } from '../../gpu/index.ts';
import { scope } from '../../autograd/index.ts';
import * as tf from '../../autograd/index.ts';
import { cases as randomCases } from '../ops/random.ts';
import { compareSample, placeSample, readSamples, runCompiled, runSample } from '../support/op-samples.ts';
import type { Exception, Sample } from '../support/op-samples.ts';

/**
 * Every op against PyTorch on the samples of test/golden/op-samples.json: forward and backward, in immediate
 * mode and compiled. An op that is exported without samples fails the last test.
 */
const test = suite('samples of every op');
const { target } = await acquire();
const samples = readSamples();

/** Where we differ from PyTorch on purpose. */
const exceptions: readonly (Exception & { readonly of: (sample: Sample) => boolean; readonly why: string })[] = [
  {
    of: ({ op, inputs }) => op === 'clamp' && inputs[0]!.values.data.includes(NaN),
    why: 'we pass the gradient of a NaN on',
    skipGradients: true,
  },
  {
    of: ({ op, inputs }) => op === 'klDiv' && inputs[1]!.values.data.includes(0),
    why: "PyTorch's gradient by a target of 0 is NaN, ours finite",
    skipGradients: true,
  },
  {
    of: ({ op, args }) => op === 'cosineSimilarity' && JSON.stringify(args).includes('"eps":4'),
    why: 'PyTorch differentiates norms below eps as if they were not bounded',
    skipGradients: true,
  },
  {
    of: ({ op, inputs, args }) =>
      op === 'variance' &&
      (inputs[0]!.values.data.includes(Infinity) || JSON.stringify(args).includes('"correction":2')),
    why: 'the derivative goes through the mean, where infinities cancel to NaN; PyTorch has infinities',
    skipGradients: true,
  },
  { of: ({ op }) => op === 'crossEntropy', why: 'our losses of f16 logits are f32', output: 'f32' },
];

/** Exports that need no samples, with the reason. */
const without: Readonly<Record<string, readonly string[]>> = {
  'defines, checks, names or applies ops':
    'ShapeError Tensor apply binary checkHolds checkWritable defineFunction defineOp defineView unary'.split(' '),
  'records, runs or differentiates ops; computes nothing itself': (
    'autocast backward checkpoint compile detectAnomaly enableGrad getFloat32MatmulPrecision grad guarded ' +
    'isAutocasting isCapturing isGradEnabled manualSeed noGrad randomState requiresGrad_ scope setAnomalyLabel ' +
    'setFloat32MatmulPrecision setRandomState'
  ).split(' '),
  'opens the device, frees memory, or tells the host something': (
    'autotune ceilings dim emptyCache init knownRange memory numel profile ready resetPeakMemory statistics ' +
    'synchronize'
  ).split(' '),
  'a view of tensors that lie side by side; test/autograd/tensor.test.ts': ['joined'],
  'runs on the host and is awaited; test/autograd/quantize.test.ts': ['dequantize', 'quantize'],
  'reads packed rows, which PyTorch has not; test/ops/quantized.ts': ['quantizedEmbedding'],
};

for (const [op, all] of samples)
  test(`${op}, ${all.length} samples`, async () => {
    using _ = scope();
    const own = all.filter(({ inputs }) => target.f16 || inputs.every(({ dtype }) => dtype !== 'f16'));
    const failures: string[] = [];
    const attempt = async (title: string, check: () => unknown): Promise<void> => {
      try {
        await check();
      } catch (error) {
        failures.push(`${title}: ${(error as Error).message}`);
      }
    };
    const immediate = own.map((sample) => runSample(sample, placeSample(sample)));
    const compiled = runCompiled(own);
    for (const [i, sample] of own.entries()) {
      const exception = exceptions.find(({ of }) => of(sample));
      await attempt(sample.title, () => compareSample(sample, immediate[i]!, exception));
      await attempt(`compiled, ${sample.title}`, () => compareSample(sample, compiled[i]!, exception));
    }
    assert.is(failures.length, 0, failures.join('\n'));
  });

test('every op has samples', () => {
  const exported = new Map(Object.entries(tf).filter(([, value]) => typeof value === 'function')) as Map<
    string,
    unknown
  >;
  const named = [...samples.keys(), ...randomCases.map(({ op }) => op)];
  const covered = new Set(named.map((name) => exported.get(name)));
  const excused = new Set(Object.values(without).flat());
  const missing = [...exported].filter(([name, fn]) => !covered.has(fn) && !excused.has(name)).map(([name]) => name);
  assert.equal(missing, [], 'add samples of these to test/golden/samples_*.py, or name them here with the reason');
  const stale = [...excused].filter((name) => !exported.has(name) || covered.has(exported.get(name)));
  assert.equal(stale, [], 'these are named without need');
});

test.run();
