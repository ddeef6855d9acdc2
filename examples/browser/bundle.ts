import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root folder. */
export const root = fileURLToPath(new URL('../../', import.meta.url));

// esbuild comes with tsx; the part of it that is used here.
interface Resolved {
  readonly path: string;
  readonly sideEffects: boolean;
}
interface Plugin {
  readonly name: string;
  setup(build: {
    onResolve(
      options: { readonly filter: RegExp },
      resolve: (asked: { readonly path: string; readonly resolveDir: string }) => Resolved | undefined,
    ): void;
  }): void;
}
interface Bundle {
  readonly outputFiles: readonly { readonly path: string; readonly text: string; readonly contents: Uint8Array }[];
  readonly metafile: { readonly inputs: Readonly<Record<string, unknown>> };
}
const require = createRequire(createRequire(import.meta.url).resolve('tsx'));
const { build } = require('esbuild') as { build(options: object): Promise<Bundle> };

/** Takes name.browser.ts for name.ts, as package.json tells bundlers of the built package. */
const inBrowser: Plugin = {
  name: 'browser',
  setup({ onResolve }) {
    onResolve({ filter: /^\.{1,2}\/.*\.ts$/ }, ({ path, resolveDir }) => {
      const file = resolve(resolveDir, path);
      const other = file.replace(/\.ts$/, '.browser.ts');
      const name = relative(root, file);
      const isLibrary = /^(index|(common|gpu|kernels|autograd|models|train)\/)/.test(name);
      const sideEffects = !isLibrary || ['autograd/methods.ts', 'autograd/index.ts'].includes(name);
      return { path: existsSync(other) ? other : file, sideEffects };
    });
  },
};

export interface BundleFacts {
  readonly code: string;
  /** Of the minified code. */
  readonly bytes: number;
  /** Paths of the files in it, from the root. */
  readonly files: readonly string[];
}

/**
 * Bundles and minifies a script for browsers, its relative imports from `folder`. Errors: those of esbuild.
 */
export async function bundleForBrowser(script: string, folder = root): Promise<BundleFacts> {
  const { outputFiles, metafile } = await build({
    stdin: { contents: script, resolveDir: folder, loader: 'ts' },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    platform: 'browser',
    absWorkingDir: root,
    plugins: [inBrowser],
    metafile: true,
    write: false,
    logLevel: 'silent',
  });
  const { text, contents } = outputFiles[0]!;
  return { code: text, bytes: contents.byteLength, files: Object.keys(metafile.inputs) };
}
