/**
 * Writes a decoder as a GGUF file with weights of 4 or 8 bits, rounded to nearest or by GPTQ, which reads
 * some texts to see what the weights are used for; and tells what it cost.
 *
 *   node --import tsx train/quantize.ts --model runs/gpt --output gpt.gguf --data texts/
 *   node --import tsx train/quantize.ts --model FOLDER --output small.gguf --precision q8_0 --method nearest
 */
import { stat } from 'node:fs/promises';
import { tensor } from '../autograd/index.ts';
import { writeFilesAtomic } from '../common/atomic-files.ts';
import { progress } from '../common/progress.ts';
import { alignTable } from '../common/text-table.ts';
import { ggufFile, isGguf, loadTextGenerator, logLikelihoods } from '../models/index.ts';
import type { CausalLM } from '../models/index.ts';
import { chunks } from '../models/pipelines/rows.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import { loadDecoder, shippedGpt } from './cli/fine-tune.ts';
import { gptq, gptqTypes, InputProducts } from './compress/gptq.ts';
import { windowsOf } from './compress/windows.ts';
import { perplexity } from './metrics/perplexity.ts';

const command = {
  name: 'quantize',
  summary: 'Writes a decoder as a GGUF file with weights of 4 or 8 bits, and tells what it cost.',
  usage: 'node --import tsx train/quantize.ts',
  options: {
    model: { type: 'string', help: 'folder, GGUF file or name; default the small GPT that comes with the project' },
    output: { type: 'path', required: true, help: 'file.gguf to write' },
    precision: { type: 'choice', choices: gptqTypes, default: 'q4_0', help: 'type of the weights, in blocks of 32' },
    method: {
      type: 'choice',
      choices: ['gptq', 'nearest'],
      default: 'gptq',
      help: 'gptq: what is lost in a weight those after it make good; nearest: each is rounded by itself',
    },
    data: { type: 'string', default: 'sotu', help: 'texts that gptq reads, and others of them that the test reads' },
    calibration: { type: 'int', default: 64, min: 1, help: 'rows of tokens that gptq reads' },
    evaluation: { type: 'int', default: 64, min: 0, help: 'rows of tokens that the test reads; 0: no test' },
    maxLength: { type: 'int', default: 256, min: 8, help: 'tokens of a row, if the model can' },
    damping: { type: 'number', default: 0.01, min: 0, help: 'gptq: more of it trusts the texts less' },
    batchSize: { type: 'int', default: 8, min: 1, help: 'rows at once' },
    seed: { type: 'int', default: 42, min: 0, help: 'of the choice of texts' },
  },
} as const;

main(async () => {
  const { values } = parseOptions(command);
  const { model: name = shippedGpt(), output, precision, method, batchSize, damping } = values;
  if (!isGguf(output))
    throw new UsageError(`${command.name}: --output ${output} is to be a GGUF file; end it with .gguf`);
  const { model, tokenizer } = await loadDecoder(name);
  model.eval();
  const width = Math.min(values.maxLength, model.decoder().positions);
  const { calibration, test } = await windowsOf(values.data, tokenizer, {
    width,
    calibration: method === 'gptq' ? values.calibration : 0,
    test: values.evaluation,
    seed: values.seed,
  });
  const products = new InputProducts();
  if (method === 'gptq') {
    const bar = progress({ total: calibration.length });
    try {
      let read = 0;
      for (const rows of chunks(calibration, batchSize)) {
        await products.add(model, () => void model.lastHiddenState(onDevice(rows)));
        bar.update((read += rows.length), { label: 'rows read' });
      }
    } finally {
      bar.stop();
    }
  }
  const before = test.length > 0 ? await perplexityOn(model, test, batchSize) : undefined;
  let [made, rounded] = [0, 0];
  const file = ggufFile(output, model, tokenizer, precision, (parameter, type, rows) => {
    const product = products.of(parameter);
    if (product === undefined || type !== precision.toUpperCase()) {
      rounded++;
      return undefined;
    }
    made++;
    return gptq(precision, rows, product, { damping });
  });
  await writeFilesAtomic([file]);
  const bytes = (await stat(output)).size;
  if (method === 'gptq') console.log(`gptq     ${made} matrices; ${rounded} others are rounded or kept as they are`);
  console.log(`saved    ${output}, ${(bytes / 1e6).toFixed(1)} MB, of ${megabytes(model)} MB in f32`);
  if (before === undefined) return;
  const after = await perplexityOf(output, test, batchSize);
  const rows = [
    ['f32', before.toFixed(3), ''],
    [`${precision}, ${method}`, after.toFixed(3), `${(100 * (after / before - 1)).toFixed(2)}%`],
  ];
  console.log(`\n${alignTable(['held-out texts', 'perplexity', 'more'], rows, new Set([1, 2]))}`);
});

const onDevice = (rows: readonly Int32Array[]) =>
  tensor(Int32Array.from(rows.flatMap((row) => [...row])), { shape: [rows.length, rows[0]!.length] });
const megabytes = (model: CausalLM): string => ((4 * model.numParameters()) / 1e6).toFixed(1);

/** Perplexity of rows, each but its first token. */
async function perplexityOn(model: CausalLM, rows: readonly Int32Array[], batchSize: number): Promise<number> {
  const continuations = rows.map((row) => ({ context: row.subarray(0, 1), continuation: row.subarray(1) }));
  const scores = await logLikelihoods(model, continuations, { batchSize });
  return perplexity(
    scores.map(({ logLikelihood }) => -logLikelihood),
    scores.map(({ logProbs }) => logProbs.length),
  );
}

/** The same of the file, whose blocks stay as they are. */
async function perplexityOf(path: string, rows: readonly Int32Array[], batchSize: number): Promise<number> {
  const { model } = await loadTextGenerator(path, { quantize: 'keep' });
  return perplexityOn(model as CausalLM, rows, batchSize);
}
