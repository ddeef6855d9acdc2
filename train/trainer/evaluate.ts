import { compile, noGrad, scope } from '../../autograd/index.ts';
import { evalMode } from '../../models/index.ts';
import type { Module } from '../../models/index.ts';
import { toDevice } from '../objectives/task.ts';
import type { DeviceBatch, TrainingTask } from '../objectives/task.ts';

/** Numbers of an evaluation by name. */
export type Evaluation = Readonly<Record<string, number>>;

/**
 * Measures a task's losses on `batches` of its batches, from the first on, with dropout off: each part's mean
 * over all its labels, and `loss`, the sum of those that are trained on. Made once for a model, it compiles
 * once.
 *
 * @example
 * const model = GPT2LMHeadModel.fromConfig({ vocabSize: 10, nEmbd: 8, nLayer: 1, nHead: 2 });
 * const rows = blockWindows(corpusOf([[1, 2, 3, 4, 5, 6, 7, 8]], 10), { length: 4 });
 * const { loss } = await evaluator(model, causalLM({ model, rows, batchSize: 2 }), 1)();
 */
export function evaluator(model: Module, task: TrainingTask, batches: number): () => Promise<Evaluation> {
  const forward = compile((batch: DeviceBatch) => noGrad(() => task.losses(batch)), {
    name: `evaluation of ${task.name}`,
    maxPrograms: 32,
    log: () => undefined,
  });
  return async () => {
    using _mode = evalMode(model);
    const sums = new Map<string, { total: number; count: number }>();
    for (let index = 0; index < batches; index++) {
      using _ = scope();
      const batch = await task.batch(index);
      const losses = forward(toDevice(batch));
      for (const [name, count] of Object.entries(batch.counts)) {
        const sum = sums.get(name) ?? { total: 0, count: 0 };
        // The mean over no labels is no number.
        if (count > 0) sum.total += count * (await losses[name]!.item());
        sum.count += count;
        sums.set(name, sum);
      }
    }
    const parts = [...sums].map(([name, { total, count }]) => [name, total / count] as const);
    const trained = parts.filter(([name]) => !task.measures?.includes(name));
    const loss = trained.reduce((sum, [, value]) => sum + value, 0);
    return { loss, ...(parts.length > 1 ? Object.fromEntries(parts) : {}) };
  };
}
