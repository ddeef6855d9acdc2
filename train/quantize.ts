/**
 * Writes a decoder as a GGUF file with weights of 4 or 8 bits, rounded to nearest, by GPTQ or AWQ, which read
 * some texts to see what the weights are used for, or by HQQ; and tells what it cost. Or any model as a
 * folder with packed weights, which Transformers reads with the library compressed-tensors.
 *
 *   node --import tsx train/quantize.ts --model runs/gpt --output gpt.gguf --data texts/
 *   node --import tsx train/quantize.ts --model FOLDER --output small.gguf --precision q8_0 --method nearest
 *   node --import tsx train/quantize.ts --model runs/spam-assassin --output runs/spam-8-bits --precision q8_0
 */
import { stat } from 'node:fs/promises';
import { tensor } from '../autograd/index.ts';
import { writeFilesAtomic } from '../common/atomic-files.ts';
import { claimFolder } from '../common/lock.ts';
import { progress } from '../common/progress.ts';
import { checkOutputFile } from '../common/staged-file.ts';
import { alignTable } from '../common/text-table.ts';
import { ggufFile, isGguf, loadModel, loadTextGenerator, loadTokenizer, logLikelihoods } from '../models/index.ts';
import type { CausalLM } from '../models/index.ts';
import { chunks } from '../models/pipelines/rows.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import { loadDecoder, shippedGpt } from './cli/fine-tune.ts';
import { scaleForActivations } from './compress/awq.ts';
import { gptq, InputProducts } from './compress/gptq.ts';
import { hqq } from './compress/hqq.ts';
import { diagonalOf, precisions, roundBlocks } from './compress/rounding.ts';
import type { Precision } from './compress/rounding.ts';
import { windowsOf } from './compress/windows.ts';
import { perplexity } from './metrics/perplexity.ts';
import { weightBytes } from './report/model-card.ts';

const command = {
  name: 'quantize',
  summary: 'Writes a decoder as a GGUF file, or any model as a folder, with weights of 4 or 8 bits.',
  usage: 'node --import tsx train/quantize.ts',
  options: {
    model: { type: 'string', help: 'folder, GGUF file or name; default the small GPT that comes with the project' },
    output: { type: 'path', required: true, help: 'file.gguf, or folder, to write' },
    precision: {
      type: 'choice',
      choices: [...precisions, 'nf4', 'int8'],
      default: 'q4_0',
      help:
        'type of the weights, in blocks of 32; folders may have nf4, in blocks of 64, as the library bitsandbytes, ' +
        'or int8: what layers read is rounded, too',
    },
    method: {
      type: 'choice',
      choices: ['gptq', 'awq', 'hqq', 'nearest'],
      help:
        'gptq, default for files: what is lost in a weight those after it make good; awq: weights of large inputs ' +
        'are rounded more finely; hqq, q4_1 without texts: a robust minimum; nearest, for folders: each by itself',
    },
    finer: {
      type: 'string',
      help:
        'weights that have 8 bits in a file of 4, by parts of their names with commas between, as ' +
        'down_proj,layers.0.',
    },
    data: {
      type: 'string',
      default: 'sotu',
      help: 'texts that gptq or awq read, and others of them that the test reads',
    },
    calibration: { type: 'int', default: 64, min: 1, help: 'rows of tokens that gptq or awq read' },
    evaluation: { type: 'int', default: 64, min: 0, help: 'rows of tokens that the test reads; 0: no test' },
    maxLength: { type: 'int', default: 256, min: 8, help: 'tokens of a row, if the model can' },
    damping: { type: 'number', default: 0.01, min: 0, help: 'gptq: more of it trusts the texts less' },
    batchSize: { type: 'int', default: 8, min: 1, help: 'rows at once' },
    seed: { type: 'int', default: 42, min: 0, help: 'of the choice of texts' },
  },
} as const;

type Values = ReturnType<typeof parseOptions<typeof command.options>>['values'];

main(async () => {
  const { values } = parseOptions(command);
  const { model: name = shippedGpt(), output, precision, batchSize, damping } = values;
  if (!isGguf(output)) return writeFolder(name, values);
  if (precision === 'nf4' || precision === 'int8')
    throw new UsageError(
      `${command.name}: GGUF files have no ${precision.toUpperCase()}; name a folder with --output, or give q4_0`,
    );
  const { method = 'gptq' } = values;
  const reads = method === 'gptq' || method === 'awq';
  if (method === 'hqq' && precision !== 'q4_1')
    throw new UsageError(`${command.name}: hqq finds a minimum for each block; give --precision q4_1`);
  await checkOutputFile(output);
  const { model, tokenizer } = await loadDecoder(name);
  model.eval();
  const finer = finerOf(model, values);
  const width = Math.min(values.maxLength, model.decoder().positions);
  const { calibration, test } = await windowsOf(values.data, tokenizer, {
    width,
    calibration: reads ? values.calibration : 0,
    test: values.evaluation,
    seed: values.seed,
  });
  const products = new InputProducts();
  if (reads) {
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
  const importance = method === 'awq' ? await withScales(model, precision, products) : undefined;
  const make = (parameter: string, rows: Float32Array): Uint8Array | undefined => {
    const product = products.of(parameter);
    if (method === 'hqq') return hqq(rows);
    if (!product) return undefined;
    if (method === 'gptq') return gptq(precision, rows, product, { damping });
    return roundBlocks(precision, rows, importance?.get(parameter) ?? diagonalOf(product));
  };
  let [made, rounded] = [0, 0];
  const quantizer = (parameter: string, type: string, rows: Float32Array): Uint8Array | undefined => {
    const data = type === precision.toUpperCase() ? make(parameter, rows) : undefined;
    if (data) made++;
    else rounded++;
    return data;
  };
  const file = ggufFile(output, model, tokenizer, precision, quantizer, finer);
  await writeFilesAtomic([file]);
  const bytes = (await stat(output)).size;
  if (method !== 'nearest')
    console.log(`${method.padEnd(8)} ${made} matrices; ${rounded} others are rounded or kept as they are`);
  console.log(`saved    ${output}, ${(bytes / 1e6).toFixed(1)} MB, of ${megabytes(model)} MB in f32`);
  if (before === undefined) return;
  const after = await perplexityOf(output, test, batchSize);
  const rows = [
    ['f32', before.toFixed(3), ''],
    [`${precision}, ${method}`, after.toFixed(3), `${(100 * (after / before - 1)).toFixed(2)}%`],
  ];
  console.log(`\n${alignTable(['held-out texts', 'perplexity', 'more'], rows, new Set([1, 2]))}`);
});

/** Whether a parameter is one of `--finer`. Errors: a part of a name that none has; a file of 8 bits. */
function finerOf(model: CausalLM, { finer, precision }: Values): ((parameter: string) => boolean) | undefined {
  if (finer === undefined) return undefined;
  if (precision === 'q8_0')
    throw new UsageError(`${command.name}: --finer ${finer} is for files of 4 bits; give --precision q4_0 or q4_1`);
  const parts = finer.split(',').map((part) => part.trim());
  const names = model.namedParameters().map(([parameter]) => parameter);
  const odd = parts.find((part) => part === '' || !names.some((parameter) => parameter.includes(part)));
  if (odd !== undefined)
    throw new UsageError(
      `${command.name}: --finer "${odd}" is in the name of no weight; there are ${names.slice(1, 4).join(', ')} and ` +
        'others',
    );
  return (parameter) => parts.some((part) => parameter.includes(part));
}

/** Any model with weights rounded to nearest, in a folder. */
async function writeFolder(name: string, { output, precision, method, finer }: Values): Promise<void> {
  if (finer !== undefined)
    throw new UsageError(`${command.name}: --finer ${finer} is for GGUF files; end --output ${output} with .gguf`);
  if (method !== undefined && method !== 'nearest')
    throw new UsageError(
      `${command.name}: ${method} writes GGUF files; end --output ${output} with .gguf, or leave it away`,
    );
  await claimFolder(output);
  const model = await loadModel(name, { quantize: precision });
  await model.savePretrained(output, { tokenizer: await loadTokenizer(name) });
  console.log(
    `saved    ${output}, ${((await weightBytes(output)) / 1e6).toFixed(1)} MB, of ${megabytes(model)} MB in f32`,
  );
}

/** A model scaled for what it reads, with a bar; see `scaleForActivations`. */
async function withScales(model: CausalLM, precision: Precision, products: InputProducts) {
  const bar = progress({ total: 1 });
  try {
    return await scaleForActivations(model as never, precision, products, (done, total) =>
      bar.update(done, { total, label: 'scales chosen' }),
    );
  } finally {
    bar.stop();
  }
}

const onDevice = (rows: readonly Int32Array[]) =>
  tensor(Int32Array.from(rows.flatMap((row) => [...row])), { shape: [rows.length, rows[0]!.length] });
const megabytes = (model: Pick<CausalLM, 'numParameters'>): string => ((4 * model.numParameters()) / 1e6).toFixed(1);

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
