import { Random } from '../../common/random.ts';
import { brief } from '../../common/printable.ts';
import type { ChatMessage } from '../../models/index.ts';
import { messagesOf } from '../data/messages.ts';
import { tableRows } from '../data/table-rows.ts';
import { filled } from '../sft/conversations.ts';
import { sumQuestions } from '../sft/lessons.ts';

/** Something that the model is asked, and what is right; rewards look at the whole row. */
export interface Problem {
  readonly where: string;
  /** A text to go on with, or a dialogue to reply to. */
  readonly prompt: string | readonly ChatMessage[];
  readonly answer?: string;
}

export interface Problems {
  readonly train: readonly Problem[];
  readonly test: readonly Problem[];
  /** One line about where they come from. */
  readonly origin: string;
}

/** What `loadProblems` takes instead of a file. */
export const sumsName = 'sums';
/** What a file has, for `--help`. */
export const problemForm = 'JSONL of {"prompt": text or messages, "answer"}';

/** Sums of two digits, each asked in three ways. */
function sums(): Problem[] {
  return Array.from({ length: 100 }, (_, i) => [Math.floor(i / 10), i % 10] as const).flatMap(([a, b]) =>
    sumQuestions(a, b).map((content) => ({
      where: `sums: ${content}`,
      prompt: [{ role: 'user', content }],
      answer: String(a + b),
    })),
  );
}

/** Reads problems. Errors, each one line naming the row: no JSON, no prompt, an answer that is none. */
async function readProblems(path: string): Promise<Problem[]> {
  const found: Problem[] = [];
  for await (const { line, cells } of tableRows(path)) {
    const where = `${path}:${line}`;
    const { prompt, answer = null } = cells;
    if (answer !== null && typeof answer !== 'string' && typeof answer !== 'number')
      throw new Error(`${where}: "answer" is ${brief(answer)}, no text and no number`);
    found.push({
      where,
      prompt: Array.isArray(prompt) ? messagesOf(prompt, where, { name: 'prompt' }) : filled(cells, 'prompt', where),
      ...(answer === null ? {} : { answer: String(answer) }),
    });
  }
  if (found.length < 2)
    throw new Error(`${path}: ${found.length} rows, and some are to be tested on; give ${problemForm}`);
  return found;
}

/** Problems to train on and, a tenth of them and at most 200, to test on. */
export async function loadProblems(data: string, seed: number): Promise<Problems> {
  const all = data === sumsName ? sums() : await readProblems(data);
  const order = new Random(seed).permutation(all.length);
  const held = Math.min(200, Math.ceil(all.length / 10));
  const pick = (list: readonly number[]): Problem[] => list.map((i) => all[i]!);
  return {
    train: pick(order.slice(held)),
    test: pick(order.slice(0, held)),
    origin: data === sumsName ? 'sums of two digits, asked in three ways' : brief(data),
  };
}
