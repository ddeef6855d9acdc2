/**
 * Imported before a script (`--import`): destroys the GPU device at the n-th dispatch of its process, n by
 * the variable LOSE_DEVICE_AT, as a driver that crashes would.
 */
import { globals } from 'webgpu';

type Method = (...args: unknown[]) => unknown;
const classes = globals as unknown as Record<string, { prototype: Record<string, Method> }>;
const at = Number(process.env['LOSE_DEVICE_AT']);
let device: GPUDevice | undefined;
let dispatches = 0;

const adapter = classes['GPUAdapter']!.prototype;
const requestDevice = adapter['requestDevice']!;
adapter['requestDevice'] = async function (this: unknown, ...args) {
  return (device = (await requestDevice.apply(this, args)) as GPUDevice);
};

const pass = classes['GPUComputePassEncoder']!.prototype;
for (const name of ['dispatchWorkgroups', 'dispatchWorkgroupsIndirect']) {
  const dispatch = pass[name]!;
  pass[name] = function (this: unknown, ...args) {
    if (++dispatches === at) device?.destroy();
    return dispatch.apply(this, args);
  };
}
process.on('exit', () => {
  if (process.env['LOSE_DEVICE_AT'] === '0') console.error(`dispatches: ${dispatches}`);
});
