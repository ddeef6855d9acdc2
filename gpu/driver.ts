/**
 * Sees to it that WebGPU finds a Vulkan driver on Linux. Where there is no GPU, or none with a driver, Mesa's
 * software driver is fetched once into the user's cache folder. There are two ways to it.
 *
 * A program of the project sets its process up first (`ensureVulkanDriver`): the newest Mesa needs a newer C
 * library than Debian 12 and Ubuntu 24.04 have, and a process cannot change its own, so it is started again.
 * In a process of somebody else nothing is started again: at the first use of the device (`useSoftware`) the
 * Mesa of the machine's own release is loaded, which is up to twice as slow.
 *
 * Environment: TAPEFORM_DRIVER=system never does that, =software does it even with a GPU, =swiftshader takes
 * the slower fallback; TAPEFORM_QUIET=1 keeps it from saying so. VK_DRIVER_FILES and VK_ICD_FILENAMES set by
 * the user are left alone.
 */
import { checkEnvironment } from '../common/environment.ts';
import { dropUnread } from '../common/output.ts';
import type { Choice, Machine } from './driver/choose.ts';
import { advice, chooseByMachine, chooseByUser, isSoftware } from './driver/choose.ts';
import type { Installed, SoftwareKind } from './driver/layout.ts';
import { activeFolder, cacheFolder, installed, isOwnManifest, manifestPath, wrapperPath } from './driver/layout.ts';
import type { Files } from './driver/machine.ts';
import { distribution, inspectMachine, memoryFileAdvice } from './driver/machine.ts';
import { endWithParent } from './driver/parent.ts';
import { knownAdapter, rememberAdapter } from './driver/verdict.ts';

/** The driver as far as it is known, for people. */
export interface DriverReport {
  /** `software`: our driver from the cache folder. `system`: whatever the system offers. */
  readonly use: 'system' | 'software';
  /** Why it was chosen, in words. */
  readonly why: string;
  /** The cache folder and what is installed there, where `use` is "software". */
  readonly folder?: string;
  readonly installed?: Installed;
  /** Device files, Vulkan loader and driver manifests found; undefined outside Linux. */
  readonly machine?: Machine;
  /** Why the software driver could not be had, in one line. */
  readonly failure?: string;
}

let report: DriverReport | undefined;
let looked: Promise<void> | undefined;

/** True on Linux: elsewhere the system's own graphics (Metal, D3D12, a browser's) need no help. */
function concerned(): boolean {
  return typeof process !== 'undefined' && process.platform === 'linux';
}

/** Whether this process could be started again: the main thread of a program in Node. */
async function canRestart(): Promise<boolean> {
  if (!concerned() || 'Deno' in globalThis || process.versions.bun !== undefined) return false;
  return (await import('node:worker_threads')).isMainThread;
}

/**
 * For the entry of a program: must be awaited before Dawn is loaded, and before the program has done
 * anything, since it may restart the process, in which case it never resolves. Where a GPU worked before it
 * does nothing but look at a few files. Never rejects: `driverAdvice` then says what is missing.
 */
export function ensureVulkanDriver(): Promise<void> {
  looked ??= canRestart().then((can) => (can ? look() : undefined));
  return looked;
}

async function look(): Promise<void> {
  endWithParent();
  try {
    checkEnvironment(process.env);
  } catch {
    return; // scripts say it in one line, and `acquire` throws it: at an import it would have a stack
  }
  const { fs, home, machine, folder } = await facts();
  if (folder) return runningOn(folder, machine, fs);
  const { restart, sameArguments } = await import('./driver/restart.ts');
  const args = sameArguments(process);
  if (!args) return; // a session, or a program from standard input: `useSoftware` serves
  let choice = chooseByUser(process.env, process.argv.slice(2), isOwnManifest) ?? chooseByMachine(machine);
  report = { use: 'system', why: choice.why, machine };
  if (choice.use === 'system') return;
  if (choice.use === 'probe') choice = await chooseByProbe(machine, fs, home);
  report = { use: 'system', why: choice.why, machine };
  if (choice.use === 'system') return;
  try {
    const folder = await install(choice.use === 'swiftshader' ? 'swiftshader' : 'mesa', fs, home);
    process.env.TAPEFORM_WHY = choice.why;
    await restart(folder, args);
  } catch (error) {
    failed(error);
  }
}

/** What decides on the driver. `folder`: that whose libraries this process was started on. */
async function facts() {
  const fs = await import('node:fs');
  const home = process.env.HOME ?? (await import('node:os')).homedir();
  const machine = inspectMachine(fs, process.env, home);
  return { fs, home, machine, folder: activeFolder(process.argv0) };
}

/**
 * Loads a software driver into this process as it is, before WebGPU is opened: where the user asked for one,
 * where the machine has nothing else, or where what it has was `refused`. Returns undefined where the
 * system's driver is to be used, else a function to call when a device is open. Never rejects.
 */
export async function useSoftware(refused = false): Promise<(() => Promise<void>) | undefined> {
  if (!concerned()) return undefined;
  const { fs, home, machine, folder } = await facts();
  if (report?.failure !== undefined) return undefined; // told already
  if (folder) {
    if (!refused) runningOn(folder, machine, fs);
    return undefined;
  }
  const byUser = chooseByUser(process.env, [], isOwnManifest);
  const choice = byUser ?? chooseByMachine(machine, refused);
  report = { use: 'system', why: choice.why, machine };
  // Any software driver of the system is tried before one is fetched.
  const hasOwn = !byUser && !refused && machine.loader && machine.manifests.some(({ library }) => isSoftware(library));
  const isForced = refused && !byUser; // nothing of the system works
  if (hasOwn || ((choice.use === 'system' || choice.use === 'probe') && !isForced)) return undefined;
  try {
    const folder = await install(choice.use === 'swiftshader' ? 'swiftshader' : 'in-process', fs, home);
    const { loadDriver } = await import('./driver/in-process.ts');
    const done = await loadDriver(folder);
    report = { ...report, use: 'software', folder, installed: installed(fs, folder) };
    tell(
      report,
      `, in this process; a program that begins with \`await init({ restart: true })\` may be twice as fast`,
    );
    return done;
  } catch (error) {
    failed(error);
    return undefined;
  }
}

function failed(error: unknown): void {
  const failure = error instanceof Error ? error.message : String(error);
  report = { use: 'system', why: '', ...report, failure };
  say(failure);
}

/** Trusts a GPU that worked before, or asks Dawn in another process. */
async function chooseByProbe(machine: Machine, fs: Files, home: string): Promise<Choice> {
  const known = knownAdapter(fs, process.env, home, machine);
  if (known !== undefined) return { use: 'system', why: known };
  const { probe } = await import('./driver/probe.ts');
  const description = await probe().catch(() => undefined);
  if (description === undefined || isSoftware(description)) return chooseByMachine(machine, true);
  await rememberAdapter(process.env, home, { machine, description });
  return { use: 'system', why: description };
}

/** Sees to it that a driver lies in its folder of the cache, and returns the folder. */
async function install(kind: SoftwareKind, fs: Files, home: string): Promise<string> {
  const short = kind !== 'swiftshader' && (await shortMemory(fs));
  if (short) throw new Error(short);
  const system = distribution(fs);
  const folder = cacheFolder(kind, process.env, home, system.name);
  const { verifyDriver } = await import('./driver/verify.ts');
  if (!('facts' in verifyDriver(folder))) {
    const { ensureInstalled } = await import('./driver/install.ts');
    await ensureInstalled(kind, folder, system, say, Boolean(process.env.TAPEFORM_DRIVER));
  }
  return folder;
}

/** `memoryFileAdvice` of this process. */
async function shortMemory(fs: Files): Promise<string | undefined> {
  const { totalmem } = await import('node:os');
  const path = '/proc/self/limits';
  return fs.existsSync(path) ? memoryFileAdvice(fs.readFileSync(path, 'utf8'), totalmem()) : undefined;
}

/** Throws, with the mend, where the driver of an adapter would crash on this process's limits. */
export async function checkAdapter({ description }: GPUAdapterInfo): Promise<void> {
  const short = concerned() && /llvmpipe/i.test(description) && (await shortMemory(await import('node:fs')));
  if (short) throw new Error(short);
}

/** The restarted process: its children must start the same way, and the user is told once. */
function runningOn(folder: string, machine: Machine, fs: Files): void {
  const why = process.env.TAPEFORM_WHY ?? "the driver's own node was started";
  process.env.VK_DRIVER_FILES = manifestPath(folder);
  process.execPath = wrapperPath(folder); // Node took the dynamic linker for its own program
  process.argv[0] = process.execPath;
  report = { use: 'software', why, folder, installed: installed(fs, folder), machine };
  tell(report, "; TAPEFORM_DRIVER=system uses the system's driver");
}

/** Says once, for this process and those that it starts, which driver is used, and `more`. */
function tell({ why, folder, installed: facts }: DriverReport, more: string): void {
  if (process.env.TAPEFORM_SAID !== undefined) return;
  process.env.TAPEFORM_SAID = '1';
  const slower = facts?.better ? ', not the fastest: `tapeform info` or gpu/info.ts says why' : '';
  say(`${why}, using ${facts?.description ?? folder} on the CPU${slower}${more}`);
}

function say(line: string): void {
  if (process.env.TAPEFORM_QUIET === '1') return;
  dropUnread(process.stderr);
  process.stderr.write(`tapeform: ${line}\n`);
}

/** Reports what `ensureVulkanDriver` found and did. */
export function describeDriver(): DriverReport {
  return report ?? { use: 'system', why: concerned() ? 'not looked at yet' : "the system's own graphics" };
}

/** Why the software driver in use is not the fastest, and the mend; undefined where it is. */
export function fasterDriverAdvice({ folder, installed: facts }: DriverReport): string | undefined {
  return facts?.better && `faster ones could not be had (${facts.better}); remove ${folder} to try again`;
}

/**
 * One line, without a full stop, that says what is missing and how to mend it where no adapter is offered.
 */
export function driverAdvice(): string {
  if (!concerned()) {
    return typeof process !== 'undefined' && process.platform === 'win32'
      ? 'update the graphics driver (Direct3D 12 is needed)'
      : 'this system offers no GPU to WebGPU; update it or its graphics driver';
  }
  if (!report?.machine) return 'the machine was not looked at';
  if (report.folder)
    return `the driver in ${report.folder} does not work; remove that folder to have it installed anew`;
  const { machine, failure } = report;
  if (failure && machine.gpus.length === 0) return failure;
  return advice(machine, process.env, failure ?? 'set TAPEFORM_DRIVER=software to run on the CPU');
}

/**
 * Where the CPU is used although device files of a GPU were found: one line that says what that GPU lacks.
 */
export function gpuAdvice(): string | undefined {
  if (!report?.folder || !report.machine || report.machine.gpus.length === 0) return undefined;
  return advice(report.machine, {});
}
