import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, open, readFile, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { writeError, writeFileAtomic, writeFilesAtomic } from '../../models/io/atomic.ts';
import type { Dtype, LoadedTensor, TensorData, TensorToWrite } from '../../models/io/safetensors.ts';
import {
  Checkpoint,
  SafetensorsFile,
  bf16ToF32,
  f16ToF32,
  f32ToBf16,
  f32ToF16,
  toFloat32,
  toInt32,
  writeCheckpoint,
  writeSafetensors,
} from '../../models/io/safetensors.ts';

const test = suite('safetensors');

let folder = '';
let path = '';
test.before.each(async () => {
  folder = await mkdtemp(join(tmpdir(), 'safetensors-'));
  path = join(folder, 'model.safetensors');
});
test.after.each(async () => {
  await rm(folder, { recursive: true });
});

const tensor = (name: string, dtype: Dtype, shape: number[], data: TensorData): TensorToWrite => ({
  name,
  dtype,
  shape,
  data: () => data,
});

async function readAll(file: string): Promise<Map<string, LoadedTensor>> {
  const opened = await SafetensorsFile.open(file);
  const tensors = new Map<string, LoadedTensor>();
  for (const name of opened.entries.keys()) tensors.set(name, await opened.read(name));
  await opened.close();
  return tensors;
}

/** The rejection of `promise`, checked to be one line. */
async function failure(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => new Error('nothing was refused'),
    (reason: Error) => reason,
  );
  assert.not.match(error.message, /\n/);
  return error.message;
}

// -- reading -------------------------------------------------------------------------------------------------------

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

// -- writing -------------------------------------------------------------------------------------------------------

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

// -- shards --------------------------------------------------------------------------------------------------------

const layers = [1, 2, 3, 4, 5].map((n) => tensor(`layer.${n}`, 'F32', [n], new Float32Array(n).fill(n)));

test('a checkpoint above the shard size is sharded, and read as one', async () => {
  await writeCheckpoint(folder, layers, { maxShardBytes: 16 });
  const names = [1, 2, 3, 4].map((n) => `model-0000${n}-of-00004.safetensors`);
  assert.equal((await readdir(folder)).sort(), [...names, 'model.safetensors.index.json']);
  const index = JSON.parse(await readFile(join(folder, 'model.safetensors.index.json'), 'utf8')) as unknown;
  // 4 + 8 bytes fit together, 12, 16 and 20 are alone; the last is larger than a shard may be.
  const weightMap = Object.fromEntries([0, 0, 1, 2, 3].map((shard, i) => [`layer.${i + 1}`, names[shard]]));
  assert.equal(index, { metadata: { total_size: 60 }, weight_map: weightMap });

  for (const source of [folder, join(folder, 'model.safetensors.index.json')]) {
    const checkpoint = await Checkpoint.open(source);
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
  await writeCheckpoint(folder, layers, { maxShardBytes: 16 });
  await writeCheckpoint(folder, layers.slice(0, 1));
  assert.equal((await readdir(folder)).sort(), [...others, 'model.safetensors'].sort());
  await writeCheckpoint(folder, layers, { maxShardBytes: 40 });
  const shards = [
    'model-00001-of-00002.safetensors',
    'model-00002-of-00002.safetensors',
    'model.safetensors.index.json',
  ];
  assert.equal((await readdir(folder)).sort(), [...others, ...shards].sort());
});

test('a failed sharded save leaves the old checkpoint as it was', async () => {
  await writeCheckpoint(folder, layers, { maxShardBytes: 16 });
  const broken = { ...layers[4]!, data: () => Promise.reject(new Error('device lost')) };
  const changed = layers
    .slice(0, 4)
    .map((layer) => ({ ...layer, data: () => (layer.data() as Float32Array).map(() => 9) }));
  assert.is(await failure(writeCheckpoint(folder, [...changed, broken], { maxShardBytes: 16 })), 'device lost');
  const checkpoint = await Checkpoint.open(folder);
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
  ['a missing shard', '{"weight_map":{"a":"b.safetensors"}}', /b\.safetensors does not exist/],
  ['a missing tensor', '{"weight_map":{"a":"c.safetensors"}}', /says tensor "a" is in c\.safetensors, but it is not/],
];
for (const [name, index, message] of badIndexes) {
  test(`refuses an index with ${name}`, async () => {
    await writeSafetensors(join(folder, 'c.safetensors'), layers);
    await writeFile(join(folder, 'model.safetensors.index.json'), index);
    assert.match(await failure(Checkpoint.open(folder)), message);
  });
}

// -- damaged files -------------------------------------------------------------------------------------------------

/** A file with this header and this many bytes of data. */
function fileWith(header: unknown, dataBytes: number): Buffer {
  const json = typeof header === 'string' ? header : JSON.stringify(header);
  const bytes = Buffer.alloc(8 + Buffer.byteLength(json) + dataBytes);
  bytes.writeBigUInt64LE(BigInt(Buffer.byteLength(json)));
  bytes.write(json, 8);
  return bytes;
}

const entry = (dtype: unknown, shape: unknown, offsets: unknown): object => ({ dtype, shape, data_offsets: offsets });
const good = entry('F32', [2], [0, 8]);
const lengthOf = (length: bigint, rest: string): Buffer => {
  const bytes = Buffer.alloc(8 + rest.length);
  bytes.writeBigUInt64LE(length);
  bytes.write(rest, 8);
  return bytes;
};

const damaged: [name: string, bytes: Buffer, message: RegExp][] = [
  ['an empty file', Buffer.alloc(0), /is no safetensors file: it is only 0 bytes long/],
  ['seven bytes', Buffer.alloc(7), /is no safetensors file: it is only 7 bytes long/],
  ['zeros', Buffer.alloc(100), /is no safetensors file: pass a file saved by/],
  ['text', Buffer.from('this is some text, long enough to be read as a header'), /is no safetensors file: pass/],
  ['a zip (new PyTorch)', Buffer.from('PK\u0003\u0004 and more of it'), /it is a PyTorch pickle/],
  ['a pickle (old PyTorch)', Buffer.from([0x80, 2, 0x8a, 10, 108, 252, 156, 70, 249]), /it is a PyTorch pickle/],
  ['a Git LFS pointer', Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:1\n'), /Git LFS pointer/],
  ['a web page', Buffer.from('<!DOCTYPE html><html><body>404</body></html>'), /it is a web page/],
  ['a GGUF file', Buffer.from('GGUF\u0003\u0000\u0000\u0000 and so on'), /it is a GGUF file/],
  ['a header longer than any', lengthOf(1n << 60n, '{"a":1}'), /is no safetensors file/],
  [
    'a header longer than the file',
    lengthOf(1000n, '{"a":1}'),
    /is truncated: its header takes 1000 bytes but only 7 follow/,
  ],
  ['a header alone cut short', fileWith({ a: good }, 8).subarray(0, 20), /is truncated: its header takes \d+ bytes/],
  ['a header that is no JSON', fileWith('{"a": }', 0), /its header is not JSON/],
  ['metadata that is no object', fileWith({ __metadata__: [] }, 0), /__metadata__ must map strings to strings/],
  ['metadata of numbers', fileWith({ __metadata__: { a: 1 } }, 0), /__metadata__ must map strings to strings/],
  ['a tensor without description', fileWith({ a: 3 }, 0), /tensor "a" has no description/],
  [
    'an unknown dtype',
    fileWith({ a: entry('F31', [2], [0, 8]) }, 8),
    /tensor "a" has dtype "F31", which is none of BOOL, U8/,
  ],
  ['a dtype from Object', fileWith({ a: entry('constructor', [2], [0, 8]) }, 8), /tensor "a" has dtype "constructor"/],
  ['no dtype', fileWith({ a: { shape: [2], data_offsets: [0, 8] } }, 8), /tensor "a" has dtype undefined/],
  [
    'a shape that is no list',
    fileWith({ a: entry('F32', 2, [0, 8]) }, 8),
    /tensor "a" has shape 2, which is not a list/,
  ],
  ['a negative size', fileWith({ a: entry('F32', [-2], [0, 8]) }, 8), /tensor "a" has shape \[-2\]/],
  ['a fractional size', fileWith({ a: entry('F32', [2.5], [0, 10]) }, 10), /tensor "a" has shape \[2\.5\]/],
  ['one offset', fileWith({ a: entry('F32', [2], [0]) }, 8), /tensor "a" has data_offsets \[0\]/],
  ['a negative offset', fileWith({ a: entry('F32', [2], [-8, 0]) }, 8), /tensor "a" has data_offsets \[-8,0\]/],
  ['swapped offsets', fileWith({ a: entry('F32', [2], [8, 0]) }, 8), /needs 8 bytes but its offsets span -8/],
  [
    'a shape that lies',
    fileWith({ a: entry('F32', [3], [0, 8]) }, 8),
    /"a" of shape \[3\] F32 needs 12 bytes but its offsets span 8/,
  ],
  ['a shape that overflows', fileWith({ a: entry('F32', [2 ** 40, 2 ** 40, 0, 2 ** 40], [0, 8]) }, 8), /needs 0 bytes/],
  [
    'a huge claim',
    fileWith({ a: entry('F32', [2 ** 45], [0, 2 ** 47]) }, 8),
    /is truncated: its header describes 140737488355328 bytes/,
  ],
  ['missing data', fileWith({ a: good }, 7), /is truncated: its header describes 8 bytes of data but 7 are there/],
  ['extra data', fileWith({ a: good }, 9), /1 bytes at its end belong to no tensor/],
  ['overlapping tensors', fileWith({ a: good, b: entry('F32', [2], [4, 12]) }, 12), /tensor "b" overlaps another/],
  ['a hole', fileWith({ a: good, b: entry('F32', [2], [12, 20]) }, 20), /bytes 8 to 12 belong to no tensor/],
  ['a hole at the start', fileWith({ a: entry('F32', [2], [8, 16]) }, 16), /bytes 0 to 8 belong to no tensor/],
];
for (const [name, bytes, message] of damaged) {
  test(`refuses ${name}`, async () => {
    await writeFile(path, bytes);
    const text = await failure(SafetensorsFile.open(path));
    assert.match(text, message);
    assert.ok(text.startsWith(path), 'the file is named first');
  });
}

test('every truncation of a good file is refused', async () => {
  await writeSafetensors(path, everyDtype);
  const whole = await readFile(path);
  for (let length = whole.length - 1; length >= 0; length -= 7) {
    await truncate(path, length);
    assert.match(await failure(SafetensorsFile.open(path)), /is truncated|is no safetensors file/);
  }
});

test('refuses a missing file and a folder', async () => {
  assert.match(await failure(SafetensorsFile.open(path)), /model\.safetensors does not exist: check the path/);
  assert.match(await failure(SafetensorsFile.open(folder)), /is a folder where a file is needed/);
  assert.match(
    await failure(Checkpoint.open(folder)),
    /has neither model\.safetensors nor model\.safetensors\.index\.json/,
  );
});

test('a file cut while it is open is noticed', async () => {
  await writeSafetensors(path, [tensor('a', 'F32', [1000], new Float32Array(1000))]);
  const file = await SafetensorsFile.open(path);
  await truncate(path, 500);
  assert.match(await failure(file.read('a')), /became shorter while it was read/);
  await file.close();
});

// -- whole or not at all -------------------------------------------------------------------------------------------

test('writeFileAtomic makes folders, replaces files and leaves no others', async () => {
  const file = join(folder, 'a', 'b', 'c.txt');
  await writeFileAtomic(file, 'one');
  await writeFileAtomic(file, new TextEncoder().encode('twö'));
  assert.is(await readFile(file, 'utf8'), 'twö');
  assert.equal(await readdir(join(folder, 'a', 'b')), ['c.txt']);
});

test('files that belong together are replaced together', async () => {
  const files = ['a', 'b'].map((name) => join(folder, name));
  await writeFilesAtomic(files.map((file) => ({ path: file, data: 'old' })));
  const failing = () => Promise.reject(new Error('stopped'));
  assert.is(
    await failure(
      writeFilesAtomic([
        { path: files[0]!, data: 'new' },
        { path: files[1]!, data: failing },
      ]),
    ),
    'stopped',
  );
  assert.equal(await Promise.all(files.map((file) => readFile(file, 'utf8'))), ['old', 'old']);
  assert.equal((await readdir(folder)).sort(), ['a', 'b']);
});

test('a place that is no place is named', async () => {
  await writeFile(join(folder, 'file'), '');
  assert.match(
    await failure(writeFileAtomic(join(folder, 'file', 'x'), '')),
    /^cannot write .*x: a part of .* is a file/,
  );
  await mkdir(join(folder, 'inner', 'most'), { recursive: true });
  assert.match(await failure(writeFileAtomic(join(folder, 'inner'), '')), /^cannot write .*inner: it is a folder/);
  assert.equal(await readdir(folder).then((names) => names.sort()), ['file', 'inner']);
});

test('errors of the system say what to do', () => {
  const error = (code: string): string => writeError('x', Object.assign(new Error('raw'), { code })).message;
  assert.match(error('ENOSPC'), /^cannot write x: the disk is full; free some space .* \(nothing was replaced\)$/);
  assert.match(error('EDQUOT'), /quota/);
  assert.match(error('EACCES'), /no permission/);
  assert.match(error('EROFS'), /read-only file system/);
  assert.match(error('EIO'), /^cannot write x: raw/);
});

// Saves 8 MB over an old file in another process, whose disk is too small for it.
const saveScript = `
  const { writeSafetensors } = await import(${JSON.stringify(new URL('../../models/io/safetensors.ts', import.meta.url).href)});
  const data = () => new Float32Array(1 << 20);
  const tensors = ['a', 'b'].map((name) => ({ name, dtype: 'F32', shape: [1 << 20], data }));
  await writeSafetensors(process.env.TARGET, tensors).then(() => process.exit(0), (error) => {
    console.log(error.message);
    process.exit(7);
  });`;
const node = [process.execPath, ...process.execArgv, '--input-type=module', '-e', saveScript];

function checkSurvival(shell: string[], environment: Record<string, string>, message: RegExp): void {
  const { status, stdout, stderr } = spawnSync(shell[0]!, [...shell.slice(1), ...node], {
    encoding: 'utf8',
    env: { ...process.env, ...environment },
  });
  assert.is(status, 7, stderr);
  assert.match(stdout, message);
  assert.is(stdout.trim().split('\n').length, 1);
}

if (process.platform !== 'win32') {
  test('a save past the allowed file size fails in one line, and the old file survives', async () => {
    await writeFile(path, 'the old file');
    const shell = ['sh', '-c', 'ulimit -f 8192; exec "$0" "$@"'];
    checkSurvival(shell, { TARGET: path }, /^cannot write .*larger than the system allows.*nothing was replaced/);
    assert.is(await readFile(path, 'utf8'), 'the old file');
    assert.equal(await readdir(folder), ['model.safetensors']);
  });
}

// A file system of 6 MB for one process and its children; not every container allows it.
if (spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()]).status === 0) {
  test('a save to a full disk fails in one line, and the old file survives', () => {
    const mount = 'mount -t tmpfs -o size=6m tmpfs "$DISK" && printf old > "$TARGET"';
    const check = '[ "$(ls -A "$DISK")" = model.safetensors ] && [ "$(cat "$TARGET")" = old ] || exit 9';
    const shell = ['unshare', '-rm', 'sh', '-c', `${mount}; "$0" "$@"; status=$?; ${check}; exit $status`];
    checkSurvival(shell, { DISK: folder, TARGET: path }, /^cannot write .*the disk is full.*nothing was replaced/);
  });
}

test.run();
