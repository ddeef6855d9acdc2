/** `npm run build:pages`: writes pages/, which any server of static files serves. */
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { shippedModel } from '../../models/io/shipped.ts';
import { bundleForBrowser, root } from './bundle.ts';
import { modelFiles } from './sample.ts';

/** Builds the page into a folder, which is emptied first. Returns the bytes of its script. */
export async function buildPage(folder = join(root, 'pages')): Promise<number> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(join(folder, 'model'), { recursive: true });
  const here = join(root, 'examples/browser');
  const { code, bytes } = await bundleForBrowser("import './page.ts';", here);
  await writeFile(join(folder, 'page.js'), code);
  await cp(join(here, 'index.html'), join(folder, 'index.html'));
  const base = shippedModel('bert-small');
  for (const name of modelFiles) await writeFile(join(folder, 'model', name), await readFile(join(base, name)));
  return bytes;
}

if (import.meta.main ?? process.argv[1]?.endsWith('build.ts')) {
  const bytes = await buildPage();
  console.log(`pages/: ${(bytes / 1000).toFixed(0)} KB of script; serve it, for example by npx serve pages`);
}
