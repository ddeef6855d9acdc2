import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { namesIn } from '../../common/atomic-folder.ts';
import { disk, writeAllSync } from '../../common/file-system.ts';
import { pathKind, readError } from '../../common/json-file.ts';
import { fileHash } from '../../common/manifest.ts';
import { writeError } from '../../common/staged-file.ts';
import { isModelFile, modelParts } from '../../models/io/resolve.ts';
import type { Answer } from './requests.ts';

/**
 * Answers of one model on the disk, by their requests' keys: a line each, `["key", answer]`, appended as they
 * come, so that a killed run goes on where it stopped. A line that was cut, by a kill or a full disk, is no
 * answer; the next one begins on a line of its own.
 *
 * @example
 * const cache = await AnswerCache.open('answers.jsonl');
 * cache.set('2 + 2 = 4', [-0.1, true]);
 * cache.get('2 + 2 = 4'); // [-0.1, true]
 * cache.close();
 */
export class AnswerCache {
  readonly path: string;
  readonly #answers: Map<string, Answer>;
  readonly #file: number;

  private constructor(path: string, answers: Map<string, Answer>, file: number) {
    this.path = path;
    this.#answers = answers;
    this.#file = file;
  }

  /** Opens a file of answers, or begins it. Errors, each one line: it cannot be read or written. */
  static async open(path: string): Promise<AnswerCache> {
    await disk.makeFolder(dirname(path)).catch((error: unknown) => Promise.reject(writeError(path, error)));
    const text = readIfThere(path);
    const answers = new Map(text.split('\n').flatMap(entryOf));
    try {
      const cache = new AnswerCache(path, answers, disk.openSync(path, 'a'));
      if (text !== '' && !text.endsWith('\n')) writeAllSync(cache.#file, Buffer.from('\n'));
      return cache;
    } catch (error) {
      throw writeError(path, error);
    }
  }

  get(key: string): Answer | undefined {
    return this.#answers.get(key);
  }

  set(key: string, answer: Answer): void {
    this.#answers.set(key, answer);
    try {
      writeAllSync(this.#file, Buffer.from(`${JSON.stringify([key, answer])}\n`));
    } catch (error) {
      throw writeError(this.path, error);
    }
  }

  close(): void {
    disk.closeSync(this.#file);
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw readError(path, error);
  }
}

/** The key and answer of a line; none of a line that was cut. */
function entryOf(line: string): [string, Answer][] {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return [];
  }
  if (!Array.isArray(value) || value.length !== 2 || typeof value[0] !== 'string' || !isAnswer(value[1])) return [];
  return [[value[0], value[1]]];
}

function isAnswer(value: unknown): value is Answer {
  if (Array.isArray(value)) return value.length === 2 && typeof value[0] === 'number' && typeof value[1] === 'boolean';
  return typeof value === 'number' || typeof value === 'string';
}

/**
 * SHA-256 of a model's files, those of a folder or one in GGUF, and of its adapter's: all that an answer
 * depends on but the request.
 */
export async function modelHash(path: string, adapter?: string): Promise<string> {
  const parts = await modelParts(path, { adapter });
  const folders = [...new Set([parts.base, parts.adapter ?? parts.base])];
  if (folders.length === 1) return hashOf(path);
  const hashes = await Promise.all(folders.map(hashOf));
  return createHash('sha256').update(hashes.join()).digest('hex');
}

async function hashOf(path: string): Promise<string> {
  if ((await pathKind(path)) === 'file') return fileHash(path);
  const hash = createHash('sha256');
  for (const name of (await namesIn(path)).filter(isModelFile).sort())
    hash.update(`${name} ${await fileHash(join(path, name))}\n`);
  return hash.digest('hex');
}
