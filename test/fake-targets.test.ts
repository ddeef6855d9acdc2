import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { gelu, grad, linear, manualSeed, ones, setFloat32MatmulPrecision } from '../autograd/index.ts';
import type { Tensor } from '../autograd/index.ts';
import { lowerTape } from '../autograd/compile/assemble.ts';
import { capture } from '../autograd/compile/capture.ts';
import type { Captured } from '../autograd/compile/capture.ts';
import { withoutDevice } from '../autograd/runtime.ts';
import { isFloat } from '../autograd/tensor.ts';
import { devices } from '../bench/plan/devices.ts';
import { instructionsOf } from '../bench/plan/instructions.ts';
import type { Dispatch, Target } from '../gpu/index.ts';
import { filesBelow } from './support/files.ts';
import { readAndWritten } from './support/storage-races.ts';
import { f32 } from './support/op-case.ts';
import type { OpCase, OpCases } from './support/op-case.ts';
import { titleOf } from './support/op-driver.ts';
import { elementsOf, place, randomOf } from './support/op-inputs.ts';

/**
 * Kernels for devices that are not at hand: every case of every op, forward and gradient, is lowered for each
 * described device, without running, and Dawn checks the WGSL on a device (of its null backend) that has the
 * features of that one and no more.
 */
const test = suite('kernels for other devices');

const phone: Target = {
  ...devices['m3-max'].target,
  maxStorageBuffers: 8,
  bindingLimit: 2 ** 27,
  bindingAlignment: 256,
  workgroupMemory: 16384,
  maxInvocations: 256,
  subgroupSizes: [0, 0],
  subgroupMatrix: [],
};
const targets: Readonly<Record<string, Target>> = {
  'NVIDIA, subgroups of 32': devices.h100.target,
  'AMD, subgroups of 32 and 64': devices.rx7900.target,
  'Apple, subgroups of 4 to 64 that no kernel can choose': devices['m3-max'].target,
  'Intel, subgroups of 8 to 32': devices.arc.target,
  'a phone: 16 KiB of workgroup memory, 8 buffers, bindings of 128 MiB': phone,
  'the same without f16': { ...phone, f16: false },
};

const featuresOf = ({ f16, subgroupSizes, subgroupSizeControl, subgroupMatrix }: Target): string[] => [
  ...(f16 ? ['shader-f16'] : []),
  ...(subgroupSizes[1] > 0 ? ['subgroups'] : []),
  ...(subgroupSizes[1] > 0 && subgroupSizeControl ? ['subgroup-size-control'] : []),
  ...(subgroupMatrix.length > 0 ? ['chromium-experimental-subgroup-matrix'] : []),
];

/**
 * Kernels, by the beginning of their names, and buffers of which a thread reads and writes its own elements
 * alone: logits under their gradient, and sums that a product's last step adds to.
 */
const ownElements: readonly (readonly [kernel: string, buffer: string])[] = [
  ['lossInPlace.', 'x'],
  ['matmul.', 'y_y0'],
];
const isOwn = (kernel: string, buffer: string): boolean =>
  ownElements.some(([begin, name]) => kernel.startsWith(begin) && buffer === name);

const dawn = await import('webgpu');
// Dawn aborts the process when this object is collected.
const instance = dawn.create(['backend=null', 'enable-dawn-features=allow_unsafe_apis']);

async function deviceWith(features: readonly string[]): Promise<GPUDevice> {
  const adapter = await instance.requestAdapter();
  return adapter!.requestDevice({ requiredFeatures: features as GPUFeatureName[] });
}

/** A case's forward pass and the gradients of its float inputs, for cotangents of ones, as a tape. */
function captureCase(c: OpCase): Captured {
  const random = randomOf(titleOf(c));
  if (c.seed !== undefined) manualSeed(c.seed);
  const args = c.inputs.map((spec) => {
    const x = place(elementsOf(spec, random), spec.dtype, 'plain');
    if (c.grad !== false && isFloat(spec.dtype) && (spec.differentiable ?? true)) x.requiresGrad = true;
    return x;
  });
  return capture((inputs) => {
    const result = c.run(...inputs);
    const outputs = Array.isArray(result) ? (result as readonly Tensor[]) : [result as Tensor];
    const varied = inputs.filter((x) => x.requiresGrad);
    const roots = outputs.filter((y) => y.requiresGrad);
    if (varied.length === 0 || roots.length === 0) return outputs;
    const gradOutputs = roots.map(({ shape, dtype }) => ones(shape, { dtype }));
    return [...outputs, ...grad(roots, varied, { gradOutputs })];
  }, args);
}

const tapes: { readonly title: string; readonly half: boolean; readonly tape: Captured }[] = [];
for (const file of filesBelow('test/ops', '.ts')) {
  const { cases } = (await import(`../${file}`)) as OpCases;
  for (const c of cases) {
    if (c.compiled === false) continue;
    const tape = withoutDevice(() => captureCase(c));
    const half = tape.entries.some((entry) => [...entry.inputs, ...entry.outputs].some(({ dtype }) => dtype === 'f16'));
    tapes.push({ title: `${file} ${titleOf(c)}`, half, tape });
  }
}

// Large enough that tensor cores multiply it by halves; rows, columns and k that tiles do not divide.
setFloat32MatmulPrecision('high');
const byHalves = withoutDevice(() =>
  captureCase({
    op: 'linear',
    inputs: [f32([301, 2050]), f32([306, 2050]), f32([306])],
    run: (x, w, bias) => gelu(linear(x!, w!, bias)),
    ref: (x) => x!,
  }),
);
setFloat32MatmulPrecision('highest');
tapes.push({ title: 'f32 by halves', half: false, tape: byHalves });

for (const [name, target] of Object.entries(targets)) {
  test(name, async () => {
    const kernels = new Map<string, { readonly dispatch: Dispatch; readonly title: string }>();
    for (const { title, half, tape } of tapes) {
      if (half && !target.f16) continue;
      const { entries, inputs, result, draws } = tape;
      const wanted = new Set(result.leaves.map(({ storage }) => storage));
      const source = { entries, inputs, wanted, firstDraw: draws.first };
      for (const { dispatch } of withoutDevice(() => lowerTape(source, target)).steps) {
        if (!kernels.has(dispatch.wgsl)) kernels.set(dispatch.wgsl, { dispatch, title });
      }
    }
    assert.ok(kernels.size > 100, `${kernels.size} kernels`);
    const halves = [...kernels.values()].filter(({ dispatch }) => dispatch.name.includes('matmul.halves'));
    const multiplies = target.subgroupMatrix.some(({ result }) => result === 'f32');
    assert.equal(halves.length > 0, multiplies && !target.software);
    const device = await deviceWith(featuresOf(target));
    const check = async ({ dispatch, title }: { dispatch: Dispatch; title: string }): Promise<string[]> => {
      const { messages } = await device.createShaderModule({ code: dispatch.wgsl }).getCompilationInfo();
      const { workgroup, shared } = instructionsOf(dispatch.wgsl);
      return [
        ...messages.map(({ message }) => message),
        ...(workgroup > target.maxInvocations ? [`workgroups of ${workgroup}`] : []),
        ...(shared > target.workgroupMemory ? [`${shared} bytes of workgroup memory`] : []),
        ...(dispatch.parts ?? [dispatch])
          .flatMap((part) => readAndWritten(part.wgsl).filter((buffer) => !isOwn(part.name, buffer)))
          .map((buffer) => `${buffer} is read and written around a barrier that does not order it`),
        ...(dispatch.access.length > target.maxStorageBuffers ? [`${dispatch.access.length} buffers`] : []),
      ].map((fault) => `${dispatch.name} (${title}): ${fault}`);
    };
    assert.equal((await Promise.all([...kernels.values()].map(check))).flat(), []);
    device.destroy();
  });
}

test('a buffer that is read and written around a barrier is seen', () => {
  const kernel = (body: string, barrier = 'workgroupBarrier();'): string => `
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
fn main() { ${body.replace('|', barrier)} }`;
  assert.equal(readAndWritten(kernel('let v = y[i]; | y[i] = v;')), ['y']);
  assert.equal(readAndWritten(kernel('y[a[i]].x += 1.0; |')), ['y']);
  assert.equal(readAndWritten(kernel('y[i] = v; | if (y[i + 1].x == 0.0) { }')), ['y']);
  assert.equal(readAndWritten(kernel('for (;;) { | y[i] = v; if (y[i + 1].x == 0.0) { } }')), ['y']);
  assert.equal(readAndWritten(kernel('subgroupMatrixStore<row_major>(&y, 0, m, 8); | let v = y[0];')), ['y']);
  assert.equal(readAndWritten(kernel('let v = y[i]; | y[i] = v;', 'storageBarrier(); workgroupBarrier();')), []);
  assert.equal(readAndWritten(kernel('let v = y[i]; y[i] = v;', '')), []);
  assert.equal(readAndWritten(kernel('for (;;) { | } y[i] = y[i] + v;')), []);
  assert.equal(readAndWritten(kernel('let v = a[i] + u.y; | y[b[i].y] = v;')), []);
});

test.run();
