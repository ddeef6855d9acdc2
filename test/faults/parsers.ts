// Every parser of the project on damaged and nasty inputs: mutations of valid files, the same for a seed.
// Each must give a value or one line that names the file, within ten seconds, and leave JavaScript's
// prototypes alone.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import type { JsonObject } from '../../common/json-file.ts';
import { readJsonFile } from '../../common/json-file.ts';
import { Random } from '../../common/random.ts';
import { BertConfig, BertTokenizer, GPT2Config, LlamaConfig, loadTokenizer, MarianConfig } from '../../models/index.ts';
import { readGenerationConfig } from '../../models/generation/config-file.ts';
import { SavedWeights, writeSafetensors } from '../../models/io/safetensors.ts';
import { HelpRequest, parseOptions } from '../../train/cli/cli.ts';
import { readCard } from '../../train/data/corpus/data-card.ts';
import { emailBody } from '../../train/data/email-body.ts';
import { htmlText } from '../../train/data/html-text.ts';
import { readTable } from '../../train/data/read-table.ts';
import { expandInputs, readDocuments } from '../../train/data/readers/inputs.ts';
import { openTokenCorpus, writeTokenCorpus } from '../../train/data/token-files.ts';
import { readLog } from '../../train/trainer/run-log.ts';
import { readTrainingState, writeState } from '../../train/trainer/run-state.ts';
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';
import { HangGuard, Tally } from '../support/faults.ts';
import { RustTokenizers } from '../support/rust-tokenizers.ts';

export const name = 'parsers of damaged and nasty inputs';

/** A parser, files that it takes, and how often it is tried of a thousand inputs. */
interface Parser {
  readonly what: string;
  /** The file's path below the folder that `parse` gets; the others there stay whole. */
  readonly file: string;
  readonly seeds: readonly Uint8Array[];
  readonly share: number;
  /** Its errors need not name the file: it gets the contents. */
  readonly ofText?: boolean;
  readonly parse: (folder: string, path: string, bytes: Buffer) => unknown;
}

const utf8 = (...texts: string[]): Buffer[] => texts.map((text) => Buffer.from(text));
const json = (...values: unknown[]): Buffer[] => utf8(...values.map((value) => JSON.stringify(value)));

const nasty: readonly string[] = [
  ...['\0', '\x1b[2J', '\x9b1m', '\ufeff', '\u2028', '\r', '\r\n', '\n', '\t', '"', "'", '\\', '\\ud800', '\\u0000'],
  ...[
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    'null',
    'true',
    'NaN',
    '-0',
    '1.0',
    '1e999',
    '-1',
    '0.5',
    '1e15',
    '9007199254740993',
  ],
  ...[
    '18446744073709551616',
    '"__proto__":',
    '"constructor":',
    '{"__proto__":{"polluted":1}}',
    '"toString"',
    '../',
    '%',
  ],
  ...['<script>', '<!--', '&#x110000;', '=?utf-8?B?', 'Content-Type: multipart/mixed; boundary="', '--', '\n\n'],
  ...[
    '['.repeat(3000),
    '{"a":'.repeat(3000),
    '"'.repeat(999),
    'a'.repeat(5000),
    '(?:a+)+$',
    '\xff\xfe',
    '<b>'.repeat(2000),
  ],
];
const values: readonly unknown[] = [
  ...[
    null,
    true,
    0,
    -1,
    0.5,
    1e15,
    2 ** 53,
    1e308,
    '',
    'toString',
    '__proto__',
    '\x1b[2J',
    [],
    {},
    [[]],
    [null],
    { a: 1 },
  ],
  ...['x'.repeat(5000), Array(2000).fill(0), { constructor: 1 }, { type: 'x' }, ['a', 'a'], -(2 ** 31), '1', [1, 2, 3]],
];

/** Damages bytes in one to four places, or a value of JSON in one. */
function mutate(seeds: readonly Uint8Array[], random: Random): Buffer {
  const pick = <T>(list: readonly T[]): T => list[random.int(list.length)]!;
  let bytes = Buffer.from(pick(seeds));
  if (random.int(3) === 0) {
    const changed = changeJson(bytes, pick, random);
    if (changed) return changed;
  }
  for (let n = 1 + random.int(4); n > 0; n--) {
    const at = random.int(bytes.length + 1);
    const to = Math.min(bytes.length, at + random.int(1 + random.int(64)));
    const [before, inside, after] = [bytes.subarray(0, at), bytes.subarray(at, to), bytes.subarray(to)];
    const other = pick(seeds);
    const from = random.int(other.length + 1);
    const kinds: readonly (() => Uint8Array[])[] = [
      () => [before, Buffer.from(inside.map((byte) => byte ^ (1 << random.int(8)))), after],
      () => [before, after],
      () => [before],
      () => [before, inside, inside, inside, after],
      () => [after, inside, before],
      () => [before, Buffer.from(pick(nasty), random.int(4) === 0 ? 'latin1' : 'utf8'), after],
      () => [before, Buffer.from(pick(nasty)), inside, after],
      () => [before, Buffer.from(Array.from(inside, () => random.int(256))), after],
      () => [before, other.subarray(from)],
    ];
    bytes = Buffer.concat(pick(kinds)());
  }
  return bytes;
}

function changeJson(bytes: Buffer, pick: <T>(list: readonly T[]) => T, random: Random): Buffer | undefined {
  let root: unknown;
  try {
    root = { value: JSON.parse(bytes.toString()) as unknown };
  } catch {
    return undefined;
  }
  let at = root as Record<string, unknown>;
  for (;;) {
    const key = pick(Object.keys(at));
    const inner = at[key];
    if (typeof inner === 'object' && inner !== null && Object.keys(inner).length > 0 && random.int(5) > 0) {
      at = inner as Record<string, unknown>;
      continue;
    }
    if (random.int(4) === 0 && key !== 'value') Reflect.deleteProperty(at, key);
    else
      at[random.int(6) === 0 && key !== 'value' ? pick(['__proto__', 'constructor', 'x\x1b', 'size']) : key] =
        pick(values);
    return Buffer.from(JSON.stringify((root as { value: unknown }).value) ?? '');
  }
}

/** Fails unless an error is one line for people, told of the file. */
function checkError(error: unknown, path: string, ofText: boolean): void {
  if (error instanceof HelpRequest) return;
  if (!(error instanceof Error)) throw new Error(`threw ${String(error)}`);
  const bugs = [TypeError, RangeError, ReferenceError, SyntaxError, EvalError, URIError];
  if (bugs.some((kind) => error instanceof kind)) throw new Error(`a ${error.constructor.name}: ${error.stack}`);
  if (/[\n\r]/.test(error.message)) throw new Error(`several lines: ${JSON.stringify(error.message)}`);
  if (error.message.length > 3000)
    throw new Error(`${error.message.length} characters: ${error.message.slice(0, 200)}`);
  if (!ofText && ![path, dirname(path)].some((part) => error.message.includes(part)))
    throw new Error(`does not name ${path}: ${error.message}`);
}

export async function run({ seed, short }: FaultOptions): Promise<FaultOutcome[]> {
  const home = mkdtempSync(join(tmpdir(), 'tapeform-parsers-'));
  const outcomes: FaultOutcome[] = [];
  const rust = new RustTokenizers();
  const guard = new HangGuard(60);
  const prototypes = [Object.prototype, Array.prototype, Function.prototype, String.prototype];
  const untouched = prototypes.map((prototype) => Object.getOwnPropertyNames(prototype).join());
  try {
    for (const [i, parser] of (await parsers(home, rust)).entries()) {
      const { what, file, seeds, share, ofText = false, parse } = parser;
      const random = new Random(seed, i);
      const tally = new Tally();
      const folder = join(home, what.replace(/\W+/g, '-'));
      const path = join(folder, file);
      mkdirSync(dirname(path), { recursive: true });
      for (let n = 0; n < Math.ceil(share * (short ? 2 : 55)); n++) {
        guard.next(`${what}, input ${n}`);
        const bytes = n < seeds.length ? Buffer.from(seeds[n]!) : mutate(seeds, random);
        await tally.try(`${what}, input ${n}`, async () => {
          writeFileSync(path, bytes);
          const started = performance.now();
          try {
            await parse(folder, path, bytes);
          } catch (error) {
            if (n < seeds.length) throw error;
            checkError(error, path, ofText);
          }
          const seconds = (performance.now() - started) / 1000;
          if (seconds > 10) throw new Error(`took ${seconds.toFixed(1)} s`);
          if (prototypes.some((prototype, k) => Object.getOwnPropertyNames(prototype).join() !== untouched[k]))
            throw new Error('a prototype has changed');
        });
      }
      outcomes.push(tally.outcome(what));
      if (!short) console.log(tally.progress(what));
    }
  } finally {
    guard.close();
    rust.close();
    rmSync(home, { recursive: true, force: true });
  }
  return outcomes;
}

/**
 * All parsers, with their valid inputs; those that need files around them make them below `home`. `rust` is
 * asked for the ids of tokenizers that both take.
 */
async function parsers(home: string, rust: RustTokenizers): Promise<Parser[]> {
  const weights = join(home, 'seed.safetensors');
  const tensors = ['layer.weight', 'größe', '__proto__'].map((key, i) => ({
    name: key,
    dtype: 'F32' as const,
    shape: [i, 2],
    data: () => Promise.resolve(new Float32Array(2 * i)),
  }));
  await writeSafetensors(weights, tensors);
  const safetensors = readFileSync(weights);
  const sharded = join(home, 'sharded-index');
  mkdirSync(sharded, { recursive: true });
  writeFileSync(join(sharded, 'a.safetensors'), safetensors);
  const index = {
    metadata: { total_size: 8 },
    weight_map: { 'layer.weight': 'a.safetensors', größe: 'a.safetensors' },
  };

  const vocab = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'the', 'cat', '##s', 'g', '##r', '##ö', 'a', '.'];
  const tokenizer = BertTokenizer.fromVocab(vocab);
  const tokenizerFiles = new Map(
    tokenizer.filesToSave(home).map(({ path, data }) => [path.slice(home.length + 1), Buffer.from(data as string)]),
  );
  const byteLevel = {
    version: '1.0',
    added_tokens: [
      { id: 3, content: '<|end|>', special: true, single_word: false, lstrip: false, rstrip: false, normalized: false },
    ],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false, use_regex: true },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: 'BPE', dropout: null, unk_token: null, vocab: { a: 0, b: 1, ab: 2 }, merges: ['a b'] },
  };
  const text = 'The cats [MASK] ab größe. ab<|end|>';
  const readTokenizer = async (folder: string): Promise<void> => {
    const loaded = await loadTokenizer(folder);
    let ids: number[];
    try {
      ids = [...loaded.idsOf(text)];
      loaded.decode(ids);
    } catch (error) {
      return checkError(error, folder, true); // of the text, not of the file
    }
    const file = join(folder, 'tokenizer.json');
    const given = existsSync(file) ? readFileSync(file, 'utf8') : undefined;
    const saved = loaded.filesToSave(folder).find(({ path }) => path === file)!.data;
    const json = JSON.parse(given ?? String(saved)) as JsonObject;
    const reference = await rust.ask({ json, texts: [text], lists: [] });
    const wanted = reference && reference !== 'aborted' ? reference.texts[0]?.ids : undefined;
    if (wanted && wanted.join() !== ids.join()) throw new Error(`gives ids ${ids.join()}, in Rust ${wanted.join()}`);
  };

  const split = join(home, 'seed-corpus');
  await writeTokenCorpus(split, [Int32Array.of(5, 6, 7), Int32Array.of(8)], { vocabSize: 20 });
  const corpusFile = (file: string): Buffer => readFileSync(join(split, file));
  const aroundCorpus = (folder: string, own: string): void => {
    for (const file of ['meta.json', 'tokens.bin', 'offsets.bin'])
      if (file !== own) writeFileSync(join(folder, file), corpusFile(file));
  };
  const readCorpus = (own: string) => async (folder: string) => {
    aroundCorpus(folder, own);
    const corpus = await openTokenCorpus(folder, { vocabSize: 20 });
    try {
      corpus.read(0, corpus.tokens);
    } finally {
      corpus.close();
    }
  };

  const config = (
    what: string,
    format: typeof BertConfig | typeof GPT2Config | typeof LlamaConfig | typeof MarianConfig,
  ) => ({
    what: `config.json of ${what}`,
    file: 'config.json',
    seeds: json(format.toJson(format.create({}) as never)),
    share: 30,
    parse: async (_: string, path: string) => format.fromJson(await readJsonFile(path), path),
  });
  const table = (file: string, ...texts: string[]): Parser => ({
    what: `labelled ${file}`,
    file,
    seeds: utf8(...texts),
    share: 60,
    parse: (_, path) => readTable(path),
  });
  const documents = (
    file: string,
    seeds: readonly Uint8Array[],
    unit: 'file' | 'line' | 'paragraph' = 'file',
  ): Parser => ({
    what: `texts of ${file} by ${unit}`,
    file,
    seeds,
    share: 30,
    parse: async (_, path) => {
      for await (const document of readDocuments(await expandInputs([path]), { documents: unit })) void document;
    },
  });
  const parquet = new Uint8Array(
    parquetWriteBuffer({ columnData: [{ name: 'text', data: ['one', 'two', 'größe'], type: 'STRING' }] }),
  );
  const step = { step: 1, loss: 2, losses: { mlm: 1 }, lr: 0.1, gradNorm: 1, tokens: 8, seconds: 1, time: 1 };
  const log = [
    step,
    { step: 1, evaluation: { loss: 2 }, seconds: 1, time: 1 },
    { ...step, step: 2, skipped: 1, scale: 8 },
  ];
  const state = {
    ...{ step: 3, seconds: 1.5, best: { step: 2, value: 0.5 }, sinceBest: 1, identity: { seed: 1, data: 'x' } },
    random: { seed: 1, stream: 5 },
  };
  await writeState(home, state); // as this version of the project writes it
  const mail =
    'From: a@b.c\nSubject: =?utf-8?B?SGk=?=\nContent-Type: multipart/alternative; boundary="x"\n\n--x\n' +
    'Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe=\n!\n' +
    '--x\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\nPGI+SGk8L2I+\n--x--\n';
  const html =
    '<!doctype html><html><head><style>a{}</style></head><body><p>a&amp;b<br>c</p><ul><li>d</ul>&#228;</body>';
  const command = {
    name: 'fuzz',
    summary: 'takes anything',
    positionals: { name: 'FILE', help: 'files', max: 3 },
    presets: { small: { batchSize: 2 } },
    options: {
      batchSize: { type: 'int', min: 1, max: 64, default: 8, help: 'size', short: 'b' },
      rate: { type: 'number', min: 0, default: 1, help: 'rate' },
      name: { type: 'string', help: 'name' },
      kind: { type: 'choice', choices: ['a', 'b'], default: 'a', help: 'kind' },
      file: { type: 'path', exists: 'file', help: 'file' },
      more: { type: 'list', help: 'more' },
      quick: { type: 'boolean', default: true, help: 'quick' },
    },
  } as const;

  return [
    {
      what: 'safetensors',
      file: 'model.safetensors',
      seeds: [safetensors],
      share: 250,
      parse: async (_, path) => {
        const saved = await SavedWeights.open(path);
        try {
          for (const key of saved.names()) await saved.read(key);
        } finally {
          await saved.close();
        }
      },
    },
    {
      what: 'sharded index',
      file: 'model.safetensors.index.json',
      seeds: json(index),
      share: 40,
      parse: async (_, path) => (await SavedWeights.open(path)).close(),
    },
    config('BERT', BertConfig),
    config('GPT-2', GPT2Config),
    config('Llama', LlamaConfig),
    config('Marian', MarianConfig),
    {
      what: 'generation_config.json',
      file: 'generation_config.json',
      seeds: json({ max_new_tokens: 5, do_sample: true, temperature: 0.5, eos_token_id: [1, 2], suppress_tokens: [3] }),
      share: 40,
      parse: (folder) => readGenerationConfig(folder, { log: () => undefined }),
    },
    {
      what: 'tokenizer.json',
      file: 'tokenizer.json',
      seeds: [tokenizerFiles.get('tokenizer.json')!, ...json(byteLevel)],
      share: 60,
      parse: readTokenizer,
    },
    {
      what: 'vocab.txt',
      file: 'vocab.txt',
      seeds: utf8(`${vocab.join('\n')}\n`),
      share: 30,
      parse: readTokenizer,
    },
    table('table.csv', 'text,label\na b,x\n"c ""d""\ne",y\r\n', 'id,text,label\n1,größe,0\n2,b,1\n'),
    table('table.tsv', 'text\tlabel\na b\tx\nc\ty\n'),
    table('table.jsonl', '{"text":"a","label":"x"}\n{"text":"b","label":1}\n\n{"text":"größe","label":"x"}\n'),
    documents('a.txt', utf8('a b\nc\n\nd größe\n', 'one\r\n\r\ntwo\r\n'), 'paragraph'),
    documents('b.txt', utf8('a b\nc\n\nd größe\n'), 'line'),
    documents('c.md', utf8('# a\n\nb größe\n')),
    documents('d.jsonl', utf8('{"text":"a"}\n{"text":"größe"}\n')),
    documents('e.parquet', [parquet]),
    {
      what: 'HTML',
      file: 'a.html',
      seeds: utf8(html),
      share: 30,
      ofText: true,
      parse: (_, __, bytes) => htmlText(bytes.toString()),
    },
    {
      what: 'e-mail',
      file: 'a.eml',
      seeds: utf8(mail),
      share: 40,
      ofText: true,
      parse: (_, __, bytes) => emailBody(bytes.toString('latin1')),
    },
    {
      what: "run's log",
      file: 'log.jsonl',
      seeds: utf8(log.map((record) => `${JSON.stringify(record)}\n`).join('')),
      share: 60,
      parse: (_, path) => readLog(path),
    },
    ...['meta.json', 'tokens.bin', 'offsets.bin'].map((file): Parser => ({
      what: `token corpus, ${file}`,
      file,
      seeds: [corpusFile(file)],
      share: 20,
      parse: readCorpus(file),
    })),
    {
      what: 'trainer_state.json',
      file: 'trainer_state.json',
      seeds: [readFileSync(join(home, 'trainer_state.json'))],
      share: 40,
      parse: (folder) => readTrainingState(folder),
    },
    {
      what: 'card.json',
      file: 'card.json',
      seeds: json({}),
      share: 10,
      ofText: false,
      parse: (folder) => readCard(folder).catch((error: unknown) => checkError(error, folder, false)),
    },
    {
      what: 'arguments',
      file: 'arguments',
      seeds: utf8(
        '--batch-size=4\n--rate\n1e-3\nfile\n--no-quick\n--more\na\n--more=b\n--\n-x',
        '--preset\nsmall\n-b\n3\n--kind=b',
      ),
      share: 60,
      ofText: true,
      parse: (_, __, bytes) => parseOptions(command, bytes.toString().split('\n')),
    },
  ];
}
