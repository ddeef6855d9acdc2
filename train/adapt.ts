/**
 * Domain adaptation: goes on pretraining a model on texts of a new domain, with some of the old among them so
 * that it forgets little, and tells what was learnt and what forgotten.
 *
 *   node --import tsx train/adapt.ts --model runs/bert --data mails/ --old-data sotu+moby-dick
 *   node --import tsx train/adapt.ts --model gpt2 --data law.txt --new-words 500
 *   node --import tsx train/adapt.ts --model SmolLM2.gguf --data law.txt --lora 8 --quantize keep
 */
import { join } from 'node:path';
import { manualSeed } from '../autograd/index.ts';
import { initAdapter, loadTokenizer, readModelFolder, resolveModelFolder } from '../models/index.ts';
import { keyValueHeads } from '../models/transformer/decoder-config.ts';
import { alignTable } from '../common/text-table.ts';
import { domainWords } from './adaptation/index.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import { adapterFlags, adapterOf, checkAdapterFlags, quantizeFlag, virtualTokensOf } from './cli/fine-tune.ts';
import { expandInputs, readDocuments } from './data/readers/inputs.ts';
import { mixedRows } from './objectives/index.ts';
import { loadAdaptable } from './adaptation/adaptable.ts';
import type { Adaptable } from './adaptation/adaptable.ts';
import { corpusFlags, corpusFolder, corpusOfFlags } from './pretraining/corpus.ts';
import type { PretrainingCorpus } from './pretraining/corpus.ts';
import { describePretraining } from './pretraining/pretrain.ts';
import { evaluator } from './trainer/evaluate.ts';
import type { Evaluation } from './trainer/evaluate.ts';
import { trainerFlags, trainerSettings } from './trainer/settings.ts';
import { claimRun, resumeCommand, resumeOf } from './trainer/run-state.ts';
import { describeMemory } from './trainer/step-memory.ts';
import { train } from './trainer/trainer.ts';

const { vocabSize: _, ...textFlags } = corpusFlags;

const command = {
  name: 'adapt',
  summary: 'Goes on pretraining a BERT, or any decoder, on texts of a new domain.',
  usage: 'node --import tsx train/adapt.ts',
  options: {
    model: { type: 'string', required: true, help: 'folder, GGUF file, model in the Hugging Face cache, or hub name' },
    ...textFlags,
    data: { type: 'string', required: true, help: `texts of the new domain: ${corpusFlags.data.help}` },
    oldData: {
      type: 'string',
      help: 'texts like those that the model was pretrained on, to mix in and to measure forgetting',
    },
    oldShare: { type: 'number', default: 0.25, min: 0, max: 1, help: 'share of the rows that are of the old domain' },
    newWords: { type: 'int', default: 0, min: 0, help: 'words of the domain that get a token of their own' },
    kvHeads: {
      type: 'int',
      min: 1,
      help: 'a decoder begins with so many heads of keys and values, each the mean of some, which queries then share',
    },
    context: { type: 'int', default: 128, min: 8, help: 'tokens a row' },
    batchSize: { type: 'int', default: 16, min: 1, help: 'rows a batch' },
    steps: { type: 'int', default: 500, min: 1, help: 'optimizer steps' },
    learningRate: { type: 'number', default: 2e-4, min: 0, help: 'highest learning rate' },
    ...adapterFlags,
    quantize: quantizeFlag,
    ...trainerFlags,
    evaluationBatches: { type: 'int', default: 50, min: 0, help: 'batches an evaluation looks at; 0 for all' },
    output: { type: 'path', default: 'runs/adapted', help: 'folder for model, corpora, log, curves and checkpoints' },
  },
  presets: {
    minutes: { steps: 200, batchSize: 8, context: 64 },
    gpu: { steps: 10000, batchSize: 32, context: 512, precision: 'mixed' },
  },
} as const;

main(async () => {
  const { values } = parseOptions(command);
  const { output, seed, batchSize, context, oldData, oldShare } = values;
  if (oldData && oldShare >= 1) throw new UsageError(`${command.name}: --old-share must be below 1, or nothing is new`);
  const adapter = adapterOf(values);
  if (adapter && values.newWords > 0)
    throw new UsageError(`${command.name}: new words need weights of their own; leave --new-words or the adapter out`);
  if (values.kvHeads !== undefined && (adapter ?? values.quantize) !== undefined)
    throw new UsageError(
      `${command.name}: --kv-heads makes other weights, which all learn; leave adapter and --quantize out`,
    );
  checkAdapterFlags(values);
  await claimRun(command.name, output, resumeOf(values));
  const folder = await resolveModelFolder(values.model);
  const load = async () => {
    const original = await loadTokenizer(folder);
    const words = values.newWords > 0 ? await domainWords(textsOf(values), original, { count: values.newWords }) : [];
    manualSeed(seed);
    const spelt = words.map(({ word }) => word);
    return { words, adaptable: await loadAdaptable(folder, original, spelt, values) };
  };
  const { words, adaptable } = await readModelFolder(folder, load);
  const { model, tokenizer } = adaptable;
  const positions = adaptable.positions - virtualTokensOf(values);
  if (context > positions)
    throw new UsageError(
      `${command.name}: --context ${context} is longer than the ${positions} positions of the model`,
    );

  const prepare = (data: string, name: string): Promise<PretrainingCorpus> =>
    corpusOfFlags({ ...values, data, vocabSize: 0 }, join(corpusFolder(output), name), () =>
      Promise.resolve(tokenizer),
    );
  const fresh = await prepare(values.data, 'new');
  const old = oldData === undefined ? undefined : await prepare(oldData, 'old');
  const rows = (corpus: PretrainingCorpus, of: number) => adaptable.rows(corpus.train, { length: context, seed: of });
  const mixed =
    old && oldShare > 0
      ? mixedRows(
          [
            { rows: rows(fresh, seed), weight: 1 - oldShare },
            { rows: rows(old, seed + 1), weight: oldShare },
          ],
          { seed },
        )
      : rows(fresh, seed);
  const task = adaptable.task(mixed, { batchSize, seed });
  const domains = [...heldOut('new', adaptable, fresh, values), ...(old ? heldOut('old', adaptable, old, values) : [])];
  console.log(describePretraining(fresh, model, task, `rows of ${context} tokens`));
  if (words.length > 0)
    console.log(
      `words  ${words.length} new tokens: ${words
        .slice(0, 8)
        .map(({ word }) => word.trim())
        .join(', ')}, ...`,
    );

  if (values.kvHeads !== undefined) {
    const original = await loadAdaptable(folder, tokenizer, []);
    for (const { name, evaluate } of heldOut('new', original, fresh, values)) {
      const { loss } = await evaluate();
      const heads = keyValueHeads(original.model.config as never);
      console.log(
        `heads  ${heads} of keys and values become ${values.kvHeads}; with all of them ${name} has ${told(loss!)}`,
      );
    }
  }
  const measure = async (): Promise<Evaluation> => {
    const losses: [string, number][] = [];
    for (const { name, evaluate } of domains) losses.push([name, (await evaluate())['loss']!]);
    return Object.fromEntries(losses);
  };
  // A resumed run measures the model it began with, which its own weights replace afterwards.
  const before = await measure();
  const { evaluations, memory } = await train({
    model: adapter ? await initAdapter(model, adapter, { tokenizer }) : model,
    tokenizer,
    task,
    options: trainerSettings(values),
    ...(domains.length > 0 ? { evaluate: measure, best: { name: domains[0]!.name, mode: 'min' as const } } : {}),
    identity: {
      data: fresh.train.hash,
      validation: fresh.validation?.hash,
      old: old?.train.hash,
      oldShare,
      batchSize,
      context,
      words: words.length,
      ...(values.kvHeads === undefined ? {} : { kvHeads: values.kvHeads }),
    },
    output,
    resume: resumeOf(values),
    resumeCommand: resumeCommand(command.usage),
  });
  const after = evaluations.at(-1)?.evaluation ?? {};
  if (memory) console.log(describeMemory(memory));
  console.log(`\n${compare(domains, before, after)}`);
  console.log(`saved  ${output} (loads in Transformers too), report in ${join(output, 'report.html')}`);
});

type Values = ReturnType<typeof parseOptions<typeof command.options>>['values'];

async function* textsOf({ data, documents, textColumn }: Values): AsyncGenerator<string> {
  for await (const { text } of readDocuments(await expandInputs([data]), { documents, textColumn })) yield text;
}

interface Domain {
  readonly name: string;
  readonly evaluate: () => Promise<Evaluation>;
  /**
   * Tokens for each character, where the loss is over all tokens: makes those of different vocabularies
   * comparable.
   */
  readonly density: number | undefined;
}

function heldOut(
  name: string,
  adaptable: Adaptable,
  { validation, card }: PretrainingCorpus,
  { context, batchSize, seed, evaluationBatches }: Values,
): Domain[] {
  if (!validation) return [];
  const task = adaptable.task(adaptable.rows(validation, { length: context }), { batchSize, seed });
  const { tokens, characters } = card.splits.validation!;
  const batches = Math.min(evaluationBatches || Infinity, task.batchesPerEpoch);
  const density = adaptable.part === 'lm' ? tokens / characters : undefined;
  return [{ name, evaluate: evaluator(adaptable.model, task, batches), density }];
}

const told = (loss: number): string => `a loss of ${loss.toFixed(4)}, perplexity ${Math.exp(loss).toFixed(2)}`;

/** Held-out loss and perplexity of each domain before and after. */
function compare(domains: readonly Domain[], before: Evaluation, after: Evaluation): string {
  const bits = domains.some(({ density }) => density !== undefined) ? ['bits/character'] : [];
  const head = ['held out', 'loss before', 'after', 'perplexity before', 'after', 'change', ...bits];
  const rows = domains.map(({ name, density }) => {
    const [a, b] = [before[name]!, after[name]!];
    const change = 100 * (Math.exp(b - a) - 1);
    return [
      name,
      ...[a, b].map((loss) => loss.toFixed(4)),
      ...[a, b].map((loss) => Math.exp(loss).toFixed(2)),
      `${change > 0 ? '+' : ''}${change.toFixed(1)}%`,
      ...(density === undefined ? [] : [((b * density) / Math.LN2).toFixed(3)]),
    ];
  });
  return alignTable(head, rows, new Set([1, 2, 3, 4, 5, 6]));
}
