import { open, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { LoadedTensor, TensorToWrite } from '../../models/io/safetensors.ts';
import {
  SavedWeights,
  SafetensorsFile,
  bf16ToF32,
  f16ToF32,
  f32ToBf16,
  f32ToF16,
  toFloat32,
  toInt32,
  writeWeights,
  writeSafetensors,
} from '../../models/io/safetensors.ts';
import { failure } from '../support/failure.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { toWrite as tensor } from '../support/safetensors.ts';

const test = suite('safetensors');

let folder = '';
let path = '';
temporaryFolder(test, (made) => {
  folder = made;
  path = join(folder, 'model.safetensors');
});

async function readAll(file: string): Promise<Map<string, LoadedTensor>> {
  const opened = await SafetensorsFile.open(file);
  const tensors = new Map<string, LoadedTensor>();
  for (const name of opened.entries.keys()) tensors.set(name, await opened.read(name));
  await opened.close();
  return tensors;
}

// -- reading
// -------------------------------------------------------------------------------------------------------

interface GoldenTensor {
  dtype: string;
  shape: number[];
  values: string[];
}

const goldenPath = fileURLToPath(new URL('../golden/dtypes.safetensors', import.meta.url));
const goldenValues = JSON.parse(await readFile(new URL('../golden/dtypes.json', import.meta.url), 'utf8')) as Record<
  string,
  GoldenTensor
>;

// The values Python printed, as JavaScript numbers.
const parsePython = (text: string): number => {
  const words: Record<string, number> = { inf: Infinity, '-inf': -Infinity, True: 1, False: 0 };
  return words[text] ?? Number(text);
};

test("every dtype of Python's safetensors is read", async () => {
  const file = await SafetensorsFile.open(goldenPath);
  assert.equal(file.metadata, { format: 'pt', note: 'two strings' });
  assert.equal([...file.entries.keys()].sort(), Object.keys(goldenValues).sort());
  for (const [name, { shape, values }] of Object.entries(goldenValues)) {
    const loaded = await file.read(name);
    assert.equal(loaded.shape, shape, name);
    if (name === 'i64_large') assert.equal(Array.from(loaded.data, String), values);
    else if (name === 'f64') assert.equal(Array.from(loaded.data as Float64Array), values.map(parsePython));
    else
      assert.equal(
        Array.from(toFloat32(loaded)),
        values.map((text) => Math.fround(parsePython(text))),
        name,
      );
  }
  await file.close();
});

test('whole numbers convert to i32, and refuse to where they do not fit', async () => {
  const file = await SafetensorsFile.open(goldenPath);
  for (const name of ['i64', 'i32', 'i16', 'i8', 'u8', 'bool']) {
    assert.equal(Array.from(toInt32(await file.read(name))), goldenValues[name]!.values.map(parsePython), name);
  }
  const large = await file.read('i64_large');
  assert.throws(() => toInt32(large, 'ids'), 'ids holds 9007199254740993 at index 0, which does not fit in i32');
  const float = await file.read('f16');
  assert.throws(() => toInt32(float, 'ids'), 'ids has dtype F16, not a whole-number dtype');
  assert.match(await failure(file.read('missing')), /has no tensor "missing": it holds .* and \d+ more/);
  await file.close();
});

test('f16 values are exact, and rounding goes to nearest with ties to even', () => {
  for (let bits = 0; bits < 0x7c00; bits++) {
    const value = f16ToF32(bits);
    // Independent of the code: 5 exponent bits with bias 15, 10 fraction bits.
    const exponent = Math.max(bits >> 10, 1);
    const significand = (bits & 0x3ff) / 1024 + (bits >> 10 > 0 ? 1 : 0);
    assert.is(value, significand * 2 ** (exponent - 15));
    assert.is(f32ToF16(value), bits);
    assert.is(f32ToF16(-value), bits | 0x8000);
    const next = bits + 1 === 0x7c00 ? 65536 : f16ToF32(bits + 1);
    const middle = (value + next) / 2;
    const ulp = 2 ** (Math.floor(Math.log2(middle)) - 23);
    assert.is(f32ToF16(middle), bits + (bits & 1), `middle above ${value}`);
    assert.is(f32ToF16(middle - ulp), bits, `below the middle above ${value}`);
    assert.is(f32ToF16(middle + ulp), bits + 1, `over the middle above ${value}`);
  }
  assert.equal([Infinity, -Infinity, 1e9, NaN].map(f32ToF16), [0x7c00, 0xfc00, 0x7c00, 0x7e00]);
  assert.ok(Object.is(f16ToF32(0x8000), -0));
  assert.ok(Number.isNaN(f16ToF32(0x7c01)));
});

test('bf16 values are exact, and rounding goes to nearest with ties to even', () => {
  const words = new Uint32Array(1);
  const float = new Float32Array(words.buffer);
  for (let bits = 0; bits < 0x10000; bits++) {
    words[0] = bits << 16;
    if (Number.isNaN(float[0])) continue;
    assert.is(bf16ToF32(bits), float[0]!);
    assert.is(f32ToBf16(float[0]!), bits);
    words[0] = (bits << 16) | 0x7fff;
    if (Number.isFinite(float[0])) assert.is(f32ToBf16(float[0]!), bits);
    words[0] = (bits << 16) | 0x8000;
    if (Number.isFinite(float[0])) assert.is(f32ToBf16(float[0]!), (bits + (bits & 1)) & 0xffff);
  }
  assert.ok(Number.isNaN(bf16ToF32(f32ToBf16(NaN))));
});

test('one tensor is read without the rest of the file', async () => {
  // A sparse file of 6 GB: reading the whole of it would not fit in a buffer.
  const big = 6e9 / 4;
  const header = JSON.stringify({
    big: { dtype: 'F32', shape: [big], data_offsets: [0, 6e9] },
    small: { dtype: 'F32', shape: [2], data_offsets: [6e9, 6e9 + 8] },
  });
  const start = Buffer.alloc(8 + header.length);
  start.writeBigUInt64LE(BigInt(header.length));
  start.write(header, 8);
  await writeFile(path, start);
  const handle = await open(path, 'r+');
  await handle.write(new Uint8Array(Float32Array.of(3, 4).buffer), 0, 8, start.length + 6e9);
  await handle.close();
  const before = process.memoryUsage().rss;
  const file = await SafetensorsFile.open(path);
  assert.equal(Array.from((await file.read('small')).data as Float32Array), [3, 4]);
  await file.close();
  assert.ok(process.memoryUsage().rss - before < 100e6);
});

// -- writing
// -------------------------------------------------------------------------------------------------------

const everyDtype: TensorToWrite[] = [
  tensor('bool', 'BOOL', [3], Uint8Array.of(1, 0, 1)),
  tensor('u8', 'U8', [1], Uint8Array.of(255)),
  tensor('i8', 'I8', [1], Int8Array.of(-128)),
  tensor('f16', 'F16', [3], Uint16Array.of(0x3c00, 0x7bff, 0x8001)),
  tensor('f16 from f32', 'F16', [2], Float32Array.of(1, 65504)),
  tensor('bf16', 'BF16', [1], Uint16Array.of(0x3f80)),
  tensor('bf16 from f32', 'BF16', [1], Float32Array.of(-2)),
  tensor('i16', 'I16', [1, 1], Int16Array.of(-5)),
  tensor('u16', 'U16', [1], Uint16Array.of(65535)),
  tensor('f32', 'F32', [2, 3], Float32Array.of(1, 2, 3, 4, 5, NaN)),
  tensor('i32', 'I32', [1], Int32Array.of(-7)),
  tensor('u32', 'U32', [1], Uint32Array.of(4294967295)),
  tensor('f64', 'F64', [1], Float64Array.of(0.1)),
  tensor('i64', 'I64', [1], BigInt64Array.of(-9n)),
  tensor('u64', 'U64', [1], BigUint64Array.of(2n ** 64n - 1n)),
  tensor('scalar', 'F32', [], Float32Array.of(42)),
  tensor('empty', 'F32', [4, 0], new Float32Array(0)),
  tensor('"quoted" ünïcode\n', 'F32', [1], Float32Array.of(1)),
  tensor('part of a larger array', 'F32', [2], Float32Array.of(0, 1, 2, 3).subarray(1, 3)),
  tensor('a Buffer', 'U8', [2], Buffer.from([1, 2])),
];

test('what is written is read back, aligned and in the reference layout', async () => {
  await writeSafetensors(path, everyDtype);
  const file = await SafetensorsFile.open(path);
  assert.equal(file.metadata, { format: 'pt' });
  for (const { begin, dtype, name } of file.entries.values()) {
    const bytes = Number(/\d+$/.exec(dtype === 'BOOL' ? 'B8' : dtype)![0]) / 8;
    assert.is(begin % bytes, 0, `${name} is aligned`);
  }
  await file.close();
  assert.is((await readFile(path)).readBigUInt64LE(0) % 8n, 0n);

  const read = await readAll(path);
  assert.is(read.size, everyDtype.length);
  for (const { name, dtype, shape, data } of everyDtype) {
    const loaded = read.get(name)!;
    assert.equal([loaded.dtype, loaded.shape], [dtype, shape]);
    const given = data() as Float32Array;
    const values = name.endsWith('from f32') ? toFloat32(loaded) : loaded.data;
    assert.equal(Array.from(values as Float32Array), Array.from(given), name);
  }
  assert.equal(await readdir(folder), ['model.safetensors']);
});

test('an empty checkpoint is a valid file', async () => {
  await writeSafetensors(path, []);
  assert.is((await readAll(path)).size, 0);
});

test('data is asked for one tensor at a time', async () => {
  let busy = 0;
  let calls = 0;
  const lazy = (index: number): TensorToWrite => ({
    name: `t${index}`,
    dtype: 'F32',
    shape: [1],
    data: async () => {
      assert.is(busy++, 0);
      await new Promise((resolve) => setTimeout(resolve, 1));
      busy--;
      calls++;
      return Float32Array.of(index);
    },
  });
  await writeSafetensors(path, [0, 1, 2, 3].map(lazy));
  assert.is(calls, 4);
  assert.is((await readAll(path)).get('t3')!.data[0], 3);
});

const badTensors: [name: string, tensors: TensorToWrite[], message: RegExp][] = [
  ['a name twice', [everyDtype[0]!, everyDtype[0]!], /two tensors are named "bool"/],
  ['the reserved name', [tensor('__metadata__', 'F32', [0], new Float32Array(0))], /"__metadata__" is no name/],
  ['a negative size', [tensor('a', 'F32', [-1], new Float32Array(0))], /"a" has shape \[-1\]/],
  [
    'too few elements',
    [tensor('a', 'F32', [2, 2], new Float32Array(3))],
    /"a" of shape \[2, 2\] needs 4 elements but got 3/,
  ],
  [
    'another array type',
    [tensor('a', 'I32', [1], Float32Array.of(1))],
    /"a" of dtype I32 needs a Int32Array but got a Float32Array/,
  ],
  ['an unknown dtype', [tensor('a', 'F7' as 'F32', [1], Float32Array.of(1))], /"a" has dtype F7/],
  [
    'data that fails',
    [{ name: 'a', dtype: 'F32', shape: [1], data: () => Promise.reject(new Error('device lost')) }],
    /^device lost$/,
  ],
];
for (const [name, tensors, message] of badTensors) {
  test(`refuses to write ${name}, and the old file survives`, async () => {
    await writeFile(path, 'the old file');
    assert.match(await failure(writeSafetensors(path, [everyDtype[9]!, ...tensors])), message);
    assert.is(await readFile(path, 'utf8'), 'the old file');
    assert.equal(await readdir(folder), ['model.safetensors']);
  });
}

// -- shards
// --------------------------------------------------------------------------------------------------------

const layers = [1, 2, 3, 4, 5].map((n) => tensor(`layer.${n}`, 'F32', [n], new Float32Array(n).fill(n)));

test('a checkpoint above the shard size is sharded, and read as one', async () => {
  await writeWeights(folder, layers, { maxShardBytes: 12 });
  const names = [1, 2, 3, 4].map((n) => `model-0000${n}-of-00004.safetensors`);
  assert.equal((await readdir(folder)).sort(), [...names, 'model.safetensors.index.json']);
  const index = JSON.parse(await readFile(join(folder, 'model.safetensors.index.json'), 'utf8')) as unknown;
  // 4 + 8 bytes just fit together, 12, 16 and 20 are alone; the last two are larger than a shard may be.
  const weightMap = Object.fromEntries([0, 0, 1, 2, 3].map((shard, i) => [`layer.${i + 1}`, names[shard]]));
  assert.equal(index, { metadata: { total_size: 60 }, weight_map: weightMap });

  for (const source of [folder, join(folder, 'model.safetensors.index.json')]) {
    const checkpoint = await SavedWeights.open(source);
    assert.equal(
      checkpoint.names(),
      layers.map(({ name }) => name),
    );
    assert.equal(checkpoint.entry('layer.3').shape, [3]);
    assert.equal(Array.from(toFloat32(await checkpoint.read('layer.5'))), [5, 5, 5, 5, 5]);
    assert.ok(checkpoint.has('layer.1') && !checkpoint.has('layer.6'));
    assert.match(await failure(checkpoint.read('layer.6')), /has no tensor "layer\.6"/);
    await checkpoint.close();
  }
});

test('a save replaces the weights of an older one, sharded or not', async () => {
  await writeFile(join(folder, 'config.json'), '{}');
  await writeFile(join(folder, 'model_notes.safetensors'), 'not ours');
  const others = ['config.json', 'model_notes.safetensors'];
  await writeWeights(folder, layers, { maxShardBytes: 16 });
  await writeWeights(folder, layers.slice(0, 1));
  assert.equal((await readdir(folder)).sort(), [...others, 'model.safetensors'].sort());
  await writeWeights(folder, layers, { maxShardBytes: 40 });
  const shards = [
    'model-00001-of-00002.safetensors',
    'model-00002-of-00002.safetensors',
    'model.safetensors.index.json',
  ];
  assert.equal((await readdir(folder)).sort(), [...others, ...shards].sort());
});

test('a failed sharded save leaves the old checkpoint as it was', async () => {
  await writeWeights(folder, layers, { maxShardBytes: 16 });
  const broken = { ...layers[4]!, data: () => Promise.reject(new Error('device lost')) };
  const changed = layers
    .slice(0, 4)
    .map((layer) => ({ ...layer, data: () => (layer.data() as Float32Array).map(() => 9) }));
  assert.is(await failure(writeWeights(folder, [...changed, broken], { maxShardBytes: 16 })), 'device lost');
  const checkpoint = await SavedWeights.open(folder);
  for (const { name, data } of layers) assert.equal((await checkpoint.read(name)).data, data());
  await checkpoint.close();
  assert.is((await readdir(folder)).length, 5);
});

const badIndexes: [name: string, index: string, message: RegExp][] = [
  ['no JSON', '{', /index\.json is not valid JSON/],
  ['no weight_map', '{}', /has no weight_map/],
  [
    'a place outside the folder',
    '{"weight_map":{"a":"../b.safetensors"}}',
    /places tensor "a" in "\.\.\/b\.safetensors"/,
  ],
  ['a number for a place', '{"weight_map":{"a":3}}', /places tensor "a" in 3/],
  [
    'a name that a terminal would obey',
    '{"weight_map":{"a":"\\u001b[31m"}}',
    /index\.json places tensor "a" in "\\u001b\[31m", which is no name of a file in it: download the folder again$/,
  ],
  ['a long name', JSON.stringify({ weight_map: { a: 'x'.repeat(5000) } }), /^.{1,300}: download the folder again$/],
  ['a control character', '\u0000', /index\.json is not valid JSON \([^\p{Cc}]*\\x00[^\p{Cc}]*$/u],
  ['a missing shard', '{"weight_map":{"a":"b.safetensors"}}', /b\.safetensors does not exist/],
  ['a missing tensor', '{"weight_map":{"a":"c.safetensors"}}', /says tensor "a" is in c\.safetensors, but it is not/],
];
for (const [name, index, message] of badIndexes) {
  test(`refuses an index with ${name}`, async () => {
    await writeSafetensors(join(folder, 'c.safetensors'), layers);
    await writeFile(join(folder, 'model.safetensors.index.json'), index);
    assert.match(await failure(SavedWeights.open(folder)), message);
  });
}

test.run();
