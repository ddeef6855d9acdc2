import { acquire } from '../../gpu/index.ts';
import type { Gpu } from '../../gpu/index.ts';
import { describeMachine } from '../header.ts';
import { emit, message, rehearse } from './shared.ts';

/**
 * Writes what the adapter is and offers; with --brief prints one line only. Exit code 0 for a GPU (in a
 * rehearsal for any adapter), 3 for a software driver, 1 where there is no adapter.
 */
export async function run(args: readonly string[]): Promise<void> {
  let gpu: Gpu;
  try {
    gpu = await acquire();
  } catch (error) {
    console.log(`no adapter: ${message(error)}`);
    process.exit(1);
  }
  const facts = describe(gpu);
  const kind = facts.software ? 'a software driver' : 'a GPU';
  console.log(`${facts.description} (${facts.vendor} ${facts.architecture}), ${kind}`);
  if (!args.includes('--brief')) emit({ key: 'adapter', ...(await describeMachine()), ...facts });
  if (facts.software && !rehearse) process.exit(3);
}

function describe({ adapter, device, target }: Gpu) {
  const { vendor, architecture, description, device: model } = adapter.info;
  const limits: Record<string, number> = {};
  for (const name in device.limits) limits[name] = device.limits[name as keyof GPUSupportedLimits] as number;
  return {
    description: description || model || 'unnamed',
    vendor,
    architecture,
    software: target.software,
    f16: target.f16,
    timestamps: device.features.has('timestamp-query'),
    subgroupSizes: target.subgroupSizes,
    subgroupSizeControl: target.subgroupSizeControl,
    matrices: target.subgroupMatrix.map(({ M, N, K, component, result }) => `${M}x${N}x${K} ${component}->${result}`),
    features: [...device.features].sort(),
    limits,
  };
}
