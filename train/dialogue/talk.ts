// Talking with a trained model in the terminal.
import { createInterface } from 'node:readline/promises';
import { printable, printableLines } from '../../common/printable.ts';
import { dialogueIds, streamText } from '../../models/index.ts';
import type { GenerationOptions, Message } from '../../models/index.ts';
import { alignTable } from '../../common/text-table.ts';
import { scoreReplies } from './ranking.ts';
import type { Ranker } from './ranking.ts';
import { roomForHistory } from './replies.ts';
import type { Writer } from './replies.ts';

/** The reply to what was said so far, in pieces as it grows; of a long history the last tokens are read. */
export async function* streamReply(
  writer: Writer,
  messages: readonly Message[],
  options: GenerationOptions,
): AsyncGenerator<string> {
  const { model, tokenizer } = writer;
  const prompt = Int32Array.from(dialogueIds(tokenizer, messages, roomForHistory(writer, options)));
  for await (const { text } of streamText(model, tokenizer, prompt, options)) yield text;
}

/** Prints the reply to what was said, and returns it. */
export async function answer(
  writer: Writer,
  messages: readonly Message[],
  options: GenerationOptions,
): Promise<string> {
  let reply = '';
  for await (const piece of streamReply(writer, messages, options)) {
    process.stdout.write(printableLines(reply === '' ? piece.trimStart() : piece));
    reply += reply === '' ? piece.trimStart() : piece;
  }
  process.stdout.write('\n');
  return reply.trim();
}

/**
 * Answers each line of standard input, with all that was said before in mind; /new begins anew. Ends with the
 * input (Ctrl-D). Reply i is drawn with seed + i.
 */
export async function chat(writer: Writer, seed: number, options: GenerationOptions): Promise<void> {
  const isTerminal = process.stdin.isTTY;
  if (isTerminal) console.error('Say something. /new begins a new dialogue, Ctrl-D ends.');
  const lines = createInterface({ input: process.stdin, output: process.stderr, terminal: isTerminal, prompt: '> ' });
  let messages: Message[] = [];
  let replies = 0;
  const ask = (): void => void (isTerminal && lines.prompt());
  ask();
  for await (const line of lines) {
    const content = line.trim();
    if (content === '/new') messages = [];
    else if (content !== '') {
      messages.push({ role: 'user', content });
      const reply = await answer(writer, messages, { ...options, seed: seed + replies++ });
      // A turn of no words would only take room.
      if (reply !== '') messages.push({ role: 'assistant', content: reply });
    }
    ask();
  }
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
