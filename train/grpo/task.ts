import { compile, noGrad, scope, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { evalMode } from '../../models/index.ts';
import type { CausalLM } from '../../models/index.ts';
import { paddedLength } from '../../models/pipelines/rows.ts';
import { endlessBatches } from '../data/batches.ts';
import { grpoLosses, tokenLogProbs } from '../objectives/grpo.ts';
import type { GrpoOptions } from '../objectives/grpo.ts';
import { i32 } from '../objectives/rows.ts';
import type { HostArray, TrainingTask } from '../objectives/task.ts';
import type { Problem } from './problems.ts';
import { keepRollout, keptRollout, measuresOf, promptOf, writeRollout } from './rollout.ts';
import type { RolloutOptions, RolloutText } from './rollout.ts';

export interface GrpoTaskOptions extends RolloutOptions, Omit<GrpoOptions, 'maxCompletionLength'> {
  readonly model: CausalLM;
  /** Logits (B, T, V) of what the model must not move far from, where beta is above 0. */
  readonly reference?: (inputIds: Tensor) => Tensor;
  readonly problems: readonly Problem[];
  /** Problems a step. */
  readonly batchSize: number;
  /** Steps that learn from the same texts, one after another. */
  readonly numIterations: number;
  /** The run's folder, where what the model wrote is kept. */
  readonly output: string;
}

/**
 * Group Relative Policy Optimization (Shao et al. 2024): the model writes several texts for each problem, and
 * those that are better than their group become more probable. Parts: `policy`, with a reference `kl`.
 */
export function grpoTask(options: GrpoTaskOptions): TrainingTask {
  const { model, reference, problems, tokenizer, chatTemplate, temperature, output, numIterations: count } = options;
  const lengths = problems.map((problem) => tokenizer.idsOf(promptOf(problem, tokenizer, chatTemplate)).length);
  checkRoom(problems, lengths, options);
  // Not by length: problems of one length are often of one kind, and steps of one kind each pull to and fro.
  const { batchesPerEpoch, indices } = endlessBatches(new Uint8Array(problems.length), options);
  const logitsOf = (inputIds: Tensor): Tensor => model.forward({ inputIds }).logits;
  const logProbs = (logits: typeof logitsOf) =>
    compile((inputIds: Tensor) => noGrad(() => tokenLogProbs(logits(inputIds), inputIds, temperature)), {
      name: 'log-probabilities',
      maxPrograms: 32,
      log: () => undefined,
    });
  const ofModel = logProbs(logitsOf);
  const ofReference = reference && logProbs(reference);
  const values = async (of: typeof ofModel, inputIds: HostArray): Promise<Float32Array> => {
    using _ = scope();
    return (await of(tensor(inputIds.data, { shape: inputIds.shape }))).data() as Promise<Float32Array>;
  };

  let current: { readonly index: number; readonly texts: readonly RolloutText[] } | undefined;
  const textsOf = async (index: number, isFirst: boolean): Promise<readonly RolloutText[]> => {
    if (current?.index === index) return current.texts;
    const kept = isFirst ? undefined : await keptRollout(output, index);
    if (kept) return (current = { index, texts: kept }).texts;
    if (!isFirst)
      throw new Error(`grpo: ${output} lacks the texts of rollout ${index} that the run was at; begin it anew`);
    const texts = await writeRollout(
      indices(index).map((i) => problems[i]!),
      index,
      options,
    );
    if (count > 1) {
      const rows = rowsOf(texts);
      using _mode = evalMode(model);
      const logps = await values(ofModel, rows.inputIds);
      const width = rows.inputIds.shape[1]! - 1;
      texts.forEach((text, b) => {
        const from = b * width + text.start - 1;
        text.logps = Array.from(logps.subarray(from, from + text.ids.length - text.start));
      });
    }
    await keepRollout(output, index, texts);
    return (current = { index, texts }).texts;
  };

  return {
    name: 'grpo',
    lossLabel: 'loss',
    followsModel: true,
    // Means over all tokens are none over texts.
    ...(options.lossType === 'dapo' ? {} : { examples: { labels: { policy: 'advantages', kl: 'advantages' } } }),
    batchesPerEpoch: batchesPerEpoch * count,
    async batch(index) {
      const texts = await textsOf(Math.floor(index / count), index % count === 0);
      const { inputIds, mask, tokens } = rowsOf(texts);
      const [rows, length] = inputIds.shape as [number, number];
      const float = (data: Float32Array): HostArray => ({ data, shape: [rows, length - 1] });
      const old = new Float32Array(rows * (length - 1));
      texts.forEach(({ logps, start }, b) => logps && old.set(logps, b * (length - 1) + start - 1));
      return {
        arrays: {
          inputIds,
          mask: float(mask),
          advantages: { data: Float32Array.from(texts, ({ advantage }) => advantage), shape: [rows] },
          ...(count > 1 ? { oldLogps: float(old) } : {}),
          ...(ofReference ? { refLogps: float(await values(ofReference, inputIds)) } : {}),
        },
        counts: { policy: rows, ...(ofReference ? { kl: rows } : {}) },
        tokens,
        measures: measuresOf(texts),
      };
    },
    losses({ inputIds, mask, advantages, oldLogps, refLogps }) {
      const logps = tokenLogProbs(logitsOf(inputIds!), inputIds!, temperature);
      const batch = { logps, mask: mask!, advantages: advantages!, oldLogps, refLogps };
      return { ...grpoLosses(batch, { ...options, maxCompletionLength: options.maxNewTokens }) };
    },
  };
}

/** Prompts with their texts, padded on the right, where no token looks; the mask is of what follows each. */
function rowsOf(texts: readonly RolloutText[]): { inputIds: HostArray; mask: Float32Array; tokens: number } {
  const length = paddedLength(Math.max(...texts.map(({ ids }) => ids.length)));
  const inputIds = new Int32Array(texts.length * length);
  const mask = new Float32Array(texts.length * (length - 1));
  texts.forEach(({ ids, start }, b) => {
    inputIds.set(ids, b * length);
    mask.fill(1, b * (length - 1) + start - 1, b * (length - 1) + ids.length - 1);
  });
  return {
    inputIds: i32(inputIds, texts.length, length),
    mask,
    tokens: texts.reduce((sum, { ids }) => sum + ids.length, 0),
  };
}

function checkRoom(
  problems: readonly Problem[],
  lengths: readonly number[],
  { model, maxNewTokens, numGenerations }: GrpoTaskOptions,
): void {
  const { positions } = model.decoder();
  if (numGenerations < 2) throw new Error('grpo: a group of 1 text has nothing to compare it with; ask for 2 or more');
  const long = lengths.findIndex((length) => length + maxNewTokens > positions);
  if (long >= 0)
    throw new Error(
      `${problems[long]!.where}: ${lengths[long]} tokens and ${maxNewTokens} to write are more than the model's ` +
        `${positions}; lower --max-new-tokens or shorten the prompt`,
    );
}
