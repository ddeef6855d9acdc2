import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';
import { cacheBase } from '../../gpu/driver/layout.ts';
import type { Page } from './chromium.ts';

const sizes = [
  [390, 844],
  [800, 1100],
  [1440, 1000],
] as const;
const themes = ['light', 'dark'] as const;

/** The text of axe-core, which finds what hinders people, from npm; undefined without a network. */
export async function axe(): Promise<string | undefined> {
  const folder = join(cacheBase(process.env, homedir()), 'runtimes', 'axe-core');
  await mkdir(folder, { recursive: true });
  const args = ['install', '--no-audit', '--no-fund', '--loglevel=error', '--prefix', folder, 'axe-core@4'];
  try {
    await promisify(execFile)('npm', args);
    return await readFile(join(folder, 'node_modules/axe-core/axe.min.js'), 'utf8');
  } catch (error) {
    console.log(`not run: axe-core, which cannot be installed (${String(error).split('\n')[0]})`);
    return undefined;
  }
}

export interface LookOptions {
  /** The text of axe-core; without it, it is not asked. */
  readonly checker?: string;
  /** A folder for pictures. */
  readonly pictures?: string;
}

/** Looks at a page in three widths, light and dark: nothing runs over the side, axe-core finds nothing. */
export async function look(page: Page, name: string, { checker, pictures }: LookOptions): Promise<void> {
  for (const theme of themes)
    for (const [width, height] of sizes) {
      await page.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: theme }] });
      const metrics = { width, height, deviceScaleFactor: 1, mobile: width < 500 };
      await page.send('Emulation.setDeviceMetricsOverride', metrics);
      // What is drawn anew at another width has been by then.
      await page.evaluate('new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))');
      const over = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
      assert.is(Math.max(0, over), 0, `${name}, ${theme}, ${width}: ${over} px run over the side`);
      if (checker) {
        await page.evaluate(`window.axe ? null : (0, eval)(${JSON.stringify(`${checker};null`)})`);
        const found = await page.evaluate<string[]>(
          `axe.run().then(({ violations }) => violations.flatMap(({ id, nodes }) =>
            nodes.map(({ target }) => id + ': ' + target)))`,
        );
        assert.is(found.length, 0, `${name}, ${theme}, ${width}: ${found.join('; ')}`);
      }
      if (pictures !== undefined) {
        const shot = await page.send('Page.captureScreenshot', { captureBeyondViewport: true, fromSurface: true });
        const file = join(pictures, `${name}-${width}-${theme}.png`);
        await writeFile(file, Buffer.from((shot as { data: string }).data, 'base64'));
      }
    }
}
