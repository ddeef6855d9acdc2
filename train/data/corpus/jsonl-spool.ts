import { stat } from 'node:fs/promises';
import { StagedFile } from '../../../common/staged-file.ts';
import type { TextDocument } from '../readers/document.ts';
import { tableRows } from '../table-rows.ts';

const BLOCK = 1 << 20; // characters

/**
 * Writes documents as JSONL, `{"text": ..., "source": ...}` a line: what the readers read again. The file is
 * there when `finish` returns, whole.
 */
export class JsonlWriter {
  private readonly file: StagedFile;
  private held: string[] = [];
  private heldSize = 0;
  documents = 0;

  private constructor(file: StagedFile) {
    this.file = file;
  }

  static async create(path: string): Promise<JsonlWriter> {
    return new JsonlWriter(await StagedFile.create(path));
  }

  async add({ text, source }: TextDocument): Promise<void> {
    this.documents++;
    const line = `${JSON.stringify({ text, source })}\n`;
    this.held.push(line);
    this.heldSize += line.length;
    if (this.heldSize >= BLOCK) await this.flush();
  }

  async finish(): Promise<void> {
    await this.flush();
    await this.file.commit();
  }

  async discard(): Promise<void> {
    await this.file.discard();
  }

  private async flush(): Promise<void> {
    await this.file.write(Buffer.from(this.held.join(''), 'utf8'));
    this.held = [];
    this.heldSize = 0;
  }
}

/** The documents of such a file, with the sources they had. */
export async function* spooledDocuments(path: string, onBytes: (bytes: number) => void): AsyncGenerator<TextDocument> {
  for await (const { cells } of tableRows(path, { onBytes }))
    yield { text: cells['text'] as string, source: cells['source'] as string };
}

export async function fileSize(path: string): Promise<number> {
  return (await stat(path)).size;
}
