import { filesAt } from './file-access.ts';
import { firstLine, printable } from './printable.ts';

/** A JSON object, not an array and not null. */
export type JsonObject = Record<string, unknown>;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Reads a file that holds one JSON object (config.json, tokenizer.json, ...).
 *
 * Errors, each one line naming the file: it cannot be read, is no JSON, or is no object.
 */
export async function readJsonFile(path: string): Promise<JsonObject> {
  let text: string;
  try {
    text = await filesAt(path).readText(path);
  } catch (error) {
    throw readError(path, error);
  }
  return parseJsonObject(text, path);
}

/** What `readJsonFile` reads, of a file's text. */
export function parseJsonObject(text: string, path: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`${path} is not valid JSON (${firstLine(error)}): fetch or save it again`, { cause: error });
  }
  if (!isJsonObject(value)) throw new Error(`${path} holds ${describe(value)} where a JSON object is needed`);
  return value;
}

/** The one-line error for a file that cannot be read. */
export function readError(path: string, error: unknown): Error {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  path = printable(path);
  const reasons: Record<string, string> = {
    ENOENT: `${path} does not exist: check the path`,
    EACCES: `${path} may not be read by this user: change its permissions`,
    EISDIR: `${path} is a folder where a file is needed`,
    ENOTDIR: `${path} does not exist (a part of it is a file, not a folder): check the path`,
  };
  if (code === undefined) return error instanceof Error ? error : new Error(String(error));
  return new Error(reasons[code] ?? `cannot read ${path}: ${(error as Error).message}`, { cause: error });
}

function describe(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'an array' : `a ${typeof value}`;
}

/** Tells a file from a folder, links followed: `pathKind('config.json')` is 'file', 'folder' or 'none'. */
export function pathKind(path: string): Promise<'file' | 'folder' | 'none'> {
  return filesAt(path).kind(path);
}
