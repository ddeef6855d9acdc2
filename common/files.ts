// Where models and tokenizers are read from and saved to, behind one small interface. There are two places:
// folders in memory, here, and what the machine has (platform.ts: the disk; in a page platform.browser.ts).
import type { FileToWrite, ReplaceOptions } from './atomic-files.ts';
import type { ReadFolderOptions } from './atomic-folder.ts';
import { concatBytes, utf8 } from './bytes.ts';
import type { FileContents } from './staged-file.ts';

/** An open file; Node's FileHandle is one. */
export interface OpenFile {
  /** Its size, and what tells it from the file that takes its place. */
  stat(): Promise<{ readonly size: number; readonly dev?: number; readonly ino?: number; readonly mtimeMs?: number }>;
  read(target: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }>;
  close(): Promise<void>;
}

/** A place for files. Errors have a `code`, as those of Node: ENOENT where there is no such file. */
export interface Files {
  /** Links are followed. */
  kind(path: string): Promise<'file' | 'folder' | 'none'>;
  readText(path: string): Promise<string>;
  open(path: string): Promise<OpenFile>;
  /** Saves files that belong together, all or none as far as the place can; see `writeFilesAtomic`. */
  save(files: readonly FileToWrite[], options?: ReplaceOptions): Promise<void>;
  /** Makes a folder whole before it is read; see `recoverFolder`. */
  recover(folder: string): Promise<void>;
  /** Reads files of a folder as one; see `readFolder`. */
  readTogether<T>(folder: string, read: () => Promise<T>, options?: ReadFolderOptions<T>): Promise<T>;
}

/** What a file in memory holds; a Blob, such as a dropped File, is read piece by piece. */
export type FileData = string | Uint8Array | Blob;

/** Files by name, "/" between the parts of a path. */
export type FileMap = ReadonlyMap<string, FileData> | Readonly<Record<string, FileData>>;

const scheme = /^memory:\d+/;
const folders = new Map<string, Map<string, FileData>>();
let made = 0;

/**
 * Makes a folder in memory of files by name, or an empty one, and returns its path, `memory:1`. What reads or
 * saves a model or a tokenizer takes it as it takes a folder on the disk:
 *
 *   const model = await loadModel(memoryFolder({ 'config.json': text, 'model.safetensors': bytes }));
 *
 * It stays until `dropMemoryFolder`.
 *
 * @example
 * const folder = memoryFolder();
 * await BertForMaskedLM.fromConfig({ hiddenSize: 16, numAttentionHeads: 2 }).savePretrained(folder);
 * (await BertForMaskedLM.fromPretrained(folder)).config.hiddenSize; // 16
 */
export function memoryFolder(files: FileMap = {}): string {
  const path = `memory:${++made}`;
  const entries = files instanceof Map ? [...files] : Object.entries(files);
  folders.set(path, new Map(entries.map(([name, data]): [string, FileData] => [partsOf(name).join('/'), data])));
  return path;
}

/**
 * The files of a folder in memory, by name. Error: there is no such folder.
 *
 * @example
 * const folder = memoryFolder({ 'vocab.txt': 'a' });
 * [...filesInMemory(folder).keys()]; // ['vocab.txt']
 */
export function filesInMemory(path: string): ReadonlyMap<string, FileData> {
  return placeOf(path).files;
}

/**
 * Gives back the memory of a folder. What was loaded from it stays.
 *
 * @example
 * const folder = memoryFolder({ 'vocab.txt': 'a' });
 * dropMemoryFolder(folder);
 */
export function dropMemoryFolder(path: string): void {
  folders.delete(path);
}

export const isInMemory = (path: string): boolean => scheme.test(path);

/** The parts of a path below a place: 'a/./b/../c' is a, c. */
export function partsOf(path: string): string[] {
  const parts: string[] = [];
  for (const part of path.split(/[\\/]/)) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return parts;
}

/** An error of a place for files, as Node's are. */
export function fileError(path: string, code: string, cause?: unknown): Error {
  return Object.assign(new Error(`${code}: ${path}`, { cause }), { code });
}

function placeOf(path: string): { readonly files: Map<string, FileData>; readonly name: string } {
  const [folder = ''] = scheme.exec(path) ?? [];
  const files = folders.get(folder);
  if (!files) throw fileError(path, 'ENOENT');
  return { files, name: partsOf(path.slice(folder.length)).join('/') };
}

function dataOf(path: string): FileData {
  const { files, name } = placeOf(path);
  const data = files.get(name);
  if (data === undefined) throw fileError(path, kindOf(path) === 'folder' ? 'EISDIR' : 'ENOENT');
  return data;
}

function kindOf(path: string): 'file' | 'folder' | 'none' {
  const [folder = ''] = scheme.exec(path) ?? [];
  if (!folders.has(folder)) return 'none';
  const { files, name } = placeOf(path);
  if (files.has(name)) return 'file';
  return name === '' || [...files.keys()].some((each) => each.startsWith(`${name}/`)) ? 'folder' : 'none';
}

/** When a file was first opened here: a file that takes its place is another. */
const ages = new WeakMap<object, number>();
let opened = 0;

/** Opens bytes, or a Blob piece by piece. */
export function openData(data: Uint8Array | Blob): OpenFile {
  if (!ages.has(data)) ages.set(data, ++opened);
  const facts = { size: data instanceof Blob ? data.size : data.byteLength, ino: ages.get(data)! };
  return {
    stat: () => Promise.resolve(facts),
    async read(target, offset, length, position) {
      const part =
        data instanceof Blob
          ? new Uint8Array(await data.slice(position, position + length).arrayBuffer())
          : data.subarray(position, position + length);
      target.set(part, offset);
      return { bytesRead: part.byteLength };
    },
    close: () => Promise.resolve(),
  };
}

/** What is to be written, as bytes. */
export async function bytesOfContents(data: FileContents): Promise<Uint8Array> {
  if (typeof data === 'string') return utf8(data);
  if (typeof data !== 'function') return new Uint8Array(data); // a copy, of a Buffer too
  const parts: Uint8Array[] = [];
  await data({ write: (bytes) => Promise.resolve(void parts.push(new Uint8Array(bytes))) });
  return concatBytes(parts);
}

/** The longest folder that all files lie in, as its parts, and each file's name below it. */
export function commonPlace(paths: readonly string[]): { readonly folder: string[]; readonly names: string[] } {
  const parts = paths.map(partsOf);
  let depth = Math.max(0, Math.min(...parts.map(({ length }) => length - 1)));
  while (parts.some((each) => each.slice(0, depth).join('/') !== parts[0]!.slice(0, depth).join('/'))) depth--;
  return { folder: parts[0]?.slice(0, depth) ?? [], names: parts.map((each) => each.slice(depth).join('/')) };
}

/** Folders in memory. */
export const memoryFiles: Files = {
  kind: (path) => Promise.resolve(kindOf(path)),
  async readText(path) {
    const data = dataOf(path);
    if (typeof data === 'string') return data;
    return data instanceof Blob ? data.text() : new TextDecoder('utf-8', { ignoreBOM: true }).decode(data);
  },
  async open(path) {
    const data = dataOf(path);
    return openData(typeof data === 'string' ? utf8(data) : data);
  },
  async save(files, { replaces } = {}) {
    const contents: Uint8Array[] = [];
    for (const { data } of files) contents.push(await bytesOfContents(data));
    const places = files.map(({ path }) => placeOf(path));
    const { folder, names } = commonPlace(places.map(({ name }) => name));
    const prefix = folder.map((part) => `${part}/`).join('');
    for (const name of replaces ? [...(places[0]?.files.keys() ?? [])] : [])
      if (name.startsWith(prefix) && !names.includes(name.slice(prefix.length)) && replaces!(name.slice(prefix.length)))
        places[0]!.files.delete(name);
    places.forEach(({ files: target, name }, i) => target.set(name, contents[i]!));
  },
  recover: () => Promise.resolve(),
  readTogether: (_, read) => read(),
};
