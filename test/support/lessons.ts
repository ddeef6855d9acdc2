// A GPT-2 that knows nothing, and files of dialogues of the grammar's for it.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { manualSeed } from '../../autograd/index.ts';
import { GPT2LMHeadModel } from '../../models/index.ts';
import { lessons } from '../../train/sft/lessons.ts';
import { trainByteLevelBpe } from '../../train/tokenizer-training/train-byte-level.ts';

/** The folder of a small GPT-2 with the vocabulary of the lessons. */
export async function smallGpt(folder: string): Promise<string> {
  const path = join(folder, 'gpt');
  const texts = lessons(200, 1).flatMap(({ messages }) => messages.map(({ content }) => content as string));
  const tokenizer = await trainByteLevelBpe(texts, {
    vocabSize: 320,
    roles: { eos_token: '</s>' },
    modelMaxLength: 160,
  });
  manualSeed(1);
  await GPT2LMHeadModel.fromConfig({
    ...{ vocabSize: tokenizer.vocabSize, nPositions: 160, nEmbd: 32, nLayer: 1, nHead: 2 },
    eosTokenId: tokenizer.eosTokenId!,
  }).savePretrained(path, { tokenizer });
  return path;
}

/** Facts and JSON among `count` lessons, as messages. */
export function lessonFile(folder: string, count: number): string {
  const path = join(folder, 'lessons.jsonl');
  const facts = lessons(count, 7).filter(({ kind }) => kind === 'facts' || kind === 'JSON');
  writeFileSync(path, facts.map(({ messages }) => JSON.stringify({ messages })).join('\n'));
  return path;
}

/** Pairs: answers of one form are better than those of another. */
export function pairsFile(folder: string): string {
  const path = join(folder, 'pairs.jsonl');
  const answers = (kind: string): string[] =>
    lessons(360, 7).flatMap((each) => (each.kind === kind ? [each.messages[1]!.content as string] : []));
  const [better, worse] = [answers('JSON'), answers('order')];
  const rows = better.map((chosen, i) => ({ prompt: `${i} ${chosen.slice(10, 14)}:`, chosen, rejected: worse[i]! }));
  writeFileSync(path, rows.map((row) => JSON.stringify(row)).join('\n'));
  return path;
}
