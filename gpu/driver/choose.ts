import { checkEnvironment } from '../../common/environment.ts';
/**
 * Which Vulkan driver a Linux machine should use: pure rules over facts, so that they are tested without the
 * machines.
 *
 * Measured on two cores (matmul 512^3 f32 in GFLOP/s, row softmax in Gelement/s, compile time of one matmul):
 * Mesa 26.0-26.2 and 25.2: 17-19, 0.10-0.19, 50-100 ms; Mesa 25.0: 8-9, 0.12, 490-620 ms; SwiftShader: 2.8,
 * 0.01, 220 ms. Only Mesa 26 has subgroup matrices. Hence a software driver of the system serves from 25.2
 * on, and Mesa 26 is fetched otherwise.
 */

/** A device file of a GPU. `usable`: this user may open it. */
export interface GpuNode {
  readonly path: string;
  readonly usable: boolean;
}

/** A Vulkan driver manifest (vulkan/icd.d/*.json). `api` is its Vulkan version, e.g. "1.4.354". */
export interface Manifest {
  readonly path: string;
  readonly library: string;
  readonly api: string;
}

export interface Machine {
  readonly gpus: readonly GpuNode[];
  /** The Vulkan loader libvulkan.so.1 was found. */
  readonly loader: boolean;
  readonly manifests: readonly Manifest[];
}

/**
 * `system`: leave the process as it is. `probe`: a GPU is there; ask Dawn in another process whether its
 * driver works. `mesa`, `swiftshader`: the software driver in the cache folder, installed first if need be.
 */
export interface Choice {
  readonly use: 'system' | 'probe' | 'mesa' | 'swiftshader';
  readonly why: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** Mesa 25.2 reports Vulkan 1.4.318. */
const goodSoftware = [1, 4, 318] as const;

/**
 * Returns the user's choice by environment and arguments; undefined where the machine decides. Throws on an
 * unknown TAPEFORM_DRIVER. `ours` tells whether a manifest path lies in our cache folder: inherited from a
 * parent process, it is not the user's word.
 */
export function chooseByUser(
  env: Environment,
  argv: readonly string[],
  ours: (path: string) => boolean,
): Choice | undefined {
  checkEnvironment(env);
  const driver = env.TAPEFORM_DRIVER ?? '';
  if (driver === 'system') return { use: 'system', why: 'TAPEFORM_DRIVER=system' };
  if (argv.includes('--help') || argv.includes('-h')) return { use: 'system', why: 'only help was asked for' };
  if (driver === 'software') return { use: 'mesa', why: 'TAPEFORM_DRIVER=software' };
  if (driver === 'swiftshader') return { use: 'swiftshader', why: 'TAPEFORM_DRIVER=swiftshader' };
  for (const name of ['VK_DRIVER_FILES', 'VK_ICD_FILENAMES']) {
    const files = env[name];
    if (files && !ours(files)) return { use: 'system', why: `${name}=${files}` };
  }
  return undefined;
}

/**
 * Chooses by the machine's devices and drivers. `refused`: Dawn was asked and offers no adapter on the GPU,
 * so that a software driver has to serve.
 */
export function chooseByMachine({ gpus, loader, manifests }: Machine, refused = false): Choice {
  const gpu = gpus.find(({ usable }) => usable);
  if (gpu && !refused) return { use: 'probe', why: `GPU ${gpu.path}` };
  let why = 'no GPU found';
  if (gpu) why = `no working Vulkan driver for the GPU ${gpu.path} (npx tsx gpu/info.ts says how to mend it)`;
  else if (gpus.length > 0) why = `${gpus[0]!.path} may not be opened by this user`;
  if (loader && manifests.some((manifest) => isSoftware(manifest.library) && atLeast(manifest.api, goodSoftware))) {
    return { use: 'system', why: `${why}, the system has a recent software driver` };
  }
  return { use: 'mesa', why };
}

/** True for the libraries and adapter descriptions of drivers that run on the CPU. */
export function isSoftware(name: string): boolean {
  return /lvp|llvmpipe|swiftshader/i.test(name);
}

function drives(manifest: Manifest, gpu: GpuNode): boolean {
  if (isSoftware(manifest.library)) return false;
  return gpu.path.startsWith('/dev/nvidia') ? /nvidia/i.test(manifest.library + manifest.path) : true;
}

function atLeast(version: string, wanted: readonly number[]): boolean {
  const parts = version.split('.').map(Number);
  for (const [i, want] of wanted.entries()) {
    const part = parts[i] ?? 0;
    if (part !== want) return part > want;
  }
  return true;
}

/**
 * One line that says what keeps a machine from offering an adapter and how to mend it. `otherwise`: the way
 * out for those who cannot mend it.
 */
export function advice({ gpus, loader, manifests }: Machine, env: Environment, otherwise?: string): string {
  const or = otherwise ? `, or ${otherwise}` : '';
  const set = ['VK_DRIVER_FILES', 'VK_ICD_FILENAMES'].find((name) => env[name]);
  if (set && loader) return `${set}=${env[set] ?? ''} offers none; check that file and its driver, or unset ${set}`;
  if (gpus.length > 0 && !gpus.some(({ usable }) => usable)) {
    return `${gpus[0]!.path} may not be opened; join its group (usermod -aG render NAME, then log in again)${or}`;
  }
  if (!loader) {
    return `the Vulkan loader libvulkan.so.1 is missing; install it (Debian, Ubuntu: apt-get install libvulkan1)${or}`;
  }
  if (!gpus.some((gpu) => manifests.some((manifest) => drives(manifest, gpu)))) {
    const what = gpus.some(({ path }) => path.startsWith('/dev/nvidia'))
      ? "install the driver's Vulkan files (libnvidia-gl-VERSION; in a container NVIDIA_DRIVER_CAPABILITIES=all)"
      : 'install the one of your GPU (Debian, Ubuntu: apt-get install mesa-vulkan-drivers)';
    return `no Vulkan driver for a GPU was found; ${what}${or}`;
  }
  return `the installed Vulkan drivers offer none that Dawn accepts (Mesa before 25 is refused); update them${or}`;
}
