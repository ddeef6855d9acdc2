import { readTexts } from '../data/read-table.ts';
import { utf8Blocks } from '../data/utf8-blocks.ts';

/**
 * Prompts of a file: the column `prompt` of a JSONL, CSV or TSV file, else each line that is not blank.
 * Throws in one line naming the file.
 */
export async function readPrompts(path: string): Promise<string[]> {
  if (/\.(jsonl|ndjson|csv|tsv)$/i.test(path))
    return (await readTexts(path, { textColumn: 'prompt' })).map(({ text }) => text);
  const prompts: string[] = [];
  for await (const { text } of utf8Blocks(path))
    prompts.push(...text.split(/\r?\n/).filter((line) => line.trim() !== ''));
  if (prompts.length === 0) throw new Error(`${path}: no prompts; write one a line`);
  return prompts;
}
