import * as A from '/work/wt/host/bench/adapters/tapeform.ts';
import { titleOf, rows } from '/work/wt/host/bench/rows/index.ts';
import { isOwn } from '/work/wt/host/bench/rows/row.ts';
import { ready } from '/work/wt/host/autograd/index.ts';
const gpu = await ready(); const re = new RegExp(process.argv[2]!); const only = process.argv[3];
const med = (x: number[]) => x.sort((a, b) => a - b)[x.length >> 1]!;
for (const which of ['adapter','compiled'] as const) {
  if (only && only !== which) continue;
  const lib = await A[which].open();
  for (const row of rows) { if (isOwn(row) || !re.test(titleOf(row))) continue;
    const p = await lib.prepare(row); const one = async () => { await p.run(); lib.flush!(); await gpu.synchronize(); };
    for (let i = 0; i < 5; i++) { await one(); await p.read(); }
    const w: number[] = [], c: number[] = []; const until = performance.now() + 2500;
    while (performance.now() < until) { const a = process.cpuUsage(), t = performance.now(); await one(); w.push(performance.now() - t); const d = process.cpuUsage(a); c.push((d.user + d.system) / 1000); }
    const n = w.length; console.log([which, titleOf(row), Math.min(...w).toFixed(3), med(w).toFixed(3), (c.reduce((x, y) => x + y) / n).toFixed(3)].join('|'));
  }
}
process.exit(0);
