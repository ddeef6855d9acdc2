import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root folder. */
export const root = fileURLToPath(new URL('../../', import.meta.url));

/**
 * Files below a folder of the repository whose names end so, as paths from the root with forward slashes,
 * sorted.
 */
export function filesBelow(folder: string, ending: string): string[] {
  const found: string[] = [];
  const visit = (path: string): void => {
    for (const entry of readdirSync(join(root, path), { withFileTypes: true })) {
      if (entry.name === 'node_modules' || entry.name.startsWith('.')) continue;
      const child = `${path}/${entry.name}`;
      if (entry.isDirectory()) visit(child);
      else if (entry.name.endsWith(ending)) found.push(child);
    }
  };
  visit(folder);
  return found.sort();
}

/** The rooms of the house: each imports those before it only. */
export const rooms = ['common', 'gpu', 'kernels', 'autograd', 'models', 'distributed', 'train'];

/** What a copy of the repository needs, so that tests run in it; beside node_modules. */
export const sources = [...rooms, 'bench', 'test', 'package.json', 'tsconfig.json'];
