// The library as npm gives it: built, packed, and used from an empty folder by plain Node and a strict tsc.
import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from './support/files.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

interface Package {
  readonly version: string;
  readonly exports: Readonly<Record<string, { readonly types: string; readonly default: string } | string>>;
  readonly dependencies: Readonly<Record<string, string>>;
}

const test = suite('package');
const run = promisify(execFile);
const tsc = join(root, 'node_modules/typescript/bin/tsc');
let folder = '';
temporaryFolder(test, (made) => (folder = made));

const readPackage = async (): Promise<Package> =>
  JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as Package;

/** Runs plain Node in the folder, with nothing of what started this process. */
async function node(args: readonly string[]): Promise<string> {
  const env = { ...process.env, NODE_OPTIONS: '', TAPEFORM_QUIET: '1' };
  const { stdout } = await run(process.execPath, args, { cwd: folder, env });
  return stdout;
}

test('built and installed, it works in plain JavaScript, and its types pass a strict tsc', async () => {
  await install();
  await useJavaScript();
  await useTypes();
});

/** Builds the package into the folder, with what it depends on. */
async function install(): Promise<void> {
  const own = join(folder, 'node_modules/tapeform');
  const description = await readPackage();
  await run(process.execPath, [tsc, '-p', join(root, 'tsconfig.build.json'), '--outDir', join(own, 'dist')]);
  await cp(join(root, 'package.json'), join(own, 'package.json'));
  for (const name of [...Object.keys(description.dependencies), '@types/node', '@webgpu/types']) {
    const path = join(folder, 'node_modules', name);
    await mkdir(dirname(path), { recursive: true });
    await symlink(join(root, 'node_modules', name), path);
  }
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
}

/** Trains, saves, loads and writes. */
async function useJavaScript(): Promise<void> {
  await writeFile(
    join(folder, 'use.js'),
    `import { AdamW, compile, decayGroups, generateText, GPT2LMHeadModel, loadModel, manualSeed, pipeline, tensor,
      Tokenizer } from 'tapeform';
    manualSeed(1);
    const tokenizer = Tokenizer.gpt2();
    const config = { vocabSize: tokenizer.vocabSize, nPositions: 32, nEmbd: 16, nLayer: 1, nHead: 2 };
    const model = GPT2LMHeadModel.fromConfig(config);
    const optimizer = new AdamW(decayGroups(model.namedParameters(), 0.01), { lr: 0.01 });
    const ids = Array.from(tokenizer.idsOf('the whale is white and the whale is large'));
    const inputIds = tensor([ids], { dtype: 'i32' });
    const step = compile((ids) => {
      const { loss } = model.forward({ inputIds: ids, labels: ids });
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
      return loss.detach();
    });
    const losses = [];
    for (let i = 0; i < 12; i++) losses.push(await step(inputIds).item());
    await model.savePretrained('saved', { tokenizer });
    const [{ tokens }] = await generateText(await loadModel('saved'), tokenizer, 'the', { maxNewTokens: 3 });
    const refused = await pipeline('fill-mask').catch(({ message }) => message);
    console.log(JSON.stringify({ losses, tokens, refused }));`,
  );
  const { losses, tokens, refused } = JSON.parse(await node(['use.js'])) as {
    readonly losses: number[];
    readonly tokens: number[];
    readonly refused: string;
  };
  assert.ok(losses.at(-1)! < losses[0]! - 0.5, losses.join());
  assert.is(tokens.length, 3);
  assert.is(
    refused,
    'the small model bert-small comes in a package of its own: npm install tapeform-models, or name a model',
  );
  const description = await readPackage();
  const rooms = Object.entries(description.exports).filter(([, target]) => typeof target === 'object');
  const names = rooms.map(([name]) => name.replace('.', 'tapeform'));
  const imports = names.map((name) => `console.log(Object.keys(await import('${name}')).length > 3);`);
  assert.is(await node(['--input-type=module', '-e', imports.join('\n')]), 'true\n'.repeat(rooms.length));
}

/** The library's own types are checked with the user's. */
async function useTypes(): Promise<void> {
  await writeFile(
    join(folder, 'use.ts'),
    `import { AdamW, BertForMaskedLM, decayGroups, GPT2LMHeadModel, pipeline, tensor } from 'tapeform';
    import type { GenerationOptions, Tensor } from 'tapeform';
    import { defineOp } from 'tapeform/autograd';
    const model = GPT2LMHeadModel.fromConfig({ vocabSize: 10 });
    const optimizer: AdamW = new AdamW(decayGroups(model.namedParameters(), 0.01), { lr: 0.01 });
    const x: Tensor = tensor([[1]], { dtype: 'i32' });
    const loss: Tensor = model.forward({ inputIds: x, labels: x }).loss;
    const y: Tensor = x.add(1).matmul(x);
    const logits: Tensor = BertForMaskedLM.fromConfig({}).forward({ inputIds: x }).logits;
    const options: GenerationOptions = { maxNewTokens: 3 };
    const write = await pipeline('text-generation');
    const [first] = await write('a', options);
    export default [first!.generated_text, optimizer.lr, loss, y, logits, defineOp];
    // @ts-expect-error: a text is no number
    export const wrong: number = first!.generated_text;`,
  );
  const compilerOptions = {
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    target: 'ES2023',
    lib: ['ES2023', 'ESNext.Disposable', 'DOM'],
    module: 'NodeNext',
    noEmit: true,
    types: ['node'],
  };
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['use.ts'] }));
  const { stdout } = await run(process.execPath, [tsc, '-p', folder]).catch((error: { stdout: string }) => error);
  assert.is(stdout, '');
}

test.run();
