// Folders of models with one thing damaged: a value of config.json or generation_config.json, a weight, the
// index of the weights, the tokenizer, a whole file.
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { noGrad, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import {
  generateText,
  GPT2LMHeadModel,
  loadModel,
  loadTextGenerator,
  readGenerationConfig,
  SafetensorsFile,
  Seq2SeqLM,
  Tokenizer,
  writeSafetensors,
} from '../../models/index.ts';
import type { TensorToWrite } from '../../models/io/safetensors.ts';
import { toFloat32 } from '../../models/io/tensor-data.ts';
import { Tally } from '../support/faults.ts';
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';
import { goldenFile } from '../support/golden.ts';

export const name = 'damaged model folders';

/** A folder damaged in one way. */
interface Damage {
  readonly what: string;
  readonly apply: (folder: string) => Promise<unknown>;
  /** How loading it must end; default either: some values are as good as those before. */
  readonly end?: 'refused' | 'equal';
}

const decoders = ['tiny-gpt2', 'tiny-llama', 'tiny-qwen3'];
const encoders = [
  'tiny-bert',
  'tiny-distilbert',
  'tiny-roberta',
  'tiny-albert',
  'tiny-electra',
  'tiny-mpnet',
  'tiny-deberta-v2',
];
const encoderDecoders = ['tiny-marian', 'tiny-marian-apart', 'tiny-bart', 'tiny-pegasus', 'tiny-t5', 'tiny-t5-gated'];
const families = [...decoders, ...encoders, ...encoderDecoders];

/** Stands for a key that is taken away. */
const absent = Symbol('absent');
const nasty: readonly unknown[] = [
  ...[absent, null, true, false, '', 'x', '3', '../x', [], [0], {}, { a: 1 }, [[]], '\u0000', '\u001b[31m'],
  ...[-1, 0, 1, 2, 3, 7, 0.5, -0.5, 1.5, 1e-300, 1e300, -1e9, 1e5, 1e9, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 53 + 2],
];
const show = (value: unknown): string => (value === absent ? 'absent' : JSON.stringify(value).slice(0, 40));

export async function run({ seed, short }: FaultOptions): Promise<FaultOutcome[]> {
  const random = new Random(seed);
  const some = <T>(list: readonly T[], most: number): readonly T[] =>
    short ? Array.from({ length: most }, () => list[random.int(list.length)]!) : list;
  const base = await mkdtemp(join(tmpdir(), 'tapeform-'));
  let count = 0;
  const tryAll = async (tally: Tally, family: string, damages: readonly Damage[]): Promise<void> => {
    const sound = await loadAndRun(goldenFile(family));
    for (const { what, apply, end } of damages) {
      const folder = join(base, String(count++));
      await cp(goldenFile(family), folder, { recursive: true });
      await apply(folder);
      await tally.try(`${family}: ${what}`, async () => {
        const found = await survives(folder, () => loadAndRun(folder));
        if (end === 'refused' && found) throw new Error('it was accepted');
        if (end === 'equal' && JSON.stringify(found) !== JSON.stringify(sound)) throw new Error('it is another model');
      });
      await rm(folder, { recursive: true, force: true });
    }
  };
  try {
    const [configs, weights, files] = [new Tally(), new Tally(), new Tally()];
    for (const family of some(families, 2)) {
      await tryAll(configs, family, some(await configDamages(family), 12));
      await tryAll(weights, family, some(await weightDamages(family), 20));
      await tryAll(weights, family, some(await indexDamages(family), 8));
    }
    const noise = Uint8Array.from({ length: 100 }, () => random.int(256));
    await tryAll(files, 'tiny-gpt2', some(fileDamages(noise), 15));
    return [
      configs.outcome('config.json of a model with a nasty value'),
      weights.outcome('weights of a model and their index damaged'),
      files.outcome('files of a model emptied, replaced, linked to themselves'),
      await generationOutcome(base, (list) => some(list, 12)),
    ];
  } finally {
    await rm(base, { recursive: true, force: true });
  }
}

/**
 * What loading gives; undefined where it is refused as it should be: soon, in one line that names a file of
 * the folder, or what was asked of the model, and says more than what JavaScript says.
 */
async function survives<T>(folder: string, load: () => Promise<T>): Promise<T | undefined> {
  const start = process.cpuUsage();
  let [result, error]: [T | undefined, unknown] = [undefined, undefined];
  try {
    result = await load();
  } catch (thrown) {
    error = thrown;
  }
  // Of the processors, so that other work on the machine does not count.
  const { user, system } = process.cpuUsage(start);
  const seconds = (user + system) / 1e6;
  if (seconds > 10) throw new Error(`it took ${seconds.toFixed(1)} s`);
  if (error === undefined) return result;
  const message = error instanceof Error ? error.message : '';
  const isClear =
    /^[^\p{Cc}]{20,600}$/u.test(message) &&
    (message.includes(folder) || /^generate: |are more than the model's \d+ positions/.test(message)) &&
    !/undefined|NaN|is not a function|is not iterable|Cannot read|\[object|out of memory/.test(message);
  if (!isClear) throw new Error(`the message is ${JSON.stringify(String(error)).slice(0, 300)}`);
  return undefined;
}

/** Loads the model that config.json names; what it computes of two tokens. */
async function loadAndRun(folder: string): Promise<number[][]> {
  const model = await loadModel(folder, { log: () => undefined });
  const ids = tensor([[1, 2]], { dtype: 'i32' });
  const inputs = { inputIds: ids, ...(model instanceof Seq2SeqLM ? { decoderInputIds: ids } : {}) };
  type Forward = (inputs: object) => Readonly<Record<string, Tensor>>;
  const output = noGrad(() => (model as unknown as { forward: Forward }).forward(inputs));
  const all = await Promise.all(Object.values(output).map(async (x) => Array.from(await x.data())));
  for (const x of model.stateDict().values()) x.storage.free();
  return all;
}

async function configDamages(family: string): Promise<Damage[]> {
  const json = JSON.parse(await readFile(join(goldenFile(family), 'config.json'), 'utf8')) as Record<string, unknown>;
  return [...Object.keys(json), 'num_labels', 'id2label', 'rope_scaling', 'head_dim'].flatMap((key) =>
    nasty.map((value): Damage => {
      const { [key]: _, ...rest } = json;
      const text = JSON.stringify(value === absent ? rest : { ...rest, [key]: value });
      return {
        what: `config.json with ${key} ${show(value)}`,
        apply: (folder) => writeFile(join(folder, 'config.json'), text),
      };
    }),
  );
}

async function weightDamages(family: string): Promise<Damage[]> {
  const all = await weightsOf(family);
  const write = (what: string, list: readonly TensorToWrite[], end?: Damage['end']): Damage => ({
    what,
    apply: (folder) => writeSafetensors(join(folder, 'model.safetensors'), list),
    ...(end ? { end } : {}),
  });
  const damages = [
    write('no tensors', [], 'refused'),
    write('tensors in another order', all.toReversed(), 'equal'),
    write('a tensor more', [...all, toWrite('more', [2], Float32Array.of(1, 2))], 'equal'),
  ];
  for (const [at, one] of all.entries()) {
    const others = all.toSpliced(at, 1);
    const { name: key, shape, values } = one;
    const put = (what: string, changed: TensorToWrite, end?: Damage['end']): number =>
      damages.push(write(`${key} ${what}`, [...others, changed], end));
    damages.push(write(`${key} missing`, others));
    put('with an axis more', { ...one, shape: [1, ...shape] }, 'refused');
    put('flat and longer', toWrite(key, [values.length + 1], new Float32Array(values.length + 1)), 'refused');
    put('without elements', toWrite(key, [0], new Float32Array()), 'refused');
    put('as F64', { ...one, dtype: 'F64', data: () => Float64Array.from(values) }, 'equal');
    put('as I32', { ...one, dtype: 'I32', data: () => Int32Array.from(values) });
    put('as BOOL', { ...one, dtype: 'BOOL', data: () => Uint8Array.from(values, (value) => Number(value > 0)) });
    put('as I64', {
      ...one,
      dtype: 'I64',
      data: () => BigInt64Array.from(values, (value) => BigInt(Math.trunc(value))),
    });
  }
  return damages;
}

async function indexDamages(family: string): Promise<Damage[]> {
  const keys = (await weightsOf(family)).map((one) => one.name);
  const whole = Object.fromEntries(keys.map((key) => [key, 'a.safetensors']));
  const damage = (map: unknown, end: Damage['end'] = 'refused'): Damage => ({
    what: `an index of ${JSON.stringify(map).slice(-60)}`,
    end,
    async apply(folder) {
      await cp(join(folder, 'model.safetensors'), join(folder, 'a.safetensors'));
      await rm(join(folder, 'model.safetensors'));
      await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: map }));
    },
  });
  const places = [
    ...['../x', '/etc/passwd', 'b/../../x', '', 'missing.safetensors', '.', '..', 'a', 'config.json', '..\\x', 'C:\\x'],
    ...['a\u0000.safetensors', '\u001b[31m', 'a.safetensors/b', 'x'.repeat(5000), 5, null, [], {}],
  ];
  return [
    damage(whole, 'equal'),
    ...places.map((place) => damage({ ...whole, [keys[0]!]: place })),
    ...[null, 5, [], 'x', {}, { 'a.b': 'a.safetensors' }, { ...whole, more: 'a.safetensors' }].map((map) =>
      damage(map),
    ),
  ];
}

function fileDamages(noise: Uint8Array): Damage[] {
  const texts = ['', ' ', '{', '[]', 'null', '5', '"x"', '\uFEFF{}', '{"a":1,}', '['.repeat(1e5), '\u0000'];
  const replaced = ['config.json', 'model.safetensors', 'model.safetensors.index.json'].flatMap((file) =>
    [...texts, '{}', noise].map((content, i): Damage => ({
      what: `${file} with content ${i}`,
      end: 'refused',
      async apply(folder) {
        if (file.endsWith('index.json')) await rm(join(folder, 'model.safetensors'));
        await writeFile(join(folder, file), content);
      },
    })),
  );
  const gone = ['config.json', 'model.safetensors'].flatMap((file): Damage[] => {
    const remove = (folder: string): Promise<void> => rm(join(folder, file));
    return [
      { what: `${file} missing`, end: 'refused', apply: remove },
      {
        what: `${file} is a folder`,
        end: 'refused',
        apply: (folder) => remove(folder).then(() => mkdir(join(folder, file))),
      },
      {
        what: `${file} is a link to itself`,
        end: 'refused',
        apply: (folder) => remove(folder).then(() => symlink(file, join(folder, file))),
      },
    ];
  });
  return [...replaced, ...gone];
}

/** No tokenizer, that of another model, and every setting of generation_config.json with nasty values. */
async function generationOutcome(base: string, some: <T>(list: readonly T[]) => readonly T[]): Promise<FaultOutcome> {
  const tally = new Tally();
  const tokenizer = Tokenizer.gpt2();
  const prompt = 'a b';
  for (const hasTokenizer of [false, true]) {
    const folder = join(base, `text ${hasTokenizer}`);
    await cp(goldenFile('tiny-gpt2'), folder, { recursive: true });
    if (hasTokenizer) for (const { path, data } of tokenizer.filesToSave(folder)) await writeFile(path, data as string);
    await tally.try(hasTokenizer ? 'a tokenizer of another model' : 'no tokenizer', async () => {
      const found = await survives(folder, async () => {
        const { model, tokenizer: own, options } = await loadTextGenerator(folder, { log: () => undefined });
        return await generateText(model, own, prompt, { ...options, maxNewTokens: 2 });
      });
      if (found) throw new Error('it was accepted');
    });
  }
  const { keys } = JSON.parse(await readFile(goldenFile('generation.json'), 'utf8')) as { keys: string[] };
  const model = GPT2LMHeadModel.fromConfig({ nEmbd: 8, nHead: 1, nLayer: 0, nPositions: 32 });
  const cases = [...keys, 'toString', '__proto__'].flatMap((key) => nasty.map((value) => ({ key, value })));
  const { warn } = console;
  console.warn = () => undefined; // options that do nothing are told
  for (const { key, value } of some(cases)) {
    const text = `{ ${JSON.stringify(key)}: ${value === absent ? '1e99' : JSON.stringify(value)} }`;
    await writeFile(join(base, 'generation_config.json'), text);
    await tally.try(`generation_config.json with ${text}`, () =>
      survives(base, async () => {
        const options = await readGenerationConfig(base, { log: () => undefined });
        return await generateText(model, tokenizer, prompt, { ...options, maxNewTokens: 2 });
      }),
    );
  }
  console.warn = warn;
  return tally.outcome('tokenizer or generation_config.json damaged');
}

type Weight = TensorToWrite & { readonly values: Float32Array };

const toWrite = (key: string, shape: readonly number[], values: Float32Array): Weight => ({
  name: key,
  dtype: 'F32',
  shape,
  values,
  data: () => values,
});

async function weightsOf(family: string): Promise<Weight[]> {
  const file = await SafetensorsFile.open(join(goldenFile(family), 'model.safetensors'));
  const all: Weight[] = [];
  for (const [key, { shape }] of file.entries) all.push(toWrite(key, shape, toFloat32(await file.read(key))));
  await file.close();
  return all;
}
