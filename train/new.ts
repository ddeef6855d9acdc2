/**
 * Writes a starter project: a script that trains, the text that it learns from, package.json, tsconfig.json.
 *
 *   npx tapeform new my-model
 */
import { readdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, join, resolve } from 'node:path';
import { writeFilesAtomic } from '../common/atomic-files.ts';
import { disk } from '../common/file-system.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';

const command = {
  name: 'new',
  usage: 'node --import tsx train/new.ts',
  summary: 'Writes a starter project into a new folder: a GPT that learns letters from a text.',
  positionals: { name: 'folder', help: 'the folder to write, named as the project', min: 1, max: 1 },
  options: {},
} as const;

const script = `// Trains a small GPT on the letters of data/sample.txt, saves it, and lets it write. Run: npm start
import { readFile } from 'node:fs/promises';
import { AdamW, compile, generateText, GPT2LMHeadModel, manualSeed, Random, tensor, trainCharacters } from 'tapeform';
import type { Tensor } from 'tapeform';

const steps = Number(process.argv[2] ?? 300);
const [rows, length] = [8, 32];

manualSeed(0);
const text = await readFile('data/sample.txt', 'utf8');
const tokenizer = await trainCharacters([text]);
const ids = Array.from(tokenizer.idsOf(text));
const model = GPT2LMHeadModel.fromConfig({
  vocabSize: tokenizer.vocabSize,
  nPositions: length,
  nEmbd: 64,
  nLayer: 2,
  nHead: 4,
});
const optimizer = new AdamW(model.parameters(), { lr: 3e-3 });

// Captured at its first call, and replayed from then on as one list of kernels.
const step = compile((inputIds: Tensor) => {
  const { loss } = model.forward({ inputIds, labels: inputIds, outputLogits: false });
  loss.backward();
  optimizer.step({ maxNorm: 1 });
  optimizer.zeroGrad();
  return loss.detach();
});

const random = new Random(0, 0);
for (let i = 1; i <= steps; i++) {
  const batch = Array.from({ length: rows }, () => {
    const start = random.int(ids.length - length);
    return ids.slice(start, start + length);
  });
  const loss = step(tensor(batch, { dtype: 'i32' }));
  if (i % 50 === 0 || i === steps) console.log(\`step \${i}  loss \${(await loss.item()).toFixed(2)}\`);
}

await model.savePretrained('model', { tokenizer }); // loads in Transformers too
const [written] = await generateText(model, tokenizer, 'Call me', { maxNewTokens: 24 });
console.log(\`Call me\${written.text}\`);
`;

/** The beginning of Moby Dick, in the public domain. */
const sample = `Call me Ishmael. Some years ago - never mind how long precisely - having little or no money in my purse,
and nothing particular to interest me on shore, I thought I would sail about a little and see the watery part of the
world. It is a way I have of driving off the spleen and regulating the circulation. Whenever I find myself growing grim
about the mouth; whenever it is a damp, drizzly November in my soul; whenever I find myself involuntarily pausing before
coffin warehouses, and bringing up the rear of every funeral I meet; and especially whenever my hypos get such an upper
hand of me, that it requires a strong moral principle to prevent me from deliberately stepping into the street, and
methodically knocking people's hats off - then, I account it high time to get to sea as soon as I can. This is my
substitute for pistol and ball. With a philosophical flourish Cato throws himself upon his sword; I quietly take to the
ship. There is nothing surprising in this. If they but knew it, almost all men in their degree, some time or other,
cherish very nearly the same feelings towards the ocean with me.
`;

const compilerOptions = {
  target: 'ES2023',
  lib: ['ES2023', 'ESNext.Disposable', 'DOM'],
  module: 'NodeNext',
  strict: true,
  noEmit: true,
  types: ['node', '@webgpu/types'],
  skipLibCheck: true,
};

function packageFile(name: string): object {
  const own = createRequire(import.meta.url)('tapeform/package.json') as {
    readonly version: string;
    readonly devDependencies: Readonly<Record<string, string>>;
  };
  const tools = ['@types/node', '@webgpu/types', 'tsx', 'typescript'];
  return {
    name,
    private: true,
    type: 'module',
    scripts: { start: 'tsx main.ts', check: 'tsc' },
    dependencies: { tapeform: `^${own.version}` },
    devDependencies: Object.fromEntries(tools.map((tool) => [tool, own.devDependencies[tool]])),
  };
}

main(
  async () => {
    const folder = parseOptions(command).positionals[0]!;
    const name = basename(resolve(folder));
    if (!/^[a-z0-9][a-z0-9._-]*$/.test(name))
      throw new UsageError(`new: "${name}" is no name of a package; take small letters, digits, and - between them`);
    await disk.makeFolder(folder);
    if ((await readdir(folder)).length > 0) throw new UsageError(`new: ${folder} is there and not empty; name another`);
    const json = (value: object): string => `${JSON.stringify(value, undefined, 2)}\n`;
    await disk.makeFolder(join(folder, 'data'));
    await writeFilesAtomic([
      { path: join(folder, 'data/sample.txt'), data: sample },
      { path: join(folder, 'package.json'), data: json(packageFile(name)) },
      { path: join(folder, 'tsconfig.json'), data: json({ compilerOptions, include: ['*.ts'] }) },
      { path: join(folder, '.gitignore'), data: 'node_modules\nmodel\nruns\n' },
      { path: join(folder, 'main.ts'), data: script },
    ]);
    console.log(`wrote  ${folder}; go on with: cd ${folder} && npm install && npm start`);
  },
  { device: false },
);
