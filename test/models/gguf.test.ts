// GGUF files against gguf-py: the golden files are made by test/golden/golden_gguf.py.
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed, noGrad } from '../../autograd/index.ts';
import { writeFilesAtomic } from '../../common/atomic-files.ts';
import { fromHalf, toHalf } from '../../common/half.ts';
import type { AnyTokenizer } from '../../models/index.ts';
import { loadModel, loadTokenizer, MistralForCausalLM, Tokenizer } from '../../models/index.ts';
import { blockTypes, dequantize, quantize } from '../../models/gguf/blocks.ts';
import { GgufFile } from '../../models/gguf/file.ts';
import { ropeScalingOf } from '../../models/gguf/architectures.ts';
import { tokenizerOf } from '../../models/gguf/tokenizer.ts';
import { ggufFile } from '../../models/gguf/writer.ts';
import { failure } from '../support/failure.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';
import { i32 } from '../support/model-golden.ts';
import { runScript } from '../support/script.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

interface Golden {
  readonly read: Readonly<Record<string, { readonly id: number; readonly data: string; readonly values: string }>>;
  readonly from: string;
  readonly written: Readonly<Record<string, { readonly id: number; readonly data: string }>>;
  readonly tokens: readonly string[];
  readonly merges: readonly string[];
  readonly texts: readonly string[];
  readonly ids: Readonly<Record<string, readonly (readonly number[])[]>>;
}

const golden = JSON.parse(readFileSync(goldenFile('gguf.json'), 'utf8')) as Golden;
const bytesOf = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'base64'));
const floatsOf = (text: string): Float32Array => new Float32Array(bytesOf(text).buffer);
const bits = (values: Float32Array): Uint32Array => new Uint32Array(values.buffer, values.byteOffset, values.length);

const test = suite('gguf');
let folder = '';
temporaryFolder(test, (made) => (folder = made));

test('weights of every type are those of gguf-py, bit for bit', () => {
  for (const [name, { id, data, values }] of Object.entries(golden.read)) {
    const type = blockTypes.get(id)!;
    assert.is(type.name, name);
    assert.equal(bits(dequantize(type, bytesOf(data))), bits(floatsOf(values)), name);
  }
});

test('weights are written as gguf-py writes them, byte for byte', () => {
  for (const [name, { id, data }] of Object.entries(golden.written))
    assert.equal(quantize(blockTypes.get(id)!, floatsOf(golden.from)), bytesOf(data), name);
  const q8 = blockTypes.get(8)!;
  assert.throws(() => quantize(q8, new Float32Array(33)), /33 weights are no whole number of blocks of 32/);
  assert.throws(() => quantize(q8, new Float32Array(32).fill(NaN)), /not finite cannot be written as Q8_0/);
  assert.throws(() => quantize(blockTypes.get(14)!, new Float32Array(256)), /cannot be written as Q6_K here/);
});

const newer = ['olmo2', 'smollm3', 'gemma2', 'gemma3', 'phi3', 'gpt-neox'];

for (const name of ['llama', 'qwen3', 'gpt2', ...newer]) {
  test(`${name}: a file of gguf-py has the weights of its folder, in f16`, async () => {
    const [file, whole] = [
      await loadModel(goldenFile(`tiny-${name}.gguf`)),
      await loadModel(goldenFile(`tiny-${name}`)),
    ];
    assert.is(file.constructor, whole.constructor);
    const expected = new Map(whole.stateDict());
    const found = [...file.stateDict()];
    assert.equal(found.map(([key]) => key).sort(), [...expected.keys()].sort());
    for (const [key, value] of found) {
      const own = (await expected.get(key)!.data()) as Float32Array;
      const halves = Float32Array.from(own, (x) => fromHalf(toHalf(x)));
      // The newer files hold vectors in f32, Gemma's norms with 1 added.
      if (newer.includes(name) && value.ndim === 1)
        assert.ok(largestDifference((await value.data()) as Float32Array, own) <= 1e-7, key);
      else assert.equal(await value.data(), halves, key);
    }
  });

  test(`${name}: what is written is read again, and computes the same`, async () => {
    const [model, tokenizer] = [
      await loadModel(goldenFile(`tiny-${name}.gguf`)),
      await loadTokenizer(goldenFile(`tiny-${name}.gguf`)),
    ];
    const path = join(folder, `${name}.gguf`);
    await writeFilesAtomic([ggufFile(path, model, tokenizer, 'f32')]);
    const again = { model: await loadModel(path), tokenizer: await loadTokenizer(path) };
    assert.equal(JSON.parse(again.model.configText()), JSON.parse(model.configText()));
    const logits = (of: typeof model): Promise<ArrayLike<number>> =>
      noGrad(() =>
        (of as never as { forward(x: object): { logits: { data(): Promise<Float32Array> } } }).forward({
          inputIds: i32([[3, 5, 7, 11]]),
        }),
      ).logits.data();
    assert.equal(await logits(again.model), await logits(model));
    assert.equal(ids(again.tokenizer), ids(tokenizer));
  });
}

test('a window in a file of llama makes it a Mistral', async () => {
  const tokenizer = await loadTokenizer(goldenFile('tiny-llama.gguf'));
  manualSeed(3);
  const settings = {
    vocabSize: 64,
    hiddenSize: 32,
    intermediateSize: 48,
    numHiddenLayers: 2,
    numAttentionHeads: 4,
    numKeyValueHeads: 4,
  };
  const inputIds = i32([[3, 5, 7, 11, 2, 9, 4, 8]]);
  for (const [slidingWindow, name] of [
    [3, 'MistralForCausalLM'],
    [null, 'LlamaForCausalLM'],
  ] as const) {
    const model = MistralForCausalLM.fromConfig({
      ...settings,
      maxPositionEmbeddings: 16,
      slidingWindow,
      initializerRange: 0.3,
    });
    const path = join(folder, `${name}.gguf`);
    await writeFilesAtomic([ggufFile(path, model, tokenizer, 'f32')]);
    const again = (await loadModel(path)) as MistralForCausalLM;
    assert.is(again.constructor.name, name);
    if (slidingWindow !== null) assert.is(again.config.slidingWindow, slidingWindow);
    const logits = (of: MistralForCausalLM) => noGrad(() => of.forward({ inputIds }).logits).data();
    assert.equal(await logits(again), await logits(model));
  }
});

const ids = (tokenizer: AnyTokenizer): number[][] => golden.texts.map((text) => [...tokenizer.idsOf(text)]);

test('texts are cut as the tokenizers package cuts them', () => {
  for (const [pre, expected] of Object.entries(golden.ids)) {
    const metadata = tokenizerSettings({ pre });
    const { tokenizer, config } = tokenizerOf(metadata, 'x.gguf');
    const read = Tokenizer.fromJson(tokenizer, config);
    assert.equal(ids(read), expected, pre);
    assert.is(read.eosTokenId, 1);
  }
});

/** The settings of a tokenizer, some of them others. */
function tokenizerSettings(other: Readonly<Record<string, unknown>> = {}): Map<string, never> {
  const settings = {
    model: 'gpt2',
    pre: 'gpt-2',
    tokens: golden.tokens,
    merges: golden.merges,
    token_type: golden.tokens.map((token) => (token.startsWith('<|') ? 3 : 1)),
    bos_token_id: 0,
    eos_token_id: 1,
    ...other,
  };
  return new Map(Object.entries(settings).map(([key, value]) => [`tokenizer.ggml.${key}`, value as never]));
}

test('a text begins with the token that the file asks for; the template of dialogues is kept', async () => {
  const path = goldenFile('tiny-llama.gguf');
  const tokenizer = (await loadTokenizer(path)) as Tokenizer;
  assert.equal([...tokenizer.idsOf('he', { addSpecialTokens: true })].slice(0, 1), [0]);
  const files = tokenizer.filesToSave('x');
  const config = files.find((file) => file.path.endsWith('tokenizer_config.json'))!;
  assert.match(String(config.data), "messages[0]['content']");
});

test('tokenizers that are not known, or whose lists do not fit, are refused', () => {
  const cases: [Readonly<Record<string, unknown>>, RegExp][] = [
    [{ model: 'bert' }, /has a tokenizer of the kind "bert"; known here are "gpt2", byte-level BPE, and "llama"/],
    [{ pre: 'tekken' }, /cuts texts into words as "tekken" does .* known are gpt-2, phi-2/],
    [{ tokens: undefined }, /has no tokenizer.ggml.tokens; convert/],
    [{ merges: undefined }, /has no tokenizer.ggml.merges; convert/],
    [{ tokens: ['a', 3] }, /tokenizer.ggml.tokens is no list of those/],
    [{ eos_token_id: 100000 }, /tokenizer.ggml.eos_token_id is 100000/],
  ];
  for (const [other, message] of cases) assert.throws(() => tokenizerOf(tokenizerSettings(other), 'x.gguf'), message);
});

test("Llama 3's factors of rotary positions become its setting; others are refused", () => {
  const base = 500000;
  const factors = Float32Array.from({ length: 32 }, (_, i) => {
    const wave = (2 * Math.PI) / base ** (-i / 32);
    if (wave < 8192 / 4) return 1;
    if (wave > 8192) return 32;
    const smooth = (8192 / wave - 1) / 3;
    return 1 / ((1 - smooth) / 32 + smooth);
  });
  assert.equal(ropeScalingOf(factors, base, 'x.gguf'), {
    rope_type: 'llama3',
    factor: 32,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  });
  assert.is(ropeScalingOf(new Float32Array(32).fill(1), base, 'x.gguf'), null);
  factors[20]! += 1;
  assert.throws(() => ropeScalingOf(factors, base, 'x.gguf'), /are not those of Llama 3/);
});

test('damaged files: one line with the name of the file', async () => {
  const whole = await readFile(goldenFile('tiny-llama.gguf'));
  const changed = (at: number, ...bytes: number[]): Buffer => {
    const copy = Buffer.from(whole);
    copy.set(bytes, at);
    return copy;
  };
  const typeOfFirst = whole.indexOf('output.weight') + 'output.weight'.length + 4 + 16;
  const cases: [string, Buffer, RegExp][] = [
    ['empty', Buffer.alloc(0), /is no GGUF file: it is only 0 bytes long/],
    ['text', Buffer.from('this is some text, long enough to be read as a head'), /does not begin with "GGUF"/],
    ['version', changed(4, 9), /is a GGUF file of version 9; 2 and 3 can be read/],
    ['big-endian', changed(4, 0, 0, 0, 3), /is a big-endian GGUF file/],
    ['tensors', changed(8, 255, 255, 255, 255, 255), /the number of tensors is 1099511627775, more than the file/],
    ['settings', changed(16, 0, 0, 0, 0, 0, 0, 0, 1), /the number of settings is 72057594037927936/],
    ['a name', changed(24, 255, 255, 255, 255), /the length of the name of setting 0 is 4294967295/],
    ['no UTF-8', changed(32, 255), /the name of setting 0 is no UTF-8/],
    ['cut within its head', whole.subarray(0, 3000), /damaged: .* cut short or lies|more than the file has room/],
    ['cut within its data', whole.subarray(0, whole.length - 100), /ends at byte \d+ of \d+, the file is cut short/],
    ['an unknown quantisation', changed(typeOfFirst, 99), /"output.weight" has the quantisation number 99, which/],
  ];
  for (const [name, bytes, message] of cases) {
    const path = join(folder, `${name.replaceAll(' ', '-')}.gguf`);
    await writeFile(path, bytes);
    const error = await failure(loadModel(path));
    assert.match(error, message, name);
    assert.is(error.split('\n').length, 1, name);
    assert.match(error, '.gguf', name);
  }
});

test('the export script writes and reads GGUF files', async () => {
  const path = join(folder, 'exported.gguf');
  const from = goldenFile('tiny-qwen3.gguf');
  const run = await runScript(['train/export.ts', '--model', from, '--output', path, '--precision', 'q8_0']);
  assert.is(run.code, 0, run.stderr);
  assert.match(run.stdout, /^saved {2}.*exported\.gguf, 0\.0 MB\n$/);
  const file = await GgufFile.open(path);
  const types = new Set([...file.tensors.values()].map(({ type }) => type!.name));
  await file.close();
  assert.equal([...types].sort(), ['F16', 'F32', 'Q8_0']);
  assert.is((await loadModel(path)).constructor.name, 'Qwen3ForCausalLM');
  const refused = await runScript(['train/export.ts', '--model', from, '--output', folder, '--precision', 'q8_0']);
  assert.match(refused.stderr, /--precision q8_0 is for GGUF files; end --output with .gguf/);
});

test('settings that files of an architecture have no word for are not written', async () => {
  const tokenizer = await loadTokenizer(goldenFile('tiny-llama.gguf'));
  const cases: [string, RegExp][] = [
    ['gemma2', /a model whose query_pre_attn_scalar is 12 cannot be written as GGUF: it is 8 there/],
    ['gemma3', /a model whose layer_types is .* cannot be written/],
    ['smollm3', /a model whose no_rope_layers is \[1,0\] cannot be written/],
    ['qwen2-window', /a model whose layer_types is .*sliding_attention.* cannot be written/],
    ['phi3-long', /rotary positions scaled as "longrope" cannot be written as GGUF here/],
  ];
  for (const [name, message] of cases) {
    const model = await loadModel(goldenFile(`tiny-${name}`));
    assert.throws(() => ggufFile('x.gguf', model, tokenizer, 'f32'), message);
  }
});

test('a model of another family is refused, and one that has no name in GGUF files is not written', async () => {
  const whole = await readFile(goldenFile('tiny-llama.gguf'), 'latin1');
  const path = join(folder, 'other.gguf');
  await writeFile(
    path,
    whole.replace('general.architecture\b\0\0\0\x05\0\0\0\0\0\0\0llama', (text) => text.replace('llama', 'mamba')),
    'latin1',
  );
  assert.match(
    await failure(loadModel(path)),
    /holds a model of the architecture "mamba"; known here are llama, qwen2, qwen3, smollm3/,
  );
  const bert = await loadModel(goldenFile('tiny-bert'));
  const tokenizer = await loadTokenizer(goldenFile('tiny-llama.gguf'));
  assert.throws(() => ggufFile('x.gguf', bert, tokenizer, 'f16'), /a \w+ cannot be written as GGUF here; known are/);
});

test('a file is opened and closed, tensors are read by name', async () => {
  const file = await GgufFile.open(goldenFile('tiny-gpt2.gguf'));
  assert.equal(file.tensors.get('token_embd.weight')!.shape.length, 2);
  assert.match(await failure(file.read('nothing')), /has no tensor "nothing"/);
  await file.close();
});

test.run();
