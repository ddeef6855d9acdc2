import { showBytes } from '../../common/memory.ts';
import { alignTable } from '../../common/text-table.ts';
import type { Program } from './program.ts';

/** Figures of a program, for benchmarks and tests. */
export interface ProgramStatistics {
  readonly ops: number;
  readonly dispatches: number;
  readonly pipelines: number;
  /** Applications that nothing needed. */
  readonly dead: number;
  /** Applications that were equal to an earlier one. */
  readonly shared: number;
  /** Applications that moved into another one's kernel. */
  readonly fused: number;
  readonly flops: number;
  readonly bytes: number;
  /** Bytes of the planned buffers. */
  readonly planned: number;
  /** Bytes that any plan needs at least. */
  readonly lowerBound: number;
}

export function statistics({ captured, assembled }: Program): ProgramStatistics {
  if (!assembled) throw new Error('this program is not on the device yet; await ready() first');
  const { simplified, grouping, steps, plan } = assembled;
  const total = (pick: (cost: { flops: number; bytes: number }) => number): number =>
    steps.reduce((sum, { dispatch }) => sum + pick(dispatch.cost), 0);
  return {
    ops: captured.entries.length,
    dispatches: steps.length,
    pipelines: new Set(steps.map(({ dispatch }) => dispatch.wgsl)).size,
    dead: simplified.dead,
    shared: simplified.shared,
    fused: simplified.entries.length - grouping.groups.length,
    flops: total(({ flops }) => flops),
    bytes: total(({ bytes }) => bytes),
    planned: plan.total,
    lowerBound: plan.lowerBound,
  };
}

/** Describes a program: totals, a table of its dispatches, and why what looked fusible was not fused. */
export function explainProgram(name: string, program: Program): string {
  const { captured, assembled } = program;
  const s = statistics(program);
  const inputs = captured.inputs.map(({ dtype, shape }) => `${dtype} [${shape.join(', ')}]`).join(', ');
  const head = [
    `${name}(${inputs})`,
    `${s.ops} ops -> ${s.dispatches} dispatches of ${s.pipelines} kernels; ` +
      `${s.dead} ops dead, ${s.shared} shared, ${s.fused} moved into another's kernel`,
    `memory ${showBytes(s.planned)} planned, ${showBytes(s.lowerBound)} the least possible; ` +
      `${(s.flops / 1e9).toFixed(3)} GFLOP, ${showBytes(s.bytes)} to move at least`,
  ];
  const rows = assembled!.steps.map(({ dispatch, tensors, name }, i) => {
    const output = tensors.at(-1);
    return [
      `${i}`,
      dispatch.name,
      name === dispatch.name ? '' : name,
      output ? `[${output.shape.join(', ')}]` : '',
      (dispatch.cost.bytes / 1024).toFixed(1),
      (dispatch.cost.flops / 1e6).toFixed(3),
    ];
  });
  const table = alignTable(['#', 'kernel', 'from ops', 'result', 'KiB', 'MFLOP'], rows, new Set([0, 4, 5]));
  const notes = [
    ...new Set(assembled!.grouping.groups.flatMap((group) => group.notes.map((note) => `${group.name}: ${note}`))),
  ];
  return [...head, '', table, ...(notes.length > 0 ? ['', 'not fused:', ...notes] : [])].join('\n');
}
