/**
 * Talks with an instruction model in the terminal, or answers the lines of a pipe.
 *
 *   node --import tsx train/chat.ts --model SmolLM2-135M-Instruct.Q4_1.gguf
 *   echo "What is the capital of France?" | node --import tsx train/chat.ts --model FOLDER --greedy
 */
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline/promises';
import { writeFileAtomic } from '../common/atomic-files.ts';
import { readError } from '../common/json-file.ts';
import { printable, printableLines } from '../common/printable.ts';
import { loadTextGenerator, streamReply } from '../models/index.ts';
import type { ChatMessage, GenerationOptions, TextGenerator } from '../models/index.ts';
import { shippedModel } from '../models/io/shipped.ts';
import { endWithReader, main, parseOptions, UsageError } from './cli/cli.ts';
import { decodingOptions, generationOptions, loadingOptions, Speed } from './cli/generation.ts';
import { messagesOf } from './data/messages.ts';

const {
  numBeams: _beams,
  lengthPenalty: _length,
  earlyStopping: _early,
  numReturnSequences: _texts,
  ...ofOneText
} = decodingOptions;

const command = {
  name: 'chat',
  usage: 'node --import tsx train/chat.ts',
  summary: 'Talks with an instruction model: a line is a turn. /help lists what else a line may be.',
  options: {
    model: {
      type: 'string',
      help: 'folder, GGUF file, Hugging Face cache or hub; default the small one for dialogues',
    },
    ...loadingOptions,
    system: { type: 'string', help: 'what the model is told before all turns; default what its template says' },
    load: { type: 'path', exists: 'file', help: 'go on with a dialogue that /save wrote' },
    ...ofOneText,
    maxNewTokens: { ...decodingOptions.maxNewTokens, help: 'tokens of a reply at most; default 256' },
  },
} as const;

type Values = ReturnType<typeof parseOptions<typeof command.options>>['values'];

const help = `/reset         begin anew
/retry         another reply to the last turn
/system TEXT   tell the model something before all turns, and begin anew
/save FILE     write the dialogue as JSON: {"messages": [{"role", "content"}, ...]}
/load FILE     go on with such a dialogue
/help          these lines; Ctrl-C stops a reply, Ctrl-D ends`;

main(async () => {
  endWithReader();
  const { values } = parseOptions(command);
  const { model: name = shippedModel('chat-small'), adapter, quantize } = values;
  const generator = await loadTextGenerator(name, { adapter, quantize });
  if (generator.model.decoder().source)
    throw new UsageError(`${command.name}: ${name} reads a source and writes another text; it holds no dialogue`);
  if (generator.tokenizer.chatTemplate === undefined)
    throw new UsageError(
      `${command.name}: ${name} has no chat template, it was not trained on dialogues; continue texts with ` +
        'train/generate.ts instead',
    );
  const chat = new Chat(generator, values);
  if (values.load !== undefined) await chat.load(values.load);
  await chat.run();
});

/** A dialogue in the terminal. */
class Chat {
  private readonly generator: TextGenerator;
  private readonly options: GenerationOptions;
  private readonly seed: number;
  private readonly isTerminal = process.stdin.isTTY;
  private messages: ChatMessage[] = [];
  private replies = 0;

  constructor(generator: TextGenerator, values: Values) {
    this.generator = generator;
    const withDefaults = { ...generator.options, maxNewTokens: generator.options.maxNewTokens ?? 256 };
    this.options = generationOptions(values, withDefaults);
    this.seed = values.seed;
    this.begin(values.system);
  }

  /** Answers line after line; a line that fails is an error of the pipe, and a note in the terminal. */
  async run(): Promise<void> {
    const terminal = this.isTerminal;
    if (terminal) console.error('Say something; /help lists what else a line may be.');
    const lines = createInterface({ input: process.stdin, output: process.stderr, terminal, prompt: '> ' });
    const ask = (): void => void (terminal && lines.prompt());
    ask();
    for await (const line of lines) {
      try {
        await this.take(line.trim());
      } catch (error) {
        if (!terminal) throw error;
        console.error(printable((error as Error).message));
      }
      ask();
    }
  }

  async load(path: string): Promise<void> {
    const text = await readFile(path, 'utf8').catch((error: unknown) => Promise.reject(readError(path, error)));
    this.messages = savedMessages(text, path);
    console.error(`${path}: ${this.messages.length} messages`);
  }

  private begin(system: string | undefined): void {
    this.messages = system === undefined ? [] : [{ role: 'system', content: system }];
  }

  private async take(line: string): Promise<void> {
    const [, name = '', rest = ''] = /^\/(\w+)\s*(.*)$/.exec(line) ?? [];
    if (line === '') return;
    if (!line.startsWith('/')) return this.say(line);
    const [system] = this.messages;
    switch (name) {
      case 'help':
        return console.error(help);
      case 'reset':
        return this.begin(system?.role === 'system' ? (system.content as string) : undefined);
      case 'system':
        return this.begin(rest);
      case 'save':
        if (rest === '') throw new Error('/save needs the name of a file');
        await writeFileAtomic(rest, `${JSON.stringify({ messages: this.messages }, null, 2)}\n`);
        return console.error(`saved  ${rest}`);
      case 'load':
        if (rest === '') throw new Error('/load needs the name of a file');
        return this.load(rest);
      case 'retry': {
        const last = this.messages.findLastIndex(({ role }) => role === 'user');
        if (last === -1) throw new Error('/retry: nothing was said yet');
        this.messages = this.messages.slice(0, last + 1);
        return this.reply();
      }
      default:
        throw new Error(`${printable(line)}: there is no such command; /help lists them`);
    }
  }

  private async say(content: string): Promise<void> {
    this.messages.push({ role: 'user', content });
    try {
      await this.reply();
    } catch (error) {
      this.messages.pop(); // as if it had not been said
      throw error;
    }
  }

  /** Writes the reply to the last message; Ctrl-C keeps what is there of it. */
  private async reply(): Promise<void> {
    const speed = new Speed();
    let text = '';
    let stopped = false;
    const stop = (): void => void (stopped = true);
    if (this.isTerminal) process.once('SIGINT', stop);
    try {
      const options = { ...this.options, seed: this.seed + this.replies++ };
      for await (const piece of streamReply(this.generator, this.messages, options)) {
        const shown = text === '' ? piece.text.trimStart() : piece.text;
        text += shown;
        process.stdout.write(printableLines(shown));
        speed.addToken();
        if (stopped) break;
      }
    } finally {
      process.off('SIGINT', stop);
    }
    process.stdout.write('\n');
    this.messages.push({ role: 'assistant', content: text.trimEnd() });
    if (this.isTerminal) console.error(`(${speed})`);
  }
}

/** The messages of a saved dialogue. Error, one line: it is none. */
function savedMessages(text: string, path: string): ChatMessage[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new Error(`${path} is no JSON; load what /save wrote`);
  }
  return messagesOf(Array.isArray(json) ? json : (json as { messages?: unknown } | null)?.messages, path, {
    mayBeEmpty: true,
  });
}
