import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ts from 'typescript';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compilerOptions, entries, moduleOf, publicValues, typeErrors } from './support/examples.ts';
import type { PublicValue } from './support/examples.ts';
import { root } from './support/files.ts';
import { runScript } from './support/script.ts';

/**
 * Every public function and class has an `@example`, which runs. All names that the package exports are in
 * scope there. A comment behind a statement is the value of it: of a tensor its elements, of a promise what
 * comes of it.
 */
const test = suite('examples of the public names');

/** Those without, by the reason: names with their files. */
const without: Readonly<Record<string, readonly string[]>> = {
  'for the first statement of a program': ['autograd/runtime.ts: init', 'gpu/device.ts: init'],
  'takes minutes, or what a package brings': [
    'autograd/inspect/autotune.ts: autotune',
    'train/data/spam-assassin.ts: loadSpamAssassin',
    'train/evaluation/evaluate.ts: evaluateTasks',
    'train/evaluation/report.ts: resultTables',
  ],
  'for those who write ops and kernels, of which CONTRIBUTING.md shows whole files': [
    'autograd/compile/explain.ts: statistics',
    'autograd/inspect/anomaly.ts: setAnomalyLabel',
    'autograd/op.ts: defineOp',
    'autograd/op.ts: defineView',
    'autograd/ops/assign.ts: checkHolds',
    'autograd/ops/assign.ts: checkWritable',
    'autograd/ops/known-range.ts: knownRange',
    'autograd/tape.ts: apply',
    'gpu/debug.ts: debugOp',
    'gpu/recording.ts: Recording',
    'kernels/gather.ts: gatherAxis',
    'kernels/gather.ts: gatherRows',
    'kernels/gather.ts: linkOccurrences',
    'kernels/gather.ts: scatterAddAxis',
    'kernels/gather.ts: scatterAddRows',
    'kernels/matmul/matmul.ts: chooseMatmul',
    'kernels/matmul/matmul.ts: matmulClass',
    'kernels/matmul/matmul.ts: matmulDispatch',
    'kernels/matmul/matmul.ts: matmulPlans',
    'kernels/matmul/matmul.ts: planName',
    'kernels/matmul/matmul.ts: watchMatmul',
    'kernels/norm.ts: norm',
    'kernels/norm.ts: normBackward',
    'kernels/reduce.ts: reduce',
    'kernels/softmax.ts: softmax',
    'kernels/softmax.ts: softmaxBackward',
  ],
  'for those who write families of models, of which CONTRIBUTING.md shows one': [
    'models/adapters/adapter.ts: Adapter',
    'models/bert/model.ts: BertPreTrainedModel',
    'models/bert/model.ts: rowLimits',
    'models/config.ts: defineConfig',
    'models/nn/changed-layers.ts: changedLayers',
    'models/nn/changed-layers.ts: modelOf',
    'models/nn/changed-layers.ts: nameInBase',
    'models/nn/changed-layers.ts: withChangedLayers',
    'models/transformer/causal-lm.ts: CausalLM',
    'models/transformer/causal-lm.ts: lmHead',
    'models/transformer/inputs.ts: checkDecoderInputs',
    'models/transformer/layers.ts: runLayers',
    'models/transformer/seq2seq.ts: Seq2SeqLM',
  ],
  'steps of a script of train/, which shows them': [
    'train/compress/awq.ts: scaleForActivations',
    'train/compress/early-exit.ts: exitLogits',
    'train/compress/early-exit.ts: exitObjective',
    'train/compress/importance.ts: importanceOf',
    'train/compress/token-pruning.ts: fewestTokens',
    'train/compress/weights.ts: inputNormsOf',
    'train/explain/faithfulness.ts: faithfulness',
    'train/explain/faithfulness.ts: randomisedCorrelation',
    'train/explain/faithfulness.ts: sensitivity',
    'train/explain/influence.ts: influencePage',
    'train/inside/feature-page.ts: featurePage',
    'train/trainer/epochs.ts: trainEpochs',
  ],
};

const program = ts.createProgram(
  entries.map((entry) => join(root, entry)),
  compilerOptions(),
);
const { values, names } = publicValues(program);

test('each function and class has one, or is excepted', () => {
  const bare = values.filter(({ isCallable, examples }) => isCallable && examples.length === 0);
  assert.equal(bare.map(({ file, name }) => `${file}: ${name}`).sort(), Object.values(without).flat().sort());
});

let folder = '';
const files: string[] = [];
test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tapeform-examples-'));
  await mkdir(join(folder, 'here'));
  await symlink(join(root, 'models'), join(folder, 'here/models')); // they name models/pretrained/...
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  const sources = new Map<string, PublicValue[]>();
  for (const value of values)
    if (value.examples.length > 0) sources.set(value.file, [...(sources.get(value.file) ?? []), value]);
  for (const [file, ofFile] of sources) {
    files.push(join(folder, file.replaceAll('/', '+')));
    await writeFile(files.at(-1)!, moduleOf(ofFile, names));
  }
  await writeFile(join(folder, 'files.json'), JSON.stringify(files));
});
test.after(() => rm(folder, { recursive: true, force: true }));

test('they run, and values are as stated', async () => {
  const script = join(root, 'test/support/run-examples.ts');
  const { code, stdout, stderr } = await runScript([script, folder]);
  assert.is(code, 0, stderr);
  assert.equal(JSON.parse(stdout), []);
});

test('the type checker accepts them', () => {
  const options = compilerOptions({ noUncheckedIndexedAccess: false });
  assert.equal(typeErrors(ts.createProgram(files, options), files), []);
});

test.run();
