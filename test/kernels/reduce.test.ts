import { suite } from 'uvu';
import { synchronize } from '../../autograd/index.ts';
import { acquire } from '../../gpu/index.ts';
import type { Target } from '../../gpu/index.ts';
import { cases } from '../ops/reduce.ts';
import { Applied, runCase, titleOf } from '../support/op-driver.ts';

/**
 * The ways in which GPUs reduce, where threads share a row, against the references: with the subgroups of
 * this device and without, and rows that several workgroups share.
 */
const test = suite('reductions on GPUs');

const gpu = await acquire();
const hook = gpu as unknown as { current: Target };
const asGpu: Target = { ...gpu.target, software: false, kind: 'discrete', subgroupMatrix: [] };
const targets = [
  ['', { ...asGpu, units: 2 }],
  [', without subgroups', { ...asGpu, units: 64, subgroupSizes: [0, 0] }],
] as const;

for (const [name, target] of targets)
  for (const c of cases) {
    if (!target.f16 && c.inputs.some(({ dtype }) => dtype === 'f16')) continue;
    test(`${titleOf(c)}${name}`, async () => {
      const before = hook.current;
      hook.current = target;
      try {
        await runCase(c, new Applied());
      } finally {
        await synchronize();
        hook.current = before;
      }
    });
  }

test.run();
