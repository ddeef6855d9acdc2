/**
 * SwiftShader, Google's software Vulkan driver, and a Vulkan loader, out of the npm package
 * @sparticuz/chromium: for x86-64 machines without apt. It runs on the system's C library. 6-7 times slower
 * than Mesa 26, no f16, subgroups of 4.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';
import { runCommand } from '../../common/run-command.ts';
import { linkerName } from './layout.ts';
import type { Download } from './apt.ts';

const version = '147.0.0'; // later ones ask for Node 22
const sha256 = 'f957ea867313f9815b71dc2ed30cce301e01db4f3973fbdb31ffa5391b0ec45a';

/** Downloads and unpacks libvk_swiftshader.so and libvulkan.so.1 into `work`/lib. */
export async function fetchSwiftShader(work: string, announce: (download: Download) => void): Promise<void> {
  if (process.arch !== 'x64') throw new Error(`SwiftShader comes for x86-64 only, this is ${process.arch}`);
  announce({ version: `SwiftShader (@sparticuz/chromium ${version})`, megabytes: 68 });
  const patience = ['--fetch-retries=1', '--fetch-retry-mintimeout=1000', '--fetch-timeout=60000'];
  await runCommand('npm', ['pack', '--loglevel=error', ...patience, `@sparticuz/chromium@${version}`], { cwd: work });
  const inner = 'package/bin/swiftshader.tar.br';
  await runCommand('tar', ['-xzf', `sparticuz-chromium-${version}.tgz`, inner], { cwd: work });
  const packed = readFileSync(join(work, inner));
  if (createHash('sha256').update(packed).digest('hex') !== sha256) {
    throw new Error(`@sparticuz/chromium@${version}: ${inner} is not the expected file`);
  }
  writeFileSync(join(work, 'swiftshader.tar'), brotliDecompressSync(packed));
  const lib = join(work, 'lib');
  mkdirSync(lib);
  const files = ['libvk_swiftshader.so', 'libvulkan.so.1'];
  await runCommand('tar', ['--no-same-owner', '-xf', join(work, 'swiftshader.tar'), ...files], { cwd: lib });
  symlinkSync(realpathSync(`/lib64/${linkerName()}`), join(lib, linkerName()));
  for (const name of ['package', 'swiftshader.tar', `sparticuz-chromium-${version}.tgz`]) {
    rmSync(join(work, name), { recursive: true });
  }
}
