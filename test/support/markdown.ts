import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './files.ts';

/** A fenced block of a document. */
export interface Block {
  /** `ts` of "```ts"; empty where none is given. */
  readonly language: string;
  readonly text: string;
  /** Number of its first line in the document, from 1. */
  readonly line: number;
}

/** Every document a reader meets: those at the root and in docs/. */
export function documents(): string[] {
  const atRoot = readdirSync(root).filter((name) => name.endsWith('.md'));
  const inDocs = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md'));
  return [...atRoot, ...inDocs.map((name) => `docs/${name}`)].sort();
}

export const readDocument = (name: string): string => readFileSync(join(root, name), 'utf8');

/** The fenced blocks of a document, in order. */
export function blocksOf(document: string): Block[] {
  const blocks: Block[] = [];
  let open: { language: string; line: number; lines: string[] } | undefined;
  document.split('\n').forEach((text, i) => {
    const fence = /^```(\w*)/.exec(text);
    if (!fence) open?.lines.push(text);
    else if (!open) open = { language: fence[1]!, line: i + 2, lines: [] };
    else {
      blocks.push({ language: open.language, line: open.line, text: open.lines.join('\n') });
      open = undefined;
    }
  });
  if (open) throw new Error(`the block that begins at line ${open.line} has no end`);
  return blocks;
}

/** The document without its fenced blocks, which keep their lines as empty ones. */
export function proseOf(document: string): string {
  return document.replace(/^```[^]*?^```$/gm, (block) => block.replace(/[^\n]/g, ''));
}

/** The texts between single backticks, with the number of the line. */
export function codeSpans(document: string): { readonly text: string; readonly line: number }[] {
  return proseOf(document)
    .split('\n')
    .flatMap((line, i) => [...line.matchAll(/`([^`]+)`/g)].map((match) => ({ text: match[1]!, line: i + 1 })));
}

/** The cells of the table rows of a document, without heads and rules. */
export function tableRows(document: string): { readonly cells: readonly string[]; readonly line: number }[] {
  const lines = proseOf(document).split('\n');
  const isRow = (text: string | undefined): boolean => text?.startsWith('|') ?? false;
  const isRule = (text: string | undefined): boolean => /^\|[-:| ]+\|$/.test(text ?? '');
  return lines.flatMap((text, i) => {
    if (!isRow(text) || isRule(text) || isRule(lines[i + 1])) return [];
    const cells = text.split(/(?<!\\)\|/).slice(1, -1);
    return [{ cells: cells.map((cell) => cell.trim()), line: i + 1 }];
  });
}
