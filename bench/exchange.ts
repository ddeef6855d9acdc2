/**
 * How fast processes exchange gradients: 100 MB added up, from the host and from the device.
 *
 *   npx tapeform launch --processes 2 bench/exchange.ts
 */
import { median } from '../common/statistics.ts';
import { init, tensor } from '../autograd/index.ts';
import { destroyProcessGroup, initProcessGroup } from '../distributed/index.ts';
import { main } from '../train/cli/cli.ts';

const megabytes = 100;
const times = 7;

main(
  async () => {
    await init({ restart: true });
    const group = await initProcessGroup();
    const n = (megabytes * 1e6) / 4;
    const host = new Float32Array(n).fill(1e-3);
    const device = tensor(host);
    await device.data();
    const bytes = (2 * (group.worldSize - 1) * megabytes) / group.worldSize;
    const measure = async (name: string, run: () => Promise<unknown>): Promise<void> => {
      const seconds: number[] = [];
      const processor: number[] = [];
      for (let i = -1; i < times; i++) {
        await group.barrier();
        const [start, cpu] = [performance.now(), process.cpuUsage()];
        await run();
        const { user, system } = process.cpuUsage(cpu);
        if (i < 0) continue; // the first compiles
        seconds.push((performance.now() - start) / 1000);
        processor.push((user + system) / 1e6);
      }
      const middle = median(seconds);
      if (group.rank === 0 && name === 'latency')
        console.log(`one number, ${group.worldSize} processes: ${(1000 * middle).toFixed(2)} ms`);
      else if (group.rank === 0)
        console.log(
          `${name} ${megabytes} MB, ${group.worldSize} processes: ${middle.toFixed(3)} s ` +
            `(${Math.min(...seconds).toFixed(3)} ` +
            `to ${Math.max(...seconds).toFixed(3)}), ${(megabytes / middle).toFixed(0)} MB/s of sums, ` +
            `${(bytes / middle).toFixed(0)} MB/s sent by each; ${median(processor).toFixed(2)} s of processor time`,
        );
    };
    await measure('latency', () => group.allReduce(new Float32Array(1)));
    await measure('arrays ', () => group.allReduce(host, 'mean'));
    await measure('tensors', () => group.allReduce(device, 'mean'));
    await measure('reading', () => device.data());
    await destroyProcessGroup();
  },
  { device: false },
);
