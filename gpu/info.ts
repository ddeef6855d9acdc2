/** `npx tsx gpu/info.ts`: adapter, driver, features and limits, what is missing, and how to mend it. */
import { describeDriver, ensureVulkanDriver, fasterDriverAdvice, gpuAdvice } from './driver.ts';
import { acquire } from './index.ts';
import type { Gpu } from './index.ts';

/** Optional features, and what is lost without them. */
const features: readonly (readonly [feature: string, without: string])[] = [
  ['shader-f16', 'no half precision: memory and bandwidth double'],
  ['timestamp-query', 'no GPU timings: profiles time whole runs'],
  ['subgroups', 'row reductions go through workgroup memory'],
  ['chromium-experimental-subgroup-matrix', 'no tensor cores'],
];

const limits: readonly (keyof GPUSupportedLimits)[] = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupsPerDimension',
];

function describe({ adapter, device, target }: Gpu): string[] {
  const { vendor, architecture, device: model, description } = adapter.info;
  const lines = [
    row('adapter', [model || description || 'unnamed', vendor, architecture].filter(Boolean).join(', ')),
    row('driver', description || 'not told'),
    row('runs on', target.software ? 'the CPU (software driver)' : 'the GPU'),
    '',
    ...features.map(([name, without]) =>
      row(name, device.features.has(name as GPUFeatureName) ? 'yes' : `no: ${without}`),
    ),
    '',
    ...limits.map((name) => row(name, amount(name, device.limits[name] as number))),
  ];
  return target.software
    ? [...lines, '', 'A GPU is far faster: if the machine has one, install its driver with Vulkan support.']
    : lines;
}

function row(name: string, value: string): string {
  return `${name.padEnd(38)} ${value}`;
}

function amount(name: string, value: number): string {
  return /Size/.test(name) && value >= 2 ** 20 ? `${value} (${(value / 2 ** 20).toFixed(0)} MiB)` : `${value}`;
}

await ensureVulkanDriver();
const driver = describeDriver();
console.log(row('choice', driver.why));
if (driver.folder) console.log(row('software driver in', driver.folder));
const faster = fasterDriverAdvice(driver);
if (faster) console.log(row('slower, since', faster));
const advice = gpuAdvice();
if (advice) console.log(row('to use the GPU', advice));
try {
  console.log(describe(await acquire()).join('\n'));
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
