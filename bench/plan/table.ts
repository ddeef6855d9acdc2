import type { LoweredTape } from '../../autograd/compile/assemble.ts';
import { showBytes } from '../../common/memory.ts';
import { digits } from '../table.ts';
import type { Table } from '../table.ts';
import type { Device } from './devices.ts';
import { estimate } from './roofline.ts';
import type { Estimate } from './roofline.ts';

/** The dispatches of one kernel's name, or parts of dispatches, together. */
export interface KernelPlan {
  readonly name: string;
  readonly dispatches: number;
  readonly flops: number;
  readonly bytes: number;
  readonly groups: number;
  /** Products of which an operand is loaded element by element. */
  readonly scalarProducts: number;
  /** Of the longest dispatch. */
  readonly longest: Estimate;
  readonly seconds: number;
}

export interface Plan {
  readonly kernels: readonly KernelPlan[];
  readonly dispatches: number;
  readonly pipelines: number;
  readonly flops: number;
  readonly bytes: number;
  readonly groups: number;
  readonly scalarProducts: number;
  readonly seconds: number;
  /** Bytes of the planned buffers, and those that any plan needs. */
  readonly planned: number;
  readonly lowerBound: number;
  /** Of a step of decoding: seconds in which the datasheet's bandwidth reads weights and cache once. */
  readonly bound?: number;
}

/** Estimates a lowered program on a device, kernel by kernel, the longest first. */
export function planOf(
  { steps, plan, leastBytes }: LoweredTape & { readonly leastBytes?: number },
  device: Device,
): Plan {
  const byName = new Map<string, KernelPlan>();
  const parts = steps.flatMap(({ dispatch: whole }) =>
    (whole.parts ?? [whole]).map((part, i) => {
      const own = estimate(part, device, whole);
      return { ...part, own: i === 0 ? own : { ...own, seconds: own.seconds - device.launch } };
    }),
  );
  for (const { name, cost, own } of parts) {
    const before = byName.get(name);
    byName.set(name, {
      name,
      dispatches: (before?.dispatches ?? 0) + 1,
      flops: (before?.flops ?? 0) + cost.flops,
      bytes: (before?.bytes ?? 0) + cost.bytes,
      groups: (before?.groups ?? 0) + own.groups,
      scalarProducts: (before?.scalarProducts ?? 0) + (own.instructions.loadsScalars ? 1 : 0),
      longest: before && before.longest.seconds >= own.seconds ? before.longest : own,
      seconds: (before?.seconds ?? 0) + own.seconds,
    });
  }
  const kernels = [...byName.values()].sort((a, b) => b.seconds - a.seconds);
  const total = (pick: (kernel: KernelPlan) => number): number => kernels.reduce((sum, x) => sum + pick(x), 0);
  return {
    kernels,
    dispatches: steps.length,
    pipelines: new Set(steps.map(({ dispatch }) => dispatch.wgsl)).size,
    flops: total((x) => x.flops),
    bytes: total((x) => x.bytes),
    groups: total((x) => x.groups),
    scalarProducts: total((x) => x.scalarProducts),
    seconds: total((x) => x.seconds),
    planned: plan.total,
    lowerBound: plan.lowerBound,
    ...(leastBytes === undefined ? {} : { bound: leastBytes / device.bandwidth }),
  };
}

/** By kernel: what it costs, how it fills a unit, and what bounds its longest dispatch. */
export function kernelTable({ kernels, seconds }: Plan, measured?: ReadonlyMap<string, number>): Table {
  const head = [
    ...['kernel', 'bound by', 'count', 'GFLOP', 'GB', 'waves', 'groups a unit', 'workgroup KiB', 'registers'],
    ...['occupancy', 'scalar loads', 'barriers', 'draws', 'ms', 'share'],
    ...(measured ? ['measured ms', 'measured / predicted'] : []),
  ];
  const rows = kernels.map((x) => {
    const { instructions, waves, resident, occupancy, bound } = x.longest;
    const all = [instructions.once, ...instructions.loops];
    const sum = (pick: 'scalarLoads' | 'barriers' | 'draws'): string =>
      digits(all.reduce((total, counts) => total + counts[pick], 0));
    const real = measured?.get(x.name);
    return [
      x.name,
      bound,
      `${x.dispatches}`,
      digits(x.flops / 1e9),
      digits(x.bytes / 1e9),
      digits(waves),
      `${resident}`,
      digits(instructions.shared / 1024),
      `${instructions.registers}`,
      `${(100 * occupancy).toFixed(0)}%`,
      sum('scalarLoads'),
      sum('barriers'),
      sum('draws'),
      digits(1e3 * x.seconds),
      `${((100 * x.seconds) / seconds).toFixed(1)}%`,
      ...(measured ? (real === undefined ? ['-', '-'] : [digits(real), digits(real / (1e3 * x.seconds))]) : []),
    ];
  });
  return { head, rows, text: 2 };
}

/** Totals of a step of `tokens` tokens: the row that --record adds to a file. */
export function totalsTable(name: string, plan: Plan, tokens: number): Table {
  const ms = (pick: (kernel: KernelPlan) => boolean): string =>
    digits(1e3 * plan.kernels.filter(pick).reduce((sum, { seconds }) => sum + seconds, 0));
  const columns: readonly (readonly [string, string])[] = [
    ['plan', name],
    ['dispatches', `${plan.dispatches}`],
    ['kernels', `${plan.pipelines}`],
    ['TFLOP', digits(plan.flops / 1e12)],
    ['GB', digits(plan.bytes / 1e9)],
    ...(plan.bound === undefined
      ? []
      : ([
          ['bound ms', digits(1e3 * plan.bound)],
          ['above the bound', `${digits(plan.seconds / plan.bound)}x`],
        ] as const)),
    ['products that load scalars', `${plan.scalarProducts}`],
    ['planned', showBytes(plan.planned)],
    ['above the least', `${(100 * (plan.planned / plan.lowerBound - 1)).toFixed(1)}%`],
    ['attention ms', ms((x) => x.name.includes('Attention'))],
    ['products ms', ms((x) => x.name.startsWith('matmul'))],
    ['rest ms', ms((x) => !/Attention|^matmul/.test(x.name))],
    ['ms', digits(1e3 * plan.seconds)],
    [
      'tokens/s',
      tokens / plan.seconds >= 1e4 ? `${digits(tokens / plan.seconds / 1e3)}k` : digits(tokens / plan.seconds),
    ],
  ];
  return { head: columns.map(([head]) => head), rows: [columns.map(([, value]) => value)], text: 1 };
}
