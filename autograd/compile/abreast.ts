import type { Target } from '../../gpu/index.ts';
import { fitAbreast, abreast } from '../../kernels/abreast.ts';
import type { Storage } from '../storage.ts';
import type { Step } from './build.ts';

/** Steps that a step may pass on its way to the one that it joins. */
const reach = 8;
/** Most steps of one dispatch: its pipeline must fit few others to be worth compiling. */
const most = 4;

/** Steps that are to be one dispatch, and what they read and write together. */
class Row {
  readonly steps: Step[] = [];
  private readonly read = new Set<Storage>();
  private readonly written = new Set<Storage>();

  constructor(step: Step) {
    this.add(step);
  }

  add(step: Step): void {
    this.steps.push(step);
    step.tensors.forEach(({ storage }, i) => {
      (step.dispatch.access[i] === 'read' ? this.read : this.written).add(storage);
    });
  }

  /** Whether a later step must wait for these. */
  precedes({ dispatch, tensors }: Step): boolean {
    return tensors.some(
      ({ storage }, i) => this.written.has(storage) || (dispatch.access[i] !== 'read' && this.read.has(storage)),
    );
  }

  takes(step: Step, target: Target): boolean {
    const all = [...this.steps, step].map(({ dispatch }) => dispatch);
    return all.length <= most && all.every(({ grid }) => !grid.includes(0)) && fitAbreast(all, target);
  }

  get step(): Step {
    if (this.steps.length === 1) return this.steps[0]!;
    return {
      dispatch: abreast(this.steps.map(({ dispatch }) => dispatch)),
      tensors: this.steps.flatMap(({ tensors }) => tensors),
      name: this.steps.map(({ name }) => name).join(' | '),
    };
  }
}

/**
 * Makes one dispatch of steps that need nothing of each other, such as the two products of a linear layer's
 * backward pass: fewer launches, and the last workgroups of one run beside the first of the next.
 */
export function placeAbreast(steps: readonly Step[], target: Target): Step[] {
  const rows: Row[] = [];
  for (const step of steps) {
    let joined: Row | undefined;
    for (let at = rows.length - 1; at >= Math.max(0, rows.length - reach); at--) {
      const row = rows[at]!;
      if (row.precedes(step)) break;
      if (!row.takes(step, target) || (target.software && !isShort(row.steps[0]!, step))) continue;
      joined = row;
      break;
    }
    if (joined) joined.add(step);
    else rows.push(new Row(step));
  }
  return target.software ? oftenRepeated(rows) : rows.map((row) => row.step);
}

/**
 * A software driver gains no more than the launch, some 15 us, and compiles longer: with all steps a step of
 * BERT, 2 layers, 2 x 64 tokens, took 480 ms of processor time either way, its kernels 25 s in place of 20 s.
 * So there it is for short steps in rows that a model's layers repeat, as those of the next token: of
 * SmolLM2-135M 287 dispatches in place of 407.
 */
const isShort = (...steps: readonly Step[]): boolean => steps.every(({ dispatch }) => dispatch.cost.flops < 4e6);
const leastRepeats = 4;

function oftenRepeated(rows: readonly Row[]): Step[] {
  const sources = rows.map(({ steps }) => steps.map(({ dispatch }) => dispatch.wgsl).join('\n'));
  const counts = new Map<string, number>();
  for (const source of sources) counts.set(source, (counts.get(source) ?? 0) + 1);
  return rows.flatMap((row, i) => (counts.get(sources[i]!)! < leastRepeats ? row.steps : [row.step]));
}
