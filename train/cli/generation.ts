import { readFileSync } from 'node:fs';
import { parseJsonObject } from '../../common/json-file.ts';
import { quantizations } from '../../models/index.ts';
import type { GenerationOptions } from '../../models/index.ts';
import { ofDraws } from '../../models/generation/options.ts';
import { stringCell } from '../data/read-table.ts';
import { tableRows } from '../data/table-rows.ts';
import { utf8Blocks } from '../data/utf8-blocks.ts';
import { UsageError } from './cli.ts';
import type { Option, Parsed } from './cli.ts';

/** An adapter, as a flag of scripts that take a model. */
export const adapterFlag = {
  adapter: { type: 'path', exists: 'folder', help: 'folder of an adapter (LoRA) for the model, as PEFT writes it' },
} as const satisfies Record<string, Option>;

/** How a model that generates is opened, as flags: `loadTextGenerator` takes them. */
export const loadingOptions = {
  ...adapterFlag,
  quantize: {
    type: 'choice',
    choices: quantizations,
    help: "weights stay in 4 or 8 bits: keep those of a GGUF file, or round the model's; default f32",
  },
} as const satisfies Record<string, Option>;

/**
 * How texts are chosen, as flags; what is not given comes from the model's generation_config.json, else from
 * here.
 */
export const decodingOptions = {
  maxNewTokens: { type: 'int', min: 1, help: 'tokens after the prompt; default 100' },
  minNewTokens: { type: 'int', min: 0, help: 'no end of the text before' },
  greedy: { type: 'boolean', help: 'always the most probable token, instead of drawing' },
  temperature: { type: 'number', help: 'divides the logits: below 1 safer, above 1 wilder; default 1' },
  topK: { type: 'int', min: 0, help: 'draw among so many of the most probable tokens; 0 for all; default 50' },
  topP: { type: 'number', help: 'draw among the most probable that have this probability together; default 1' },
  minP: { type: 'number', help: 'draw among tokens at least so probable relative to the most probable; default 0' },
  repetitionPenalty: { type: 'number', help: 'above 1: what came before becomes less probable; default 1' },
  noRepeatNgramSize: { type: 'int', min: 0, help: 'no run of so many tokens twice' },
  numBeams: { type: 'int', min: 1, help: 'search with so many texts side by side instead of drawing' },
  lengthPenalty: { type: 'number', help: 'of beam search: above 0 favours long texts; default 1' },
  earlyStopping: {
    type: 'choice',
    choices: ['true', 'false', 'never'],
    help: 'when a beam search ends; default false',
  },
  numReturnSequences: { type: 'int', min: 1, help: 'texts for each prompt; default 1' },
  stop: {
    type: 'list',
    help: 'end a text before this string (\\n and \\t are understood); may be given several times',
  },
  promptLookupNumTokens: {
    type: 'int',
    min: 0,
    help: 'guess so many tokens that followed before, for texts that repeat their prompt; the text stays the same',
  },
  cacheDtype: {
    type: 'choice',
    choices: ['int8'],
    help: 'keys and values of the texts in 8 bits: a quarter of their memory in f32, half of that in f16',
  },
  jsonSchema: { type: 'path', exists: 'file', help: 'each text is JSON that fits the JSON schema in this file' },
  regex: { type: 'string', help: 'each text matches this regular expression, as a whole' },
  ignoreEos: { type: 'boolean', help: 'go on after the token that ends texts' },
  seed: { type: 'int', default: 42, min: 0, help: 'of the draws; line i of a file has seed + i' },
} as const satisfies Record<string, Option>;

type Given = Parsed<typeof decodingOptions>['values'];

/** The options for `generateText`: flags over what the model recommends. Their values are checked there. */
export function generationOptions(values: Partial<Given>, recommended: GenerationOptions): GenerationOptions {
  const names = Object.keys(decodingOptions) as (keyof Given)[];
  const given = Object.fromEntries(names.map((name) => [name, values[name]])) as Partial<Given>;
  const { greedy, earlyStopping, stop = [], jsonSchema, regex, ignoreEos, seed: _, maxNewTokens, ...flags } = given;
  const numBeams = given.numBeams ?? recommended.numBeams ?? 1;
  const length = recommended.maxNewTokens === undefined && recommended.maxLength === undefined ? 100 : undefined;
  const own = {
    ...flags,
    maxNewTokens: maxNewTokens ?? length,
    doSample: !greedy && numBeams === 1,
    earlyStopping: earlyStopping === undefined || earlyStopping === 'never' ? earlyStopping : earlyStopping === 'true',
    responseFormat: formatOf(jsonSchema, regex),
    stopStrings: stop.length > 0 ? stop.map(unescaped) : undefined,
  };
  const set = Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined));
  // Settings recommended for draws are not meant for the most probable text or a search.
  const meant = Object.entries(recommended).filter(([name]) => own.doSample || !(name in ofDraws));
  return { ...Object.fromEntries(meant), ...set, ...(ignoreEos ? { eosTokenId: null } : {}) };
}

function formatOf(jsonSchema: string | undefined, pattern: string | undefined): GenerationOptions['responseFormat'] {
  if (jsonSchema !== undefined && pattern !== undefined)
    throw new UsageError('--json-schema and --regex do not go together; give one of them');
  if (pattern !== undefined) return { type: 'regex', pattern };
  if (jsonSchema === undefined) return undefined;
  return { type: 'json_schema', schema: parseJsonObject(readFileSync(jsonSchema, 'utf8'), jsonSchema) };
}

/** Shells make it hard to type a line break. */
const unescaped = (text: string): string =>
  text.replace(/\\([nt\\])/g, (_, letter: string) => (letter === 'n' ? '\n' : letter === 't' ? '\t' : '\\'));

/**
 * Prompts of a file: the column `prompt` of a JSONL, CSV or TSV file, else each line that is not blank.
 * Throws in one line naming the file.
 */
export async function readPrompts(path: string): Promise<string[]> {
  const prompts: string[] = [];
  if (/\.(jsonl|ndjson|csv|tsv)$/i.test(path)) {
    for await (const { line, cells } of tableRows(path))
      prompts.push(stringCell(cells, 'prompt', undefined, `${path}:${line}`));
  } else {
    for await (const { text } of utf8Blocks(path))
      prompts.push(...text.split(/\r?\n/).filter((line) => line.trim() !== ''));
  }
  if (prompts.length === 0) throw new Error(`${path}: no prompts; write one a line, or rows with a column "prompt"`);
  return prompts;
}

/** Tokens before the rate is taken: the first costs the prompt, the second the compiling of the step. */
const slow = 2;

/** Counts tokens and time. */
export class Speed {
  #tokens = 0;
  #warm: number | undefined;
  readonly #start: number;
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#start = now();
  }

  /** One token of the one text that is written. */
  addToken(): void {
    this.addTexts(1);
    if (this.#tokens === slow) this.#warm = this.#now();
  }

  /** `count` tokens of texts that came as a whole. */
  addTexts(count: number): void {
    this.#tokens += count;
  }

  /**
   * `120 tokens in 2.0 s: the first 2 in 0.50 s (prompt and compiling), then 79.0 tokens/s`, or the rate of
   * all.
   */
  toString(): string {
    const end = this.#now();
    const seconds = (from: number, to: number): number => (to - from) / 1000;
    const begin = `${this.#tokens} tokens in ${seconds(this.#start, end).toFixed(1)} s`;
    if (this.#warm === undefined || this.#tokens <= slow)
      return `${begin}: ${(this.#tokens / seconds(this.#start, end)).toFixed(1)} tokens/s`;
    const rate = (this.#tokens - slow) / seconds(this.#warm, end);
    return (
      `${begin}: the first ${slow} in ${seconds(this.#start, this.#warm).toFixed(2)} s (prompt and compiling), ` +
      `then ${rate.toFixed(1)} tokens/s`
    );
  }
}
