/**
 * Counts the inner loops of the main kernels in the SPIR-V that Dawn makes of them, beside what the plan
 * (bench/plan/instructions.ts) counts in their text. Needs a Vulkan driver with matrices in subgroups, which
 * the software driver has; its matrices are 8 x 8 x 8, so that a tile takes more of them than on a GPU:
 *
 *   npx tsx bench/spirv.ts
 */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { main } from '../train/cli/cli.ts';
import { devices } from './plan/devices.ts';
import { instructionsOf } from './plan/instructions.ts';
import { lowerFor } from './plan/program.ts';
import { comparableOf, loopsOfSpirv } from './plan/spirv.ts';
import type { Comparable } from './plan/spirv.ts';
import { digits, markdown } from './table.ts';

const mark = '### kernel ';
const matrix = [8, 8, 8] as const;

/** Kernels of a layer of GPT-2's step, each once, for a GPU with the software driver's matrices. */
function kernels(): Map<string, string> {
  const { target } = devices.h100;
  const subgroupMatrix = devices.llvmpipe.target.subgroupMatrix;
  const described = { ...target, subgroupMatrix, workgroupMemory: 32768, subgroupSizes: [8, 8] as const };
  const work = { model: 'gpt2-124m', layers: 1, batch: 2, length: 256, dtype: 'f16', dropout: 0.1 } as const;
  const found = new Map<string, string>();
  for (const { dispatch } of lowerFor(described, work).steps) {
    for (const { name, wgsl } of dispatch.parts ?? [dispatch]) if (!found.has(name)) found.set(name, wgsl);
  }
  return found;
}

/** In a process of its own: has Dawn make a pipeline of each kernel, and print what the driver gets. */
async function dump(): Promise<void> {
  const { create, globals } = await import('webgpu');
  Object.assign(globalThis, globals);
  const instance = create(['enable-dawn-features=allow_unsafe_apis,dump_shaders']);
  const adapter = await instance.requestAdapter();
  const wanted = ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'] as GPUFeatureName[];
  if (!adapter || !wanted.every((feature) => adapter.features.has(feature))) return;
  const { maxComputeWorkgroupStorageSize, maxStorageBuffersPerShaderStage } = adapter.limits;
  const device = await adapter.requestDevice({
    requiredFeatures: wanted,
    requiredLimits: { maxComputeWorkgroupStorageSize, maxStorageBuffersPerShaderStage },
  });
  for (const [name, code] of kernels()) {
    console.log(`${mark}${name}`);
    const module = device.createShaderModule({ code });
    await device
      .createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: 'main' } })
      .catch((error: unknown) => console.error(String(error)));
  }
  process.exit(instance ? 0 : 1); // Dawn aborts the process when the instance is collected
}

/** The loops of each kernel: as the plan counts them, and in SPIR-V; empty where no driver can tell. */
export function compareLoops(): Map<string, readonly (readonly [plan: Comparable, spirv: Comparable])[]> {
  // To a file, since what Dawn and this language write to a pipe comes out of order.
  const folder = mkdtempSync(join(tmpdir(), 'spirv-'));
  const path = join(folder, 'dump.txt');
  const file = openSync(path, 'w');
  const args = [...process.execArgv, fileURLToPath(import.meta.url), '--dump'];
  spawnSync(process.execPath, args, { stdio: ['ignore', file, 'ignore'] });
  closeSync(file);
  const printed = readFileSync(path, 'utf8');
  rmSync(folder, { recursive: true });
  const found = new Map<string, (readonly [Comparable, Comparable])[]>();
  const sources = kernels();
  for (const part of printed.split(mark).slice(1)) {
    const name = part.slice(0, part.indexOf('\n'));
    const [, text] = /\/\* Dumped SPIRV disassembly \*\/([^]*)/.exec(part) ?? [];
    if (text === undefined) continue;
    const [plan, spirv] = [comparableOf(instructionsOf(sources.get(name)!), matrix), loopsOfSpirv(text)];
    found.set(
      name,
      plan.map((own, i) => [own, spirv[i]!] as const).filter(([, other]) => other !== undefined),
    );
  }
  return found;
}

const run = (): void => {
  const keys = ['arithmetic', 'special', 'loads', 'stores', 'shared', 'barriers', 'products'] as const;
  const rows = [...compareLoops()].flatMap(([name, loops]) =>
    loops.map(([plan, spirv], i) => [
      loops.length > 1 ? `${name}, loop ${i + 1}` : name,
      ...keys.map((key) => (plan[key] + spirv[key] === 0 ? '' : `${digits(plan[key])} / ${digits(spirv[key])}`)),
    ]),
  );
  console.log(markdown({ head: ['loop: plan / SPIR-V', ...keys], rows, text: 1 }));
};

if (process.argv[2] === '--dump') await dump();
else if (process.argv[1] === fileURLToPath(import.meta.url)) main(run, { device: false });
