import { ready } from '../../autograd/index.ts';
import { observe } from '../../autograd/context.ts';

/** One dispatch: its kernel, and the op whose application recorded it. */
export interface Recorded {
  readonly op: string;
  /** Shapes of the op's inputs. */
  readonly shapes: string;
  readonly kernel: string;
}

/** Runs fn in immediate mode and returns the dispatches it records, in order. */
export async function recordDispatches(fn: () => void): Promise<Recorded[]> {
  const { encoder } = await ready();
  const recorded: Recorded[] = [];
  const kernels: string[] = [];
  // An entry is observed after its dispatches were recorded.
  const stop = observe(({ name, inputs }) => {
    const shapes = inputs.map(({ shape }) => `[${shape.join(', ')}]`).join(' ');
    recorded.push(...kernels.splice(0).map((kernel) => ({ op: name, shapes, kernel })));
  });
  encoder.timer = ({ name }) => {
    kernels.push(name);
    return undefined;
  };
  try {
    fn();
  } finally {
    encoder.timer = undefined;
    stop();
  }
  return recorded;
}

/** How many of each, the most frequent first: `count op: kernels`. */
export function dispatchTable(recorded: readonly Recorded[]): string {
  const byOp = new Map<string, Map<string, number>>();
  for (const { op, kernel } of recorded) {
    const kernels = byOp.get(op) ?? new Map<string, number>();
    kernels.set(kernel, (kernels.get(kernel) ?? 0) + 1);
    byOp.set(op, kernels);
  }
  const total = (kernels: ReadonlyMap<string, number>): number => [...kernels.values()].reduce((a, b) => a + b, 0);
  return [...byOp]
    .sort((a, b) => total(b[1]) - total(a[1]))
    .map(([op, kernels]) => {
      const parts = [...kernels].sort((a, b) => b[1] - a[1]).map(([kernel, count]) => `${count} ${kernel}`);
      return `${String(total(kernels)).padStart(5)}  ${op.padEnd(22)} ${parts.join(', ')}`;
    })
    .join('\n');
}
