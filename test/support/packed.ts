import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { root } from './files.ts';

/** The library as npm gives it, for those who use it from an empty folder. */
export interface Package {
  readonly version: string;
  readonly exports: Readonly<Record<string, { readonly types: string; readonly default: string } | string>>;
  readonly bin: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
}

export const tsc = join(root, 'node_modules/typescript/bin/tsc');

export const readPackage = async (): Promise<Package> =>
  JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as Package;

/** Builds the package into `folder`, with what it depends on. Returns the package's folder. */
export async function installPackage(folder: string): Promise<string> {
  const own = join(folder, 'node_modules/tapeform');
  const description = await readPackage();
  await promisify(execFile)(process.execPath, [
    tsc,
    '-p',
    join(root, 'tsconfig.build.json'),
    '--outDir',
    join(own, 'dist'),
  ]);
  await cp(join(root, 'package.json'), join(own, 'package.json'));
  for (const name of [...Object.keys(description.dependencies), '@types/node', '@webgpu/types']) {
    const path = join(folder, 'node_modules', name);
    await mkdir(dirname(path), { recursive: true });
    await symlink(join(root, 'node_modules', name), path);
  }
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  return own;
}

/**
 * Plain JavaScript that trains a small model, immediate and compiled, saves and loads it, and lets both
 * write. Prints one line of JSON.
 */
export const consumerScript = `
import { AdamW, compile, decayGroups, generateText, GPT2LMHeadModel, loadModel, manualSeed, tensor, trainCharacters }
  from 'tapeform';
manualSeed(1);
const text = 'the whale is white and the whale is large';
const tokenizer = await trainCharacters([text]);
const noDropout = { residPdrop: 0, embdPdrop: 0, attnPdrop: 0 };
const size = { vocabSize: tokenizer.vocabSize, nPositions: 64, nEmbd: 16, nLayer: 1, nHead: 2 };
const config = { ...size, ...noDropout };
const model = GPT2LMHeadModel.fromConfig(config);
const optimizer = new AdamW(decayGroups(model.namedParameters(), 0.01), { lr: 0.03 });
const ids = Array.from(tokenizer.idsOf(text));
const inputIds = tensor([ids], { dtype: 'i32' });
const immediate = await model.forward({ inputIds, labels: inputIds }).loss.item();
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
const write = async (model) => (await generateText(model, tokenizer, 'the', { maxNewTokens: 3 }))[0].tokens;
const [tokens, again] = [await write(model), await write(await loadModel('saved'))];
console.log(JSON.stringify({ losses, immediate, tokens, again }));
`;

interface Used {
  readonly losses: readonly number[];
  readonly immediate: number;
  readonly tokens: readonly number[];
  readonly again: readonly number[];
}

/**
 * What is wrong with the line that `consumerScript` printed, in words; empty where nothing is. `same`: the
 * line of another run, whose losses this one must have.
 */
export function problemOf(line: string, same = line): string {
  const { losses, immediate, tokens, again } = JSON.parse(line) as Used;
  const others = (JSON.parse(same) as Used).losses;
  if (losses.length === 0) return 'it printed no losses';
  const apart = Math.max(...losses.map((loss, i) => Math.abs(loss - others[i]!)));
  if (!(apart < 1e-3)) return `its losses are up to ${apart} from those of the first: ${losses.join(' ')}`;
  if (!(losses.at(-1)! < losses[0]! - 0.5)) return `the loss does not fall: ${losses.join(' ')}`;
  if (Math.abs(immediate - losses[0]!) > 1e-4) return `compiled ${losses[0]}, immediate ${immediate}`;
  return tokens.join() === again.join() && tokens.length === 3 ? '' : `wrote ${tokens.join()}, loaded ${again.join()}`;
}
