// What a trained model says to one text.
import { printable, printableLines } from '../../common/printable.ts';
import { dialogueIds, streamText } from '../../models/index.ts';
import type { GenerationOptions, Message } from '../../models/index.ts';
import { alignTable } from '../../common/text-table.ts';
import { scoreReplies } from './ranking.ts';
import type { Ranker } from './ranking.ts';
import { roomForHistory } from './replies.ts';
import type { Writer } from './replies.ts';

/** Prints the reply to a text as it grows; of a long text the last tokens are read. */
export async function answer(writer: Writer, text: string, options: GenerationOptions): Promise<void> {
  const { model, tokenizer } = writer;
  const history: Message[] = [{ role: 'user', content: text }];
  const prompt = Int32Array.from(dialogueIds(tokenizer, history, roomForHistory(writer, options)));
  let isFirst = true;
  for await (const { text: piece } of streamText(model, tokenizer, prompt, options)) {
    const shown: string = isFirst ? piece.trimStart() : piece;
    isFirst &&= shown === '';
    process.stdout.write(printableLines(shown));
  }
  process.stdout.write('\n');
}

/** Replies by how well they fit to a text, the best first. */
export async function rankedReplies(ranker: Ranker, text: string, replies: readonly string[]): Promise<string> {
  const history: Message[] = [{ role: 'user', content: text }];
  const scores = await scoreReplies(
    ranker,
    replies.map((reply) => ({ history, reply })),
    16,
  );
  const rows = replies.map((reply, i) => ({ reply, score: scores[i]! })).sort((a, b) => b.score - a.score);
  return alignTable(
    ['score', 'reply'],
    rows.map(({ reply, score }) => [score.toFixed(3), printable(reply)]),
    new Set([0]),
  );
}
