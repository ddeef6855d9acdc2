/**
 * `node --import tsx bench/decode-peers.ts --model FILE.gguf --llama-cpp FOLDER [--tokens 32] [--rounds 5]
 * [--threads 2]`: tokens/s of the most probable text of a GGUF file, beside llama.cpp on the same cores
 * (npm's node-llama-cpp, installed in FOLDER: `npm install --prefix FOLDER node-llama-cpp`). Both keep the
 * file's blocks; rounds in turn, medians; the texts are compared. llama.cpp runs as native code, here it is a
 * driver's that compiles WGSL for the processor.
 */
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { init, ready } from '../autograd/index.ts';
import { median } from '../common/statistics.ts';
import { loadTextGenerator, streamText } from '../models/index.ts';
import { aligned } from './table.ts';

/** Of node-llama-cpp what is used here. */
interface LlamaCpp {
  getLlama(options: { gpu: false; build: 'never'; logLevel: 'error' }): Promise<{
    loadModel(options: { modelPath: string }): Promise<{
      tokenize(text: string): number[];
      detokenize(tokens: readonly number[]): string;
      createContext(options: { contextSize: number; threads: number }): Promise<{
        getSequence(): {
          clearHistory(): Promise<void>;
          evaluate(tokens: readonly number[], options: { temperature: number }): AsyncIterable<number>;
        };
      }>;
    }>;
  }>;
}

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    'llama-cpp': { type: 'string' },
    tokens: { type: 'string', default: '32' },
    rounds: { type: 'string', default: '5' },
    threads: { type: 'string', default: '2' },
  },
});
const { model: path, 'llama-cpp': folder } = options;
if (path === undefined || folder === undefined)
  throw new Error('bench/decode-peers: give --model FILE.gguf and --llama-cpp FOLDER');
const [tokens, rounds, threads] = [Number(options.tokens), Number(options.rounds), Number(options.threads)];
const prompt = 'The capital of France is Paris. The capital of Germany is';

await init({ restart: true });
console.log((await ready()).adapter.info.description);

/** A text of as many tokens, and what of the time they took behind the first. */
type Write = () => Promise<{ readonly text: string; readonly tokensPerSecond: number }>;

/** The time from the first to the last of the pieces. */
async function timed(pieces: AsyncIterable<string>): ReturnType<Write> {
  let [text, count, first] = ['', 0, 0];
  for await (const piece of pieces) {
    if (count === 0) first = performance.now();
    text += piece;
    if (++count === tokens) break;
  }
  return { text, tokensPerSecond: (1000 * (count - 1)) / (performance.now() - first) };
}

async function ours(): Promise<Write> {
  const { model, tokenizer } = await loadTextGenerator(path!, { quantize: 'keep' });
  async function* write() {
    const settings = { doSample: false, maxNewTokens: tokens } as const;
    for await (const { text } of streamText(model, tokenizer, prompt, settings)) yield text;
  }
  return () => timed(write());
}

async function llamaCpp(): Promise<Write> {
  const entry = createRequire(resolve(folder!, 'package.json')).resolve('node-llama-cpp');
  const { getLlama } = (await import(pathToFileURL(entry).href)) as LlamaCpp;
  const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error' });
  const model = await llama.loadModel({ modelPath: path! });
  const sequence = (await model.createContext({ contextSize: 512, threads })).getSequence();
  async function* write() {
    await sequence.clearHistory();
    for await (const token of sequence.evaluate(model.tokenize(prompt), { temperature: 0 }))
      yield model.detokenize([token]);
  }
  return () => timed(write());
}

const contenders = { tapeform: await ours(), 'llama.cpp': await llamaCpp() };
const speeds: Record<string, number[]> = {};
const texts: Record<string, string> = {};
for (let round = 0; round <= rounds; round++)
  for (const [name, write] of Object.entries(contenders)) {
    const { text, tokensPerSecond } = await write();
    if (round > 0) (speeds[name] ??= []).push(tokensPerSecond); // the first one compiles kernels
    texts[name] = text;
  }
console.log(
  aligned({
    head: ['', 'tokens/s'],
    rows: Object.entries(speeds).map(([name, all]) => [name, median(all).toFixed(1)]),
    text: 1,
  }),
);
console.log(texts['tapeform'] === texts['llama.cpp'] ? 'the same text' : texts);
process.exit(0); // llama.cpp's threads would go on
