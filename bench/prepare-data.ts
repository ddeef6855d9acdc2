/**
 * Streams a text file of any size through cleaning, de-duplication, splitting and tokenising, and says how
 * fast and in how much memory.
 *
 *   node --import tsx bench/prepare-data.ts --megabytes 2000
 *
 * The file is made of sentences of the corpora that come with the project, every sixth word replaced; every
 * 20th paragraph repeats the one before, half of these with one word changed. It lies in the system's folder
 * for temporary files, and is removed.
 */
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { BertTokenizer } from '../models/index.ts';
import { main, parseOptions } from '../train/cli/cli.ts';
import { prepareCorpus } from '../train/data/corpus/prepare.ts';
import { corpusProgressBar } from '../train/data/corpus/watch.ts';
import { expandInputs, readDocuments } from '../train/data/readers/inputs.ts';
import { Random } from '../common/random.ts';

const command = {
  name: 'bench/prepare-data',
  summary: 'Speed and memory of data preparation.',
  options: { megabytes: { type: 'int', default: 100, min: 1, help: 'size of the text' } },
} as const;

async function writeText(path: string, bytes: number): Promise<{ documents: number; planted: number }> {
  const sentences: string[] = [];
  for await (const { text } of readDocuments(await expandInputs(['sotu+moby-dick'])))
    sentences.push(
      ...(text.replace(/\s+/g, ' ').match(/[^.!?]{20,400}[.!?]+/g) ?? []).map((sentence) => sentence.trim()),
    );
  const vocabulary = [...new Set(sentences.join(' ').split(' '))];
  const random = new Random(1);
  const out = createWriteStream(path);
  let [size, documents, planted, last] = [0, 0, 0, ['']];
  for (; size < bytes; documents++) {
    let words = [...last];
    if (documents % 20 === 19) {
      if (documents % 40 === 39) words[random.int(words.length)] = 'planted';
      planted++;
    } else {
      words = Array.from({ length: 4 + random.int(8) }, () => sentences[random.int(sentences.length)]!)
        .join(' ')
        .split(' ');
      last = words.map((word, i) => (i % 6 === 0 ? vocabulary[random.int(vocabulary.length)]! : word));
      words = [...last];
    }
    const text = `${words
      .map((word, i) => (i % 15 === 14 ? `${word}\n` : `${word} `))
      .join('')
      .trim()}\n\n`;
    size += text.length;
    if (!out.write(text)) await new Promise<void>((resolve) => out.once('drain', () => resolve()));
  }
  out.end();
  await finished(out);
  return { documents, planted };
}

main(async () => {
  const { megabytes } = parseOptions(command).values;
  const folder = await mkdtemp(join(tmpdir(), 'prepare-data-'));
  const bar = corpusProgressBar();
  try {
    const made = await writeText(join(folder, 'text.txt'), megabytes * 1e6);
    const start = { time: performance.now(), cpu: process.cpuUsage() };
    const corpus = await prepareCorpus({
      inputs: [join(folder, 'text.txt')],
      read: { documents: 'paragraph' },
      tokenizer: BertTokenizer.default(),
      folder: join(folder, 'corpus'),
      onProgress: bar.onProgress,
    });
    bar.stop();
    corpus.close();
    const seconds = (performance.now() - start.time) / 1000;
    const { user, system } = process.cpuUsage(start.cpu);
    const { splits, duplicates, cleaning } = corpus.card;
    const tokens = Object.values(splits).reduce((sum, split) => sum + split.tokens, 0);
    const { exact, near } = duplicates!;
    console.log(
      [
        `${megabytes} MB, ${made.documents} documents: ${seconds.toFixed(0)} s, ` +
          `${((user + system) / 1e6).toFixed(0)} s of processor time`,
        `${(megabytes / seconds).toFixed(1)} MB/s, ` +
          `${(tokens / seconds / 1000).toFixed(0)}k tokens/s (${tokens} in all)`,
        `peak memory ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MB`,
        `duplicates: ${made.planted} planted, ${exact} exact and ${near} near found; ` +
          `cleaning kept ${cleaning!.kept} of ${cleaning!.documents}`,
      ].join('\n'),
    );
  } finally {
    bar.stop();
    await rm(folder, { recursive: true, force: true });
  }
});
