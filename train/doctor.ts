/**
 * Looks at all that the library needs of a machine, says what is wrong and how to mend it.
 *
 *   npx tapeform doctor
 */
import { readdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { freemem, homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { init, ready, tensor } from '../autograd/index.ts';
import { disk } from '../common/file-system.ts';
import { messageOf } from '../common/run-command.ts';
import { machineRoom, showBytes } from '../common/memory.ts';
import { padText, printable } from '../common/printable.ts';
import { describeDriver, fasterDriverAdvice, gpuAdvice } from '../gpu/driver.ts';
import { cacheBase } from '../gpu/driver/layout.ts';
import { hubCacheFolder, hubIsOffline } from '../models/io/hub-cache.ts';
import { shippedModel } from '../models/io/shipped.ts';
import { main, parseOptions } from './cli/cli.ts';

const command = {
  name: 'doctor',
  usage: 'node --import tsx train/doctor.ts',
  summary: 'Looks at adapter, driver, memory, caches and versions; ends with code 1 where something does not work.',
  options: {},
} as const;

/** `warning`: it works, and could work better. `mend`: what to do about it. */
interface Finding {
  readonly about: string;
  readonly state: 'good' | 'warning' | 'bad';
  readonly text: string;
  readonly mend?: string | undefined;
}

const require = createRequire(import.meta.url);
const versionOf = (name: string): string => (require(`${name}/package.json`) as { readonly version: string }).version;

function versions(): Finding[] {
  const node = process.versions.node.split('.').map(Number);
  const isOld = node[0]! < 18 || (node[0] === 18 && node[1]! < 19);
  const runtime = { about: 'Node', text: `${process.versions.node}, ${process.platform} ${process.arch}` };
  const own = { about: 'tapeform', state: 'good', text: versionOf('tapeform') } as const;
  const name = 'webgpu';
  try {
    const webgpu = { about: name, state: 'good', text: versionOf(name) } as const;
    return [
      { ...runtime, state: isOld ? 'bad' : 'good', mend: isOld ? 'install Node 18.19 or newer' : undefined },
      own,
      webgpu,
    ];
  } catch {
    return [own, { about: name, state: 'bad', text: 'not installed', mend: 'npm install webgpu' }];
  }
}

async function device(): Promise<Finding[]> {
  try {
    await init();
  } catch (error) {
    return [
      { about: 'adapter', state: 'bad', text: 'none', mend: messageOf(error).replace('no WebGPU adapter: ', '') },
    ];
  }
  const { adapter, device, target } = await ready();
  const { description, device: model, vendor } = adapter.info;
  const driver = describeDriver();
  const { why, folder } = driver;
  const faster = fasterDriverAdvice(driver);
  const slow = 'a GPU is far faster: if the machine has one, install its driver with Vulkan support';
  const product = await tensor([[1, 2], [3, 4]]).matmul(tensor([[5], [6]])).tolist(); // prettier-ignore
  const isRight = JSON.stringify(product) === '[[17],[39]]';
  return [
    {
      about: 'adapter',
      state: target.software ? 'warning' : 'good',
      text: [model || description || 'unnamed', vendor].filter(Boolean).join(', '),
      mend: target.software ? (gpuAdvice() ?? slow) : undefined,
    },
    {
      about: 'driver',
      state: faster ? 'warning' : 'good',
      text: folder === undefined ? why : `${why}; ${folder}`,
      mend: faster,
    },
    {
      about: 'a product',
      state: isRight ? 'good' : 'bad',
      text: isRight ? 'is computed right' : `[[1, 2], [3, 4]] @ [[5], [6]] gave ${JSON.stringify(product)}`,
      mend: isRight ? undefined : 'update the graphics driver, or set TAPEFORM_DRIVER=software',
    },
    {
      about: 'half precision',
      state: target.f16 ? 'good' : 'warning',
      text: target.f16 ? 'yes' : 'no',
      mend: target.f16 ? undefined : 'this driver has no shader-f16: memory doubles; a newer one may have it',
    },
    {
      about: 'timings',
      state: 'good',
      text: device.features.has('timestamp-query') ? 'by kernel' : 'of whole runs: the driver has no timestamps',
    },
    { about: 'one tensor', state: 'good', text: `${showBytes(device.limits.maxBufferSize)} at most` },
  ];
}

function memory(): Finding {
  const free = freemem();
  const isShort = free < 2 * 2 ** 30;
  return {
    about: 'memory',
    state: isShort ? 'warning' : 'good',
    text: `${showBytes(free)} free of ${showBytes(machineRoom.bytes)}`,
    mend: isShort ? 'end other programs, or take small batches and short texts' : undefined,
  };
}

/** A folder that is written to: whether it can be. */
async function folder(about: string, path: string, variable: string): Promise<Finding> {
  try {
    await disk.makeFolder(path);
    const trial = join(path, `.doctor-${process.pid}`);
    await (await disk.open(trial, 'wx')).close();
    await disk.remove(trial);
    const names = await readdir(path);
    return { about, state: 'good', text: `${path}, ${names.length} ${names.length === 1 ? 'entry' : 'entries'}` };
  } catch (error) {
    const mend = `set ${variable} to a folder you may write to`;
    return { about, state: 'warning', text: `${path}: ${messageOf(error)}`, mend };
  }
}

function models(): Finding {
  try {
    return { about: 'small models', state: 'good', text: dirname(shippedModel('bert-small')) };
  } catch {
    const mend = 'npm install tapeform-models, or name a model of your own';
    return { about: 'small models', state: 'warning', text: 'not installed', mend };
  }
}

/**
 * Colours where a terminal shows them and the user has not refused: Node honours NO_COLOR and FORCE_COLOR.
 */
function paint(code: number, text: string): string {
  const isShown = process.stdout.isTTY && process.stdout.hasColors();
  return isShown ? `\u001b[${code}m${text}\u001b[0m` : text;
}

const marks = { good: () => paint(32, 'ok  '), warning: () => paint(33, 'note'), bad: () => paint(31, 'BAD ') };

main(async () => {
  parseOptions(command);
  const findings: Finding[] = [
    ...versions(),
    ...(await device()),
    memory(),
    await folder('cache', cacheBase(process.env, process.env.HOME ?? homedir()), 'XDG_CACHE_HOME'),
    await folder('models of the hub', hubCacheFolder(), 'HF_HOME'),
    {
      about: 'hub',
      state: 'good',
      text: hubIsOffline() ? 'never asked (HF_HUB_OFFLINE)' : 'asked for what is missing',
    },
    models(),
  ];
  for (const { about, state, text, mend } of findings) {
    process.stdout.write(`${marks[state]()}  ${padText(about, 18, 'left')} ${printable(text)}\n`);
    if (mend !== undefined) process.stdout.write(`      ${paint(2, `-> ${printable(mend)}`)}\n`);
  }
  const bad = findings.filter(({ state }) => state === 'bad').length;
  console.log(bad > 0 ? `\n${bad} of these must be mended first` : '\nall that is needed is there');
  if (bad > 0) process.exitCode = 1;
});
