import { progress } from '../../common/progress.ts';
import type { Progress } from '../../common/progress.ts';
import type { TrainingTask } from '../task.ts';
import type { Callback } from './callback.ts';

/** Shows a run's progress on the terminal; evaluations stay above the bar, a line each. */
export function progressBar({ batchesPerEpoch }: TrainingTask, total: number, accumulate: number): Callback {
  const epochs = Math.ceil((total * accumulate) / batchesPerEpoch);
  let bar: Progress | undefined;
  return {
    onStart: (initial) => {
      bar = progress({ total, initial });
    },
    onStep: ({ step, loss, lr, tokens }) => {
      const epoch = Math.floor(((step - 1) * accumulate) / batchesPerEpoch) + 1;
      bar?.update(step, { label: epochs > 1 ? `epoch ${epoch}/${epochs}` : '', loss, lr, tokens });
    },
    onEvaluation: ({ step, evaluation }) => {
      const values = Object.entries(evaluation).map(([name, value]) => `${name} ${value.toFixed(4)}`);
      console.log(`step ${String(step).padStart(String(total).length)}  validation ${values.join('  ')}`);
    },
    onEnd: () => bar?.stop(),
  };
}
