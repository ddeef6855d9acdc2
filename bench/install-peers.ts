/**
 * `npm run bench:peers`: installs what the benchmark compares with into bench/peers/node_modules (about 600
 * MB).
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('peers', import.meta.url));
const { status, error } = spawnSync('npm', ['ci', '--prefix', folder, '--no-audit', '--no-fund'], {
  stdio: 'inherit',
  shell: process.platform === 'win32',
  // Its install script would fetch CUDA libraries; what is needed comes with the package.
  env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' },
});
if (error) console.error(error.message);
process.exitCode = status ?? 1;
