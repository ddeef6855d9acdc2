import { createHash } from 'node:crypto';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { outcomesPage } from '../../train/compress/outcomes.ts';
import type { Outcome } from '../../train/compress/outcomes.ts';
import { withPage } from './chromium.ts';
import { look } from './look.ts';
import type { LookOptions } from './look.ts';
import { runScript } from './script.ts';
import { serving } from './static-server.ts';

/** A page of each kind that scripts write, by the script's words; each gets the name of its file last. */
const written: Readonly<Record<string, readonly string[]>> = {
  attention: ['train/inspect.ts', 'attention', 'The ship sailed to the sea', '--out'],
  lens: ['train/inspect.ts', 'lens', 'The state of the', '--out'],
  heads: ['train/inspect.ts', 'heads', '--out'],
  ablate: ['train/inspect.ts', 'ablate', 'The state of the Union', '--out'],
  weights: ['train/inspect.ts', 'weights', '--out'],
  nearest: ['train/inspect.ts', 'nearest', ' law', ' people', '--out'],
  map: ['train/inspect.ts', 'map', '--data', 'spam-assassin', '--rows', '60', '--out'],
  probes: ['train/inspect.ts', 'probes', '--data', 'spam-assassin', '--rows', '40', '--out'],
  activations: ['train/inspect.ts', 'activations', 'The state of the Union', '--out'],
  sae: ['train/inspect.ts', 'sae', '--rows', '32', '--steps', '20', '--features', '64', '--out'],
  counterfactual: ['train/explain.ts', '--counterfactual', 'You have won a free prize', '--out'],
  explain: ['train/explain.ts', 'You have won a free prize', '--also', 'occlusion', '--out'],
  'explain-generation': [
    ...['train/explain.ts', '--model', 'models/pretrained/gpt-small', '--new-tokens', '3'],
    ...['The state of the', '--out'],
  ],
};

const outcome = (point: string, fileBytes: number, value: number): Outcome => ({
  ...{ point, method: point, strength: '50%', seed: 1, parameters: 1e6, nonZero: 0.5, fileBytes, deviceBytes: 4e6 },
  ...{ milliseconds: 4, denseMilliseconds: 8, tokensPerSecond: 1e4, loss: 0.2 },
  figures: { f1: { value, low: value - 0.02, high: value + 0.02 } },
});

/** Makes a page of each kind that scripts write, in a folder, and looks at all of them in Chromium. */
export async function lookAtWrittenPages(folder: string, options: LookOptions): Promise<void> {
  for (const [name, words] of Object.entries(written)) await ran([...words, join(folder, `${name}.html`)]);
  const lens = ['train/inspect.ts', 'lens', 'The state of the', '--rows', '32', '--steps', '8'];
  await ran([...lens, '--tuned', join(folder, 'lens.safetensors'), '--out', join(folder, 'tuned.html')]);
  const texts = ['a good day,yes', 'a bad day,no', 'good,yes', 'bad,no', 'good and good,yes', 'bad and bad,no'];
  const data = join(folder, 'texts.csv');
  // Words of their own, since near duplicates stay in one part.
  const words = (i: number): string => createHash('sha256').update(String(i)).digest('hex').replace(/\d+/g, ' ');
  const rows = Array.from({ length: 30 }, (_, i) => texts.map((text, k) => `${words(6 * i + k)} ${text}`)).flat();
  await writeFile(data, ['text,label', ...rows].join('\n'));
  const run = join(folder, 'run');
  const other = join(folder, 'other');
  for (const [output, rate] of [
    [run, '1e-3'],
    [other, '1e-4'],
  ] as const)
    await ran(['train/finetune-classifier.ts', '--data', data, '--learning-rate', rate, '--output', output]);
  const influence = ['train/explain.ts', '--model', run, '--examples', data, 'a good day'];
  await ran([...influence, '--out', join(folder, 'influence.html')]);
  await ran(['train/compare.ts', run, other, '--output', join(folder, 'compare.html')]);
  const prose = ['docs/tasks.md', 'docs/architecture.md', 'docs/explanation.md'];
  const tokenizer = ['--tokenizer', 'models/pretrained/gpt-small'];
  await ran([
    'train/prepare-data.ts',
    'all',
    ...prose,
    '--documents',
    'paragraph',
    ...tokenizer,
    '--output',
    join(folder, 'corpus'),
  ]);
  const about = ['data   a test', 'model  another'];
  await writeFile(
    join(folder, 'compress.html'),
    outcomesPage([outcome('dense', 4e6, 0.95), outcome('half', 2e6, 0.94), outcome('tiny', 1e6, 0.8)], about),
  );
  const pages = (await readdir(folder, { recursive: true })).filter((file) => file.endsWith('.html')).sort();
  const faults: string[] = [];
  await serving(folder, (address) =>
    withPage(async (page) => {
      await page.send('Page.setBypassCSP', { enabled: true }); // axe-core's text is run in the page
      for (const file of pages) {
        await page.goto(`${address}/${file}`);
        await look(page, file.replaceAll('/', '-').slice(0, -5), options).catch((error: Error) =>
          faults.push(error.message),
        );
        assert.equal(page.errors, [], file);
      }
    }),
  );
  assert.is(faults.length, 0, faults.join('\n'));
  console.log(`${pages.length} pages that scripts write are fit for three widths: ${pages.join(', ')}`);
}

async function ran(args: readonly string[]): Promise<void> {
  const { code, stderr } = await runScript(args);
  assert.is(code, 0, `${args.join(' ')}\n${stderr}`);
}
